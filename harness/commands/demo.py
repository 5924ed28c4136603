"""``harness demo``: speech with marks on a real call, with the patched module and with stock."""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from harness.application.marks import MarkCommand, acknowledged, mark
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall, bench
from harness.commands.command import EXIT_CODES, OUT, ROOT, Commands
from harness.commands.measure import Module, OnAck, module_path
from harness.commands.printing import (
    print_failures,
    print_measurement,
    print_verdict,
    progress_bar,
)
from harness.install.build import Build, load_build
from harness.judge.judge import Verdict
from harness.media.speech import Utterance, synthesise
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import shown
from harness.report.demo_picture import PicturedCall, draw_picture
from harness.report.mark_table import LEGEND, marks_table, summary_line

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


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("demo", help="speech with marks, patched beside stock")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    build = load_build(ROOT)
    folder = new_run_folder(OUT)
    console.print(f"Asterisk {build.version}, speech on a SIP call, a mark after each phrase")
    with progress_bar(
        console, "marks acknowledged, patched then stock", 2 * len(PHRASES)
    ) as advance:
        patched, stock = speak(build, folder, advance)
    console.print()
    console.print(LEGEND)
    for call, title in (
        (patched, "Patched: MARK, acknowledged by MARK_PLAYED"),
        (stock, "Stock: MARK_MEDIA, acknowledged by MEDIA_MARK_PROCESSED"),
    ):
        console.print()
        console.print(marks_table(call.result, title, PHRASES))
        console.print(summary_line([call.result]))
        print_measurement(console, [call.result])
    picture = folder / "demo.png"
    draw_picture(
        picture, [PicturedCall("patched", patched.result), PicturedCall("stock", stock.result)]
    )
    console.print()
    console.print(f"Picture: {shown(picture)}", soft_wrap=True)
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
    print_failures(console, [patched])
    verdict = patched.result.verdict
    if verdict == "PASS" and not stock.result.counts[Verdict.EARLY]:
        console.print("The stock driver's early acknowledgements did not show.", style="yellow")
        verdict = "INCONCLUSIVE"
    print_verdict(console, verdict)
    return EXIT_CODES[verdict]


def speak(build: Build, folder: Path, on_ack: OnAck) -> list[LiveCall]:
    """The same speech on two calls of one Asterisk: the patched module's, then stock's.

    ``on_ack`` gets the number of marks acknowledged so far in both.
    """
    utterances = synthesise(PHRASES)
    with bench(build, folder) as b:
        return asyncio.run(_speak(b, build, utterances, on_ack))


async def _speak(
    b: Bench, build: Build, utterances: list[Utterance], on_ack: OnAck
) -> list[LiveCall]:
    calls: list[LiveCall] = []
    modules: tuple[Module, ...] = ("patched", "stock")
    for module in modules:
        b.instance.use_module(module_path(build, module))
        before = len(calls) * len(utterances)
        async with b.call(module, Extension("speak")) as call:
            command: MarkCommand = "MARK" if module == "patched" else "MARK_MEDIA"
            await _stream(call, command, utterances, before, on_ack)
        calls.append(call)
    return calls


async def _stream(
    call: LiveCall,
    command: MarkCommand,
    utterances: list[Utterance],
    before: int,
    on_ack: OnAck,
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
        await acknowledged(session, command, f"m{number + 1}", timeout_s=60.0)
        on_ack(before + number + 1)


def _pieces(media: bytes, sizes: random.Random) -> Iterator[bytes]:
    while media:
        size = sizes.randint(200, 2000)
        yield media[:size]
        media = media[size:]
