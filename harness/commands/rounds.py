"""``harness rounds``: the patch series tried on one source of Asterisk after the other.

Nothing is fetched: the sources are the user's. The table that it prints is that of
patches/README.md.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from harness.commands.command import EXIT_FAIL, EXIT_PASS, OUT, ROOT, Commands
from harness.errors import EnvironmentFault, Fault, HarnessFault, InputFault
from harness.install import patch_tool
from harness.install.build import DEV_MODE_WARNINGS, build
from harness.install.driver_revision import DRIVER, MODULE, load_known
from harness.install.installed_asterisk import build_option_sum, sums_in
from harness.install.module import compile_module, take_touched_files
from harness.scenarios.result import Outcome, load_summary
from harness.scenarios.schema import GROUPS

HEAD = """\
| release | driver | patches | applies with `-F0` | compiles | drop-in | calls |
| --- | --- | --- | --- | --- | --- | --- |"""
_GROUPS = "smoke,wire,dispositions"
_CONFIGURED = ("autoconfig.h", "buildopts.h")
"""the headers that ./configure and menuselect make"""


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "rounds",
        help="try the patch series on each source of Asterisk in a folder",
        description="For each source: applies the series, compiles the driver with the warnings of "
        "dev mode as errors, builds the drop-in module, and runs scenarios. Prints the table of "
        "patches/README.md. Each is built in build/, as by 'make build ASTERISK_SOURCE=...'.",
    )
    parser.add_argument("sources", type=Path, help="a folder with source trees and tarballs")
    parser.add_argument(
        "--compile-only",
        action="store_true",
        help="no Asterisk is built and no call placed: the drop-in is compiled with that release's "
        "headers, configured as what is built in build/",
    )
    parser.add_argument(
        "--group",
        default=_GROUPS,
        metavar="GROUP[,GROUP]",
        help=f"of scenarios (default: {_GROUPS})",
    )
    parser.set_defaults(command=_run)


@dataclass
class _Row:
    """One source and what became of it; a cell that was not reached is a dash."""

    release: str = ""
    driver: str = "-"
    patches: str = "-"
    applies: str = "-"
    compiles: str = "-"
    drop_in: str = "-"
    calls: str = "-"
    trouble: str = ""
    """why it ended before all was done, or what went wrong; empty if nothing did"""

    def markdown(self) -> str:
        cells = (
            *(self.release, self.driver, self.patches),
            *(self.applies, self.compiles, self.drop_in, self.calls),
        )
        return f"| {' | '.join(cells)} |"


def _run(options: argparse.Namespace, console: Console) -> int:
    if unknown := [name for name in options.group.split(",") if name not in GROUPS]:
        raise InputFault(f"{unknown[0]} is not one of {', '.join(GROUPS)}")
    rows = []
    for source in find_sources(options.sources):
        console.print(f"== {source.name}", highlight=False)
        rows.append(_try(source, "" if options.compile_only else options.group, console))
        if rows[-1].trouble:
            console.print(rows[-1].trouble, style="red", markup=False, soft_wrap=True)
    print(HEAD)
    for row in rows:
        print(row.markdown())
    if not options.compile_only:
        console.print(f"build/ has {rows[-1].release} now: 'make build' makes the usual one again.")
    return EXIT_FAIL if any(row.trouble for row in rows) else EXIT_PASS


def find_sources(folder: Path) -> list[Path]:
    """The source trees and tarballs in a folder, by their versions. Raises InputFault."""
    if not folder.is_dir():
        raise InputFault(f"{folder} is no folder", "Give one with source trees or tarballs.")
    found = [
        path.absolute()
        for path in folder.iterdir()
        if (path / DRIVER).is_file() or ".tar" in path.suffixes or path.suffix == ".tgz"
    ]
    if not found:
        raise InputFault(
            f"{folder} has no source of Asterisk",
            "Unpack or copy some there: trees, or tarballs (*.tar.gz).",
        )
    return sorted(found, key=lambda path: [int(one) for one in re.findall(r"\d+", path.name)])


def _try(source: Path, groups: str, console: Console) -> _Row:
    row = _Row(release=source.name)
    try:
        with tempfile.TemporaryDirectory() as name:
            _try_all(source, groups, row, Path(name, "tree"), console)
    except Fault as fault:
        row.trouble = str(fault)
    return row


def _try_all(source: Path, groups: str, row: _Row, tree: Path, console: Console) -> None:
    """Fill in the row step by step. Raises a Fault at the first that does not succeed."""
    known = load_known(ROOT / "patches")
    tree.mkdir()
    take_touched_files(source, known, tree, "include")
    version = tree / ".version"
    row.release = version.read_text().strip() if version.is_file() else source.name
    row.driver = f"`{patch_tool.blob_of(tree)[:10]}`"
    row.applies = "no"
    series = patch_tool.series_for(tree, known, force=True)
    patch_tool.apply(tree, known, force=True)
    row.applies, row.patches = "yes", f"{len(series.patches)} of `{series.name}`"

    include = tree / "include"
    if groups:
        # The driver in its own tree, with everything of that release built around it.
        row.compiles = "no"
        build(ROOT, source, None, lambda line: console.print(line, markup=False, soft_wrap=True))
        row.compiles = f"yes, {_today()}"
        include = ROOT / "build/source/stock/include"
    else:
        _configure(include / "asterisk")
    row.drop_in = "no"
    compile_module(tree / "channels", include, tree / MODULE, DEV_MODE_WARNINGS.split())
    wanted = build_option_sum((include / "asterisk/buildopts.h").read_text())
    if wanted not in sums_in((tree / MODULE).read_bytes()):
        raise HarnessFault(f"the drop-in for {row.release} was compiled with other headers")
    row.drop_in = f"yes, {_today()}"
    if groups:
        row.calls = "no"
        _place_calls(groups, row)


def _configure(headers: Path) -> None:
    """Add the headers that are made when Asterisk is configured, from what is built here."""
    for name in _CONFIGURED:
        made = ROOT / "build/source/stock/include/asterisk" / name
        if not made.is_file():
            raise EnvironmentFault(f"there is no {made}", "run: make build")
        shutil.copyfile(made, headers / name)


def _place_calls(groups: str, row: _Row) -> None:
    latest = OUT / "latest"
    before = latest.resolve()
    done = subprocess.run(
        [sys.executable, "-m", "harness", "run", "--group", groups, "--keep-going"], cwd=ROOT
    )
    if latest.resolve() == before:
        raise HarnessFault(f"harness run placed no calls and ended with {done.returncode}")
    summary = load_summary(latest)
    counts = summary.counts
    told = ", ".join(f"{counts[one]} {one.word}" for one in Outcome if counts[one])
    marks, unjudged = summary.marks
    row.calls = f"{_today()}, {groups.replace(',', ', ')}: {told}; {marks} marks"
    row.calls += f", {unjudged} not judged" if unjudged else ""
    if done.returncode:
        row.trouble = f"harness run ended with {done.returncode}: see its report"


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def table_in(text: str) -> Sequence[Sequence[str]]:
    """The cells of the rows of such a table in a document, without its head."""
    _, _, rest = text.partition(f"{HEAD}\n")
    rows = re.match(r"(?:\|.*\n)*", rest)
    lines = rows[0].splitlines() if rows else []
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
