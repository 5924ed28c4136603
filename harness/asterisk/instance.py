"""A running Asterisk of the harness's own: started, looked after, and stopped for certain.

It shares nothing with another Asterisk of the machine, or with another run of the harness:

* Each instance has a loopback address of its own (all of 127.0.0.0/8 is loopback on Linux), on
  which it listens for SIP, HTTP and RTP. So no port of two instances can collide, and a packet
  capture of ``host <address>`` holds one instance's traffic and nobody else's. The address is
  reserved by an abstract unix socket of that name, which the kernel gives back when the harness
  ends in whichever way.
* The SIP and HTTP ports are asked from the kernel on that address. Only a socket bound to *all*
  addresses could take one in between: then another start is made with new ports. For RTP,
  Asterisk itself tries port after port until one can be bound.
* Configuration, logs and state are in the folder given, and the control socket in a temporary one.

The process is a session of its own, so that Ctrl-C reaches the harness alone, which then stops it;
the kernel kills it if the harness ends without having been able to.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from harness.asterisk.configuration import (
    CONNECTION_VARIABLE,
    Directories,
    Extension,
    Network,
    configuration_files,
    extensions_conf,
    websocket_client_conf,
)
from harness.asterisk.console import Console, NotAnswered
from harness.certificates import Certificates
from harness.child_process import die_with_parent, stopping_waits
from harness.errors import EnvironmentFault, HarnessFault, ProductFault
from harness.install.build import Build
from harness.install.module import MODULE

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.10's typing has none

BOOT_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 5.0
"""for each of: stopping when asked, SIGTERM, SIGKILL"""
CONNECTION_TIMEOUT_S = 5.0
CALLS_END_TIMEOUT_S = 2.0
"""for calls that have been hung up to be gone from Asterisk"""

APPLICATION_HOST = "127.0.0.1"
"""where applications of an own Asterisk listen"""

_REQUIRED_MODULES = (
    MODULE,
    "app_dial.so",
    "bridge_simple.so",
    "chan_pjsip.so",
    "func_channel.so",
    "func_global.so",
    "pbx_config.so",
    "res_pjsip_endpoint_identifier_ip.so",
    "res_pjsip_sdp_rtp.so",
    "res_pjsip_session.so",
    "res_rtp_asterisk.so",
    "res_timing_timerfd.so",
    "res_websocket_client.so",
)
_START_ATTEMPTS = 3
_CRASHES = frozenset(
    {
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGILL,
        signal.SIGSEGV,
        signal.SIGSYS,
        signal.SIGTRAP,
    }
)
# The longest name a unix socket can have on Linux (sun_path less its final zero).
_SOCKET_NAME_MAX = 107


class AsteriskCrashed(ProductFault):
    """Asterisk ended by a signal that a program gives to itself by what it does wrong."""

    kind = "Asterisk crashed"


class AsteriskHangs(ProductFault):
    """Asterisk runs, and its console is silent: a deadlock, or somebody has stopped it."""

    kind = "Asterisk hangs"


class AsteriskEnded(HarnessFault):
    """Asterisk ended, by itself or by somebody's signal. Why, its log must say."""

    kind = "Asterisk ended"


class _PortTaken(Exception):
    """Somebody bound a port between our asking for it and Asterisk's binding it."""


class OwnAsterisk(ABC):
    """What the harness's own Asterisks have in common, a process of this machine or a container.

    A context manager: entering starts it, leaving stops it. Enter it in the main thread: the kernel
    ties its life to the thread that started it.
    """

    def __init__(
        self,
        folder: Path,
        extensions: Sequence[Extension] = (),
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        tls: bool = False,
    ) -> None:
        """With ``tls`` media connections to Asterisk are made over TLS, and those of Asterisk to an
        application at wss://127.0.0.1 verify it, with `certificates`.

        ``arguments`` go to Asterisk: ``-ddd`` for debug messages, which cost time, so that a
        measurement should do without. ``environment`` is added to this process's own for it.
        """
        self.folder = folder.resolve()
        self._extensions = extensions
        self._arguments = arguments
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._resources = ExitStack()
        self._tls = tls
        self.ari_password = secrets.token_hex(16)

    # Set by __enter__.
    network: Network
    console: Console
    certificates: Certificates | None = None
    """with TLS: Asterisk's, by the instance's address, and the application's, by 127.0.0.1"""

    @property
    @abstractmethod
    def version(self) -> str:
        """Of Asterisk, such as 22.10.1."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """Of the Asterisk process, as this machine numbers it."""

    @abstractmethod
    def use_module(self, module: Path) -> None:
        """Exchange chan_websocket.so for another variant of it, once no call uses it any more.

        Done without a restart, so that everything else of a comparison stays the same process.
        """

    # What a kind of Asterisk does in its own way, in the order in which it is called.

    @abstractmethod
    def _modules_and_data(self) -> tuple[Path | None, Path | None]:
        """Its folders of modules and of data; None for where this Asterisk looks by itself."""

    @abstractmethod
    def _make_console(self, control_socket: Path) -> Console:
        """The way to its console."""

    @abstractmethod
    def _prepare(self) -> None:
        """What there is to do when its folders and files are written, but those of the network."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Runs Asterisk in the foreground; ends when it does, with its exit code."""

    def _ended_by(self, code: int) -> signal.Signals | None:
        """The signal that ended Asterisk, if one did, by the exit code of `_command`."""
        return signal.Signals(-code) if code < 0 else None

    def _kill(self) -> None:
        """End it without asking."""
        assert self._process is not None, "not started"
        self._process.kill()

    @property
    def log(self) -> Path:
        """Asterisk's log file."""
        return self.folder / "log" / "asterisk.log"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            # Whatever else failed: when Asterisk is gone, that is the reason to name. Not instead
            # of Ctrl-C, though.
            if error is None or isinstance(error, Exception):
                self.check_alive()
        finally:
            self.stop()

    # --- What can be done with a running one ---

    def use_application(self, uri: str) -> None:
        """Have calls with an outgoing connection connect to ``uri`` from now on."""
        ca = str(self.certificates.ca) if self.certificates else ""
        self._write("websocket_client.conf", websocket_client_conf(uri, ca))
        self.console.run("module reload res_websocket_client.so")

    def use_extensions(self, extensions: Sequence[Extension]) -> None:
        """Replace the dialplan's extensions."""
        self._write("extensions.conf", extensions_conf(extensions))
        self.console.run("dialplan reload")

    def connection_uri(self, call_id: str, timeout_s: float = CONNECTION_TIMEOUT_S) -> str:
        """Where the application is to connect for the SIP call ``call_id``, once it is dialled.

        For extensions with an incoming connection. Blocks: use a thread beside an event loop.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            output = self.console.run("dialplan show globals")
            for line in output.splitlines():
                name, _, value = line.strip().partition("=")
                if name == f"{CONNECTION_VARIABLE}_{call_id}":
                    return self.network.media_uri(value)
            self.check_alive()
            if time.monotonic() > deadline:
                raise HarnessFault(
                    f"Asterisk did not wait for a media connection for the call {call_id}"
                    f" within {timeout_s:g} s",
                    f"Is its extension one with an incoming connection? See {self.log}.",
                )

    def check_alive(self, within_s: float = 0.0) -> None:
        """Raise AsteriskCrashed or AsteriskEnded, with the end of the log, if the process is gone.

        It is given ``within_s`` to be gone: its connections end before it does.
        """
        assert self._process is not None, "not started"
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return
        ended_by = self._ended_by(code)
        how = f"was ended by {ended_by.name}" if ended_by else f"exited with {code}"
        cores = ", ".join(str(core) for core in self.folder.glob("core*"))
        kind = AsteriskCrashed if ended_by in _CRASHES else AsteriskEnded
        raise kind(
            f"Asterisk {self.version} (process {self._process.pid}) {how}"
            + (f"; core dump: {cores}" if cores else ""),
            f"The end of its log:{_tail(self.log)}{_tail(self._output)}",
        )

    def check_answers(self) -> None:
        """Raise AsteriskHangs, with the end of the log, if the console does not answer."""
        try:
            channels = self.console.run("core show channels concise").splitlines()
            for name in (line.partition("!")[0] for line in channels):
                # The list is made without locking the channels; this locks one.
                self.console.run(f"core show channel {name}")
        except NotAnswered as silent:
            raise AsteriskHangs(
                f"Asterisk {self.version} (process {self.pid}) runs, but {silent.what}",
                f"The end of its log:{_tail(self.log)}",
            ) from silent
        except HarnessFault:
            pass  # no is an answer, too

    def stop(self) -> None:
        """Stop it, asking first. May be called at any time, and again."""
        try:
            self._end_process()
        finally:
            self._resources.close()

    # --- Starting and stopping ---

    @property
    def _output(self) -> Path:
        """What Asterisk writes to its standard output: what it says before it has a log."""
        return self.folder / "log" / "asterisk-output.log"

    def _start(self) -> None:
        address = self._resources.enter_context(_reserved_address())
        run = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="asterisk-")))
        control_socket = run / "asterisk.ctl"
        if len(str(control_socket)) > _SOCKET_NAME_MAX:
            raise EnvironmentFault(
                f"the temporary directory's path is too long for a unix socket: {control_socket}",
                "Set TMPDIR to a shorter one.",
            )
        modules, data = self._modules_and_data()
        self.directories = Directories(
            configuration=self.folder / "etc",
            state=self.folder / "state",
            run=run,
            log=self.folder / "log",
            modules=modules,
            data=data,
        )
        d = self.directories
        for directory in (d.configuration, d.state / "keys", d.log):
            directory.mkdir(parents=True, exist_ok=True)
        self._write("extensions.conf", extensions_conf(self._extensions))
        # Port 9 (discard) has nobody listening: calls fail clearly until use_application is called.
        self._write("websocket_client.conf", websocket_client_conf(f"ws://{address}:9/"))
        if self._tls:
            self.certificates = Certificates(d.configuration / "tls", [address, APPLICATION_HOST])
        self.console = self._make_console(control_socket)
        self._prepare()
        for _ in range(_START_ATTEMPTS):
            self.network = Network(
                address=address,
                sip_port=_free_port(address, socket.SOCK_DGRAM),
                http_port=_free_port(address, socket.SOCK_STREAM),
                https_port=_free_port(address, socket.SOCK_STREAM) if self._tls else 0,
            )
            try:
                self._boot()
                return
            except _PortTaken as taken:
                reason = taken
                self._end_process()
        raise EnvironmentFault(
            f"Asterisk could not bind its ports on {address} in {_START_ATTEMPTS} attempts:"
            f" {reason}",
            f"See {self.log}.",
        )

    def _boot(self) -> None:
        certificates = self.certificates
        files = configuration_files(
            self.directories,
            self.network,
            self.ari_password,
            certificate=certificates.certificate(self.network.address) if certificates else None,
        )
        for name, text in files.items():
            self._write(name, text)
        with self._output.open("ab") as output, stopping_waits():
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        self.console.wait_fully_booted(self.check_alive, BOOT_TIMEOUT_S)
        self._check_modules(_REQUIRED_MODULES)
        self._check_ports()

    def _wait_for_no_call(self) -> None:
        deadline = time.monotonic() + CALLS_END_TIMEOUT_S
        while "WebSocket/" in (channels := self.console.run("core show channels concise")):
            if time.monotonic() > deadline:
                raise HarnessFault(
                    f"calls are still up after {CALLS_END_TIMEOUT_S:g} s, and use {MODULE}",
                    f"End them first: {channels}",
                )

    def _end_process(self) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return

        def ask() -> None:
            # It may be hung, or not listen yet: the next step is harder.
            with suppress(HarnessFault):
                self.console.run("core stop now", STOP_TIMEOUT_S)

        for step in (ask, process.terminate, self._kill):
            step()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
            if step is ask and process.returncode != 0:
                self.check_alive()  # a crash on the way out is a crash, too
            return
        raise HarnessFault(
            f"Asterisk (process {process.pid}) could not be ended", "Even SIGKILL did not end it."
        )

    def _check_ports(self) -> None:
        """Raise _PortTaken if SIP or HTTP is not where it was told to be."""
        sip = f"{self.network.address}:{self.network.sip_port}"
        http = self.network.http_authority
        if sip not in self.console.run("pjsip show transports"):
            raise _PortTaken(f"SIP is not on {sip}")
        status = self.console.run("http show status")
        if http not in status:
            raise _PortTaken(f"HTTP is not on {http}")
        https = f"{self.network.address}:{self.network.https_port}"
        if self._tls and https not in status:
            raise _PortTaken(f"HTTPS is not on {https}")

    # --- Files ---

    @property
    def _asterisk_conf(self) -> Path:
        return self.directories.configuration / "asterisk.conf"

    def _write(self, name: str, text: str) -> None:
        (self.directories.configuration / name).write_text(text)

    def _check_modules(self, names: Sequence[str]) -> None:
        running = self.console.running_modules()
        if missing := [name for name in names if name not in running]:
            raise HarnessFault(
                f"modules of Asterisk are not running: {', '.join(missing)}",
                f"Were they built? The end of the log:{_tail(self.log)}",
            )


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
    ) -> None:
        """``module`` is the chan_websocket.so to begin with, by default the build's patched one.

        For the others see `OwnAsterisk`.
        """
        super().__init__(folder, extensions, arguments, environment, tls)
        self._build = build
        self._module = module or build.patched_module
        self._modules = self.folder / "modules"

    @property
    def version(self) -> str:
        return self._build.version

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

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
        self._check_modules([MODULE])

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
            # With real-time priority, which takes root, other programs cannot make it late: the
            # ruler is stiffer. What it does late then is its own doing.
            *(["-p"] if os.geteuid() == 0 else []),
            *("-C", str(self._asterisk_conf)),
            *self._arguments,
        ]

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
        """The variants of chan_websocket.so that the process has mapped, by its own account."""
        maps = Path(f"/proc/{self.pid}/maps").read_text().splitlines()
        return sorted({line.split(maxsplit=5)[5] for line in maps if MODULE in line})


@contextmanager
def _reserved_address() -> Iterator[str]:
    """A loopback address that no other run of the harness has, for as long as the context lasts."""
    while True:
        # Not 127.0.x.x: machines have services of their own there, such as 127.0.0.53.
        address = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])
        reservation = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        with reservation:
            try:
                # The leading zero makes the name abstract: no file, and gone with the process.
                reservation.bind(f"\0playback-marks-harness/{address}")
            except OSError:
                continue
            yield address
            return


def _free_port(address: str, kind: socket.SocketKind) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise EnvironmentFault(
                f"cannot bind a port on the loopback address {address}: {error}",
                "The harness needs the whole of 127.0.0.0/8, as the loopback interface has it"
                " on Linux by default.",
            ) from error
        port: int = probe.getsockname()[1]
        return port


def _tail(log: Path, lines: int = 15) -> str:
    if not log.exists():
        return ""
    last = log.read_text(errors="backslashreplace").splitlines()[-lines:]
    return "".join(f"\n    {line}" for line in last)
