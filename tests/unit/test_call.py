"""A call fails when its marks or its accounts do."""

from __future__ import annotations

import pytest
from hand_made import Call

from harness.judge.call import Result, account_failures, call_result, worst
from harness.judge.counters import Accounts, judge_accounts
from harness.judge.judge import judge


def judged(answered_ms: float | None, played: int, *, lost: bool = False) -> Accounts:
    """A mark due at 120 ms and a final report that says how much was played: 1600 is right."""
    call = Call()
    call.send(1, 800)
    call.command(1, "MARK id=a")
    call.send(2, 800)
    call.play(20, 0, 1600)
    if lost:
        del call.packets[7]
    if answered_ms is not None:
        call.event(answered_ms, "MARK_PLAYED id=a")
    call.event(
        300,
        f"PLAYBACK received=1600 played={played} queued=0 flushed={1600 - played} dropped=0 "
        "played_ms=200 queued_ms=0 marks=0 underruns=0 paused=0 final=1",
    )
    call._add(301, "asterisk", "close", b"")
    timeline = call.timeline(1000)
    return judge_accounts(timeline, judge(timeline))


@pytest.mark.parametrize(
    ("accounts", "result"),
    [
        (judged(120.5, 1600), "PASS"),
        (judged(119, 1600), "FAIL"),
        (judged(120.5, 1599), "FAIL"),
        (judged(None, 1599), "FAIL"),
        # The mark is certain, what was played in all is not ...
        (judged(120.5, 1600, lost=True), "INCONCLUSIVE"),
        # ... and that does not excuse the mark.
        (judged(119, 1600, lost=True), "FAIL"),
    ],
)
def test_either_can_fail_a_call(accounts: Accounts, result: Result) -> None:
    assert call_result(accounts) == result


def test_a_call_without_marks_and_accounts_proves_nothing_unless_a_scenario_expects_that() -> None:
    timeline = Call().timeline()
    accounts = judge_accounts(timeline, judge(timeline))
    assert call_result(accounts) == "INCONCLUSIVE"
    assert call_result(accounts, []) == "PASS"


def test_what_comes_unexpectedly_fails_a_call() -> None:
    assert call_result(judged(120.5, 1600), []) == "PASS"
    assert call_result(judged(119, 1600), []) == "FAIL"
    assert call_result(judged(120.5, 1600), ["2 XON were to come, and 0 did"]) == "FAIL"


def test_why_the_accounts_failed() -> None:
    assert account_failures(judged(119, 1600)) == []
    assert account_failures(judged(120.5, 1599)) == [
        "PLAYBACK final WRONG: played is 1599, but it should be 1600\n"
        "  (came +0.299000 s; 10 packets, 0 lost)"
    ]


def test_the_worst_of_several() -> None:
    assert worst([]) == "PASS"
    assert worst(["PASS", "INCONCLUSIVE", "PASS"]) == "INCONCLUSIVE"
    assert worst(["INCONCLUSIVE", "FAIL", "PASS"]) == "FAIL"
