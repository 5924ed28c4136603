"""A running Asterisk of the harness's own: started, looked after, and stopped for certain.

It shares nothing with another Asterisk of the machine, or with another run of the harness:

* Each instance has a loopback address of its own (all of 127.0.0.0/8 is loopback on Linux), on
  which it listens for SIP, HTTP and RTP. So no port of two instances can collide, and a packet
  capture of ``host <address>`` holds one instance's traffic and nobody else's. The address is
  reserved by an abstract unix socket of that name, which the kernel gives back when the harness
  ends in whichever way.
* The SIP and HTTP ports are chosen by the kernel on that address. Only a socket bound to *all*
  addresses could take one in between: then another start is made with new ports. For RTP,
  Asterisk itself tries port after port until one can be bound.
* Configuration, logs and state are in the folder given, and the control socket in a temporary one.

`Instance` runs on this machine, `ContainerInstance` in a container.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from harness.asterisk.addresses import free_port, reserved_address
from harness.asterisk.configuration import (
    CALLEE_VARIABLE,
    CONNECTION_VARIABLE,
    MUSIC_FOLDER,
    TONE_VARIABLE,
    Directories,
    Extension,
    Network,
    configuration_files,
    extensions_conf,
    websocket_client_conf,
)
from harness.asterisk.console import Console, NotAnswered
from harness.asterisk.process import (
    STOP_TIMEOUT_S,
    AsteriskHangs,
    AsteriskProcess,
    log_tail,
)
from harness.certificates import Certificates
from harness.child_process import cpu_seconds
from harness.errors import EnvironmentFault, HarnessFault
from harness.install.driver_revision import MODULE
from harness.media.speech import tone

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.10's typing has none

_REAL_TIME_PRIORITY = 10
"""what its option -p gives Asterisk"""
BOOT_TIMEOUT_S = 60.0
CONNECTION_TIMEOUT_S = 5.0

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
_MUSIC_MS = 1000
"""of music on hold, over and over"""
# The longest name a unix socket can have on Linux (sun_path less its final zero).
_SOCKET_NAME_MAX = 107


class _PortTaken(Exception):
    """Somebody bound a port between our asking for it and Asterisk's binding it."""


class OwnAsterisk(ABC):
    """What the harness's own Asterisks have in common, a process of this machine or a container.

    A context manager: entering starts it, leaving stops it. Enter it in the main thread: the kernel
    ties its life to the thread that started it.
    """

    def __init__(
        self,
        process: AsteriskProcess,
        folder: Path,
        extensions: Sequence[Extension] = (),
        arguments: Sequence[str] = (),
        tls: bool = False,
        real_time: bool = True,
    ) -> None:
        """With ``tls`` media connections to Asterisk are made over TLS, and those of Asterisk to an
        application at wss://127.0.0.1 verify it, with `certificates`.

        ``arguments`` go to Asterisk: ``-ddd`` for debug messages, which cost time, so that a
        measurement should do without. Without ``real_time`` it competes with other programs for
        the processors: for load that would starve the rest of the host, of which no time is judged.
        """
        self.process = process
        self.folder = folder
        self._extensions = extensions
        self._arguments = arguments
        self._resources = ExitStack()
        self._tls = tls
        self._real_time = real_time
        self.ari_password = secrets.token_hex(16)

    # Set by __enter__.
    network: Network
    console: Console
    certificates: Certificates | None = None
    """with TLS: Asterisk's, by the instance's address, and the application's, by 127.0.0.1"""

    @property
    def version(self) -> str:
        """Of Asterisk, such as 22.10.1."""
        return self.process.version

    @property
    def pid(self) -> int:
        """Of the Asterisk process, as this machine numbers it."""
        return self.process.pid

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

    @property
    def log(self) -> Path:
        """Asterisk's log file."""
        return self.process.log

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

    def use_callee(self, endpoint: str) -> None:
        """Have extensions that call back dial ``endpoint`` from now on."""
        self.console.run(f"dialplan set global {CALLEE_VARIABLE} {endpoint}")

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

    def cpu_seconds(self) -> float:
        """The time of a processor that it has used so far."""
        return cpu_seconds(self.pid)

    def check_alive(self, within_s: float = 0.0) -> None:
        """See `AsteriskProcess.check_alive`."""
        self.process.check_alive(within_s)

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
                f"The end of its log:{log_tail(self.log)}",
            ) from silent
        except HarnessFault:
            pass  # a refusal is an answer, too

    def stop(self) -> None:
        """Stop it, asking first. May be called at any time, and again."""
        try:
            self._stop_process()
        finally:
            self._resources.close()

    # --- Starting and stopping ---

    def _start(self) -> None:
        address = self._resources.enter_context(reserved_address())
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
        music = d.state / MUSIC_FOLDER
        for directory in (d.configuration, d.state / "keys", d.log, music):
            directory.mkdir(parents=True, exist_ok=True)
        (music / "tone.ulaw").write_bytes(tone(_MUSIC_MS))
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
                sip_port=free_port(address, socket.SOCK_DGRAM),
                http_port=free_port(address, socket.SOCK_STREAM),
                https_port=free_port(address, socket.SOCK_STREAM) if self._tls else 0,
            )
            try:
                self._boot()
                return
            except _PortTaken as taken:
                reason = taken
                self._stop_process()
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
        self.process.start(self._command())
        self.console.wait_fully_booted(self.check_alive, BOOT_TIMEOUT_S)
        self.check_modules(_REQUIRED_MODULES)
        self._check_ports()
        tone = self.directories.state / MUSIC_FOLDER / "tone"
        self.console.run(f"dialplan set global {TONE_VARIABLE} {tone}")
        if self._real_time:
            self._take_real_time_priority()

    def _take_real_time_priority(self) -> None:
        """Other programs cannot make it late then: what it does late is its own doing.

        Not with Asterisk's option -p: one that starts, with all its modules to load, would keep a
        processor from the calls of others for a RR time slice of 100 ms, again and again. From
        outside, for the user in a container has no right to; threads to come inherit it.
        """
        priority = os.sched_param(_REAL_TIME_PRIORITY)
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            with suppress(OSError):  # no right here either, or a thread that has just ended
                os.sched_setscheduler(int(task.name), os.SCHED_RR, priority)

    def _stop_process(self) -> None:
        self.process.stop(lambda: self.console.run("core stop now", STOP_TIMEOUT_S))

    def _check_ports(self) -> None:
        """Raise _PortTaken if SIP or HTTP is not where the configuration has it."""
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

    def check_modules(self, names: Sequence[str]) -> None:
        """Raise HarnessFault if a module of these is not running."""
        running = self.console.running_modules()
        if missing := [name for name in names if name not in running]:
            raise HarnessFault(
                f"modules of Asterisk are not running: {', '.join(missing)}",
                f"Were they built? The end of the log:{log_tail(self.log)}",
            )
