"""What must hold of any call: each broken promise is found, and a call that keeps all is not."""

from __future__ import annotations

import json

import pytest

from harness.capture.timeline import Message, MessageKind, Sender
from harness.judge.invariants import broken_invariants

MS = 1_000_000


class Call:
    """The messages of a call, one ms apart."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.now_ns = 0
        self.event("MEDIA_START", optimal_frame_size=160)

    def _add(self, sender: Sender, kind: MessageKind, data: bytes) -> None:
        self.now_ns += MS
        self.messages.append(Message(self.now_ns, sender, kind, data))

    def event(self, name: str, **fields: object) -> None:
        fields = {"channel_id": "c", **fields}
        self._add("asterisk", "text", json.dumps({"event": name, **fields}).encode())

    def command(self, name: str, **fields: object) -> None:
        self._add("application", "text", json.dumps({"command": name, **fields}).encode())

    def media(self, size: int) -> None:
        self._add("application", "binary", bytes(size))

    def wait(self, ms: int) -> None:
        self.now_ns += ms * MS

    def report(self, **counters: object) -> None:
        values = {"received": 0, "played": 0, "queued": 0, "flushed": 0, "dropped": 0}
        more = {"played_ms": 0.0, "marks": 0, "underruns": 0}
        self.event("PLAYBACK", **{**values, **more, **counters})

    def closed(self, sender: Sender = "asterisk", data: bytes = b"\x03\xe8") -> Call:
        self._add(sender, "close", data)
        return self


def whole_call() -> Call:
    """A call that keeps every promise, up to its end."""
    call = Call()
    call.media(1600)
    call.command("MARK", id="a")
    call.command("FLUSH_MEDIA", id="f")
    call.wait(1000)
    call.event("MARK_PLAYED", id="a", offset=1600, played_ms=200.0)
    call.event("MEDIA_FLUSHED", id="f", flushed=0)
    call.command("REPORT_PLAYBACK")
    call.report(received=1600, played=1600, played_ms=200.0)
    call.media(10)
    call.command("MARK", id="b")
    call.event("MARK_DISCARDED", id="b", reason="hangup", offset=1610)
    call.event("MEDIA_DROPPED", bytes=10, reason="partial", offset=1600)
    call.report(received=1610, played=1600, dropped=10, played_ms=200.0, final=True)
    return call


def faults(call: Call) -> str:
    return "\n".join(broken_invariants(call.messages))


def test_a_call_that_keeps_every_promise() -> None:
    assert faults(whole_call().closed()) == ""


def test_nothing_is_owed_to_an_application_that_closes() -> None:
    call = Call()
    call.media(160)
    call.command("MARK", id="a")
    assert faults(call.closed("application")) == ""


@pytest.mark.parametrize(
    ("event", "fields", "found"),
    [
        ("MARK_PLAYED", {"id": "a"}, "nothing is pending"),
        ("MARK_PLAYED", {"id": "c"}, "was to be answered before"),
        ("MARK_PLAYED", {"id": "b", "offset": 1}, "the offset is"),
        ("MARK_PLAYED", {"id": "b", "played_ms": 90000.0}, "have passed since"),
        ("MARK_PLAYED", {"id": 7}, "nothing is pending"),
        ("MARK_PLAYED", {"id": "b", "channel_id": "d"}, "the channel id is another"),
        ("MEDIA_MARK_PROCESSED", {"correlation_id": "x"}, "nothing is pending"),
        ("NEWS", {}, "unknown event"),
        ("PLAYBACK", {}, "a counter is missing"),
    ],
)
def test_an_event_that_is_wrong(event: str, fields: dict[str, object], found: str) -> None:
    call = Call()
    call.media(160)
    call.command("MARK", id="b")
    call.media(160)
    call.command("MARK", id="c")
    call.event(event, **fields)
    assert found in faults(call.closed("application"))


@pytest.mark.parametrize(
    ("counters", "found"),
    [
        ({"received": 160, "played": 159}, "received is not"),
        ({"received": 161, "played": 161}, "160 bytes were sent"),
        ({"received": 160, "queued": 160}, "its media is queued"),
        ({"received": 160, "played": 160, "marks": 1}, "more marks than are pending"),
        ({"received": 80, "played": 80}, "went back"),
    ],
)
def test_a_report_that_is_wrong(counters: dict[str, object], found: str) -> None:
    call = Call()
    call.media(160)
    call.command("MARK", id="a")
    call.command("REPORT_PLAYBACK", interval_ms=20)
    call.report(received=160, played=160)
    call.event("MARK_PLAYED", id="a", offset=160)
    call.report(**counters)
    assert found in faults(call.closed("application"))


def test_nobody_asked_for_a_report() -> None:
    call = Call()
    call.command("MARK", id="a")
    call.event("MARK_PLAYED", id="a")
    call.report()
    assert "nobody asked for" in faults(call.closed("application"))


@pytest.mark.parametrize("event", ["MARK_PLAYED", "PLAYBACK", "MEDIA_DROPPED"])
def test_an_application_that_has_not_opted_in_gets_nothing_new(event: str) -> None:
    call = Call()
    call.media(160)
    call.event(event)
    assert "has not opted in" in faults(call.closed("application"))


def test_the_final_report_is_missing() -> None:
    call = Call()
    call.command("MARK", id="a")
    call.event("MARK_PLAYED", id="a")
    assert "no final report" in faults(call.closed())


def test_something_comes_after_the_final_report() -> None:
    call = whole_call()
    call.event("MEDIA_XON")
    assert "after the final report" in faults(call.closed())


def test_a_mark_is_not_answered_though_media_behind_it_was_received() -> None:
    call = Call()
    call.command("MARK", id="a")
    call.media(160)
    call.command("REPORT_PLAYBACK")
    call.report(received=160, flushed=160, final=True)
    assert "MARK 'a' at 0 was not answered" in faults(call.closed())


def test_drops_do_not_add_up() -> None:
    call = Call()
    call.media(160)
    call.command("REPORT_PLAYBACK")
    call.report(received=160, dropped=160, final=True)
    assert "0 bytes were reported as dropped" in faults(call.closed())


def test_asterisk_breaks_off() -> None:
    call = whole_call()
    call.wait(2000)
    assert "without closing it" in faults(call.closed(data=b""))


def test_a_reset_meets_an_application_that_was_sending() -> None:
    assert faults(whole_call().closed(data=b"")) == ""


def test_a_mark_over_the_limit_is_refused_at_once() -> None:
    call = Call()
    for number in range(3):
        call.command("MARK", id=number)
    call.event("MARK_DISCARDED", id=2, reason="limit", offset=0)
    call.event("MARK_PLAYED", id=0, offset=0)
    call.event("MARK_PLAYED", id=1, offset=0)
    assert faults(call.closed("application")) == ""


def test_a_flushed_event_of_the_stock_driver_stays_away() -> None:
    call = Call()
    call.command("MARK_MEDIA", correlation_id="a")
    call.command("FLUSH_MEDIA")
    call.command("MARK_MEDIA", correlation_id="b")
    call.event("MEDIA_MARK_PROCESSED", correlation_id="b")
    assert faults(call.closed("application")) == ""
    call.event("MEDIA_MARK_PROCESSED", correlation_id="a")
    assert "nothing is pending" in faults(call)


def positions(*answers: tuple[str, str]) -> Call:
    """Marks at 100, at the end (1600), ahead of it (1700) and, set last, at 50."""
    call = Call()
    call.command("MARK", id="ahead", offset=1700)
    call.command("MARK", id="early", offset=100)
    call.media(1600)
    call.command("MARK", id="end")
    call.command("FLUSH_MEDIA", id="f")
    call.command("MARK", id="late", offset=50)
    call.command("MARK", id="bad", offset=-1)
    call.event("ERROR", command="MARK", error_text="no")
    call.wait(1000)
    offsets = {"ahead": 1700, "early": 100, "end": 1600, "late": 50}
    for name, id_ in answers:
        if name == "MEDIA_FLUSHED":
            call.event(name, id=id_, flushed=0)
        else:
            call.event(name, id=id_, offset=offsets[id_], played_ms=0.0)
    call.media(200)
    call.report(received=1800, played=1800, played_ms=225.0, final=True)
    return call.closed()


IN_TURN = (
    *(("MARK_PLAYED", "early"), ("MARK_PLAYED", "end"), ("MEDIA_FLUSHED", "f")),
    *(("MARK_PLAYED", "late"), ("MARK_PLAYED", "ahead")),
)


def test_marks_by_position_take_their_turns_by_position() -> None:
    assert faults(positions(*IN_TURN)) == ""
    # Asterisk may have read the one that was set last before it answered any.
    late, others = IN_TURN[3], IN_TURN[:3]
    assert faults(positions(late, *others, IN_TURN[4])) == ""


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ((IN_TURN[3], IN_TURN[4], *IN_TURN[:3]), "MARK 'early' at 100 was to be answered before"),
        ((IN_TURN[1], IN_TURN[0], *IN_TURN[2:]), "MARK 'early' at 100 was to be answered before"),
        ((*IN_TURN[1:3], IN_TURN[0], *IN_TURN[3:]), "was to be answered before"),
        (IN_TURN[:4], "MARK 'ahead' at 1700 was not answered"),
        ((*IN_TURN, ("MARK_PLAYED", "late")), "nothing is pending that this answers"),
    ],
)
def test_out_of_turn(answers: tuple[tuple[str, str], ...], says: str) -> None:
    assert says in faults(positions(*answers))


def test_of_two_marks_with_one_id_the_refused_one_is_where_the_answer_says() -> None:
    call = Call()
    for size in (100, 50):
        call.media(size)
        call.command("MARK", id="a")
    call.event("MARK_DISCARDED", id="a", reason="limit", offset=100)
    call.event("MARK_DISCARDED", id="a", reason="limit", offset=150)
    call.wait(1000)
    call.report(received=150, played=150, played_ms=18.75, final=True)
    assert faults(call.closed()) == ""


# ---- media that waits for its listener -----------------------------------------------------------


def waiting_call(**counters: object) -> Call:
    """One whose media waits from its 160th byte on."""
    call = Call()
    call.media(320)
    call.command("MARK", id="a")
    call.wait(1000)
    values = {"received": 320, "played": 160, "queued": 160, "flushed": 0, "dropped": 0}
    more = {"played_ms": 20.0, "marks": 1, "underruns": 0}
    call.event("PLAYBACK_SUSPENDED", reason="hold", **{**values, **more, **counters})
    return call


def test_media_that_waits_and_goes_on() -> None:
    call = waiting_call()
    call.command("REPORT_PLAYBACK")
    call.report(received=320, played=160, queued=160, played_ms=20.0, marks=1)
    values = {"received": 320, "played": 160, "queued": 160, "flushed": 0, "dropped": 0}
    call.event("PLAYBACK_RESUMED", **values, played_ms=20.0, marks=1, underruns=0)
    call.event("MARK_PLAYED", id="a", offset=320, played_ms=40.0)
    call.report(received=320, played=320, played_ms=40.0, final=True)
    assert faults(call.closed()) == ""


@pytest.mark.parametrize(
    ("event", "fields", "found"),
    [
        ("PLAYBACK_SUSPENDED", {"reason": "alone"}, "media waited already"),
        ("PLAYBACK_SUSPENDED", {"reason": "lunch"}, "unknown reason"),
        ("PLAYBACK_RESUMED", {"queued": 161}, "received is not played"),
        ("PLAYBACK_RESUMED", {"played": 140, "queued": 180}, "played went back"),
        ("MARK_PLAYED", {"id": "a", "offset": 320, "played_ms": 900.0}, "but went on"),
        ("PLAYBACK", {"underruns": 1, "final": True}, "it is no underrun"),
    ],
)
def test_media_that_does_not_wait(event: str, fields: dict[str, object], found: str) -> None:
    call = waiting_call()
    values: dict[str, object] = {"received": 320, "played": 160, "queued": 160}
    if event.startswith("PLAYBACK"):
        values |= {"flushed": 0, "dropped": 0, "played_ms": 20.0, "marks": 1, "underruns": 0}
    call.event(event, **{**(values if event.startswith("PLAYBACK") else {}), **fields})
    assert found in faults(call.closed("application"))


def test_media_goes_on_that_did_not_wait() -> None:
    call = Call()
    call.command("MARK", id="a")
    call.event("PLAYBACK_RESUMED")
    assert "media did not wait" in faults(call.closed("application"))


def test_in_passthrough_a_long_message_was_on_its_way() -> None:
    call = waiting_call()
    call.report(received=320, played=320, played_ms=900.0, final=True)
    call.closed("application")
    assert "but went on" in faults(call)
    assert "but went on" not in "".join(broken_invariants(call.messages, passthrough=True))


def test_who_does_not_read_is_told_the_latest_only() -> None:
    call = waiting_call()
    call.command("REPORT_PLAYBACK")
    call.report(received=320, played=320, played_ms=900.0, marks=1)
    call.closed("application")
    assert "but went on" in faults(call)
    assert broken_invariants(call.messages, stopped_reading=True) == []


@pytest.mark.parametrize("answers", [0, 1])
def test_a_refusal_without_an_offset_may_be_of_the_earlier_of_two_with_its_id(answers: int) -> None:
    """The later one may have crossed the hang-up unread, as plain text does not say."""
    call = Call()
    call.media(160)
    call.command("MARK", id="m")
    call.media(160)
    call.command("MARK", id="m")
    for _ in range(answers):
        call.event("MARK_DISCARDED", id="m", reason="limit")
    call.report(received=320, flushed=320, final=True)
    faults = broken_invariants(call.closed().messages)
    assert faults == ([] if answers else ["MARK 'm' at 160 was not answered"])
