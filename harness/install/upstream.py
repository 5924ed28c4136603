"""Writes the three pull requests for Asterisk's maintainers: ``make upstream``.

    asterisk/        the series in upstream's form, for ``git am``, and its text
    testsuite/       the same for Asterisk's testsuite
    documentation/   the same for its documentation

What is in upstream's form only is kept in ``upstream/``. There is a patch for each function that
another module has to offer, so that the driver need not know private structs; they come first. For
some patches of the series there is a file of the same name with ``.diff``: what is different in
this patch, behind its message if that is another one.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.errors import HarnessFault, InputFault, as_fault
from harness.install.driver_revision import choose_series, files_of, load_series
from harness.install.files import remove_folder
from harness.install.patches import FORMAT_PATCH, git

_DIFF = "diff --git "
_NO_ISSUE = "Resolves: (no issue filed yet)\n"
_LISTED = "*.diff"
"""adds what is new to a list of theirs; all else in that folder are new files"""


def write(root: Path, source: Path, out: Path, issue: int | None) -> None:
    """Write all of it into ``out``, which is replaced. Raises a Fault.

    ``root`` is the repository, ``source`` an untouched source tree of Asterisk that a series is
    for, ``issue`` the number of the issue at Asterisk's that this resolves.
    """
    remove_folder(out)
    ours = root / "upstream"
    for name, patches in (
        ("asterisk", _code(root, source)),
        ("testsuite", [_new_files(ours, "testsuite")]),
        ("documentation", [_new_files(ours, "documentation")]),
    ):
        folder = out / name
        folder.mkdir(parents=True)
        shutil.copyfile(ours / f"{name}.md", folder / "pull-request.md")
        for number, text in enumerate(patches, 1):
            subject = re.search(r"^Subject: \[PATCH\] (.*)", text, re.MULTILINE)
            assert subject is not None, "git format-patch writes one"
            title = re.sub(r"[^A-Za-z0-9_.]+", "-", subject[1]).strip("-.")
            resolved = f"Resolves: #{issue}\n" if issue else ""
            text = text.replace(f"{_NO_ISSUE}\n", f"{resolved}\n" if issue else "")
            text = text.replace(f"{_NO_ISSUE}---\n", f"{resolved}---\n")
            (folder / f"{number:04}-{title[:52]}.patch").write_text(text)


def _code(root: Path, source: Path) -> list[str]:
    """The texts of the patches to Asterisk."""
    series = choose_series(source, load_series(root / "patches"))
    folder = root / "upstream/asterisk"
    first = sorted(folder.glob("*.patch"))
    changes = {path.stem: path.read_text() for path in folder.glob("*.diff")}
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name, "tree")
        for path in {
            path for patch in (*first, *series.patches) for path in files_of(patch.read_text())
        }:
            if (source / path).is_file():
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / path, tree / path)
        _commit_all(tree, "Asterisk")
        for patch in (*first, *series.patches):
            git(tree, "am", "--quiet", "--keep-cr", "--committer-date-is-author-date", str(patch))
            if change := changes.pop(patch.stem, ""):
                _amend(tree, patch.stem, change)
        if changes:
            raise HarnessFault(
                f"there is no patch for upstream/asterisk/{min(changes)}.diff",
                f"Give it the name of one in patches/{series.name}, or remove it.",
            )
        return _formatted(tree, len(first) + len(series.patches))


def _amend(tree: Path, name: str, change: str) -> None:
    """Put a change, with its message if it has one, into the latest commit."""
    message, _, diff = change.partition(_DIFF)
    Path(tree.parent, "change.diff").write_text(_DIFF + diff)
    Path(tree.parent, "message").write_text(message)
    try:
        git(tree, "apply", "--index", "../change.diff")
    except HarnessFault as fault:
        raise HarnessFault(
            f"upstream/asterisk/{name}.diff does not fit the patch any more: {fault.what}",
            "The patch was changed: make the diff anew, see CONTRIBUTING.md.",
        ) from None
    told = ("--file=../message",) if message.strip() else ("--no-edit",)
    git(tree, "commit", "--quiet", "--amend", *told)


def _new_files(ours: Path, name: str) -> str:
    """One patch that adds the files of a folder; its message is the text of the pull request."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "tree")
        tree.mkdir()
        _commit_all(tree, "before")
        shutil.copytree(
            ours / name, tree, ignore=shutil.ignore_patterns(_LISTED, "__py*"), dirs_exist_ok=True
        )
        # A heading would be taken for a comment.
        message = (ours / f"{name}.md").read_text().removeprefix("# ")
        Path(scratch, "message").write_text(message)
        _commit_all(tree, "", "--file=../message", "--cleanup=whitespace")
        [text] = _formatted(tree, 1)
    return text + "".join(path.read_text() for path in sorted((ours / name).glob(_LISTED)))


def _commit_all(tree: Path, message: str, *options: str) -> None:
    if not (tree / ".git").is_dir():
        git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    told = options or (f"--message={message}",)
    git(tree, "commit", "--quiet", "--allow-empty", *told)


def _formatted(tree: Path, count: int) -> list[str]:
    out = tree.parent / "out"
    git(tree, *FORMAT_PATCH, f"--output-directory={out}", f"HEAD~{count}")
    return [path.read_text() for path in sorted(out.iterdir())]


def main(arguments: Sequence[str] | None = None) -> int:
    """``python3 -m harness.install.upstream``; exit code 0, or 2 with the reason."""
    root = Path(__file__).parents[2]
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="make upstream", description=description)
    parser.add_argument("--source", type=Path, help="a source tree of Asterisk")
    parser.add_argument("--issue", type=int, help="number of the issue that is resolved")
    parser.add_argument("--out", type=Path, default=root / "build/upstream")
    options = parser.parse_args(arguments)
    source = options.source or root / "build/source/stock"
    try:
        if not source.is_dir():
            raise InputFault(f"there is no Asterisk source in {source}", "Run `make build` first.")
        write(root, source, options.out, options.issue)
    except Exception as problem:
        print(as_fault(problem), file=sys.stderr)
        return 2
    for folder in sorted(options.out.iterdir()):
        print(f"{folder}: {len(list(folder.glob('*.patch')))} patches, pull-request.md")
    if options.issue is None:
        print("No commit says `Resolves:`; with the number of an issue: make upstream ISSUE=<n>")
    return 0


if __name__ == "__main__":
    sys.exit(main())
