"""``harness demo``: speech with marks on a real call, with the patched module and with stock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

from harness.application.play import MarkCommand, answered, mark
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.commands.measure import Module, OnAnswer, module_path
from harness.install.build import Build
from harness.media.speech import Utterance, synthesise

PHRASES = (
    "Good morning,",
    "you are speaking with the assistant of the city library.",
    "The book you asked for",
    "arrived yesterday.",
    "We keep it for you",
    "until Friday,",
    "five o'clock.",
    "Shall I",
    "prolong that?",
)
SEED = 7
"""of the sizes of the pieces"""


def speak(build: Build, folder: Path, on_answer: OnAnswer) -> list[LiveCall]:
    """The same speech on two calls of one Asterisk: the patched module's, then stock's.

    ``on_answer`` gets the number of marks answered so far in both.
    """
    utterances = synthesise(PHRASES)
    with bench(build, folder) as b:
        return asyncio.run(_speak(b, build, utterances, on_answer))


async def _speak(
    b: Bench, build: Build, utterances: list[Utterance], on_answer: OnAnswer
) -> list[LiveCall]:
    calls: list[LiveCall] = []
    modules: tuple[Module, ...] = ("patched", "stock")
    for module in modules:
        b.instance.use_module(module_path(build, module))
        before = len(calls) * len(utterances)
        async with b.call(module, Extension("speak")) as call:
            command: MarkCommand = "MARK" if module == "patched" else "MARK_MEDIA"
            await _stream(call, command, utterances, before, on_answer)
        calls.append(call)
    return calls


async def _stream(
    call: LiveCall,
    command: MarkCommand,
    utterances: list[Utterance],
    before: int,
    on_answer: OnAnswer,
) -> None:
    session = call.session
    await session.start_buffering()
    sizes = random.Random(SEED)
    for number, utterance in enumerate(utterances):
        for piece in _pieces(utterance.ulaw, sizes):
            await session.send_media(piece)
        await mark(session, command, f"m{number + 1}")
    await session.stop_buffering()
    for number in range(len(utterances)):
        await answered(session, command, f"m{number + 1}", timeout_s=60.0)
        on_answer(before + number + 1)


def _pieces(media: bytes, sizes: random.Random) -> Iterator[bytes]:
    while media:
        size = sizes.randint(200, 2000)
        yield media[:size]
        media = media[size:]
