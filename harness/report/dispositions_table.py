"""How marks ended (played, discarded, ...), by scenario, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.judge.verdicts import Verdict
from harness.report.mark_table import compact_table
from harness.report.run_table import outcome_text
from harness.scenarios.result import (
    WORST_FIRST,
    CallResult,
    Outcome,
    RunSummary,
    ScenarioResult,
)

_HEADINGS = (
    "scenario",
    "target",
    "calls",
    "marks",
    "played",
    "discarded",
    "missing",
    "twice",
    "early",
    "late",
    "wrong",
    "inconclusive",
    "diff bytes",
    "verdict",
)
TABLE_WIDTH = 168
"""columns of the terminal"""
LEGEND = (
    "missing: not acknowledged. inconclusive: the measurement was unreliable (host stalled, "
    "packets lost) in each of three attempts. diff bytes: the largest difference between the "
    "played bytes that Asterisk reported and those found in the RTP. verdict: the worst; XFAIL: "
    "expected failure, the driver failed in just the way it is known to."
)
"""What the columns mean"""


def dispositions_table(summary: RunSummary, title: str) -> Table:
    """One row a scenario and target, all its seeds together, and the sum of each target."""
    table = compact_table(title)
    # In a narrow terminal names are broken over lines; numbers are never cut.
    table.add_column(_HEADINGS[0], overflow="fold")
    for heading in _HEADINGS[1:]:
        left = heading in ("target", "verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for name, target, results in _rows(summary):
        table.add_row(*_texts(name, target, results), outcome_text(_worst(results)))
    table.add_section()
    for target, results in _by_target(summary).items():
        table.add_row(*_texts("all", target, results), outcome_text(_worst(results)))
    return table


def dispositions_markdown(summary: RunSummary, notes: Sequence[str]) -> str:
    """The same as Markdown, and below it the notes."""
    rows = [
        [*_cells(name, target, results), _worst(results).word]
        for name, target, results in _rows(summary)
    ]
    totals = [
        [*_cells("all", target, results), _worst(results).word]
        for target, results in _by_target(summary).items()
    ]
    lines = [
        "| " + " | ".join(_HEADINGS) + " |",
        "| --- | --- " + "| ---: " * (len(_HEADINGS) - 3) + "| --- |",
        *("| " + " | ".join(row) + " |" for row in rows),
        *("| " + " | ".join(f"**{cell}**" for cell in total) + " |" for total in totals),
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def dispositions_notes(summary: RunSummary) -> list[str]:
    """The notes below the table."""
    by_target = _by_target(summary)
    notes = [LEGEND]
    for target, results in by_target.items():
        if note := _interruptions(results):
            notes.append(f"{target}: {note}" if len(by_target) > 1 else note)
    return notes


def _interruptions(results: Sequence[ScenarioResult]) -> str:
    flushes = [one for call in _calls(results) for one in call.flushes]
    if not flushes:
        return ""
    sizes = [abs(size) for size, _ in flushes if size is not None]
    times = [abs(ms) for _, ms in flushes if ms is not None]
    plural = "" if len(flushes) == 1 else "s"
    counts = [f"{len(flushes)} interruption{plural} at random moments"]
    if len(sizes) < len(flushes):
        counts.append(f"{len(flushes) - len(sizes)} without a correct MEDIA_FLUSHED")
    differences = []
    if sizes:
        differences.append(
            f"MEDIA_FLUSHED.played and the bytes on the wire differ by at most {max(sizes)} bytes"
        )
    if times:
        differences.append(f"since_mark_ms by at most {max(times):.3f} ms")
    return ": ".join(filter(None, [", ".join(counts), ", ".join(differences)]))


def _by_target(summary: RunSummary) -> dict[str, list[ScenarioResult]]:
    found: dict[str, list[ScenarioResult]] = {}
    for result in summary.ran:
        found.setdefault(result.target, []).append(result)
    return found


def _rows(summary: RunSummary) -> list[tuple[str, str, list[ScenarioResult]]]:
    """Name, target, results; the targets of a scenario beside each other."""
    rows: dict[tuple[str, str], list[ScenarioResult]] = {}
    for result in summary.ran:
        rows.setdefault((result.name, result.target), []).append(result)
    ordered = sorted(rows.items(), key=lambda row: row[0][0])
    return [(name, target, results) for (name, target), results in ordered]


def _calls(results: Sequence[ScenarioResult]) -> list[CallResult]:
    return [call for result in results for call in result.calls]


def _worst(results: Sequence[ScenarioResult]) -> Outcome:
    return min((result.outcome for result in results), key=WORST_FIRST.index)


def _texts(name: str, target: str, results: Sequence[ScenarioResult]) -> list[Text]:
    # As Text, because the brackets of parameters would be taken for rich's markup.
    return [Text(cell) for cell in _cells(name, target, results)]


def _cells(name: str, target: str, results: Sequence[ScenarioResult]) -> list[str]:
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
    return [name, target, *(str(count) for count in counts), worst]
