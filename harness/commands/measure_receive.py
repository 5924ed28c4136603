"""``harness measure --receive``: what the patched driver takes of a processor to receive a megabyte
of media with its commands, beside the stock one.

Two Asterisks run side by side, one with either module, over ws and then over wss. Their
applications send the same, which the stock driver understands, as fast as it is taken: pieces of
media with marks between, flushed before the queue is full. Both send in turn, so that what else the
machine does falls on both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from websockets.frames import Frame, Opcode

from chan_websocket.protocol import Format, command_mark_media, command_simple
from harness.application.disturb import DisturbingSession, serve
from harness.asterisk.configuration import Extension
from harness.bench import Bench, bench
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sipp import CallRequest, place_call
from harness.install.build import Build
from harness.judge.verdicts import Result
from harness.report.mark_table import compact_table

RECEIVE_ROUNDS = 8
"""of either module, over ws and over wss"""
MOST = 1.05
"""times what the stock driver takes"""
SCHEMES = ("ws", "wss")
_MODULES = ("stock", "patched")
_CALLS = 4
_ROUND_BYTES = 20_000_000
"""of media, of each call"""
_PIECE_BYTES, _PIECES_A_MARK, _MARKS_A_FLUSH = 800, 5, 15
"""The queue holds 160,000 bytes."""
_SYNC_TIMEOUT_S = 120.0


@dataclass
class ReceiveMeasurement:
    """What `measure_receive` has found."""

    ms_a_megabyte: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """of a processor, by ``ws`` or ``wss`` and by module, for each round"""

    def ratios(self, scheme: str) -> list[float]:
        """Patched to stock, of each two rounds that followed each other."""
        stock, patched = (self.ms_a_megabyte[scheme, name] for name in _MODULES)
        return [ours / theirs for ours, theirs in zip(patched, stock, strict=True)]

    @property
    def result(self) -> Result:
        """FAIL if it takes more than `MOST` times as much."""
        return "FAIL" if max(median(self.ratios(one)) for one in SCHEMES) > MOST else "PASS"


def print_receive(console: Console, measured: ReceiveMeasurement) -> None:
    """Print what the rounds come to."""
    table = compact_table("CPU of Asterisk to receive a megabyte of media, in ms")
    table.add_column("over")
    for heading in ("stock", "patched", "patched / stock", "lowest", "highest"):
        table.add_column(heading, justify="right")
    for scheme in SCHEMES:
        ratios = measured.ratios(scheme)
        times = (median(measured.ms_a_megabyte[scheme, name]) for name in _MODULES)
        table.add_row(
            scheme,
            *(f"{time:.2f}" for time in times),
            *(f"{ratio:.3f}" for ratio in (median(ratios), min(ratios), max(ratios))),
        )
    console.print(table)


def measure_receive(
    build: Build,
    folder: Path,
    rounds: int = RECEIVE_ROUNDS,
    on_round: Callable[[int], None] = lambda done: None,
) -> ReceiveMeasurement:
    """Measure so many ``rounds``. ``on_round`` gets the number of rounds so far, over both."""
    modules = {"stock": build.stock_module, "patched": build.patched_module}
    measured = ReceiveMeasurement()
    for count, scheme in enumerate(SCHEMES):

        def progress(done: int, before: int = count * rounds) -> None:
            on_round(before + done)

        with ExitStack() as stack:
            benches = {
                name: stack.enter_context(
                    bench(build, folder / f"{scheme}-{name}", module, tls=scheme == "wss")
                )
                for name, module in modules.items()
            }
            found = asyncio.run(_measure(benches, rounds, progress))
        measured.ms_a_megabyte |= {(scheme, name): found[name] for name in _MODULES}
    return measured


async def _measure(
    benches: dict[str, Bench], rounds: int, on_round: Callable[[int], None]
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in benches}
    async with AsyncExitStack() as stack:
        sessions = {name: await _calls(stack, one) for name, one in benches.items()}
        for name in benches:
            await _send(sessions[name], _ROUND_BYTES // 10)
        for number in range(rounds):
            # First one, then the other: neither is always the one that comes behind.
            for name in sorted(benches, reverse=number % 2 == 0):
                before_s = benches[name].instance.cpu_seconds()
                megabytes = await _send(sessions[name], _ROUND_BYTES) / 1e6
                taken_s = benches[name].instance.cpu_seconds() - before_s
                found[name].append(taken_s * 1000 / megabytes)
            on_round(number + 1)
    return found


async def _calls(stack: AsyncExitStack, bench: Bench) -> list[DisturbingSession]:
    """Place the calls; they are hung up when the stack is left."""
    listener = bench.target.listener
    server = await stack.enter_async_context(serve(listener.host, tls=listener.tls))
    number = bench.target.prepare(Extension("receive"), server.uri)
    sessions = []
    for call in range(_CALLS):
        rtp = stack.enter_context(RtpSocket(bench.target.rtp_address))
        folder = bench.folder / f"call-{call}"
        folder.mkdir()
        request = CallRequest(number, rtp.address, rtp.port)
        sip = await stack.enter_async_context(place_call(bench.target.sip, request, folder))
        await sip.answered()
        sessions.append(await server.accept())
    return sessions


async def _send(sessions: Sequence[DisturbingSession], most: int) -> int:
    """All send so much media, and wait until it was received; the bytes in all."""
    batch = _batch()
    batches = most // _BATCH_BYTES

    async def send(session: DisturbingSession) -> None:
        for _ in range(batches):
            await session.send_frames(batch)
        await session.get_status()
        await session.wait_event("STATUS", _SYNC_TIMEOUT_S)

    await asyncio.gather(*(send(session) for session in sessions))
    return batches * _BATCH_BYTES * len(sessions)


_BATCH_BYTES = _PIECE_BYTES * _PIECES_A_MARK * _MARKS_A_FLUSH


def _batch() -> bytes:
    """What is sent again and again, as frames on the wire: a server's are not masked."""
    piece = _frame(Opcode.BINARY, bytes(range(256)) * (_PIECE_BYTES // 256) + bytes(32))
    mark = _frame(Opcode.TEXT, command_mark_media(Format.PLAIN, "between").encode())
    begin, end = (
        _frame(Opcode.TEXT, command_simple(Format.PLAIN, name).encode())
        for name in ("START_MEDIA_BUFFERING", "FLUSH_MEDIA")
    )
    return begin + (piece * _PIECES_A_MARK + mark) * _MARKS_A_FLUSH + end


def _frame(opcode: Opcode, data: bytes) -> bytes:
    return Frame(opcode, data).serialize(mask=False)
