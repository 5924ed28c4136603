"""The table of ``harness dispositions``, on the terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.dispositions import Interruptions, Memory, Row
from harness.judge.judge import Verdict
from harness.report.table import compact_table, verdict_style

_HEADINGS = (
    "disposition",
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
TABLE_WIDTH = 136
"""columns of the terminal"""
LEGEND = (
    "missing: not answered. unclear: the ruler was bent, three times. bytes off: the largest "
    "difference between the played bytes that Asterisk reported and those found on the wire."
)
"""What the columns mean"""
_STYLES = {"PASS": Verdict.PASS, "INCONCLUSIVE": Verdict.INCONCLUSIVE, "FAIL": Verdict.WRONG}


def dispositions_table(rows: Sequence[Row], title: str) -> Table:
    """One row a disposition, and their sum."""
    table = compact_table(title)
    for heading in _HEADINGS:
        left = heading in ("disposition", "verdict")
        table.add_column(heading, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        *cells, verdict = _cells(row)
        table.add_row(*cells, Text(verdict, style=verdict_style(_STYLES[verdict])))
    table.add_section()
    table.add_row(*_totals(rows))
    return table


def dispositions_markdown(rows: Sequence[Row], notes: Sequence[str]) -> str:
    """The same as Markdown, and below it the notes."""
    lines = [
        "| " + " | ".join(_HEADINGS) + " |",
        "| --- " + "| ---: " * (len(_HEADINGS) - 2) + "| --- |",
        *("| " + " | ".join(_cells(row)) + " |" for row in rows),
        "| " + " | ".join(f"**{cell}**" if cell else "" for cell in _totals(rows)) + " |",
    ]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes), ""])


def dispositions_notes(
    rows: Sequence[Row], interruptions: Interruptions, memory: Memory | None
) -> list[str]:
    """What is said below the table."""
    notes = [LEGEND]
    if interruptions.count:
        notes.append(
            f"{interruptions.count} interruptions at random moments ({interruptions.seeds}): "
            f"MEDIA_FLUSHED.played and the bytes on the wire differ by at most "
            f"{interruptions.worst_bytes} bytes, since_mark_ms by at most "
            f"{interruptions.worst_since_mark_ms:.3f} ms"
        )
    if memory is not None:
        notes.append(
            f"a pending mark with an id of {memory.id_bytes} bytes takes "
            f"{memory.bytes_a_mark:.0f} bytes (growth of Asterisk's resident memory "
            f"by {memory.marks} marks)"
        )
    return notes


def _cells(row: Row) -> list[str]:
    difference = row.difference_bytes
    counts = (
        len(row.calls),
        row.marks,
        row.outcomes("played"),
        row.outcomes("discarded"),
        row.outcomes(None),
        row.verdicts(Verdict.TWICE),
        row.verdicts(Verdict.EARLY),
        row.verdicts(Verdict.LATE),
        row.verdicts(Verdict.WRONG, Verdict.UNASKED),
        row.verdicts(Verdict.INCONCLUSIVE),
    )
    said = "-" if difference is None else str(difference)
    return [row.disposition.name, *(str(count) for count in counts), said, row.verdict]


def _totals(rows: Sequence[Row]) -> list[str]:
    columns = list(zip(*(_cells(row) for row in rows), strict=True))
    if not columns:
        return ["all", *[""] * (len(_HEADINGS) - 1)]
    sums = [str(sum(int(cell) for cell in column)) for column in columns[1:-2]]
    differences = [int(cell) for cell in columns[-2] if cell != "-"]
    worst = str(max(differences, key=abs)) if differences else "-"
    verdicts = columns[-1]
    verdict = next((kind for kind in ("FAIL", "INCONCLUSIVE") if kind in verdicts), "PASS")
    return ["all", *sums, worst, verdict]
