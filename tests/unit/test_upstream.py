"""Three pull requests, made from a series of one patch and what is different upstream."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from chan_websocket.protocol import PATCHED_EVENTS
from harness.errors import HarnessFault
from harness.install.driver_revision import DRIVER, git_blob_id, load_series
from harness.install.upstream import write

ROOT = Path(__file__).parents[2]
STOCK = "".join(f"line {number}\n" for number in range(1, 10))
OTHER = "bridges/other.c"
NO_ISSUE = "Resolves: (no issue filed yet)"
PAGE = ROOT / "upstream/documentation/docs/Configuration/Channel-Drivers/WebSocket-Playback.md"


def git(tree: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A. Tester", "-c", "user.email=tester"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An untouched source tree."""
    tree = tmp_path / "source"
    for name in (DRIVER, OTHER):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_text(STOCK)
    return tree


def commit(tree: Path, name: str, line: int, text: str, message: str) -> None:
    changed = (tree / name).read_text().replace(f"line {line}\n", f"line {line}\n{text}\n")
    (tree / name).write_text(changed)
    git(tree, "commit", "--quiet", "--all", f"--message={message}")


@pytest.fixture
def root(tmp_path: Path, source: Path) -> Path:
    """A repository: the driver reads a private struct, and upstream it calls a function."""
    root = tmp_path / "root"
    series, ours = root / "patches/1.0", root / "upstream"
    for folder in (series, ours / "asterisk"):
        folder.mkdir(parents=True)
    tree = tmp_path / "work"
    subprocess.run(["cp", "-r", source, tree], check=True)
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=Asterisk")
    commit(tree, OTHER, 3, "accessor", f"other: Tell it.\n\nThe driver asks.\n\n{NO_ISSUE}")
    commit(tree, DRIVER, 5, "peek", f"driver: Look into other.\n\nBy a peek.\n\n{NO_ISSUE}")
    git(tree, "format-patch", "--quiet", "--output-directory", str(tmp_path), "HEAD~2")
    first, second = sorted(tmp_path.glob("*.patch"))
    first.rename(ours / "asterisk" / first.name)
    second.rename(series / "0001-driver.patch")
    (series / "series").write_text("0001-driver.patch\n")
    blob = git_blob_id(STOCK.encode())
    (series / "BASE").write_text(f"releases: 1.0\nrelease: 1.0.0\nchan_websocket_blob: {blob}\n")
    (tree / DRIVER).write_text((tree / DRIVER).read_text().replace("peek", "accessor()"))
    diff = git(tree, "diff")
    message = f"driver: Ask other.\n\nBy its function.\n\n{NO_ISSUE}\n\n"
    (ours / "asterisk/0001-driver.diff").write_text(message + diff)
    for name in ("asterisk", "testsuite", "documentation"):
        (ours / f"{name}.md").write_text(f"# {name}: Do it.\n\nSo it is.\n")
    for name in ("testsuite", "documentation"):
        (ours / name / "new").mkdir(parents=True)
        (ours / name / "new/file").write_text("new\n")
    (ours / "testsuite/list.diff").write_text(
        "diff --git a/list b/list\n--- a/list\n+++ b/list\n@@ -1 +1,2 @@\n old\n+new\n"
    )
    return root


def patches_in(folder: Path) -> list[str]:
    return [str(path) for path in sorted(folder.glob("*.patch"))]


def applied(tree: Path, patches: Sequence[str]) -> list[str]:
    """The subjects of patches that git has applied to a tree as it is."""
    git(tree, "init", "--quiet")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=theirs")
    git(tree, "am", "--quiet", *patches)
    return git(tree, "log", "--reverse", "--format=%s").splitlines()[1:]


def test_the_code_asks_where_the_series_looks(root: Path, source: Path, tmp_path: Path) -> None:
    write(root, source, tmp_path / "out", 12)
    subjects = applied(source, patches_in(tmp_path / "out/asterisk"))
    assert subjects == ["other: Tell it.", "driver: Ask other."]
    assert (source / DRIVER).read_text() == STOCK.replace("line 5\n", "line 5\naccessor()\n")
    bodies = git(source, "log", "-2", "--format=%b").split()
    assert " ".join(bodies) == "By its function. Resolves: #12 The driver asks. Resolves: #12"
    text = (tmp_path / "out/asterisk/pull-request.md").read_text()
    assert text.startswith("# asterisk: Do it.")


def test_without_an_issue_nothing_is_resolved(root: Path, source: Path, tmp_path: Path) -> None:
    write(root, source, tmp_path / "out", None)
    applied(source, patches_in(tmp_path / "out/asterisk"))
    bodies = git(source, "log", "-2", "--format=%b").split("\n")
    assert [line for line in bodies if line] == ["By its function.", "The driver asks."]


@pytest.mark.parametrize("name", ["testsuite", "documentation"])
def test_new_files_and_a_line_in_their_list(
    root: Path, source: Path, tmp_path: Path, name: str
) -> None:
    write(root, source, tmp_path / "out", None)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "list").write_text("old\n")
    assert applied(theirs, patches_in(tmp_path / "out" / name)) == [f"{name}: Do it."]
    assert (theirs / "new/file").read_text() == "new\n"
    assert (theirs / "list").read_text() == ("old\nnew\n" if name == "testsuite" else "old\n")


def test_a_difference_that_does_not_fit_any_more_is_told(
    root: Path, source: Path, tmp_path: Path
) -> None:
    diff = root / "upstream/asterisk/0001-driver.diff"
    diff.write_text(diff.read_text().replace("-peek", "-look"))
    with pytest.raises(HarnessFault, match=r"0001-driver\.diff does not fit the patch any more"):
        write(root, source, tmp_path / "out", None)


def test_a_difference_of_no_patch_is_told(root: Path, source: Path, tmp_path: Path) -> None:
    folder = root / "upstream/asterisk"
    (folder / "0001-driver.diff").rename(folder / "0002-driver.diff")
    with pytest.raises(HarnessFault, match=r"no patch for upstream/asterisk/0002-driver\.diff"):
        write(root, source, tmp_path / "out", None)


# ---- what is committed ---------------------------------------------------------------------------


def test_each_difference_has_its_patch() -> None:
    [series] = load_series(ROOT / "patches")
    names = {patch.stem for patch in series.patches}
    differences = {path.stem for path in (ROOT / "upstream/asterisk").glob("*.diff")}
    assert differences and differences <= names


@pytest.mark.parametrize(
    "diff", sorted((ROOT / "upstream/asterisk").glob("*.diff")), ids=lambda path: path.name[:4]
)
def test_each_difference_fits_the_driver(diff: Path, tmp_path: Path) -> None:
    """As far as it is of our own files; with Asterisk's own ones `make upstream` tells."""
    ours = tmp_path / "channels/websocket"
    ours.mkdir(parents=True)
    for path in (ROOT / "asterisk-module").glob("*.[ch]"):
        (ours / path.name).write_bytes(path.read_bytes())
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "apply", "--check", "--include=channels/websocket/*", str(diff))


def test_the_page_has_each_event_and_field() -> None:
    page = PAGE.read_text()
    protocol = (ROOT / "docs/protocol.md").read_text()
    assert set(PATCHED_EVENTS) <= set(re.findall(r"`(\w+)`", page))
    # The example events of the protocol have all fields.
    fields = set(
        re.findall(r'"(\w+)":', "\n".join(re.findall(r'^    \{"event".*', protocol, re.M)))
    )
    theirs = {"event", "connection_id", "channel", "format", "channel_variables", "ptime"}
    words = set(re.findall(r"\w+", page))
    assert fields - theirs - {"error_text"} <= words
