"""What marks claimed and what left Asterisk, by set-up, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.judge.verdicts import statistics_of
from harness.report.mark_table import compact_table
from harness.report.run_table import outcome_text
from harness.scenarios.result import WORST_FIRST, Outcome, RunSummary, ScenarioResult

_OF_TARGET = ("ms", "unsent", "verdict")
WIRE_LEGEND = (
    "ms: the shortest, the median and the longest time from the end of the audio, on the clock of "
    "the packets, to the acknowledgement, of the marks whose audio left whole; negative is early. "
    "unsent: bytes acknowledged as played that were never sent, and not told to be dropped. "
    "verdict: the worst; XFAIL: expected failure."
)
"""What the columns mean"""

Row = dict[str, list[ScenarioResult]]
"""The results of a set-up by target, all seeds together"""


def wire_table(summary: RunSummary) -> Table:
    """One row a set-up, the targets beside each other."""
    targets = _targets(summary)
    table = compact_table("Acknowledged, and sent")
    headings = _headings(targets)
    table.add_column(headings[0], overflow="fold")
    for heading in headings[1:]:
        left = heading.endswith("verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for name, row in _rows(summary):
        # As Text, because the brackets of parameters would be taken for rich's markup.
        cells = [Text(name), Text(_marks(row))]
        for target in targets:
            results = row.get(target, [])
            cells += [Text(cell) for cell in _cells(results)]
            cells.append(outcome_text(_worst(results)) if results else Text("-"))
        table.add_row(*cells)
    return table


def wire_markdown(summary: RunSummary) -> str:
    """The same as Markdown, and below it what the columns mean."""
    targets = _targets(summary)
    lines = [
        "| " + " | ".join(_headings(targets)) + " |",
        "| --- | ---: " + "| ---: | ---: | --- " * len(targets) + "|",
    ]
    for name, row in _rows(summary):
        cells = [name, _marks(row)]
        for target in targets:
            results = row.get(target, [])
            cells += [*_cells(results), _worst(results).word if results else "-"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"- {WIRE_LEGEND}", ""])


def _targets(summary: RunSummary) -> list[str]:
    return list(dict.fromkeys(result.target for result in summary.ran))


def _headings(targets: Sequence[str]) -> list[str]:
    return ["set-up", "marks", *(f"{target} {what}" for target in targets for what in _OF_TARGET)]


def _rows(summary: RunSummary) -> list[tuple[str, Row]]:
    rows: dict[str, Row] = {}
    for result in summary.ran:
        rows.setdefault(result.name, {}).setdefault(result.target, []).append(result)
    return sorted(rows.items())


def _worst(results: Sequence[ScenarioResult]) -> Outcome:
    return min((result.outcome for result in results), key=WORST_FIRST.index)


def _marks(row: Row) -> str:
    """Of all targets together."""
    return str(sum(call.marks for results in row.values() for one in results for call in one.calls))


def _cells(results: Sequence[ScenarioResult]) -> list[str]:
    """Of one target, without the verdict."""
    calls = [call for result in results for call in result.calls]
    numbers = statistics_of([one for call in calls for one in call.differences_ns])
    times = "-"
    if numbers is not None:
        nanoseconds = (numbers.min_ns, numbers.median_ns, numbers.max_ns)
        times = " ".join(f"{one / 1e6:+.2f}" for one in nanoseconds)
    return [times, str(sum(call.unsent_bytes for call in calls)) if calls else "-"]
