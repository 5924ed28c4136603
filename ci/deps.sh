#!/bin/sh
# What this project needs installed: says what is missing, and installs it where it may.
#
#   ci/deps.sh check     print what is missing and the command that installs it; status 1 if any
#   ci/deps.sh install   install it, as root or through passwordless sudo; status 1 if it cannot
#   ci/deps.sh ensure    like install, but what only some scenarios need merely gives a warning
#
# Nothing is asked, and nothing but what is missing is touched.
set -eu

# Without these there is no build and no virtual environment.
BUILD="gcc make pkg-config patch bzip2 xz-utils libedit-dev libjansson-dev libxml2-dev uuid-dev
libsqlite3-dev libssl-dev libsrtp2-dev libspandsp-dev"
# Without these the build is slow, or calls cannot be placed, captured or spoken.
RUN="ccache sip-tester tcpdump espeak-ng"

usage() {
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 2
}

# Packages of the list that are not installed, on one line.
missing_packages() {
    # dpkg-query says nothing about a package it has never heard of, so the installed ones are
    # subtracted from the wanted ones. Virtual packages (pkg-config in new releases) are provided.
    installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}, ${Provides},\n' 2>/dev/null |
        sed -n 's/^ii *//p' | sed 's/([^)]*)//g' | tr -d ' \n')
    for package in "$@"; do
        case ",$installed" in
        *",$package,"*) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

# Build packages that depend on how the machine came by them.
alternatives() {
    # Asterisk's configure wants a download tool even when everything is in its cache.
    command -v wget >/dev/null || command -v curl >/dev/null || printf 'wget '
    if ! command -v python3 >/dev/null; then
        printf 'python3 python3-venv '
    elif ! python3 -c 'import ensurepip' 2>/dev/null; then
        printf 'python3-venv '
    fi
}

# On a system without dpkg: the commands and libraries themselves.
missing_elsewhere() {
    for tool in gcc make pkg-config patch bzip2 xz tar python3 setpriv; do
        command -v "$tool" >/dev/null || printf '%s ' "$tool"
    done
    command -v wget >/dev/null || command -v curl >/dev/null || printf 'wget-or-curl '
    if command -v pkg-config >/dev/null; then
        for library in libedit jansson libxml-2.0 uuid sqlite3 openssl libsrtp2 spandsp; do
            pkg-config --exists "$library" || printf '%s(headers) ' "$library"
        done
    fi
}

missing_elsewhere_to_run() {
    for tool in ccache sipp tcpdump espeak-ng; do
        command -v "$tool" >/dev/null || printf '%s ' "$tool"
    done
}

look() {
    if $DEBIAN; then
        # shellcheck disable=SC2086 # lists of words
        need=$(missing_packages $BUILD && alternatives) && want=$(missing_packages $RUN)
    else
        need=$(missing_elsewhere) && want=$(missing_elsewhere_to_run)
    fi
    need=${need% } want=${want% }
}

say_missing() {
    [ -z "$need" ] || echo "missing, needed to build: $need"
    [ -z "$want" ] || echo "missing, needed by some commands: $want"
    if $DEBIAN; then
        echo "install with: ${SUDO_HINT}apt-get install --no-install-recommends $need $want"
    else
        echo "install these with your system's package manager (this is not Debian)"
    fi
}

# apt-get with the least that can be asked of it; its output only when it fails.
apt() {
    $SUDO env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get -qq -o DPkg::Lock::Timeout=120 "$@" >>"$log" 2>&1 </dev/null
}

install_missing() {
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    echo "installing: $need $want"
    # shellcheck disable=SC2086 # lists of words
    if ! apt install -y --no-install-recommends $need $want; then
        # The package lists may be absent or too old to download from.
        apt update || true
        apt install -y --no-install-recommends $need $want || {
            tail -n 15 "$log" | sed 's/^/    /'
            return 1
        }
    fi
}

DEBIAN=false
command -v dpkg-query >/dev/null && command -v apt-get >/dev/null && DEBIAN=true
SUDO='' SUDO_HINT='' may_install=false
if [ "$(id -u)" -eq 0 ]; then
    may_install=$DEBIAN
else
    SUDO_HINT='sudo '
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
        SUDO='sudo -n' may_install=$DEBIAN
    fi
fi

action=${1-}
case $action in
check | install | ensure) ;;
*) usage ;;
esac

look
[ -n "$need$want" ] || exit 0
if [ "$action" != check ] && $may_install; then
    install_missing || echo "installing failed"
    look
    [ -n "$need$want" ] || exit 0
fi
say_missing >&2
[ "$action" = ensure ] && [ -z "$need" ] && exit 0
exit 1
