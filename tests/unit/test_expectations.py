"""What a scenario expects of a call is held against its messages and its media."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hand_made import FRAME, Call

from harness.capture.timeline import Timeline
from harness.judge.call import judge_call
from harness.judge.expectations import Expectations
from harness.media.position_code import encode

NOTHING = Expectations("a.yaml", {}, {}, gapless=False)


def missed(expected: Expectations, call: Call, **timeline: object) -> list[str]:
    return held_against(expected, call.timeline(**timeline))  # type: ignore[arg-type]


def held_against(expected: Expectations, timeline: Timeline) -> list[str]:
    return list(judge_call(timeline, expectations=expected).unmet)


def marks_call() -> Call:
    """The mark "a" is played, 7 flushed, "b" not answered, "c" answered twice; so is an old one."""
    call = Call()
    call.send(1, 160)
    call.command(2, "MARK id=a")
    call.json_command(2, command="MARK", id=7)
    call.command(2, "MARK id=b")
    call.command(2, "MARK id=c")
    call.command(2, "MARK_MEDIA old")
    call.play(20, 0, 160)
    call.event(40.5, "MARK_PLAYED id=a")
    call.json_event(40.6, event="MARK_DISCARDED", id=7, reason="flush")
    call.event(40.7, "MARK_PLAYED id=c")
    call.event(40.8, "MARK_DISCARDED id=c reason=hangup")
    call.event(40.9, "MEDIA_MARK_PROCESSED old")
    return call


@pytest.mark.parametrize(
    ("stalls_ms", "result"),
    [((), "FAIL"), (((25, 35),), "FAIL"), (((20, 41),), "INCONCLUSIVE"), (((70, 99),), "FAIL")],
)
def test_what_is_lost_when_the_host_stalled_tells_nothing(
    stalls_ms: tuple[tuple[float, float], ...], result: str
) -> None:
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:2")
    call.send(1, 160)
    call.command(2, "MARK id=a")
    call.send(3, 160)
    call.command(4, "MARK id=b")
    call.play(20, 0, 160)
    call.event(40.2, "MARK_PLAYED id=a")
    call.event(60, "MEDIA_DROPPED bytes=160 reason=bridge offset=160")
    call.event(60, "MARK_DISCARDED id=b reason=bridge")
    expected = Expectations("a.yaml", {"all": "played"}, {}, gapless=False)
    judged = judge_call(call.timeline(stalls_ms=stalls_ms), expectations=expected)
    assert (judged.marks_result if not judged.unmet else "FAIL") == result, judged.marks


def test_nothing_is_expected() -> None:
    assert missed(NOTHING, marks_call()) == []


@pytest.mark.parametrize(
    ("marks", "texts"),
    [
        ({"a": "played", "7": "flush", "b": "nothing", "c": "played", "old": "played"}, []),
        ({"a": "flush"}, ['mark "a" was to be flush, and is played']),
        ({"7": "played"}, ['mark "7" was to be played, and is flush']),
        ({"b": "played"}, ['mark "b" was to be played, and is nothing']),
        ({"old": "nothing"}, ['mark "old" was to be nothing, and is played']),
        ({"d": "nothing"}, ['there is no mark "d"']),
        # "all" is for those that are not named.
        ({"all": "played", "7": "flush", "b": "nothing"}, []),
        ({"all": "nothing", "7": "flush", "a": "played", "c": "played", "old": "played"}, []),
        # Of two answers it is the first one.
        (
            {"all": "played", "7": "flush", "b": "nothing", "c": "hangup"},
            ['mark "c" was to be hangup, and is played'],
        ),
    ],
)
def test_how_marks_are_answered(marks: dict[str, str], texts: list[str]) -> None:
    expected = replace(NOTHING, marks=marks)
    assert missed(expected, marks_call()) == [f"a.yaml: {text}" for text in texts]


def same_id(*answers: str) -> Call:
    """So many marks with the same id, one after the other."""
    call = Call()
    for number, answer in enumerate(answers):
        call.command(10 * number + 1, "MARK id=a")
        call.event(10 * number + 1.3, answer)
    return call


def test_each_mark_of_an_id_is_held_against_its_own_answer() -> None:
    played, refused = "MARK_PLAYED id=a", "MARK_DISCARDED id=a reason=limit"
    expected = replace(NOTHING, marks={"a": "played"})
    assert missed(expected, same_id(played, played)) == []
    for answers in ([refused, played], [played, refused]):
        assert missed(expected, same_id(*answers)) == [
            'a.yaml: mark "a" was to be played, and is limit'
        ]
    assert len(missed(replace(NOTHING, marks={"a": "limit"}), same_id(played, played))) == 2


def test_an_answer_to_a_mark_that_was_never_set_is_not_held_against_all() -> None:
    call = Call()
    call.event(10, "MARK_PLAYED id=nobody")
    call.command(20, "MARK id=a")
    call.event(20.3, "MARK_DISCARDED id=a reason=flush")
    assert missed(replace(NOTHING, marks={"all": "flush"}), call) == []


@pytest.mark.parametrize("wanted", ["played", "nothing"])
def test_all_is_not_met_by_no_mark_at_all(wanted: str) -> None:
    text = "a.yaml: there is no mark that 'all' could stand for"
    all_of_them = replace(NOTHING, marks={"all": wanted})
    assert missed(all_of_them, Call()) == [text]
    unasked = Call()
    unasked.event(10, "MARK_PLAYED id=nobody")
    assert missed(all_of_them, unasked) == [text]
    call = Call()
    call.command(1, "MARK id=a")
    call.event(1.3, "MARK_PLAYED id=a")
    assert missed(replace(NOTHING, marks={"a": "played", "all": wanted}), call) == [text]


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ((2, 2), ""),
        ((0, 2), ""),
        ((2, 9), ""),
        ((1, 1), "1 MARK_PLAYED were to come, and 2 did"),
        ((3, 5), "3 to 5 MARK_PLAYED were to come, and 2 did"),
    ],
)
def test_how_many_events_come(wanted: tuple[int, int], text: str) -> None:
    expected = replace(NOTHING, events={"MARK_PLAYED": wanted})
    assert missed(expected, marks_call()) == ([f"a.yaml: {text}"] if text else [])


def test_what_the_application_says_is_no_event() -> None:
    call = Call()
    call.command(1, "XON")
    call.event(2, "XON")
    assert missed(replace(NOTHING, events={"XON": (1, 1), "XOFF": (0, 0)}), call) == []


def speech(gap_ms: float = 0) -> Call:
    call = Call()
    call.send(1, 1600)
    call.play(20, 0, 800)
    call.play(120 + gap_ms, 800, 1600)
    return call


def test_media_without_interruption() -> None:
    gapless = replace(NOTHING, gapless=True)
    assert missed(gapless, speech()) == []
    assert missed(gapless, speech(gap_ms=60)) == [
        "a.yaml: the media to the caller was interrupted 1 times"
    ]
    assert missed(NOTHING, speech(gap_ms=60)) == []


GAPLESS = replace(NOTHING, gapless=True)


def gaps(call: Call, **timeline: object) -> int:
    """How many interruptions are told of."""
    texts = missed(GAPLESS, call, **timeline)
    return int(texts[0].split()[-2]) if texts else 0


def halves(padding: bytes, buffering: bool = True, again_ms: float = 1) -> Call:
    """Ten packets with half a frame each, and ``padding`` behind it; the second half of the media
    is sent at ``again_ms``."""
    call = Call()
    if buffering:
        call.command(0, "START_MEDIA_BUFFERING")
    call.send(1, 400)
    call.send(again_ms, 400)
    for number in range(10):
        call.packet(20 + 20 * number, encode(80 * number, 80) + padding)
    return call


@pytest.mark.parametrize("padding", [b"", b"\xff" * 80])
@pytest.mark.parametrize("buffering", [True, False])
def test_a_frame_that_is_not_full_is_an_interruption(padding: bytes, buffering: bool) -> None:
    # Outside buffering the fifth frame ends with its message; the last one has nothing behind it.
    assert gaps(halves(padding, buffering)) == (9 if buffering else 8)


def test_a_frame_without_media_between_others_is_an_interruption() -> None:
    call = Call()
    call.send(1, 1600)
    for number in range(10):
        call.play(20 + 40 * number, FRAME * number, FRAME * (number + 1))
        call.packet(40 + 40 * number, b"\xff" * FRAME)
    assert gaps(call) == 9
    assert gaps(call, stalls_ms=[(1, 400)]) == 0


def pieces(*, second_ms: float, end: str = "", silent: int = 1) -> Call:
    """A frame and a half of media, then ``silent`` frames of silence, then two frames more."""
    call = Call()
    call.command(0, "START_MEDIA_BUFFERING")
    call.send(1, 240)
    if end:
        call.command(2, end)
    call.send(second_ms, 320)
    call.packet(20, encode(0, 160))
    call.packet(40, encode(160, 80) + b"\xff" * 80)
    for number in range(silent):
        call.packet(60 + 20 * number, b"\xff" * FRAME)
    call.play(60 + 20 * silent, 240, 560)
    return call


def test_what_had_not_been_sent_could_not_be_played() -> None:
    assert gaps(pieces(second_ms=70)) == 0
    # In time for the third packet if at all, and only just: within the bounds.
    assert gaps(pieces(second_ms=58.5)) == 0
    assert gaps(pieces(second_ms=57)) == 1
    assert gaps(pieces(second_ms=57), uncertainty_ns=1_000_000) == 0
    assert gaps(pieces(second_ms=57), stalls_ms=[(58, 59.5)]) == 0
    assert gaps(pieces(second_ms=3)) == 1


def test_a_partial_frame_that_is_closed_is_not_filled_up() -> None:
    """But what is behind it is not held back."""
    assert gaps(pieces(second_ms=3, end="STOP_MEDIA_BUFFERING", silent=0)) == 0
    assert gaps(pieces(second_ms=3, end="STOP_MEDIA_BUFFERING")) == 1
    # A mark only makes it play when nothing else is there in time.
    assert gaps(pieces(second_ms=3, end="MARK id=a", silent=0)) == 1
    assert gaps(pieces(second_ms=39, end="MARK id=a", silent=0)) == 0


def test_an_interruption_while_the_host_stood_still_is_not_the_drivers() -> None:
    gapless = replace(NOTHING, gapless=True)
    assert missed(gapless, speech(gap_ms=60), stalls_ms=[(120, 170)]) == []
    assert len(missed(gapless, speech(gap_ms=60), stalls_ms=[(120, 130)])) == 1
    # Several are as good as one, but on two processors at the same time they are one.
    several = [(120, 131), (131, 142), (142, 153)]
    assert missed(gapless, speech(gap_ms=60), stalls_ms=several) == []
    assert len(missed(gapless, speech(gap_ms=60), stalls_ms=[(120, 131)] * 3)) == 1
    # A packet due at 100 ms is kept back for 32 ms, and the next tick is missed.
    late = Call()
    late.send(1, 1600)
    late.play(20, 0, 800, late_ms={4: 32})
    late.play(140, 800, 1600)
    assert missed(gapless, late, stalls_ms=[(99, 132)]) == []
    assert len(missed(gapless, late)) == 1


def test_what_a_step_missed_during_the_call_stays_so() -> None:
    assert missed(replace(NOTHING, missed=("a.yaml:3: no XON came",)), Call()) == [
        "a.yaml:3: no XON came"
    ]
