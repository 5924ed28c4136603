"""Container images and instances, as far as that goes without a container engine."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.asterisk.container import _removed_for_certain
from harness.errors import EnvironmentFault, InputFault
from harness.install import container_image
from harness.install.container_image import (
    FLAVOURS,
    OFFICIAL_BASE,
    OWN_BASE,
    Engine,
    NoContainers,
    build_image,
    find_engine,
)

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0

MakeEngine = Callable[[str, str], Path]
"""Name and shell script of an engine; where it writes down how it is called"""


@pytest.fixture
def make_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeEngine:
    """Puts shell scripts in the place of docker and podman."""
    place = tmp_path / "bin"
    place.mkdir()
    for tool in ("cat", "setpriv", "sh", "sleep"):
        (place / tool).symlink_to(f"/bin/{tool}")
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.delenv("CONTAINER_ENGINE", raising=False)

    def make(name: str, script: str) -> Path:
        calls = tmp_path / f"{name}.calls"
        engine = place / name
        engine.write_text(f'#!/bin/sh\necho "$*" >> {calls}\n{script}\n')
        engine.chmod(0o755)
        return calls

    return make


def test_a_packaged_container_has_its_own_release() -> None:
    with pytest.raises(InputFault, match="the distribution's own release"):
        build_image("packaged", ROOT, release="22.10.1")


def test_no_engine_at_all_is_said_with_what_to_do(make_engine: MakeEngine) -> None:
    with pytest.raises(
        NoContainers, match=r"no docker; there is no podman.*\n.*ci/engine.sh start"
    ):
        find_engine()


def test_an_engine_that_does_not_answer_is_passed_over(make_engine: MakeEngine) -> None:
    make_engine("docker", "echo 'cannot connect to the daemon' >&2; exit 1")
    with pytest.raises(NoContainers, match="cannot connect to the daemon; there is no podman"):
        find_engine()
    make_engine("podman", "exit 0")
    assert find_engine() == Engine("podman")


def test_the_engine_can_be_named(make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    make_engine("docker", "exit 0")
    make_engine("podman", "exit 0")
    assert find_engine() == Engine("docker")
    monkeypatch.setenv("CONTAINER_ENGINE", "podman")
    assert find_engine() == Engine("podman")


def test_what_an_engine_said_last_is_in_the_fault(make_engine: MakeEngine) -> None:
    make_engine("docker", "echo first; echo last >&2; exit 7")
    with pytest.raises(EnvironmentFault, match=r"docker rmi x failed: last$"):
        Engine("docker").run("rmi", "x")


def test_a_flavour_that_is_none_is_refused_before_anything_is_asked(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    calls = make_engine("docker", "exit 0")
    with pytest.raises(InputFault, match="Use packaged or source"):
        build_image("alpine", tmp_path)
    assert not calls.exists()


# ---- the base ------------------------------------------------------------------------------------


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize("here", [OFFICIAL_BASE, OWN_BASE])
def test_a_base_that_is_here_is_not_pulled(make_engine: MakeEngine, here: str) -> None:
    calls = make_engine("docker", f'[ "$5" = {here} ] && echo sha256:1')
    assert container_image._base_image(Engine("docker"), False, quiet) == here
    assert "pull" not in calls.read_text()


def test_the_official_base_is_pulled_where_there_is_a_registry(make_engine: MakeEngine) -> None:
    make_engine("docker", '[ "$1" = pull ] && echo "sid: Pulling from library/debian"')
    assert container_image._base_image(Engine("docker"), False, quiet) == OFFICIAL_BASE


def test_a_registry_that_is_silent_is_not_waited_for(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container_image, "_REGISTRY_ANSWER_S", 0.05)
    make_engine("docker", f"exec sleep {10 * DEADLINE_S}")
    started = time.monotonic()
    assert container_image._pull(Engine("docker"), "x") == "the registry does not answer"
    assert time.monotonic() - started < DEADLINE_S


def test_without_registry_and_mirror_there_are_no_containers(
    make_engine: MakeEngine,
) -> None:
    make_engine("docker", "echo 'no such host' >&2; exit 1")
    said: list[str] = []
    with pytest.raises(NoContainers, match="nothing to make one with"):
        container_image._base_image(Engine("docker"), False, said.append)
    assert "no such host" in said[-1]


# ---- what an image is made of --------------------------------------------------------------------


def test_the_key_follows_what_is_built_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "patches").mkdir()
    (tmp_path / "downloads").mkdir()
    for name in ("Dockerfile", "patches/0001.patch", "source.key", "asterisk.tar", "downloads/x"):
        (tmp_path / name).write_text(name)
    key = container_image._key("base", tmp_path)
    assert re.fullmatch("[0-9a-f]{12}", key)
    # What is big is told by source.key.
    for name in ("asterisk.tar", "downloads/x"):
        (tmp_path / name).write_text("packed at another time")
        assert container_image._key("base", tmp_path) == key
    assert container_image._key("another base", tmp_path) != key
    for name in ("Dockerfile", "patches/0001.patch", "source.key"):
        (tmp_path / name).write_text("changed")
        assert container_image._key("base", tmp_path) != key
        (tmp_path / name).write_text(name)


def test_the_packaged_flavour_is_given_all_its_tool_imports(tmp_path: Path) -> None:
    container_image._packaged_context(ROOT, tmp_path / "context")
    # Isolated, so that the harness that is installed is not found instead.
    script = "import sys; sys.path.insert(0, '.'); import harness.install.module"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], cwd=tmp_path / "context", check=True)


def test_both_flavours_are_run_alike() -> None:
    parts = []
    for flavour in FLAVOURS:
        text = (ROOT / f"containers/{flavour}.Dockerfile").read_text().replace(f"({flavour})", "")
        parts.append(sorted(re.findall(r"LABEL.*\n.*\n|# How it(?s:.*)\nENTRY.*", text)))
    assert parts[0] == parts[1]
    assert len(parts[0]) == 2


# ---- its end -------------------------------------------------------------------------------------


def test_a_container_is_removed_on_leaving(make_engine: MakeEngine) -> None:
    calls = make_engine("docker", "exit 0")
    with pytest.raises(KeyboardInterrupt), _removed_for_certain(Engine("docker"), "name"):
        raise KeyboardInterrupt
    assert calls.read_text() == "rm --force name\n"


def test_a_container_is_removed_when_the_harness_is_killed(make_engine: MakeEngine) -> None:
    calls = make_engine("docker", "exit 0")
    script = (
        "import signal\n"
        "from harness.asterisk.container import _removed_for_certain\n"
        "from harness.install.container_image import Engine\n"
        "with _removed_for_certain(Engine('docker'), 'name'):\n"
        "    print('inside', flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"inside\n"
        os.kill(harness.pid, signal.SIGKILL)
    deadline = time.monotonic() + DEADLINE_S
    while not calls.exists() or not calls.read_text().startswith("rm --force name\n"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
