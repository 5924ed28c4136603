#!/usr/bin/env python3
"""How long the work takes at a commit and at HEAD, measured in turn on this machine.

    ci/compare_speed.py COMMIT [demo|test]

demo  `make demo`, cold: a fresh clone, no Python environment, empty caches of ccache and pip
test  `make test` in the clone, after an untimed `make build`

Without a second argument both are measured. Printed are wall times and their ratio, with how busy
the machine was, and with what else. Exit code 1 when a command failed; the logs are then kept.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def git(*arguments: str) -> str:
    """What git says, in this repository."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def busy_s() -> float:
    """Seconds that all processors together have been busy since the machine was started."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def children_s() -> float:
    """Processor seconds of the processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def run_make(target: str, clone: Path) -> tuple[float, bool]:
    """Run it, its output in <clone>-<target>.log; wall seconds, and whether it succeeded."""
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    environment |= {"CCACHE_DIR": f"{clone}-ccache", "PIP_CACHE_DIR": f"{clone}-pip"}
    start_s, busy_before_s, own_before_s = time.monotonic(), busy_s(), children_s()
    log = clone.with_name(f"{clone.name}-{target}.log")
    with log.open("wb") as output:
        status = subprocess.run(
            ["make", target],
            cwd=clone,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ).returncode
    wall_s = time.monotonic() - start_s
    busy = (busy_s() - busy_before_s) / wall_s
    others = max(0.0, busy - (children_s() - own_before_s) / wall_s)
    print(
        f"make {target}, {clone.name}: {wall_s:.0f} s; {busy:.2f} of {os.cpu_count()} processors"
        f" busy, {others:.2f} of them with something else"
        + (f"; FAILED with {status}: {log}" if status else ""),
        flush=True,
    )
    return wall_s, status == 0


def main() -> int:
    """Measure; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="what to compare HEAD with")
    parser.add_argument("target", nargs="?", choices=("demo", "test"))
    options = parser.parse_args()
    commits = {
        "old": git("rev-parse", f"{options.commit}^{{commit}}"),
        "new": git("rev-parse", "HEAD"),
    }
    if git("status", "--porcelain", "--untracked-files=no"):
        print("what is not committed is not measured", file=sys.stderr)
    subprocess.run([ROOT / "ci/deps.sh", "ensure"], check=True)  # neither is to pay for it

    place = Path(tempfile.mkdtemp(prefix="compare-speed-"))
    clones = {name: place / name for name in commits}
    for name, commit in commits.items():
        git("clone", "--quiet", "--no-checkout", str(ROOT), str(clones[name]))
        git("-C", str(clones[name]), "checkout", "--quiet", "--detach", commit)
        print(f"{name}: {git('log', '-1', '--format=%h %s', commit)}", flush=True)
    succeeded = True
    for target in [options.target] if options.target else ["demo", "test"]:
        took_s = {}
        for name, clone in clones.items():
            if target == "test":
                succeeded &= run_make("build", clone)[1]
            took_s[name], done = run_make(target, clone)
            succeeded &= done
        print(f"make {target}: new / old = {took_s['new'] / took_s['old']:.2f}", flush=True)
    if succeeded:
        shutil.rmtree(place)
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
