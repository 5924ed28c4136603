"""The series tried on a folder of sources, and the committed table of that."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from rich.console import Console

from harness.commands import rounds
from harness.commands.cli import main
from harness.commands.command import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from harness.commands.rounds import find_sources, table_in
from harness.errors import InputFault
from harness.install.driver_revision import DRIVER, git_blob_id, load_known
from harness.scenarios.result import RunSummary

ROOT = Path(__file__).parents[2]
STOCK = """\
#include "asterisk/buildopts.h"

const char *sum(void);

const char *sum(void)
{
	return AST_BUILDOPT_SUM;
}
"""
PATCH = f"""\
Subject: the only one

diff --git a/{DRIVER} b/{DRIVER}
--- a/{DRIVER}
+++ b/{DRIVER}
@@ -5,4 +5,5 @@ const char *sum(void);
 const char *sum(void)
 {{
+\t/* ours */
 \treturn AST_BUILDOPT_SUM;
 }}
"""
BUILDOPTS = f'#define AST_BUILDOPT_SUM "{"0123456789abcdef" * 2}"\n'


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one patch, and what is configured in its build."""
    root = tmp_path / "root"
    series = root / "patches/1.0"
    series.mkdir(parents=True)
    (series / "0001.patch").write_text(PATCH)
    (series / "series").write_text("0001.patch\n")
    (series / "BASE").write_text("releases: 1.0\nrelease: 1.0.0\nchan_websocket_blob: 0\n")
    (root / "patches/driver_revisions.json").write_text("[]")
    headers = root / "build/source/stock/include/asterisk"
    headers.mkdir(parents=True)
    (headers / "buildopts.h").write_text(BUILDOPTS)
    (headers / "autoconfig.h").write_text("")
    monkeypatch.setattr(rounds, "ROOT", root)
    return root


def source(folder: Path, release: str, driver: str = STOCK) -> Path:
    """A source tree of a release."""
    tree = folder / f"asterisk-{release}"
    (tree / "channels").mkdir(parents=True)
    (tree / "include/asterisk").mkdir(parents=True)
    (tree / "include/asterisk/release.h").write_text("")
    (tree / DRIVER).write_text(driver)
    (tree / ".version").write_text(f"{release}\n")
    return tree


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    return folder


def rows_of(output: str) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in table_in(output)}


def test_each_source_gets_its_row(
    root: Path, sources: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = source(sources, "22.10.0")
    with tarfile.open(sources / "asterisk-22.9.0.tar.gz", "w:gz") as tar:
        tar.add(source(sources.parent, "22.9.0"), arcname="asterisk-22.9.0")
    assert main(["rounds", str(sources), "--compile-only"]) == EXIT_PASS
    rows = rows_of(capsys.readouterr().out)
    assert list(rows) == ["22.9.0", "22.10.0"]
    blob = f"`{git_blob_id(STOCK.encode())[:10]}`"
    today = rounds._today()
    assert rows["22.9.0"] == [blob, "1 of `1.0`", "yes", "-", f"yes, {today}", "-"]
    assert rows["22.10.0"] == rows["22.9.0"]
    # The sources are the user's.
    assert (tree / DRIVER).read_text() == STOCK


@pytest.mark.parametrize(
    ("driver", "cells", "told"),
    [
        (STOCK.replace("{\n\treturn", "{\n\tint own;\n\treturn"), ["no", "-", "-"], "sum()"),
        (STOCK.replace("const char *sum(void);\n", "int broken\n"), ["yes", "-", "no"], "error"),
        # A warning of dev mode, which is an error.
        (STOCK + "\nstatic int unused;\n", ["yes", "-", "no"], "unused"),
    ],
)
def test_what_does_not_fit_or_compile_is_told(
    root: Path,
    sources: Path,
    capsys: pytest.CaptureFixture[str],
    driver: str,
    cells: list[str],
    told: str,
) -> None:
    source(sources, "22.9.0", driver)
    source(sources, "22.10.0")
    assert main(["rounds", str(sources), "--compile-only"]) == EXIT_FAIL
    output = capsys.readouterr().out
    rows = rows_of(output)
    assert rows["22.9.0"][2:5] == cells
    assert told in output
    assert rows["22.10.0"][2] == "yes"


def test_calls_are_placed_on_each(
    root: Path,
    sources: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for release in ("22.9.0", "22.10.0", "22.11.0"):
        source(sources, release)
    built: list[str] = []
    status = iter((0, 1, 2))
    latest = tmp_path / "latest"
    compile_with = subprocess.run

    def build(root: Path, named: Path, release: None, say: object) -> None:
        built.append(named.name)

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        if "harness" not in command:
            return compile_with(command, **options)  # type: ignore[call-overload, no-any-return]
        assert command[command.index("--group") + 1] == "smoke"
        if (code := next(status)) == 2:
            return subprocess.CompletedProcess(command, code)
        latest.unlink(missing_ok=True)
        latest.symlink_to(f"run-{len(built)}")
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(rounds, "OUT", tmp_path)
    monkeypatch.setattr(rounds, "build", build)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(rounds, "load_summary", lambda folder: RunSummary("", "", 1.0))
    assert main(["rounds", str(sources), "--group", "smoke"]) == EXIT_FAIL
    output = capsys.readouterr().out
    assert built == ["asterisk-22.9.0", "asterisk-22.10.0", "asterisk-22.11.0"]
    rows = rows_of(output)
    today = rounds._today()
    assert rows["22.10.0"][3:] == [f"yes, {today}", f"yes, {today}", f"{today}, smoke: ; 0 marks"]
    assert "harness run ended with 1" in output
    # What an earlier run has left is not taken for this one's.
    assert rows["22.11.0"][5] == "no" and "placed no calls and ended with 2" in output


def test_without_sources(root: Path, sources: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="has no source of Asterisk"):
        find_sources(sources)
    with pytest.raises(InputFault, match="is no folder"):
        find_sources(tmp_path / "nowhere")
    source(sources, "22.9.0")
    assert main(["rounds", str(sources), "--group", "nothing"]) == EXIT_USAGE


def test_without_a_build_there_is_nothing_to_compile_with(root: Path, sources: Path) -> None:
    shutil.rmtree(root / "build")
    row = rounds._try(source(sources, "22.9.0"), "", Console())
    assert "run: make build" in row.trouble
    assert row.markdown().endswith("| yes | - | - | - |")


# ---- the committed table -------------------------------------------------------------------------


def branch_of(release: str) -> str:
    """What ``driver_revisions.json`` calls a release: 22.11-rc1 for 22.11.0-rc1."""
    parts = re.fullmatch(r"((?:certified-)?\d+\.\d+)(?:\.\d+)?(-rc\d+)?(?:-cert\d+)?", release)
    assert parts is not None, release
    return parts[1] + (parts[2] or "")


def test_the_committed_table_is_of_what_is_committed() -> None:
    known = load_known(ROOT / "patches")
    rows = table_in((ROOT / "patches/README.md").read_text())
    assert rows
    counts = {series.name: f"{len(series.patches)} of `{series.name}`" for series in known.series}
    for release, driver, patches, applies, *_ in rows:
        [revision] = [one for one in known.revisions if f"`{one.blob[:10]}`" == driver]
        assert branch_of(release) in revision.releases, release
        assert revision.series is not None
        assert patches == counts[revision.series], (
            f"{release} was tried with other patches than there are now: run"
            " make rounds SOURCES=<folder with sources> COMPILE_ONLY=yes and enter what it prints"
        )
        assert applies == "yes", release
    for revision in known.revisions:
        if revision.series is None:
            continue
        mine = [row for row in rows if row[1] == f"`{revision.blob[:10]}`"]
        tried = {branch_of(row[0]) for row in mine}
        assert tried == set(revision.releases), revision.releases
        assert any("-" not in row[3:] for row in mine), f"no calls on {revision.releases}"


def test_the_committed_list_of_patches_is_of_those_that_are_there() -> None:
    text = (ROOT / "patches/README.md").read_text()
    [series] = load_known(ROOT / "patches").series
    listed: list[int] = []
    for first, last in re.findall(r"^\| (\d{4})(?: to (\d{4}))? \| (?!in )", text, re.MULTILINE):
        listed += range(int(first), int(last or first) + 1)
    there = [int(patch.name[:4]) for patch in series.patches]
    assert sorted(set(listed)) == there
