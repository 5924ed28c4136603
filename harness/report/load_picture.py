"""The picture of a load, an SVG file that loads nothing: a panel for each figure, over the number
of calls. Values in, positions out; the template draws them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.load.result import LoadKey, LoadMeasurement, LoadRound, lowest_and_highest, middle
from harness.report.templates import render

PANEL_WIDTH, PANEL_HEIGHT = 430, 190
_MARGIN = 40
"""left and right of the first and the last number of calls"""
_COLOURS = ("#1f5f99", "#c4281f", "#1a7d48", "#a86400")


@dataclass(frozen=True)
class _Figure:
    title: str
    of: Callable[[LoadRound], float]
    logarithmic: bool = False


_FIGURES = (
    _Figure("CPU of Asterisk for each call, % of a processor", lambda one: one.cpu),
    _Figure("Spread of acknowledgements, p99, ms", lambda one: one.spread_ms, logarithmic=True),
    _Figure("Acknowledged after the end of the audio, median, ms", lambda one: one.offset_ms),
    _Figure("Memory of Asterisk for each call, KiB", lambda one: one.memory_kib),
)


@dataclass(frozen=True)
class Point:
    """The rounds of one number of calls: the median, and from the lowest to the highest."""

    x: float
    y: float
    top: float
    bottom: float
    text: str
    """the median, as a number"""
    doubtful: bool
    """whether one of the rounds is INCONCLUSIVE"""


@dataclass(frozen=True)
class Series:
    """Of one target and kind of connection."""

    name: str
    colour: str
    dashed: bool
    points: list[Point]
    above: bool
    """whether the numbers stand above their points"""

    @property
    def line(self) -> str:
        """Through the medians: points of an SVG polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


@dataclass(frozen=True)
class Panel:
    """One figure."""

    title: str
    series: list[Series]
    calls: list[tuple[float, str]]
    """x and text of each number of calls"""
    ticks: list[tuple[float, str]]
    """y and text"""


def write_load_picture(path: Path, measured: LoadMeasurement) -> None:
    """Write the picture of all rounds so far."""
    panels = [panel for figure in _FIGURES if (panel := _panel(figure, measured))]
    title = f"Load: {' and '.join(measured.targets)}"
    path.write_text(
        render(
            "load.svg.j2",
            title=title,
            panels=panels,
            names=[(name, colour, dashed) for name, colour, dashed, _ in _kinds(measured)],
            width=PANEL_WIDTH,
            height=PANEL_HEIGHT,
        ),
        encoding="utf-8",
    )


def _kinds(measured: LoadMeasurement) -> list[tuple[str, str, bool, list[tuple[LoadKey, str]]]]:
    """Name, colour, whether it is dashed, and what is in it, of each series."""
    overs = list(dict.fromkeys(key.over for key in measured.keys))
    return [
        (
            f"{target}, {over}",
            _COLOURS[number % len(_COLOURS)],
            over == "wss",
            [(key, target) for key in measured.keys if key.over == over],
        )
        for number, target in enumerate(measured.targets)
        for over in overs
    ]


def _panel(figure: _Figure, measured: LoadMeasurement) -> Panel | None:
    """None where nothing of it could be measured."""
    values = [value for one in measured.rounds if not math.isnan(value := figure.of(one))]
    if not values:
        return None
    numbers = sorted({key.calls for key in measured.keys})
    step = (PANEL_WIDTH - 2 * _MARGIN) / max(1, len(numbers) - 1)
    x_of = {
        calls: _MARGIN + index * step if len(numbers) > 1 else PANEL_WIDTH / 2
        for index, calls in enumerate(numbers)
    }
    logarithmic = figure.logarithmic and min(values) > 0
    ticks = _decades(values) if logarithmic else _ticks([0.0, *values])
    scaled: Callable[[float], float] = math.log10 if logarithmic else float
    low, high = scaled(ticks[0]), scaled(ticks[-1])

    def y_of(value: float) -> float:
        return PANEL_HEIGHT * (1 - (scaled(value) - low) / ((high - low) or 1))

    series = []
    for name, colour, dashed, rows in _kinds(measured):
        points = []
        for key, target in rows:
            rounds = measured.of(key, target)
            found = [figure.of(one) for one in rounds]
            value = middle(found)
            if math.isnan(value):
                continue
            lowest, highest = lowest_and_highest(found)
            doubtful = any(one.result == "INCONCLUSIVE" for one in rounds)
            points.append(
                Point(
                    x_of[key.calls],
                    y_of(value),
                    y_of(highest),
                    y_of(lowest),
                    f"{value:.3g}",
                    doubtful,
                )
            )
        if points:
            series.append(Series(name, colour, dashed, points, False))
    return Panel(
        figure.title,
        _numbers_apart(series),
        [(x, str(calls)) for calls, x in x_of.items()],
        [(y_of(tick), f"{tick:g}") for tick in ticks],
    )


def _numbers_apart(series: Sequence[Series]) -> list[Series]:
    """With the numbers of the series that is highest in the mean above their points, those of the
    lowest below; of others between, for want of room, there are none (see the template)."""
    heights = [sum(point.y for point in one.points) / len(one.points) for one in series]
    highest = heights.index(min(heights)) if heights else 0
    return [
        Series(one.name, one.colour, one.dashed, one.points, number == highest)
        for number, one in enumerate(series)
    ]


def _ticks(values: Sequence[float]) -> list[float]:
    """Round numbers from below the lowest to above the highest, with room for their numbers."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    low, high = low - (0.08 * span if low < 0 else 0), high + (0.08 * span if high > 0 else 0)
    magnitude = 10 ** math.floor(math.log10(span))
    step = next(
        magnitude * part for part in (0.2, 0.25, 0.5, 1, 2, 5) if span / (magnitude * part) <= 6
    )
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(count * step, 6) for count in range(first, last + 1)]


def _decades(values: Sequence[float]) -> list[float]:
    first = math.floor(math.log10(min(values)) - 0.15)
    last = max(first + 1, math.ceil(math.log10(max(values)) + 0.15))
    return [10.0**power for power in range(first, last + 1)]
