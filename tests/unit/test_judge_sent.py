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


def test_what_is_dropped_as_a_call_begins_is_missed_when_it_would_have_been_sent() -> None:
    call = started()
    call.send(1, 800)
    call.command(1, "MARK id=a")
    call.command(1, "MARK id=b")
    call.event(100, "MEDIA_DROPPED bytes=800 reason=unsent offset=0")
    call.event(100.1, "MARK_DISCARDED id=a reason=unsent")
    # Nothing is between the two marks.
    call.event(100.2, "MARK_PLAYED id=b")
    assert [verdict for verdict, _ in judged(call)] == ["PASS", "PASS"]


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
    call.event(1.1, "MEDIA_DROPPED bytes=800 reason=unsent offset=0")
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


def lossy(*dropped: int, told_ms: float = 120) -> Call:
    """Three marks a 800 bytes; of the second piece the last 320 bytes were not sent."""
    call = started()
    for mark_id in "abc":
        call.send(1, 800)
        call.json_command(1, command="MARK", id=mark_id)
    call.play(20, 0, 1280)
    call.play(180, 1600, 2400)
    call.event(told_ms, "MEDIA_DROPPED bytes=320 reason=unsent offset=1280")
    answers = zip("abc", (120.3, 180.3, 280.3), (800, 1280, 2080), dropped, strict=True)
    for number, (mark_id, at_ms, played, lost) in enumerate(answers, 1):
        said = {"played_ms": played / 8, "dropped": lost, "dropped_ms": lost / 8, "stage": "sent"}
        call.json_answer(at_ms, mark_id, 800 * number, **said)
    return call


def test_what_was_dropped_before_a_mark_is_as_the_wire_has_it() -> None:
    assert [verdict for verdict, _ in judged(lossy(0, 320, 0))] == ["PASS"] * 3


@pytest.mark.parametrize(
    ("dropped", "wrong", "says"),
    [
        ((0, 319, 0), 1, "says dropped 319, but 320 bytes were not sent"),
        ((0, 0, 320), 1, "says dropped 0, but 320 bytes were not sent"),
        ((0, 320, 320), 2, "says dropped 320, but 0 bytes were not sent"),
        ((320, 320, 0), 0, "says dropped 320, but 0 bytes were not sent"),
    ],
)
def test_what_was_dropped_counts_once_and_to_the_byte(
    dropped: tuple[int, ...], wrong: int, says: str
) -> None:
    verdict, explanation = judged(lossy(*dropped))[wrong]
    assert verdict == "WRONG"
    assert says in explanation


def test_what_is_missing_is_told_before_the_mark() -> None:
    verdicts = judged(lossy(0, 320, 0, told_ms=181))
    assert verdicts[1][0] == "WRONG"
    assert (
        "320 of the 800 bytes since the mark or flush before it were never sent" in (verdicts[1][1])
    )


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ("bytes=320 reason=unsent offset=1280", ""),
        ("bytes=321 reason=unsent offset=1280", "bytes is 321, but 320 from 1280 on were never"),
        ("bytes=320 reason=unsent offset=1279", "the byte at its offset 1279 was sent"),
        ("bytes=0 reason=unsent offset=1280", "it names no bytes"),
        ("bytes=320 reason=unsent", "it names no bytes"),
        # A bridge cannot know which.
        ("bytes=320 reason=bridge offset=0", ""),
    ],
)
def test_what_media_dropped_says_is_held_against_the_wire(told: str, says: str) -> None:
    call = started()
    call.send(1, 2400)
    call.command(1, "MARK id=a")
    call.play(20, 0, 1280)
    call.play(180, 1600, 2400)
    call.event(185, f"MEDIA_DROPPED {told}")
    found = [one for one in judge_call(call.timeline(), None).counters if one.explanation]
    wrong = [one.explanation for one in found if one.name == "MEDIA_DROPPED"]
    assert len(wrong) == bool(says)
    assert says in "".join(wrong)
