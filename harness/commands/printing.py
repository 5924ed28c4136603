"""What several commands print: a call's measurement, failures, the verdict, a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.bench import LiveCall
from harness.judge.call import JudgedCall
from harness.judge.verdicts import Verdict
from harness.report.mark_table import verdict_style

_FAILURES_SHOWN = 10
_WIDEST = 500
"""columns of a terminal, more than any table has"""


def print_measurement(console: Console, calls: Sequence[JudgedCall]) -> None:
    measurements = [call.measurement for call in calls]
    uncertainty_ms = max(one.uncertainty_ns for one in measurements) / 1e6
    source = {
        "capture": "one packet capture of both legs",
        "socket": "socket time stamps (packets cannot be captured here: run as root for that)",
    }[measurements[0].source]
    drops = sum(one.capture_drops for one in measurements)
    console.print(
        f"Measured by {source}, the uncertainty of a time is {uncertainty_ms:.3f} ms, "
        f"{drops} packets not captured.",
        soft_wrap=True,
    )


def print_failures(console: Console, calls: Sequence[LiveCall]) -> None:
    print_texts(console, [text for call in calls for text in call.failures])


def print_texts(console: Console, failures: Sequence[str]) -> None:
    for text in failures[:_FAILURES_SHOWN]:
        console.print(Text(text), soft_wrap=True)
    if len(failures) > _FAILURES_SHOWN:
        console.print(f"... and {len(failures) - _FAILURES_SHOWN} more")


def print_verdict(console: Console, verdict: str) -> None:
    style = {"PASS": Verdict.PASS, "INCONCLUSIVE": Verdict.INCONCLUSIVE}.get(verdict, Verdict.WRONG)
    console.print(Text(verdict, style=verdict_style(style)))


def print_whole(console: Console, table: Table) -> None:
    """Print all columns of a table, on a terminal that is too narrow, too: there its lines wrap."""
    needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    width = console.width
    console.width = max(width, needed)
    console.print(table)
    console.width = width


@contextmanager
def progress_bar(console: Console, what: str, total: int) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=total)
        yield lambda done: progress.update(task, completed=done)
