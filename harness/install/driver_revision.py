"""The revisions of Asterisk's chan_websocket.c, and the patch series in patches/ that fit them.

Releases that share one chan_websocket.c share a driver revision, and take the same series.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from harness.errors import InputFault

DRIVER = "channels/chan_websocket.c"
"""in Asterisk's tree"""
MODULE = "chan_websocket.so"
"""what it is compiled to"""
OUR_FOLDER = "channels/websocket/"
"""where the series puts the files of ``asterisk-module`` in Asterisk's tree"""

_PATCHED_FILE = re.compile(r"^diff --git a/(\S+) b/\S+$", re.MULTILINE)


@dataclass(frozen=True)
class DriverRevision:
    """One content of an untouched channels/chan_websocket.c: what is known of it."""

    blob: str
    """git's blob id"""
    releases: tuple[str, ...]
    """the releases that have it, such as 22.10"""
    series: str | None
    """the folder of the series that fits it, None when there is none"""
    tried: str
    """how that was tried; empty if it never was"""
    why: str
    """why there is no series"""


@dataclass(frozen=True)
class Known:
    """All that is in the folder of patches."""

    revisions: tuple[DriverRevision, ...]
    series: tuple[PatchSeries, ...]
    """newest first"""


def load_known(folder: Path) -> Known:
    """Read ``driver_revisions.json`` and every series in ``folder``. Raises InputFault."""
    table = folder / "driver_revisions.json"
    try:
        revisions = tuple(
            DriverRevision(
                blob=row["blob"],
                releases=tuple(row["releases"]),
                series=row["series"],
                tried=row.get("tried", ""),
                why=row.get("why", ""),
            )
            for row in json.loads(table.read_text())
        )
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise InputFault(
            f"{table} cannot be read: {problem!r}",
            "The repository is incomplete: get it again.",
        ) from None
    series = tuple(series for series in load_series(folder) if series.patches)
    names = {one.name for one in series}
    for revision in revisions:
        if revision.series is not None and revision.series not in names:
            raise InputFault(f"{table} names the series {revision.series}, which is not there")
    return Known(revisions, series)


# --- series ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PatchSeries:
    """Our patches for one driver revision, which is one content of chan_websocket.c."""

    name: str
    """the directory's name in patches/, such as 22.10"""
    releases: tuple[str, ...]
    """the releases that have this driver revision, such as 20.20, 22.10, 23.4"""
    release: str
    """the newest official one of them, such as 22.10.1"""
    chan_websocket_blob: str
    """git's blob id of the untouched channels/chan_websocket.c"""
    patches: tuple[Path, ...]
    """in the order in which they apply"""


def load_series(patches_dir: Path) -> tuple[PatchSeries, ...]:
    """All series below ``patches_dir`` (``<series>/BASE`` and ``<series>/series``), newest first.

    Where there is a BASE alone it has no patches. Raises InputFault when there is no series, or
    when a file is incomplete.
    """
    all_series = [_load_one_series(base.parent) for base in patches_dir.glob("*/BASE")]
    if not all_series:
        raise InputFault(
            f"no patch series in {patches_dir}: there is no <series>/BASE",
            "the repository is incomplete: check it out again",
        )
    return tuple(sorted(all_series, key=lambda series: _numbers(series.name), reverse=True))


def _load_one_series(directory: Path) -> PatchSeries:
    base = directory / "BASE"
    values: dict[str, str] = {}
    for number, line in enumerate(base.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        key, colon, value = line.partition(":")
        if not colon:
            raise InputFault(f"{base}:{number}: not a `key: value` line: {line!r}")
        values[key.strip()] = value.strip()
    for key in ("releases", "release", "chan_websocket_blob"):
        if not values.get(key):
            raise InputFault(f"{base}: there is no `{key}:` line")
    series = directory / "series"
    lines = series.read_text().splitlines() if series.exists() else []
    patches = tuple(directory / name for name in map(str.strip, lines) if name and name[0] != "#")
    for patch in patches:
        if not patch.is_file():
            raise InputFault(f"{series}: names {patch.name}, which is not there")
    return PatchSeries(
        name=directory.name,
        releases=tuple(values["releases"].split()),
        release=values["release"],
        chan_websocket_blob=values["chan_websocket_blob"],
        patches=patches,
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def git_blob_id(data: bytes) -> str:
    """The id git gives to a file with this content (40 hex digits)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def choose_series(tree: Path, all_series: tuple[PatchSeries, ...]) -> PatchSeries:
    """The series for an untouched source ``tree``.

    The driver revision decides; an unknown one gets the newest series that applies.
    Raises InputFault when none does.
    """
    driver = tree / "channels/chan_websocket.c"
    if not driver.is_file():
        raise InputFault(
            f"{tree} has no channels/chan_websocket.c",
            "name an Asterisk source tree of release 20.16, 22.6, 23.0 or newer",
        )
    blob = git_blob_id(driver.read_bytes())
    for series in all_series:
        if series.chan_websocket_blob == blob:
            return series
    for series in all_series:
        if series.patches and _patches_apply(tree, series.patches):
            return series
    known = ", ".join(release for series in all_series for release in series.releases)
    raise InputFault(
        f"no patch series fits this Asterisk: its channels/chan_websocket.c is git blob {blob}",
        f"name an untouched source of one of these releases: {known}\n"
        "what stands in the way: make patch ASTERISK_SRC=<that source> ACTION=check",
    )


def apply_patches(tree: Path, patches: tuple[Path, ...]) -> None:
    """Apply ``patches`` to ``tree`` in order, without fuzz. Raises InputFault at a failure."""
    for patch in patches:
        done = subprocess.run(
            ["patch", "-p1", "-F0", "--batch", "--silent", "--input", str(patch.absolute())],
            cwd=tree,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode != 0:
            raise InputFault(f"{patch} does not apply:\n{done.stdout.rstrip()}")


def _patches_apply(tree: Path, patches: tuple[Path, ...]) -> bool:
    # A dry run of each patch alone would fail for one that builds on the one before, so they are
    # applied for real, to copies of just the files they touch.
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory)
        for patch in patches:
            for name in re.findall(r"^--- a/(\S+)", patch.read_text(), re.MULTILINE):
                if (tree / name).is_file():
                    (copy / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(tree / name, copy / name)
        try:
            apply_patches(copy, patches)
        except InputFault:
            return False
    return True


def files_of(patch: str) -> list[str]:
    """The paths a patch changes or adds, in its order."""
    return _PATCHED_FILE.findall(patch)
