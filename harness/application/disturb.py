"""An application that does what no application should: it sends in pieces, stalls, does not read,
or breaks the connection off."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from random import Random

from websockets.asyncio.server import ServerConnection
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol

from harness.application.client import MediaServer, connect_session, serve_sessions
from harness.application.recording import RecordedSession
from harness.errors import InputFault

_ETHERNET_SEGMENT_BYTES = 1460
_PINGS = 0.05
"""behind so many of all fragments that are cut at random"""
_MOST_WRITES = 40
"""of such a message"""


class DisturbingSession(RecordedSession):
    """A session with the disturbances that scenarios and tests ask for."""

    async def send_in_one_write(self, messages: Sequence[bytes | str]) -> None:
        """Send audio (bytes) and commands (text) in one write to the socket, in this order.

        So they are in one TCP segment, as far as it holds them (64 KiB on loopback), or in one TLS
        record (16 KiB). More marks than that are a flood: each write is handed to the kernel as
        one, and the next one waits until the kernel takes it.
        """
        async with self._sending, self._frames() as frames:
            for message in messages:
                if isinstance(message, bytes):
                    self._on_sent("binary", message)
                    self.sent_bytes += len(message)
                    frames.send_binary(message)
                else:
                    self._on_sent("text", message.encode())
                    frames.send_text(message.encode())
            self._write(b"".join(frames.data_to_send()))

    async def send_media_fragmented(
        self, data: bytes, fragment_bytes: int, pings: bool = False
    ) -> None:
        """Send audio as one message in WebSocket fragments (RFC 6455, 5.4) of so many bytes each.

        Every fragment is a write of its own; none is empty. Audio that fits into one is not
        fragmented. With ``pings`` there is a ping between two of them.
        """
        if fragment_bytes < 1:
            raise InputFault(f"a fragment of {fragment_bytes} bytes", "Give 1 byte or more.")
        starts = range(0, max(1, len(data)), fragment_bytes)
        async with self._sending, self._frames() as frames:
            self._on_sent("binary", data)
            self.sent_bytes += len(data)
            for begin in starts:
                piece = data[begin : begin + fragment_bytes]
                last = begin == starts[-1]
                if begin == 0:
                    frames.send_binary(piece, fin=last)
                else:
                    if pings:
                        frames.send_ping(b"between fragments")
                    frames.send_continuation(piece, fin=last)
                self._write(b"".join(frames.data_to_send()))

    async def send_frames(self, frames: bytes) -> None:
        """Write WebSocket frames as they stand, and do not count or record them.

        For what is too much to be made anew each time. Returns when the kernel takes more.
        """
        async with self._sending, self._frames():
            self._write(frames)

    async def send_cut(self, message: bytes | str, cuts: Random) -> None:
        """Send audio (bytes) or a command (text) as RFC 6455 allows it, with ``cuts`` at random.

        That is in any number of fragments, some of them empty, with pings between, and in writes of
        any size: over TLS each is a record.
        """
        is_media = isinstance(message, bytes)
        data = message if isinstance(message, bytes) else message.encode()
        async with self._sending, self._frames() as frames:
            self._on_sent("binary" if is_media else "text", data)
            self.sent_bytes += len(data) if is_media else 0
            fragments = cuts.choice((1, 1, 1, 2, 5, 20))
            places = [cuts.randint(0, len(data)) for _ in range(fragments - 1)]
            ends = [*sorted(places), len(data)]
            for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False)):
                fin = number == fragments - 1
                if number:
                    frames.send_continuation(data[begin:end], fin=fin)
                elif is_media:
                    frames.send_binary(data[begin:end], fin=fin)
                else:
                    frames.send_text(data[begin:end], fin=fin)
                if cuts.random() < _PINGS:
                    frames.send_ping(cuts.randbytes(cuts.randint(0, 125)))
            self._write_cut(b"".join(frames.data_to_send()), cuts)

    def _write_cut(self, data: bytes, cuts: Random) -> None:
        largest = cuts.choice((10, 200, len(data)))
        begin = 0
        while begin < len(data):
            size = cuts.randint(1, max(largest, len(data) // _MOST_WRITES))
            self._write(data[begin : begin + size])
            begin += size

    async def send_media_stalled(self, data: bytes, stall_s: float, pieces: int = 2) -> None:
        """Send audio as one message in so many pieces, with ``stall_s`` seconds between two.

        They are of one size, down to a byte. Of two the first has the frame's header, which says
        how long the frame is.
        """
        async with self._sending:
            async with self._frames() as frames:
                self._on_sent("binary", data)
                self.sent_bytes += len(data)
                frames.send_binary(data)
                # Masked already where we are the client: it can be cut anywhere.
                frame = b"".join(frames.data_to_send())
            size = max(1, -(-len(frame) // pieces))
            for begin in range(0, len(frame), size):
                # The connection must write nothing of its own into the middle of the frame. It
                # would do so to answer a ping, and Asterisk sends none.
                if begin:
                    await asyncio.sleep(stall_s)
                async with self._frames():
                    self._write(frame[begin : begin + size])

    async def abort(self) -> None:
        """Break the connection off as a process that is killed does: TCP RST, no close frame."""
        self._on_our_close(b"")
        break_off(self._connection.transport)
        await self._reader

    def stop_reading(self) -> None:
        """Read nothing any more from the socket, as an application does that hangs."""
        self._connection.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Read again what has come meanwhile and what comes."""
        self._connection.transport.resume_reading()

    @asynccontextmanager
    async def _frames(self) -> AsyncIterator[Protocol]:
        """The connection's frames without its socket. Leaving waits until the kernel takes more."""
        with self._ended_is_an_error():
            async with self._connection.send_context():
                yield self._connection.protocol

    def _write(self, data: bytes) -> None:
        self._connection.transport.write(data)


def break_off(transport: asyncio.WriteTransport) -> None:
    """End a TCP connection with RST; what is not sent yet is thrown away. Ended already is fine."""
    # A socket that does not linger is reset when it is closed (SO_LINGER, socket(7)).
    linger = struct.pack("ii", 1, 0)
    connection = transport.get_extra_info("socket")
    # One over TLS that has ended has no socket any more.
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    receive_buffer_bytes: int | None = None,
    with_handshake: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[MediaServer[DisturbingSession]]:
    """`harness.application.client.serve` with a small socket, or with messages sent too early.

    With ``receive_buffer_bytes`` the kernel keeps little more than that for a connection that is
    not read, on either side: by default both sides of a loopback connection keep megabytes.

    The text messages ``with_handshake`` are sent in the same write as the HTTP reply that opens the
    WebSocket. The control message format, which MEDIA_START shows, is not known by then.
    """
    texts = [text.encode() for text in with_handshake]

    def session_of(connection: ServerConnection) -> DisturbingSession:
        session = DisturbingSession(connection)
        for text in texts:
            session._on_sent("text", text)
        return session

    def add_texts(connection: ServerConnection, request: Request, response: Response) -> None:
        # A 101 has no body (RFC 9110, 15.2): what is written behind its header is frames already.
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response.body = b"".join(
                Frame(Opcode.TEXT, text).serialize(mask=False) for text in texts
            )

    serving = serve_sessions(session_of, host, port, tls, process_response=add_texts)
    async with serving as server:
        if receive_buffer_bytes is not None:
            # Inherited by the connections. The sender's own buffer grows with the segment size.
            server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _ETHERNET_SEGMENT_BYTES)
        yield server


@asynccontextmanager
async def connect(uri: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[DisturbingSession]:
    """`harness.application.client.connect`."""
    async with connect_session(DisturbingSession, uri, tls) as session:
        yield session
