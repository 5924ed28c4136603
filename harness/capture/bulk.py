"""Reads captures of many calls: a million packets in seconds.

What `harness.capture.dissect` reads of one call packet by packet is read here by numpy: of RTP no
more than its header and where in a position-coded stream its payload begins, of WebSocket
connections only the text messages of one side.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.capture.dissect import Packet, TcpDirection, parse_frame
from harness.capture.timeline import BulkRtp, Ints
from harness.capture.tls import SECRETS_FILE, Secrets, TlsConnection
from harness.errors import InputFault

_NANOSECONDS_MAGIC = b"\x4d\x3c\xb2\xa1"
_FILE_HEADER, _RECORD_HEADER = 24, 16
_ETHERNET, _COOKED = 1, 276
"""link types: of lo, and of all interfaces together (LINUX_SLL2)"""
_LINK_BYTES = {_ETHERNET: 14, _COOKED: 20}
_UDP, _TCP = 17, 6
_IP_BYTES, _UDP_BYTES, _RTP_BYTES = 20, 8, 12
_HEAD_BYTES = 16
"""of an RTP payload: so many tell its place in a position-coded stream"""
_TLS_HANDSHAKE = 22


@dataclass(frozen=True)
class BulkText:
    """A text message from Asterisk, when its last byte was seen."""

    time_ns: int
    client_port: int
    """of its connection: of the side that opened it"""
    earlier: int
    """how many connections that port had before"""
    text: bytes


class BulkCapture:
    """A capture file, of which parts can be asked for. Made by `read_bulk`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._data = np.fromfile(path, dtype=np.uint8)
        self._bytes = memoryview(self._data.data)
        header = bytes(self._bytes[:_FILE_HEADER])
        link = int.from_bytes(header[20:24], "little")
        if header[:4] != _NANOSECONDS_MAGIC or link not in _LINK_BYTES:
            raise InputFault(
                f"{path} is not a capture as this machine's tcpdump writes it",
                "It must be pcap in little-endian with nanoseconds, of lo or of any interface.",
            )
        self._link_bytes = _LINK_BYTES[link]
        self._records = self._find_records()
        self.packets = len(self._records)
        self._lengths = self._uint32(self._records + 8)
        self.time_ns: Ints = self._uint32(self._records) * 1_000_000_000
        self.time_ns += self._uint32(self._records + 4)
        ip = self._records + _RECORD_HEADER + self._link_bytes
        # What is too short to be read so is nothing that was asked for.
        whole = self._lengths >= self._link_bytes + _IP_BYTES + _UDP_BYTES
        ip = np.where(whole, ip, 0)
        plain = whole & (self._data[ip] == 0x45)  # IPv4 without options
        self._protocol = np.where(plain, self._data[ip + 9], 0)
        transport = ip + _IP_BYTES
        self._source_port = self._uint16(transport)
        self._destination_port = self._uint16(transport + 2)

    def rtp_to(self, port: int) -> BulkRtp:
        """The RTP that was sent to a UDP port."""
        payload_at = self._link_bytes + _IP_BYTES + _UDP_BYTES + _RTP_BYTES
        here = (self._protocol == _UDP) & (self._destination_port == port)
        chosen = np.flatnonzero(here & (self._lengths >= payload_at))
        records = self._records[chosen]
        rtp = records + _RECORD_HEADER + payload_at - _RTP_BYTES
        second = self._data[rtp + 1]
        # Version 2, without padding, extension or other sources, which Asterisk does not send; and
        # not RTCP (RFC 5761).
        is_rtp = (self._data[rtp] == 0x80) & ~((second >= 192) & (second <= 223))
        chosen, records, rtp = chosen[is_rtp], records[is_rtp], rtp[is_rtp]
        sizes = self._lengths[chosen] - payload_at
        places = rtp[:, None] + _RTP_BYTES + np.arange(_HEAD_BYTES)
        there = np.arange(_HEAD_BYTES) < sizes[:, None]
        heads = np.where(there, self._data[np.where(there, places, 0)], 0).astype(np.uint8)
        return BulkRtp(
            self.time_ns[chosen],
            self._source_port[chosen],
            self._uint16(rtp + 2),
            self._uint32(rtp + 4, big=True),
            self._uint32(rtp + 8, big=True),
            (self._data[rtp + 1] & 0x7F).astype(np.int64),
            sizes,
            heads,
        )

    def datagrams_to(self, port: int) -> Iterator[tuple[int, bytes]]:
        """Time and content of what was sent to a UDP port."""
        for number in np.flatnonzero((self._protocol == _UDP) & (self._destination_port == port)):
            if (packet := self._packet(int(number))) is not None:
                yield packet.time_ns, packet.data

    def texts_of(self, server_port: int, application_is_server: bool) -> Iterator[BulkText]:
        """Asterisk's text messages on all WebSocket connections to a port.

        In order of arrival within a connection. Raises InputFault when a connection cannot be read.
        """
        secrets = Secrets(self.path.with_name(SECRETS_FILE))
        connections: dict[int, _Connection] = {}
        opened: Counter[int] = Counter()
        ports = (self._source_port == server_port) | (self._destination_port == server_port)
        for number in np.flatnonzero((self._protocol == _TCP) & ports):
            packet = self._packet(int(number))
            if packet is None:
                continue
            from_client = packet.destination[1] == server_port
            client_port = packet.source[1] if from_client else packet.destination[1]
            if packet.opens:
                connections[client_port] = _Connection(secrets, application_is_server)
                opened[client_port] += 1
            connection = connections.get(client_port)
            if connection is None:
                continue
            try:
                texts = connection.add(packet, from_client)
            except ValueError as error:
                raise InputFault(
                    f"{self.path}: the connection of port {client_port} cannot be read: {error}"
                ) from error
            for text in texts:
                yield BulkText(packet.time_ns, client_port, opened[client_port] - 1, text)

    def _find_records(self) -> Ints:
        """Where each packet's record begins. The last one may be cut off: it is left out."""
        data, end = self._bytes, len(self._bytes)
        places = []
        place = _FILE_HEADER
        from_bytes = int.from_bytes
        while place + _RECORD_HEADER <= end:
            following = place + _RECORD_HEADER + from_bytes(data[place + 8 : place + 12], "little")
            if following > end:
                break
            places.append(place)
            place = following
        return np.array(places, dtype=np.int64)

    def _packet(self, number: int) -> Packet | None:
        begin = int(self._records[number]) + _RECORD_HEADER
        frame = bytes(self._bytes[begin : begin + int(self._lengths[number])])
        if self._link_bytes != _LINK_BYTES[_ETHERNET]:
            # Its protocol comes first. Made into an Ethernet frame without addresses.
            frame = bytes(12) + frame[:2] + frame[self._link_bytes :]
        return parse_frame(int(self.time_ns[number]), frame)

    def _uint16(self, places: Ints) -> Ints:
        """Numbers in the network's byte order."""
        found = self._data[places].astype(np.int64)
        return (found << 8) | self._data[places + 1]

    def _uint32(self, places: Ints, big: bool = False) -> Ints:
        found = np.zeros(len(places), dtype=np.int64)
        for step in range(4):
            shift = 24 - 8 * step if big else 8 * step
            found |= self._data[places + step].astype(np.int64) << shift
        return found


def read_bulk(path: Path) -> BulkCapture:
    """A pcap file that tcpdump has written here. Raises InputFault when it is none."""
    try:
        return BulkCapture(path)
    except (OSError, IndexError) as error:
        raise InputFault(f"{path} cannot be read as a capture: {error}") from error


class _Connection:
    """One WebSocket connection while its packets are being read."""

    def __init__(self, secrets: Secrets, application_is_server: bool) -> None:
        self._asterisk_is_client = application_is_server
        self._directions = {True: TcpDirection(), False: TcpDirection()}
        self._tls = TlsConnection(secrets)
        self._plain: bool | None = None
        self._unread = bytearray()
        self._upgraded = False

    def add(self, packet: Packet, from_client: bool) -> list[bytes]:
        """The text messages of Asterisk's that a packet completes."""
        asterisks = from_client == self._asterisk_is_client
        if self._plain and not asterisks:
            return []
        data = self._directions[from_client].add(packet)
        if not data:
            return []
        if self._plain is None:
            # The first byte of a TLS handshake; HTTP begins with a letter.
            self._plain = data[0] != _TLS_HANDSHAKE
        if not self._plain:
            data = self._tls.feed(from_client, data)
        if not asterisks:
            return []
        self._unread += data
        if not self._upgraded:
            end = self._unread.find(b"\r\n\r\n")
            if end < 0:
                return []
            del self._unread[: end + 4]
            self._upgraded = True
        texts, used = text_frames(self._unread)
        del self._unread[:used]
        return texts


def text_frames(data: bytes | bytearray) -> tuple[list[bytes], int]:
    """The text messages in a stream of WebSocket frames (RFC 6455, 5.2), of which each is one
    frame, and how many bytes were whole frames, also of other kinds."""
    texts = []
    place, end = 0, len(data)
    while end - place >= 2:
        first, second = data[place], data[place + 1]
        length, begin = second & 0x7F, place + 2
        if length > 125:
            begin += 2 if length == 126 else 8
            if begin > end:
                break
            length = int.from_bytes(data[place + 2 : begin], "big")
        masked = bool(second & 0x80)
        content = begin + (4 if masked else 0)
        if content + length > end:
            break
        if first & 0x0F == 1:
            text = bytes(data[content : content + length])
            if masked:
                mask = bytes(data[begin:content]) * (length // 4 + 1)
                hidden = int.from_bytes(text, "big") ^ int.from_bytes(mask[:length], "big")
                text = hidden.to_bytes(length, "big")
            texts.append(text)
        place = content + length
    return texts, place
