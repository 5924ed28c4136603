"""Asterisk, or a thread of it, is stopped for a while, as by a host that stalls.

How late speech is afterwards, and that none is lost.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from live_calls import JSON, fail, measured, of, place, result, skip, unreliable

from chan_websocket.protocol import MarkCommand
from harness.application.marks import coded_pieces, play_with_marks, speak_in_time
from harness.asterisk.configuration import MIXING_INTERVALS_MS, Extension
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
MS = 1_000_000
MIXER_THREAD = re.compile(r"^\S+ (\d+) softmix_mixing_thread ", re.MULTILINE)
"""in what the console's ``core show threads`` prints"""
LATE_MIXER = Bounds(late_ns=SECOND_NS, lateness_ns=SECOND_NS, around_lateness_ns=SECOND_NS)
"""how late it is, is not what is looked at"""
PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207
WAIT_FOR_ANY_THREAD = 0x40000000
"""ptrace(2) and waitpid(2), __WALL"""


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


def stop_thread(thread: int, seconds: float) -> None:
    """Let a thread of another process stand still for so long, and only it.

    Blocks: whoever has stopped a thread by ptrace is the only one that can let it go on.
    """
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if ptrace(request, thread, None, None):
            pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(thread, WAIT_FOR_ANY_THREAD)
    time.sleep(seconds)
    ptrace(PTRACE_DETACH, thread, None, None)


@pytest.mark.parametrize("interval_ms", MIXING_INTERVALS_MS)
def test_a_mixer_that_falls_behind_is_given_no_more_than_it_keeps(
    patched: Bench, interval_ms: int
) -> None:
    """It keeps four intervals: given more, it throws all of that away."""
    extension = Extension(
        f"stalled-conference-{interval_ms}",
        bridge="conference",
        mixing_interval_ms=interval_ms,
        message_format=JSON.message_format,
    )

    async def script(call: LiveCall) -> None:
        session = call.session
        playing = asyncio.ensure_future(
            play_with_marks(session, coded_pieces([FRAME] * 2 * FRAMES_A_SECOND))
        )
        # Half of the speech, in packets that are as long as an interval.
        assert await asyncio.to_thread(call.rtp.wait_for_packets, 1000 // interval_ms, 5.0)
        threads = await asyncio.to_thread(patched.instance.console.run, "core show threads")
        (thread,) = MIXER_THREAD.findall(threads)
        await asyncio.to_thread(stop_thread, int(thread), 10 * interval_ms / 1000)
        await playing

    call = measured(
        extension.name, lambda name: place(patched, name, script, extension, LATE_MIXER), unreliable
    )
    # As the mixer begins with another interval than 20 ms, Asterisk's own, it may lose a frame.
    begin = sum(
        int(drop.number("bytes")) for drop in of(call, "MEDIA_DROPPED") if not drop.count("offset")
    )
    assert begin <= (interval_ms != 20) * FRAME
    evidence = read_evidence(load_timeline(call.folder), Bounds())
    assert evidence.wire.missing(begin, evidence.conversation.sent) == 0
    stopped_ns = max(
        later.time_ns - sooner.time_ns
        for sooner, later in pairwise(one for one in evidence.wire.packets if one.location.pieces)
    )
    assert stopped_ns > 5 * interval_ms * MS
    if result(call) != "PASS":
        fail(call)
