"""The drop-in module: what Asterisk it is for, and the exchange, on an Asterisk made of files."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.errors import EnvironmentFault, Fault, InputFault
from harness.install import installed_asterisk, module_exchange
from harness.install import module as dropin
from harness.install.driver_revision import MODULE
from harness.install.installed_asterisk import Installed
from harness.install.module_exchange import KEPT

SUM = "0123456789abcdef0123456789abcdef"
OTHER_SUM = "f" * 32
STOCK = b"\x7fELF stock\0" + SUM.encode() + b"\0"
PATCHED = b"\x7fELF patched MARK_PLAYED\0" + SUM.encode() + b"\0"

# What `asterisk -V` and `asterisk -rx` answer, from and to files in the folder it is in:
# `running` and `loaded` exist or not, `calls` lists channels, `broken` is a module that is not
# loaded, `log` gets each command.
ASTERISK = """\
#!/bin/sh
state=$(dirname "$0")/../state
modules=$(dirname "$0")/../lib/asterisk/modules
[ "$1" = -V ] && { echo "Asterisk 22.10.1+dfsg-1"; exit; }
[ "$1" = -C ] && shift 2
[ -e "$state/running" ] || { echo "Unable to connect to remote asterisk (...)"; exit 1; }
echo "$2" >>"$state/log"
case "$2" in
"core show version") echo "Asterisk $(cat "$state/running") built by nobody";;
"core show settings") echo "  Module directory:            $(cd "$modules" && pwd)";;
"core show channels concise") cat "$state/calls";;
"module unload "*) rm -f "$state/loaded";;
"module load "*)
    cmp -s "$modules/chan_websocket.so" "$state/broken" ||
        cp "$modules/chan_websocket.so" "$state/loaded";;
"module show like "*)
    [ -e "$state/loaded" ] && echo "chan_websocket.so  Media over Websockets  0  Running  core";;
"websocket show playback")
    grep -qs MARK_PLAYED "$state/loaded" || echo "No such command 'websocket show playback'";;
esac
true
"""


class Machine:
    """An installation with a stock module, which is loaded and running unless told otherwise."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.state = prefix / "state"
        self.modules = prefix / "lib/asterisk/modules"
        for folder in ("sbin", "state", "lib/asterisk/modules", "include/asterisk"):
            (prefix / folder).mkdir(parents=True)
        (prefix / "sbin/asterisk").write_text(ASTERISK)
        (prefix / "sbin/asterisk").chmod(0o755)
        (self.modules / MODULE).write_bytes(STOCK)
        (self.state / "running").write_text("22.10.1+dfsg-1")
        (self.state / "loaded").write_bytes(STOCK)
        self.calls("")
        self.options(SUM)

    def calls(self, names: str) -> None:
        lines = [f"{name}!context!1!Up!Dial" for name in names.split()]
        new = self.state / "calls.new"
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.state / "calls")

    def options(self, sum_: str) -> None:
        (self.prefix / "include/asterisk/buildopts.h").write_text(
            f'#define AST_BUILDOPT_SUM "{sum_}"\n'
        )

    def installed(self) -> Installed:
        return installed_asterisk.find_installed(self.prefix, None)

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.modules.iterdir()}

    def loaded(self) -> bytes:
        return (self.state / "loaded").read_bytes()

    def commands(self) -> list[str]:
        log = self.state / "log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "opt")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A module as make module would have built it."""
    made = tmp_path / MODULE
    made.write_bytes(PATCHED)
    return made


@pytest.mark.parametrize(
    ("version", "release"),
    [
        ("22.10.1", "22.10.1"),
        ("22.10.1+dfsg+~cs6.17.60671434-1", "22.10.1"),
        ("1.8", "1.8"),
        ("23.5.0-rc1", "23.5.0-rc1"),
        ("23.5.0~rc1+dfsg-1", "23.5.0-rc1"),
        ("certified-22.8-cert1", "certified-22.8-cert1"),
        ("certified/22.8-cert1", "certified-22.8-cert1"),
    ],
)
def test_the_release_in_a_version(version: str, release: str) -> None:
    assert installed_asterisk.release_of(version) == release


def test_a_version_of_something_else() -> None:
    with pytest.raises(InputFault):
        installed_asterisk.release_of("GIT-master-1234")


def test_what_is_installed(machine: Machine) -> None:
    installed = machine.installed()
    assert installed.release == "22.10.1"
    assert installed.modules == machine.modules
    assert installed_asterisk.find_headers(installed) == machine.prefix / "include"


def test_the_modules_of_one_that_is_not_running(machine: Machine) -> None:
    (machine.state / "running").unlink()
    assert machine.installed().modules == machine.modules
    elsewhere = machine.prefix / "elsewhere"
    (machine.prefix / "etc/asterisk").mkdir(parents=True)
    (machine.prefix / "etc/asterisk/asterisk.conf").write_text(
        f"[directories](!)\n;astmoddir => /no\nastmoddir => {elsewhere} ; here\n"
    )
    assert machine.installed().modules == elsewhere


def test_the_modules_are_never_those_of_another_asterisk(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The distribution's asterisk.conf speaks of the one below /usr."""
    distributions = tmp_path / "asterisk.conf"
    distributions.write_text(f"astmoddir => {tmp_path}/distributions\n")
    monkeypatch.setattr(installed_asterisk, "DISTRIBUTIONS_CONFIGURATION", distributions)
    (machine.state / "running").unlink()
    assert machine.installed().modules == machine.modules
    (machine.modules / MODULE).unlink()
    with pytest.raises(InputFault, match=r"the modules of .* cannot be found"):
        machine.installed()
    installed = Installed(Path("/usr/sbin/asterisk"), None, "22.10.1", "22.10.1", Path())
    assert installed_asterisk._configurations(installed)[-1] == distributions


def test_nothing_is_installed(tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="there is no"):
        installed_asterisk.find_installed(tmp_path, None)


def test_no_headers(machine: Machine) -> None:
    (machine.prefix / "include/asterisk/buildopts.h").unlink()
    with pytest.raises(EnvironmentFault) as fault:
        installed_asterisk.find_headers(machine.installed())
    assert "asterisk-dev" in fault.value.remedy
    assert "make install-headers" in fault.value.remedy


def test_headers_of_another_build(machine: Machine) -> None:
    machine.options(OTHER_SUM)
    with pytest.raises(EnvironmentFault, match=f"{OTHER_SUM}, the installed .* has {SUM}"):
        installed_asterisk.find_headers(machine.installed())


def test_the_source_of_another_release(machine: Machine, tmp_path: Path) -> None:
    """Nothing is compiled, nothing is left that could be installed."""
    source = tmp_path / "source"
    (source / "channels").mkdir(parents=True)
    (source / "channels/chan_websocket.c").write_text("int x;\n")
    (source / ".version").write_text("22.9.0\n")
    place = tmp_path / "place"
    with pytest.raises(InputFault, match=r"is Asterisk 22\.9\.0, but installed is 22\.10\.1"):
        dropin.build(
            Path(__file__).parents[2], place, machine.installed(), source, force=True, say=print
        )
    with pytest.raises(InputFault, match="no module has been built"):
        dropin.load_built(place, machine.installed())


def test_a_place_of_another_user_is_told_by_its_cause(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by what comes of it, that the folder is still there."""
    place = tmp_path / "place"
    (place / "source").mkdir(parents=True)

    def denied(path: Path, *arguments: object, **named: object) -> None:
        if not (arguments or named):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(shutil, "rmtree", denied)
    root = Path(__file__).parents[2]
    with pytest.raises(PermissionError):
        dropin.build(root, place, machine.installed(), None, force=True, say=print)


# --- the exchange ---------------------------------------------------------------------------------


def test_there_and_back(machine: Machine, made: Path) -> None:
    said: list[str] = []
    module_exchange.install(machine.installed(), made, said.append)
    assert machine.files() == {MODULE: PATCHED, KEPT: STOCK}
    assert machine.loaded() == PATCHED
    assert said[0] == "the running Asterisk has loaded it: playback marks"
    module_exchange.uninstall(machine.installed(), said.append)
    assert machine.files() == {MODULE: STOCK}
    assert machine.loaded() == STOCK


def test_twice_is_as_good_as_once(machine: Machine, made: Path) -> None:
    """Nothing is unloaded for nothing."""
    said: list[str] = []
    module_exchange.install(machine.installed(), made, print)
    unloaded = machine.commands().count(f"module unload {MODULE}")
    module_exchange.install(machine.installed(), made, said.append)
    assert said == [f"already installed: {machine.modules / MODULE}"]
    assert machine.commands().count(f"module unload {MODULE}") == unloaded == 1
    (machine.state / "running").unlink()
    module_exchange.install(machine.installed(), made, said.append)
    assert said[1:] == said[:1]


def test_a_newer_one_over_an_older_one(machine: Machine, made: Path) -> None:
    """The stock module that is kept stays the stock one."""
    module_exchange.install(machine.installed(), made, print)
    made.write_bytes(PATCHED + b"newer")
    module_exchange.install(machine.installed(), made, print)
    assert machine.files() == {MODULE: PATCHED + b"newer", KEPT: STOCK}
    module_exchange.uninstall(machine.installed(), print)
    assert machine.files() == {MODULE: STOCK}


def test_after_an_upgrade_of_asterisk(machine: Machine, made: Path) -> None:
    """It has put its own module there: an older stock one must not come back."""
    upgraded = STOCK + b"upgraded"
    module_exchange.install(machine.installed(), made, print)
    (machine.modules / MODULE).write_bytes(upgraded)
    module_exchange.install(machine.installed(), made, print)
    assert machine.files() == {MODULE: PATCHED, KEPT: upgraded}
    (machine.modules / MODULE).write_bytes(upgraded)
    module_exchange.uninstall(machine.installed(), print)
    assert machine.files() == {MODULE: upgraded}


def test_the_stock_module_was_deleted(machine: Machine, made: Path) -> None:
    module_exchange.install(machine.installed(), made, print)
    (machine.modules / KEPT).unlink()
    with pytest.raises(InputFault, match="the stock module is not there"):
        module_exchange.uninstall(machine.installed(), print)
    assert machine.loaded() == PATCHED


def test_what_was_not_kept_is_not_said_to_be(machine: Machine, made: Path) -> None:
    """Over a patched module that came without us, or where there was none."""
    (machine.state / "running").unlink()
    (machine.modules / MODULE).write_bytes(PATCHED + b"another")
    said: list[str] = []
    module_exchange.install(machine.installed(), made, said.append)
    assert machine.files() == {MODULE: PATCHED}
    assert said[-1].endswith("; no stock module was here to be kept as chan_websocket.so.orig")


def test_one_that_is_not_running(machine: Machine, made: Path) -> None:
    (machine.state / "running").unlink()
    said: list[str] = []
    module_exchange.install(machine.installed(), made, said.append)
    assert machine.files() == {MODULE: PATCHED, KEPT: STOCK}
    assert said[0] == "Asterisk is not running"


def test_one_that_has_not_loaded_it(machine: Machine, made: Path) -> None:
    """It was told not to: then it is not loaded by us either."""
    (machine.state / "loaded").unlink()
    module_exchange.install(machine.installed(), made, print)
    assert machine.files() == {MODULE: PATCHED, KEPT: STOCK}
    assert not (machine.state / "loaded").exists()


def test_it_waits_for_websocket_calls_only(machine: Machine, made: Path) -> None:
    machine.calls("PJSIP/a-0001 WebSocket/one/0x1 WebSocket/two/0x2")
    said: list[str] = []
    waits = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("waiting for WebSocket/two/"):
            assert machine.files()[MODULE] == STOCK
            assert "module unload chan_websocket.so" not in machine.commands()
            machine.calls("PJSIP/a-0001")
        elif line.startswith("waiting"):
            machine.calls("PJSIP/a-0001 WebSocket/two/0x2")
            waits.set()

    module_exchange.install(machine.installed(), made, say)
    assert waits.is_set()
    assert said[:2] == [
        "waiting for WebSocket/one/0x1, WebSocket/two/0x2 to end; until then Ctrl-C leaves all as"
        " it was",
        "waiting for WebSocket/two/0x2 to end; until then Ctrl-C leaves all as it was",
    ]
    assert machine.loaded() == PATCHED


def test_it_does_not_load(machine: Machine, made: Path) -> None:
    (machine.state / "broken").write_bytes(PATCHED)
    with pytest.raises(EnvironmentFault, match="was put back and runs again"):
        module_exchange.install(machine.installed(), made, print)
    assert machine.files()[MODULE] == STOCK
    assert machine.loaded() == STOCK


def test_another_asterisk_is_running(machine: Machine, made: Path) -> None:
    """Upgraded, but not restarted."""
    (machine.state / "running").write_text("22.9.0+dfsg-1")
    with pytest.raises(InputFault, match="the running Asterisk is another one"):
        module_exchange.install(machine.installed(), made, print)
    assert machine.files() == {MODULE: STOCK}
    assert machine.loaded() == STOCK


def test_other_build_options(machine: Machine, made: Path) -> None:
    made.write_bytes(PATCHED.replace(SUM.encode(), OTHER_SUM.encode()))
    with pytest.raises(InputFault, match="other build options"):
        module_exchange.install(machine.installed(), made, print)
    assert machine.files() == {MODULE: STOCK}


def test_the_debian_package_is_installed(machine: Machine, made: Path) -> None:
    (machine.modules / module_exchange.DIVERTED).write_bytes(STOCK)
    with pytest.raises(InputFault, match="belongs to the Debian package"):
        module_exchange.install(machine.installed(), made, print)
    with pytest.raises(InputFault, match="belongs to the Debian package"):
        module_exchange.uninstall(machine.installed(), print)


def test_the_modules_cannot_be_written(
    machine: Machine, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "copy2", refuse)
    with pytest.raises(EnvironmentFault, match="cannot be written: Permission denied"):
        module_exchange.install(machine.installed(), made, print)
    assert machine.files() == {MODULE: STOCK}


def test_interrupted_while_it_waits(machine: Machine, made: Path) -> None:
    machine.calls("WebSocket/one/0x1")
    program = (
        "import signal, sys; from pathlib import Path;"
        "from harness.install.installed_asterisk import find_installed;"
        "from harness.install.module_exchange import install;"
        # Who started us may have it ignored, as shells do for what runs in the background.
        "signal.signal(signal.SIGINT, signal.default_int_handler);"
        "install(find_installed(Path(sys.argv[1]), None), Path(sys.argv[2]),"
        " lambda line: print(line, flush=True))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(machine.prefix), str(made)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("waiting for WebSocket/one/")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) != 0
        finally:
            process.kill()
    assert machine.files() == {MODULE: STOCK}
    assert machine.loaded() == STOCK


# --- what was built -------------------------------------------------------------------------------


def test_only_what_was_built_for_this_asterisk_is_installed(machine: Machine) -> None:
    place = machine.prefix / "built"
    place.mkdir()
    (place / MODULE).write_bytes(PATCHED)
    (place / "module.json").write_text("{}")
    with pytest.raises(Fault, match="no module has been built"):
        dropin.load_built(place, machine.installed())


def test_flags_keep_the_modules_names_to_itself() -> None:
    """Two modules with functions of the same name must not see each other's."""
    assert "-fvisibility=hidden" in dropin.FLAGS
