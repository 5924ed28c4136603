# The distribution's Asterisk with the patched driver dropped in: built in a minute.
#
# `harness build --container packaged` prepares the folder this is built in:
#   patches/             all series, and the table that says which release each is for
#   harness/             the tool behind `make module`
ARG BASE=debian:sid

# --- the package ----------------------------------------------------------------------------------
FROM ${BASE} AS package
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV LC_ALL=C.UTF-8
# The user first: the package takes one that is there, and so its number is always this one.
RUN groupadd --gid 5060 asterisk \
    && useradd --uid 5060 --gid 5060 --home-dir /var/lib/asterisk --no-create-home asterisk \
    && apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends asterisk \
    && apt-get clean && rm -rf /var/lib/apt/lists/* \
    && install -d -o 5060 -g 5060 /run/asterisk

# --- the driver, from the package's own source ----------------------------------------------------
FROM package AS driver
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build/source
RUN if [ -f /etc/apt/sources.list.d/debian.sources ]; then \
        sed -i 's/^Types: deb$/Types: deb deb-src/' /etc/apt/sources.list.d/debian.sources; \
    else \
        sed -i 's/^deb \(.*\)/deb \1\ndeb-src \1/' /etc/apt/sources.list; \
    fi \
    && apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
        asterisk-dev gcc libc6-dev patch python3 \
    && apt-get -qq -o APT::Sandbox::User=root source --download-only --only-source \
        "asterisk=$(dpkg-query -W -f '${source:Version}' asterisk)"
WORKDIR /build
COPY harness/ harness/
COPY patches/ patches/
# It checks that the module fits the package before it writes anything.
RUN python3 -m harness.install.module build --source source/asterisk_*.orig.tar.?z \
    && modules="/driver/usr/lib/$(gcc -print-multiarch)/asterisk/modules" \
    && mkdir -p "$modules" /driver/usr/share/playback-marks \
    && strip --strip-debug -o "$modules/chan_websocket.so" build/module/chan_websocket.so \
    && series="$(python3 -c 'import json; print(json.load(open("build/module/module.json"))["series"])')" \
    && echo "$series sha256:$(cat "patches/$series/"*.patch | sha256sum | cut -c1-12)" \
        > /driver/usr/share/playback-marks/patches

# --- the package as it is run; tests install the Debian package of the driver in it ---------------
FROM package AS stock
# How it is run, the same as of the other container file.
USER 5060:5060
WORKDIR /var/lib/asterisk
STOPSIGNAL SIGTERM
# It is answered when every module is loaded, and not at all by an Asterisk that hangs.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["asterisk", "-rx", "core waitfullybooted"]
ENTRYPOINT ["asterisk", "-f"]

# --- what runs ------------------------------------------------------------------------------------
FROM stock
COPY --from=driver /driver/ /
# `harness build --container` adds labels for the version, the patches and the source.
LABEL org.opencontainers.image.title="Asterisk with playback marks (packaged)" \
      org.opencontainers.image.licenses="GPL-2.0-only"
