"""MARK and MARK_PLAYED on real calls: each is answered when its media has been played."""

from __future__ import annotations

from dataclasses import replace

import pytest
from live_calls import JSON, MANY_AT_ONCE, PLAIN, ids, names, of, passing_call

from chan_websocket.protocol import Id
from harness.application.client import MediaSession
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall

pytestmark = pytest.mark.slow

BYTES_PER_MS = 8
MS = 1_000_000

STRETCH = 1600
"""bytes of media that tell the media clock. From two or three packets it cannot be told whether all
of them were sent late: a mark behind these could seem early by what the host was late."""

both_formats = pytest.mark.parametrize("extension", [PLAIN, JSON], ids=lambda one: one.name)


async def send(session: MediaSession, size: int) -> None:
    """The next ``size`` bytes of the position-coded stream, as one message."""
    for piece in coded_pieces([size], session.sent_bytes):
        await session.send_media(piece)


async def played(session: MediaSession, *mark_ids: Id) -> None:
    for mark_id in mark_ids:
        await session.wait_event("MARK_PLAYED", id=mark_id)


# ---- media of any size ---------------------------------------------------------------------------


@both_formats
def test_aligned_chunks(patched: Bench, extension: Extension) -> None:
    async def script(call: LiveCall) -> None:
        await play_with_marks(call.session, coded_pieces([160] * 50))

    call = passing_call(patched, f"aligned-{extension.name}", script, extension)
    assert ids(of(call, "MARK_PLAYED")) == [f"m{number}" for number in range(50)]
    assert names(call.session.events) == ["MARK_PLAYED"] * 50


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_chunks_of_random_size(patched: Bench, seed: int) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(seed, 24, 1, 1200)))

    call = passing_call(patched, f"random-seed-{seed}", script)
    assert len(of(call, "MARK_PLAYED")) == 24


@pytest.mark.parametrize("size", [16_000, 12_345])
def test_one_big_message(patched: Bench, size: int) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces([size]))

    passing_call(patched, f"big-{size}", script)


@pytest.mark.parametrize("tail", [80, 1, 159])
def test_a_partial_frame_left_open_is_played_filled_up_with_silence(
    patched: Bench, tail: int
) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await send(call.session, STRETCH + tail)
        await call.session.mark("tail")
        await played(call.session, "tail")

    call = passing_call(patched, f"partial-{tail}", script)
    last = call.judged.located[10].location
    assert last.pieces[-1].end == STRETCH + tail
    assert last.padding == 160 - tail


def test_media_goes_on_where_a_partial_frame_was_played(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        for number in range(4):
            await send(call.session, STRETCH + 80)
            await call.session.mark(number)
            await played(call.session, number)

    call = passing_call(patched, "partial-again", script, JSON)
    assert [event.fields["offset"] for event in of(call, "MARK_PLAYED")] == [1680, 3360, 5040, 6720]


@both_formats
def test_a_tail_outside_buffering_is_dropped_and_that_is_told(
    patched: Bench, extension: Extension
) -> None:
    """Also where it was lost before the channel used its first command."""

    async def script(call: LiveCall) -> None:
        await send(call.session, STRETCH + 80)
        await call.session.mark("short")
        await played(call.session, "short")
        await send(call.session, STRETCH)
        await call.session.mark("whole")
        await played(call.session, "whole")

    call = passing_call(patched, "dropped-tail", script, extension)
    [lost] = of(call, "MEDIA_DROPPED")
    assert (lost.number("bytes"), lost.number("offset")) == (80, STRETCH)
    assert lost.fields["reason"] == "partial"
    if extension == JSON:
        short, whole = of(call, "MARK_PLAYED")
        assert (short.fields["offset"], short.fields["dropped"]) == (STRETCH + 80, 80)
        assert (whole.fields["offset"], whole.fields["dropped"]) == (2 * STRETCH + 80, 0)
        assert short.number("played_ms") == STRETCH / BYTES_PER_MS
    # The 80 bytes were never sent: what the mark waited for is the end of the byte before them.
    assert call.judged.located[9].location.pieces[-1].end == STRETCH
    assert call.judged.marks[0].audio_end_ns == end_on_the_wire(call, STRETCH)


# ---- marks in any place --------------------------------------------------------------------------


@both_formats
def test_a_mark_before_any_media_is_answered_at_once(patched: Bench, extension: Extension) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.mark("first")
        await played(call.session, "first")
        await send(call.session, STRETCH)
        await call.session.mark("second")
        await played(call.session, "second")

    call = passing_call(patched, f"before-media-{extension.name}", script, extension)
    first = call.judged.marks[0]
    assert first.audio_end_ns is None
    assert first.due_ns == first.sent_ns


def test_a_mark_on_an_empty_queue_is_answered_at_once(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await send(session, STRETCH)
        await session.mark("end")
        await played(session, "end")
        await session.mark("empty")
        await played(session, "empty")
        await send(session, STRETCH)
        await session.mark("more")
        await played(session, "more")

    call = passing_call(patched, "empty-queue", script)
    empty = call.judged.marks[1]
    assert empty.due_ns == empty.sent_ns


def test_media_that_comes_one_tick_too_late(patched: Bench) -> None:
    """As from an application that sends the next sentence when the one before has been played."""

    async def script(call: LiveCall) -> None:
        for number in range(8):
            await send(call.session, 320)
            await call.session.mark(f"soon-{number}")
            await send(call.session, STRETCH - 320)
            await call.session.mark(f"end-{number}")
            await played(call.session, f"end-{number}")

    passing_call(patched, "one-tick-late", script)


def test_many_marks_at_one_place_are_answered_in_order(patched: Bench) -> None:
    marks = [f"fence-{number}" for number in range(50)]

    async def script(call: LiveCall) -> None:
        await send(call.session, STRETCH)
        for mark_id in marks:
            await call.session.mark(mark_id)
        await played(call.session, *marks)

    call = passing_call(patched, "fence", script, bounds=MANY_AT_ONCE)
    assert ids(of(call, "MARK_PLAYED")) == marks


def test_an_id_may_be_used_again(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        for _ in range(2):
            await send(call.session, STRETCH)
            await call.session.mark("same")
        await played(call.session, "same", "same")

    call = passing_call(patched, "same-id", script)
    assert [mark.offset for mark in call.judged.marks] == [STRETCH, 2 * STRETCH]
    assert ids(of(call, "MARK_PLAYED")) == ["same", "same"]


@both_formats
def test_the_application_connects_to_asterisk(patched: Bench, extension: Extension) -> None:
    incoming = replace(extension, name=f"incoming-{extension.name}", connection="incoming")

    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(4, 8, 1, 1200)))

    passing_call(patched, incoming.name, script, incoming)


# ---- what the answers say ------------------------------------------------------------------------


def test_the_plain_answer_is_exactly_this_line(patched: Bench) -> None:
    mark_id = "!" + "~" * 63

    async def script(call: LiveCall) -> None:
        await send(call.session, STRETCH)
        await call.session.mark(mark_id)
        await played(call.session, mark_id)

    call = passing_call(patched, "plain-text", script)
    assert [event.raw for event in of(call, "MARK_PLAYED")] == [f"MARK_PLAYED id={mark_id}"]


def test_the_json_answer_has_the_id_as_it_was_and_where_the_mark_stood(patched: Bench) -> None:
    sizes = random_sizes(5, 6, 1, 900)
    marks: list[Id] = ["7", 7, -1, 2**62, 'quoted "\\ \u00fc\n', "w\u00f6rter"]
    offsets: list[int] = []

    async def script(call: LiveCall) -> None:
        offsets.clear()
        await call.session.start_buffering()
        for piece, mark_id in zip(coded_pieces(sizes), marks, strict=True):
            await call.session.send_media(piece)
            offsets.append(await call.session.mark(mark_id))
        await played(call.session, *marks)

    call = passing_call(patched, "json-fields", script, JSON)
    channel_id = call.session.media_start.fields["channel_id"]
    answers = of(call, "MARK_PLAYED")
    keys = ["channel_id", "id", "correlation_id", "offset", "played_ms"]
    keys += ["dropped", "dropped_ms", "stage", "at"]
    for answer, mark_id, offset, mark in zip(
        answers, marks, offsets, call.judged.marks, strict=True
    ):
        fields = answer.fields
        assert list(fields) == keys
        assert fields["channel_id"] == channel_id
        assert (fields["id"], type(fields["id"])) == (mark_id, type(mark_id))
        assert (fields["correlation_id"], type(fields["correlation_id"])) == (
            mark_id,
            type(mark_id),
        )
        assert fields["offset"] == mark.offset == offset
        assert fields["dropped"] == 0
        assert fields["played_ms"] == pytest.approx(offset / BYTES_PER_MS, abs=0.001)
        # When the driver says the mark was reached, by the bounds of the answer itself.
        assert mark.due_ns is not None
        either_ns = 2 * call.judged.measurement.uncertainty_ns
        assert (
            -either_ns <= fields["at"] * MS - mark.due_ns <= call.judged.bounds.late_ns + either_ns
        )


def test_every_mark_stands_at_its_byte_on_the_wire(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(6, 30, 1, 600)))

    call = passing_call(patched, "positions", script, JSON)
    sent = 0
    for size, mark, answer in zip(
        random_sizes(6, 30, 1, 600), call.judged.marks, of(call, "MARK_PLAYED"), strict=True
    ):
        sent += size
        assert answer.fields["offset"] == mark.offset == sent
        assert mark.audio_end_ns == end_on_the_wire(call, sent)
    pieces = [piece for place in call.judged.located for piece in place.location.pieces]
    assert [piece.offset for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == sent


def end_on_the_wire(call: LiveCall, offset: int) -> int:
    """When the byte before ``offset`` had been played, from the packet that holds it."""
    for place in call.judged.located:
        for piece in place.location.pieces:
            if piece.offset < offset <= piece.end:
                before = piece.start + offset - piece.offset
                return place.clock.start_ns + before * MS // BYTES_PER_MS
    raise AssertionError(f"byte {offset - 1} was not on the wire: see {call.folder}")


@pytest.mark.parametrize(
    ("extension", "commands"),
    [
        (PLAIN, ["MARK", "MARK ", "MARK id=", "MARK name", "MARK id=a b", f"MARK id={'x' * 65}"]),
        (
            JSON,
            [
                '{"command":"MARK"}',
                '{"command":"MARK","id":""}',
                '{"command":"MARK","id":1.5}',
                '{"command":"MARK","id":null}',
                '{"command":"MARK","id":true}',
                '{"command":"MARK","id":["a"]}',
                f'{{"command":"MARK","id":"{"x" * 65}"}}',
            ],
        ),
    ],
    ids=["plain", "json"],
)
def test_a_mark_without_a_valid_id_is_an_error_and_nothing_else(
    patched: Bench, extension: Extension, commands: list[str]
) -> None:
    async def script(call: LiveCall) -> None:
        await send(call.session, STRETCH)
        for command in commands:
            await call.session.send_text(command)
        await call.session.mark("good")
        await played(call.session, "good")

    call = passing_call(patched, f"malformed-{extension.name}", script, extension)
    assert names(call.session.events) == ["ERROR"] * len(commands) + ["MARK_PLAYED"]
    for error in of(call, "ERROR"):
        assert error.fields["command"] == "MARK"
        assert "MARK needs" in error.fields["error_text"]
        assert error.fields["channel_id"] == call.session.media_start.fields["channel_id"]
        assert "id" not in error.fields


@pytest.mark.parametrize(
    ("extension", "commands", "words"),
    [
        (PLAIN, ["NO_SUCH", "mark id=a", "NO\u00e4", "X" * 65], ["NO_SUCH", "mark", None, None]),
        (
            JSON,
            ['{"command":"NO_SUCH"}', '{"command":"\u00e4 \\""}', '{"command":1}', "{}"],
            ["NO_SUCH", '\u00e4 "', None, None],
        ),
    ],
    ids=["plain", "json"],
)
def test_an_unknown_command_is_an_error_to_who_has_opted_in(
    patched: Bench, extension: Extension, commands: list[str], words: list[str | None]
) -> None:
    """One who has not is told nothing, as by the stock driver: see test_unchanged.py."""

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.send_text(commands[0])
        await session.mark("opted-in")
        await played(session, "opted-in")
        # Two in one segment, as all that comes.
        await session.send_in_one_write(commands)
        await send(session, STRETCH)
        await session.send_in_one_write([session.mark_text("a"), session.mark_text("b")])
        await played(session, "a", "b")

    call = passing_call(patched, f"unknown-{extension.name}", script, extension)
    assert [error.fields.get("command") for error in of(call, "ERROR")] == words
    assert {error.fields["error_text"].partition(":")[0] for error in of(call, "ERROR")} == {
        "Unknown command"
    }
