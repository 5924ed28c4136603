"""The commands of an SVG path, written as short as they can be. Pure."""

from __future__ import annotations


class SvgPath:
    """A path over time, from left to right; a ms is ``stretch`` wide."""

    def __init__(self, stretch: float) -> None:
        self._stretch = stretch
        self._parts: list[str] = []

    def line(self, at_ms: float, top: float, bottom: float) -> None:
        """A vertical line."""
        self._parts.append(f"{self._move(at_ms, top)}V{_number(bottom)}")

    def dot(self, at_ms: float, y: float) -> None:
        """A line without length: its round ends make it a dot of any width."""
        self._parts.append(f"{self._move(at_ms, y)}h0")

    def box(self, at_ms: float, width_ms: float, top: float, bottom: float) -> None:
        """A rectangle."""
        right, left = (_number(sign * width_ms * self._stretch) for sign in (1, -1))
        self._parts.append(f"{self._move(at_ms, top)}h{right}V{_number(bottom)}h{left}z")

    def _move(self, at_ms: float, y: float) -> str:
        return f"M{_number(at_ms * self._stretch)} {_number(y)}"

    def __str__(self) -> str:
        return "".join(self._parts)


def _number(value: float) -> str:
    """As short as 0.01 allows."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
