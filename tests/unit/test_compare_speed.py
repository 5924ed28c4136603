"""ci/compare_speed.py on a repository whose make targets do next to nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "ci/compare_speed.py"
# The first of two clones has to make its caches, which must not be the second one's.
MAKEFILE = """\
demo test build:
\t@[ ! -e "$$CCACHE_DIR" ] && [ ! -e built ] && mkdir "$$CCACHE_DIR" || [ $@ != demo ]
\t@touch built
\t@cat word
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits; the second says another word."""
    folder = tmp_path / "repository"
    (folder / "ci").mkdir(parents=True)
    shutil.copy2(SCRIPT, folder / "ci")
    deps = folder / "ci/deps.sh"
    deps.write_text("#!/bin/sh\n")
    deps.chmod(0o755)
    (folder / "Makefile").write_text(MAKEFILE)
    git(folder, "init", "--quiet")
    for word in ("before", "now"):
        (folder / "word").write_text(word)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "-m", word)
    return folder


def git(folder: Path, *arguments: str) -> None:
    names = {
        f"GIT_{who}_{what}": "a" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    subprocess.run(["git", *arguments], cwd=folder, env={**os.environ, **names}, check=True)


def compare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    place = folder.with_name("temporary")
    place.mkdir()
    return subprocess.run(
        ["ci/compare_speed.py", *arguments],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(place)},
        capture_output=True,
        text=True,
    )


def test_both_are_measured_in_turn_and_nothing_is_left(repository: Path) -> None:
    done = compare(repository, "HEAD~1")
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.findall(r"^make (\w+), (\w+): \d+ s; [\d.]+ of \d+ processors", done.stdout, re.M)
    assert ran == [
        *(("demo", "old"), ("demo", "new")),
        *(("build", "old"), ("test", "old"), ("build", "new"), ("test", "new")),
    ]
    assert re.findall(r"^make (\w+): new / old = [\d.]+$", done.stdout, re.M) == ["demo", "test"]
    assert not list(repository.with_name("temporary").iterdir())


def test_a_command_that_fails_is_named_and_its_log_is_kept(repository: Path) -> None:
    (repository / "Makefile").write_text("demo:\n\t@echo the reason; exit 1\n")
    git(repository, "commit", "--quiet", "--all", "-m", "broken")
    done = compare(repository, "HEAD~1", "demo")
    assert done.returncode == 1
    failed = re.search(r"^make demo, new: .*FAILED with 2: (\S+)$", done.stdout, re.M)
    assert failed is not None, done.stdout
    assert "the reason" in Path(failed[1]).read_text()
