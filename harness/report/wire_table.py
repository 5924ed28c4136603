"""What marks claimed and what left Asterisk, by set-up, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.judge.verdicts import Verdict, statistics_of
from harness.report.mark_table import compact_table
from harness.report.run_table import outcome_text
from harness.scenarios.result import WORST_FIRST, Outcome, RunSummary, ScenarioResult

_HEADINGS = (
    "set-up",
    "target",
    "marks",
    "early",
    "late",
    "never",
    "wrong",
    "min ms",
    "median ms",
    "max ms",
    "unsent bytes",
    "verdict",
)
WIRE_LEGEND = (
    "min, median and max ms: acknowledged minus the end of the audio on the clock of the packets, "
    "of the marks whose audio left whole; negative is early. unsent bytes: acknowledged as played, "
    "never sent, and not told to be dropped. verdict: the worst; XFAIL: expected failure."
)
"""What the columns mean"""


def wire_table(summary: RunSummary) -> Table:
    """One row a set-up and target, all its seeds together; the targets beside each other."""
    table = compact_table("Acknowledged, and sent")
    table.add_column(_HEADINGS[0], overflow="fold")
    for heading in _HEADINGS[1:]:
        left = heading in ("target", "verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for results in _rows(summary):
        # As Text, because the brackets of parameters would be taken for rich's markup.
        cells = (Text(cell) for cell in _cells(results))
        table.add_row(*cells, outcome_text(_worst(results)))
    return table


def wire_markdown(summary: RunSummary) -> str:
    """The same as Markdown, and below it what the columns mean."""
    lines = [
        "| " + " | ".join(_HEADINGS) + " |",
        "| --- | --- " + "| ---: " * (len(_HEADINGS) - 3) + "| --- |",
    ]
    for results in _rows(summary):
        lines.append("| " + " | ".join([*_cells(results), _worst(results).word]) + " |")
    return "\n".join([*lines, "", f"- {WIRE_LEGEND}", ""])


def _rows(summary: RunSummary) -> list[list[ScenarioResult]]:
    rows: dict[tuple[str, str], list[ScenarioResult]] = {}
    for result in summary.ran:
        rows.setdefault((result.name, result.target), []).append(result)
    return [results for _, results in sorted(rows.items(), key=lambda row: row[0][0])]


def _worst(results: Sequence[ScenarioResult]) -> Outcome:
    return min((result.outcome for result in results), key=WORST_FIRST.index)


def _cells(results: Sequence[ScenarioResult]) -> list[str]:
    calls = [call for result in results for call in result.calls]
    numbers = statistics_of([one for call in calls for one in call.differences_ns])

    def verdicts(*kinds: Verdict) -> str:
        return str(sum(call.counts.get(kind.value, 0) for call in calls for kind in kinds))

    times = ["-"] * 3
    if numbers is not None:
        nanoseconds = (numbers.min_ns, numbers.median_ns, numbers.max_ns)
        times = [f"{one / 1e6:+.2f}" for one in nanoseconds]
    return [
        results[0].name,
        results[0].target,
        str(sum(call.marks for call in calls)),
        verdicts(Verdict.EARLY),
        verdicts(Verdict.LATE),
        verdicts(Verdict.NEVER),
        verdicts(Verdict.WRONG, Verdict.TWICE, Verdict.UNASKED),
        *times,
        str(sum(call.unsent_bytes for call in calls)),
    ]
