"""Makes the committed patch series from its sources: ``make patches``.

A patch's message and its changes to Asterisk's own files are kept in the series itself. The files
it adds under ``channels/websocket`` are kept in ``asterisk-module``. Each patch of a series is
applied to the untouched source, the files it adds are replaced by those of ``asterisk-module``,
and the result is written back as a patch.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.errors import HarnessFault, InputFault, as_fault
from harness.install.driver_revision import (
    OUR_FOLDER,
    PatchSeries,
    choose_series,
    files_of,
    load_series,
)

# Two lines of context instead of three: the Makefiles of the releases that share a driver revision
# agree on no more.
FORMAT_PATCH = (
    "format-patch",
    "--quiet",
    "--no-numbered",
    "--unified=2",
    "--zero-commit",
    "--no-signature",
    "--full-index",
)


def regenerate(series: PatchSeries, module: Path, source: Path) -> dict[str, str]:
    """The patches of a series as their sources make them now: file name to text.

    ``source`` is an untouched Asterisk source tree that it is for, ``module`` is asterisk-module.
    Raises HarnessFault if the committed series does not apply to it.
    """
    patches = series.patches
    ours: set[str] = set()
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name, "tree")
        tree.mkdir()
        for path in {path for patch in patches for path in files_of(patch.read_text())}:
            if (source / path).is_file() and not path.startswith(OUR_FOLDER):
                (tree / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / path, tree / path)
        git(tree, "init", "--quiet")
        git(tree, "add", "--all")
        git(tree, "commit", "--quiet", "--message=Asterisk")
        for patch in patches:
            git(tree, "am", "--quiet", "--keep-cr", "--committer-date-is-author-date", str(patch))
            for path in files_of(patch.read_text()):
                if path.startswith(OUR_FOLDER):
                    ours.add(Path(path).name)
                    shutil.copyfile(module / Path(path).name, tree / path)
            git(tree, "commit", "--quiet", "--all", "--amend", "--no-edit")
        unused = {path.name for path in module.glob("*.[ch]")} - ours
        if unused:
            raise HarnessFault(
                f"no patch of {series.name} adds {', '.join(sorted(unused))} from {module}",
                "Add it to the patch that needs it, with git, in a tree the series is applied to.",
            )
        out = Path(name, "out")
        git(tree, *FORMAT_PATCH, f"--output-directory={out}", f"HEAD~{len(patches)}")
        return {path.name: path.read_text() for path in sorted(out.iterdir())}


def git(tree: Path, *arguments: str) -> None:
    """Run git in a tree of ours, free of the user's own configuration."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(tree),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "make patches",
        "GIT_AUTHOR_EMAIL": "make-patches",
        "GIT_COMMITTER_NAME": "make patches",
        "GIT_COMMITTER_EMAIL": "make-patches",
    }
    done = subprocess.run(
        ["git", *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise HarnessFault(f"git {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")


def main() -> int:
    """Write the series anew, or with ``--check`` say whether that would change it."""
    parser = argparse.ArgumentParser(prog="make patches", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 on difference")
    check = parser.parse_args().check
    try:
        root = Path(__file__).parents[2]
        source = root / "build" / "source" / "stock"
        if not source.is_dir():
            raise InputFault(f"there is no Asterisk source in {source}", "Run `make build` first.")
        series = choose_series(source, load_series(root / "patches"))
        made = regenerate(series, root / "asterisk-module", source)
    except Exception as problem:
        print(as_fault(problem), file=sys.stderr)
        return 2
    folder = root / "patches" / series.name
    committed = {patch.name: patch.read_text() for patch in series.patches}
    changed = sorted(name for name in made | committed if made.get(name) != committed.get(name))
    if not check:
        for name, text in made.items():
            (folder / name).write_text(text)
    for name in changed:
        print(f"{folder.name}/{name}: {'differs from its sources' if check else 'written'}")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
