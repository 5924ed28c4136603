"""What the judge says where played means sent (playback_marks 2): losses, fields, the stage."""

from __future__ import annotations

import pytest
from hand_made import Call

from harness.judge.call import judge_call
from harness.judge.expectations import Expectations


def judged(call: Call) -> list[tuple[str, str]]:
    return [
        (mark.verdict.value, mark.explanation) for mark in judge_call(call.timeline(), None).marks
    ]


def started() -> Call:
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:2")
    return call


def held(*, told_ms: float | None = 250, reason: str = "unsent", sent_after_all: int = 0) -> Call:
    """Two marks: the media before the second one was dropped, except for its first bytes."""
    call = started()
    call.send(1, 1600)
    call.command(1, "MARK id=a")
    call.send(1, 800)
    call.command(1, "MARK id=b")
    call.play(20, 0, 1600 + sent_after_all)
    call.event(220.2, "MARK_PLAYED id=a")
    if told_ms is not None:
        call.event(told_ms, f"MEDIA_DROPPED bytes={800 - sent_after_all} reason=unsent offset=1600")
    call.event(260, f"MARK_DISCARDED id=b reason={reason}")
    return call


def test_a_mark_is_discarded_where_nothing_behind_the_one_before_it_was_sent() -> None:
    assert [verdict for verdict, _ in judged(held())] == ["PASS", "PASS"]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (held(sent_after_all=160), "160 of the 800 bytes behind the mark before it were sent"),
        (held(told_ms=None), "but no MEDIA_DROPPED had told of it"),
        # Afterwards is too late.
        (held(told_ms=270), "but no MEDIA_DROPPED had told of it"),
        (held(reason="overflow"), "but no MEDIA_DROPPED had told of it"),
        (held(reason="boredom"), "not a reason of the protocol"),
    ],
)
def test_a_mark_that_is_discarded_wrongly(call: Call, says: str) -> None:
    [played, discarded] = judged(call)
    assert played[0] == "PASS"
    assert discarded[0] == "WRONG"
    assert says in discarded[1]


def test_a_mark_with_nothing_before_it_is_never_dropped() -> None:
    call = started()
    call.command(1, "MARK id=a")
    call.event(2, "MEDIA_DROPPED bytes=160 reason=unsent offset=0")
    call.event(3, "MARK_DISCARDED id=a reason=unsent")
    assert judged(call)[0][0] == "WRONG"
    assert "there is no media behind the mark before it" in judged(call)[0][1]


def test_the_driver_that_called_delivered_played_has_no_such_reason() -> None:
    call = held()
    call._messages = [one for one in call._messages if "MEDIA_START" not in one.text]
    assert judged(call)[1][0] == "WRONG"


def detailed(**changes: object) -> Call:
    """A mark after 1600 bytes, of which 800 were sent; what is said of it."""
    call = started()
    call.send(1, 1600)
    call.json_command(1, command="MARK", id="a")
    call.play(20, 0, 800)
    call.event(120, "MEDIA_DROPPED bytes=800 reason=unsent offset=800")
    fields = {"played_ms": 100, "dropped": 800, "dropped_ms": 100, "stage": "sent"}
    call.json_answer(120.3, "a", 1600, **(fields | changes))
    return call


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, ""),
        ({"stage": "mixed"}, ""),
        ({"stage": "heard"}, "stage 'heard'"),
        ({"stage": None}, "stage None"),
        ({"dropped_ms": None}, "no number as dropped_ms"),
        ({"dropped_ms": 99}, "dropped_ms 99, but it should be 100.000"),
        ({"dropped": None}, "no number as dropped"),
    ],
)
def test_what_an_acknowledgement_says_of_what_was_dropped(
    changes: dict[str, object], says: str
) -> None:
    [(verdict, explanation)] = judged(detailed(**changes))
    assert verdict == ("WRONG" if says else "PASS")
    assert says in explanation


def test_a_mark_of_which_nothing_was_played_is_not_played() -> None:
    call = started()
    call.send(1, 800)
    call.json_command(1, command="MARK", id="a")
    call.event(120, "MEDIA_DROPPED bytes=800 reason=unsent offset=0")
    said = {"played_ms": 0, "dropped": 800, "dropped_ms": 100, "stage": "sent"}
    call.json_answer(1.2, "a", 800, **said)
    [(verdict, explanation)] = judged(call)
    assert verdict == "WRONG"
    assert "nothing else behind the mark before it was sent" in explanation


def test_a_report_names_a_stage() -> None:
    counts = "received=0 played=0 queued=0 flushed=0 dropped=0 played_ms=0.000 queued_ms=0.000"
    for stage, verdict in ((" stage=delivered", "PASS"), ("", "WRONG"), (" stage=far", "WRONG")):
        call = started()
        call.command(1, "REPORT_PLAYBACK")
        call.event(2, f"PLAYBACK {counts} marks=0 underruns=0 paused=0{stage} at=1.000")
        found = [one for one in judge_call(call.timeline(), None).counters if one.time_ns]
        assert [one.verdict.value for one in found] == [verdict]


@pytest.mark.parametrize(("stage", "met"), [("sent", True), ("delivered", False)])
def test_a_scenario_can_expect_a_stage(stage: str, met: bool) -> None:
    expected = Expectations("a.yaml", {}, {}, gapless=False, stage=stage)
    assert (judge_call(detailed().timeline(), None, expected).unmet == ()) is met
    # In plain text an acknowledgement does not say it.
    assert judge_call(started().timeline(), None, expected).unmet == ()


@pytest.mark.parametrize(
    ("acked_ms", "verdict"),
    [(120.1, "PASS"), (200, "PASS"), (241, "PASS"), (243, "LATE"), (119.9, "EARLY")],
)
def test_what_is_not_sent_is_missed_when_it_would_have_been(acked_ms: float, verdict: str) -> None:
    # The audio that was sent ends at 120 ms; what is missing lasts 100 ms.
    call = started()
    call.send(1, 1600)
    call.command(1, "MARK id=a")
    call.play(20, 0, 800)
    call.event(119, "MEDIA_DROPPED bytes=800 reason=unsent offset=800")
    call.event(acked_ms, "MARK_PLAYED id=a")
    assert [one for one, _ in judged(call)] == [verdict]
