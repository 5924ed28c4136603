"""The client package on real calls: what an agent is told was played is what was on the wire."""

from __future__ import annotations

import asyncio
import random

import pytest
from live_calls import measured, passing_call, place, unreliable

from chan_websocket import Utterance
from chan_websocket.protocol import Format
from harness.asterisk.configuration import Connection, Extension
from harness.bench import Bench, Conditions, LiveCall
from harness.media.probe_signal import probe_signal

INTERRUPTIONS = 12
WORDS = 8
WORD = 900
"""bytes of mu-law"""
BYTES_PER_MS = 8


async def say(call: LiveCall, name: object, words: int = WORDS) -> Utterance:
    """An utterance of so many words; to be ended."""
    utterance = call.session.utterance()
    for number in range(words):
        audio = probe_signal("ulaw", call.session.sent_bytes, WORD)
        await utterance.write(audio, f"{name}.{number} ")
    return utterance


def heard(call: LiveCall) -> set[int]:
    """The offsets of the bytes that were found on the wire."""
    return {
        offset
        for packet in call.judged.located
        for piece in packet.location.pieces
        for offset in range(piece.offset, piece.end)
    }


@pytest.mark.parametrize(
    ("connection", "message_format"), [("outgoing", Format.PLAIN), ("incoming", Format.JSON)]
)
def test_interruptions_at_random_are_those_of_the_wire(
    patched: Bench, connection: Connection, message_format: Format
) -> None:
    said: list[Utterance] = []

    async def script(call: LiveCall) -> None:
        source = random.Random(1)
        said.clear()
        assert call.session.truthful
        for number in range(INTERRUPTIONS):
            utterance = await say(call, number)
            await utterance.end()
            assert await utterance.started()
            # When the caller interrupts is chance; the last ones are close to the end.
            await asyncio.sleep(source.uniform(0, WORDS * WORD / BYTES_PER_MS / 1000))
            await call.session.interrupt()
            said.append(utterance)

    extension = Extension(
        f"agent-{connection}", connection=connection, message_format=message_format
    )
    call = passing_call(patched, extension.name, script, extension)
    on_the_wire = heard(call)
    for number, utterance in enumerate(said):
        played, begin = utterance.result, utterance.begin
        assert played is not None and begin is not None
        own = [begin + byte for byte in range(WORDS * WORD) if begin + byte in on_the_wire]
        assert played.exact
        assert played.position_ms == len(own) / BYTES_PER_MS
        assert played.interrupted == (len(own) < WORDS * WORD)
        ends = [begin + (word + 1) * WORD for word in range(WORDS)]
        words = [f"{number}.{word} " for word, end in enumerate(ends) if end - 1 in on_the_wire]
        assert played.text == "".join(words)
    assert any(one.result and one.result.interrupted for one in said)


def test_the_goodbye_is_on_the_wire_before_the_hang_up(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await say(call, "goodbye", words=3)
        await call.session.hang_up_when_played()
        assert call.session.closed

    call = passing_call(patched, "goodbye", script)
    assert heard(call) == set(range(3 * WORD))


def test_words_are_told_as_they_are_played(patched: Bench) -> None:
    """Each by a mark at its end, set before its audio is there."""

    async def script(call: LiveCall) -> None:
        utterance = await say(call, "first", words=1)
        marks = [await utterance.mark_at((word + 1) * WORD / BYTES_PER_MS) for word in range(WORDS)]
        for _ in range(WORDS - 1):
            await utterance.write(probe_signal("ulaw", call.session.sent_bytes, WORD))
        await utterance.end()
        for mark in marks:
            assert await mark.wait()
        assert (await utterance.played()).position_ms == WORDS * WORD / BYTES_PER_MS

    call = passing_call(patched, "words", script)
    assert len(call.judged.marks) == WORDS + 2


def test_without_the_patch_it_is_an_estimate(stock: Bench) -> None:
    async def estimated(name: str) -> LiveCall:
        return await place(stock, name, script, Extension(name))

    async def script(call: LiveCall) -> None:
        assert not call.session.truthful
        first = await say(call, "first")
        await first.end()
        played = await first.played()
        assert (played.text.count("first"), played.exact) == (WORDS, False)
        second = await say(call, "second")
        await second.started()
        await call.session.interrupt()
        assert second.result and second.result.interrupted and not second.result.exact

    call = measured("estimate", estimated, unreliable)
    assert set(range(WORDS * WORD)) <= heard(call)


def test_an_utterance_goes_on_where_a_hold_has_stopped_it(patched: Bench) -> None:
    """What was on its way then, a frame or two, is lost and told; all words count as heard."""
    said: list[Utterance] = []

    async def script(call: LiveCall) -> None:
        utterance = await say(call, "held")
        said[:] = [utterance]
        await utterance.end()
        assert await utterance.started()
        await call.sip.hold("sendonly")
        await call.session.wait_event("PLAYBACK_SUSPENDED")
        assert call.session.suspended == "hold"
        await call.sip.resume()
        played = await utterance.played()
        assert not played.interrupted
        assert played.text.count("held") == WORDS
        assert call.session.suspended == ""

    call = passing_call(patched, "agent-held", script)
    played = said[0].result
    assert played is not None
    missing = set(range(WORDS * WORD)) - heard(call)
    assert played.lost_ms == len(missing) / BYTES_PER_MS
    assert len(missing) <= 3 * 160


def test_an_agent_that_speaks_before_it_is_bridged_is_heard_from_its_first_word(
    patched: Bench,
) -> None:
    """`started` is then, and not when it was sent."""

    async def script(call: LiveCall) -> None:
        utterance = await say(call, "early", words=3)
        await utterance.end()
        assert await utterance.started()
        assert (await utterance.played()).text == "early.0 early.1 early.2 "

    extension = Extension("agent-early", bridge="ari", message_format=Format.JSON)
    late = Conditions(bridge_after_ms=800)

    async def placed(name: str) -> LiveCall:
        async with patched.call(name, extension, conditions=late) as call:
            await script(call)
        return call

    call = measured("agent-early", placed, unreliable)
    assert heard(call) == set(range(3 * WORD))
