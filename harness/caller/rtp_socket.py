"""The caller's RTP port: receives what Asterisk sends, with the kernel's time stamps, and talks.

It is the sink of every call (so that Asterisk meets no ICMP error), and what measures the RTP where
packets cannot be captured.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.caller.dtls import DtlsCaller
from harness.caller.rtp_sender import RtpSender, RtpTarget
from harness.capture.rtp import parse_rtp, receiver_report
from harness.capture.srtp import rtp_packets
from harness.capture.timeline import ReceptionReport, RtpPacket, ntp_middle
from harness.errors import EnvironmentFault

if TYPE_CHECKING:
    from typing_extensions import Self  # Python 3.10's typing has none

# Linux numbers (asm-generic/socket.h) of options that Python's socket module does not name.
_SO_TIMESTAMPNS = 35
_SO_RXQ_OVFL = 40
_SO_RCVBUFFORCE = 33

_RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024
_LARGEST_DATAGRAM = 65535
_ANCILLARY_BYTES = 256
_PORT_ATTEMPTS = 50
_REPORT_DELAY = 65536 // 10
"""of the caller's reports: since the latest sender report of Asterisk's, in 1/65536 s"""


class RtpPorts:
    """A pair of UDP ports, for RTP and RTCP, that a thread reads until `close`.

    A context manager. ``port`` is even and ``port + 1`` takes the RTCP (RFC 3550, 11). A subclass
    calls `_start` when it is ready.
    """

    def __init__(self, address: str, thread_name: str) -> None:
        self._rtp, self._rtcp = bind_pair(address)
        self.address = address
        self.port: int = self._rtp.getsockname()[1]
        self._datagrams: list[tuple[int, bytes]] = []
        """with RTP in them, and when each came"""
        self._dropped = 0
        self._changed = threading.Condition()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name=thread_name, daemon=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def packets(self) -> tuple[RtpPacket, ...]:
        """What Asterisk has sent so far, in order of arrival here; what is encrypted stays so."""
        return self.decrypted(b"")

    def decrypted(self, srtp_key: bytes) -> tuple[RtpPacket, ...]:
        """The same, decrypted with that key; empty for none."""
        with self._changed:
            datagrams = list(self._datagrams)
        return tuple(rtp_packets(datagrams, srtp_key))

    @property
    def dropped(self) -> int:
        """Datagrams that the kernel threw away because they were not read in time."""
        with self._changed:
            return self._dropped

    def close(self) -> None:
        """Stop sending and receiving; what has come stays readable. May be called again."""
        if self._thread.is_alive():
            with contextlib.suppress(OSError):
                self._wake_writer.send(b"x")
            self._thread.join()
        for open_socket in (self._rtp, self._rtcp, self._wake_reader, self._wake_writer):
            open_socket.close()

    def _start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for readable in (self._rtp, self._rtcp, self._wake_reader):
                selector.register(readable, selectors.EVENT_READ)
            stopping = False
            while not stopping:
                ready = [key.fileobj for key, _ in selector.select(self._wait_s())]
                stopping = self._wake_reader in ready
                # Also when stopping: what the kernel already holds was sent before.
                self._read()

    def _wait_s(self) -> float | None:
        """After how long `_read` is called though nothing has come; None: never."""
        return None

    def _read(self) -> None:
        """Take what the sockets hold. Called in the thread."""
        raise NotImplementedError

    def _keep(self, time_ns: int, datagram: bytes, dropped: int) -> None:
        """Keep a packet of Asterisk's; ``dropped`` is the kernel's count so far."""
        packet = parse_rtp(time_ns, datagram)
        with self._changed:
            self._dropped = max(self._dropped, dropped)
            if packet is not None:
                self._datagrams.append((time_ns, datagram))
                self._changed.notify_all()


class RtpSocket(RtpPorts):
    """The caller's ports: what Asterisk sends is collected, and the caller can talk."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__(address, "rtp-socket")
        self._senders: list[RtpSender] = []
        self._ssrc = secrets.randbelow(2**32)
        self.reports: list[ReceptionReport] = []
        """what was reported so far, in order"""
        self._dtls: DtlsCaller | None = None
        self._dtls_target = ("", 0)
        self.relay_port = 0
        """of a relay at the same address that what `talk` sends has to go through; 0 for none"""
        self._start()

    def wait_for_packets(self, count: int, timeout_s: float) -> bool:
        """Wait until ``count`` packets have come; False when the time was over before."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._datagrams) >= count, timeout_s)

    def agree_on_keys(self, dtls: DtlsCaller, target: RtpTarget, timeout_s: float) -> bool:
        """Have ``dtls`` agree on keys with Asterisk; False when the time was over before."""
        with self._changed:
            self._dtls, self._dtls_target = dtls, (target.address, target.port)
            self._send_dtls(dtls.begin())
            return self._changed.wait_for(lambda: bool(dtls.srtp_key), timeout_s)

    def talk(self, target: RtpTarget, codec: str = "ulaw") -> RtpSender:
        """Send RTP from this port, silence until there is something to say, until ``close``.

        ``target`` is where Asterisk wants it, `SipCall.media`; ``codec`` is the call's.
        """
        if self.relay_port:
            target = replace(target, address=self.address, port=self.relay_port)
        sender = RtpSender(self._rtp, target, codec)
        self._senders.append(sender)
        return sender

    def report(self, target: RtpTarget, rtt_ms: float | None, jitter: int) -> None:
        """Send a receiver report (RTCP) to Asterisk, whose RTP is at ``target``.

        It has been so long in coming and going since a sender report of Asterisk's that the round
        trip takes ``rtt_ms``, which is negative where a clock is wrong; None: there was none.
        ``jitter`` is in units of the RTP clock.
        """
        now_ns = time.time_ns()
        last_sr = 0
        if rtt_ms is not None:
            last_sr = (ntp_middle(now_ns) - _REPORT_DELAY - round(rtt_ms * 65.536)) % 2**32
        report = ReceptionReport(now_ns, jitter, last_sr, _REPORT_DELAY)
        # Asterisk takes it from the sender of the RTP alone, once there is one.
        ssrc = self._senders[-1].ssrc if self._senders else self._ssrc
        self._rtcp.sendto(receiver_report(report, ssrc), (target.address, target.port + 1))
        self.reports.append(report)

    def close(self) -> None:
        """Stop sending and receiving; what has come stays readable. May be called again."""
        for sender in self._senders:
            sender.close()
        super().close()

    def _read(self) -> None:
        for time_ns, datagram, _, dropped in read_waiting(self._rtp):
            if self._dtls and self._dtls.is_meant(datagram):
                with self._changed:
                    self._send_dtls(self._dtls.received(datagram))
                    self._changed.notify_all()
            else:
                self._keep(time_ns, datagram, dropped)
        _discard(self._rtcp)

    def _send_dtls(self, datagrams: Sequence[bytes]) -> None:
        for datagram in datagrams:
            self._rtp.sendto(datagram, self._dtls_target)


class RtpSink:
    """One RTP port for many calls, so that Asterisk meets no ICMP error. A context manager.

    Nobody reads it, which costs nothing: the kernel counts what comes, and a capture sees it.
    """

    def __init__(self, address: str) -> None:
        self._rtp, self._rtcp = bind_pair(address)
        self.address = address
        self.port: int = self._rtp.getsockname()[1]
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._rtp.close()
        self._rtcp.close()

    def send(self, datagram: bytes, target: RtpTarget) -> None:
        """Send a packet from this port. What the kernel has no room for is lost."""
        with contextlib.suppress(OSError):
            self._rtp.sendto(datagram, (target.address, target.port))

    def received(self) -> int:
        """How many packets have come so far."""
        try:
            while True:
                self._rtp.recv(1)
                self._read += 1
        except BlockingIOError:
            pass
        inode = str(os.fstat(self._rtp.fileno()).st_ino)
        for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] == inode:
                return self._read + int(fields[12])
        raise AssertionError("the kernel lists every UDP socket that is open")


def read_waiting(rtp: socket.socket) -> Iterator[tuple[int, bytes, tuple[str, int], int]]:
    """The datagrams that a socket of `bind_pair` holds: the kernel's time stamp in ns, the data,
    who sent it, and how many the kernel had to throw away so far."""
    while True:
        try:
            datagram, ancillary, _, sender = rtp.recvmsg(_LARGEST_DATAGRAM, _ANCILLARY_BYTES)
        except OSError:  # nothing more to read
            return
        time_ns, dropped = _read_ancillary(ancillary)
        yield time_ns, datagram, sender, dropped


def bind_pair(address: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
    """Two UDP sockets on neighbouring ports, the first even, chosen by the kernel."""
    for _ in range(_PORT_ATTEMPTS):
        rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            rtp.bind((address, 0))
            port = rtp.getsockname()[1]
            if port % 2 == 0:
                rtcp.bind((address, port + 1))
                rtp.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
                rtp.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
                _enlarge_receive_buffer(rtp)
                rtp.setblocking(False)
                rtcp.setblocking(False)
                return rtp, rtcp
        rtp.close()
        rtcp.close()
    raise EnvironmentFault(
        f"no pair of free UDP ports on {address} for the caller's RTP and RTCP",
        "see with 'ss -uln' what holds them",
    )


def _enlarge_receive_buffer(rtp: socket.socket) -> None:
    try:
        rtp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    except OSError:  # only root may pass net.core.rmem_max; the kernel then gives what it allows
        rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)


def _read_ancillary(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, int]:
    """The kernel's time stamp in ns and its count of dropped datagrams."""
    time_ns, dropped = 0, 0
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == _SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("@ll", data[: struct.calcsize("@ll")])
            time_ns = seconds * 1_000_000_000 + nanoseconds
        elif level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
            (dropped,) = struct.unpack("=I", data[:4])
    # The first datagrams after switching time stamps on may come without one.
    return time_ns or time.time_ns(), dropped


def _discard(rtcp: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            rtcp.recv(_LARGEST_DATAGRAM)
