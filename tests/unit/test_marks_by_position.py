"""Verdicts of marks by position, in hand-made calls.

The audio of a call begins to play at 20 ms, 8 bytes a ms, so the byte before offset n is over at
20 + n / 8 ms.
"""

from __future__ import annotations

import pytest
from hand_made import Call

from harness.judge.call import judge_call
from harness.judge.verdicts import MarkVerdict, Verdict


def judged(call: Call) -> dict[str, MarkVerdict]:
    return {str(mark.id): mark for mark in judge_call(call.timeline()).marks}


def verdict(call: Call, mark_id: str = "a") -> str:
    return judged(call)[mark_id].verdict.value


def spoken(*commands: str, sent: int = 1600) -> Call:
    """Commands behind ``sent`` bytes of media at 1 ms, all of which play."""
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:1")
    call.send(1, sent)
    for command in commands:
        call.command(1, command)
    call.play(20, 0, sent)
    return call


@pytest.mark.parametrize(
    ("offset", "answered_ms", "verdict_"),
    [
        # amid a frame, its first byte, the end of what was sent
        (1000, 145.2, "PASS"),
        (1000, 144.9, "EARLY"),
        (1000, 147.1, "LATE"),
        (1000, 220.2, "LATE"),
        (1, 20.3, "PASS"),
        (1, 19.9, "EARLY"),
        (1600, 220.2, "PASS"),
        (1600, 219.0, "EARLY"),
        # before everything: due when it was set
        (0, 1.1, "PASS"),
        (0, 0.9, "UNASKED"),
        (0, 4.0, "LATE"),
        (1000, None, "NEVER"),
    ],
)
def test_amid_what_was_sent(offset: int, answered_ms: float | None, verdict_: str) -> None:
    call = spoken(f"MARK id=a offset={offset}")
    if answered_ms is not None:
        call.event(answered_ms, "MARK_PLAYED id=a")
    found = [mark.verdict.value for mark in judge_call(call.timeline()).marks]
    assert found == (["NEVER", "UNASKED"] if verdict_ == "UNASKED" else [verdict_])


@pytest.mark.parametrize(
    ("set_ms", "answered_ms", "verdict_"),
    [(180, 180.3, "PASS"), (180, 200, "LATE"), (144, 145.1, "PASS"), (144, 144.1, "EARLY")],
)
def test_set_behind_its_media_it_is_due_at_once_but_not_before_it_is_over(
    set_ms: float, answered_ms: float, verdict_: str
) -> None:
    call = spoken()
    call.command(set_ms, "MARK id=a offset=1000")
    call.event(answered_ms, "MARK_PLAYED id=a")
    assert verdict(call) == verdict_


def ahead(answer: str | None, answered_ms: float) -> Call:
    """Set at 1 ms with nothing sent, 900 bytes ahead; the media comes at 10 and at 300 ms."""
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:1")
    call.command(1, "MARK id=a offset=900")
    call.send(10, 800)
    call.play(20, 0, 800)
    call.send(300, 800)
    call.play(320, 800, 1600)
    if answer is not None:
        call.event(answered_ms, answer)
    return call


@pytest.mark.parametrize(
    ("answered_ms", "verdict_"),
    [(332.7, "PASS"), (1.2, "WRONG"), (120.1, "EARLY"), (332.4, "EARLY"), (340.1, "LATE")],
)
def test_ahead_it_waits_for_its_byte(answered_ms: float, verdict_: str) -> None:
    found = verdict(ahead("MARK_PLAYED id=a", answered_ms))
    # What has not been received cannot have been played, nor reported.
    assert found == ("EARLY" if verdict_ == "WRONG" else verdict_)


def test_ahead_of_all_that_was_ever_sent_nothing_but_hangup_is_right() -> None:
    call = spoken("MARK id=a offset=9000")
    assert verdict(call) == "INCONCLUSIVE"
    call = spoken("MARK id=a offset=9000")
    call.event(230, "MARK_PLAYED id=a")
    assert verdict(call) == "WRONG"
    call = spoken("MARK id=a offset=9000")
    call.event(230, "MARK_DISCARDED id=a reason=hangup")
    call._add(231, "asterisk", "close", b"")
    assert verdict(call) == "PASS"
    call = spoken("MARK id=a offset=9000")
    call._add(231, "asterisk", "close", b"")
    assert verdict(call) == "NEVER"


def test_answers_come_in_the_order_of_positions() -> None:
    commands = ("MARK id=c offset=1000", "MARK id=a offset=200", "MARK id=b offset=600")
    call = spoken(*commands)
    for mark_id, ms in (("a", 45.2), ("b", 95.2), ("c", 145.2)):
        call.event(ms, f"MARK_PLAYED id={mark_id}")
    assert {verdict(call, one) for one in "abc"} == {"PASS"}
    # Set when the other had been answered, it comes next.
    call.command(150, "MARK id=d offset=100")
    call.event(150.2, "MARK_PLAYED id=d")
    assert verdict(call, "d") == "PASS"


def test_answers_in_the_order_of_commands_are_wrong() -> None:
    call = spoken("MARK id=c offset=601", "MARK id=a offset=600")
    call.event(95.2, "MARK_PLAYED id=c")
    call.event(95.3, "MARK_PLAYED id=a")
    found = judged(call)
    assert found["c"].verdict is Verdict.PASS
    # It was sent later, so shortly before the other was answered that it need not have been read.
    assert found["a"].verdict is Verdict.PASS
    call = spoken("MARK id=c offset=1201", "MARK id=a offset=1200")
    call.event(170.2, "MARK_PLAYED id=c")
    call.event(170.3, "MARK_PLAYED id=a")
    assert judged(call)["a"].verdict is Verdict.WRONG
    assert 'after the mark "c", which stands behind it' in judged(call)["a"].explanation


def test_at_one_position_the_order_is_that_of_the_commands() -> None:
    for first, verdict_ in (("a", "PASS"), ("b", "WRONG")):
        call = spoken("MARK id=a offset=800", "MARK id=b offset=800")
        call.event(120.2, f"MARK_PLAYED id={first}")
        call.event(120.3, f"MARK_PLAYED id={'b' if first == 'a' else 'a'}")
        assert verdict(call) == verdict_


def interrupted(*commands: tuple[float, str]) -> Call:
    """4000 bytes, of which 960 leave: flushed at 130 ms. More media comes at 200 ms."""
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:1")
    call.send(1, 4000)
    call.play(20, 0, 960)
    call.command(130, "FLUSH_MEDIA")
    for ms, command in commands:
        call.command(ms, command)
    call.send(200, 800)
    call.play(220, 4000, 4800)
    return call


@pytest.mark.parametrize(
    ("command", "answer", "verdict_"),
    [
        # set before the flush
        ((2, "MARK id=a offset=2000"), (130.3, "MARK_DISCARDED id=a reason=flush"), "PASS"),
        ((2, "MARK id=a offset=2000"), (130.3, "MARK_PLAYED id=a"), "WRONG"),
        ((2, "MARK id=a offset=2000"), (190, "MARK_DISCARDED id=a reason=flush"), "LATE"),
        ((2, "MARK id=a offset=900"), (132.7, "MARK_PLAYED id=a"), "PASS"),
        ((2, "MARK id=a offset=900"), (130.3, "MARK_DISCARDED id=a reason=flush"), "WRONG"),
        # and behind it: was it heard?
        ((150, "MARK id=a offset=2000"), (150.3, "MARK_DISCARDED id=a reason=flush"), "PASS"),
        ((150, "MARK id=a offset=4000"), (150.3, "MARK_DISCARDED id=a reason=flush"), "PASS"),
        ((150, "MARK id=a offset=2000"), (150.3, "MARK_PLAYED id=a"), "WRONG"),
        ((150, "MARK id=a offset=2000"), (190, "MARK_DISCARDED id=a reason=flush"), "LATE"),
        ((150, "MARK id=a offset=900"), (150.3, "MARK_PLAYED id=a"), "PASS"),
        ((150, "MARK id=a offset=900"), (150.3, "MARK_DISCARDED id=a reason=flush"), "WRONG"),
        # ahead of what was flushed
        ((2, "MARK id=a offset=4400"), (270.2, "MARK_PLAYED id=a"), "PASS"),
        ((2, "MARK id=a offset=4400"), (130.3, "MARK_DISCARDED id=a reason=flush"), "WRONG"),
        ((2, "MARK id=a offset=4400"), (140.3, "MARK_PLAYED id=a"), "EARLY"),
    ],
)
def test_a_flush(command: tuple[float, str], answer: tuple[float, str], verdict_: str) -> None:
    call = interrupted(command)
    call.event(*answer)
    assert verdict(call) == verdict_


def test_a_flushed_one_is_owed_its_answer_whenever_it_was_set() -> None:
    assert verdict(interrupted((150, "MARK id=a offset=2000"))) == "NEVER"


def test_media_before_it_is_missed_in_the_order_of_the_stream() -> None:
    """The one at 800 was set last, and accounts for what the one at 1600 need not."""
    call = Call()
    call.send(1, 1600)
    call.command(1, "MARK id=b offset=1600")
    call.command(1, "MARK id=a offset=800")
    call.play(20, 800, 1600)
    call.event(2, "MARK_PLAYED id=a")
    call.event(120.2, "MARK_PLAYED id=b")
    assert verdict(call, "a") == "WRONG"
    assert verdict(call, "b") == "PASS"


def test_its_offset_comes_back() -> None:
    for said, verdict_ in ((800, "PASS"), (1600, "WRONG")):
        call = spoken('{"command":"MARK","id":"a","offset":800}')
        call.json_answer(120.2, "a", said, played_ms=100.0)
        assert verdict(call) == verdict_
    assert "but it was set at 800" in judged(call)["a"].explanation


def test_of_one_id_each_is_answered_at_its_place() -> None:
    call = spoken("MARK id=a offset=1000", "MARK id=a offset=200")
    call.event(45.2, "MARK_PLAYED id=a")
    call.event(145.2, "MARK_PLAYED id=a")
    marks = judge_call(call.timeline()).marks
    assert [mark.offset for mark in marks] == [1000, 200]
    assert [mark.verdict for mark in marks] == [Verdict.PASS, Verdict.PASS]


@pytest.mark.parametrize(
    "argument", ["offset=", "offset=-1", "offset=x", "offset=9007199254740992"]
)
def test_one_that_the_driver_does_not_take_is_no_mark(argument: str) -> None:
    found = judge_call(spoken(f"MARK id=a {argument}").timeline())
    assert found.marks == ()
    assert any("malformed MARK" in note for note in found.notes)


@pytest.mark.parametrize(("flushes", "verdict_"), [(3, "WRONG"), (64, "PASS")])
def test_one_too_far_back_may_be_refused(flushes: int, verdict_: str) -> None:
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:1")
    for number in range(flushes):
        call.send(1 + number, 160)
        call.command(1 + number, "FLUSH_MEDIA")
    call.command(100, "MARK id=a offset=100")
    call.event(100.2, "MARK_DISCARDED id=a reason=limit")
    assert verdict(call) == verdict_


@pytest.mark.parametrize(
    ("last", "since_ms", "result"), [("b", 20.0, "PASS"), ("a", 70.0, "WRONG"), ("c", 0.0, "WRONG")]
)
def test_the_last_mark_of_a_flush_is_the_one_furthest_in_the_stream(
    last: str, since_ms: float, result: str
) -> None:
    """``a`` was set last, ``c`` is ahead of all that was flushed."""
    call = interrupted(
        (2, "MARK id=b offset=800"), (2, "MARK id=c offset=4400"), (125, "MARK id=a offset=400")
    )
    call.command(129.9, "FLUSH_MEDIA id=f")
    call.event(120.2, "MARK_PLAYED id=b")
    call.event(125.2, "MARK_PLAYED id=a")
    call.event(
        140.4,
        "MEDIA_FLUSHED id=f played=960 flushed=3040 played_ms=120.000 "
        f"flushed_ms=380.000 last_mark={last} since_mark_ms={since_ms:.3f}",
    )
    call.event(270.2, "MARK_PLAYED id=c")
    found = judge_call(call.timeline())
    assert {mark.verdict for mark in found.marks} == {Verdict.PASS}
    [flush] = [one for one in found.counters if "MEDIA_FLUSHED" in one.name]
    assert flush.verdict.value == result, flush.explanation


@pytest.mark.parametrize(
    ("behind", "last", "result"),
    [(130.0, "b", "PASS"), (130.0, "a", "WRONG"), (141.0, "a", "PASS"), (141.0, "b", "WRONG")],
)
def test_one_set_behind_a_flush_counts_if_it_was_acknowledged_before_the_reply(
    behind: float, last: str, result: str
) -> None:
    call = interrupted((2, "MARK id=a offset=400"))
    call.event(50.2, "MARK_PLAYED id=a")
    call.command(129.9, "FLUSH_MEDIA id=f")
    call.command(behind, "MARK id=b offset=800")
    call.event(behind + 0.2, "MARK_PLAYED id=b")
    call.event(
        140.4,
        "MEDIA_FLUSHED id=f played=960 flushed=3040 played_ms=120.000 "
        f"flushed_ms=380.000 last_mark={last} since_mark_ms={20 if last == 'b' else 70}.000",
    )
    found = judge_call(call.timeline())
    [flush] = [one for one in found.counters if "MEDIA_FLUSHED" in one.name]
    assert flush.verdict.value == result, flush.explanation


@pytest.mark.parametrize(
    ("set_ms", "acked_ms", "verdict_"), [(230, 230.2, "PASS"), (221, 221.2, "WRONG")]
)
def test_one_before_it_that_is_set_later_is_not_the_mark_before_it(
    set_ms: float, acked_ms: float, verdict_: str
) -> None:
    """Of the media behind that all was dropped, which is told by the first of the two."""
    rest = {"played_ms": 180.0, "dropped_ms": 0.0, "stage": "sent"}
    call = Call()
    call.json_event(0, event="MEDIA_START", channel_id="1.1", playback_marks=2)
    call.send(1, 1600)
    call.play(20, 0, 1440)
    call.json_event(201, event="MEDIA_DROPPED", bytes=160, reason="unsent", offset=1440)
    call.json_command(set_ms, command="MARK", id="early", offset=1500)
    call.json_command(222, command="MARK", id="end")
    call.json_answer(acked_ms, "early", 1500, **rest)
    call.json_answer(222.2, "end", 1600, **rest | {"dropped": 160, "dropped_ms": 20.0})
    [end] = [mark for mark in judge_call(call.timeline()).marks if mark.id == "end"]
    assert end.verdict.value == verdict_, end.explanation
