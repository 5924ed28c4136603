"""Results of scenarios and folders of calls, made by hand for the tests of reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hand_made import Call, speech_call

from harness.judge.call import judge_call
from harness.judge.verdicts import Bounds
from harness.record.verdict_files import write_call_files
from harness.scenarios.result import (
    CallResult,
    Outcome,
    RunSummary,
    ScenarioResult,
    kept_of_call,
)

RESULT = ScenarioResult(
    scenario="text_to_speech",
    parameters={"codec": "ulaw", "format": "json"},
    proves="Marks behind chunks of any size are in time.",
    target="patched",
    version="22.10.1",
    seed=7,
    outcome=Outcome.PASS,
    reason="",
    failures=(),
    attempts=1,
    seconds=2.5,
    rerun="harness run --target patched 'text_to_speech[codec=ulaw,format=json]' --seed 7",
)


def result(outcome: Outcome = Outcome.PASS, **changes: object) -> ScenarioResult:
    """A result like RESULT."""
    return replace(RESULT, outcome=outcome, **changes)  # type: ignore[arg-type]


def summary(*results: ScenarioResult) -> RunSummary:
    """A run with these results."""
    return RunSummary("harness run --group smoke", "2026-11-22T11:00:00", 61.0, results)


def placed(
    run: Path,
    folder: str,
    call: Call,
    bounds: Bounds | None = None,
    stalls_ms: Sequence[tuple[float, float]] = (),
) -> CallResult:
    """Judge a call and write its files below the run's folder."""
    timeline = call.timeline(60_000, uncertainty_ns=25_000, stalls_ms=stalls_ms)
    judged = judge_call(timeline, bounds)
    (run / folder).mkdir(parents=True)
    write_call_files(run / folder, timeline, judged)
    return kept_of_call(folder, judged)


def speech(run: Path, folder: str, after_ms: Sequence[float], size: int = 500) -> CallResult:
    """A judged call with marks behind pieces of that size, answered so long after they ended."""
    offsets = [size * (number + 1) for number in range(len(after_ms))]
    return placed(run, folder, speech_call(offsets, after_ms))
