"""A call's messages, read once: what holds when, and what belongs to what."""

from __future__ import annotations

import pytest
from hand_made import MS, START_NS, Call

from chan_websocket.protocol import MAX_MESSAGE_BYTES, UNPARSEABLE
from harness.judge.conversation import Conversation


def conversation(call: Call) -> Conversation:
    return Conversation(call.timeline().messages)


def at(ms: float) -> int:
    return START_NS + round(ms * MS)


def test_media_is_counted_and_known_by_when_it_was_sent() -> None:
    call = Call()
    call.send(1, 160)
    call.send(2, 40)
    talk = conversation(call)
    assert (talk.sent, len(talk.stream)) == (200, 200)
    assert [talk.sent_ns(end) for end in (0, 1, 160, 161, 200, 201)] == [
        *(None, at(1), at(1), at(2), at(2), None)
    ]
    assert [talk.sent_until(at(ms)) for ms in (0, 1, 1.5, 2)] == [0, 160, 160, 200]


def test_a_message_that_is_too_long_is_not_received() -> None:
    call = Call()
    call.send(1, 160)
    call.send(2, MAX_MESSAGE_BYTES)
    call.send(3, MAX_MESSAGE_BYTES + 1)
    assert conversation(call).sent == 160 + MAX_MESSAGE_BYTES


def test_pauses_are_spans_and_the_last_may_be_open() -> None:
    call = Call()
    for ms, command in enumerate(["PAUSE", "PAUSE", "CONTINUE", "CONTINUE", "PAUSE"]):
        call.command(ms, f"{command}_MEDIA")
    talk = conversation(call)
    assert talk.pauses == [(at(0), at(2)), (at(4), None)]
    assert talk.paused
    assert talk.continues == [at(2), at(3)]


@pytest.mark.parametrize(("opts_in", "ended"), [("MARK id=a", 2), ("MARK_MEDIA a", None)])
def test_a_flush_ends_a_pause_of_who_has_opted_in(opts_in: str, ended: int | None) -> None:
    call = Call()
    for ms, command in enumerate([opts_in, "PAUSE_MEDIA", "FLUSH_MEDIA"]):
        call.command(ms, command)
    talk = conversation(call)
    assert talk.pauses == [(at(1), ended and at(ended))]
    assert talk.continues == ([at(2)] if ended else [])


def test_a_direction_that_the_driver_does_not_know_changes_nothing() -> None:
    call = Call()
    call.json_command(0, command="SET_MEDIA_DIRECTION", direction="in")
    call.json_command(1, command="SET_MEDIA_DIRECTION", direction="sideways")
    call.command(2, "MARK id=a")
    call.command(2, "MARK_MEDIA b")
    talk = conversation(call)
    assert talk.direction_in
    assert [mark.direction_in for mark in talk.marks] == [True, False]


@pytest.mark.parametrize("closed_by", ["asterisk", "application"])
def test_what_comes_after_the_close_is_not_read(closed_by: str) -> None:
    call = Call()
    call.command(0, "MARK id=a")
    call._add(1, closed_by, "close", b"")  # type: ignore[arg-type]
    call.send(2, 160)
    call.command(2, "MARK id=b")
    call.event(2, "MARK_PLAYED id=a")
    call._add(3, "asterisk", "close", b"")
    talk = conversation(call)
    assert (talk.closed_by, talk.closed_ns) == (closed_by, at(1))
    assert talk.closed_by_ns("asterisk") == (at(1) if closed_by == "asterisk" else 0)
    assert ([mark.id for mark in talk.marks], talk.marks[0].ack, talk.sent) == (["a"], None, 0)


def test_marks_with_the_same_id_are_acknowledged_in_their_order() -> None:
    call = Call()
    call.command(0, "MARK id=a")
    call.command(0, "MARK_MEDIA a")
    call.command(0, "MARK id=a")
    for ms, event in enumerate(["MEDIA_MARK_PROCESSED a", *["MARK_PLAYED id=a"] * 3], start=1):
        call.event(ms, event)
    call.event(9, "MARK_DISCARDED id=b reason=flush")
    talk = conversation(call)
    times = [[ack.time_ns for ack in mark.acks] for mark in talk.marks]
    assert times == [[at(2)], [at(1)], [at(3), at(4)]]
    (unasked,) = talk.unasked_acks
    assert (unasked.id, unasked.outcome, unasked.reason) == ("b", "discarded", "flush")


def test_a_flush_knows_what_was_before_it_and_its_replies() -> None:
    call = Call()
    call.send(0, 160)
    call.command(0, "MARK id=a")
    call.command(1, "FLUSH_MEDIA")
    call.send(2, 40)
    call.command(3, "FLUSH_MEDIA id=f")
    call.event(4, "MEDIA_FLUSHED id=f played=0 flushed=40")
    call.event(5, "MEDIA_FLUSHED id=g played=0 flushed=40")
    talk = conversation(call)
    assert [(one.id, one.begin, one.end, one.marks) for one in talk.flushes] == [
        (None, 0, 160, 1),
        ("f", 160, 200, 1),
    ]
    assert [len(one.replies) for one in talk.flushes] == [0, 1]
    assert [why for _, why in talk.unasked] == ["nothing was flushed with its id"]


def test_outside_buffering_each_message_ends_a_frame() -> None:
    call = Call()
    call.send(0, 100)
    call.command(1, "START_MEDIA_BUFFERING")
    call.send(2, 100)
    call.send(3, 100)
    call.command(4, "STOP_MEDIA_BUFFERING")
    talk = conversation(call)
    assert talk.borders == [100, 300]
    assert [talk.frame_end(begin, 160) for begin in (0, 100, 200)] == [100, 260, 300]


def test_all_commands_and_events_are_there_also_those_that_mean_nothing_here() -> None:
    call = Call()
    call.command(0, "GET_STATUS")
    call.command(1, "hello")
    call.event(2, "STATUS queue_length:3")
    call.event(3, "STATUS queue_length:4")
    talk = conversation(call)
    assert [one.command.name for one in talk.commands] == ["GET_STATUS", UNPARSEABLE]
    assert talk.count_events() == {"STATUS": 2}
    assert not talk.opted_in


@pytest.mark.parametrize("command", ["FLUSH_MEDIA id=", '{"command":"FLUSH_MEDIA","id":1.5}'])
@pytest.mark.parametrize("patched", [True, False])
def test_a_flush_with_an_id_that_is_not_taken_flushes_on_stock_alone(
    command: str, patched: bool
) -> None:
    """The patched driver sends an ERROR instead; the stock driver knows no ids."""
    call = Call()
    call.event(0, "MEDIA_START channel:x channel_id:1.1" + " playback_marks:1" * patched)
    call.command(1, command)
    assert len(conversation(call).flushes) == (0 if patched else 1)
