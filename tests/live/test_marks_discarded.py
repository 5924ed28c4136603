"""MARK_DISCARDED on real calls: marks that will never be played are answered, too."""

from __future__ import annotations

import pytest
from live_calls import JSON, PLAIN, ids, names, of, passing_call
from test_marks import STRETCH, both_formats, played, send

from chan_websocket.protocol import command_set_direction
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall
from harness.judge.verdicts import Bounds

PLAYBACK_MARKS_MAX = 2048


@pytest.mark.usefixtures("media_direction")
def test_a_mark_while_the_direction_is_in(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await send(session, STRETCH)
        await session.mark("before")
        await played(session, "before")
        await session.send_text(command_set_direction("in"))
        await session.mark("unheard")
        await session.wait_event("MARK_DISCARDED", id="unheard", reason="direction")
        await session.send_text(command_set_direction("both"))
        await send(session, STRETCH)
        await session.mark("after")
        await played(session, "after")

    call = passing_call(patched, "direction", script, JSON)
    assert names(call.session.events) == ["MARK_PLAYED", "MARK_DISCARDED", "MARK_PLAYED"]
    (discarded,) = of(call, "MARK_DISCARDED")
    assert list(discarded.fields) == [
        "channel_id",
        "id",
        "reason",
        "correlation_id",
        "offset",
        "dropped",
        "dropped_ms",
        "stage",
        "at",
    ]
    assert discarded.fields["offset"] == STRETCH


@pytest.mark.usefixtures("media_direction")
def test_marks_pending_when_the_direction_becomes_in_are_answered_in_order(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await send(session, 1600)
        await session.mark("waits")
        await session.send_text(command_set_direction("in"))
        await session.mark("unheard")
        await session.send_text(command_set_direction("both"))
        await played(session, "waits")
        await session.wait_event("MARK_DISCARDED", id="unheard", reason="direction")

    call = passing_call(patched, "direction-pending", script, JSON)
    assert names(call.session.events) == ["MARK_PLAYED", "MARK_DISCARDED"]


@both_formats
def test_a_flush_discards_the_marks_whose_media_was_queued(
    patched: Bench, extension: Extension
) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH - 80)
        await session.mark("cue")
        await send(session, 80)
        await session.mark("handed-over")
        for number in range(5):
            await send(session, 800)
            await session.mark(f"queued-{number}")
        # Answered in the middle of a frame: that frame is handed over, the next is not.
        await played(session, "cue")
        await session.flush()
        await session.wait_event("MARK_DISCARDED", id="queued-4", reason="flush")
        await send(session, STRETCH)
        await session.mark("after")
        await played(session, "after")

    extension = Extension(f"flush-{extension.name}", message_format=extension.message_format)
    call = passing_call(patched, extension.name, script, extension)
    assert ids(of(call, "MARK_PLAYED")) == ["cue", "handed-over", "after"]
    assert ids(of(call, "MARK_DISCARDED")) == [f"queued-{number}" for number in range(5)]
    if extension.message_format is JSON.message_format:
        offsets = [event.fields["offset"] for event in of(call, "MARK_DISCARDED")]
        assert offsets == [STRETCH + 800 * number for number in range(1, 6)]
        assert of(call, "MARK_PLAYED")[-1].fields["offset"] == 2 * STRETCH + 4000


@both_formats
@pytest.mark.parametrize("who", ["caller", "application"])
def test_marks_pending_at_hang_up(patched: Bench, extension: Extension, who: str) -> None:
    pending = [f"pending-{number}" for number in range(3)]

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH + 80)
        await session.mark("played")
        for mark_id in pending:
            await send(session, 8000)
            await session.mark(mark_id)
        await played(session, "played")
        await (call.sip.hang_up() if who == "caller" else session.hangup())
        await session.wait_closed()

    call = passing_call(patched, f"hangup-{who}-{extension.name}", script, extension)
    assert names(call.session.events) == ["MARK_PLAYED", *["MARK_DISCARDED"] * 3]
    discarded = of(call, "MARK_DISCARDED")
    assert ids(discarded) == pending
    assert [event.fields["reason"] for event in discarded] == ["hangup"] * 3
    if extension is PLAIN:
        assert discarded[0].raw == "MARK_DISCARDED id=pending-0 reason=hangup"
    assert [message.kind for message in call.session.messages[-4:]] == ["text"] * 3 + ["close"]


# ---- answers among answers -----------------------------------------------------------------------


@pytest.mark.usefixtures("media_direction")
def test_each_loss_is_told_at_hang_up(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.mark("first")
        # The first one is told at once, those after it within a tenth of a second.
        await send(session, 100)
        await send(session, 50)
        await session.send_text(command_set_direction("in"))
        await send(session, 80)
        await session.hangup()
        await session.wait_closed()

    call = passing_call(patched, "losses-at-hang-up", script, JSON)
    losses = [(e.fields["reason"], e.number("bytes")) for e in of(call, "MEDIA_DROPPED")]
    assert losses == [("partial", 100), ("partial", 50), ("direction", 80)]


def test_a_flush_keeps_no_loss_from_the_next_mark_and_is_no_mark(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH)
        await session.mark("one")
        await session.flush("f")
        await session.report_playback()
        await session.wait_event("MEDIA_FLUSHED", id="f")
        await send(session, 10)
        await session.flush("g")
        await session.mark("two")
        await played(session, "two")

    call = passing_call(patched, "flush-is-no-mark", script, JSON)
    [report, _final] = of(call, "PLAYBACK")
    assert report.fields["marks"] <= 1
    [two] = [event for event in of(call, "MARK_PLAYED") if event.fields["id"] == "two"]
    assert two.fields["dropped"] == 10


def test_at_the_limit_of_marks_a_flush_is_answered_after_them(
    patched: Bench,
) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.pause()
        await session.start_buffering()
        await send(session, STRETCH)
        for number in range(PLAYBACK_MARKS_MAX):
            await session.mark(number)
        await session.flush("f")
        await session.wait_event("MEDIA_FLUSHED", id="f")
        await session.continue_()

    # Their order is what is tested: 200 KB of answers take as long as the application reads them.
    bounds = Bounds(late_ns=1_000_000_000)
    call = passing_call(patched, "flush-at-the-limit", script, JSON, bounds)
    assert names(call.session.events) == [
        *["MARK_DISCARDED"] * PLAYBACK_MARKS_MAX,
        "MEDIA_FLUSHED",
    ]
