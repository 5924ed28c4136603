"""Fills in the templates of the reports. What was measured is escaped, whatever it is."""

from __future__ import annotations

from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(template: str, **values: object) -> str:
    """The text of one of the templates beside this file with these values."""
    environment = Environment(
        loader=PackageLoader("harness.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(ms=_ms, seconds=_seconds, count=_count, plural=_plural, px=_px)
    return environment.get_template(template).render(values)


def resource(name: str) -> Markup:
    """A file beside this one: it is ours, so nothing in it is escaped."""
    return Markup((resources.files("harness.report") / name).read_text(encoding="utf-8"))


def _ms(value_ns: int | None) -> str:
    """A difference, with its sign; a true minus, since these stand in columns."""
    return "" if value_ns is None else f"{value_ns / 1e6:+.2f}".replace("-", "\u2212")


def _seconds(value: float) -> str:
    if value < 60:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _count(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f")


def _plural(value: int, word: str) -> str:
    return f"{_count(value)} {word}{'' if value == 1 else 's'}"


def _px(value: Any) -> str:
    """A number as CSS and SVG take it."""
    return f"{float(value):.2f}".rstrip("0").rstrip(".")
