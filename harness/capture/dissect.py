"""Turns a capture file into timelines: UDP to RTP, TCP to WebSocket messages.

Reading knows no call: ``read_capture`` gives everything in the file, ``Capture.timeline`` picks out
the RTP and the WebSocket connection of one call.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path

from scapy.error import Scapy_Exception
from scapy.utils import RawPcapReader
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.streams import StreamReader

from harness.capture.rtp import parse_report
from harness.capture.srtp import rtp_packets
from harness.capture.timeline import (
    Codec,
    Measurement,
    Message,
    MessageKind,
    ReceptionReport,
    RtpPacket,
    Sender,
    Timeline,
)
from harness.capture.tls import SECRETS_FILE, Secrets, TlsConnection
from harness.errors import InputFault

_LINK_ETHERNET = 1
_ETHERTYPE_IPV4 = b"\x08\x00"
_UDP, _TCP = 17, 6
_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10
_TLS_HANDSHAKE = 22
# One TCP segment of the loopback interface can be a whole 64 KiB plus its headers.
_LARGEST_PACKET = 1 << 17
_KINDS: dict[Opcode, MessageKind] = {
    Opcode.TEXT: "text",
    Opcode.BINARY: "binary",
    Opcode.PING: "ping",
    Opcode.PONG: "pong",
    Opcode.CLOSE: "close",
}

Address = tuple[str, int]
"""IPv4 address and port"""


@dataclass(frozen=True)
class Datagram:
    """A UDP datagram of the capture."""

    time_ns: int
    source: Address
    destination: Address
    data: bytes


@dataclass(frozen=True)
class WebSocketMessage:
    """A complete message, at the time of the segment that completed it.

    Where a side ends its direction of the TCP connection (FIN or RST) without a close frame, there
    is an empty ``close`` in its place.
    """

    time_ns: int
    from_client: bool
    kind: MessageKind
    data: bytes


@dataclass(frozen=True)
class WebSocketConnection:
    """One WebSocket connection: ``client`` is the side that opened the TCP connection."""

    client: Address
    server: Address
    path: str
    """request target of the upgrade"""
    messages: tuple[WebSocketMessage, ...]
    damage: str
    """why not all of it could be read; empty when it could"""


@dataclass(frozen=True)
class Capture:
    """All that a capture file holds."""

    path: Path
    datagrams: tuple[Datagram, ...]
    """UDP"""
    connections: tuple[WebSocketConnection, ...]
    end_ns: int
    """time of the last packet"""

    def timeline(
        self,
        codec: Codec,
        *,
        rtp_port: int,
        websocket_port: int,
        application_is_server: bool,
        uncertainty_ns: int,
        capture_drops: int = 0,
        host_stalls: Sequence[tuple[int, int]] = (),
        media_start: str | None = None,
        recoded: Codec | None = None,
        ptime_ms: int = 0,
        frame_ms: int = 0,
        srtp_key: bytes = b"",
    ) -> Timeline:
        """The timeline of one call.

        ``rtp_port`` is the caller's. ``websocket_port`` is the listening one, the application's
        when ``application_is_server`` (Asterisk connected to it), else Asterisk's. Of several
        connections to it ``media_start`` picks one, a text that only this call's MEDIA_START
        contains. ``uncertainty_ns`` and ``capture_drops`` are what the capture's summary says,
        ``host_stalls`` what the stall watch saw meanwhile. ``recoded``, ``ptime_ms`` and
        ``frame_ms`` are as in `Timeline`, ``srtp_key`` as in `rtp_packets`.

        Raises InputFault when not exactly one connection is meant.
        """
        connection = self._choose(websocket_port, media_start)
        messages = tuple(
            Message(
                message.time_ns,
                _sender(message.from_client, application_is_server),
                message.kind,
                message.data,
            )
            for message in connection.messages
        )
        # A hole in the TCP stream is a drop that the capture did not notice itself.
        drops = max(capture_drops, 1 if connection.damage else 0)
        measurement = Measurement("capture", uncertainty_ns, drops, tuple(host_stalls))
        rtp = _in_host_order(self.rtp_to(rtp_port, srtp_key), recoded or codec)
        return Timeline(
            codec,
            rtp,
            messages,
            measurement,
            self.end_ns,
            recoded,
            ptime_ms,
            frame_ms,
            self.reports_from(rtp_port + 1),
        )

    def rtp_to(self, port: int, srtp_key: bytes = b"") -> tuple[RtpPacket, ...]:
        """The RTP packets sent to a UDP port, as they were on the wire but for the encryption
        (see `rtp_packets`), in order of arrival."""
        datagrams = (
            (one.time_ns, one.data) for one in self.datagrams if one.destination[1] == port
        )
        return tuple(rtp_packets(datagrams, srtp_key))

    def reports_from(self, port: int) -> tuple[ReceptionReport, ...]:
        """What was reported from a UDP port, in order of arrival."""
        reports = (
            parse_report(datagram.time_ns, datagram.data)
            for datagram in self.datagrams
            if datagram.source[1] == port
        )
        return tuple(report for report in reports if report is not None)

    def _choose(self, websocket_port: int, media_start: str | None) -> WebSocketConnection:
        possible = [
            connection
            for connection in self.connections
            if connection.server[1] == websocket_port
            and (media_start is None or media_start in _media_start_of(connection))
        ]
        if len(possible) != 1:
            found = ", ".join(f"{c.client[1]}->{c.server[1]}" for c in self.connections) or "none"
            raise InputFault(
                f"{self.path}: {len(possible)} WebSocket connections to port {websocket_port} fit, "
                f"one was expected (client port -> server port of all: {found})",
                "choose by media_start, or check that the capture's filter "
                "has the WebSocket's port",
            )
        return possible[0]


def read_capture(path: Path) -> Capture:
    """Everything in a pcap file of an Ethernet-like interface (lo is one).

    What is encrypted is read with the secrets in `SECRETS_FILE` beside it. Raises InputFault when
    it is not such a file.
    """
    secrets = Secrets(path.with_name(SECRETS_FILE))
    datagrams: list[Datagram] = []
    connections: list[_Connection] = []
    current: dict[tuple[Address, Address], _Connection] = {}
    end_ns = 0
    for packet in _packets(path):
        end_ns = max(end_ns, packet.time_ns)
        if packet.protocol == _UDP:
            datagrams.append(
                Datagram(packet.time_ns, packet.source, packet.destination, packet.data)
            )
            continue
        key = (packet.source, packet.destination)
        if packet.opens and not _is_repeated_syn(current.get(key), packet):
            connection = _Connection(packet.source, packet.destination, secrets)
            connections.append(connection)
            current[key] = current[key[::-1]] = connection
        # A connection whose beginning was not captured cannot be read; it is left out.
        if key in current:
            current[key].add(packet)
    upgraded = tuple(connection.result() for connection in connections if connection.upgraded)
    return Capture(path, tuple(datagrams), upgraded, end_ns)


def read_datagrams(path: Path) -> list[Datagram]:
    """Only the UDP datagrams of a pcap file."""
    return [
        Datagram(packet.time_ns, packet.source, packet.destination, packet.data)
        for packet in _packets(path)
        if packet.protocol == _UDP
    ]


def timeline_from_sockets(
    codec: Codec,
    rtp: Sequence[RtpPacket],
    messages: Sequence[Message],
    *,
    uncertainty_ns: int,
    end_ns: int,
    capture_drops: int = 0,
    host_stalls: Sequence[tuple[int, int]] = (),
    recoded: Codec | None = None,
    ptime_ms: int = 0,
    frame_ms: int = 0,
    reports: Sequence[ReceptionReport] = (),
) -> Timeline:
    """The timeline of a call that could not be captured.

    ``rtp`` is what the RTP socket received, ``messages`` the application's own record in order,
    its times from the same clock as the kernel's stamps (``time.time_ns``). ``uncertainty_ns`` must
    cover the application's event loop lag, which it has to measure; ``capture_drops`` is the
    RTP socket's count.
    """
    return Timeline(
        codec,
        _in_host_order(rtp, recoded or codec),
        tuple(sorted(messages, key=lambda message: message.time_ns)),
        Measurement("socket", uncertainty_ns, capture_drops, tuple(host_stalls)),
        end_ns,
        recoded,
        ptime_ms,
        frame_ms,
        tuple(reports),
    )


def _in_host_order(rtp: Sequence[RtpPacket], wire: Codec) -> tuple[RtpPacket, ...]:
    if not wire.swapped:
        return tuple(rtp)
    return tuple(replace(packet, payload=wire.from_wire(packet.payload)) for packet in rtp)


def _sender(from_client: bool, application_is_server: bool) -> Sender:
    return "asterisk" if from_client == application_is_server else "application"


def _media_start_of(connection: WebSocketConnection) -> str:
    for message in connection.messages:
        if message.kind == "text" and b"MEDIA_START" in message.data:
            return message.data.decode("utf-8", "backslashreplace")
    return ""


# ---- packets -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Packet:
    """A UDP or TCP packet over IPv4, of TCP with sequence number and flags."""

    time_ns: int
    protocol: int
    source: Address
    destination: Address
    data: bytes
    sequence: int = 0
    flags: int = 0

    @property
    def opens(self) -> bool:
        """Whether it is the first packet of a TCP connection."""
        return self.flags & (_SYN | _ACK) == _SYN


def _packets(path: Path) -> Iterator[Packet]:
    """The UDP and TCP packets over IPv4 of a pcap file."""
    try:
        reader = RawPcapReader(str(path))
    except (Scapy_Exception, OSError) as error:
        raise InputFault(f"{path} cannot be read as a capture: {error}") from error
    with reader, RawPcapReader(str(path)) as whole:
        if not hasattr(reader, "nano") or reader.linktype != _LINK_ETHERNET:
            raise InputFault(
                f"{path} is not a pcap file of an Ethernet-like interface",
                "capture on lo and write pcap, not pcapng",
            )
        unit_ns = 1 if reader.nano else 1000
        read = 0
        for number, (frame, when) in enumerate(reader):
            if len(frame) < when.caplen:
                # An iterated packet is cut at 65535 bytes. recv() is not, but says no time.
                while read <= number:
                    frame, read = whole.recv(_LARGEST_PACKET), read + 1
            packet = parse_frame(when.sec * 1_000_000_000 + when.usec * unit_ns, frame)
            if packet is not None:
                yield packet


def parse_frame(time_ns: int, frame: bytes) -> Packet | None:
    """The packet in an Ethernet frame; None when it is anything else."""
    # By hand: scapy's own dissection of a packet takes half a millisecond, and there are 100,000.
    if len(frame) < 34 or frame[12:14] != _ETHERTYPE_IPV4:
        return None
    protocol = frame[23]
    transport = 14 + 4 * (frame[14] & 0x0F)
    end = 14 + int.from_bytes(frame[16:18], "big")
    if protocol not in (_UDP, _TCP) or len(frame) < transport + (8 if protocol == _UDP else 20):
        return None
    source_port, destination_port = struct.unpack_from("!HH", frame, transport)
    source = (_dotted(frame[26:30]), source_port)
    destination = (_dotted(frame[30:34]), destination_port)
    if protocol == _UDP:
        data = frame[transport + 8 : end]
        return Packet(time_ns, protocol, source, destination, data)
    (sequence,) = struct.unpack_from("!I", frame, transport + 4)
    data = frame[transport + 4 * (frame[transport + 12] >> 4) : end]
    flags = frame[transport + 13]
    return Packet(time_ns, protocol, source, destination, data, sequence, flags)


def _dotted(address: bytes) -> str:
    return ".".join(map(str, address))


# ---- TCP -----------------------------------------------------------------------------------------


@dataclass
class TcpDirection:
    """One direction of a TCP connection: segments in, bytes in order out."""

    first_sequence: int | None = None
    position: int = 0
    """bytes delivered, counted from the first"""
    waiting: dict[int, bytes] = field(default_factory=dict)
    """segments that came before their predecessor, by position"""
    ended: bool = False
    """whether nothing comes any more: its FIN is there and all before it, or a RST"""
    _fin: int | None = None
    """position of the FIN"""

    def add(self, packet: Packet) -> bytes:
        """The bytes that this packet lets be delivered, often just its own."""
        if packet.flags & _SYN:
            self.first_sequence = (packet.sequence + 1) % 2**32
            return b""
        if self.first_sequence is None:
            self.first_sequence = packet.sequence
        expected = self.first_sequence + self.position
        ahead = (packet.sequence - expected + 2**31) % 2**32 - 2**31
        position = self.position + ahead
        # The longer one of two that begin at the same byte: a retransmission may hold more.
        if len(packet.data) > len(self.waiting.get(position, b"")):
            self.waiting[position] = packet.data
        delivered = bytearray()
        for begin in sorted(self.waiting):
            if begin > self.position:
                break
            data = self.waiting.pop(begin)[self.position - begin :]
            delivered += data
            self.position += len(data)
        if packet.flags & _FIN:
            self._fin = position + len(packet.data)
        self.ended = self.ended or bool(packet.flags & _RST) or self._fin == self.position
        return bytes(delivered)


def _is_repeated_syn(connection: _Connection | None, packet: Packet) -> bool:
    if connection is None or connection.client != packet.source:
        return False
    return connection.upstream.first_sequence == (packet.sequence + 1) % 2**32


# ---- WebSocket -----------------------------------------------------------------------------------


class _Connection:
    """A connection while its packets are being read."""

    def __init__(self, client: Address, server: Address, secrets: Secrets) -> None:
        self.client = client
        self.server = server
        self.upstream = TcpDirection()
        self._downstream = TcpDirection()
        self._parsers = {True: _Parser(from_client=True), False: _Parser(from_client=False)}
        self._messages: list[WebSocketMessage] = []
        self._closed: set[bool] = set()
        """which sides have said that they close: True is the client"""
        self._tls = TlsConnection(secrets)
        self._tls_damage = ""
        self._plain: bool | None = None

    def add(self, packet: Packet) -> None:
        from_client = packet.source == self.client
        direction = self.upstream if from_client else self._downstream
        data = self._decrypted(from_client, direction.add(packet))
        messages = self._parsers[from_client].feed(data)
        if any(kind == "close" for kind, _ in messages):
            self._closed.add(from_client)
        if direction.ended and from_client not in self._closed:
            self._closed.add(from_client)
            messages.append(("close", b""))
        for kind, content in messages:
            self._messages.append(WebSocketMessage(packet.time_ns, from_client, kind, content))

    def _decrypted(self, from_client: bool, data: bytes) -> bytes:
        if not data or self._tls_damage:
            return b""
        if self._plain is None:
            # The first byte of a TLS handshake; HTTP begins with a letter.
            self._plain = data[0] != _TLS_HANDSHAKE
        if self._plain:
            return data
        try:
            return self._tls.feed(from_client, data)
        except ValueError as error:
            self._tls_damage = str(error)
            return b""

    @property
    def upgraded(self) -> bool:
        """Whether it became a WebSocket; others are ordinary HTTP, such as ARI on the same port."""
        return self._parsers[False].upgraded

    def result(self) -> WebSocketConnection:
        damages = [parser.damage for parser in self._parsers.values() if parser.damage]
        if self._tls_damage:
            damages.append(self._tls_damage)
        if self.upstream.waiting or self._downstream.waiting:
            damages.append("bytes of the TCP stream are missing")
        return WebSocketConnection(
            self.client,
            self.server,
            self._parsers[True].path,
            tuple(self._messages),
            "; ".join(damages),
        )


class _Parser:
    """The messages in one direction, by the parsers of the websockets library (sans-IO)."""

    def __init__(self, from_client: bool) -> None:
        self.path = ""
        self.upgraded = False
        self.damage = ""
        self._from_client = from_client
        self._reader = StreamReader()
        self._complete: list[tuple[MessageKind, bytes]] = []
        self._fragments: tuple[MessageKind, bytearray] | None = None
        self._parse = self._run()
        next(self._parse)

    def feed(self, data: bytes) -> list[tuple[MessageKind, bytes]]:
        """The messages that ``data`` completes."""
        if data and not self.damage:
            self._reader.feed_data(data)
            try:
                next(self._parse)
            except Exception as error:
                # The library raises several kinds; whichever it is, the rest cannot be read.
                side = "client" if self._from_client else "server"
                self.damage = f"what the {side} sent is not WebSocket: {error!r}"
        complete, self._complete = self._complete, []
        return complete

    def _run(self) -> Generator[None, None, None]:
        if self._from_client:
            request = yield from Request.parse(self._reader.read_line)
            self.path = request.path
        else:
            response = yield from Response.parse(
                self._reader.read_line, self._reader.read_exact, self._reader.read_to_eof
            )
            self.upgraded = response.status_code == HTTPStatus.SWITCHING_PROTOCOLS
        while True:
            frame = yield from Frame.parse(
                self._reader.read_exact, mask=self._from_client, max_size=None
            )
            self._add(frame)

    def _add(self, frame: Frame) -> None:
        data = bytes(frame.data)
        if frame.opcode is Opcode.CONT:
            if self._fragments is None:
                raise ValueError("a continuation without a beginning")
            kind, joined = self._fragments
            joined += data
            if frame.fin:
                self._complete.append((kind, bytes(joined)))
                self._fragments = None
        elif frame.fin:
            self._complete.append((_KINDS[frame.opcode], data))
        else:
            self._fragments = (_KINDS[frame.opcode], bytearray(data))
