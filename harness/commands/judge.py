"""Judges saved calls again: the same capture and the same judge give the same verdict."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from harness.commands.command import EXIT_CODES, Commands
from harness.commands.printing import print_measurement, print_texts, print_verdict
from harness.errors import InputFault
from harness.judge.call import JudgedCall, judge_call
from harness.judge.expectations import Expectations
from harness.judge.verdicts import Bounds, Result, worst
from harness.record.capture_files import CALL_FILE, TIMELINE_FILE, load_timeline
from harness.record.verdict_files import VERDICT_FILE, judged_by, shown, verdict_text
from harness.report.mark_table import LEGEND, marks_table, summary_line
from harness.scenarios.result import (
    SUMMARY_FILE,
    Outcome,
    RunSummary,
    ScenarioResult,
    load_summary,
)


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "judge",
        help="judge saved calls again",
        description="Judges saved calls again from their captures, and says whether the verdict is "
        "the one that was saved, byte for byte; if it is not, the command fails (1). A run's "
        "folder stands for all of its calls: expected failures (XFAIL) of the run's summary do not "
        "fail the command, and attempts that were given up do not count.",
    )
    parser.add_argument(
        "folders", nargs="+", type=Path, metavar="FOLDER", help="of a call or a run"
    )
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    calls = [call for folder in options.folders for call in saved_calls(folder)]
    console.print(LEGEND)
    counted = []
    for call in calls:
        console.print()
        if call.standing == "no scenario's":
            console.print(f"{shown(call.folder)}: no scenario's call, not judged", soft_wrap=True)
            continue
        again = judge_again(call.folder)
        _print_again(console, call, again)
        if call.standing == "counts":
            counted.append((call, again))
    if not counted:
        raise InputFault(
            "none of these calls is in the summary of its run",
            "Give the folder of one of them: then it is judged by itself.",
        )
    console.print()
    print_measurement(console, [again.judged for _, again in counted])
    known = sum(fails_as_known(call, again) for call, again in counted)
    if known:
        console.print(f"{known} of {len(counted)} calls fail as expected (XFAIL).")
    changed = [str(shown(call.folder)) for call, again in counted if again.same is False]
    if changed:
        console.print(
            f"{len(changed)} of {len(counted)} verdicts are NOT the ones that were saved, which "
            "fails: the judge or the calls' files have changed since.",
            soft_wrap=True,
        )
        print_texts(console, changed)
    result = worst(counted_result(call, again) for call, again in counted)
    print_verdict(console, result)
    return EXIT_CODES[result]


def _print_again(console: Console, call: FoundCall, again: Again) -> None:
    console.print(marks_table(again.judged, str(shown(call.folder))))
    console.print(summary_line([again.judged]), soft_wrap=True)
    counters = [again.judged.counter_text(one) for one in again.judged.counters if one.explanation]
    for text in (*counters, *again.judged.unmet):
        console.print(Text(text), soft_wrap=True)
    for note in again.judged.notes:
        console.print(f"note: {note}", soft_wrap=True)
    console.print(f"The verdict is {again.compared}", soft_wrap=True)
    if call.standing == "given up":
        console.print(
            "It does not count: an attempt that was given up, which is not in the run's summary",
            soft_wrap=True,
        )
    elif fails_as_known(call, again) and call.result:
        console.print(Text(f"It fails as expected (XFAIL): {call.result.reason}"), soft_wrap=True)
    elif call.result and call.result.outcome is Outcome.XPASS:
        console.print(
            Text(f"It did not fail as expected (XPASS): {call.result.reason}"), soft_wrap=True
        )


@dataclass(frozen=True)
class FoundCall:
    """A saved call, and what the summary of its run says of it."""

    folder: Path
    result: ScenarioResult | None
    """of the scenario it was judged for; None without a summary, or if that does not have it"""
    standing: Literal["counts", "given up", "no scenario's"]
    """given up: an attempt in whose place the summary has another, or whose worker broke; no
    scenario's: one that was never judged, such as that which asks a lab PBX what it can do"""
    run_passed: bool = False
    """whether its run did, all in all"""


@dataclass(frozen=True)
class Again:
    """A call that was judged again."""

    judged: JudgedCall
    same: bool | None
    """whether the verdict is, byte for byte, the saved one; None if none was saved"""

    @property
    def compared(self) -> str:
        """What the new verdict is against the saved one."""
        if self.same is None:
            return "not held against an earlier one: none was saved"
        if self.same:
            return "byte for byte the one that was saved"
        return "NOT the one that was saved: the judge or the call's files have changed since"


def saved_calls(folder: Path) -> list[FoundCall]:
    """The saved calls in ``folder``, or the one it is. InputFault if there is none."""
    if not folder.is_dir():
        raise InputFault(f"{folder} is not a folder", "Give the folder of a call, below out/.")
    found = {path.parent for name in (CALL_FILE, TIMELINE_FILE) for path in folder.rglob(name)}
    if not found:
        raise InputFault(
            f"{folder} holds no saved call", f"Give the folder of a call, with {CALL_FILE} in it."
        )
    runs = {run: _summary(run) for run in {_run_of(call) for call in found}}
    return [_found_call(call, runs[_run_of(call)], call == folder) for call in sorted(found)]


def _run_of(call: Path) -> Path:
    """The folder of the call's run, if it was of one: above that of its worker."""
    return call.resolve().parent.parent


def _summary(run: Path) -> RunSummary | None:
    """None where no run left one."""
    return load_summary(run) if (run / SUMMARY_FILE).is_file() else None


def _found_call(folder: Path, run: RunSummary | None, given: bool) -> FoundCall:
    """``given``: the user named this very call, so that it counts whatever it is."""
    name = folder.resolve().relative_to(_run_of(folder)).as_posix()
    results = {call.folder: one for one in run.results for call in one.calls} if run else {}
    result = results.get(name)
    if run is None or result or given:
        passed = run is not None and run.outcome is Outcome.PASS
        return FoundCall(folder, result, "counts", passed)
    judged = (folder / VERDICT_FILE).exists()
    return FoundCall(folder, None, "given up" if judged else "no scenario's")


def fails_as_known(saved: FoundCall, again: Again) -> bool:
    """Whether a call fails in just the way its driver is known to, as it did in its run."""
    return bool(again.same and saved.result and saved.result.outcome is Outcome.XFAIL)


def counted_result(saved: FoundCall, again: Again) -> Result:
    """What a call adds to the outcome of judging again, as its run's outcome did: what is known to
    fail passes, and fails where that did not show. A verdict that is not the saved one fails."""
    if again.same is False:
        return "FAIL"
    if fails_as_known(saved, again):
        return "PASS"
    if saved.result and saved.result.outcome is Outcome.XPASS:
        return "FAIL"
    if again.same and saved.result and saved.result.outcome is Outcome.INCONCLUSIVE:
        return "PASS" if saved.run_passed else "INCONCLUSIVE"
    return again.judged.result


def judge_again(folder: Path) -> Again:
    """Judge a saved call by the bounds and the expectations it was judged by; compare with what was
    saved then."""
    timeline = load_timeline(folder)
    saved = folder / VERDICT_FILE
    text = saved.read_text() if saved.exists() else ""
    judged = judge_call(timeline, *(_judged_by(saved, text) if text else ()))
    return Again(judged, verdict_text(judged) == text if text else None)


def _judged_by(file: Path, text: str) -> tuple[Bounds, Expectations | None]:
    """What the verdict saved in ``file`` was made by."""
    try:
        return judged_by(json.loads(text))
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise InputFault(
            f"{file} holds no verdict that can be read: {error}",
            "Remove it: then the call is judged by the usual bounds, without expectations.",
        ) from error
