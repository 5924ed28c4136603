#!/usr/bin/env python3
"""How long it takes to judge a capture of many calls, as `harness load` does.

    .venv/bin/python ci/judge_speed.py [CALLS] [SECONDS] [MARKS A SECOND]

By default 300 calls of a minute with 5 marks a second: 900,000 packets of RTP and 90,000
acknowledgements, which are made here, and not captured. Exit code 1 if it takes more than 30 s.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit")]

from bulk_captures import APPLICATION_PORT, RTP_PORT, START_NS, CaptureFile  # noqa: E402

from chan_websocket.protocol import Format  # noqa: E402
from harness.capture.timeline import Measurement  # noqa: E402
from harness.judge.many import Spoken  # noqa: E402
from harness.load.result import Busy  # noqa: E402
from harness.load.run import Loaded  # noqa: E402
from harness.load.stream import Stream  # noqa: E402

MOST_S = 30.0


def main() -> int:
    """Make the capture and judge it."""
    defaults = ("300", "60", "5")
    given = tuple(sys.argv[1:])
    calls, seconds, rate = (int(text) for text in given + defaults[len(given) :])
    offsets = Stream(seconds - 0.5, rate, "MARK", Format.PLAIN).offsets
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "capture.pcap", calls, seconds, offsets.tolist())
        print(f"{calls} calls of {seconds} s, {path.stat().st_size / 1e6:.0f} MB")
        spoken = {
            (40000 + call, 0): Spoken(call, offsets, seconds * 50 * 160) for call in range(calls)
        }
        loaded = Loaded(
            *(Busy(0.0, 0.0, 0.0, None, 0.0), 0, Measurement("capture", 10_000)),
            *(APPLICATION_PORT, RTP_PORT, spoken, (START_NS, START_NS + seconds * 10**9)),
            (None, None, None),
        )
        began, used = time.monotonic(), time.process_time()
        judged = loaded.judge(path)
        took_s, used_s = time.monotonic() - began, time.process_time() - used
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{judged.packets} packets and {judged.marks} marks judged in {took_s:.1f} s"
        f" ({used_s:.1f} s of a processor), {memory_mb:.0f} MB at most;"
        f" {judged.missing} missing, {judged.early} early"
    )
    return int(took_s > MOST_S or judged.missing > 0)


def write(path: Path, calls: int, seconds: int, offsets: list[int]) -> Path:
    """A capture of calls that keep time, begun one after the other."""
    file = CaptureFile()
    for call in range(calls):
        begin_ns = START_NS + call * 20_000_000 // calls
        file.connect(begin_ns, 40000 + call)
        for number in range(seconds * 50):
            file.rtp(begin_ns + number * 20_000_000, call, number)
        for mark, offset in enumerate(offsets):
            at_ns = begin_ns + offset * 125_000 + 200_000
            file.text(at_ns, 40000 + call, f"MARK_PLAYED id=m{mark}")
    return file.write(path)


if __name__ == "__main__":
    sys.exit(main())
