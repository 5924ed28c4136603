"""``harness report``: writes the reports of a run again, from its files alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from harness.commands.command import EXIT_PASS, Commands
from harness.record.verdict_files import shown
from harness.report.html import write_report
from harness.report.junit import JUNIT_FILE, write_junit
from harness.scenarios.result import load_summary


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "report",
        help="write the reports of a run again",
        description="Writes report.html and junit.xml again from a run's folder; judges nothing.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of a run, such as out/latest")
    parser.set_defaults(command=_run)


def _run(options: argparse.Namespace, console: Console) -> int:
    for path in regenerate(options.folder):
        console.print(str(shown(path)), soft_wrap=True)
    return EXIT_PASS


def regenerate(folder: Path) -> tuple[Path, Path]:
    """Write junit.xml and report.html of the run in ``folder`` anew; their paths.

    Nothing is judged again. Raises InputFault when the folder holds no run.
    """
    summary = load_summary(folder)
    junit = folder / JUNIT_FILE
    write_junit(junit, summary)
    return junit, write_report(folder, summary)
