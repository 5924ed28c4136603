"""``harness measure --stalls``: how late speech stays when Asterisk was stopped again and again.

Two Asterisks run side by side, one with either module, each with a call whose application speaks in
real time. Both are stopped at the same moments (SIGSTOP), as by a host that stalls. How late each
packet leaves behind the message that its media came in is in the captures.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from rich.console import Console

from chan_websocket.protocol import MarkCommand
from harness.application.marks import coded_pieces, speak_in_time
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.install.build import Build
from harness.judge.evidence import Evidence, read_evidence
from harness.judge.verdicts import Bounds, Result
from harness.record.capture_files import load_timeline
from harness.report.mark_table import compact_table

STALLS = 100
STALL_S = 0.03
EACH_S = 0.6
"""one stall in each so long a time"""
MOST_MS = 40.0
"""that may remain of the delay with the patched driver"""
UNRELIABLE_MS = 10.0
"""of a host stall that the measurement did not make"""
_FRAME_BYTES, _FRAME_S = 160, 0.02
_WINDOW_S = 1.0
"""before the first stall, and behind the last one: in these the delay is taken"""
_COMMANDS: dict[str, MarkCommand] = {"stock": "MARK_MEDIA", "patched": "MARK"}


@dataclass(frozen=True)
class StallMeasurement:
    """What `measure_stalls` has found."""

    before_ms: dict[str, float]
    """by module: how late media left behind the message it came in, before the first stall"""
    after_ms: dict[str, float]
    """the same behind the last one"""
    call: LiveCall
    """the patched module's, judged"""
    longest_other_ms: float
    """host stall: one that is so long can make the application late, too"""

    def remains_ms(self, module: str) -> float:
        """How much later speech is for good."""
        return self.after_ms[module] - self.before_ms[module]

    @property
    def result(self) -> Result:
        """FAIL if speech stays late with the patched driver, or anything that it says is untrue."""
        if self.remains_ms("patched") >= MOST_MS:
            return "INCONCLUSIVE" if self.longest_other_ms >= UNRELIABLE_MS else "FAIL"
        return self.call.judged.result


def print_stalls(console: Console, measured: StallMeasurement) -> None:
    """Print what the delays come to."""
    table = compact_table("Delay of speech in ms")
    table.add_column("module")
    for heading in ("before", "after", "remains"):
        table.add_column(heading, justify="right")
    for name in _COMMANDS:
        times = measured.before_ms[name], measured.after_ms[name], measured.remains_ms(name)
        table.add_row(name, *(f"{time:.1f}" for time in times))
    console.print(table)
    console.print(
        f"The patched driver's call: {measured.call.judged.result}, "
        f"{len(measured.call.judged.marks)} marks. The longest stall that the host added: "
        f"{measured.longest_other_ms:.1f} ms.",
        soft_wrap=True,
    )


def measure_stalls(
    build: Build,
    folder: Path,
    stalls: int = STALLS,
    seed: int = 1,
    on_stall: Callable[[int], None] = lambda done: None,
) -> StallMeasurement:
    """Stop both Asterisks so often. ``on_stall`` gets the number of stalls so far."""
    modules = {"stock": build.stock_module, "patched": build.patched_module}
    with ExitStack() as stack:
        benches = {
            name: stack.enter_context(bench(build, folder / name, module))
            for name, module in modules.items()
        }
        return asyncio.run(_measure(benches, stalls, random.Random(seed), on_stall))


async def _measure(
    benches: dict[str, Bench], stalls: int, source: random.Random, on_stall: Callable[[int], None]
) -> StallMeasurement:
    seconds = stalls * EACH_S + 2 * _WINDOW_S + 2 * STALL_S
    frames = coded_pieces([_FRAME_BYTES] * round(seconds / _FRAME_S))
    calls: dict[str, LiveCall] = {}
    async with AsyncExitStack() as stack:
        for name, one in benches.items():
            placed = one.call(name, Extension("stalls"), judged_later=True)
            calls[name] = await stack.enter_async_context(placed)
        speaking = asyncio.gather(
            *(speak_in_time(calls[name].session, frames, _COMMANDS[name]) for name in calls)
        )
        await asyncio.sleep(_WINDOW_S)
        for number in range(stalls):
            begin_s = source.uniform(0, EACH_S - 2 * STALL_S)
            await asyncio.sleep(begin_s)
            await asyncio.gather(*(one.stop(STALL_S) for one in benches.values()))
            on_stall(number + 1)
            await asyncio.sleep(EACH_S - begin_s - STALL_S)
        await speaking
    before, after = {}, {}
    for name, call in calls.items():
        call.judge()
        evidence = read_evidence(load_timeline(call.folder), Bounds())
        first_ns = evidence.conversation.media_times[0]
        last_ns = evidence.conversation.media_times[-1]
        window_ns = int(_WINDOW_S * 1e9)
        before[name] = delay_ms(evidence, first_ns, first_ns + window_ns)
        after[name] = delay_ms(evidence, last_ns - window_ns, last_ns)
    return StallMeasurement(
        before, after, calls["patched"], longest_other_ms(calls["patched"], benches["patched"])
    )


def longest_other_ms(call: LiveCall, bench: Bench) -> float:
    """The longest host stall in a call, but for those that the bench made."""
    stalls = call.judged.measurement.host_stalls
    return (
        max((end - begin for begin, end in stalls if (begin, end) not in bench.stops), default=0)
        / 1e6
    )


def delay_ms(evidence: Evidence, begin_ns: int, end_ns: int) -> float:
    """How late packets left behind the messages that were sent in this time, in the median."""
    delays = []
    for packet in evidence.wire.packets:
        if packet.location.pieces:
            sent_ns = evidence.conversation.sent_ns(packet.location.pieces[-1].end)
            if sent_ns is not None and begin_ns <= sent_ns <= end_ns:
                delays.append(packet.time_ns - sent_ns)
    return median(delays) / 1e6
