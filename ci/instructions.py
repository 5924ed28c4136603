#!/usr/bin/env python3
"""How many instructions Asterisk takes for a frame of a call, with either driver, and whose.

    .venv/bin/python ci/instructions.py [CALLS] [SECONDS]

By default two calls, counted for 10 s; each has 5 marks a second. Valgrind counts, so nothing else
that the machine does matters, as it does to times: two runs differ by a percent or two. What the
kernel does, and what is waited for, is not counted. Needs valgrind.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from harness.bench import bench  # noqa: E402
from harness.errors import EnvironmentFault, Fault  # noqa: E402
from harness.install.build import Build, load_build  # noqa: E402
from harness.load.run import LoadPlan, LoadProgress, load  # noqa: E402

FRAMES_A_SECOND = 50
DRIVER = "chan_websocket.so"
OTHERS = "the rest"
OWNERS = {
    DRIVER: "the driver",
    "asterisk": "Asterisk's core",
    "res_rtp_asterisk.so": "Asterisk's RTP",
    "libc.so.6": "libc (locks, memory)",
}
LINE = re.compile(r"^ *([\d,]+) \([ \d.]+%\)  .*:(\S+)(?: \[(?:.*/)?([^]/]+)\])?$")
"""of callgrind_annotate: instructions, function, and the file that has it where that is known"""
MOST = 12
"""rows that are printed"""
WIDTH = 56


def main() -> int:
    """Count for both and print what was found."""
    given = [int(text) for text in sys.argv[1:]]
    calls, seconds = (*given, *(2, 10)[len(given) :])
    if not shutil.which("callgrind_annotate"):
        raise EnvironmentFault("valgrind is not there", "Install it: apt-get install valgrind")
    build = load_build(ROOT)
    print(build.compiled)
    with tempfile.TemporaryDirectory() as folder:
        per_frame = {
            name: count(build, Path(folder) / name, module, calls, seconds)
            for name, module in (("patched", build.patched_module), ("stock", build.stock_module))
        }
    patched, stock = per_frame["patched"], per_frame["stock"]
    print(
        f"{f'instructions a frame, {calls} calls, {seconds} s':{WIDTH}}  patched    stock     more"
    )
    for rows in ((by_owner(patched), by_owner(stock)), (named(patched), named(stock))):
        print_rows(*rows)
        print()
    total, other = patched.total(), stock.total()
    print_row("all", total, other)
    print(f"patched to stock: {total / other:.3f}")
    return 0


def by_owner(counted: Counter[tuple[str, str]]) -> Counter[str]:
    """Without the functions."""
    owned: Counter[str] = Counter()
    for (file, _), instructions in counted.items():
        owned[OWNERS.get(file, OTHERS)] += instructions
    return owned


def named(counted: Counter[tuple[str, str]]) -> Counter[str]:
    """By function."""
    functions: Counter[str] = Counter()
    for (file, function), instructions in counted.items():
        functions[f"{function} ({file})"] += instructions
    return functions


def print_rows(patched: Counter[str], stock: Counter[str]) -> None:
    """Print those that differ most."""
    names = sorted({*patched, *stock}, key=lambda name: -abs(patched[name] - stock[name]))
    for name in names[:MOST]:
        print_row(name, patched[name], stock[name])


def print_row(name: str, patched: float, stock: float) -> None:
    """Print how many each takes, and how many the patched one takes more."""
    print(f"{name:{WIDTH}}{patched:9.0f}{stock:9.0f}{patched - stock:+9.0f}")


def count(
    build: Build, folder: Path, module: Path, calls: int, seconds: int
) -> Counter[tuple[str, str]]:
    """Instructions of Asterisk for a frame, by file and function, while the calls are held."""
    folder.mkdir()
    profile = folder / "callgrind"
    valgrind = folder / "asterisk"
    valgrind.write_text(
        "#!/bin/sh\n"
        "case $* in\n"
        f"-f*) exec valgrind --quiet --tool=callgrind --instr-atstart=no --log-file={folder}/log"
        f' --callgrind-out-file={profile} {build.binary} "$@";;\n'
        f'*) exec {build.binary} "$@";;\n'
        "esac\n"
    )
    valgrind.chmod(0o755)
    plan = LoadPlan(calls=calls, seconds=float(seconds))
    with bench(replace(build, binary=valgrind), folder / "out", module) as b:
        counting = Counting(b.instance.pid)
        judged = load(b, folder.name, plan, folder / "load", counting.follow)
    if judged.judged.missing:
        print(f"{folder.name}: {judged.judged.missing} acknowledgements are missing")
    frames = calls * counting.lasted_s * FRAMES_A_SECOND
    return Counter({key: some / frames for key, some in parse(profile).items()})


class Counting:
    """Has Valgrind count as long as the calls are held."""

    def __init__(self, pid: int) -> None:
        self.lasted_s = 0.0
        self._pid = pid
        self._began_s: float | None = None

    def follow(self, progress: LoadProgress) -> None:
        """The next stage of the calls."""
        if progress.stage == "holding" and self._began_s is None:
            self._switch("on")
            self._began_s = time.monotonic()
        elif progress.stage != "holding" and self._began_s is not None and not self.lasted_s:
            self.lasted_s = time.monotonic() - self._began_s
            self._switch("off")

    def _switch(self, state: str) -> None:
        command = ["callgrind_control", "-i", state, str(self._pid)]
        subprocess.run(command, check=True, capture_output=True)


def parse(profile: Path) -> Counter[tuple[str, str]]:
    """Instructions by file and function."""
    text = subprocess.run(
        ["callgrind_annotate", "--threshold=100", "--auto=no", str(profile)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C"},
    ).stdout
    counted: Counter[tuple[str, str]] = Counter()
    for match in filter(None, map(LINE.match, text.splitlines())):
        counted[match[3] or "?", match[2]] += int(match[1].replace(",", ""))
    return counted


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Fault as fault:
        sys.exit(f"{fault.what}\n{fault.remedy}")
