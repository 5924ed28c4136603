"""``harness demo``: speech with marks on a real call, with the patched module and with stock."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rich.console import Console

from chan_websocket.protocol import MarkCommand
from harness.application.marks import acknowledged, mark
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
from harness.judge.verdicts import Verdict
from harness.media.speech import Utterance, synthesise
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import load_call, shown
from harness.report.demo_picture import PicturedCall, write_demo_picture
from harness.report.html import write_report
from harness.report.mark_table import LEGEND, marks_table, summary_line
from harness.retry import until_reliable
from harness.scenarios.result import Outcome, RunSummary, ScenarioResult, kept_of_call, save_summary

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
MODULES: tuple[Module, ...] = ("patched", "stock")
SEED = 7
"""of the sizes of the pieces"""
PICTURE_FILE = "demo.svg"


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser("demo", help="speech with marks, patched beside stock")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    build = load_build(ROOT)
    folder = new_run_folder(OUT)
    started = time.time()
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
        console.print(marks_table(call.judged, title, PHRASES))
        console.print(summary_line([call.judged]))
        print_measurement(console, [call.judged])
    summary, picture, report = write_reports(folder, build.version, [patched, stock], started)
    console.print()
    console.print(f"Picture: {shown(picture)}", soft_wrap=True)
    console.print(
        f"Report: {shown(report)} (both calls, zoomable; open it in a browser)", soft_wrap=True
    )
    console.print(f"All of it: {shown(folder)}", soft_wrap=True)
    print_failures(console, [patched])
    if summary.results[1].outcome is Outcome.INCONCLUSIVE:
        console.print("The stock driver's early acknowledgements did not occur.", style="yellow")
    print_verdict(console, summary.outcome.value)
    return EXIT_CODES[summary.outcome.value]


def speak(build: Build, folder: Path, on_ack: OnAck) -> list[LiveCall]:
    """The same speech on two calls of one Asterisk: the patched module's, then stock's.

    ``folder`` is the run's; ``on_ack`` gets the number of marks acknowledged so far in both.
    """
    utterances = synthesise(PHRASES)
    calls: list[LiveCall] = []
    # A folder of its own within the run's, as a worker has it that runs scenarios.
    with bench(build, folder / "demo") as b:
        for module in MODULES:
            b.instance.use_module(module_path(build, module))
            calls.append(
                until_reliable(
                    module,
                    partial(_call, b, module, utterances, len(calls) * len(utterances), on_ack),
                    lambda call: call.judged.result == "INCONCLUSIVE",
                )
            )
    return calls


def write_reports(
    folder: Path, version: str, calls: list[LiveCall], started: float
) -> tuple[RunSummary, Path, Path]:
    """Write what `harness run` leaves, for the calls of `speak`, and the picture of both.

    ``started`` is when, in Unix time. Returns the summary, the picture and report.html.
    """
    saved = [load_call(call.folder) for call in calls]
    results = tuple(
        _result(folder, version, module, call, (one.judged.end_ns - one.judged.start_ns) / 1e9)
        for module, call, one in zip(MODULES, calls, saved, strict=True)
    )
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(started))
    summary = RunSummary("harness demo", at, round(time.time() - started, 1), results)
    save_summary(folder, summary)
    picture = folder / PICTURE_FILE
    write_demo_picture(
        picture,
        f"The same speech with the patched and with the stock driver of Asterisk {version}",
        [PicturedCall(module, one) for module, one in zip(MODULES, saved, strict=True)],
    )
    return summary, picture, write_report(folder, summary)


def _result(
    folder: Path, version: str, module: Module, call: LiveCall, seconds: float
) -> ScenarioResult:
    kept = kept_of_call(str(call.folder.relative_to(folder)), call.judged)
    outcome, reason = Outcome(kept.verdict), ""
    if module == "stock":
        # Its early acknowledgements are to be shown: without them the demonstration shows nothing.
        outcome = Outcome.INCONCLUSIVE
        reason = "the stock driver's early acknowledgements did not occur"
        if call.judged.counts[Verdict.EARLY]:
            outcome = Outcome.XFAIL
            reason = "the stock driver acknowledges marks while their audio is still playing"
    return ScenarioResult(
        scenario="demo",
        parameters={},
        proves="Speech in chunks of random size, a mark after each phrase.",
        target=module,
        version=version,
        seed=SEED,
        outcome=outcome,
        reason=reason,
        failures=tuple(call.failures),
        attempts=1,
        seconds=round(seconds, 1),
        rerun="harness demo",
        calls=(kept,),
    )


def _call(
    b: Bench, module: Module, utterances: list[Utterance], before: int, on_ack: OnAck, name: str
) -> LiveCall:
    async def place() -> LiveCall:
        async with b.call(name, Extension("speak")) as call:
            command: MarkCommand = "MARK" if module == "patched" else "MARK_MEDIA"
            await _stream(call, command, utterances, before, on_ack)
        return call

    return asyncio.run(place())


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
