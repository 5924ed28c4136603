"""Instances and calls at the same time, and one instance with one module after the other."""

from __future__ import annotations

import asyncio
from pathlib import Path

from live_calls import PLAIN, fail, measured, names, passing_call, place, why_inconclusive

from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.bench import Bench, LiveCall, bench
from harness.install.build import Build
from harness.judge.verdicts import Verdict


def test_two_instances_do_not_disturb_each_other(patched: Bench, stock: Bench) -> None:
    async def new_marks(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(9, 24, 1, 1200)))

    async def old_marks(call: LiveCall) -> None:
        await call.session.start_buffering()
        pieces = coded_pieces(random_sizes(10, 24, 1, 1200))
        await play_with_marks(call.session, pieces, "MARK_MEDIA")

    async def both(name: str) -> tuple[LiveCall, LiveCall]:
        return await asyncio.gather(
            place(patched, name, new_marks, PLAIN), place(stock, name, old_marks, PLAIN)
        )

    assert patched.instance.network.address != stock.instance.network.address

    def unreliable(calls: tuple[LiveCall, LiveCall]) -> str:
        # Where packets cannot be captured, each call in this process makes the other's times worse.
        for call in calls:
            inconclusive = call.judged.counts[Verdict.INCONCLUSIVE]
            if call.judged.marks_result == "INCONCLUSIVE" or inconclusive > 6:
                return why_inconclusive(call)
        return ""

    of_patched, of_stock = measured("side-by-side", both, unreliable)
    if of_patched.judged.marks_result != "PASS":
        fail(of_patched)
    assert names(of_patched.session.events) == ["MARK_PLAYED"] * 24
    assert names(of_stock.session.events) == ["MEDIA_MARK_PROCESSED"] * 24
    assert of_stock.judged.counts[Verdict.EARLY] > 12
    # Not a packet of the one call is in the other's capture.
    for call in (of_patched, of_stock):
        assert not [note for note in call.judged.notes if "not the application's" in note]


def test_the_module_is_exchanged_while_asterisk_runs(build: Build, run_folder: Path) -> None:
    async def old_mark(call: LiveCall) -> None:
        await call.session.start_buffering()
        pieces = coded_pieces(random_sizes(11, 6, 1, 1200))
        await play_with_marks(call.session, pieces, "MARK_MEDIA")

    async def new_mark(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(11, 6, 1, 1200)))

    folder = run_folder / "exchanged"
    folder.mkdir()
    with bench(build, folder, build.patched_module) as b:
        pid = b.instance.pid
        first = passing_call(b, "patched", new_mark)
        b.instance.use_module(build.stock_module)
        middle = asyncio.run(place(b, "stock", old_mark, PLAIN))
        b.instance.use_module(build.patched_module)
        last = passing_call(b, "patched-again", new_mark)
        assert b.instance.pid == pid
    calls = (first, middle, last)
    assert [call.session.media_start.playback_marks > 0 for call in calls] == [
        True,
        False,
        True,
    ]
    assert middle.judged.counts[Verdict.EARLY] > 0
