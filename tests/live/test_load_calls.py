"""``harness load`` with few calls: its figures are there, and what a driver does wrong shows."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from test_mutants import build_mutant

from chan_websocket.protocol import Format
from harness.bench import bench
from harness.install.build import Build
from harness.load.result import LoadRound, Soak
from harness.load.run import LoadPlan, load

pytestmark = pytest.mark.slow

CALLS, SECONDS = 4, 2.0


def loaded(
    build: Build, folder: Path, module: Path, plan: LoadPlan, *, tls: bool = False
) -> LoadRound:
    with bench(build, folder, module, tls=tls) as b:
        return load(b, module.parent.name, plan, folder / "load")


def plan(message_format: Format = Format.PLAIN, speaking: bool = False) -> LoadPlan:
    return LoadPlan(CALLS, 10.0, SECONDS, message_format=message_format, speaking=speaking)


@pytest.mark.parametrize(
    ("message_format", "tls"), [(Format.PLAIN, False), (Format.JSON, True)], ids=["ws", "wss"]
)
def test_all_is_measured(build: Build, run_folder: Path, message_format: Format, tls: bool) -> None:
    folder = run_folder / f"load-{'wss' if tls else 'ws'}"
    one = loaded(build, folder, build.patched_module, plan(message_format, speaking=tls), tls=tls)
    judged = one.judged
    # Of each call more than the time it was held, and all of it has been sent.
    assert judged.marks > CALLS * SECONDS * 10
    assert judged.packets > CALLS * SECONDS * 50
    assert len(judged.differences_ns) == len(judged.spreads_ns) > CALLS * SECONDS * 10 * 0.8
    assert (judged.missing, judged.twice, judged.unasked, judged.foreign) == (0, 0, 0, 0)
    assert judged.lost_bytes == judged.discarded == 0
    assert one.held is not None and one.before is not None
    assert one.held.descriptors - one.before.descriptors >= 5 * CALLS
    assert one.descriptors_after <= 0  # some that it had at first may be closed by then
    assert one.memory_kib > 50
    assert one.cpu > 0
    assert not math.isnan(one.spread_ms)
    # Other tests run beside it: the verdict is the benchmark's to give.
    assert one.wrong == [], judged.faults


def test_the_stock_drivers_marks_are_early(build: Build, run_folder: Path) -> None:
    one = loaded(build, run_folder / "load-stock", build.stock_module, plan())
    assert one.stock
    assert one.judged.early > one.judged.marks / 2
    assert one.judged.missing == one.judged.twice == 0


def test_a_mark_that_is_acknowledged_twice_is_counted(build: Build, run_folder: Path) -> None:
    one = loaded(build, run_folder / "load-twice", build_mutant(build, "twice"), plan())
    # Of each call the mark m4.
    assert (one.judged.missing, one.judged.twice) == (0, CALLS)
    assert one.wrong == [f"{CALLS} twice"]


def test_calls_come_and_go_and_every_mark_has_its_answer(build: Build, run_folder: Path) -> None:
    plan = LoadPlan(5, 20.0, 8.0, ramp=2.5, message_format=Format.JSON, soak=True)
    soak = Soak()
    with bench(build, run_folder / "soak", build.patched_module) as b:
        for number in range(2):
            folder = run_folder / "soak" / f"wave-{number}"
            soak.waves.append(load(b, "patched", replace(plan, seed=number), folder))
    for wave in soak.waves:
        assert wave.wrong == [], wave.judged.faults
        # Some were played, and some discarded: by flush, hang-up or direction. How many of each
        # depends on when the calls end.
        assert 0 < wave.judged.discarded < wave.judged.marks
        assert len(wave.judged.differences_ns) > 100
    assert soak.grown.descriptors <= 0
