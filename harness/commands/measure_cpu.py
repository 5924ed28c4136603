"""``harness measure --cpu``: what the patched driver takes of a processor beside the stock one.

Two Asterisks run side by side, one with either module, each with its calls up all the time. Their
applications speak in turn, with marks: so each ratio is of two rounds that follow each other, and
what else the machine does meanwhile falls on both.

Nobody reads the RTP. That it was all sent is known by the kernel's counts: a channel that somebody
has locked for too long loses audio.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console

from chan_websocket.protocol import Format, MarkCommand
from harness.application.client import MediaSession, serve
from harness.application.marks import acknowledged, mark, random_sizes
from harness.asterisk.configuration import Extension
from harness.bench import Bench, bench
from harness.caller.rtp_socket import RtpSink
from harness.caller.sip_peer import local_address_towards
from harness.caller.sip_phone import SipPhone
from harness.install.build import Build
from harness.judge.verdicts import Result
from harness.report.mark_table import compact_table

CALLS = 200
ROUNDS = 5
"""of either module"""
_ROUND_S = 6.0
_MARK_EVERY_S = 0.2
_PAIR_BYTES = 3200
"""of the media before two marks, ulaw: as long as the time between them"""
_LEAD_MARKS = 10
"""sent ahead, so that no queue runs empty"""
_SETTLE_S = 1.0
"""of a round, before it is measured"""
_MARKS = _LEAD_MARKS + round((_SETTLE_S + _ROUND_S) / _MARK_EVERY_S) + 1
_SILENCE = b"\xff" * _PAIR_BYTES
_FRAME_BYTES = 160
_FRAME_MS = 20
_ALL_SENT_TIMEOUT_S = 1.0
_LOOK_AGAIN_S = 0.02
_GENERATOR_FULL = 0.9
"""of a processor: more, and what was asked for may not have been sent"""
_COMMANDS: dict[str, MarkCommand] = {"stock": "MARK_MEDIA", "patched": "MARK"}


@dataclass(frozen=True)
class Load:
    """What was taken of a processor for a while: 1 is all of one."""

    asterisk: float
    generator: float
    """this process, which plays the applications"""


@dataclass
class CpuMeasurement:
    """What `measure_cpu` has found."""

    calls: int
    loads: dict[str, list[Load]] = field(default_factory=lambda: {name: [] for name in _COMMANDS})
    """by module, a round each"""
    sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COMMANDS, 0))
    """frames of media that the applications have sent"""
    lost: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COMMANDS, 0))
    """how many of these left in no RTP packet; negative if there were more packets"""
    stalled_ms: float = 0.0
    """the longest host stall while anybody spoke"""

    @property
    def ratios(self) -> list[float]:
        """Patched to stock, of each two rounds that followed each other."""
        pairs = zip(self.loads["patched"], self.loads["stock"], strict=True)
        return [patched.asterisk / stock.asterisk for patched, stock in pairs]

    @property
    def generator(self) -> float:
        """The most that the generator has taken of a processor in any round."""
        return max(load.generator for loads in self.loads.values() for load in loads)

    @property
    def result(self) -> Result:
        """FAIL if the patched driver lost audio; INCONCLUSIVE if the generator had no time for all
        it should send: then a queue ran empty, and the patched driver fills up the last frame. The
        same if the host stalled for a frame: a thread that is kept waiting may have a lock."""
        if self.generator > _GENERATOR_FULL or min(self.lost.values()) < 0:
            return "INCONCLUSIVE"
        if not self.lost["patched"]:
            return "PASS"
        return "INCONCLUSIVE" if self.stalled_ms >= _FRAME_MS else "FAIL"

    def percent(self, module: str) -> float:
        """Of a processor, for each call of a module."""
        return median(load.asterisk for load in self.loads[module]) / self.calls * 100


def print_cpu(console: Console, measured: CpuMeasurement) -> None:
    """Print each round, and what they come to."""
    table = compact_table("CPU")
    table.add_column("round", justify="right")
    for heading in ("stock %", "patched %", "patched / stock", "generator %"):
        table.add_column(heading, justify="right")
    rounds = zip(measured.loads["stock"], measured.loads["patched"], measured.ratios, strict=True)
    for number, (stock, patched, ratio) in enumerate(rounds, 1):
        table.add_row(
            str(number),
            *(f"{load.asterisk * 100:.1f}" for load in (stock, patched)),
            f"{ratio:.3f}",
            f"{max(stock.generator, patched.generator) * 100:.0f}",
        )
    console.print(table)
    ratios = measured.ratios
    console.print(
        f"CPU of Asterisk per call: stock {measured.percent('stock'):.3f} % of a processor, patched"
        f" {measured.percent('patched'):.3f} %. Patched to stock: median {median(ratios):.3f},"
        f" {min(ratios):.3f} to {max(ratios):.3f} in {len(ratios)} rounds.",
        soft_wrap=True,
    )
    lost = (f"{name} {measured.lost[name]} of {measured.sent[name]}" for name in measured.sent)
    console.print(f"Packets that were not sent: {', '.join(lost)}.")
    console.print(
        f"The generator took at most {measured.generator * 100:.0f} % of a processor; the host"
        f" stalled for {measured.stalled_ms:.0f} ms at the longest.",
        soft_wrap=True,
    )


def measure_cpu(
    build: Build,
    folder: Path,
    calls: int,
    message_format: Format = Format.PLAIN,
    rounds: int = ROUNDS,
    on_round: Callable[[int], None] = lambda done: None,
) -> CpuMeasurement:
    """Measure with so many ``calls`` of either module. ``on_round`` gets the rounds so far."""
    # Each call takes some of Asterisk's, and of ours.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    modules = {"stock": build.stock_module, "patched": build.patched_module}
    with ExitStack() as stack:
        benches = {
            name: stack.enter_context(bench(build, folder / name, module))
            for name, module in modules.items()
        }
        return asyncio.run(_measure(benches, calls, message_format, rounds, on_round))


async def _measure(
    benches: dict[str, Bench],
    calls: int,
    message_format: Format,
    rounds: int,
    on_round: Callable[[int], None],
) -> CpuMeasurement:
    measured = CpuMeasurement(calls)
    async with AsyncExitStack() as stack:
        sides = {
            name: await _Side.open(stack, name, one, calls, message_format)
            for name, one in benches.items()
        }
        for number in range(rounds):
            # First one, then the other: neither is always the one that comes behind.
            for name in sorted(sides, reverse=number % 2 == 0):
                side = sides[name]
                measured.loads[name].append(await side.speak(number))
                measured.sent[name] += side.sent
                measured.lost[name] += side.lost
                measured.stalled_ms = max(measured.stalled_ms, side.stalled_ms)
            on_round(number + 1)
    return measured


class _Side:
    """An Asterisk and the calls on it."""

    def __init__(
        self, name: str, bench: Bench, sink: RtpSink, sessions: Sequence[MediaSession]
    ) -> None:
        self._command = _COMMANDS[name]
        self._bench = bench
        self._sink = sink
        self._sessions = sessions
        self.sent = 0
        """frames of media in the latest round"""
        self.lost = 0
        """of these, those without a packet"""
        self.stalled_ms = 0.0
        """the longest host stall in that time"""

    @classmethod
    async def open(
        cls, stack: AsyncExitStack, name: str, bench: Bench, calls: int, message_format: Format
    ) -> _Side:
        """Place the calls; they are hung up when the stack is left."""
        sip = bench.target.sip
        sink = stack.enter_context(RtpSink(local_address_towards(sip)))
        phone = await stack.enter_async_context(SipPhone(sip, sink.port))
        server = await stack.enter_async_context(serve(bench.target.listener.host))
        number = bench.target.prepare(Extension("cpu", message_format=message_format), server.uri)
        sessions = []
        for _ in range(calls):
            stack.push_async_callback(phone.hang_up, await phone.call(number))
            sessions.append(await server.accept())
            await sessions[-1].start_buffering()
        return cls(name, bench, sink, sessions)

    async def speak(self, number: int) -> Load:
        """All applications speak for a round; what that took, without its begin and its end."""
        before = self._sink.received()
        begin_ns = time.time_ns()
        started = time.monotonic()
        speaking = [
            asyncio.create_task(self._speak(session, number, started, part / len(self._sessions)))
            for part, session in enumerate(self._sessions)
        ]
        await asyncio.sleep(_SETTLE_S)
        begin_s, asterisk_s, generator_s = time.monotonic(), self._cpu_s(), time.process_time()
        await asyncio.sleep(_ROUND_S)
        lasted_s = time.monotonic() - begin_s
        load = Load(
            (self._cpu_s() - asterisk_s) / lasted_s,
            (time.process_time() - generator_s) / lasted_s,
        )
        self.sent = sum(await asyncio.gather(*speaking)) // _FRAME_BYTES
        until = time.monotonic() + _ALL_SENT_TIMEOUT_S
        # The stock driver acknowledges a mark before its packet has left.
        while (lost := self.sent - (self._sink.received() - before)) and time.monotonic() < until:
            await asyncio.sleep(_LOOK_AGAIN_S)
        self.lost = lost
        stalls = self._bench.host_stalls.between(begin_ns, time.time_ns())
        self.stalled_ms = max((end - begin for begin, end in stalls), default=0) / 1e6
        return load

    def _cpu_s(self) -> float:
        return self._bench.instance.cpu_seconds()

    async def _speak(
        self, session: MediaSession, number: int, started: float, stagger: float
    ) -> int:
        """Send media with a mark each `_MARK_EVERY_S` until all are acknowledged; the bytes."""
        before = session.sent_bytes
        # Two pieces of any size, as a text-to-speech engine sends them, are as long as two others.
        firsts = random_sizes(number, _MARKS // 2, 1, _PAIR_BYTES - 1)
        sizes = [size for first in firsts for size in (first, _PAIR_BYTES - first)]
        # A mark behind half a frame has the patched driver fill that up when nothing else is there.
        await session.pause()
        for count, size in enumerate(sizes):
            if count == _LEAD_MARKS:
                await session.continue_()
            due = started + (max(0, count - _LEAD_MARKS) + stagger) * _MARK_EVERY_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await session.send_media(_SILENCE[:size])
            await mark(session, self._command, f"r{number}-{count}")
        await acknowledged(session, self._command, f"r{number}-{len(sizes) - 1}")
        return session.sent_bytes - before
