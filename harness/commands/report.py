"""``harness report``: the reports of a run made again, from its files alone."""

from __future__ import annotations

from pathlib import Path

from harness.report.html import write_report
from harness.report.junit import JUNIT_FILE, write_junit
from harness.scenarios.result import load_summary


def regenerate(folder: Path) -> tuple[Path, Path]:
    """Write junit.xml and report.html of the run in ``folder`` anew; their paths.

    Nothing is judged again. Raises InputFault when the folder holds no run.
    """
    summary = load_summary(folder)
    junit = folder / JUNIT_FILE
    write_junit(junit, summary)
    return junit, write_report(folder, summary)
