#!/bin/sh
# The container engine that the container images and their tests need.
#
#   ci/engine.sh start   have one running: installs docker.io and starts dockerd where none runs and
#                        this user may; status 1, and the reason, where that cannot be
#   ci/engine.sh stop    stop the dockerd that `start` started, and no other
set -eu
cd "$(dirname "$0")/.."

PID_FILE=build/dockerd.pid
LOG=build/log/dockerd.log

usage() {
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit 2
}

fail() {
    echo "no container engine: $*" >&2
    exit 1
}

# The name of an engine that answers.
running() {
    for engine in ${CONTAINER_ENGINE:-docker podman}; do
        if command -v "$engine" >/dev/null && "$engine" version >/dev/null 2>&1; then
            echo "$engine"
            return
        fi
    done
    return 1
}

# apt-get with the least that can be asked of it; its output only when it fails.
install_packages() {
    mkdir -p build/log
    echo "installing: $*"
    DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -qq -o DPkg::Lock::Timeout=120 install -y \
        --no-install-recommends "$@" </dev/null >build/log/engine-packages.log 2>&1 && return
    apt-get -qq update >/dev/null 2>&1 || true
    DEBIAN_FRONTEND=noninteractive LC_ALL=C apt-get -qq -o DPkg::Lock::Timeout=120 install -y \
        --no-install-recommends "$@" </dev/null >build/log/engine-packages.log 2>&1 || {
        tail -n 5 build/log/engine-packages.log >&2
        return 1
    }
}

# Where there is no registry the base image is made from the distribution's mirror.
ensure_mmdebstrap() {
    command -v mmdebstrap >/dev/null || [ "$(id -u)" -ne 0 ] ||
        ! command -v apt-get >/dev/null || install_packages mmdebstrap ||
        echo "mmdebstrap could not be installed: base images must come from a registry" >&2
}

start() {
    if engine=$(running); then
        ensure_mmdebstrap
        echo "the container engine is $engine"
        return
    fi
    [ "$(id -u)" -eq 0 ] ||
        fail "none answers to this user, and only root may start one (is the user in the group docker?)"
    if ! command -v dockerd >/dev/null; then
        command -v apt-get >/dev/null || fail "there is no dockerd, and no apt-get to install it"
        # Newer releases have the client in a package of its own.
        client=$(apt-cache --names-only search '^docker-cli$' | cut -d' ' -f1)
        # shellcheck disable=SC2086 # one word or none
        install_packages docker.io $client || fail "docker.io could not be installed"
    fi
    ensure_mmdebstrap
    if [ -d /run/systemd/system ]; then
        systemctl start docker || fail "systemctl start docker failed"
    else
        mkdir -p build/log
        echo "starting dockerd, its log in $LOG"
        setsid dockerd >"$LOG" 2>&1 </dev/null &
        echo $! >"$PID_FILE"
        # Until it answers, or has ended: then its log says why.
        deadline=$(($(date +%s) + 60))
        until docker version >/dev/null 2>&1; do
            if ! kill -0 "$(cat "$PID_FILE")" 2>/dev/null; then
                rm "$PID_FILE"
                grep -E 'level=(error|fatal)|^failed' "$LOG" | tail -n 3 >&2
                fail "dockerd cannot run here, see $LOG"
            elif [ "$(date +%s)" -gt "$deadline" ]; then
                stop
                fail "dockerd does not answer within 60 s, see $LOG"
            fi
            sleep 0.2
        done
    fi
    engine=$(running) || fail "dockerd was started but does not answer, see $LOG"
    echo "the container engine is $engine"
}

stop() {
    [ -f "$PID_FILE" ] || return 0
    pid=$(cat "$PID_FILE")
    rm "$PID_FILE"
    # The number may be another process's by now.
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] || return 0
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
}

case ${1-} in
start) start ;;
stop) stop ;;
*) usage ;;
esac
