"""Why a patch series does not fit a source tree: hunk by hunk, with the function it is in.

patch(1) stops with the numbers of hunks. Whoever carries the series to another release wants to
know what that release has where a hunk expects something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.install.driver_revision import PatchSeries

_FILE = re.compile(r"^\+\+\+ b/(\S+)")
_HUNK = re.compile(r"^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@ ?(.*)")
_LINES_SHOWN = 4


@dataclass(frozen=True)
class _Hunk:
    patch: str
    number: int
    """in its patch and file, from 1"""
    line: int
    """where it begins, from 1"""
    place: str
    """the line of the function, struct or macro before it, as git writes it"""
    old: tuple[str, ...]
    """the lines that it expects"""
    new: tuple[str, ...]
    """the lines in their place"""


def obstacles(tree: Path, series: PatchSeries) -> list[str]:
    """What stands in the way of each hunk that does not fit without fuzz, in the series' order.

    One text for each of them; hunks that only miss what an earlier one would have added are counted
    in the last text. Empty if all fit. The tree is only read.
    """
    files: dict[str, list[str] | None] = {}
    refused: set[str] = set()
    told, follow = [], 0
    for patch in series.patches:
        offset, path_before = 0, ""
        for path, hunk in _hunks(patch):
            if path not in files:
                files[path] = _lines(tree / path) if hunk.old else []
                if files[path] is None:
                    told.append(f"{hunk.patch}: there is no {path}")
            lines = files[path]
            if lines is None:
                continue
            offset = 0 if path != path_before else offset
            path_before = path
            at = _find(lines, hunk.old, hunk.line - 1 + offset)
            if at is not None:
                lines[at : at + len(hunk.old)] = hunk.new
                offset = at - (hunk.line - 1) + len(hunk.new) - len(hunk.old)
            else:
                missing = [line for line in hunk.old if line not in lines]
                if missing and refused.issuperset(missing):
                    follow += 1
                else:
                    told.append(_tell(path, hunk, lines, _lines(tree / path) or []))
                refused.update(line for line in hunk.new if line not in hunk.old)
    if follow:
        told.append(f"{follow} more, which build on these")
    return told


def _hunks(patch: Path) -> Iterator[tuple[str, _Hunk]]:
    """The hunks of a patch, with the file each is for; a new file is one that expects nothing."""
    path, number = "", 0
    begin: re.Match[str] | None = None
    old: list[str] = []
    new: list[str] = []

    def hunk() -> Iterator[tuple[str, _Hunk]]:
        if begin is not None:
            line, place = int(begin[1]), begin[2]
            yield path, _Hunk(_number(patch), number, line, place, tuple(old), tuple(new))

    for text in patch.read_text(errors="replace").splitlines():
        if text.startswith("diff --git"):
            yield from hunk()
            begin = None
        elif begin is None and (file := _FILE.match(text)):
            path, number = file[1], 0
        elif found := _HUNK.match(text):
            yield from hunk()
            begin, number, old, new = found, number + 1, [], []
        elif begin is not None and not text.startswith("\\"):
            if text[:1] in (" ", "-", ""):
                old.append(text[1:])
            if text[:1] in (" ", "+", ""):
                new.append(text[1:])
    yield from hunk()


def _lines(file: Path) -> list[str] | None:
    return file.read_text(errors="replace").splitlines() if file.is_file() else None


def _number(patch: Path) -> str:
    """The patch's, such as 0014."""
    return patch.stem.partition("-")[0]


def _find(lines: Sequence[str], wanted: Sequence[str], near: int) -> int | None:
    """Where all the wanted lines are, in one piece and nearest to a place."""
    places = (
        at
        for at in range(len(lines) - len(wanted) + 1)
        if tuple(lines[at : at + len(wanted)]) == tuple(wanted)
    )
    return min(places, key=lambda at: abs(at - near), default=None)


def _tell(path: str, hunk: _Hunk, lines: Sequence[str], untouched: Sequence[str]) -> str:
    """``lines`` has the hunks before this one; it is told where that is in the tree's own file."""
    at = _most_alike(lines, hunk)
    there = lines[at : at + len(hunk.old)]
    wanted = [line for line in hunk.old if line not in there]
    found = [line for line in there if line not in hunk.old]
    head = f"{hunk.patch}, hunk {hunk.number}, {_name(hunk.place)}"
    if 2 * len(_telling(there) & _telling(hunk.old)) < len(_telling(hunk.old)):
        return f"{head}: {path} has nothing like{_shown(hunk.old)}"
    own = _find(untouched, there, at)
    differs = there.index(found[0]) if found else 0
    head = f"{head}: {path}" + (f":{own + differs + 1}" if own is not None else "")
    if not wanted:
        return f"{head} has its lines in another order{_shown(there)}"
    return f"{head} has no{_shown(wanted)}" + (f"\n      but{_shown(found)}" if found else "")


def _telling(lines: Sequence[str]) -> set[str]:
    """Without blank lines and braces, which are everywhere."""
    return {line for line in lines if any(character.isalnum() for character in line)}


def _most_alike(lines: Sequence[str], hunk: _Hunk) -> int:
    """Where most of the lines are that a hunk expects."""
    wanted = _telling(hunk.old)

    def alike(at: int) -> tuple[int, int]:
        there = set(lines[at : at + len(hunk.old)])
        return len(wanted & there), -abs(at - (hunk.line - 1))

    return max(range(max(len(lines), 1)), key=alike)


def _name(place: str) -> str:
    """The function's name, or the line if it is no function's."""
    function = re.search(r"(\w+)\s*\(", place)
    return f"{function[1]}()" if function else place.rstrip(" {") or "at the top"


def _shown(lines: Sequence[str]) -> str:
    kept = [line.strip() for line in lines if line.strip()]
    more = len(kept) - _LINES_SHOWN
    shown = [*kept[:_LINES_SHOWN], *([f"... and {more} more"] if more > 0 else [])]
    return "".join(f"\n        {line}" for line in shown) or " blank line there"
