"""MARK with an offset on real calls: amid the media that was sent, ahead of it, through flushes."""

from __future__ import annotations

import asyncio
import random

import pytest
from live_calls import JSON, MANY_AT_ONCE, PLAIN, ids, names, of, passing_call
from test_marks import STRETCH, both_formats, played, send

from chan_websocket.protocol import Format, command_set_direction
from harness.application.client import MediaSession
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall
from harness.judge.verdicts import Bounds
from harness.media.probe_signal import probe_signal

pytestmark = pytest.mark.slow

GAPS = 64
"""places of flushed or dropped media that the driver remembers"""


async def send_coded(session: MediaSession, codec: str, size: int) -> None:
    """The next ``size`` bytes of another codec's position-coded stream."""
    await session.send_media(probe_signal(codec, session.sent_bytes, size))


# ---- anywhere in the stream ----------------------------------------------------------------------


@both_formats
@pytest.mark.parametrize("seed", [1, 2])
def test_marks_come_in_the_order_of_the_stream_whenever_they_were_set(
    patched: Bench, extension: Extension, seed: int
) -> None:
    chance = random.Random(seed)
    size = 12 * STRETCH
    offsets = [chance.randint(STRETCH, size) for _ in range(60)]
    ends = [3 * STRETCH, 7 * STRETCH, 8 * STRETCH + 77, size]

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        for number, end in enumerate(ends):
            await send(session, end - session.sent_bytes)
            await session.mark(f"end-{number}")
            # Some are behind, some ahead of what has been sent so far.
            for index in range(number, len(offsets), len(ends)):
                await session.mark(f"word-{index}", offsets[index])
        await session.stop_buffering()
        await played(session, f"end-{len(ends) - 1}")

    call = passing_call(patched, f"words-{extension.name}-{seed}", script, extension)
    expected = [(offset, f"word-{index}") for index, offset in enumerate(offsets)]
    expected += [(offset, f"end-{number}") for number, offset in enumerate(ends)]
    assert sorted(map(str, ids(of(call, "MARK_PLAYED")))) == sorted(id_ for _, id_ in expected)
    if extension is JSON:
        said = [(e.fields["offset"], e.fields["id"]) for e in of(call, "MARK_PLAYED")]
        assert sorted(said) == sorted(expected)
        # All were set long before they were due.
        assert [offset for offset, _ in said] == sorted(offset for offset, _ in expected)
        assert [event.fields["played_ms"] for event in of(call, "MARK_PLAYED")] == [
            offset / 8 for offset, _ in said
        ]


def test_the_first_sample_tells_that_speech_has_begun(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await session.mark("begun", 1)
        await session.mark("nothing", 0)
        await played(session, "nothing")
        await send(session, STRETCH)
        await session.mark("end")
        await played(session, "begun", "end")
        await session.mark("again", session.sent_bytes + 1)
        await send(session, STRETCH)
        await played(session, "again")

    call = passing_call(patched, "begun", script, JSON)
    assert ids(of(call, "MARK_PLAYED")) == ["nothing", "begun", "end", "again"]
    assert [e.fields["played_ms"] for e in of(call, "MARK_PLAYED")] == [0, 0.125, 200, 200.125]


def test_one_set_behind_its_media_comes_at_once(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 2 * STRETCH)
        await session.mark("half", STRETCH)
        await played(session, "half")
        for number in range(5):
            await session.mark(number, 100 * number)
        await played(session, 4)
        await session.flush("f")
        cut = await session.wait_event("MEDIA_FLUSHED", id="f")
        # Those that were set late are not where the listener is.
        assert cut.fields["last_mark"] == "half"

    call = passing_call(patched, "late", script, JSON)
    assert ids(of(call, "MARK_PLAYED")) == ["half", *range(5)]
    assert [e.fields["played_ms"] for e in of(call, "MARK_PLAYED")[1:]] == [0, 12.5, 25, 37.5, 50]


# ---- flushed, dropped, hung up -------------------------------------------------------------------


@both_formats
def test_a_flush(patched: Bench, extension: Extension) -> None:
    """What was heard is played, what was not is discarded, set before the flush or behind it."""

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 6 * STRETCH)
        await session.mark("heard", STRETCH)
        await session.mark("unheard", 5 * STRETCH)
        await session.mark("next", 6 * STRETCH + 100)
        await played(session, "heard")
        await session.flush("f")
        await session.mark("heard-late", STRETCH - 160)
        await session.mark("unheard-late", 4 * STRETCH)
        await session.mark("last-byte", 6 * STRETCH)
        await session.mark("fence")
        await session.wait_event("MEDIA_FLUSHED", id="f", last_mark="heard")
        await played(session, "fence")
        await session.start_buffering()
        await send(session, STRETCH)
        await session.mark("after")
        await played(session, "next", "after")

    call = passing_call(patched, f"flush-{extension.name}", script, extension)
    assert ids(of(call, "MARK_PLAYED")) == ["heard", "heard-late", "fence", "next", "after"]
    assert [(e.fields["id"], e.fields["reason"]) for e in of(call, "MARK_DISCARDED")] == [
        ("unheard", "flush"),
        ("unheard-late", "flush"),
        ("last-byte", "flush"),
    ]
    if extension is JSON:
        after = 6 * STRETCH + 100
        assert [e.fields["offset"] for e in of(call, "MARK_PLAYED")][-2:] == [after, 7 * STRETCH]


@both_formats
@pytest.mark.parametrize("who", ["caller", "application"])
def test_hang_up(patched: Bench, extension: Extension, who: str) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await session.mark("never", 2**53 - 1)
        await send(session, 20 * STRETCH)
        await session.mark("ahead", 20 * STRETCH + 1)
        await session.mark("queued", 19 * STRETCH)
        await session.mark("played", STRETCH + 80)
        await played(session, "played")
        await (call.sip.hang_up() if who == "caller" else session.hangup())
        await session.wait_closed()

    call = passing_call(patched, f"hangup-{who}-{extension.name}", script, extension)
    assert ids(of(call, "MARK_DISCARDED")) == ["queued", "ahead", "never"]
    assert {e.fields["reason"] for e in of(call, "MARK_DISCARDED")} == {"hangup"}
    if extension is JSON:
        assert of(call, "MARK_DISCARDED")[-1].fields["offset"] == 2**53 - 1


def test_what_is_dropped_is_not_waited_for_and_told_once(patched: Bench) -> None:
    """Outside buffering the tail that is shorter than a frame is dropped."""

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.mark("ahead", STRETCH + 50)
        await send(session, STRETCH + 80)
        await send(session, STRETCH + 80)
        await session.mark("gap", 2 * STRETCH + 160 - 8)
        await session.mark("behind", STRETCH + 80 + 8)
        await session.mark("before", STRETCH - 8)
        await played(session, "gap")

    call = passing_call(patched, "dropped", script, JSON)
    said = {e.fields["id"]: e.fields for e in of(call, "MARK_PLAYED")}
    assert list(said) == ["before", "ahead", "behind", "gap"]
    assert {id_: fields["dropped"] for id_, fields in said.items()} == {
        "before": 0,
        "ahead": 50,
        "behind": 30,
        "gap": 72,
    }
    assert [fields["played_ms"] for fields in said.values()] == [199, 200, 201, 400]


@pytest.mark.usefixtures("media_direction")
def test_the_direction(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await session.mark("ahead", STRETCH + 800)
        await send(session, STRETCH)
        await session.mark("end", STRETCH)
        await played(session, "end")
        await session.send_text(command_set_direction("in"))
        # It is received and dropped: nothing will be played before the mark in it.
        await send(session, 1600)
        await session.wait_event("MARK_DISCARDED", id="ahead", reason="direction")
        await session.mark("unheard", STRETCH - 1)
        await session.wait_event("MARK_DISCARDED", id="unheard", reason="direction")
        await session.mark("unheard-ahead", 2 * STRETCH + 80)
        await session.send_text(command_set_direction("both"))
        await session.start_buffering()
        await send(session, STRETCH)
        await session.mark("after")
        await played(session, "after")

    call = passing_call(patched, "direction", script, JSON)
    assert ids(of(call, "MARK_PLAYED")) == ["end", "after"]
    assert ids(of(call, "MARK_DISCARDED")) == ["ahead", "unheard", "unheard-ahead"]
    assert of(call, "MARK_DISCARDED")[0].fields["dropped"] == 800


def test_before_all_that_is_remembered_it_is_refused(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        for _ in range(GAPS + 2):
            await send(session, 161)
        await session.mark("forgotten", 161)
        await session.wait_event("MARK_DISCARDED", id="forgotten", reason="limit")
        await session.mark("known", 161 * (GAPS + 1))
        await session.mark("end")
        await played(session, "known", "end")

    call = passing_call(patched, "forgotten", script, JSON)
    assert ids(of(call, "MARK_PLAYED")) == ["known", "end"]
    assert of(call, "MARK_DISCARDED")[0].fields["offset"] == 161


def test_marks_ahead_are_bounded_like_others(patched: Bench) -> None:
    most = 2048

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH)
        for number in range(most):
            await session.mark(f"m{number}", STRETCH + 8000 + (number * 7919) % most)
            await asyncio.sleep(0)
        await session.mark("refused", STRETCH + 1)
        await session.wait_event("MARK_DISCARDED", id="refused", reason="limit")
        await session.hangup()
        await session.wait_closed()

    call = passing_call(patched, "bounded", script, PLAIN, MANY_AT_ONCE)
    discarded = of(call, "MARK_DISCARDED")
    in_order = sorted(range(most), key=lambda number: (number * 7919) % most)
    assert ids(discarded) == ["refused", *(f"m{number}" for number in in_order)]


# ---- media of other kinds ------------------------------------------------------------------------


def test_an_offset_inside_a_sample(patched: Bench) -> None:
    """It is that of the sample's first byte, also where the sample's other half never comes."""
    extension = Extension("odd", codec="slin16", message_format=Format.JSON)
    size = 4 * STRETCH

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await session.mark("half", size + 1)
        await send_coded(session, "slin16", size)
        for number in range(4):
            await session.mark(f"m{number}", STRETCH + number)
        await played(session, "m3")
        await send_coded(session, "slin16", 1)
        await played(session, "half")
        await send_coded(session, "slin16", STRETCH - 1)
        await session.mark("end", size + STRETCH)
        await played(session, "end")

    call = passing_call(patched, "odd", script, extension)
    said = of(call, "MARK_PLAYED")
    assert ids(said) == ["m0", "m1", "m2", "m3", "half", "end"]
    assert [e.fields["offset"] for e in said[:4]] == [STRETCH + number for number in range(4)]
    assert [e.fields["played_ms"] for e in said] == [50, 50, 50.062, 50.062, 200, 250]


def test_passthrough(patched: Bench) -> None:
    """A position inside a message is that part of its time."""
    extension = Extension("passthrough", options="p", message_format=Format.JSON)

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.mark("begun", 1)
        await session.mark("amid", 5 * 160 + 40)
        for _ in range(20):
            await send(session, 160)
        await session.mark("end", 20 * 160)
        await session.mark("between", 10 * 160)
        await played(session, "end")
        await session.mark("late", 5 * 160 + 40)
        await played(session, "late")

    call = passing_call(patched, "passthrough", script, extension)
    said = of(call, "MARK_PLAYED")
    assert ids(said) == ["begun", "amid", "between", "end", "late"]
    assert [e.fields["played_ms"] for e in said] == [0.125, 105, 200, 400, 105]


@pytest.mark.parametrize(("codec", "caller"), [("slin16", "ulaw"), ("ulaw", "g722")])
def test_transcoded(patched: Bench, codec: str, caller: str) -> None:
    extension = Extension(f"from-{codec}-to-{caller}", codec=codec, caller_codec=caller)
    bytes_per_ms = 32 if codec == "slin16" else 8

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        media = probe_signal(codec, 0, 1000 * bytes_per_ms, caller_codec=caller)
        await session.mark("ahead", 901 * bytes_per_ms)
        await session.send_media(media)
        for number in (7, 3, 5, 4, 6):
            await session.mark(f"m{number}", number * 101 * bytes_per_ms)
        await played(session, "ahead")

    call = passing_call(patched, extension.name, script, extension)
    assert ids(of(call, "MARK_PLAYED")) == ["m3", "m4", "m5", "m6", "m7", "ahead"]


def test_in_a_conference(patched: Bench) -> None:
    """There an acknowledgement may come one mixing interval, 20 ms, late."""
    extension = Extension("conference", bridge="conference")

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await session.mark("ahead", 8 * STRETCH + 17)
        await session.send_media(probe_signal("ulaw", 0, 9 * STRETCH, mixed=True))
        for number in (7, 2, 5, 4, 6, 3):
            await session.mark(f"m{number}", number * (STRETCH + 33))
        await played(session, "ahead")
        await session.mark("late", STRETCH)
        await played(session, "late")

    call = passing_call(patched, "conference", script, extension, Bounds(late_ns=22_000_000))
    assert ids(of(call, "MARK_PLAYED")) == [*(f"m{n}" for n in range(2, 8)), "ahead", "late"]


def test_paused(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 4 * STRETCH)
        await session.mark("cue", STRETCH + 24)
        await played(session, "cue")
        await session.pause()
        await session.mark("later", 3 * STRETCH)
        await session.mark("before", STRETCH - 1)
        await played(session, "before")
        await session.mark("ahead", 4 * STRETCH + 24)
        await session.continue_()
        await played(session, "later")
        await send(session, STRETCH)
        await played(session, "ahead")

    call = passing_call(patched, "paused", script)
    assert ids(of(call, "MARK_PLAYED")) == ["cue", "before", "later", "ahead"]


# ---- what is no offset ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extension", "commands"),
    [
        (
            PLAIN,
            [
                *("MARK id=a offset=", "MARK id=a offset=-1", "MARK id=a offset=1.5"),
                *("MARK id=a offset=x", "MARK id=a offset=9007199254740992"),
                *("MARK id=a offset=1 offset=1", "MARK id=a  offset=1", "MARK offset=1 id=a"),
            ],
        ),
        (
            JSON,
            [
                '{"command":"MARK","id":"a","offset":-1}',
                '{"command":"MARK","id":"a","offset":1.0}',
                '{"command":"MARK","id":"a","offset":"1"}',
                '{"command":"MARK","id":"a","offset":null}',
                '{"command":"MARK","id":"a","offset":9007199254740992}',
                '{"command":"MARK","offset":1}',
            ],
        ),
    ],
    ids=["plain", "json"],
)
def test_an_offset_that_is_none_is_an_error_and_sets_nothing(
    patched: Bench, extension: Extension, commands: list[str]
) -> None:
    async def script(call: LiveCall) -> None:
        await send(call.session, STRETCH)
        for command in commands:
            await call.session.send_text(command)
        await call.session.mark("good", STRETCH - 1)
        await played(call.session, "good")

    call = passing_call(patched, f"malformed-{extension.name}", script, extension)
    assert names(call.session.events) == ["ERROR"] * len(commands) + ["MARK_PLAYED"]
    assert {error.fields["command"] for error in of(call, "ERROR")} == {"MARK"}
