"""``harness measure``: many marks behind pieces of random size, over several calls at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.asterisk.build import Build
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.media.play import MarkCommand, coded_pieces, play_with_marks, random_sizes
from harness.websocket.protocol import Format

Module = Literal["patched", "stock"]
OnAnswer = Callable[[int], None]


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
