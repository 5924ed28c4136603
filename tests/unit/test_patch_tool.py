"""The patch tool: on a small tree with a series of its own, and the real series on real sources."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import EnvironmentFault, Fault, InputFault
from harness.install import patch_tool
from harness.install.driver_revision import DRIVER, Known, git_blob_id, load_known
from harness.install.patch_tool import (
    JOURNAL,
    PLACE,
    apply,
    check,
    revert,
    status,
    undo_interrupted,
)

ROOT = Path(__file__).parents[2]
OURS = "channels/websocket/ours.c"
STOCK = "".join(f"line {number}\n" for number in range(1, 21))
MAKEFILE = "all:\n\ttrue\n"

FIRST = f"""\
Subject: the first

diff --git a/channels/Makefile b/channels/Makefile
--- a/channels/Makefile
+++ b/channels/Makefile
@@ -1,2 +1,3 @@
 all:
+\t: ours
 \ttrue
diff --git a/{OURS} b/{OURS}
new file mode 100644
--- /dev/null
+++ b/{OURS}
@@ -0,0 +1,2 @@
+int first;
+int second;
"""
# Builds on the first: it changes a file that the first one adds.
SECOND = f"""\
Subject: the second

diff --git a/{DRIVER} b/{DRIVER}
--- a/{DRIVER}
+++ b/{DRIVER}
@@ -9,4 +9,5 @@
 line 9
 line 10
+ours();
 line 11
 line 12
diff --git a/{OURS} b/{OURS}
--- a/{OURS}
+++ b/{OURS}
@@ -1,2 +1,3 @@
 int first;
 int second;
+int third;
"""

Snapshot = dict[str, tuple[bytes, int]]


def snapshot(tree: Path) -> Snapshot:
    """Every file's content and mode, and every folder."""
    return {
        str(path.relative_to(tree)): (
            path.read_bytes() if path.is_file() else b"folder",
            path.stat().st_mode,
        )
        for path in sorted(tree.rglob("*"))
    }


def make_patches(folder: Path, rows: list[dict[str, object]]) -> Path:
    """A folder of patches with one series, 1.0."""
    series = folder / "1.0"
    series.mkdir(parents=True)
    (series / "0001.patch").write_text(FIRST)
    (series / "0002.patch").write_text(SECOND)
    (series / "series").write_text("0001.patch\n0002.patch\n")
    (series / "BASE").write_text("releases: 1.0\nrelease: 1.0.0\nchan_websocket_blob: 0\n")
    (folder / "driver_revisions.json").write_text(json.dumps(rows))
    return folder


def row(driver: str, **values: object) -> dict[str, object]:
    return {"blob": git_blob_id(driver.encode()), "releases": ["1.0"], "series": "1.0", **values}


@pytest.fixture
def patches(tmp_path: Path) -> Path:
    return make_patches(tmp_path / "patches", [row(STOCK, tried="compiled")])


@pytest.fixture
def known(patches: Path) -> Known:
    return load_known(patches)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An untouched source tree."""
    tree = tmp_path / "asterisk"
    (tree / "channels").mkdir(parents=True)
    (tree / DRIVER).write_text(STOCK)
    (tree / DRIVER).chmod(0o640)
    (tree / "channels/Makefile").write_text(MAKEFILE)
    (tree / ".version").write_text("1.0.3\n")
    (tree / "unrelated").write_text("as it was\n")
    return tree


def test_apply_revert_apply(tree: Path, known: Known) -> None:
    untouched = snapshot(tree)
    assert apply(tree, known).startswith("applied: series 1.0")
    patched = snapshot(tree)
    assert (tree / DRIVER).read_text() == STOCK.replace("line 10\n", "line 10\nours();\n")
    assert (tree / OURS).read_text() == "int first;\nint second;\nint third;\n"
    assert set(patched) - set(untouched) == {"channels/websocket", OURS}
    assert revert(tree, known).startswith("taken off: series 1.0")
    assert snapshot(tree) == untouched
    apply(tree, known)
    assert snapshot(tree) == patched


def test_twice_is_as_good_as_once(tree: Path, known: Known) -> None:
    assert revert(tree, known).startswith("nothing to take off")
    apply(tree, known)
    patched = snapshot(tree)
    assert apply(tree, known).startswith("already applied")
    assert snapshot(tree) == patched


def test_check_and_status_change_nothing(tree: Path, known: Known) -> None:
    before = snapshot(tree)
    assert check(tree, known) == f"series 1.0 applies to {tree}"
    assert status(tree, known).endswith(
        "(Asterisk 1.0.3): driver of 1.0; series 1.0 fits, tried: compiled"
    )
    assert snapshot(tree) == before
    apply(tree, known)
    before = snapshot(tree)
    assert check(tree, known).startswith("already applied")
    assert status(tree, known).endswith("series 1.0 is applied")
    assert snapshot(tree) == before


def test_the_next_step_depends_on_what_is_built(tree: Path, known: Known) -> None:
    assert "./configure && make" in apply(tree, known)
    (tree / "makeopts").touch()
    assert "folder: make && make install" in apply(tree, known)


def test_what_was_compiled_is_newer_than_no_changed_file(tree: Path, known: Known) -> None:
    """So that make compiles it again, after apply and after revert."""
    for path in (DRIVER, "channels/Makefile"):
        os.utime(tree / path, ns=(0, 0))
    compiled = tree / "channels/chan_websocket.o"
    for action in (apply, revert):
        compiled.touch()
        before = compiled.stat().st_mtime_ns
        action(tree, known)
        assert (tree / DRIVER).stat().st_mtime_ns >= before


def test_what_was_compiled_of_our_files_is_removed_with_them(tree: Path, known: Known) -> None:
    untouched = snapshot(tree)
    apply(tree, known)
    (tree / "channels/websocket/ours.o").touch()
    (tree / "channels/.websocket_ours.o.d").touch()
    revert(tree, known)
    assert snapshot(tree) == untouched


def test_root_leaves_nothing_of_its_own_in_a_users_tree(
    tree: Path, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what is there afterwards, nor what a run that is undone would put back."""
    owners: dict[str, tuple[int, int]] = {}

    def chown(path: Path, user: int, group: int) -> None:
        owners[str(path.relative_to(tree))] = (user, group)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", chown)
    apply(tree, known)
    user = (tree.stat().st_uid, tree.stat().st_gid)
    changed = (DRIVER, "channels/Makefile")
    assert owners == {
        "channels/websocket": user,
        **{f"{PLACE}/new/{path}": user for path in (*changed, OURS)},
        **{f"{PLACE}/old/{path}": user for path in changed},
    }


# --- trees it was not made for --------------------------------------------------------------------


def test_an_edited_driver_is_refused_unless_forced(tree: Path, known: Known) -> None:
    (tree / DRIVER).write_text("own first line\n" + STOCK.replace("line 20", "own line 20"))
    edited = snapshot(tree)
    with pytest.raises(InputFault, match="of no known release") as refused:
        apply(tree, known)
    assert "FORCE=1" in refused.value.remedy
    with pytest.raises(InputFault):
        check(tree, known)
    assert "of no known release" in status(tree, known)
    assert snapshot(tree) == edited

    apply(tree, known, force=True)
    assert "ours();" in (tree / DRIVER).read_text()
    assert "own line 20" in (tree / DRIVER).read_text()
    revert(tree, known)
    assert snapshot(tree) == edited


@pytest.mark.parametrize("force", [False, True])
def test_an_edited_place_of_ours_is_refused(tree: Path, known: Known, force: bool) -> None:
    (tree / DRIVER).write_text(STOCK.replace("line 11", "own line 11"))
    edited = snapshot(tree)
    with pytest.raises(InputFault) as refused:
        apply(tree, known, force=force)
    assert "0002, hunk 1" in refused.value.what
    assert ("of no known release" in refused.value.what) != force
    assert snapshot(tree) == edited


# A function that three patches change: the second fits no more, and the third builds on it.
FUNCTIONS = """\
int sent;

static int receive(int length)
{
\tif (!length) {
\t\treturn -1;
\t}
\treturn length;
}

int last;
"""


@pytest.fixture
def elsewhere(tree: Path, tmp_path: Path) -> Known:
    """What is known of a driver with functions, which the tree then has."""
    hunks = [
        ("@@ -1,2 +1,3 @@", " int sent;\n+int ours;\n \n"),
        (
            "@@ -6,4 +6,5 @@ static int receive(int length)",
            " \tif (!length) {\n+\t\tours();\n \t\treturn -1;\n \t}\n \treturn length;\n",
        ),
        ("@@ -6,4 +6,5 @@ static int receive(int length)", " \t\tours();\n+\t\tagain();\n"),
        ("@@ -11,2 +13,3 @@", " \n+int theirs;\n int last;\n"),
    ]
    folder = make_patches(tmp_path / "functions", [row(FUNCTIONS, tried="compiled")])
    for number, (head, lines) in enumerate(hunks, 1):
        text = f"diff --git a/{DRIVER} b/{DRIVER}\n--- a/{DRIVER}\n+++ b/{DRIVER}\n{head}\n{lines}"
        (folder / f"1.0/000{number}-what-it-does.patch").write_text(text)
    names = [f"000{number}-what-it-does.patch" for number in range(1, len(hunks) + 1)]
    (folder / "1.0/series").write_text("\n".join(names) + "\n")
    (tree / DRIVER).write_text(FUNCTIONS)
    return load_known(folder)


def test_what_stands_in_the_way_of_a_hunk_is_told_with_its_function(
    tree: Path, elsewhere: Known
) -> None:
    newer = "int newer;\n" + FUNCTIONS.replace("!length", "length < 0")
    (tree / DRIVER).write_text(newer)
    for force in (False, True):
        with pytest.raises(InputFault) as refused:
            check(tree, elsewhere, force=force)
        told = refused.value.what
        assert f"0002, hunk 1, receive(): {DRIVER}:6 has no" in told
        assert told.index("if (!length) {") < told.index("but") < told.index("if (length < 0) {")
        assert "1 more, which build on these" in told
        assert "0001" not in told and "0003" not in told and "0004" not in told
    assert (tree / DRIVER).read_text() == newer
    # A status is one line.
    assert "\n" not in status(tree, elsewhere)


def test_a_place_that_is_gone_is_told(tree: Path, elsewhere: Known) -> None:
    (tree / DRIVER).write_text("int sent;\n\nint last;\n")
    with pytest.raises(InputFault) as refused:
        check(tree, elsewhere)
    assert f"0002, hunk 1, receive(): {DRIVER} has nothing like" in refused.value.what
    assert "return length;" in refused.value.what


def test_another_file_than_the_driver_is_edited(tree: Path, known: Known) -> None:
    (tree / "channels/Makefile").write_text("own:\n")
    edited = snapshot(tree)
    with pytest.raises(InputFault, match=r"(?s)its other files differ.*0001, hunk 1"):
        apply(tree, known)
    assert snapshot(tree) == edited


def test_a_revision_with_no_series(tree: Path, tmp_path: Path) -> None:
    rows = [row(STOCK, tried="", series=None, why="it is too old"), row("", tried="compiled")]
    known = load_known(make_patches(tmp_path / "other", rows))
    with pytest.raises(InputFault, match="there is no patch series: it is too old"):
        apply(tree, known)
    assert "there is no series: it is too old" in status(tree, known)


def test_a_revision_that_was_never_tried(tree: Path, tmp_path: Path) -> None:
    known = load_known(make_patches(tmp_path / "other", [row(STOCK)]))
    with pytest.raises(InputFault, match="was never tried"):
        apply(tree, known)
    assert apply(tree, known, force=True).startswith("applied")


def test_no_asterisk_at_all(tmp_path: Path, known: Known) -> None:
    for action in (apply, revert, check, status):
        with pytest.raises(InputFault, match=r"has no channels/chan_websocket\.c"):
            action(tmp_path, known)
    assert not (tmp_path / PLACE).exists()


def test_half_a_series_is_not_taken_for_one(tree: Path, known: Known) -> None:
    """As somebody leaves it who applied the first patch by hand."""
    subprocess.run(["patch", "-p1", "-s"], cwd=tree, input=FIRST, text=True, check=True)
    (tree / DRIVER).write_text(STOCK + "\n")
    half = snapshot(tree)
    for action in (apply, revert):
        with pytest.raises(InputFault, match="but not this version of the series"):
            action(tree, known)
    assert snapshot(tree) == half


def test_our_file_edited_after_apply_is_not_lost(tree: Path, known: Known) -> None:
    apply(tree, known)
    (tree / OURS).write_text((tree / OURS).read_text() + "int own;\n")
    edited = snapshot(tree)
    with pytest.raises(InputFault, match="edited since"):
        revert(tree, known)
    assert snapshot(tree) == edited


def test_a_link_is_not_replaced(tree: Path, known: Known) -> None:
    (tree / "channels/real").write_text(MAKEFILE)
    (tree / "channels/Makefile").unlink()
    (tree / "channels/Makefile").symlink_to("real")
    with pytest.raises(InputFault, match="symbolic link"):
        apply(tree, known)


# --- what may come between ------------------------------------------------------------------------


def fail_at(monkeypatch: pytest.MonkeyPatch, tree: Path, step: int) -> Callable[[], bool]:
    """Let the ``step``-th change of a file of the tree fail, as on a file system gone read-only.

    Root may write where permissions forbid it, so the error is made here. Returns whether it was.
    """
    count = 0
    real_replace, real_unlink = Path.replace, Path.unlink

    def counted(path: Path) -> None:
        nonlocal count
        if PLACE not in path.parts:
            count += 1
            if count == step:
                raise OSError(30, "Read-only file system", str(path))

    def replace(self: Path, target: Path) -> Path:
        counted(target)
        return real_replace(self, target)

    def unlink(self: Path, missing_ok: bool = False) -> None:
        counted(self)
        real_unlink(self, missing_ok)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    return lambda: count >= step


@pytest.mark.parametrize("action", [apply, revert])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_error_half_way_is_undone_at_once(
    tree: Path,
    known: Known,
    monkeypatch: pytest.MonkeyPatch,
    action: Callable[[Path, Known], str],
    step: int,
) -> None:
    if action is revert:
        apply(tree, known)
    before = snapshot(tree)
    with monkeypatch.context() as patched:
        failed = fail_at(patched, tree, step)
        with pytest.raises(EnvironmentFault, match=r"cannot be changed.*Read-only"):
            action(tree, known)
        assert failed()
    assert snapshot(tree) == before
    action(tree, known)
    assert snapshot(tree) != before


def test_a_tree_that_cannot_be_written(
    tree: Path, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Already the folder to work in cannot be made."""
    before = snapshot(tree)
    real = Path.mkdir

    def mkdir(self: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if PLACE in self.parts:
            raise PermissionError(13, "Permission denied", str(self))
        real(self, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(EnvironmentFault, match="Permission denied") as fault:
        apply(tree, known)
    assert fault.value.remedy.startswith("Nothing was changed.")
    assert snapshot(tree) == before


def run_killed(step: int, action: Callable[[], object]) -> bool:
    """Do it in a process that kills itself before its ``step``-th change of anything.

    Returns whether it was killed; if not, it had ended by then.
    """
    child = os.fork()
    if child:
        _, status_ = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status_) or os.WEXITSTATUS(status_) == 0
        return os.WIFSIGNALED(status_)
    count = 0

    def killing(function: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*arguments: object, **named: object) -> object:
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)

        return wrapper

    try:
        for where, names in (
            (Path, ("replace", "unlink", "mkdir", "rmdir", "write_text")),
            (shutil, ("rmtree", "copy2")),
        ):
            for name in names:
                setattr(where, name, killing(getattr(where, name)))
        action()
        os._exit(0)
    finally:
        os._exit(1)


@pytest.mark.parametrize("action", [apply, revert])
def test_killed_at_every_step(
    tree: Path, known: Known, action: Callable[[Path, Known], str]
) -> None:
    """The next run makes of any rest what it would have made of the tree before or after."""
    untouched = snapshot(tree)
    apply(tree, known)
    patched = snapshot(tree)
    half_way = 0
    for step in range(1, 200):
        if action is revert:
            apply(tree, known)
        if not run_killed(step, lambda: action(tree, known)):
            break  # it needs no more steps than these
        # There is a journal whenever something is changed.
        now = {name: what for name, what in snapshot(tree).items() if not name.startswith(PLACE)}
        if (tree / PLACE / JOURNAL).exists():
            half_way += now not in (untouched, patched)
            with pytest.raises(InputFault, match="was interrupted"):
                check(tree, known)
            assert "interrupted" in status(tree, known)
        else:
            assert now in (untouched, patched)
        if step % 2:
            apply(tree, known)
            assert snapshot(tree) == patched
            revert(tree, known)
        else:
            revert(tree, known)
        assert snapshot(tree) == untouched
    else:
        pytest.fail("it never ended by itself")
    assert half_way >= 2  # else nothing was shown


def kill_half_way(tree: Path, known: Known) -> None:
    """An apply that has put files in place and not ended."""
    for step in range(1, 200):
        assert run_killed(step, lambda: apply(tree, known)), "it ended by itself"
        if (tree / PLACE / JOURNAL).exists() and (tree / OURS).exists():
            return
        revert(tree, known)


def test_killed_while_undoing(tree: Path, known: Known) -> None:
    untouched = snapshot(tree)
    kill_half_way(tree, known)
    rest = tree.with_name("rest")
    for step in range(1, 100):
        shutil.copytree(tree, rest)
        killed = run_killed(step, lambda: undo_interrupted(rest))
        revert(rest, known)
        assert snapshot(rest) == untouched
        shutil.rmtree(rest)
        if not killed:
            break
    assert step > 4  # else nothing was shown


def test_edits_after_a_kill_are_not_undone(tree: Path, known: Known) -> None:
    kill_half_way(tree, known)
    (tree / OURS).write_text("my own\n")
    with pytest.raises(InputFault, match=r"ours\.c was edited since"):
        apply(tree, known)
    assert (tree / OURS).read_text() == "my own\n"
    assert (tree / PLACE / "old" / DRIVER).read_text() == STOCK


def test_two_at_once(tree: Path, known: Known) -> None:
    with patch_tool._only_one(tree), pytest.raises(InputFault, match="another run"):
        apply(tree, known)
    apply(tree, known)


# --- the real series ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stock() -> Path:
    """The untouched source that `make build` keeps."""
    source = ROOT / "build/source/stock"
    if not (source / DRIVER).is_file():
        pytest.skip("there is no Asterisk source: make build")
    return source


@pytest.fixture
def asterisk(stock: Path, tmp_path: Path) -> Path:
    """A copy of what of it the series could touch."""
    tree = tmp_path / "asterisk"
    for folder in ("channels", "configs/samples"):
        shutil.copytree(stock / folder, tree / folder)
    shutil.copy2(stock / ".version", tree)
    return tree


def test_the_real_series(asterisk: Path) -> None:
    real = load_known(ROOT / "patches")
    untouched = snapshot(asterisk)
    apply(asterisk, real)
    patched = snapshot(asterisk)
    assert b"playback_init" in patched[DRIVER][0]
    revert(asterisk, real)
    assert snapshot(asterisk) == untouched
    apply(asterisk, real)
    assert snapshot(asterisk) == patched


def test_the_real_command(asterisk: Path) -> None:
    """As make runs it: the system's python3, no package of ours installed."""
    untouched = snapshot(asterisk)

    def run(action: str) -> str:
        done = subprocess.run(
            ["python3", "-I", "-B", "-c", COMMAND, str(ROOT), str(asterisk), action],
            cwd="/",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "applies to" in run("check")
    assert run("apply").startswith("applied")
    assert run("apply").startswith("already applied")
    assert "is applied" in run("status")
    assert run("revert").startswith("taken off")
    assert snapshot(asterisk) == untouched


COMMAND = """
import sys
sys.path.insert(0, sys.argv[1])
from harness.install.patch_tool import main
sys.exit(main(sys.argv[2:]))
"""


def test_the_table_of_driver_revisions_is_the_one_readers_see() -> None:
    """patches/README.md names each blob with the releases that driver_revisions.json gives it."""
    text = (ROOT / "patches/README.md").read_text()
    for revision in load_known(ROOT / "patches").revisions:
        line = re.search(rf"^\| `{revision.blob[:10]}` \|(.*)$", text, re.MULTILINE)
        assert line is not None, revision.blob
        assert all(release in line[1] for release in revision.releases), revision.blob


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Fault, match="cannot be read"):
        load_known(tmp_path)
