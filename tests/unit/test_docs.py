"""The documents: lines that a diff can show, and no command or file that does not exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.commands.cli import main
from harness.scenarios.schema import load_scenarios

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "patches/README.md",
]
LINE_MAX = 100
# Of Asterisk's own Makefile.
ASTERISK_TARGETS = {"install", "install-headers", "channels"}
# What the commands make, and so is in no commit.
MADE = {"build", "dist", "out", ".venv"}
TARGET = re.compile(r"\bmake ((?:[A-Z_]+=\S+ )*)([a-z][a-z-]*)")
COMMAND = re.compile(r"(?:^|[ /])harness ((?:[a-z]+ )?[a-z]+\b[^#]*)")
LINK = re.compile(r"\]\(([^)#:]*)(#[^)]*)?\)")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def lines(page: Path) -> Iterator[tuple[int, str, bool]]:
    """Number and text of each line, and whether it is code: fenced, or indented by four."""
    fenced = False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = line.startswith("```")
        fenced ^= fence
        yield number, line, fenced or fence or line.startswith("    ")


def code(page: Path) -> Iterator[str]:
    """Each line of code, and each piece of code inside a line."""
    for _, line, is_code in lines(page):
        yield from [line] if is_code else re.findall(r"`([^`]+)`", line)


def words(command: str) -> list[str]:
    """A command's words as a shell has them; what is no shell's (a call in Python) is none."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    texts = [
        line.lstrip("# ")
        for _, line, is_code in lines(page)
        if line.startswith("#") and not is_code
    ]
    return {"#" + re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in texts}


@pages
def test_a_line_can_be_read_in_a_diff(page: Path) -> None:
    """But for tables and code, which cannot be broken."""
    long = [
        f"{page.name}:{number}: {len(line)} characters"
        for number, line, is_code in lines(page)
        if len(line) > LINE_MAX and not is_code and not line.startswith("|")
    ]
    assert not long


@pages
def test_each_target_of_make_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.M)) | ASTERISK_TARGETS
    named = {match[2] for text in code(page) for match in TARGET.finditer(text)}
    assert named <= targets


@pages
def test_each_command_of_the_harness_exists_with_its_options(
    page: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for text in code(page):
        for match in COMMAND.finditer(text):
            given = words(match[1])
            options = [word.partition("=")[0] for word in given if word.startswith("-")]
            depth = 2 if given[0] == "lab" else 1
            with pytest.raises(SystemExit) as ended:
                main([*given[:depth], "--help"])
            printed = capsys.readouterr()
            assert ended.value.code == 0, f"{text}: {printed.err}"
            known = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", printed.out))
            assert set(options) <= known, f"{text}: the command has {known}"


@pages
def test_each_file_of_this_repository_exists(page: Path) -> None:
    """Whatever begins with one of its folders; a pattern must fit something."""
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} - MADE
    for text in code(page):
        for word in re.split(r"[\s,;()\"']+", text):
            path = word.rstrip(".:").partition("#")[0]
            if path.partition("/")[0] in folders and "/" in path and not re.search("[<$]", path):
                assert list(ROOT.glob(path.rstrip("/"))), f"{page.name}: {word} does not exist"


@pages
def test_each_link_leads_somewhere(page: Path) -> None:
    for _, line, is_code in lines(page):
        for path, anchor in LINK.findall("" if is_code else line):
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {path} does not exist"
            if anchor and target.suffix == ".md":
                assert anchor in headings(target), f"{page.name}: no heading {path}{anchor}"


def test_the_architecture_names_every_room_and_every_file_of_the_module() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    rooms = {path for path in (ROOT / "harness").iterdir() if not path.name.startswith("_")}
    named = [
        f"harness/{path.name}{'/' * path.is_dir()}" for path in rooms if path.name != "py.typed"
    ]
    named += [f"asterisk-module/{path.name}" for path in (ROOT / "asterisk-module").glob("*.c")]
    assert not [name for name in sorted(named) if f"`{name}`" not in page]


def test_the_architecture_names_every_hook() -> None:
    """Each function of ours that the series calls from the driver's own file."""
    page = (ROOT / "docs/architecture.md").read_text()
    called: set[str] = set()
    for patch in (ROOT / "patches").glob("*/*.patch"):
        in_driver = False
        for line in patch.read_text().splitlines():
            if line.startswith("diff --git"):
                in_driver = line.endswith("/channels/chan_websocket.c")
            elif in_driver and line.startswith("+"):
                called |= set(re.findall(r"\bplayback_\w+\(", line))
    assert called
    assert not [name for name in sorted(called) if f"`{name})`" not in page]


def test_the_scenarios_of_the_documents_can_be_read(tmp_path: Path) -> None:
    """The example, also with the expected failures that are shown by themselves."""
    example, stock = re.findall(
        r"```yaml\n(.*?)```", (ROOT / "docs/scenarios.md").read_text(), re.S
    )
    file = tmp_path / "my_scenario.yaml"
    file.write_text(example + stock)
    assert load_scenarios(file)
