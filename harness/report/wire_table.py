"""What marks claimed and what left Asterisk, by set-up, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.judge.verdicts import Verdict, statistics_of
from harness.report.mark_table import compact_table
from harness.report.run_table import outcome_text
from harness.scenarios.result import WORST_FIRST, Outcome, RunSummary, ScenarioResult

_OF_TARGET = ("marks", "ms", "early", "unsent", "diff", "verdict")
_TO_THE_LEFT = ("verdict",)
WIRE_LEGEND = (
    "ms: the shortest, the median and the longest time from the end of the audio, on the clock of "
    "the packets, to the acknowledgement, of the marks whose audio left whole; negative is early. "
    "early: marks acknowledged too early. "
    "unsent: bytes acknowledged as played that were never sent, and not told to be dropped. "
    "diff: the largest difference, in bytes, between what MEDIA_FLUSHED or the last PLAYBACK said "
    "was played and what was found in the RTP. "
    "verdict: the worst; XFAIL: expected failure."
)
"""What the columns mean"""

Row = dict[str, list[ScenarioResult]]
"""The results of a set-up by target, all seeds together"""


def wire_table(summary: RunSummary) -> Table:
    """One row a set-up, the targets beside each other, and the sum of all."""
    targets = _targets(summary)
    table = compact_table("Acknowledged, and sent")
    table.add_column("set-up", overflow="fold")
    for target in targets:
        for what in _OF_TARGET:
            left = what in _TO_THE_LEFT
            table.add_column(f"{target}\n{what}", justify="left" if left else "right", no_wrap=True)
    for name, row in _rows(summary):
        if name == _ALL:
            table.add_section()
        # As Text, because the brackets of parameters would be taken for rich's markup.
        cells = [Text(name)]
        for target in targets:
            results = row.get(target, [])
            cells += [Text(cell) for cell in _cells(results)]
            cells.append(outcome_text(_worst(results)) if results else Text("-"))
        table.add_row(*cells)
    return table


def wire_markdown(summary: RunSummary) -> str:
    """The same as Markdown, and below it what the columns mean."""
    targets = _targets(summary)
    of_target = ("---" if name in _TO_THE_LEFT else "---:" for name in _OF_TARGET)
    rule = ["---", *(list(of_target) * len(targets))]
    lines = [f"| {' | '.join(cells)} |" for cells in (_headings(targets), rule)]
    for name, row in _rows(summary):
        cells = [name]
        for target in targets:
            results = row.get(target, [])
            cells += [*_cells(results), _worst(results).word if results else "-"]
        if name == _ALL:
            cells = [f"**{cell}**" for cell in cells]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"- {WIRE_LEGEND}", ""])


_ALL = "all"


def _targets(summary: RunSummary) -> list[str]:
    return list(dict.fromkeys(result.target for result in summary.ran))


def _headings(targets: Sequence[str]) -> list[str]:
    return ["set-up", *(f"{target} {what}" for target in targets for what in _OF_TARGET)]


def _rows(summary: RunSummary) -> list[tuple[str, Row]]:
    rows: dict[str, Row] = {}
    everything: Row = {}
    for result in summary.ran:
        rows.setdefault(result.name, {}).setdefault(result.target, []).append(result)
        everything.setdefault(result.target, []).append(result)
    return [*sorted(rows.items()), (_ALL, everything)]


def _worst(results: Sequence[ScenarioResult]) -> Outcome:
    return min((result.outcome for result in results), key=WORST_FIRST.index)


def _cells(results: Sequence[ScenarioResult]) -> list[str]:
    """Of one target, without the verdict."""
    calls = [call for result in results for call in result.calls]
    if not calls:
        return ["-"] * (len(_OF_TARGET) - len(_TO_THE_LEFT))
    numbers = statistics_of([one for call in calls for one in call.differences_ns])
    times = "-"
    if numbers is not None:
        nanoseconds = (numbers.min_ns, numbers.median_ns, numbers.max_ns)
        times = " ".join(f"{one / 1e6:+.2f}" for one in nanoseconds)
    off = [call.difference_bytes for call in calls if call.difference_bytes is not None]
    return [
        str(sum(call.marks for call in calls)),
        times,
        str(sum(call.counts.get(Verdict.EARLY.value, 0) for call in calls)),
        str(sum(call.unsent_bytes for call in calls)),
        str(max(off, key=abs)) if off else "-",
    ]
