"""A run's scenarios on the terminal: their progress, their results, a list of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from harness.judge.verdicts import Verdict, statistics_of
from harness.report.mark_table import compact_table
from harness.scenarios.result import Outcome, RunSummary, ScenarioResult
from harness.scenarios.run_many import Job, Watcher
from harness.scenarios.schema import Scenario

OUTCOME_STYLES = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.ERROR: "bold magenta",
    Outcome.SKIP: "dim",
    Outcome.XFAIL: "blue",
    Outcome.XPASS: "bold red",
    Outcome.NOT_RUN: "dim",
}
RUN_LEGEND = (
    "marks: passed/all. p50, p99: of ack minus audio end; negative is too early. XFAIL: expected "
    "failure, the driver failed in just the way it is known to."
)
"""What the columns of `run_table` mean"""

Held = Callable[[ScenarioResult, str], Awaitable[None]]
"""Called after a failure with the result and where the PBX's console is; returns when the PBX may
be stopped"""


def run_table(summary: RunSummary, title: str = "Scenarios") -> Table:
    """One row a scenario that was run, with the reason, if there is one, below its name."""
    table = compact_table(title)
    targets = {result.target for result in summary.ran}
    table.add_column("verdict", no_wrap=True)
    table.add_column("scenario, reason", overflow="fold")
    if len(targets) > 1:
        table.add_column("target", no_wrap=True)
    for heading in ("marks", "p50 ms", "p99 ms", "time s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in summary.ran:
        numbers = statistics_of([ns for call in result.calls for ns in call.differences_ns])
        table.add_row(
            outcome_text(result.outcome),
            _name_and_reason(result),
            *([Text(result.target)] if len(targets) > 1 else []),
            _marks(result),
            *(f"{ns / 1e6:+.2f}" for ns in (numbers.median_ns, numbers.p99_ns))
            if numbers
            else ("-", "-"),
            f"{result.seconds:.1f}",
        )
    return table


def outcome_line(summary: RunSummary) -> Text:
    """The run's outcome and how many scenarios had each."""
    text = outcome_text(summary.outcome)
    text.append(f"  {len(summary.ran)} scenarios in {summary.seconds:.0f} s: ", style="none")
    parts = [
        (outcome, count)
        for outcome, count in summary.counts.items()
        if count and outcome is not Outcome.NOT_RUN
    ]
    for index, (outcome, count) in enumerate(parts):
        text.append(", " if index else "", style="none")
        text.append(f"{count} {outcome.value}", style=OUTCOME_STYLES[outcome])
    marks, not_judged = summary.marks
    if not_judged:
        text.append(f"; {not_judged} of {marks} marks could not be judged", style="none")
    if summary.not_run:
        text.append(f"; {summary.not_run} not run (--keep-going runs them)", style="none")
    return text


def outcome_text(outcome: Outcome) -> Text:
    """The word in its colour."""
    return Text(outcome.word, style=OUTCOME_STYLES[outcome])


def scenario_list(listed: Sequence[tuple[Scenario, str]]) -> Text:
    """Scenarios, each with why it cannot be run on the target; empty if it can.

    Those that differ only in their parameters, and in no reason, are one entry.
    """
    entries: dict[tuple[str, str], list[Scenario]] = {}
    for scenario, why_not in listed:
        entries.setdefault((scenario.name, why_not), []).append(scenario)
    text = Text()
    for (name, why_not), scenarios in entries.items():
        first = scenarios[0]
        text.append(name, style="bold")
        text.append(_parameters(scenarios))
        text.append(f"  {', '.join(first.groups)}", style="dim")
        if len(scenarios) > 1:
            text.append(f"  {len(scenarios)} runs", style="dim")
        if why_not:
            text.append(f"\n    not here: {why_not}", style="yellow")
        text.append(f"\n    {first.proves}\n")
    return text


class RunProgress(Watcher):
    """The progress of a run. Made by `run_progress`."""

    def __init__(self, console: Console, total: int, bar: Progress | None, held: Held) -> None:
        self._console = console
        self._total = total
        self._bar = bar
        self._held = held
        self._task = bar.add_task("", total=total, now="starting") if bar else None
        self._running: list[str] = []
        self._counts: Counter[Outcome] = Counter()

    def started(self, job: Job) -> None:
        """A scenario has begun; several may run at once."""
        self._running.append(job.scenario.full_name)
        self._update()

    def finished(self, result: ScenarioResult) -> None:
        """One is done: a line for it, which stays."""
        if result.name in self._running:
            self._running.remove(result.name)
        self._counts[result.outcome] += 1
        done = sum(self._counts.values())
        width = len(str(self._total))
        line = Text(f"[{done:{width}}/{self._total}] ", style="dim")
        line.append_text(Text(f"{result.outcome.value:<12} ", OUTCOME_STYLES[result.outcome]))
        line.append(f"{result.name}", style="none")
        line.append(f"  {result.target}, {result.seconds:.1f} s", style="dim")
        if _reason(result):
            line.append(f": {_reason(result)}", style="none")
        self._print(line)
        bad = (Outcome.FAIL, Outcome.XPASS, Outcome.ERROR, Outcome.INCONCLUSIVE)
        if result.outcome in bad and result.rerun:
            self._print(Text(f"    run again: {result.rerun}", style="dim"))
        self._update()

    async def held(self, result: ScenarioResult, console: str) -> None:
        """After a failure: returns when the target may be stopped."""
        if self._bar is None:
            await self._held(result, console)
            return
        # The bar would overwrite the prompt.
        self._bar.stop()
        try:
            await self._held(result, console)
        finally:
            self._bar.start()

    def _print(self, line: Text) -> None:
        # A CI system's log has no width; above the bar rich would cut a line that is not broken.
        self._console.print(line, soft_wrap=self._bar is None, highlight=False)

    def _update(self) -> None:
        if self._bar is None or self._task is None:
            return
        now = ", ".join(self._running[:3]) + (" ..." if len(self._running) > 3 else "")
        self._bar.update(self._task, completed=sum(self._counts.values()), now=now)


async def hold_nothing(result: ScenarioResult, where: str) -> None:
    """Returns at once."""


@contextmanager
def run_progress(console: Console, total: int, held: Held = hold_nothing) -> Iterator[RunProgress]:
    """A line for each scenario that is done; on a terminal below them what runs at the moment."""
    if not console.is_terminal:
        yield RunProgress(console, total, None, held)
        return
    columns = (
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}", markup=False),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        yield RunProgress(console, total, bar, held)


def _name_and_reason(result: ScenarioResult) -> Text:
    # As Text, because the brackets of parameters would be taken for rich's markup.
    text = Text(_breakable(result.name))
    if reason := _reason(result):
        text.append(f"\n{reason}", style="dim")
    return text


def _marks(result: ScenarioResult) -> str:
    every = sum(sum(call.counts.values()) for call in result.calls)
    passed = sum(call.counts.get(Verdict.PASS.value, 0) for call in result.calls)
    return f"{passed}/{every}" if every else "-"


def _reason(result: ScenarioResult) -> str:
    first = result.failures[0].partition("\n")[0] if result.failures else ""
    return result.reason or first


def _parameters(scenarios: Sequence[Scenario]) -> str:
    """The values of each parameter: ``[codec=ulaw|alaw,format=plain]``."""
    values = [
        f"{key}={'|'.join(dict.fromkeys(one.parameters[key] for one in scenarios))}"
        for key in scenarios[0].parameters
    ]
    return f"[{', '.join(values)}]" if values else ""


def _breakable(name: str) -> str:
    """With spaces between the parameters, for narrow columns; `harness run` takes that as well."""
    return name.replace(",", ", ")
