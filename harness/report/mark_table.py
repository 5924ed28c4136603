"""The marks of a call as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from harness.judge.call import JudgedCall
from harness.judge.verdicts import FAILURES, MarkVerdict, Verdict, statistics

_STYLES = {Verdict.PASS: "green", Verdict.INCONCLUSIVE: "yellow"}
_FAILURE_STYLE = "bold red"


LEGEND = (
    "audio end: when the last byte before the mark had been played, on the media clock of the RTP "
    "packets that Asterisk sent. ack: when its acknowledgement arrived. Both in seconds since the "
    "media connection was made. diff: ack minus audio end; negative is too early."
)
"""What the columns of `marks_table` mean"""


def compact_table(title: str) -> Table:
    """A table with nothing between its columns but space, so that more fits into 80 columns."""
    return Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def marks_table(call: JudgedCall, title: str, labels: Sequence[str] = ()) -> Table:
    """One row a mark; ``labels`` (what is spoken before it) fill a column of their own.

    Fits into 80 columns: where there is not room enough, ids and labels are cut, never numbers.
    """
    table = compact_table(title)
    # rich narrows columns that may wrap; the texts in them are cut at the end instead.
    table.add_column("mark", max_width=12 if labels else None)
    if labels:
        table.add_column("after", max_width=60)
    for heading in ("offset", "audio end s", "ack s", "diff ms"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for index, mark in enumerate(call.marks):
        label = [labels[index] if index < len(labels) else ""] if labels else []
        style = verdict_style(mark.verdict)
        late_or_early = style if mark.verdict is not Verdict.PASS else ""
        table.add_row(
            # As Text, because an id with brackets would be taken for rich's markup.
            *(Text(text, no_wrap=True, overflow="ellipsis") for text in (str(mark.id), *label)),
            "-" if mark.offset is None else str(mark.offset),
            _seconds(call, mark.due_ns),
            _seconds(call, mark.acked_ns),
            Text(_difference(mark), style=late_or_early),
            Text(mark.verdict.value, style=style),
        )
    return table


def summary_line(calls: Sequence[JudgedCall]) -> Text:
    """Counts and differences of one call or of several together."""
    marks = [mark for call in calls for mark in call.marks]
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


def _seconds(call: JudgedCall, time_ns: int | None) -> str:
    return "-" if time_ns is None else f"{call.relative_s(time_ns):.4f}"


def _difference(mark: MarkVerdict) -> str:
    if mark.outcome == "discarded":
        return "discarded"
    return "-" if mark.difference_ns is None else f"{mark.difference_ns / 1e6:+.3f}"
