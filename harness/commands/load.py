"""``harness load``: many calls at once, what they take of a PBX, and how well it keeps time."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from chan_websocket.protocol import Format
from harness.bench import open_bench
from harness.commands.command import EXIT_CODES, OUT, ROOT, Commands, positive
from harness.commands.printing import print_texts, print_verdict, print_whole
from harness.errors import InputFault
from harness.install.build import load_build
from harness.load.result import LoadMeasurement, Soak
from harness.load.run import (
    MOST_CALLS,
    MOST_MARKS_A_SECOND,
    LoadPlan,
    LoadProgress,
    load,
    raise_descriptor_limit,
)
from harness.record.capture_files import CAPTURE_FILE
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import shown
from harness.report.load_picture import write_load_picture
from harness.report.load_table import load_markdown, load_table, ratio_lines, wave_line, why_not
from harness.targets.names import NATIVE, TargetName

_SOAK_S = 3600
_LEAST_SOAK_S = 180
"""in the first two waves memory is still taken that is kept for those after them"""
_WAVE_S = 60.0
_ONE_HEAP = {
    "GLIBC_TUNABLES": "glibc.malloc.arena_max=1:glibc.pthread.stack_cache_size=0",
}
"""of a soak's Asterisk: what is free goes back, and what is kept is in use. With a heap for each
thread, and the stacks of threads that have ended, it differs by a MiB from wave to wave."""
_LIVES_S = 20.0
"""a call of a soak, on average"""

_DESCRIPTION = """\
Calls are ramped up, held and hung up, each with marks at a rate in speech of random pieces. One
capture of all RTP and all messages says when each acknowledgement came, and when its audio ended.
The table has the CPU, memory and descriptors that Asterisk takes for a call, apart from what makes
the calls. Where that, or the whole machine, was full the verdict is INCONCLUSIVE."""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    defaults = LoadPlan()
    parser = commands.add_parser(
        "load", help="many calls at once: CPU, jitter, memory of a call", description=_DESCRIPTION
    )
    parser.add_argument(
        "--calls",
        type=_numbers,
        default=(defaults.calls,),
        metavar="N[,N...]",
        help=f"at once, one number after the other (default: {defaults.calls})",
    )
    parser.add_argument(
        "--target", type=str, default="patched", metavar="NAME", help="as for run (%(default)s)"
    )
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="another target, such as stock: both in turn, and the ratios",
    )
    parser.add_argument(
        "--over",
        type=_schemes,
        metavar="ws,wss",
        help="kind of media connection, of the targets patched and stock (default: ws)",
    )
    parser.add_argument(
        "--rounds", type=positive, default=1, help="of each, in turn (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=positive,
        default=round(defaults.seconds),
        help="for which all calls are held and measured (default: %(default)s)",
    )
    parser.add_argument(
        "--marks",
        type=_rate,
        default=defaults.marks_a_second,
        metavar="RATE",
        help="a second, of each call (default: %(default)g)",
    )
    parser.add_argument(
        "--ramp",
        type=positive,
        default=round(defaults.ramp),
        metavar="RATE",
        help="calls a second that are placed (default: %(default)s)",
    )
    parser.add_argument(
        "--soak",
        type=positive,
        nargs="?",
        const=_SOAK_S,
        metavar="SECONDS",
        help="calls come and go, are flushed, paused, dropped and hung up by either side, while the"
        f" console is used; so long on one Asterisk, in waves of a minute, {_LEAST_SOAK_S} or more"
        " (%(const)s)",
    )
    parser.add_argument("--json", action="store_true", help="JSON control message format")
    parser.add_argument("--speaking", action="store_true", help="the callers speak, too")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of the pieces' sizes")
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep all captures, 1 MB a call minute, not only those with a fault",
    )
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    names = [options.target] + ([options.against] if options.against else [])
    if options.against == options.target:
        raise InputFault("--against names the target again", "Give another, such as stock.")
    schemes = options.over or ("ws",)
    if options.soak and options.soak < _LEAST_SOAK_S:
        raise InputFault(
            f"--soak {options.soak} is too short to tell whether memory grows",
            f"Give {_LEAST_SOAK_S} seconds or more.",
        )
    targets = {
        over: [_target(name, over, bool(options.over)) for name in names] for over in schemes
    }
    for target in (one for some in targets.values() for one in some):
        target.check()
    plan = LoadPlan(
        marks_a_second=options.marks,
        seconds=float(options.seconds),
        ramp=float(options.ramp),
        message_format=Format.JSON if options.json else Format.PLAIN,
        speaking=options.speaking,
        settles=True,
        seed=options.seed,
    )
    raise_descriptor_limit(max(options.calls))
    folder = new_run_folder(OUT)
    if options.soak:
        if options.against or len(options.calls) > 1 or len(schemes) > 1:
            raise InputFault(
                "--soak is of one target, one number of calls and one kind of connection",
                "Leave --against out, and give one of each.",
            )
        (target,) = targets[schemes[0]]
        plan = replace(
            plan,
            calls=options.calls[0],
            seconds=_WAVE_S,
            ramp=options.calls[0] / _LIVES_S,
            soak=True,
        )
        return _soak(console, target, plan, round(options.soak / _WAVE_S), folder, options.keep)
    console.print(
        f"{' and '.join(names)}: {', '.join(map(str, options.calls))} calls over"
        f" {' and '.join(schemes)}, {plan.marks_a_second:g} marks a second each, held for"
        f" {plan.seconds:g} s" + (f", {options.rounds} rounds" if options.rounds > 1 else ""),
        soft_wrap=True,
    )
    if any(name in NATIVE for name in names):
        console.print(load_build(ROOT).compiled, soft_wrap=True)
    measured = LoadMeasurement()
    steps = [
        (over, calls, number, name, target)
        for over in schemes
        for calls in options.calls
        for number in range(options.rounds)
        # First one, then the other: neither is always the one that comes behind.
        for name, target in _in_turn(names, targets[over], number)
    ]
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=console) as progress:
        task = progress.add_task("", total=len(steps))
        for over, calls, number, name, target in steps:
            label = f"{name} {over} {calls} calls"

            def say(so_far: LoadProgress, label: str = label) -> None:
                progress.update(task, description=_line(label, so_far))

            part = folder / f"{over}-{calls}-{number}-{target.text.replace('/', '_')}"
            with open_bench(target, ROOT, part) as bench:
                measured.rounds.append(
                    load(bench, name, replace(plan, calls=calls), part / "load", say)
                )
            if not options.keep and not measured.rounds[-1].wrong:
                (part / "load" / CAPTURE_FILE).unlink()
            progress.advance(task)
            _save(measured, folder)
    print_whole(console, load_table(measured))
    for line in ratio_lines(measured):
        console.print(line, soft_wrap=True)
    print_texts(console, why_not(measured))
    print_texts(
        console, [fault for one in measured.rounds if one.wrong for fault in one.judged.faults]
    )
    console.print(f"All of it, load.md and load.svg: {shown(folder)}", soft_wrap=True)
    print_verdict(console, measured.result)
    return EXIT_CODES[measured.result]


def _soak(
    console: Console, target: TargetName, plan: LoadPlan, waves: int, folder: Path, keep: bool
) -> int:
    """So many waves of calls that come and go."""
    console.print(
        f"{target.text}: {waves} waves of {plan.seconds:g} s, {plan.count} calls come and go in"
        f" each, about {plan.calls} at once",
        soft_wrap=True,
    )
    soak = Soak()
    with open_bench(target, ROOT, folder / "pbx", _ONE_HEAP) as bench:
        for number in range(waves):
            part = folder / f"wave-{number + 1}"
            settles = soak.settles(number, waves)
            wave = load(
                bench, target.text, replace(plan, seed=plan.seed + number, settles=settles), part
            )
            soak.waves.append(wave)
            if not keep and not wave.wrong:
                (part / CAPTURE_FILE).unlink()
            console.print(wave_line(soak), soft_wrap=True)
            print_texts(console, [*wave.wrong, *(wave.judged.faults if wave.wrong else [])])
            figures = [one.figures for one in soak.waves]
            (folder / "load.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
    print_texts(console, soak.wrong)
    print_verdict(console, soak.result)
    return EXIT_CODES[soak.result]


def _save(measured: LoadMeasurement, folder: Path) -> None:
    """What there is so far: a long command may be interrupted."""
    (folder / "load.md").write_text(load_markdown(measured), encoding="utf-8")
    (folder / "load.json").write_text(json.dumps(measured.figures, indent=1), encoding="utf-8")
    write_load_picture(folder / "load.svg", measured)


def _target(name: str, over: str, asked: bool) -> TargetName:
    """The target of that name with that kind of media connection."""
    if name in ("patched", "stock"):
        return TargetName(f"{name}-tls" if over == "wss" else name)
    if asked:
        raise InputFault(
            f"--over is for patched and stock, and {name} is as it is", "Leave it out."
        )
    return TargetName(name)


def _in_turn(
    names: Sequence[str], targets: Sequence[TargetName], number: int
) -> Iterator[tuple[str, TargetName]]:
    pairs = list(zip(names, targets, strict=True))
    yield from (pairs if number % 2 == 0 else reversed(pairs))


def _line(label: str, so_far: LoadProgress) -> str:
    asterisk = "" if so_far.asterisk is None else f", Asterisk {so_far.asterisk:.0%}"
    return (
        f"{label}: {so_far.stage}, {so_far.calls} up{asterisk}, generator {so_far.generator:.0%},"
        f" {so_far.acknowledged} acknowledged"
    )


def _numbers(text: str) -> tuple[int, ...]:
    """The type of --calls."""
    numbers = tuple(positive(part) for part in text.split(","))
    if too_many := [number for number in numbers if number > MOST_CALLS]:
        raise argparse.ArgumentTypeError(
            f"{too_many[0]} calls are more than one Asterisk has RTP ports for: at most"
            f" {MOST_CALLS}"
        )
    return numbers


def _schemes(text: str) -> tuple[str, ...]:
    """The type of --over."""
    schemes = tuple(text.split(","))
    if wrong := [one for one in schemes if one not in ("ws", "wss")]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not ws or wss")
    return schemes


def _rate(text: str) -> float:
    """The type of --marks."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0.1 <= rate <= MOST_MARKS_A_SECOND:
        raise argparse.ArgumentTypeError(
            f"{text} is not a number of marks a second, 0.1 to {MOST_MARKS_A_SECOND:g}"
        )
    return rate
