"""A call fails when its marks or its counters do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import Call, speech_call

from harness.judge.call import JudgedCall, judge_call
from harness.judge.expectations import Expectations
from harness.judge.verdicts import Bounds, CounterVerdict, Result, Verdict, worst


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


# ---- what could not be judged --------------------------------------------------------------------


def with_marks(
    passed: int, inconclusive: int, *, unlike: str = "", max_inconclusive: float | None = None
) -> JudgedCall:
    """A call with so many marks; those that could not be judged differ in the field ``unlike``."""
    total = passed + inconclusive
    call = speech_call([160 * number + 100 for number in range(total)], [0.5] * total)
    bounds = Bounds() if max_inconclusive is None else Bounds(max_inconclusive=max_inconclusive)
    judged = replace(judge_call(call.timeline(), bounds), counters=())
    assert judged.result == "PASS"
    others = {"": {}, "outcome": {"outcome": "discarded"}, "reason": {"reason": "flush"}}
    others["command"] = {"command": "MARK_MEDIA"}
    marks = tuple(
        replace(mark, verdict=Verdict.INCONCLUSIVE, explanation="stalled", **others[unlike])  # type: ignore[arg-type]
        if number < inconclusive
        else mark
        for number, mark in enumerate(judged.marks)
    )
    return replace(judged, marks=marks)


@pytest.mark.parametrize(
    ("passed", "inconclusive", "max_inconclusive", "result"),
    [
        # One of twenty by default
        (19, 1, None, "PASS"),
        (18, 1, None, "INCONCLUSIVE"),
        (39, 2, None, "PASS"),
        (37, 2, None, "INCONCLUSIVE"),
        (99, 1, 1.0, "PASS"),
        (98, 1, 1.0, "INCONCLUSIVE"),
        (200, 0, 0.0, "PASS"),
        (200, 1, 0.0, "INCONCLUSIVE"),
        (1, 1, 50.0, "PASS"),
        (1, 2, 50.0, "INCONCLUSIVE"),
        (1, 20, 100.0, "PASS"),
        # Nothing was seen
        (0, 3, 100.0, "INCONCLUSIVE"),
    ],
)
def test_a_call_passes_with_few_marks_that_could_not_be_judged(
    passed: int, inconclusive: int, max_inconclusive: float | None, result: Result
) -> None:
    call = with_marks(passed, inconclusive, max_inconclusive=max_inconclusive)
    assert call.result == result
    assert len(call.inconclusive) == inconclusive


@pytest.mark.parametrize("unlike", ["command", "outcome", "reason"])
def test_not_with_one_of_a_kind_of_which_none_was_judged(unlike: str) -> None:
    assert with_marks(99, 1).result == "PASS"
    assert with_marks(99, 1, unlike=unlike).result == "INCONCLUSIVE"


@pytest.mark.parametrize("verdict", sorted(set(Verdict) - {Verdict.PASS, Verdict.INCONCLUSIVE}))
def test_that_excuses_no_failure(verdict: Verdict) -> None:
    call = with_marks(99, 1, max_inconclusive=100.0)
    *marks, last = call.marks
    assert replace(call, marks=(*marks, replace(last, verdict=verdict))).result == "FAIL"


def counter(name: str, verdict: Verdict) -> CounterVerdict:
    return CounterVerdict(name, 1, 1, 1, None, verdict, "")


@pytest.mark.parametrize(
    ("passed", "inconclusive", "result"),
    [
        (["PLAYBACK"] * 19, "PLAYBACK", "PASS"),
        (["PLAYBACK"] * 18, "PLAYBACK", "INCONCLUSIVE"),
        (["PLAYBACK"] * 19, "PLAYBACK final", "INCONCLUSIVE"),
        ([f'MEDIA_FLUSHED "{number}"' for number in range(19)], 'MEDIA_FLUSHED "x"', "PASS"),
        (['MEDIA_FLUSHED "a"', *["PLAYBACK"] * 18], 'MEDIA_FLUSHED "b"', "PASS"),
        (["PLAYBACK"] * 19, 'MEDIA_FLUSHED "a"', "INCONCLUSIVE"),
    ],
)
def test_the_same_holds_for_counters(passed: list[str], inconclusive: str, result: Result) -> None:
    counters = [counter(name, Verdict.PASS) for name in passed]
    counters.append(counter(inconclusive, Verdict.INCONCLUSIVE))
    call = replace(with_marks(20, 0), counters=tuple(counters))
    assert call.result == result
    failed = counter("PLAYBACK", Verdict.WRONG)
    assert replace(call, counters=(*counters, failed)).result == "FAIL"
