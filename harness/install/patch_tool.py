"""Applies the patch series to an Asterisk source tree and takes it off: ``make patch``.

It is for whoever builds Asterisk and needs nothing but python3 and patch(1): no git, no network,
no Python package.

A tree is changed completely or not at all. The changed files are made in a folder of their own
inside the tree, then put in the place of the old ones by renames. Before the first rename the old
files are copied there as well, and a journal says so. A failure undoes what was done; a run that
was killed is undone by the next one.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.errors import EnvironmentFault, InputFault, as_fault
from harness.install.driver_revision import (
    DRIVER,
    OUR_FOLDER,
    DriverRevision,
    Known,
    PatchSeries,
    files_of,
    git_blob_id,
    load_known,
)
from harness.install.files import write_atomically
from harness.install.patch_obstacles import obstacles

PLACE = ".playback-marks"
"""where a run works, inside the tree; gone when it has ended"""
JOURNAL = "journal.json"
ACTIONS = ("check", "apply", "revert", "status")


# --- what a tree is -----------------------------------------------------------------------------


class DoesNotApply(Exception):
    """A patch does not fit; the text says what stands in the way."""


def blob_of(tree: Path) -> str:
    """Git's blob id of the tree's driver. Raises InputFault when there is none."""
    driver = tree / DRIVER
    if not driver.is_file():
        raise InputFault(
            f"{tree} has no {DRIVER}",
            "Name the top folder of an Asterisk source tree, release 20.18, 22.8, 23.2 or newer.",
        )
    return git_blob_id(driver.read_bytes())


def patched_copies(
    tree: Path, series: PatchSeries, copies: Path, *, reverse: bool = False
) -> list[str]:
    """Apply a series to copies of the files it touches and return their paths in the tree.

    What is not in ``copies`` afterwards is to be removed from the tree. The tree is only read.
    Raises DoesNotApply.
    """
    paths = list(dict.fromkeys(p for patch in series.patches for p in files_of(patch.read_text())))
    for path in paths:
        if (tree / path).is_symlink():
            raise DoesNotApply(f"{path} is a symbolic link")
        if (tree / path).is_file():
            (copies / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / path, copies / path)
    order = reversed(series.patches) if reverse else series.patches
    for patch in order:
        # No fuzz: a hunk fits exactly or not at all. --force asks nothing and, unlike --batch,
        # never assumes that a patch is meant the other way round.
        done = subprocess.run(
            [
                *("patch", "-p1", "-F0", "--force", "--no-backup-if-mismatch", "--silent"),
                *(["--reverse"] if reverse else []),
                *("--reject-file=-", "--input", str(patch.absolute())),
            ],
            cwd=copies,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if done.returncode != 0:
            why = [] if reverse else obstacles(tree, series)
            told = "\n    ".join(["hunks that do not fit", *why])
            raise DoesNotApply(told if why else f"{patch.name}:\n{_shortened(done.stdout)}")
    return paths


def _shortened(text: str, lines: int = 12) -> str:
    told = [line for line in text.splitlines() if "FAILED" in line or "can't find" in line]
    return "\n".join(f"    {line}" for line in (told or text.splitlines())[:lines])


def _fits(tree: Path, series: PatchSeries, *, reverse: bool = False) -> str:
    """Empty when the series applies, else why it does not."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            patched_copies(tree, series, Path(folder), reverse=reverse)
        except DoesNotApply as problem:
            return str(problem)
    return ""


def applied_series(tree: Path, known: Known) -> PatchSeries | None:
    """The series that is applied to the tree: the one that can be taken off it."""
    for series in known.series:
        if not _fits(tree, series, reverse=True):
            return series
    return None


def series_for(tree: Path, known: Known, *, force: bool) -> PatchSeries:
    """The series to apply to a tree that has none applied.

    Raises InputFault unless its revision is known and the series was tried on it. With ``force`` it
    is enough that all hunks fit.
    """
    blob = blob_of(tree)
    revision = next((revision for revision in known.revisions if revision.blob == blob), None)
    releases = ", ".join(revision.releases) if revision else ""
    if revision is not None and revision.series is not None and revision.tried:
        chosen = next(series for series in known.series if series.name == revision.series)
        problem = _fits(tree, chosen)
        if problem:
            raise InputFault(
                f"{tree} has the {DRIVER} of {releases}, but its other files differ."
                f" The series {chosen.name} does not apply: {problem}",
                "Start from an untouched source of that release.",
            )
        return chosen
    if not force:
        what, remedy = _refusal(tree, blob, revision, known)
        newest = known.series[0]
        is_new = revision is None and not (tree / OUR_FOLDER).is_dir()
        if is_new and (problem := _fits(tree, newest)):
            what = f"{what}. What stands in the way of series {newest.name}: {problem}"
            remedy = "Name a source of a release that is known, or carry these hunks over by hand."
        raise InputFault(what, remedy)
    problems = []
    for series in known.series:
        problem = _fits(tree, series)
        if not problem:
            return series
        problems.append(f"series {series.name}, {problem}")
    raise InputFault(
        f"no series applies to {tree} ({DRIVER} is git blob {blob[:10]}):\n  "
        + "\n  ".join(problems),
        "Nothing was changed.",
    )


def _refusal(
    tree: Path, blob: str, revision: DriverRevision | None, known: Known
) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    good = ", ".join(r for row in known.revisions if row.series and row.tried for r in row.releases)
    if revision is not None:
        releases = ", ".join(revision.releases)
        if revision.series is None:
            return (
                f"{tree} is a source of {releases}, for which there is no patch series:"
                f" {revision.why}",
                f"Releases that have one: {good}.",
            )
        return (
            f"{tree} is a source of {releases}, on which series {revision.series} was never tried",
            "To apply it nevertheless, if all its hunks fit: FORCE=1.",
        )
    if (tree / OUR_FOLDER).is_dir():
        return (
            f"{tree} has {OUR_FOLDER} but not this version of the series: another version of it,"
            " a part of it, or files that were edited since",
            "Take it off with what applied it (git, or this tool of that version) first.",
        )
    return (
        f"{tree}/{DRIVER} is of no known release (git blob {blob[:10]}): it was changed, or is"
        " newer than this repository",
        f"Known are {good}. To apply the newest series that fits without fuzz, untested: FORCE=1.",
    )


# --- changing a tree ----------------------------------------------------------------------------


def apply(tree: Path, known: Known, *, force: bool = False) -> str:
    """Apply the series that fits the tree; returns what to tell the user. Raises a Fault."""
    with _only_one(tree):
        told = undo_interrupted(tree)
        blob_of(tree)
        if (applied := applied_series(tree, known)) is not None:
            return f"{told}already applied: series {applied.name} is in {tree}\n{_next_step(tree)}"
        series = series_for(tree, known, force=force)
        _exchange(tree, series, reverse=False)
    return f"{told}applied: series {series.name} is in {tree}\n{_next_step(tree)}"


def revert(tree: Path, known: Known) -> str:
    """Take the series off the tree; returns what to tell the user. Raises a Fault."""
    with _only_one(tree):
        told = undo_interrupted(tree)
        blob = blob_of(tree)
        applied = applied_series(tree, known)
        if applied is None:
            if not (tree / OUR_FOLDER).is_dir():
                return f"{told}nothing to take off: {tree} has no playback marks"
            raise InputFault(*_refusal(tree, blob, None, known))
        _exchange(tree, applied, reverse=True)
        _remove_products(tree, applied)
    return f"{told}taken off: series {applied.name} is no longer in {tree}\n{_next_step(tree)}"


def check(tree: Path, known: Known, *, force: bool = False) -> str:
    """Whether apply() would succeed; changes nothing. Raises a Fault when it would not."""
    _refuse_interrupted(tree)
    blob_of(tree)
    if (applied := applied_series(tree, known)) is not None:
        return f"already applied: series {applied.name} is in {tree}"
    return f"series {series_for(tree, known, force=force).name} applies to {tree}"


def status(tree: Path, known: Known) -> str:
    """What the tree is, in one line; changes nothing. Raises InputFault if it is not Asterisk."""
    blob = blob_of(tree)
    version = _version(tree)
    if (tree / PLACE / JOURNAL).exists():
        return f"{tree} ({version}): an interrupted run has changed a part of it; apply or revert"
    if (applied := applied_series(tree, known)) is not None:
        return f"{tree} ({version}): series {applied.name} is applied"
    revision = next((revision for revision in known.revisions if revision.blob == blob), None)
    if revision is None:
        return f"{tree} ({version}): not applied; {_refusal(tree, blob, None, known)[0]}"
    releases = ", ".join(revision.releases)
    if revision.series is None:
        return f"{tree} ({version}): driver of {releases}; there is no series: {revision.why}"
    tried = revision.tried or "never"
    return (
        f"{tree} ({version}): driver of {releases}; series {revision.series} fits, tried: {tried}"
    )


def _exchange(tree: Path, series: PatchSeries, *, reverse: bool) -> None:
    """Make the changed files beside the tree's and exchange them, all or none."""
    place = tree / PLACE
    new, old, journal = place / "new", place / "old", place / JOURNAL
    try:
        new.mkdir(parents=True)
        paths = patched_copies(tree, series, new, reverse=reverse)
        for path in paths:
            if (tree / path).exists():
                (old / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / path, old / path)
                _give_to_owner_of(tree / path, old / path)
            if (new / path).exists():
                _give_to_owner_of(_nearest(tree, path), new / path)
        blobs = {path: [_blob(tree / path), _blob(new / path)] for path in paths}
        write_atomically(journal, json.dumps(blobs, indent=2) + "\n")
        for path in paths:
            if (new / path).exists():
                _make_folder(tree, path)
                (new / path).replace(tree / path)
            else:
                (tree / path).unlink()
        _remove_empty_folders(tree, paths)
    except DoesNotApply as problem:
        shutil.rmtree(place, ignore_errors=True)
        raise InputFault(f"the series does not apply to {tree}: {problem}") from None
    except BaseException as problem:
        _undo(tree)
        if isinstance(problem, OSError):
            raise EnvironmentFault(
                f"{tree} cannot be changed: {problem}",
                "Nothing was changed. Is it yours, and not read-only or full?",
            ) from None
        raise
    journal.unlink()
    shutil.rmtree(place)


def undo_interrupted(tree: Path) -> str:
    """Undo a run that was killed; returns what to tell the user, empty if there was none.

    Raises InputFault when a file was edited since.
    """
    if not (tree / PLACE).exists():
        return ""
    journal = tree / PLACE / JOURNAL
    if not journal.exists():  # killed before it changed anything, or after all was done
        shutil.rmtree(tree / PLACE)
        return ""
    try:
        _undo(tree)
    except OSError as problem:
        raise EnvironmentFault(
            f"an interrupted run in {tree} cannot be undone: {problem}",
            f"The files as they were are in {tree / PLACE / 'old'}.",
        ) from None
    return "undone: an earlier run that was interrupted\n"


def _undo(tree: Path) -> None:
    """Put the old files back. May be interrupted, and done again."""
    place = tree / PLACE
    journal = place / JOURNAL
    if journal.exists():
        blobs: dict[str, list[str | None]] = json.loads(journal.read_text())
        for path, expected in blobs.items():
            if _blob(tree / path) not in expected:
                raise InputFault(
                    f"a run in {tree} was interrupted, and {path} was edited since",
                    f"The files as they were are in {place / 'old'}: put them right by hand, then"
                    f" remove {place}.",
                )
        for path, (before, _after) in blobs.items():
            if before is None:
                (tree / path).unlink(missing_ok=True)
            elif _blob(tree / path) != before:
                _make_folder(tree, path)
                (place / "old" / path).replace(tree / path)
        _remove_empty_folders(tree, [path for path, (before, _) in blobs.items() if not before])
        journal.unlink()
    shutil.rmtree(place, ignore_errors=True)


def _refuse_interrupted(tree: Path) -> None:
    if (tree / PLACE / JOURNAL).exists():
        raise InputFault(
            f"a run in {tree} was interrupted and has changed a part of it",
            "ACTION=apply or ACTION=revert undoes it first.",
        )


def _blob(path: Path) -> str | None:
    return git_blob_id(path.read_bytes()) if path.exists() else None


def _make_folder(tree: Path, path: str) -> None:
    folder = (tree / path).parent
    if not folder.exists():
        folder.mkdir()
        _give_to_owner_of(folder.parent, folder)


def _nearest(tree: Path, path: str) -> Path:
    """The path in the tree, or the first folder above it that is there."""
    nearest = tree / path
    while not nearest.exists():
        nearest = nearest.parent
    return nearest


def _give_to_owner_of(model: Path, path: Path) -> None:
    """Root must not leave files of its own in a user's tree."""
    if os.geteuid() == 0:
        os.chown(path, model.stat().st_uid, model.stat().st_gid)


def _remove_empty_folders(tree: Path, paths: Sequence[str]) -> None:
    for folder in {(tree / path).parent for path in paths}:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _remove_products(tree: Path, series: PatchSeries) -> None:
    """What was compiled from the files that were removed; no other make target removes it now."""
    paths = [path for patch in series.patches for path in files_of(patch.read_text())]
    for path in paths:
        source = tree / path
        if source.suffix == ".c" and not source.exists():
            for product in (source.with_suffix(".o"), source.with_suffix(".i")):
                product.unlink(missing_ok=True)
                # Beside the Makefile that compiles it, as Makefile.rules names it.
                top, *below = product.relative_to(tree).parts
                (tree / top / f".{'_'.join(below)}.d").unlink(missing_ok=True)
    _remove_empty_folders(tree, paths)


@contextlib.contextmanager
def _only_one(tree: Path) -> Iterator[None]:
    """Hold the tree; the kernel lets it go however this process ends."""
    try:
        handle = os.open(tree, os.O_RDONLY)
    except OSError as problem:
        raise InputFault(f"{tree} cannot be opened: {problem.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputFault(f"another run is changing {tree}", "Wait for it to end.") from None
    else:
        yield
    finally:
        os.close(handle)


# --- telling ------------------------------------------------------------------------------------


def _version(tree: Path) -> str:
    version = tree / ".version"
    return f"Asterisk {version.read_text().strip()}" if version.is_file() else "a checkout"


def _next_step(tree: Path) -> str:
    if not (tree / "makeopts").exists():
        return "next, in that folder: ./configure && make && make install"
    if not (tree / "channels/chan_websocket.so").exists():
        return "next, in that folder: make && make install"
    return (
        "next, in that folder: make && make install; then restart Asterisk when no calls are up,\n"
        "or exchange only the module of the running one: docs/install.md says how"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """``python3 -m harness.install.patch_tool``; exit code 0, or 2 with the reason."""
    parser = argparse.ArgumentParser(prog="make patch", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tree", type=Path, help="an Asterisk source tree")
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("--force", action="store_true", help="also where it was never tried")
    options = parser.parse_args(arguments)
    tree = options.tree.expanduser().absolute()
    try:
        if shutil.which("patch") is None:
            raise EnvironmentFault("there is no patch command", "Install the package patch.")
        known = load_known(Path(__file__).parents[2] / "patches")
        if options.action == "check":
            told = check(tree, known, force=options.force)
        elif options.action == "apply":
            told = apply(tree, known, force=options.force)
        elif options.action == "revert":
            told = revert(tree, known)
        else:
            told = status(tree, known)
    except Exception as problem:
        print(as_fault(problem), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; nothing was changed", file=sys.stderr)
        return 130
    print(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
