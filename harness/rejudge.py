"""Judges saved calls again: the same capture and the same judge give the same verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.capture.saved import CALL_FILE, TIMELINE_FILE, load_timeline
from harness.errors import InputFault
from harness.judge.accounts import Accounts, judge_accounts
from harness.judge.expectations import Expectations, unexpected
from harness.judge.judge import Bounds, judge
from harness.judge.marks_and_accounts import Result, call_result
from harness.report.call_files import VERDICT_FILE, write_call_files


@dataclass(frozen=True)
class Again:
    """A call that was judged again."""

    accounts: Accounts
    """and with them the marks"""
    unexpected: tuple[str, ...] | None
    """what did not come of it as its scenario expects; None without a scenario"""
    compared: str
    """what the new verdict is against the saved one"""

    @property
    def result(self) -> Result:
        """Of all of it together."""
        return call_result(self.accounts, self.unexpected)


def saved_calls(folder: Path) -> list[Path]:
    """The folders of the saved calls in ``folder``, or itself. InputFault if there is none."""
    if not folder.is_dir():
        raise InputFault(f"{folder} is no folder", "Give the folder of a call, below out/.")
    found = {path.parent for name in (CALL_FILE, TIMELINE_FILE) for path in folder.rglob(name)}
    if not found:
        raise InputFault(
            f"{folder} holds no saved call", f"Give the folder of a call, with {CALL_FILE} in it."
        )
    return sorted(found)


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
    if not text:
        compared = "not held against an earlier one: none was saved"
    else:
        compared = "byte for byte the one that was saved" if same else "NOT the one that was saved"
    return Again(accounts, missed, compared)


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
