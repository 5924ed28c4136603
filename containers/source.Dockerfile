# Asterisk built from source with the patch series: a few modules, no compiler in what runs.
#
# `harness build --container source` prepares the folder this is built in:
#   asterisk.tar         the untouched source
#   downloads/           pjproject's archive, when the source came with it
#   configure.options, make.options, modules.enabled, warnings.flags
#                        the same as of `make build`, one to a line
#   patches/<series>/    the series that fits this source
#
# What changes rarely stands first, so that after a change of the patches only the driver is
# compiled again.
ARG BASE=debian:sid

# --- Asterisk without our patches -----------------------------------------------------------------
FROM ${BASE} AS asterisk
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
RUN apt-get -qq update \
    && apt-get -qq install -y --no-install-recommends \
        bzip2 ca-certificates gcc g++ libc6-dev libedit-dev libjansson-dev libspandsp-dev \
        libsqlite3-dev libsrtp2-dev libssl-dev libxml2-dev make patch pkg-config uuid-dev wget \
    && rm -rf /var/lib/apt/lists/*
ADD asterisk.tar /build/asterisk/
COPY downloads/ /build/downloads/
COPY configure.options make.options modules.enabled /build/
WORKDIR /build/asterisk
# The build's output is shown only when it fails.
# hadolint ignore=SC3054
RUN exec 3>&1 > /build/log 2>&1; trap '[ $? = 0 ] || tail -n 40 /build/log >&3' EXIT; \
    # An archive that is not the official one needs its own checksum beside the build's.
    for archive in /build/downloads/pjproject-*.tar.bz2; do \
        [ ! -e "$archive" ] || md5sum < "$archive" | sed "s/-$/${archive##*/}/" \
            > "third-party/pjproject/${archive##*/}.md5"; \
    done; \
    readarray -t configure < /build/configure.options; \
    readarray -t make < /build/make.options; \
    readarray -t modules < /build/modules.enabled; \
    # Debian's layout, so that both kinds of image are configured alike.
    ./configure --prefix=/usr --libdir="/usr/lib/$(gcc -print-multiarch)" --sysconfdir=/etc \
        --localstatedir=/var --with-download-cache=/build/downloads "${configure[@]}"; \
    make "${make[@]}" menuselect.makeopts; \
    menuselect/menuselect --disable-all "${modules[@]/#/--enable=}" menuselect.makeopts; \
    make -j"$(nproc)" "${make[@]}" third-party; \
    make -j"$(nproc)" "${make[@]}" all; \
    make "${make[@]}" DESTDIR=/image install
# What runs it: the packages of the libraries it is linked with.
RUN find /image -name '*.so*' -type f -print0 -o -path '*/sbin/asterisk' -print0 \
        | xargs -0 strip --strip-debug \
    && find /image -name '*.so*' -type f -print0 -o -path '*/sbin/asterisk' -print0 \
        | xargs -0 ldd 2>/dev/null \
        | awk '$2 == "=>" && $3 ~ "^/" { n = split($3, part, "/"); print "*/" part[n] }' \
        | sort -u | xargs dpkg-query --search | grep -v ^diversion \
        | cut -d: -f1 | sort -u > /build/packages \
    && rm -rf /image/usr/include /image/usr/share/man /image/var/run /image/run

# --- the driver with them -------------------------------------------------------------------------
FROM asterisk AS driver
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
COPY warnings.flags /build/
COPY patches/ /build/patches/
RUN exec 3>&1 > /build/log 2>&1; trap '[ $? = 0 ] || tail -n 40 /build/log >&3' EXIT; \
    series="$(echo /build/patches/*)"; \
    while read -r patch; do \
        patch -p1 -F0 --batch --silent -i "$series/$patch"; \
    done < "$series/series"; \
    readarray -t make < /build/make.options; \
    make -j"$(nproc)" "${make[@]}" channels ASTCFLAGS="$(cat /build/warnings.flags)"; \
    modules="/driver/usr/lib/$(gcc -print-multiarch)/asterisk/modules"; \
    mkdir -p "$modules" /driver/usr/share/playback-marks; \
    strip --strip-debug -o "$modules/chan_websocket.so" channels/chan_websocket.so; \
    echo "${series##*/} sha256:$(cat "$series"/*.patch | sha256sum | cut -c1-12)" \
        > /driver/usr/share/playback-marks/patches

# --- what runs ------------------------------------------------------------------------------------
FROM ${BASE}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
ENV LC_ALL=C.UTF-8
COPY --from=asterisk /build/packages /tmp/packages
RUN apt-get -qq update \
    && DEBIAN_FRONTEND=noninteractive xargs apt-get -qq install -y --no-install-recommends \
        < /tmp/packages \
    && rm -rf /var/lib/apt/lists/* /tmp/packages \
    && groupadd --gid 5060 asterisk \
    && useradd --uid 5060 --gid 5060 --home-dir /var/lib/asterisk --no-create-home asterisk
COPY --from=asterisk /image/ /
RUN install -d -o 5060 -g 5060 /run/asterisk /var/log/asterisk \
    && chown -R 5060:5060 /var/lib/asterisk /var/spool/asterisk /var/log/asterisk /var/cache/asterisk
COPY --from=driver /driver/ /
# `harness build --container` adds labels for the version, the patches and the source.
LABEL org.opencontainers.image.title="Asterisk with playback marks (source)" \
      org.opencontainers.image.licenses="GPL-2.0-only"
# How it is run, the same as of the other container file.
USER 5060:5060
WORKDIR /var/lib/asterisk
STOPSIGNAL SIGTERM
# It is answered when every module is loaded, and not at all by an Asterisk that hangs.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["asterisk", "-rx", "core waitfullybooted"]
ENTRYPOINT ["asterisk", "-f"]
