"""``harness list``: what scenarios there are, and which of them a target can run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from harness.commands.command import EXIT_PASS, ROOT, Commands
from harness.commands.run import add_choice
from harness.report.run_table import scenario_list
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.run_many import probe
from harness.scenarios.run_one import why_not
from harness.scenarios.schema import Scenario
from harness.targets.capabilities import Capabilities
from harness.targets.names import TargetName


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "list",
        help="list the scenarios, and which of them a target can run",
        description="Lists scenarios, what each proves, and whether the target can run it.",
    )
    add_choice(parser, "all")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    scenarios = choose_scenarios(options.names, options.group, options.connection)
    for target in options.target:
        with TemporaryDirectory(prefix="harness-list-") as folder:
            capabilities, listed = what_runs(scenarios, target, ROOT, Path(folder))
        marks = "MARK" if capabilities.playback_marks else "MARK_MEDIA"
        running = sum(not why_not for _, why_not in listed)
        console.print(scenario_list(listed))
        console.print(
            f"{target.text}: Asterisk {capabilities.version}, judged by {marks}; "
            f"{running} of {len(listed)} runs can be done here."
        )
    return EXIT_PASS


def what_runs(
    scenarios: Sequence[Scenario], target: TargetName, root: Path, folder: Path
) -> tuple[Capabilities, list[tuple[Scenario, str]]]:
    """What a target can do, and each scenario with why it cannot be run there (empty if it can)."""
    target.check()
    capabilities = probe(target, root, folder / "target")
    return capabilities, [(one, why_not(one, target.stock, capabilities)) for one in scenarios]
