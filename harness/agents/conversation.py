"""What a framework's agent says on a call, what it believes was heard, and what was on the wire.

Some of it is said to its end, the rest is interrupted at random. Pure but for the script.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from chan_websocket.protocol import parse_event
from harness.application.recording import RecordedSession
from harness.bench import LiveCall
from harness.judge.call import JudgedCall
from harness.media.codecs import codec_named
from harness.media.probe_signal import probe_signal

WORDS = 8
WORD_MS = 120
"""whole frames, so that no framework fills a word up with silence"""
_LOOK_AGAIN_S = 0.01

Speech = Callable[[str], bytes]
"""The audio of a word, linear at the call's rate"""


class Agent(Protocol):
    """A framework's agent on a call."""

    async def say(self, text: str) -> int:
        """Say this to its end; return when the framework said that it was over, in Unix ns."""

    async def interrupted(self, text: str, after_s: float) -> None:
        """Say this, and be interrupted so long after it has begun; return when that is over."""

    async def interrupt(self) -> None:
        """The caller interrupts what is being said; return when that is over."""

    def in_context(self) -> list[str]:
        """What the model is told it has said, one message after the other."""

    def started_ns(self) -> int:
        """When the framework said that what was said last had begun, in Unix ns."""

    def forget(self) -> None:
        """Have the model forget that, as one does whose context would grow too long."""

    def position_ms(self) -> float | None:
        """How far into what was said last playback got, as the framework is told; None if it is
        not, and its transport alone may know."""


AgentOn = Callable[[RecordedSession, Speech], AbstractAsyncContextManager[Agent]]
"""An agent on a call, with this speech; leaving ends it"""


@dataclass
class Said:
    """One thing that was said."""

    begin: int
    """offset in the stream"""
    words: list[str]
    in_context: list[str] = field(default_factory=list)
    """the words that the model is told were heard"""
    position_ms: float | None = None
    """how far playback got, as the framework or else its transport believes; None where neither
    knows"""
    over_ns: int | None = None
    """when the framework said that it was over, if it was not interrupted"""


@dataclass(frozen=True)
class Ending:
    """Something that was said to its end. Times are Unix time in ns."""

    offset: int
    """behind its last byte"""
    end_ns: int
    """of its audio, on the media clock of the RTP"""
    acked_ns: int | None
    """when the acknowledgement of that was on the wire, if there was one"""
    read_ns: int | None
    """when the agent's process had read it"""
    over_ns: int
    """when the framework said that it was over"""


@dataclass(frozen=True)
class Compared:
    """One thing that was said, beside the wire."""

    claimed: int
    """words that the model is told were heard"""
    heard: int
    """words that were on the wire to their end"""
    interrupted: bool
    ending: Ending | None
    """if it was not interrupted, and its last byte was on the wire"""
    position_off_ms: float | None
    """the position that was claimed, less the last of it on the wire"""


async def talk(
    call: LiveCall, agent_on: AgentOn, endings: int, interruptions: int, seed: int = 1
) -> list[Said]:
    """Have an agent say so many things to their end, and so many that are interrupted."""
    session = call.session
    source = random.Random(seed)
    kinds = ["ending"] * endings + ["interruption"] * interruptions
    source.shuffle(kinds)
    said: list[Said] = []
    async with agent_on(session, coded_speech(session)) as agent:
        for number, kind in enumerate(kinds):
            one = begin_to_say(session, number)
            said.append(one)
            before, utterances = len(agent.in_context()), len(session.utterances)
            if kind == "ending":
                one.over_ns = await agent.say(" ".join(one.words))
                # Not everybody has sent it by then.
                while session.sent_bytes < one.begin + WORDS * session.bytes_of(WORD_MS):
                    await asyncio.sleep(_LOOK_AGAIN_S)
            else:
                longest_s = WORDS * WORD_MS / 1000
                await agent.interrupted(" ".join(one.words), source.uniform(0, 0.9 * longest_s))
            one.in_context = " ".join(agent.in_context()[before:]).split()
            one.position_ms = agent.position_ms()
            results = [utterance.result for utterance in session.utterances[utterances:]]
            if one.position_ms is None and results:
                one.position_ms = sum(result.position_ms for result in results if result)
    return said


def coded_speech(session: RecordedSession) -> Speech:
    """Words by whose sound the judge can find them, each the next one of the call's stream."""
    codec = session.codec
    word_bytes = session.bytes_of(WORD_MS)
    coded = 0

    def speech(word: str) -> bytes:
        nonlocal coded
        coded += word_bytes
        return codec.decode(probe_signal(codec.name, coded - word_bytes, word_bytes))

    return speech


def begin_to_say(session: RecordedSession, number: int) -> Said:
    """What is to be said next."""
    return Said(session.sent_bytes, [f"word{number}x{word}" for word in range(WORDS)])


def compare(call: LiveCall, said: Sequence[Said]) -> list[Compared]:
    """Hold what was believed against the wire, when the call has been judged."""
    judged = call.judged
    bytes_per_ms = codec_named(judged.codec).bytes_per_second / 1000
    word_bytes = round(WORD_MS * bytes_per_ms)
    ends_ns: dict[int, int] = {}
    for packet in judged.located:
        for piece in packet.location.pieces:
            for byte in range(piece.length):
                ms = (piece.start + byte + 1) / bytes_per_ms
                ends_ns[piece.offset + byte] = packet.clock.start_ns + round(ms * 1e6)
    read_ns = _read_ns(call.session)
    compared = []
    # What was interrupted may not have been sent to its end: there the next one begins.
    nexts = [*(one.begin for one in said[1:]), max(ends_ns, default=0) + 1]
    for one, behind in zip(said, nexts, strict=True):
        ends = [one.begin + (number + 1) * word_bytes for number in range(len(one.words))]
        heard = sum(
            end <= behind and all(byte in ends_ns for byte in range(end - word_bytes, end))
            for end in ends
        )
        own = [byte for byte in range(one.begin, min(ends[-1], behind)) if byte in ends_ns]
        off_ms = None
        if one.position_ms is not None:
            off_ms = one.position_ms - (own[-1] + 1 - one.begin if own else 0) / bytes_per_ms
        ending = None
        if one.over_ns is not None and ends[-1] - 1 in ends_ns:
            acked_ns, mark = _acknowledged(judged, ends[-1])
            over_ns, end_ns = one.over_ns, ends_ns[ends[-1] - 1]
            ending = Ending(ends[-1], end_ns, acked_ns, read_ns.get(mark), over_ns)
        interrupted = one.over_ns is None
        compared.append(Compared(len(one.in_context), heard, interrupted, ending, off_ms))
    return compared


def _acknowledged(judged: JudgedCall, offset: int) -> tuple[int | None, object]:
    """When the first mark at this offset was acknowledged as played on the wire, and its id."""
    acked = [
        (mark.acked_ns, mark.id)
        for mark in judged.marks
        if mark.offset == offset and mark.outcome == "played" and mark.acked_ns is not None
    ]
    return min(acked, key=lambda one: one[0]) if acked else (None, None)


def _read_ns(session: RecordedSession) -> dict[object, int]:
    """When each mark's acknowledgement was read, by the mark's id."""
    times: dict[object, int] = {}
    for message in session.messages:
        if message.sender == "asterisk" and message.kind == "text":
            event = parse_event(message.text)
            if event.name == "MARK_PLAYED":
                times.setdefault(event.id, message.time_ns)
            elif event.name == "MEDIA_MARK_PROCESSED":
                times.setdefault(event.correlation_id, message.time_ns)
    return times


async def settle() -> None:
    """Let whatever is on its way in this process arrive."""
    for _ in range(50):
        await asyncio.sleep(0)
