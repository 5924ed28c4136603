"""What a load took of a PBX: on the terminal and as Markdown, with the ratios of two targets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from harness.judge.verdicts import Verdict, worst
from harness.load.result import (
    LoadKey,
    LoadMeasurement,
    LoadRound,
    Soak,
    lowest_and_highest,
    middle,
)
from harness.report.mark_table import compact_table, verdict_style

LEGEND = (
    "CPU: of Asterisk's process for each call, in percent of a processor. spread: p99 of the time "
    "of an acknowledgement less the mark's place in the media, less the least of these in the "
    "call. offset: acknowledged less the end of the audio on the clock of the RTP packets, median "
    "and p99; negative is too early. early, missing, twice: marks. gaps: more than 30 ms without "
    "RTP, and the longest. lost: bytes of media in no packet. KiB, fds: memory and descriptors of "
    "Asterisk for each call, and how much more than before when all are over. generator, capture: "
    "of a processor; host: of all of them together. Of several rounds the median; counts are of "
    "all together, the longest and the fullest of any."
)
"""What the columns mean"""


@dataclass(frozen=True)
class _Column:
    heading: str
    cell: Callable[[Sequence[LoadRound]], str]
    shown: bool = True
    """also on the terminal"""


def _median(figure: Callable[[LoadRound], float], digits: int) -> Callable[..., str]:
    return lambda rounds: number(middle(figure(one) for one in rounds), digits)


def _most(figure: Callable[[LoadRound], float], digits: int = 0) -> Callable[..., str]:
    return lambda rounds: number(max(figure(one) for one in rounds), digits)


def _sum(figure: Callable[[LoadRound], int]) -> Callable[..., str]:
    return lambda rounds: str(sum(figure(one) for one in rounds))


_COLUMNS = (
    _Column("CPU\n%", _median(lambda one: one.cpu, 3)),
    _Column("spread\nms", _median(lambda one: one.spread_ms, 2)),
    _Column("offset\nms", _median(lambda one: one.offset_ms, 2)),
    _Column("p99\nms", _median(lambda one: one.offset_p99_ms, 2)),
    _Column("marks", _sum(lambda one: one.judged.marks), shown=False),
    _Column("early", _sum(lambda one: one.judged.early)),
    _Column("mis-\nsing", _sum(lambda one: one.judged.missing)),
    _Column("twice", _sum(lambda one: one.judged.twice)),
    _Column("gaps", _sum(lambda one: one.judged.gaps)),
    _Column("long-\nest ms", _most(lambda one: one.judged.longest_gap_ns / 1e6), shown=False),
    _Column("lost", _sum(lambda one: one.judged.lost_bytes), shown=False),
    _Column("KiB", _median(lambda one: one.memory_kib, 0)),
    _Column("after", _median(lambda one: one.memory_after_kib, 0)),
    _Column("fds", _median(lambda one: one.descriptors, 0)),
    _Column("after", _median(lambda one: one.descriptors_after, 0)),
    _Column("gene-\nrator %", _most(lambda one: one.busy.generator * 100)),
    _Column("cap-\nture %", _most(lambda one: one.busy.capture * 100), shown=False),
    _Column("host\n%", _most(lambda one: one.busy.host * 100)),
)


def load_table(measured: LoadMeasurement) -> Table:
    """A row for each number of calls, target and kind of connection: the figures that most want
    to know. `load_markdown` has all."""
    table = compact_table("Load")
    for heading in ("over", "calls", "target"):
        table.add_column(heading, no_wrap=True)
    for column in _COLUMNS:
        if column.shown:
            table.add_column(column.heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for key, target, rounds in _rows(measured):
        result = worst(one.result for one in rounds)
        table.add_row(
            *(Text(text) for text in (key.over, str(key.calls), target)),
            *(column.cell(rounds) for column in _COLUMNS if column.shown),
            Text(result, style=verdict_style(_STYLES[result])),
        )
    return table


_STYLES = {
    "PASS": Verdict.PASS,
    "INCONCLUSIVE": Verdict.INCONCLUSIVE,
    "FAIL": Verdict.WRONG,
}


def load_markdown(measured: LoadMeasurement) -> str:
    """The same as Markdown, with the ratios, and below it what the columns mean."""
    headings = [
        *("over", "calls", "target"),
        *(column.heading.replace("-\n", "").replace("\n", " ") for column in _COLUMNS),
        "verdict",
    ]
    rule = ["---", "---:", "---", *(["---:"] * len(_COLUMNS)), "---"]
    lines = [f"| {' | '.join(cells)} |" for cells in (headings, rule)]
    for key, target, rounds in _rows(measured):
        cells = [key.over, str(key.calls), target]
        cells += [column.cell(rounds) for column in _COLUMNS]
        lines.append(f"| {' | '.join([*cells, worst(one.result for one in rounds)])} |")
    ratios = [f"- {line}" for line in ratio_lines(measured)]
    return "\n".join([*lines, "", *ratios, *([""] if ratios else []), LEGEND, ""])


def ratio_lines(measured: LoadMeasurement) -> list[str]:
    """The first target to the second one, a line for each number of calls; none without two."""
    if len(measured.targets) < 2:
        return []
    return [
        f"{key.over}, {key.calls} calls, {' to '.join(measured.targets[:2])}: CPU"
        f" {_ratio(measured, key, lambda one: one.cpu)}; spread"
        f" {_ratio(measured, key, lambda one: one.spread_ms)};"
        f" of {measured.reliable_pairs(key)} pairs of rounds"
        for key in measured.keys
    ]


def wave_line(soak: Soak) -> str:
    """What the latest wave of a soak was like."""
    wave, grown = soak.waves[-1], soak.grown
    judged = wave.judged
    return (
        f"wave {len(soak.waves)}: {judged.marks} marks, {judged.discarded} discarded,"
        f" {judged.early} early, {judged.missing} missing, {judged.twice} twice; since the first"
        f" wave {grown.memory_bytes / 1024:+.0f} KiB, {grown.descriptors:+d} descriptors;"
        f" generator {wave.busy.generator:.0%}, host {wave.busy.host:.0%}: {soak.verdict(wave)}"
    )


def why_not(measured: LoadMeasurement) -> list[str]:
    """For each round that did not pass why, in a sentence."""
    return [
        f"{one.key.over}, {one.key.calls} calls, {one.target}: "
        + "; ".join([text for text in (one.unreliable, *one.wrong) if text])
        for one in measured.rounds
        if one.result != "PASS"
    ]


def number(value: float, digits: int) -> str:
    """A figure, ``-`` where there is none."""
    # Rounded first: there is no -0.
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def _ratio(measured: LoadMeasurement, key: LoadKey, figure: Callable[[LoadRound], float]) -> str:
    ratios = measured.ratios(key, figure)
    low, high = lowest_and_highest(ratios)
    return f"{number(middle(ratios), 3)} ({number(low, 3)} to {number(high, 3)})"


def _rows(measured: LoadMeasurement) -> Iterator[tuple[LoadKey, str, list[LoadRound]]]:
    for key in measured.keys:
        for target in measured.targets:
            if rounds := measured.of(key, target):
                yield key, target, rounds
