"""Asterisk is stopped for a while, as by a host that stalls: how late speech is afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from live_calls import JSON, measured, of, skip

from chan_websocket.protocol import MarkCommand
from harness.application.marks import coded_pieces, speak_in_time
from harness.bench import Bench, LiveCall
from harness.commands.measure_stalls import (
    MOST_MS,
    UNRELIABLE_MS,
    StallMeasurement,
    delay_ms,
    longest_other_ms,
    measure_stalls,
)
from harness.install.build import Build
from harness.judge.evidence import read_evidence
from harness.judge.verdicts import Bounds
from harness.record.capture_files import load_timeline
from harness.retry import until_reliable

FRAME, FRAMES_A_SECOND = 160, 50
STALLS = 12
STALL_S = 0.5
PAUSE = b"\xff" * FRAME
SECOND_NS = 1_000_000_000


def test_speech_is_not_late_for_good_after_short_stalls(build: Build, run_folder: Path) -> None:
    """With the stock driver it is, by a tick for each stall of 30 ms or so, half of the times."""

    def measure(name: str) -> StallMeasurement:
        return measure_stalls(build, run_folder / name, STALLS)

    def unreliable(found: StallMeasurement) -> str:
        late = found.remains_ms("patched") >= MOST_MS
        return f"{found}" if late and found.result == "INCONCLUSIVE" else ""

    found = until_reliable("short-stalls", measure, unreliable, alone=True)
    if why := unreliable(found):
        skip(why)
    assert found.remains_ms("patched") < MOST_MS
    assert found.remains_ms("stock") > found.remains_ms("patched") + 2 * 20
    # Nothing that it says is untrue; of its marks some may not be judged.
    assert found.call.judged.result != "FAIL", found.call.failures


def speech(call: LiveCall) -> list[bytes]:
    """A second, before the stall; two seconds; a pause of one; a second."""
    frames = coded_pieces([FRAME] * 3 * FRAMES_A_SECOND) + [PAUSE] * FRAMES_A_SECOND
    return frames + coded_pieces([FRAME] * FRAMES_A_SECOND, len(frames) * FRAME)


async def stalled_call(bench: Bench, name: str) -> LiveCall:
    async with bench.call(name, JSON, Bounds(late_ns=SECOND_NS)) as call:
        patched = "playback_marks" in call.session.media_start.fields
        command: MarkCommand = "MARK" if patched else "MARK_MEDIA"
        speaking = asyncio.ensure_future(speak_in_time(call.session, speech(call), command))
        await asyncio.to_thread(call.rtp.wait_for_packets, FRAMES_A_SECOND, 5.0)
        await bench.stop(STALL_S)
        await speaking
    return call


def remains_ms(call: LiveCall) -> float:
    """How much later speech is behind the pause than it was at first."""
    evidence = read_evidence(load_timeline(call.folder), Bounds())
    times = evidence.conversation.media_times
    first_ms = delay_ms(evidence, times[0], times[0] + SECOND_NS // 2)
    return delay_ms(evidence, times[-1] - SECOND_NS // 2, times[-1]) - first_ms


def reliable_call(bench: Bench, expected: Callable[[float], bool]) -> LiveCall:
    """One after which as much of the stall remains as is expected, unless the host let it be."""

    def unreliable(call: LiveCall) -> str:
        longest_ms = longest_other_ms(call, bench)
        stalled = not expected(remains_ms(call)) and longest_ms >= UNRELIABLE_MS
        return f"the host stalled for {longest_ms:.1f} ms, too" if stalled else ""

    return measured("long-stall", lambda name: stalled_call(bench, name), unreliable, alone=True)


def test_a_long_stall_is_made_up_for_in_the_next_pause(patched: Bench, stock: Bench) -> None:
    def is_made_up_for(late_ms: float) -> bool:
        return late_ms < MOST_MS

    def stays(late_ms: float) -> bool:
        return late_ms > STALL_S * 1000 - 60

    call = reliable_call(patched, is_made_up_for)
    assert is_made_up_for(remains_ms(call))
    dropped = of(call, "MEDIA_DROPPED")
    assert {drop.fields["reason"] for drop in dropped} == {"late"}
    silent = range(3 * FRAMES_A_SECOND * FRAME, 4 * FRAMES_A_SECOND * FRAME)
    assert all(drop.count("offset") in silent for drop in dropped)
    assert sum(drop.number("bytes") for drop in dropped) / 8 >= STALL_S * 1000 - 60
    # The counters add up, and no mark says what is not so.
    assert call.judged.result != "FAIL", call.failures
    # With the stock driver speech stays late.
    assert stays(remains_ms(reliable_call(stock, stays)))
