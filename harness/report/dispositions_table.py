"""The table of what became of marks, by scenario, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from harness.judge.judge import Verdict
from harness.report.run_table import outcome_text
from harness.report.table import compact_table
from harness.scenarios.result import CallResult, Outcome, RunSummary, ScenarioResult

_HEADINGS = (
    "scenario",
    "calls",
    "marks",
    "played",
    "discarded",
    "missing",
    "twice",
    "early",
    "late",
    "wrong",
    "unclear",
    "bytes off",
    "verdict",
)
TABLE_WIDTH = 140
"""columns of the terminal"""
LEGEND = (
    "missing: not answered. unclear: the ruler was bent, three times. bytes off: the largest "
    "difference between the played bytes that Asterisk reported and those found on the wire."
)
"""What the columns mean"""


def dispositions_table(summary: RunSummary, title: str) -> Table:
    """One row a scenario, all its seeds together, and their sum."""
    table = compact_table(title)
    for heading in _HEADINGS:
        left = heading in ("scenario", "verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for name, results in _rows(summary):
        table.add_row(*_cells(name, results), outcome_text(_outcome(results)))
    table.add_section()
    table.add_row(*_cells("all", summary.results), outcome_text(_outcome(summary.results)))
    return table


def dispositions_markdown(summary: RunSummary, notes: Sequence[str]) -> str:
    """The same as Markdown, and below it the notes."""
    rows = [[*_cells(name, results), _outcome(results).value] for name, results in _rows(summary)]
    total = [*_cells("all", summary.results), _outcome(summary.results).value]
    lines = [
        "| " + " | ".join(_HEADINGS) + " |",
        "| --- " + "| ---: " * (len(_HEADINGS) - 2) + "| --- |",
        *("| " + " | ".join(row) + " |" for row in rows),
        "| " + " | ".join(f"**{cell}**" for cell in total) + " |",
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def dispositions_notes(summary: RunSummary) -> list[str]:
    """What is said below the table."""
    notes = [LEGEND]
    flushes = [one for call in _calls(summary.results) for one in call.flushes]
    if flushes:
        notes.append(
            f"{len(flushes)} interruptions at random moments: MEDIA_FLUSHED.played and the bytes "
            f"on the wire differ by at most {max(abs(size) for size, _ in flushes)} bytes, "
            f"since_mark_ms by at most {max(abs(ms) for _, ms in flushes):.3f} ms"
        )
    return notes


def _rows(summary: RunSummary) -> list[tuple[str, list[ScenarioResult]]]:
    rows: dict[str, list[ScenarioResult]] = {}
    for result in summary.results:
        rows.setdefault(result.name, []).append(result)
    return sorted(rows.items())


def _calls(results: Sequence[ScenarioResult]) -> list[CallResult]:
    return [call for result in results for call in result.calls]


def _outcome(results: Sequence[ScenarioResult]) -> Outcome:
    return RunSummary("", "", 0.0, tuple(results)).outcome


def _cells(name: str, results: Sequence[ScenarioResult]) -> list[str]:
    calls = _calls(results)
    marks = sum(call.marks for call in calls)
    played = sum(call.played for call in calls)
    discarded = sum(call.discarded for call in calls)

    def verdicts(*kinds: Verdict) -> int:
        return sum(call.counts.get(kind.value, 0) for call in calls for kind in kinds)

    counts = (
        len(calls),
        marks,
        played,
        discarded,
        marks - played - discarded,
        verdicts(Verdict.TWICE),
        verdicts(Verdict.EARLY),
        verdicts(Verdict.LATE),
        verdicts(Verdict.WRONG, Verdict.UNASKED),
        verdicts(Verdict.INCONCLUSIVE),
    )
    off = [call.difference_bytes for call in calls if call.difference_bytes is not None]
    worst = str(max(off, key=abs)) if off else "-"
    return [name, *(str(count) for count in counts), worst]
