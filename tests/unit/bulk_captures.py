"""Captures of many calls, written without any call."""

from __future__ import annotations

import struct
from pathlib import Path

from websockets.frames import Frame, Opcode

from harness.caller.rtp_sender import rtp_packet
from harness.judge.many import CALL_BYTES
from harness.media.position_code import encode

FRAME_BYTES = 160
START_NS = 1_800_000_000 * 1_000_000_000
RTP_PORT, APPLICATION_PORT = 20000, 8765
HANDSHAKE = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
_ADDRESSES = bytes((127, 0, 0, 1)) * 2
_ETHERNET = bytes(12) + b"\x08\x00"


class CaptureFile:
    """A file as tcpdump writes it; records may be added in any order."""

    def __init__(self) -> None:
        self._records: list[tuple[int, bytes]] = []
        self._sequences: dict[int, int] = {}

    def rtp(self, time_ns: int, call: int, number: int) -> None:
        """A frame of a call's media."""
        media = encode(call * CALL_BYTES + number * FRAME_BYTES, FRAME_BYTES)
        packet = rtp_packet(number, number * FRAME_BYTES, call + 1, 0, media, False)
        self.udp(time_ns, 10000 + 2 * call, RTP_PORT, packet)

    def udp(self, time_ns: int, source: int, destination: int, data: bytes) -> None:
        """A datagram."""
        header = struct.pack("!HHHH", source, destination, 8 + len(data), 0)
        self._ip(time_ns, 17, header + data)

    def tcp(self, time_ns: int, client: int, data: bytes, *, opens: bool = False) -> None:
        """A segment of Asterisk's, which is the client, to the application."""
        at = self._sequences.setdefault(client, 1000)
        ports = struct.pack("!HH", client, APPLICATION_PORT)
        flags = 0x02 if opens else 0x10
        header = ports + struct.pack("!IIBBHHH", at, 0, 5 << 4, flags, 0, 0, 0)
        self._sequences[client] = at + (1 if opens else len(data))
        self._ip(time_ns, 6, header + data)

    def connect(self, time_ns: int, client: int) -> None:
        """Asterisk opens a connection, and sends its handshake."""
        self.tcp(time_ns, client, b"", opens=True)
        self.tcp(time_ns + 1000, client, HANDSHAKE)

    def text(self, time_ns: int, client: int, text: str) -> None:
        """An event of Asterisk's, masked as a client's are."""
        self.tcp(time_ns, client, Frame(Opcode.TEXT, text.encode()).serialize(mask=True))

    def _ip(self, time_ns: int, protocol: int, data: bytes) -> None:
        header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, 64, protocol, 0)
        self._records.append((time_ns, _ETHERNET + header + _ADDRESSES + data))

    def write(self, path: Path) -> Path:
        """Write it in the order of time."""
        with path.open("wb") as file:
            file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1))
            for time_ns, frame in sorted(self._records, key=lambda one: one[0]):
                seconds, rest = divmod(time_ns, 1_000_000_000)
                file.write(struct.pack("<IIII", seconds, rest, len(frame), len(frame)) + frame)
        return path
