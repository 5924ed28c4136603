"""``harness run``: chooses scenarios, runs them on targets, writes the reports."""

from __future__ import annotations

import argparse
import asyncio
import os
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from rich.console import Console

from harness.asterisk.configuration import Connection
from harness.commands.command import (
    EXIT_CODES,
    OUT,
    ROOT,
    Commands,
    add_max_inconclusive,
    positive,
)
from harness.commands.printing import print_texts
from harness.errors import InputFault
from harness.judge.verdicts import MAX_INCONCLUSIVE
from harness.record.run_folder import new_run_folder
from harness.record.verdict_files import shown
from harness.report.dispositions_table import (
    TABLE_WIDTH,
    dispositions_markdown,
    dispositions_notes,
    dispositions_table,
)
from harness.report.html import REPORT_FILE, write_report
from harness.report.junit import JUNIT_FILE, write_junit
from harness.report.run_table import RUN_LEGEND, outcome_line, run_progress, run_table
from harness.report.wire_table import WIRE_LEGEND, wire_markdown, wire_table
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.result import WORST_FIRST, RunSummary, ScenarioResult, save_summary
from harness.scenarios.run_many import Job, Plan, Watcher, repeated, run_jobs
from harness.scenarios.schema import GROUPS, Group, Scenario
from harness.targets.names import CONTAINERS, NATIVE, TargetName


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "run",
        help="run scenarios and judge them",
        description="Runs scenarios: real calls, in which every mark and every playback counter is "
        "judged. The results are in out/latest: report.html, junit.xml, summary.json, and a folder "
        "for each call.",
    )
    add_choice(parser, "the smoke group")
    parser.add_argument(
        "-j",
        "--parallel",
        type=positive,
        metavar="N",
        help="scenarios at a time (default: one per processor)",
    )
    parser.add_argument(
        "--repeat", type=positive, default=1, metavar="N", help="run each N times, with N seeds"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all random choices")
    parser.add_argument(
        "--keep-going", action="store_true", help="do not stop at the first failure"
    )
    add_max_inconclusive(parser, "each call's marks, and of the scenarios,")
    parser.add_argument("--hold", action="store_true", help="keep the PBX of a failure running")
    parser.set_defaults(command=_run)


def add_choice(parser: argparse.ArgumentParser, default: str) -> None:
    """The arguments that choose scenarios and targets, for `run` and `list`; ``default`` is what
    is chosen without."""
    parser.add_argument(
        "names",
        nargs="*",
        metavar="SCENARIO",
        help="a name, with parameters if need be (matrix[codec=ulaw]), or a file; "
        f"default: {default}",
    )
    groups = "; ".join(f"{name}: {what}" for name, what in GROUPS.items())
    parser.add_argument(
        "--group",
        type=_groups,
        default=[],
        metavar="GROUP[,GROUP]",
        help=groups,
    )
    parser.add_argument(
        "--target",
        type=_targets,
        default=[TargetName("patched")],
        metavar="TARGET[,TARGET]",
        help=f"{', '.join((*NATIVE, *CONTAINERS))} or lab:FILE (default: patched)",
    )
    parser.add_argument(
        "--connection",
        choices=get_args(Connection),
        help="outgoing: Asterisk connects to the application; incoming: the application to"
        " Asterisk; scenarios that cannot are left out (default: as each scenario says)",
    )


def _groups(text: str) -> list[Group]:
    names = text.split(",")
    if unknown := [name for name in names if name not in GROUPS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is not one of {', '.join(GROUPS)}")
    return [group for group in GROUPS if group in names]


def _targets(text: str) -> list[TargetName]:
    try:
        return [TargetName(name) for name in text.split(",")]
    except InputFault as fault:
        raise argparse.ArgumentTypeError(f"{fault.what}. {fault.remedy}") from fault


def _run(options: argparse.Namespace, console: Console) -> int:
    folder = OUT
    chosen = RunOptions(
        names=options.names,
        # The smoke group by default.
        groups=options.group or ([] if options.names else ["smoke"]),
        targets=options.target,
        connection=options.connection,
        parallel=options.parallel,
        repeat=options.repeat,
        seed=options.seed,
        keep_going=options.keep_going,
        hold=options.hold,
        max_inconclusive=options.max_inconclusive,
    )
    # Before the folder is made: what cannot be run leaves nothing behind.
    plan_run(chosen, ROOT, folder)
    folder = new_run_folder(folder)
    plan = plan_run(chosen, ROOT, folder)
    command = shlex.join(["harness", *sys.argv[1:]])
    with run_progress(console, len(plan.jobs), _wait_for_user) as progress:
        summary = run(plan, progress, command)
    console.print()
    if "dispositions" in chosen.groups:
        _print_dispositions(console, summary, folder)
    elif "wire" in chosen.groups:
        Console(width=max(console.width, TABLE_WIDTH)).print(wire_table(summary))
        console.print(WIRE_LEGEND, style="dim", soft_wrap=True)
        (folder / "wire.md").write_text(wire_markdown(summary))
    else:
        console.print(run_table(summary))
        console.print(RUN_LEGEND, style="dim")
    # Only the first are printed: those of a FAIL are not to stand behind what is expected to fail.
    ordered = sorted(summary.results, key=lambda one: WORST_FIRST.index(one.outcome))
    print_texts(console, [text for one in ordered for text in one.failures])
    console.print(f"Report: {shown(folder / REPORT_FILE)}", soft_wrap=True)
    console.print(outcome_line(summary))
    return EXIT_CODES[summary.outcome.value]


async def _wait_for_user(result: ScenarioResult, where: str) -> None:
    print(f"{result.name} failed; its Asterisk is alive. Console:\n    {where}")
    loop = asyncio.get_running_loop()
    entered = asyncio.Event()
    try:
        # Not input() in a thread: that would have to end before a Ctrl-C could.
        loop.add_reader(sys.stdin, entered.set)
    except (OSError, ValueError):
        print("Nobody is there to press Enter (standard input is not a terminal): it is stopped.")
        return
    print("Press Enter to stop it: ", end="", flush=True)
    try:
        await entered.wait()
        sys.stdin.readline()
    finally:
        loop.remove_reader(sys.stdin)


def _print_dispositions(console: Console, summary: RunSummary, folder: Path) -> None:
    # A narrow terminal breaks its lines, which is better than numbers cut off.
    wide = Console(width=max(console.width, TABLE_WIDTH))
    wide.print(dispositions_table(summary, "What became of the marks"))
    notes = dispositions_notes(summary)
    for note in notes:
        console.print(note, soft_wrap=True, highlight=False)
    (folder / "dispositions.md").write_text(dispositions_markdown(summary, notes))


@dataclass(frozen=True)
class RunOptions:
    """What the user has chosen."""

    names: Sequence[str] = ()
    groups: Sequence[Group] = ()
    targets: Sequence[TargetName] = (TargetName("patched"),)
    connection: Connection | None = None
    """whose side opens media connections; by default as each scenario says"""
    parallel: int | None = None
    """by default as many as there are processors"""
    repeat: int = 1
    seed: int = 1
    keep_going: bool = False
    hold: bool = False
    max_inconclusive: float = MAX_INCONCLUSIVE

    def command(self, target: TargetName) -> str:
        """The command that runs something on a target again."""
        command = f"harness run --target {shlex.quote(target.text)}"
        if self.max_inconclusive != MAX_INCONCLUSIVE:
            command += f" --max-inconclusive {self.max_inconclusive:g}"
        if self.connection is not None:
            command += f" --connection {self.connection}"
        return command


def plan_run(options: RunOptions, root: Path, run_folder: Path) -> Plan:
    """What is to be run. Raises InputFault for names, files or parameters that are wrong."""
    scenarios = choose_scenarios(options.names, options.groups, options.connection)
    targets = list(dict.fromkeys(options.targets))
    for target in targets:
        target.check()
    jobs = [
        Job(scenario, target, options.seed)
        for target in targets
        for scenario in longest_first(scenarios)
    ]
    return Plan(
        jobs=repeated(jobs, options.repeat),
        parallel=options.parallel or len(os.sched_getaffinity(0)),
        keep_going=options.keep_going,
        hold=options.hold,
        root=root,
        run_folder=run_folder,
        commands={target.text: options.command(target) for target in targets},
        max_inconclusive=options.max_inconclusive,
    )


def run(plan: Plan, watcher: Watcher, command: str) -> RunSummary:
    """Run the plan and write summary.json, junit.xml and report.html into its folder."""
    started = time.strftime("%Y-%m-%dT%H:%M:%S")
    begin = time.monotonic()
    results = run_jobs(plan, watcher)
    summary = RunSummary(
        command,
        started,
        round(time.monotonic() - begin, 1),
        tuple(results),
        plan.max_inconclusive,
    )
    save_summary(plan.run_folder, summary)
    write_junit(plan.run_folder / JUNIT_FILE, summary)
    write_report(plan.run_folder, summary)
    return summary


def longest_first(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """So that the others run beside the long ones and none of those is alone at the end."""
    return sorted(scenarios, key=lambda one: -_length_ms(one.steps))


def _length_ms(steps: Sequence[object]) -> float:
    """A guess at how long steps take: of what is played and elapses."""
    total = 0.0
    for step in steps:
        for name in ("play", "elapse", "repeat", "load"):
            part = getattr(step, name)
            if part is None:
                continue
            if name == "play":
                size = part.ms or part.frames or part.bytes
                unit = 1 if part.ms else (20 if part.frames else 0.125)
                total += sum(size) / 2 * sum(part.times) / 2 * unit
            elif name == "elapse":
                total += sum(part) / 2
            else:
                times = sum(part.times) / 2 if name == "repeat" else 1
                total += times * _length_ms(part.steps)
    return total
