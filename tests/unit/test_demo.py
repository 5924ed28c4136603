"""What the demonstration makes of its two calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from hand_made import speech_call

from harness.bench import LiveCall
from harness.commands.demo import write_reports
from harness.commands.judge import counted_result, judge_again, saved_calls
from harness.record.capture_files import save_timeline
from harness.scenarios.result import Outcome, RunSummary, load_summary


def call(run: Path, name: str, after_ms: float) -> LiveCall:
    made = speech_call([500, 1000], [after_ms] * 2)
    made.event(
        4000,
        "PLAYBACK received=1000 played=1000 queued=0 flushed=0 dropped=0 played_ms=125.000 "
        "queued_ms=0.000 marks=0 underruns=0 paused=0 at=0 final=1",
    )
    timeline = made.timeline(60_000, uncertainty_ns=25_000)
    folder = run / "demo" / name
    folder.mkdir(parents=True)
    save_timeline(folder, timeline)
    nothing = cast(Any, None)
    live = LiveCall(name, folder, nothing, nothing, nothing, _read=lambda: timeline)
    live.judge()
    return live


def demo(run: Path, patched_ms: float, stock_ms: float) -> RunSummary:
    calls = [call(run, "patched", patched_ms), call(run, "stock", stock_ms)]
    summary, picture, report = write_reports(run, "22.10.1", calls, started=1.8e9)
    assert picture.read_text().count("Asterisk 22.10.1") == 2  # its title, twice
    assert report.name == "report.html"
    assert load_summary(run) == summary
    return summary


@pytest.mark.parametrize(
    ("patched_ms", "stock_ms", "outcomes", "outcome"),
    [
        (0.5, -9.0, (Outcome.PASS, Outcome.XFAIL), Outcome.PASS),
        (-0.5, -9.0, (Outcome.FAIL, Outcome.XFAIL), Outcome.FAIL),
        (0.5, 0.5, (Outcome.PASS, Outcome.INCONCLUSIVE), Outcome.INCONCLUSIVE),
    ],
)
def test_stock_must_be_early_and_patched_must_not(
    tmp_path: Path,
    patched_ms: float,
    stock_ms: float,
    outcomes: tuple[Outcome, Outcome],
    outcome: Outcome,
) -> None:
    summary = demo(tmp_path, patched_ms, stock_ms)
    assert tuple(result.outcome for result in summary.results) == outcomes
    assert summary.outcome is outcome
    assert summary.results[0].failures == () or outcome is Outcome.FAIL


def test_its_calls_can_be_judged_again(tmp_path: Path) -> None:
    demo(tmp_path, 0.5, -9.0)
    found = saved_calls(tmp_path)
    assert [one.folder.name for one in found] == ["patched", "stock"]
    assert [counted_result(one, judge_again(one.folder)) for one in found] == ["PASS", "PASS"]
