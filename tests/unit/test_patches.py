"""The patch series made from its sources, on a series of two files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness.errors import HarnessFault
from harness.install.driver_revision import PatchSeries, files_of
from harness.install.patches import regenerate

STOCK = "".join(f"line {number}\n" for number in range(1, 10))
OURS = "channels/websocket/ours.c"
DRIVER = "channels/driver.c"


def git(tree: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=A. Tester", "-c", "user.email=tester"]
    subprocess.run(["git", *identity, *arguments], cwd=tree, check=True, capture_output=True)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An untouched source tree."""
    tree = tmp_path / "source"
    (tree / DRIVER).parent.mkdir(parents=True)
    (tree / DRIVER).write_text(STOCK)
    (tree / "unrelated").write_text("as it was\n")
    return tree


@pytest.fixture
def module(tmp_path: Path) -> Path:
    """The folder of our own files."""
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "ours.c").write_text("int first;\n")
    return folder


@pytest.fixture
def series(tmp_path: Path, source: Path, module: Path) -> PatchSeries:
    """One patch, which changes the driver and adds our file."""
    tree = tmp_path / "work"
    subprocess.run(["cp", "-r", source, tree], check=True)
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=Asterisk")
    (tree / DRIVER).write_text(STOCK.replace("line 5\n", "line 5\nours();\n"))
    (tree / OURS).parent.mkdir()
    (tree / OURS).write_bytes((module / "ours.c").read_bytes())
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=driver: Call ours.\n\nBecause it is ours.")
    git(tree, "format-patch", "--quiet", "--output-directory", str(tmp_path), "HEAD~1")
    (patch,) = tmp_path.glob("*.patch")
    return PatchSeries("1.0", ("1.0",), "1.0.0", "0" * 40, (patch,))


def test_the_files_of_a_patch(series: PatchSeries) -> None:
    assert files_of(series.patches[0].read_text()) == [DRIVER, OURS]


def test_our_files_come_from_the_module_and_the_rest_from_the_series(
    series: PatchSeries, module: Path, source: Path
) -> None:
    (module / "ours.c").write_text("int second;\nint third;\n")
    ((name, text),) = regenerate(series, module, source).items()
    assert name == "0001-driver-Call-ours.patch"
    assert "Because it is ours." in text
    assert "+ours();\n" in text
    assert "+int second;\n+int third;\n" in text
    assert "int first" not in text
    assert (source / DRIVER).read_text() == STOCK


def test_what_was_made_is_made_again_the_same(
    series: PatchSeries, module: Path, source: Path, tmp_path: Path
) -> None:
    made = regenerate(series, module, source)
    again = tmp_path / "again"
    again.mkdir()
    for name, text in made.items():
        (again / name).write_text(text)
    patches = tuple(sorted(again.iterdir()))
    committed = PatchSeries("1.0", ("1.0",), "1.0.0", "0" * 40, patches)
    assert regenerate(committed, module, source) == made


def test_a_file_that_no_patch_adds_is_reported(
    series: PatchSeries, module: Path, source: Path
) -> None:
    (module / "forgotten.h").write_text("\n")
    with pytest.raises(HarnessFault, match=r"no patch of 1\.0 adds forgotten\.h"):
        regenerate(series, module, source)


def test_a_series_that_does_not_apply_is_reported(
    series: PatchSeries, module: Path, source: Path
) -> None:
    (source / DRIVER).write_text("something else\n")
    with pytest.raises(HarnessFault, match="git am"):
        regenerate(series, module, source)
