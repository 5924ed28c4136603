"""Judges saved calls again: the same capture and the same judge give the same verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.capture.saved import CALL_FILE, TIMELINE_FILE, load_timeline
from harness.errors import InputFault
from harness.judge.accounts import Accounts, judge_accounts
from harness.judge.judge import Bounds, judge
from harness.report.call_files import VERDICT_FILE, write_call_files


@dataclass(frozen=True)
class Again:
    """A call that was judged again."""

    accounts: Accounts
    """and with them the marks"""
    compared: str
    """what the new verdict is against the saved one"""


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
    """Judge a saved call by the bounds it was judged by, and compare with what was saved then."""
    timeline = load_timeline(folder)
    saved = folder / VERDICT_FILE
    text = saved.read_text() if saved.exists() else ""
    bounds = Bounds(**json.loads(text)["bounds"]) if text else Bounds()
    verdict = judge(timeline, bounds)
    accounts = judge_accounts(timeline, verdict)
    with TemporaryDirectory(prefix="harness-judge-") as again:
        write_call_files(Path(again), timeline, verdict, accounts)
        same = (Path(again) / VERDICT_FILE).read_text() == text
    if not text:
        return Again(accounts, "not held against an earlier one: none was saved")
    return Again(
        accounts,
        "byte for byte the one that was saved" if same else "NOT the one that was saved",
    )
