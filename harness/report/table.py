"""The marks of a call as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from harness.judge.judge import FAILURES, CallVerdict, MarkVerdict, Verdict, statistics

_STYLES = {Verdict.PASS: "green", Verdict.INCONCLUSIVE: "yellow"}
_FAILURE_STYLE = "bold red"


def marks_table(verdict: CallVerdict, title: str, labels: Sequence[str] = ()) -> Table:
    """One row a mark; ``labels`` (what was said before it) fill a column of their own."""
    table = Table(title=title, title_justify="left")
    table.add_column("mark", no_wrap=True)
    if labels:
        table.add_column("said before it", overflow="ellipsis", no_wrap=True, max_width=32)
    for heading in ("offset\nbytes", "audio ended\ns", "acknowledged\ns", "difference\nms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for index, mark in enumerate(verdict.marks):
        label = [labels[index] if index < len(labels) else ""] if labels else []
        style = verdict_style(mark.verdict)
        late_or_early = style if mark.verdict is not Verdict.PASS else ""
        table.add_row(
            # As Text, because an id with brackets would be taken for rich's markup.
            Text(str(mark.id)),
            *(Text(text) for text in label),
            "-" if mark.offset is None else str(mark.offset),
            _seconds(verdict, mark.due_ns),
            _answered(verdict, mark),
            Text(_milliseconds(mark.difference_ns), style=late_or_early),
            Text(mark.verdict.value, style=style),
        )
    return table


def summary_line(verdicts: Sequence[CallVerdict]) -> Text:
    """Counts and differences of one call or of several together."""
    marks = [mark for verdict in verdicts for mark in verdict.marks]
    text = Text(f"{len(marks)} marks: ")
    parts = [(one, sum(mark.verdict is one for mark in marks)) for one in Verdict]
    always = {Verdict.PASS, Verdict.EARLY, Verdict.LATE, Verdict.NEVER, Verdict.TWICE}
    for position, (one, count) in enumerate(
        (one, count) for one, count in parts if count or one in always
    ):
        text.append(", " if position else "")
        text.append(f"{count} {one.value.lower()}", style=verdict_style(one) if count else "")
    numbers = statistics(marks)
    if numbers is not None:
        text.append(
            f"; acknowledged minus end of audio: median {numbers.median_ns / 1e6:+.3f} ms, "
            f"p95 {numbers.p95_ns / 1e6:+.3f}, p99 {numbers.p99_ns / 1e6:+.3f}, "
            f"min {numbers.min_ns / 1e6:+.3f}, max {numbers.max_ns / 1e6:+.3f}"
        )
    return text


def verdict_style(verdict: Verdict) -> str:
    """rich's style for a verdict."""
    return _FAILURE_STYLE if verdict in FAILURES else _STYLES[verdict]


def _seconds(verdict: CallVerdict, time_ns: int | None) -> str:
    return "-" if time_ns is None else f"{verdict.relative_s(time_ns):+.6f}"


def _answered(verdict: CallVerdict, mark: MarkVerdict) -> str:
    text = _seconds(verdict, mark.answered_ns)
    return f"{text} discarded" if mark.outcome == "discarded" else text


def _milliseconds(time_ns: int | None) -> str:
    return "-" if time_ns is None else f"{time_ns / 1e6:+.3f}"
