"""A running Asterisk of the harness's own in a container.

It shares this machine's network, so that calls, captures and addresses are as of a native instance,
and several at once differ by their loopback addresses. The harness's folders are mounted at their
own paths, and the configuration at /etc/asterisk as well, where the image's health check looks.

The engine's client runs in the foreground and ends with Asterisk's exit code. When the client is
killed the container stays. So a second process waits for the harness to end, in whichever way, and
then removes the container.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.asterisk.configuration import Extension
from harness.asterisk.console import Console
from harness.asterisk.own_asterisk import OwnAsterisk
from harness.asterisk.process import AsteriskProcess
from harness.errors import EnvironmentFault, InputFault
from harness.install.container_image import Engine, Image

LABEL = "playback-marks.harness"
"""every container started here has it; its value is the number of the harness's process"""
IMAGE_USER = 5060
"""the user and group that the images run as"""

_ENGINE_ANSWER_S = 30.0
# Its standard input ends when the harness does. The engine may be about to make the container, so
# it is asked again.
_REMOVE_AFTER_US = """
cat > /dev/null
for attempt in 1 2 3 4 5; do
    "$1" rm --force "$2"
    sleep 1
done
"""


class _EngineClient(AsteriskProcess):
    """The engine's client, which runs as long as the container of this name."""

    def __init__(self, image: Image, name: str, folder: Path) -> None:
        super().__init__(image.version, folder, None)
        self._engine = image.engine
        self._name = name

    def ended_by(self, code: int) -> signal.Signals | None:
        # The engine's client exits with 128 and the signal, as a shell does.
        return next((one for one in signal.Signals if one == code - 128), None)

    def kill(self) -> None:
        # Killing the client would leave the container.
        with suppress(EnvironmentFault):
            self._engine.run("kill", self._name, timeout_s=_ENGINE_ANSWER_S)


class ContainerInstance(OwnAsterisk):
    """An Asterisk in a container of ``image``, which has its one chan_websocket.so in it."""

    def __init__(
        self,
        image: Image,
        folder: Path,
        extensions: Sequence[Extension] = (),
        arguments: Sequence[str] = (),
        tls: bool = False,
    ) -> None:
        """For all but ``image`` see `OwnAsterisk`."""
        self._image = image
        self.name = f"playback-marks-{secrets.token_hex(4)}"
        """the container's"""
        folder = folder.resolve()
        process = _EngineClient(image, self.name, folder)
        super().__init__(process, folder, extensions, arguments, tls)

    @property
    def pid(self) -> int:
        return int(self._inspect("{{.State.Pid}}"))

    @property
    def health(self) -> str:
        """What the engine's health check says: starting, healthy or unhealthy."""
        return self._inspect("{{.State.Health.Status}}")

    def use_module(self, module: Path) -> None:
        raise InputFault(
            f"the module of a container cannot be exchanged for {module}: it has but its own",
            "Compare modules on a native instance.",
        )

    def _inspect(self, what: str) -> str:
        engine = self._image.engine
        return engine.run("inspect", "--format", what, self.name, timeout_s=_ENGINE_ANSWER_S)

    # --- See OwnAsterisk ---

    def _modules_and_data(self) -> tuple[Path | None, Path | None]:
        return None, None

    @property
    def _mounted(self) -> list[Path]:
        d = self.directories
        return [d.configuration, d.state, d.log, d.run]

    def _make_console(self, control_socket: Path) -> Console:
        # With a terminal, as the console of a native instance has one, and for whoever attaches.
        command = [self._image.engine.name, "exec", "-it", self.name, "asterisk"]
        return Console(command, control_socket, environment=os.environ)

    def _prepare(self) -> None:
        if os.geteuid() == 0:
            # Asterisk is the image's user in there; root's files would be closed to it.
            for folder in self._mounted:
                for path in (folder, *folder.rglob("*")):
                    os.chown(path, IMAGE_USER, IMAGE_USER, follow_symlinks=False)
        self._resources.enter_context(_removed_for_certain(self._image.engine, self.name))

    def _command(self) -> list[str]:
        mounts = [f"{folder}:{folder}" for folder in self._mounted]
        mounts.append(f"{self.directories.configuration}:/etc/asterisk:ro")
        return [
            *(self._image.engine.name, "run", "--rm", "--name", self.name),
            *("--label", f"{LABEL}={os.getpid()}"),
            *("--network", "host"),
            # Where SELinux is in force, mounted folders of the user's would be closed to it.
            *("--security-opt", "label=disable"),
            *_user_options(self._image.engine),
            *(word for mount in mounts for word in ("--volume", mount)),
            self._image.name,
            *self._arguments,
        ]


def _user_options(engine: Engine) -> list[str]:
    """Options of `run` by which Asterisk can read and write what belongs to this user."""
    if os.geteuid() == 0:
        return []  # it is the image's user, to which the folders have been given
    options = ["--user", f"{os.getuid()}:{os.getgid()}"]
    if engine.name == "podman":
        options += ["--userns", "keep-id"]
    return options


@contextmanager
def _removed_for_certain(engine: Engine, name: str) -> Iterator[None]:
    """Remove the container ``name`` on leaving, or when the harness ends without that."""
    client = shutil.which(engine.name) or engine.name
    watcher = subprocess.Popen(
        ["/bin/sh", "-c", _REMOVE_AFTER_US, "sh", client, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the harness alone
    )
    try:
        yield
    finally:
        try:
            # It is gone when Asterisk ended as it should, and then there is nothing to remove.
            with suppress(EnvironmentFault):
                engine.run("rm", "--force", name, timeout_s=_ENGINE_ANSWER_S)
        finally:
            watcher.kill()
            watcher.wait()
            assert watcher.stdin is not None
            watcher.stdin.close()
