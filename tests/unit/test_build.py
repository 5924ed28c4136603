"""Building: what makes a build count as done, and what a failure tells. Nothing is compiled."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path

import pytest

from harness.errors import EnvironmentFault, InputFault
from harness.install import build as build_module
from harness.install.build import (
    Build,
    base_key,
    build,
    load_build,
    main,
    modules_key,
    offer_test_framework,
)
from harness.install.driver_revision import PatchSeries
from harness.install.source import Source


class FakeTools:
    """Leaves the files that the real tools would leave, and notes what was called."""

    calls: list[str]
    fail_at: str | None
    optimize: str

    def __init__(self, root: Path) -> None:
        self.calls = []
        self.fail_at = None
        self.root = root

    def __call__(self, place: Path, optimize: str) -> FakeTools:
        self.optimize = optimize
        return self

    def compiler(self) -> str:
        return "gcc 1"

    def run(self, what: str, command: list[str], cwd: Path) -> None:
        self.calls.append(what)
        if what == self.fail_at:
            raise EnvironmentFault(f"{what} failed")
        if what == "copy":
            driver = Path(command[-1], "channels/chan_websocket.c")
            driver.parent.mkdir(parents=True)
            driver.write_bytes((cwd / "channels/chan_websocket.c").read_bytes())

    def make(self, what: str, tree: Path, *arguments: str) -> None:
        self.run(what, [], tree)
        if what in ("asterisk", "patched-module"):
            driver = tree / "channels/chan_websocket.c"
            driver.with_suffix(".so").write_bytes(b"compiled " + driver.read_bytes())
        if what == "install":
            prefix = self.root / "build/asterisk"
            for file in ("sbin/asterisk", "lib/asterisk/modules/chan_websocket.so"):
                (prefix / file).parent.mkdir(parents=True)
                (prefix / file).write_bytes(b"installed")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one patch, and a source directory for it."""
    series = tmp_path / "patches/22.10"
    series.mkdir(parents=True)
    (series / "BASE").write_text("releases: 22.10\nrelease: 22.10.1\nchan_websocket_blob: 0\n")
    (series / "series").write_text("0001.patch\n")
    name = "channels/chan_websocket.c"
    patch = f"--- a/{name}\n+++ b/{name}\n@@ -1 +1,2 @@\n stock\n+patched\n"
    (series / "0001.patch").write_text(patch)
    tree = tmp_path / "named"
    for file, text in {name: "stock\n", ".version": "22.10.1\n"}.items():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text(text)
    (tree / "build_tools").mkdir()
    (tree / "build_tools/cflags.xml").write_text("<category>\n</category>\n")
    return tmp_path


@pytest.fixture
def tools(root: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    tools = FakeTools(root)
    monkeypatch.setattr(build_module, "_Tools", tools)
    return tools


def quiet_build(root: Path) -> Build:
    return build(root, source=root / "named", say=lambda line: None)


def test_both_modules_are_built_and_the_patched_one_is_installed(
    root: Path, tools: FakeTools
) -> None:
    built = quiet_build(root)
    assert built.stock_module.read_bytes() == b"compiled stock\n"
    assert built.patched_module.read_bytes() == b"compiled stock\npatched\n"
    installed = built.module_dir / "chan_websocket.so"
    assert installed.read_bytes() == built.patched_module.read_bytes()
    assert (built.version, built.series) == ("22.10.1", "22.10")
    assert load_build(root) == built


def test_nothing_is_run_again_when_nothing_changed(root: Path, tools: FakeTools) -> None:
    first = quiet_build(root)
    tools.calls.clear()
    assert quiet_build(root) == first
    assert tools.calls == []


def test_a_changed_patch_compiles_the_module_only(root: Path, tools: FakeTools) -> None:
    quiet_build(root)
    tools.calls.clear()
    patch = root / "patches/22.10/0001.patch"
    patch.write_text(patch.read_text().replace("+patched", "+better"))
    built = quiet_build(root)
    assert tools.calls == ["copy", "patched-module"]
    assert built.patched_module.read_bytes() == b"compiled stock\nbetter\n"
    assert (built.module_dir / "chan_websocket.so").read_bytes() == b"compiled stock\nbetter\n"


def test_a_build_is_not_its_own_source(root: Path, tools: FakeTools) -> None:
    built = quiet_build(root)
    stock = root / "build/source/stock"
    with pytest.raises(InputFault, match="cannot be the source"):
        build(root, source=stock, say=lambda line: None)
    assert (stock / "channels/chan_websocket.c").is_file()
    tools.calls.clear()
    assert quiet_build(root) == built
    assert tools.calls == []


def test_an_exchanged_installed_module_is_put_right(root: Path, tools: FakeTools) -> None:
    built = quiet_build(root)
    (built.module_dir / "chan_websocket.so").write_bytes(built.stock_module.read_bytes())
    quiet_build(root)
    assert (built.module_dir / "chan_websocket.so").read_bytes() == b"compiled stock\npatched\n"


@pytest.mark.parametrize("stage", ["configure", "asterisk", "install", "patched-module"])
def test_a_failed_build_does_not_count_and_is_taken_up_again(
    root: Path, tools: FakeTools, stage: str
) -> None:
    tools.fail_at = stage
    with pytest.raises((EnvironmentFault, InputFault)):
        quiet_build(root)
    with pytest.raises(EnvironmentFault, match="not built"):
        load_build(root)
    tools.fail_at = None
    tools.calls.clear()
    quiet_build(root)
    assert stage in tools.calls
    assert ("configure" in tools.calls) == (stage != "patched-module")


def test_a_rebuild_that_fails_takes_the_old_build_away(root: Path, tools: FakeTools) -> None:
    quiet_build(root)
    (root / "named/new_file").write_text("a changed source")
    tools.fail_at = "configure"
    with pytest.raises(EnvironmentFault):
        quiet_build(root)
    with pytest.raises(EnvironmentFault):
        load_build(root)


def test_a_patch_that_does_not_compile_is_the_patches_fault(root: Path, tools: FakeTools) -> None:
    tools.fail_at = "patched-module"
    with pytest.raises(InputFault, match=r"22\.10's patches"):
        quiet_build(root)


def test_a_second_build_waits_for_the_first(root: Path, tools: FakeTools) -> None:
    lock = root / "build/lock"
    lock.parent.mkdir()
    said: list[str] = []
    waiting = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        waiting.set()

    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = threading.Thread(target=build, args=(root, root / "named", None, say))
        second.start()
        assert waiting.wait(10)
        assert tools.calls == []
    second.join(10)
    assert said[0].startswith("waiting for another build")
    assert "install" in tools.calls


def test_another_option_of_the_compiler_builds_all_anew(root: Path, tools: FakeTools) -> None:
    assert quiet_build(root).optimize == "-O1"
    assert "CPU, make build OPTIMIZE=-O2" in quiet_build(root).compiled
    tools.calls.clear()
    built = build(root, source=root / "named", say=lambda line: None, optimize="-O2")
    assert {"asterisk", "patched-module"} <= set(tools.calls)
    assert tools.optimize == "-O2"
    assert load_build(root) == built
    assert built.compiled == "Asterisk and both modules are compiled with -O2."


def test_load_build_says_what_is_missing(root: Path, tools: FakeTools) -> None:
    built = quiet_build(root)
    built.stock_module.unlink()
    with pytest.raises(EnvironmentFault, match=r"stock/chan_websocket\.so is missing") as caught:
        load_build(root)
    assert "make build" in caught.value.remedy


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"version": "22"})])
def test_load_build_survives_a_damaged_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "build").mkdir()
    (tmp_path / "build/asterisk.json").write_text(text)
    with pytest.raises(EnvironmentFault, match="cannot be read"):
        load_build(tmp_path)


def test_the_base_key_follows_source_place_compiler_and_its_option() -> None:
    keys = {
        base_key("s", Path("/a"), "gcc 1", "-O1"),
        base_key("t", Path("/a"), "gcc 1", "-O1"),
        base_key("s", Path("/b"), "gcc 1", "-O1"),
        base_key("s", Path("/a"), "gcc 2", "-O1"),
        base_key("s", Path("/a"), "gcc 1", "-O2"),
    }
    assert len(keys) == 5
    assert base_key("s", Path("/a"), "gcc 1", "-O1") in keys


def test_the_modules_key_follows_base_and_the_patches_order(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.write_text("a")
    second.write_text("b")

    def key(base: str, *patches: Path) -> str:
        return modules_key(base, PatchSeries("22.10", (), "", "", patches))

    keys = {key("x"), key("x", first), key("x", first, second), key("x", second, first)}
    assert len(keys | {key("y")}) == 5


def test_the_test_framework_is_offered_once(tmp_path: Path) -> None:
    cflags = tmp_path / "cflags.xml"
    cflags.write_text("<category>\n<member/>\n</category>\n<!-- end -->\n")
    offer_test_framework(cflags)
    once = cflags.read_text()
    assert once.count('"TEST_FRAMEWORK"') == 1
    assert once.index("TEST_FRAMEWORK") < once.index("</category>")
    offer_test_framework(cflags)
    assert cflags.read_text() == once


def test_a_failing_tool_shows_its_last_lines_and_the_log(tmp_path: Path) -> None:
    tools = build_module._Tools(tmp_path, "-O1")
    script = "i=0; while [ $i -lt 30 ]; do echo line $i; i=$((i+1)); done; exit 3"
    with pytest.raises(EnvironmentFault) as caught:
        tools.run("thing", ["sh", "-c", script], tmp_path)
    assert "line 29" in caught.value.what
    assert "line 9\n" not in caught.value.what
    assert str(tmp_path / "log/thing.log") in caught.value.what
    assert "line 0\n" in (tmp_path / "log/thing.log").read_text()


def test_an_absent_tool_is_an_environment_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="no-such-tool"):
        build_module._Tools(tmp_path, "-O1").run("x", ["no-such-tool"], tmp_path)


def test_variables_of_a_calling_make_do_not_leak(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MAKEFLAGS", "CFLAGS", "DESTDIR", "ASTERISK_SOURCE"):
        monkeypatch.setenv(name, "leaks")
    build_module._Tools(tmp_path, "-O1").run("env", ["env"], tmp_path)
    assert "leaks" not in (tmp_path / "log/env.log").read_text()


def test_main_prints_a_fault_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object) -> Source:
        raise InputFault("the source is wrong", "take another")

    monkeypatch.setattr(build_module, "build", fail)
    assert main(["--release", "1"]) == 1
    assert capsys.readouterr().err == "input fault: the source is wrong\n  take another\n"
