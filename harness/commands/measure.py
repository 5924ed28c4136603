"""``harness measure``: many marks behind pieces of random size, over several calls at once; what
a pending mark takes of memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.application.client import MediaSession
from harness.application.play import MarkCommand, coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.install.build import Build
from harness.media import position_code
from harness.protocol import Format

Module = Literal["patched", "stock"]
OnAnswer = Callable[[int], None]

_PENDING_MAX = 2048
"""marks a channel may have pending: max_pending_marks of chan_websocket.conf"""
_MEMORY_CALLS = 8
_MEMORY_ID_BYTES = 8
_WARM_UP_MARKS = 48
_FRAME = 160


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    module: Module = "patched"
    marks: int = 1000
    calls: int = 5
    seed: int = 1
    message_format: Format = Format.PLAIN

    @property
    def command(self) -> MarkCommand:
        """The stock driver knows only MARK_MEDIA."""
        return "MARK" if self.module == "patched" else "MARK_MEDIA"

    def shares(self) -> Iterator[tuple[int, int]]:
        """Seed and number of marks of each call."""
        for number in range(self.calls):
            yield self.seed + number, (self.marks + number) // self.calls


def module_path(build: Build, module: Module) -> Path:
    """The chan_websocket.so of that name."""
    return build.patched_module if module == "patched" else build.stock_module


def measure(build: Build, folder: Path, plan: Plan, on_answer: OnAnswer) -> list[LiveCall]:
    """Place the calls, all at once, and return them judged. ``on_answer`` gets the total so far."""
    with bench(build, folder, module_path(build, plan.module)) as b:
        return asyncio.run(_measure(b, plan, on_answer))


async def _measure(b: Bench, plan: Plan, on_answer: OnAnswer) -> list[LiveCall]:
    answers: dict[int, int] = {}

    async def one(seed: int, marks: int) -> LiveCall:
        def count(done: int) -> None:
            answers[seed] = done
            on_answer(sum(answers.values()))

        extension = Extension("measure", message_format=plan.message_format)
        async with b.call(f"seed-{seed}", extension, judged_later=True) as call:
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
    """What Asterisk takes for pending marks."""

    marks: int
    bytes_a_mark: float
    id_bytes: int
    """length of the marks' ids"""


def measure_memory(build: Build, folder: Path) -> Memory:
    """Let many calls have as many marks pending as they may, and look how Asterisk grows."""
    with bench(build, folder) as b:
        return asyncio.run(_measure_memory(b))


async def _measure_memory(bench: Bench) -> Memory:
    grown = 0
    up: list[MediaSession] = []
    async with AsyncExitStack() as stack:
        for number in range(_MEMORY_CALLS):
            call = await stack.enter_async_context(
                bench.call(f"memory/{number}", Extension("memory"))
            )
            await call.session.pause()
            await call.session.send_media(position_code.encode(0, _FRAME))
            # What only the first mark of a channel takes is not meant.
            await _fill(call.session, 0, _WARM_UP_MARKS)
            up.append(call.session)
        before = _resident_bytes(bench.instance.pid)
        for session in up:
            await _fill(session, _WARM_UP_MARKS, _PENDING_MAX)
        grown = _resident_bytes(bench.instance.pid) - before
    marks = _MEMORY_CALLS * (_PENDING_MAX - _WARM_UP_MARKS)
    return Memory(marks, grown / marks, _MEMORY_ID_BYTES)


async def _fill(session: MediaSession, begin: int, end: int) -> None:
    for number in range(begin, end):
        await session.mark(f"{number:0{_MEMORY_ID_BYTES}}")
    await session.report_playback()
    await session.wait_event("PLAYBACK", marks=str(end))


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
