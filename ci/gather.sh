#!/bin/sh
# Gathers what CI keeps of a run: ci/gather.sh <folder>
#
# out/latest is a link and holds files of any size: the report and what tells why a call failed are
# copied, and what the builds said.
set -eu
cd "$(dirname "$0")/.."
folder=${1:?usage: ci/gather.sh <folder>}
mkdir -p "$folder"
[ ! -f out/junit.xml ] || cp out/junit.xml "$folder/tests-junit.xml"
[ ! -d build/log ] || cp -r build/log "$folder/build-log"
[ -d out/latest ] || exit 0
cp -rL out/latest "$folder/latest"
# Sockets, keys and databases of the Asterisks help nobody.
find "$folder/latest" -type d \( -name state -o -name modules \) -prune -exec rm -rf {} +
[ ! -f "$folder/latest/junit.xml" ] || mv "$folder/latest/junit.xml" "$folder/run-junit.xml"
