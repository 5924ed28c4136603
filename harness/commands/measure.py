"""``harness measure``: many marks behind pieces of random size, over several calls at once; what
a call and a pending mark take of memory; what the patched driver takes of a processor."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from chan_websocket.protocol import Format, MarkCommand
from harness.application.client import MediaSession
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.commands.command import (
    EXIT_CODES,
    EXIT_PASS,
    OUT,
    ROOT,
    Commands,
    add_max_inconclusive,
    positive,
)
from harness.commands.measure_cpu import CALLS, ROUNDS, measure_cpu, print_cpu
from harness.commands.measure_receive import RECEIVE_ROUNDS, SCHEMES, measure_receive, print_receive
from harness.commands.measure_stalls import (
    STALL_S,
    STALLS,
    measure_stalls,
    print_stalls,
)
from harness.commands.printing import (
    print_failures,
    print_measurement,
    print_verdict,
    progress_bar,
)
from harness.install.build import Build, load_build
from harness.judge.verdicts import MAX_INCONCLUSIVE, Bounds, worst
from harness.media import position_code
from harness.media.codecs import PACKET_TIMES_MS
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import shown
from harness.report.mark_table import compact_table, summary_line

Module = Literal["patched", "stock"]
OnAck = Callable[[int], None]

_PENDING_MAX = 2048
"""marks a channel may have pending: max_pending_marks of chan_websocket.conf"""
_MEMORY_CALLS = 8
_MEMORY_ID_BYTES = 8
_WARM_UP_MARKS = 48
_FRAME = 160


@dataclass(frozen=True)
class MeasurePlan:
    """What is to be measured."""

    module: Module = "patched"
    marks: int = 1000
    calls: int = 5
    seed: int = 1
    message_format: Format = Format.PLAIN
    max_inconclusive: float = MAX_INCONCLUSIVE
    ptime_ms: int = 0
    """see `Extension.ptime_ms`"""

    @property
    def command(self) -> MarkCommand:
        """The stock driver knows only MARK_MEDIA."""
        return "MARK" if self.module == "patched" else "MARK_MEDIA"

    def shares(self) -> Iterator[tuple[int, int]]:
        """Seed and number of marks of each call."""
        for number in range(self.calls):
            yield self.seed + number, (self.marks + number) // self.calls


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    defaults = MeasurePlan()
    parser = commands.add_parser("measure", help="many marks behind pieces of random size")
    parser.add_argument("--module", choices=("patched", "stock"), default=defaults.module)
    parser.add_argument("--marks", type=positive, default=defaults.marks, help="in all calls")
    parser.add_argument(
        "--calls",
        type=positive,
        help=f"at once (default: {defaults.calls}; with --cpu {CALLS}, of either module)",
    )
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the first call")
    parser.add_argument(
        "--ptime",
        type=int,
        choices=PACKET_TIMES_MS,
        default=0,
        help="ms of audio in the packets that the callers ask for (default: a packet a frame)",
    )
    parser.add_argument("--json", action="store_true", help="JSON control message format")
    add_max_inconclusive(parser, "each call's marks")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--memory", action="store_true", help="measure the memory of a call and of a mark instead"
    )
    instead.add_argument(
        "--stalls",
        action="store_true",
        help="measure how late speech stays after stalls of the host, patched beside stock",
    )
    instead.add_argument(
        "--cpu",
        action="store_true",
        help="measure Asterisk's CPU instead, the patched module beside the stock one",
    )
    instead.add_argument(
        "--receive",
        action="store_true",
        help="measure the CPU a megabyte of media with commands takes, patched beside stock",
    )
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    message_format = Format.JSON if options.json else Format.PLAIN
    plan = MeasurePlan(
        options.module,
        options.marks,
        min(options.calls or MeasurePlan.calls, options.marks),
        options.seed,
        message_format,
        options.max_inconclusive,
        options.ptime,
    )
    build = load_build(ROOT)
    folder = new_run_folder(OUT)
    if options.memory:
        return _run_memory(build, folder, console)
    if options.receive:
        return _run_receive(build, folder, console)
    if options.stalls:
        return _run_stalls(build, folder, options.seed, console)
    if options.cpu:
        return _run_cpu(build, folder, options.calls or CALLS, message_format, console)
    console.print(
        f"Asterisk {build.version}, {plan.module} module: {plan.marks} x {plan.command} behind "
        f"pieces of 1 to 3000 bytes, {plan.calls} calls at once"
        + (f", packets of {plan.ptime_ms} ms" if plan.ptime_ms else ""),
        soft_wrap=True,
    )
    with progress_bar(console, "marks acknowledged", plan.marks) as advance:
        calls = measure(build, folder, plan, advance)
    console.print(_calls_table(calls))
    judged = [call.judged for call in calls]
    console.print(summary_line(judged), soft_wrap=True)
    print_measurement(console, judged)
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
    print_failures(console, calls)
    verdict = worst(call.result for call in judged)
    print_verdict(console, verdict)
    return EXIT_CODES[verdict]


def _run_memory(build: Build, folder: Path, console: Console) -> int:
    memory: Memory = measure_memory(build, folder)
    for what, size in (
        ("a call that plays nothing, stock driver", memory.stock_call),
        ("a call that plays nothing, patched driver", memory.patched_call),
        ("more for a channel that has opted in", memory.opted_in),
        (f"a pending mark with an id of {memory.id_bytes} bytes", memory.bytes_a_mark),
    ):
        console.print(f"{what}: {size:.0f} bytes", soft_wrap=True)
    console.print(
        f"By how Asterisk's resident memory grew: of {_MEMORY_CALLS} calls, and"
        f" {memory.marks} marks.",
        soft_wrap=True,
    )
    return EXIT_PASS


def _run_receive(build: Build, folder: Path, console: Console) -> int:
    console.print(f"Asterisk {build.version}, stock and patched module in turn, as fast as it goes")
    console.print(build.compiled, soft_wrap=True)
    with progress_bar(console, "rounds", RECEIVE_ROUNDS * len(SCHEMES)) as advance:
        measured = measure_receive(build, folder, on_round=advance)
    print_receive(console, measured)
    verdict = measured.result
    print_verdict(console, verdict)
    return EXIT_CODES[verdict]


def _run_stalls(build: Build, folder: Path, seed: int, console: Console) -> int:
    console.print(
        f"Asterisk {build.version}, stock and patched module side by side: an application speaks "
        f"in real time, and Asterisk is stopped {STALLS} times for {STALL_S * 1000:.0f} ms",
        soft_wrap=True,
    )
    with progress_bar(console, "stalls", STALLS) as advance:
        measured = measure_stalls(build, folder, seed=seed, on_stall=advance)
    print_stalls(console, measured)
    verdict = measured.result
    print_verdict(console, verdict)
    return EXIT_CODES[verdict]


def _run_cpu(
    build: Build, folder: Path, calls: int, message_format: Format, console: Console
) -> int:
    console.print(
        f"Asterisk {build.version}: {calls} calls with 5 marks a second each, stock and patched "
        "module in turn",
        soft_wrap=True,
    )
    console.print(build.compiled, soft_wrap=True)
    with progress_bar(console, "rounds", ROUNDS) as advance:
        measured = measure_cpu(build, folder, calls, message_format, on_round=advance)
    print_cpu(console, measured)
    verdict = measured.result
    print_verdict(console, verdict)
    return EXIT_CODES[verdict]


def _calls_table(calls: Sequence[LiveCall]) -> Table:
    table = compact_table("Calls")
    table.add_column("call")
    for heading in ("marks", "packets", "missing", "median ms", "p99 ms", "max ms"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for call in calls:
        judged = call.judged
        numbers = judged.statistics
        times = (
            [f"{ns / 1e6:+.3f}" for ns in (numbers.median_ns, numbers.p99_ns, numbers.max_ns)]
            if numbers
            else ["-"] * 3
        )
        table.add_row(
            call.name,
            *(str(count) for count in (len(judged.marks), judged.packets, judged.missing_packets)),
            *times,
            judged.marks_result,
        )
    return table


def module_path(build: Build, module: Module) -> Path:
    """The chan_websocket.so of that name."""
    return build.patched_module if module == "patched" else build.stock_module


def measure(build: Build, folder: Path, plan: MeasurePlan, on_ack: OnAck) -> list[LiveCall]:
    """Place the calls, all at once, and return them judged. ``on_ack`` gets the total so far."""
    with bench(build, folder, module_path(build, plan.module)) as b:
        return asyncio.run(_measure(b, plan, on_ack))


async def _measure(b: Bench, plan: MeasurePlan, on_ack: OnAck) -> list[LiveCall]:
    acknowledged: dict[int, int] = {}

    async def one(seed: int, marks: int) -> LiveCall:
        def count(done: int) -> None:
            acknowledged[seed] = done
            on_ack(sum(acknowledged.values()))

        extension = Extension("measure", message_format=plan.message_format, ptime_ms=plan.ptime_ms)
        bounds = Bounds(max_inconclusive=plan.max_inconclusive)
        async with b.call(f"seed-{seed}", extension, bounds, judged_later=True) as call:
            await call.session.start_buffering()
            pieces = coded_pieces(random_sizes(seed, marks))
            await play_with_marks(call.session, pieces, plan.command, count)
        return call

    calls = await asyncio.gather(*(one(seed, marks) for seed, marks in plan.shares()))
    for call in calls:
        call.judge()
    return calls


@dataclass(frozen=True)
class Memory:
    """What Asterisk takes, by how its resident memory grows."""

    stock_call: float
    """bytes of a call that plays nothing: SIP, RTP, bridge and WebSocket"""
    patched_call: float
    opted_in: float
    """bytes more for a channel that has opted in"""
    marks: int
    bytes_a_mark: float
    id_bytes: int
    """length of the marks' ids"""


def measure_memory(build: Build, folder: Path) -> Memory:
    """Let many calls have as many marks pending as they may, and look how Asterisk grows."""
    with bench(build, folder / "stock", build.stock_module) as b:
        stock = asyncio.run(_measure_call(b))
    with bench(build, folder / "patched") as b:
        patched = asyncio.run(_measure_call(b))
        return asyncio.run(_measure_marks(b, stock, patched))


async def _measure_call(bench: Bench) -> float:
    """Bytes of a call."""
    extension = Extension("memory")
    async with bench.call("memory/first", extension):
        pass  # what is taken once is no call's
    before = _resident_bytes(bench.instance.pid)
    async with AsyncExitStack() as stack:
        for number in range(_MEMORY_CALLS):
            await stack.enter_async_context(bench.call(f"memory/idle-{number}", extension))
        return (_resident_bytes(bench.instance.pid) - before) / _MEMORY_CALLS


async def _measure_marks(bench: Bench, stock: float, patched: float) -> Memory:
    up: list[MediaSession] = []
    async with AsyncExitStack() as stack:
        for number in range(_MEMORY_CALLS):
            call = await stack.enter_async_context(
                bench.call(f"memory/{number}", Extension("memory"))
            )
            up.append(call.session)
        resident = [_resident_bytes(bench.instance.pid)]
        for session in up:
            await session.report_playback()
            await session.wait_event("PLAYBACK")
        resident.append(_resident_bytes(bench.instance.pid))
        for session in up:
            await session.pause()
            await session.send_media(position_code.encode(0, _FRAME))
            # What only the first mark of a channel takes is not meant.
            await _fill(session, 0, _WARM_UP_MARKS)
        resident.append(_resident_bytes(bench.instance.pid))
        for session in up:
            await _fill(session, _WARM_UP_MARKS, _PENDING_MAX)
        resident.append(_resident_bytes(bench.instance.pid))
    marks = _MEMORY_CALLS * (_PENDING_MAX - _WARM_UP_MARKS)
    return Memory(
        stock,
        patched,
        (resident[1] - resident[0]) / _MEMORY_CALLS,
        marks,
        (resident[3] - resident[2]) / marks,
        _MEMORY_ID_BYTES,
    )


async def _fill(session: MediaSession, begin: int, end: int) -> None:
    for number in range(begin, end):
        await session.mark(f"{number:0{_MEMORY_ID_BYTES}}")
    await session.report_playback()
    await session.wait_event("PLAYBACK", marks=str(end))


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
