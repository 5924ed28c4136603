#!/bin/sh
# Ten minutes of torture each: over ws and wss, with AddressSanitizer and with ThreadSanitizer; and a
# storm of twenty over ws and over wss. Ten minutes of a hundred calls that come and go.
set -eu
cd "$(dirname "$0")/.."
seed=$(date +%j) # another one each night; the output names it
make build
.venv/bin/harness torture --seconds 600 --seed "$seed"
.venv/bin/harness torture --seconds 600 --seed "$seed" --tls
.venv/bin/harness torture --storm --seconds 1200 --seed "$seed"
.venv/bin/harness torture --storm --seconds 1200 --seed "$seed" --tls
.venv/bin/harness load --soak 600 --json --seed "$seed"
TORTURE_SECONDS=600 exec .venv/bin/pytest tests/live/test_torture.py -k sanitized
