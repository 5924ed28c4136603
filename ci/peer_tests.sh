#!/bin/sh
# Runs tests of Asterisk's own on the Asterisk in build/, with the patched driver: the websocket
# tests of its testsuite, or the byte checks of asterisk-websocket-examples. As root, by hand: the
# folder is the user's, nothing of it is fetched.
#
#   ci/peer_tests.sh <folder of either> [stock]
#
# The testsuite's setupVenv.sh must have been run. With stock it is the stock driver. It ends with 1
# if a test fails.
#
# They use fixed ports, and the testsuite kills every Asterisk and SIPp that it sees. So they get a
# network and process numbers of their own.
set -eu
usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit 2
}
[ $# -ge 1 ] && [ -d "$1" ] || usage
folder=$(cd "$1" && pwd)
module=${2:-patched}
cd "$(dirname "$0")/.."
[ -f "build/modules/$module/chan_websocket.so" ] || {
    echo "there is no build/modules/$module/chan_websocket.so: make build" >&2
    exit 2
}
if [ -z "${INSIDE:-}" ]; then
    INSIDE=yes exec unshare --net --pid --fork --mount-proc --kill-child \
        "$PWD/ci/peer_tests.sh" "$folder" "$module"
fi
ip link set lo up

# The layout that the testsuite wants; its name is short, since there is a unix socket in it.
root=$(mktemp -d --tmpdir pt.XXXXXX)
trap 'rm -rf "$root"' EXIT
etc=$root/etc/asterisk
mkdir -p "$root/usr/sbin" "$root/usr/lib/asterisk" "$root/tmp" \
    "$root/var/lib" "$root/var/spool" "$root/var/run" "$root/var/log" "$etc"
ln -s "$PWD/build/asterisk/sbin/asterisk" "$root/usr/sbin/asterisk"
cp -R build/asterisk/lib/asterisk/modules "$root/usr/lib/asterisk/"
cp "build/modules/$module/chan_websocket.so" "$root/usr/lib/asterisk/modules/"
cp -R build/asterisk/var/lib/asterisk "$root/var/lib/"

# asterisk.conf with the folders of that layout, below a root.
folders() {
    printf '[directories]\n'
    for place in etc:/etc/asterisk mod:/usr/lib/asterisk/modules varlib:/var/lib/asterisk \
        db:/var/lib/asterisk key:/var/lib/asterisk data:/var/lib/asterisk \
        agi:/var/lib/asterisk/agi-bin spool:/var/spool run:/var/run log:/var/log; do
        printf 'ast%sdir => %s%s\n' "${place%%:*}" "$1" "${place#*:}"
    done
}

failed=0
# Says what became of a test: its status, its name, and its output in $root/log if it has failed.
tell() {
    if [ "$1" = 0 ]; then
        echo "passed  $2"
    else
        echo "FAILED  $2"
        grep -v '^Failed to open' "$root/log" || true
        failed=1
    fi
}

testsuite() {
    folders '' >"$etc/asterisk.conf"
    PATH=$folder/.venv/bin:$PATH
    export AST_TEST_ROOT="$root"
    cd "$folder"
    for test in tests/channels/websocket/*bound/*/; do
        test=${test%/}
        status=0
        python3 runtests.py --test="$test" >"$root/log" 2>&1 || status=$?
        # It is content with a test that it does not run, too.
        grep -q "^Test $test passed" "$root/log" || status=1
        tell "$status" "$test"
    done
}

# Waits until a command succeeds, half a minute at most.
until_it() {
    tries=300
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || {
            echo "not within half a minute: $*" >&2
            exit 1
        }
        sleep 0.1
    done
}

console() { "$root/usr/sbin/asterisk" -C "$etc/asterisk.conf" -rx "$1"; }

examples() {
    python=$PWD/.venv/bin/python
    folders "$root" >"$etc/asterisk.conf"
    printf '[modules]\nautoload = yes\n' >"$etc/modules.conf"
    cp "$folder/sample-extensions.conf" "$etc/extensions.conf"
    cp "$folder/sample-websocket_client.conf" "$etc/websocket_client.conf"
    "$root/usr/sbin/asterisk" -f -C "$etc/asterisk.conf" >/dev/null 2>&1 &
    until_it console 'core waitfullybooted'
    cd "$folder"
    for test in mow_echo_test_server:'' mow_echo_test_server_json:'f(json)'; do
        status=0
        timeout 60 "$python" "${test%%:*}.py" >"$root/log" 2>&1 &
        server=$!
        until_it sh -c "ss -Hltn 'sport = :8787' | grep ."
        dialled="WebSocket/media_connection1/c(ulaw)${test#*:}"
        console "channel originate $dialled extension echo@default" 2>/dev/null
        wait "$server" || true
        # Its own verdict expects that the last frame is filled up, which the driver has not done
        # since 20.19, 22.9 and 23.3.
        grep -q 'Received buffer.* == sent buffer' "$root/log" || status=1
        tell "$status" "${test%%:*}"
    done
    console 'core stop now' 2>/dev/null || true
}

if [ -x "$folder/runtests.py" ]; then
    testsuite
elif [ -f "$folder/mow_echo_test_server.py" ]; then
    examples
else
    usage
fi
exit $failed
