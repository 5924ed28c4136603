"""A call fails when its marks or its counters do."""

from __future__ import annotations

import pytest
from hand_made import Call

from harness.judge.call import JudgedCall, judge_call
from harness.judge.expectations import Expectations
from harness.judge.verdicts import Result, worst


def judged(
    answered_ms: float | None,
    played: int,
    *,
    lost: bool = False,
    expectations: Expectations | None = None,
) -> JudgedCall:
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
    return judge_call(call.timeline(1000), expectations=expectations)


def expecting(**events: tuple[int, int]) -> Expectations:
    """A scenario that expects so many of these events, and nothing else."""
    return Expectations("a.yaml", marks={}, events=events, gapless=False)


@pytest.mark.parametrize(
    ("call", "result"),
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
def test_either_can_fail_a_call(call: JudgedCall, result: Result) -> None:
    assert call.result == result


def test_a_call_without_marks_and_counters_proves_nothing_unless_a_scenario_expects_that() -> None:
    timeline = Call().timeline()
    assert judge_call(timeline).result == "INCONCLUSIVE"
    assert judge_call(timeline, expectations=expecting()).result == "PASS"


def test_what_comes_unexpectedly_fails_a_call() -> None:
    assert judged(120.5, 1600, expectations=expecting()).result == "PASS"
    assert judged(119, 1600, expectations=expecting()).result == "FAIL"
    unmet = judged(120.5, 1600, expectations=expecting(MEDIA_XON=(2, 2)))
    assert unmet.unmet == ("a.yaml: 2 MEDIA_XON were to come, and 0 did",)
    assert unmet.result == "FAIL"


def test_why_the_counters_failed() -> None:
    def texts(call: JudgedCall) -> list[str]:
        return [call.counter_text(one) for one in call.counters if one.explanation]

    assert texts(judged(119, 1600)) == []
    assert texts(judged(120.5, 1599)) == [
        "PLAYBACK final WRONG: played is 1599, but it should be 1600\n"
        "  (came +0.299000 s; 10 packets, 0 missing)"
    ]


def test_the_worst_of_several() -> None:
    assert worst([]) == "PASS"
    assert worst(["PASS", "INCONCLUSIVE", "PASS"]) == "INCONCLUSIVE"
    assert worst(["INCONCLUSIVE", "FAIL", "PASS"]) == "FAIL"
