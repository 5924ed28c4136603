#!/bin/sh
# Runs the websocket tests of Asterisk's own testsuite on the Asterisk in build/, with the patched
# driver. As root, by hand: the testsuite is the user's, nothing of it is fetched.
#
#   ci/testsuite.sh <folder of the testsuite> [stock]
#
# Its Python packages must be there: run its setupVenv.sh first. With stock it is the stock driver.
# It ends with 1 if a test fails.
#
# The testsuite uses fixed ports and kills every Asterisk and SIPp that it sees. So it gets a
# network and process numbers of its own.
set -eu
[ $# -ge 1 ] && [ -x "$1/runtests.py" ] || {
    sed -n '2,12s/^# \{0,1\}//p' "$0"
    exit 2
}
suite=$(cd "$1" && pwd)
module=${2:-patched}
cd "$(dirname "$0")/.."
[ -f "build/modules/$module/chan_websocket.so" ] || {
    echo "there is no build/modules/$module/chan_websocket.so: make build" >&2
    exit 2
}
case ${INSIDE:-} in
'') INSIDE=yes exec unshare --net --pid --fork --mount-proc --kill-child \
    "$PWD/ci/testsuite.sh" "$suite" "$module" ;;
esac
ip link set lo up

# The layout that it wants; the name is short, since there is a unix socket in it.
root=$(mktemp -d /tmp/ts.XXXX)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/usr/sbin" "$root/usr/lib/asterisk" "$root/var/lib" "$root/etc/asterisk" "$root/tmp"
ln -s "$PWD/build/asterisk/sbin/asterisk" "$root/usr/sbin/asterisk"
cp -R build/asterisk/lib/asterisk/modules "$root/usr/lib/asterisk/"
cp "build/modules/$module/chan_websocket.so" "$root/usr/lib/asterisk/modules/"
cp -R build/asterisk/var/lib/asterisk "$root/var/lib/"
cat >"$root/etc/asterisk/asterisk.conf" <<CONF
[directories]
astetcdir => /etc/asterisk
astmoddir => /usr/lib/asterisk/modules
astvarlibdir => /var/lib/asterisk
astdbdir => /var/lib/asterisk
astkeydir => /var/lib/asterisk
astdatadir => /var/lib/asterisk
astagidir => /var/lib/asterisk/agi-bin
astspooldir => /var/spool/asterisk
astrundir => /var/run/asterisk
astlogdir => /var/log/asterisk
CONF

PATH=$suite/.venv/bin:$PATH
export AST_TEST_ROOT="$root"
cd "$suite"
failed=0
for test in tests/channels/websocket/*bound/*/; do
    # It lists every folder that is not there, and ends with the number of failures.
    if python3 runtests.py --test="${test%/}" >"$root/log" 2>&1 &&
        grep -q "^Test ${test%/} passed" "$root/log"; then
        echo "passed  ${test%/}"
    else
        echo "FAILED  ${test%/}"
        grep -v '^Failed to open' "$root/log"
        failed=1
    fi
done
exit $failed
