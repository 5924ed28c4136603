"""The commands of the Makefile, on a copy of it: what they do where something is amiss."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOT_COMMITTED = shutil.ignore_patterns("*.egg-info", "__pycache__", "build")
DIST = ("make", "dist", f"VENV={sys.prefix}")
"""with what this is run with, so that nothing is installed"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the Makefile, that git knows nothing of."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    shutil.copytree(ROOT / "client", folder / "client", ignore=NOT_COMMITTED)
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    # Git is not to find a repository around it, nor a make around us to be spoken to.
    environment = {
        **{name: value for name, value in os.environ.items() if "MAKE" not in name},
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
        "GIT_AUTHOR_NAME": "a",
        "GIT_AUTHOR_EMAIL": "a",
        "GIT_COMMITTER_NAME": "a",
        "GIT_COMMITTER_EMAIL": "a",
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["it's", 'a "b" c', "a;b", "a,b", "(c"])
def test_a_path_comes_through_the_shell_as_it_is(folder: Path, name: str) -> None:
    """The tool tells of it; the python it is run by is one that prints its arguments."""
    echo = folder / "echo"
    echo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)
    for variable, target in (
        ("ASTERISK_SRC", "patch"),
        ("ASTERISK", "module"),
        ("ASTERISK_CONF", "module"),
        ("ASTERISK_SOURCE", "module"),
    ):
        done = run(folder, "make", target, f"PYTHON={echo}", f"{variable}=/{name}/x")
        assert done.returncode == 0, done.stderr
        assert f"/{name}/x" in done.stdout.splitlines()


def test_a_tarball_of_the_commit(folder: Path) -> None:
    for arguments in (("init", "--quiet"), ("add", "--all"), ("commit", "--quiet", "-m", "x")):
        assert run(folder, "git", *arguments).returncode == 0
    done = run(folder, *DIST)
    assert done.returncode == 0, done.stderr
    [archive] = (folder / "dist").glob("asterisk-*.tar.gz")
    with tarfile.open(archive) as tar:
        assert {Path(name).name for name in tar.getnames()} >= {"Makefile", "pyproject.toml"}
    [wheel] = (folder / "dist").glob("*.whl")
    assert len(list((folder / "dist").glob("chan_websocket-*.tar.gz"))) == 1
    with zipfile.ZipFile(wheel) as packed:
        assert "chan_websocket/py.typed" in packed.namelist()
        [metadata] = [name for name in packed.namelist() if name.endswith("/METADATA")]
        needed = [
            line
            for line in packed.read(metadata).decode().splitlines()
            if line.startswith("Requires-Dist:") and "extra" not in line
        ]
        assert needed == ["Requires-Dist: websockets>=15"]
    first = archive.read_bytes()
    (folder / "Makefile").write_text((folder / "Makefile").read_text() + "# not committed\n")
    done = run(folder, *DIST)
    assert "not in it: what is not committed" in done.stderr
    assert archive.read_bytes() == first


def test_no_tarball_where_git_has_no_commit(folder: Path) -> None:
    done = run(folder, *DIST)
    assert done.returncode != 0
    assert "not a git repository" in done.stderr
    assert not list((folder / "dist").glob("*.tar.gz"))
    assert not (folder / "dist/SHA256SUMS").exists()
