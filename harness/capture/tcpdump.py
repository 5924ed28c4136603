"""Captures the loopback interface with tcpdump, with nanosecond time stamps of the kernel.

tcpdump is known to be capturing, and the file to be complete, by probes: UDP datagrams to a port of
our own that is part of the filter. They also measure the uncertainty of its times.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from harness.capture.bulk import read_bulk
from harness.child_process import cpu_seconds
from harness.errors import EnvironmentFault, HarnessFault

_START_TIMEOUT_S = 10.0
_PROBE_TIMEOUT_S = 5.0
_PROBE_INTERVAL_S = 0.2
_KERNEL_BUFFER_KIB = 65536
_ERROR_PROBES = 20
_DISCARD_PORT = 9
_REMEDY = (
    "run as root, or allow tcpdump to capture: setcap cap_net_raw,cap_net_admin=eip "
    "$(command -v tcpdump)"
)


@dataclass(frozen=True)
class CaptureSummary:
    """What is known of a finished capture."""

    path: Path
    packets: int
    """packets tcpdump wrote, our probes among them"""
    dropped: int
    """packets the kernel or the interface dropped"""
    uncertainty_ns: int
    """bound of a time stamp's error, measured with the probes"""


@dataclass(frozen=True)
class _Probe:
    text: bytes
    before_ns: int
    after_ns: int


class Tcpdump:
    """A running capture of the given ports on ``lo``; a context manager.

    Entering returns when packets are really being captured, leaving ends tcpdump.
    """

    def __init__(
        self,
        path: Path,
        udp_ports: Sequence[int],
        tcp_ports: Sequence[int],
        interface: str = "lo",
        bulk: bool = False,
    ) -> None:
        """``bulk`` is for many calls: packets are taken from the kernel a second's worth at a time,
        which costs a fraction, and of UDP only what is sent to the ports is captured."""
        self.path = path
        self._interface = interface
        self._bulk = bulk
        self._udp_ports = tuple(udp_ports)
        self._tcp_ports = tuple(tcp_ports)
        self._process: subprocess.Popen[bytes] | None = None
        self._probe_socket: socket.socket | None = None
        self._probe_port = 0
        self._probes: list[_Probe] = []
        self._messages = b""
        self._read_until = 0
        self._unsearched = b""
        self._summary: CaptureSummary | None = None

    def __enter__(self) -> Tcpdump:
        try:
            self._start()
        except BaseException:
            self._end_process()
            raise
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end_process()

    def flush(self) -> None:
        """Return when all that was sent before is in the file.

        Raises HarnessFault when a probe does not arrive there.
        """
        # Twice: the first probe can overtake a packet that another processor's queue still holds.
        for _ in range(2):
            self._probe()

    def stop(self) -> CaptureSummary:
        """Flush, end tcpdump and say how good the capture is. May be called again."""
        if self._summary is None:
            self._measure()
            self.flush()
            self._end_process()
            report = self._messages.decode("utf-8", "replace")
            self._summary = CaptureSummary(
                self.path,
                packets=_counter(report, "captured"),
                dropped=_counter(report, "dropped by kernel") + _interface_drops(report),
                uncertainty_ns=self._measure_error(),
            )
        return self._summary

    def _start(self) -> None:
        self._probe_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._probe_socket.bind(("127.0.0.1", 0))
        port = self._probe_port = self._probe_socket.getsockname()[1]
        self._probe_socket.connect(("127.0.0.1", port))
        self._probe_socket.setblocking(False)
        udp = "udp dst port" if self._bulk else "udp port"
        terms = [f"{udp} {number}" for number in (*self._udp_ports, port)]
        terms += [f"tcp port {number}" for number in self._tcp_ports]
        self._process = _spawn(
            self.path, " or ".join(terms), self._interface, immediate=not self._bulk
        )
        self._messages = _wait_until_listening(self._process)
        self._measure()

    @property
    def cpu_seconds(self) -> float:
        """The time of a processor that it has used so far. While it runs."""
        assert self._process is not None, "not running"
        return cpu_seconds(self._process.pid)

    def _measure(self) -> None:
        """Send probes by which `_measure_error` measures."""
        assert self._probe_socket is not None, "not running"
        for _ in range(_ERROR_PROBES - 1):
            if self._bulk:
                self._send_probe(self._probe_socket)
            else:
                self._probe()
        self._probe()

    def _probe(self) -> None:
        """Send a datagram to ourselves and wait until it is in the file."""
        if self._probe_socket is None or self._process is None:
            raise HarnessFault("the capture was flushed though it is not running")
        deadline = time.monotonic() + _PROBE_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise HarnessFault(f"tcpdump ended by itself: {self._read_messages()}")
            text = self._send_probe(self._probe_socket)
            if self._wait_in_file(text, min(deadline, time.monotonic() + _PROBE_INTERVAL_S)):
                return
        raise HarnessFault(
            f"probes to our own port do not reach {self.path} within {_PROBE_TIMEOUT_S:.0f} s",
            f"is its disk full or slow? tcpdump said: {self._messages.decode(errors='replace')}",
        )

    def _send_probe(self, probe_socket: socket.socket) -> bytes:
        text = f"harness-probe-{os.getpid()}-{len(self._probes)};".encode()
        before_ns = time.time_ns()
        probe_socket.send(text)
        self._probes.append(_Probe(text, before_ns, time.time_ns()))
        with contextlib.suppress(BlockingIOError):
            while True:
                probe_socket.recv(len(text))
        return text

    def _wait_in_file(self, text: bytes, deadline: float) -> bool:
        while True:
            with self.path.open("rb") as file:
                file.seek(self._read_until)
                news = file.read()
            self._read_until += len(news)
            searched = self._unsearched + news
            self._unsearched = searched[-len(text) :]
            if text in searched:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.0005)  # between two looks at the file: nothing announces its growth

    def _read_messages(self) -> str:
        if self._process is not None and self._process.stderr is not None:
            self._messages += self._process.stderr.read() or b""
        return self._messages.decode("utf-8", "replace").strip()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # it then writes the rest and its counters
            try:
                _, rest = process.communicate(timeout=_START_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                _, rest = process.communicate()
            self._messages += rest or b""
        if self._probe_socket is not None:
            self._probe_socket.close()
            self._probe_socket = None

    def _measure_error(self) -> int:
        """How far the kernel's stamp of a probe can be from the moment it was sent.

        That moment lies between two readings of the same clock, so a stamp outside of them is
        wrong by at least the excess (the largest one counts), and one between them by at most
        their distance (the median one counts: a reader thrown off the processor between the two
        readings says nothing about the stamp).
        """
        datagrams = read_bulk(self.path).datagrams_to(self._probe_port)
        stamps = {data: time_ns for time_ns, data in datagrams}
        stamped = [(probe, stamps[probe.text]) for probe in self._probes if probe.text in stamps]
        if not stamped:
            raise HarnessFault(f"none of the probes can be read back from {self.path}")
        excess = max(
            max(probe.before_ns - stamp, stamp - probe.after_ns, 0) for probe, stamp in stamped
        )
        return excess + int(
            statistics.median(probe.after_ns - probe.before_ns for probe, _ in stamped)
        )


def capture_possible() -> str | None:
    """None when tcpdump may capture here, otherwise the reason why not."""
    try:
        process = _spawn(Path(os.devnull), f"udp port {_DISCARD_PORT}")
    except EnvironmentFault as fault:
        return fault.what
    try:
        _wait_until_listening(process)
    except EnvironmentFault as fault:
        return fault.what
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate()
    return None


def _spawn(
    path: Path, packet_filter: str, interface: str = "lo", immediate: bool = True
) -> subprocess.Popen[bytes]:
    program = shutil.which("tcpdump") or shutil.which("tcpdump", path="/usr/sbin:/sbin")
    if program is None:
        raise EnvironmentFault("tcpdump is not installed", "install it: apt-get install tcpdump")
    command = [program, "-i", interface, "-n", "-U", "-s", "0"]
    command += ["--immediate-mode"] if immediate else []
    command += ["--time-stamp-precision=nano", "-B", str(_KERNEL_BUFFER_KIB), "-w", str(path)]
    if os.geteuid() == 0:
        # Debian's tcpdump gives up root before it opens the file, and could not write here.
        command += ["-Z", "root"]
    # A session of its own: a Ctrl-C on the terminal must not end the capture before we do.
    return subprocess.Popen(
        [*command, packet_filter],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "LC_ALL": "C"},
    )


def _wait_until_listening(process: subprocess.Popen[bytes]) -> bytes:
    """What tcpdump said until it was listening. Raises EnvironmentFault when it cannot."""
    stderr = process.stderr
    if stderr is None:
        raise HarnessFault("tcpdump was started without a pipe for its messages")
    said = b""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while b"listening on" not in said:
        readable, _, _ = select.select([stderr], [], [], max(0.0, deadline - time.monotonic()))
        news = os.read(stderr.fileno(), 4096) if readable else b""
        if not news:
            reason = said.decode("utf-8", "replace").strip() or "it said nothing"
            raise EnvironmentFault(f"tcpdump cannot capture on lo: {reason}", _REMEDY)
        said += news
    return said


def _counter(report: str, label: str) -> int:
    found = re.search(rf"(\d+) packets? {label}", report)
    if found is None:
        raise HarnessFault(f"tcpdump ended without saying how many packets were {label}: {report}")
    return int(found[1])


def _interface_drops(report: str) -> int:
    # tcpdump only prints this line when there is something to say.
    return _counter(report, "dropped by interface") if "dropped by interface" in report else 0
