"""``harness run`` and ``harness list``: chooses scenarios, runs them on targets, reports."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.report.html import write_report
from harness.report.junit import JUNIT_FILE, write_junit
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.result import RunSummary, save_summary
from harness.scenarios.run_many import Job, Plan, Watcher, probe, repeated, run_jobs
from harness.scenarios.run_one import why_not
from harness.scenarios.schema import Group, Scenario
from harness.targets.capabilities import Capabilities
from harness.targets.names import TargetName


@dataclass(frozen=True)
class RunOptions:
    """What the user asked for."""

    names: Sequence[str] = ()
    groups: Sequence[Group] = ()
    targets: Sequence[TargetName] = (TargetName("patched"),)
    parallel: int | None = None
    """by default as many as there are processors"""
    repeat: int = 1
    seed: int = 1
    keep_going: bool = False
    hold: bool = False

    def command(self, target: TargetName) -> str:
        """The command that runs something on a target again."""
        return f"harness run --target {shlex.quote(target.text)}"


def plan_run(options: RunOptions, root: Path, run_folder: Path) -> Plan:
    """What is to be run. Raises InputFault for names, files or parameters that are wrong."""
    scenarios = choose_scenarios(options.names, options.groups)
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
    )
    save_summary(plan.run_folder, summary)
    write_junit(plan.run_folder / JUNIT_FILE, summary)
    write_report(plan.run_folder, summary)
    return summary


def what_runs(
    scenarios: Sequence[Scenario], target: TargetName, root: Path, folder: Path
) -> tuple[Capabilities, list[tuple[Scenario, str]]]:
    """What a target can do, and each scenario with why it cannot be run there (empty if it can)."""
    target.check()
    capabilities = probe(target, root, folder / "target")
    return capabilities, [(one, why_not(one, target.stock, capabilities)) for one in scenarios]


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
