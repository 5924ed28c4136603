"""timeline.txt: all of a call as text, and where in it each mark's verdict is."""

from __future__ import annotations

from pathlib import Path

from hand_made import speech_call

from harness.judge.call import judge_call
from harness.record.timeline_text import write_timeline_text


def test_the_text_has_all_events_in_order_and_tells_where_each_verdict_is(tmp_path: Path) -> None:
    path = tmp_path / "timeline.txt"
    call = speech_call([300, 500, 1100], [0.5] * 3).timeline(60_000, uncertainty_ns=25_000)
    numbers = write_timeline_text(path, call, judge_call(call))
    lines = path.read_text().splitlines()
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)
    assert all(f'mark "m{n}" PASS +0.500 ms' in lines[at - 1] for n, at in enumerate(numbers))
    assert sum(" RTP " in line for line in lines) == len(call.rtp)
    assert any(line.endswith("sequence 100: bytes 0..160") for line in lines)
    assert any(line.endswith("'MARK_PLAYED id=m1'") for line in lines)
