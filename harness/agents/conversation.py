"""What a framework's agent says on a call, what it believes was heard, and what was on the wire.

Half of it is said to its end, the other half is interrupted at random. Pure but for the script.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from chan_websocket.call import Call
from harness.bench import LiveCall
from harness.media.probe_signal import probe_signal

WORDS = 8
WORD_BYTES = 960
"""of mu-law: 120 ms, whole frames, so that no framework fills a word up with silence"""
BYTES_PER_MS = 8

Speech = Callable[[str], bytes]
"""The audio of a word, linear at the call's rate"""


class Agent(Protocol):
    """A framework's agent on a call."""

    async def say(self, text: str) -> int:
        """Say this to its end; return when the framework said that it was over, in Unix ns."""

    async def interrupted(self, text: str, after_s: float) -> None:
        """Say this, and be interrupted so long after it has begun; return when that is over."""

    def in_context(self) -> list[str]:
        """What the model is told it has said, one message after the other."""


AgentOn = Callable[[Call, Speech], AbstractAsyncContextManager[Agent]]
"""An agent on a call, with this speech; leaving ends it"""


@dataclass
class Said:
    """One thing that was said."""

    begin: int
    """offset in the stream"""
    words: list[str]
    in_context: list[str] = field(default_factory=list)
    """the words that the model is told were heard"""
    over_ns: int | None = None
    """when the framework said that it was over, if it was not interrupted"""


@dataclass(frozen=True)
class Compared:
    """One thing that was said, beside the wire."""

    claimed: int
    """words that the model is told were heard"""
    heard: int
    """words that were on the wire to their end"""
    over_ms: float | None
    """when the framework said that it was over, less when its audio had ended on the wire"""


async def talk(
    call: LiveCall, agent_on: AgentOn, endings: int, interruptions: int, seed: int = 1
) -> list[Said]:
    """Have an agent say so many things to their end, and so many that are interrupted."""
    session = call.session
    codec = session.codec
    source = random.Random(seed)
    coded = 0

    def speech(word: str) -> bytes:
        nonlocal coded
        coded += WORD_BYTES
        return codec.decode(probe_signal(codec.name, coded - WORD_BYTES, WORD_BYTES))

    kinds = ["ending"] * endings + ["interruption"] * interruptions
    source.shuffle(kinds)
    said: list[Said] = []
    async with agent_on(session, speech) as agent:
        for number, kind in enumerate(kinds):
            words = [f"word{number}x{word}" for word in range(WORDS)]
            before = len(agent.in_context())
            one = Said(session.sent_bytes, words)
            said.append(one)
            if kind == "ending":
                one.over_ns = await agent.say(" ".join(words))
            else:
                longest_s = WORDS * WORD_BYTES / BYTES_PER_MS / 1000
                await agent.interrupted(" ".join(words), source.uniform(0, 0.9 * longest_s))
            one.in_context = " ".join(agent.in_context()[before:]).split()
    return said


def compare(call: LiveCall, said: Sequence[Said]) -> list[Compared]:
    """Hold what was believed against the wire, when the call has been judged."""
    ends_ns: dict[int, int] = {}
    for packet in call.judged.located:
        for piece in packet.location.pieces:
            for byte in range(piece.length):
                ms = (piece.start + byte + 1) / BYTES_PER_MS
                ends_ns[piece.offset + byte] = packet.clock.start_ns + round(ms * 1e6)
    compared = []
    # What was interrupted may not have been sent to its end: there the next one begins.
    nexts = [*(one.begin for one in said[1:]), max(ends_ns, default=0) + 1]
    for one, behind in zip(said, nexts, strict=True):
        ends = [one.begin + (number + 1) * WORD_BYTES for number in range(len(one.words))]
        heard = sum(
            end <= behind and all(byte in ends_ns for byte in range(end - WORD_BYTES, end))
            for end in ends
        )
        last = one.begin + len(one.words) * WORD_BYTES - 1
        over_ms = None
        if one.over_ns is not None and last in ends_ns:
            over_ms = (one.over_ns - ends_ns[last]) / 1e6
        compared.append(Compared(len(one.in_context), heard, over_ms))
    return compared


async def settle() -> None:
    """Let whatever is on its way in this process arrive."""
    for _ in range(50):
        await asyncio.sleep(0)
