"""Judges saved calls again: the same capture and the same judge give the same verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from harness.errors import InputFault
from harness.judge.call import Result, call_result
from harness.judge.counters import Accounts, judge_accounts
from harness.judge.expectations import Expectations, unexpected
from harness.judge.judge import Bounds, judge
from harness.record.capture_files import CALL_FILE, TIMELINE_FILE, load_timeline
from harness.record.verdict_files import VERDICT_FILE, write_call_files
from harness.scenarios.result import SUMMARY_FILE, Outcome, ScenarioResult, load_summary


@dataclass(frozen=True)
class FoundCall:
    """A saved call, and what the summary of its run says of it."""

    folder: Path
    result: ScenarioResult | None
    """of the scenario it was judged for; None without a summary, or if that does not have it"""
    standing: Literal["counts", "given up", "no scenario's"]
    """given up: an attempt in whose place the summary has another, or whose worker broke; no
    scenario's: one that was never judged, such as that which asks a lab PBX what it can do"""


@dataclass(frozen=True)
class Again:
    """A call that was judged again."""

    accounts: Accounts
    """and with them the marks"""
    unexpected: tuple[str, ...] | None
    """what did not come of it as its scenario expects; None without a scenario"""
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

    @property
    def result(self) -> Result:
        """Of all of it together."""
        return call_result(self.accounts, self.unexpected)


def saved_calls(folder: Path) -> list[FoundCall]:
    """The saved calls in ``folder``, or the one it is. InputFault if there is none."""
    if not folder.is_dir():
        raise InputFault(f"{folder} is no folder", "Give the folder of a call, below out/.")
    found = {path.parent for name in (CALL_FILE, TIMELINE_FILE) for path in folder.rglob(name)}
    if not found:
        raise InputFault(
            f"{folder} holds no saved call", f"Give the folder of a call, with {CALL_FILE} in it."
        )
    results = {run: _results(run) for run in {_run_of(call) for call in found}}
    return [_found_call(call, results[_run_of(call)], call == folder) for call in sorted(found)]


def _run_of(call: Path) -> Path:
    """The folder of the call's run, if it was of one: above that of its worker."""
    return call.resolve().parent.parent


def _results(run: Path) -> dict[str, ScenarioResult] | None:
    """By their calls' folders below the run's; None where no run left a summary."""
    if not (run / SUMMARY_FILE).is_file():
        return None
    return {call.folder: result for result in load_summary(run).results for call in result.calls}


def _found_call(folder: Path, results: dict[str, ScenarioResult] | None, given: bool) -> FoundCall:
    """``given``: the user named this very call, so that it counts whatever it is."""
    name = folder.resolve().relative_to(_run_of(folder)).as_posix()
    result = results.get(name) if results else None
    if results is None or result or given:
        return FoundCall(folder, result, "counts")
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
    return again.result


def judge_again(folder: Path) -> Again:
    """Judge a saved call by the bounds and the expectations it was judged by; compare with what was
    saved then."""
    timeline = load_timeline(folder)
    saved = folder / VERDICT_FILE
    text = saved.read_text() if saved.exists() else ""
    bounds, expected = _judged_by(saved, text) if text else (Bounds(), None)
    verdict = judge(timeline, bounds)
    accounts = judge_accounts(timeline, verdict)
    missed = tuple(unexpected(expected, timeline, verdict)) if expected else None
    with TemporaryDirectory(prefix="harness-judge-") as again:
        write_call_files(Path(again), timeline, verdict, accounts, (), expected, missed or ())
        same = (Path(again) / VERDICT_FILE).read_text() == text
    return Again(accounts, missed, same if text else None)


def _judged_by(file: Path, text: str) -> tuple[Bounds, Expectations | None]:
    """What the verdict saved in ``file`` was made by."""
    try:
        saved = json.loads(text)
        # Calls that were saved before there was such a thing do not have it.
        expected = saved.get("expectations")
        if expected:
            events = {name: (least, most) for name, (least, most) in expected["events"].items()}
            missed = tuple(expected["missed"])
            expected = Expectations(**{**expected, "events": events, "missed": missed})
        return Bounds(**saved["bounds"]), expected
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        raise InputFault(
            f"{file} holds no verdict that can be read: {error}",
            "Remove it: then the call is judged by the usual bounds, without expectations.",
        ) from error
