"""A running Asterisk of the harness's own, as a process of this machine."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.asterisk.configuration import Extension
from harness.asterisk.console import Console
from harness.asterisk.own_asterisk import OwnAsterisk
from harness.asterisk.process import AsteriskProcess
from harness.errors import HarnessFault
from harness.install.build import Build
from harness.install.driver_revision import MODULE

CALLS_END_TIMEOUT_S = 2.0
"""for calls that have been hung up to be gone from Asterisk"""


class Instance(OwnAsterisk):
    """The Asterisk that `harness.install.build` built, as a process of this machine."""

    def __init__(
        self,
        build: Build,
        folder: Path,
        extensions: Sequence[Extension] = (),
        module: Path | None = None,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        tls: bool = False,
        real_time: bool = True,
    ) -> None:
        """``module`` is the chan_websocket.so to begin with, by default the build's patched one;
        ``environment`` is added to this process's own for Asterisk.

        For the others see `OwnAsterisk`.
        """
        folder = folder.resolve()
        process = AsteriskProcess(build.version, folder, environment)
        super().__init__(process, folder, extensions, arguments, tls, real_time)
        self._build = build
        self._module = module or build.patched_module
        self._modules = self.folder / "modules"

    def use_module(self, module: Path) -> None:
        # The driver does not count its channels as users of the module: Asterisk would unload it
        # under a call, and crash.
        self._wait_for_no_call()
        self.console.run(f"module unload {MODULE}")
        if mapped := self._mapped_modules():
            raise HarnessFault(
                f"{MODULE} is still mapped ({', '.join(mapped)}) after it was unloaded",
                f"Asterisk may have refused to: see {self.log}.",
            )
        self._install_module(module)
        self.console.run(f"module load {MODULE}")
        self.check_modules([MODULE])

    def _modules_and_data(self) -> tuple[Path | None, Path | None]:
        return self._modules, self._build.data_dir

    def _make_console(self, control_socket: Path) -> Console:
        asterisk = [str(self._build.binary), "-C", str(self._asterisk_conf)]
        return Console(asterisk, control_socket)

    def _prepare(self) -> None:
        self._modules.mkdir(parents=True, exist_ok=True)
        self._link_modules()
        self._install_module(self._module)

    def _command(self) -> list[str]:
        return [
            str(self._build.binary),
            "-f",  # in the foreground
            "-g",  # dump core on a crash
            *("-C", str(self._asterisk_conf)),
            *self._arguments,
        ]

    def _wait_for_no_call(self) -> None:
        deadline = time.monotonic() + CALLS_END_TIMEOUT_S
        while "WebSocket/" in (channels := self.console.run("core show channels concise")):
            if time.monotonic() > deadline:
                raise HarnessFault(
                    f"calls are still up after {CALLS_END_TIMEOUT_S:g} s, and use {MODULE}",
                    f"End them first: {channels}",
                )

    def _link_modules(self) -> None:
        """Fill the instance's own module folder with links, so that one module can be exchanged."""
        for module in self._build.module_dir.glob("*.so"):
            link = self._modules / module.name
            if module.name != MODULE and not link.is_symlink():
                link.symlink_to(module)

    def _install_module(self, module: Path) -> None:
        # By rename, never written over: a running process may have the old file mapped.
        copy = self._modules / f"{MODULE}.new"
        shutil.copyfile(module, copy)
        copy.rename(self._modules / MODULE)

    def _mapped_modules(self) -> list[str]:
        """The variants of chan_websocket.so that the process has mapped, as the kernel has it."""
        maps = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        return sorted({line.split(maxsplit=5)[5] for line in maps if MODULE in line})
