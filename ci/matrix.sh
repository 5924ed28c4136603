#!/bin/sh
# The matrix of all kinds of calls, for CI; its report is in out/latest.
#
# Shared runners stall. What could not be judged for that is no failure of the change: the report
# names each. More than half of it is no test of the change either.
set -eu
cd "$(dirname "$0")/.."
exec .venv/bin/harness run --group full --target patched,patched-tls --keep-going --max-inconclusive 50
