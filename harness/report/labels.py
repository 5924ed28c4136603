"""Texts over a picture of a call, laid out so that none overlap. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER_PIXELS = 6.2
"""width of a character; report.js lays them out anew with the same"""


@dataclass(frozen=True)
class Label:
    """A text over the picture."""

    at_ms: float
    text: str
    kind: str
    """class of its colour"""
    row: int
    """-1: no room at the first scale"""


def place_labels(
    wanted: Sequence[tuple[float, str, bool]], pixels_per_ms: float, rows: int
) -> list[int]:
    """The row of each label (moment in ms, text, whether important), so that none overlap.

    -1 for one without room. Important ones choose first; report.js does the same at other scales.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(rows)]
    found = [-1] * len(wanted)
    for index in sorted(range(len(wanted)), key=lambda one: (not wanted[one][2], wanted[one][0])):
        at, text, _ = wanted[index]
        begin = at * pixels_per_ms
        end = begin + (len(text) + 1) * CHARACTER_PIXELS
        for row, spans in enumerate(taken):
            place = bisect_right(spans, (begin, end))
            free_before = place == 0 or spans[place - 1][1] <= begin
            if free_before and (place == len(spans) or spans[place][0] >= end):
                spans.insert(place, (begin, end))
                found[index] = row
                break
    return found
