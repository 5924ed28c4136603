"""The application's side of chan_websocket: a voice agent's end of the media connection.

Asterisk connects to the application::

    async with serve("127.0.0.1") as server:
        print(server.uri)                       # what websocket_client.conf must name
        session = await server.accept()         # has received MEDIA_START
        await session.start_buffering()
        await session.send_media(speech)
        offset = await session.mark("greeting")
        await session.stop_buffering()
        await session.wait_event("MARK_PLAYED", id="greeting")

or the application connects to Asterisk (``Dial(WebSocket/INCOMING/...)``)::

    async with connect("ws://127.0.0.1:8088/media/<connection id>") as session:
        ...

Whether plain text or JSON is spoken is read from MEDIA_START.

Every message of both directions is recorded with the time at which this process sent or received
it, so a session can be examined when it is over.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from http import HTTPStatus
from typing import Any

import websockets
from websockets.asyncio.client import connect as websocket_connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as websocket_serve
from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Protocol, State
from websockets.typing import Subprotocol

from harness import protocol
from harness.capture.timeline import Message, MessageKind, Sender
from harness.errors import EnvironmentFault, HarnessFault, InputFault
from harness.media.speech import energy_dbfs
from harness.protocol import Event, Format, Id

OPEN_TIMEOUT_S = 5.0
"""for a connection to be made and MEDIA_START to come"""
EVENT_TIMEOUT_S = 10.0
"""for an event to come, unless its waiter says otherwise"""
CLOSE_TIMEOUT_S = 2.0
SPEECH_DBFS = -40.0
"""what is louder is somebody who speaks; see `energy_dbfs`"""
SPEECH_MESSAGES = 3
"""so many loud messages in a row are speech, fewer could be a click on the line"""
_ETHERNET_SEGMENT_BYTES = 1460

_SUBPROTOCOL = Subprotocol("media")
# No compression: it would cost time and hide the audio from a capture. No pings: they are traffic
# nobody asked for, and a dead peer shows as an event that does not come. No limit on the size of
# a message: what Asterisk sends is audio frames.
_OPTIONS: dict[str, Any] = {
    "compression": None,
    "ping_interval": None,
    "max_size": None,
    "open_timeout": OPEN_TIMEOUT_S,
    "close_timeout": CLOSE_TIMEOUT_S,
}


class ConnectionEnded(HarnessFault):
    """Something was to be done on a connection that has ended, by whichever side."""


class MediaSession:
    """One call, as the application sees it. Made by `serve` and `connect`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = asyncio.Lock()
        self._arrived = asyncio.Condition()
        # Of its own: what waits for events must not look at all of them 50 times a second.
        self._heard = asyncio.Condition()
        self._taken: set[int] = set()
        self._closed = self._closed_by_us = False
        self.events: list[Event] = []
        """every event so far, in order"""
        self.messages: list[Message] = []
        """every message of both directions so far, with this process's time of sending (just
        before the socket got it) or receiving, in Unix time. Whoever breaks the connection off has
        an empty ``close``."""
        self.sent_bytes = 0
        """media bytes sent: the offset in the stream of whatever is sent next"""
        self.received_packets = 0
        """binary messages received"""
        self.media_start = Event("MEDIA_START")
        """replaced by the real one before anybody gets to see the session"""
        self._reader = asyncio.create_task(self._read())

    # --- What the session knows ---

    @property
    def format(self) -> Format:
        """How this call's commands and events are spelled: as its MEDIA_START was."""
        return Format.JSON if self.media_start.raw.lstrip().startswith("{") else Format.PLAIN

    @property
    def path(self) -> str:
        """Path and query of the URI that was connected to: tells calls apart."""
        request = self._connection.request
        return request.path if request else ""

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self._connection.transport.get_extra_info("ssl_object") is not None

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame of the codec; 0 in passthrough mode."""
        return int(self.media_start.number("optimal_frame_size"))

    @property
    def received_media(self) -> bytes:
        """All the audio received, joined."""
        return b"".join(
            message.data
            for message in self.messages
            if message.sender == "asterisk" and message.kind == "binary"
        )

    @property
    def closed(self) -> bool:
        """Whether the connection has ended and everything received has been recorded."""
        return self._closed

    @property
    def close_code(self) -> int | None:
        """Of the closing handshake (RFC 6455, 7.4); 1006 if there was none."""
        return self._connection.close_code

    # --- Sending ---

    async def send_media(self, data: bytes) -> None:
        """Send audio as one binary message."""
        async with self._sending:
            self._record("application", "binary", data)
            self.sent_bytes += len(data)
            await self._send(data)

    async def send_text(self, text: str) -> int:
        """Send a command as it stands, well-formed or not; return the offset it was sent at."""
        async with self._sending:
            self._record("application", "text", text.encode())
            offset = self.sent_bytes
            await self._send(text)
            return offset

    async def start_buffering(self) -> None:
        """Audio may come in pieces of any size from now on."""
        await self._command("START_MEDIA_BUFFERING")

    async def stop_buffering(self, correlation_id: str | None = None) -> None:
        """End of a stretch of audio; answered by MEDIA_BUFFERING_COMPLETED."""
        await self.send_text(protocol.command_stop_buffering(self.format, correlation_id))

    async def mark(self, mark_id: Id) -> int:
        """Put a playback mark behind the audio sent so far; return its offset."""
        return await self.send_text(self.mark_text(mark_id))

    def mark_text(self, mark_id: Id) -> str:
        """The command that `mark` sends, for `send_in_one_write`."""
        return protocol.command_mark(self.format, mark_id)

    async def mark_media(self, correlation_id: str | None = None) -> int:
        """The stock driver's MARK_MEDIA; return the offset it was put at."""
        return await self.send_text(protocol.command_mark_media(self.format, correlation_id))

    async def flush(self, flush_id: Id | None = None) -> None:
        """Throw away what is queued; with an id answered by MEDIA_FLUSHED."""
        await self.send_text(protocol.command_flush(self.format, flush_id))

    async def report_queue_drained(self) -> None:
        """Ask for one QUEUE_DRAINED when nothing is left to play."""
        await self._command("REPORT_QUEUE_DRAINED")

    async def report_playback(self, interval_ms: int | None = None) -> None:
        """Ask for a PLAYBACK now, or for one every ``interval_ms`` (0 ends that)."""
        await self.send_text(protocol.command_report_playback(self.format, interval_ms))

    async def pause(self) -> None:
        """Hold what is queued."""
        await self._command("PAUSE_MEDIA")

    async def continue_(self) -> None:
        """Go on playing."""
        await self._command("CONTINUE_MEDIA")

    async def get_status(self) -> None:
        """Ask for a STATUS."""
        await self._command("GET_STATUS")

    async def answer(self) -> None:
        """Answer the call, where the dial option ``n`` leaves that to the application."""
        await self._command("ANSWER")

    async def hangup(self) -> None:
        """Have Asterisk hang up; it then closes the connection: see `wait_closed`."""
        await self._command("HANGUP")

    async def close(self) -> None:
        """Close the connection from this side. Done already is fine."""
        self._record_our_close(Close(CloseCode.NORMAL_CLOSURE, "").serialize())
        await self._connection.close()
        await self._reader

    # --- Sending as no application should ---

    async def send_in_one_write(self, messages: Sequence[bytes | str]) -> None:
        """Send audio (bytes) and commands (text) in one write to the socket, in this order.

        So they are in one TCP segment, as far as it holds them (64 KiB on loopback), or in one TLS
        record (16 KiB). More marks than that are a flood: each write is handed to the kernel as
        one, and the next one waits until the kernel takes it.
        """
        async with self._sending, self._frames() as frames:
            for message in messages:
                if isinstance(message, bytes):
                    self._record("application", "binary", message)
                    self.sent_bytes += len(message)
                    frames.send_binary(message)
                else:
                    self._record("application", "text", message.encode())
                    frames.send_text(message.encode())
            self._write(b"".join(frames.data_to_send()))

    async def send_media_fragmented(self, data: bytes, fragment_bytes: int) -> None:
        """Send audio as one message in WebSocket fragments (RFC 6455, 5.4) of so many bytes each.

        Every fragment is a write of its own; none is empty. Audio that fits into one is not
        fragmented.
        """
        if fragment_bytes < 1:
            raise InputFault(f"a fragment of {fragment_bytes} bytes", "Give 1 byte or more.")
        starts = range(0, max(1, len(data)), fragment_bytes)
        async with self._sending, self._frames() as frames:
            self._record("application", "binary", data)
            self.sent_bytes += len(data)
            for begin in starts:
                piece = data[begin : begin + fragment_bytes]
                last = begin == starts[-1]
                if begin == 0:
                    frames.send_binary(piece, fin=last)
                else:
                    frames.send_continuation(piece, fin=last)
                self._write(b"".join(frames.data_to_send()))

    async def send_media_stalled(self, data: bytes, stall_s: float) -> None:
        """Send audio as one message of which the second half comes ``stall_s`` seconds later.

        The frame's header, which says how long it is, is in the first half.
        """
        async with self._sending:
            async with self._frames() as frames:
                self._record("application", "binary", data)
                self.sent_bytes += len(data)
                frames.send_binary(data)
                # Masked already where we are the client: it can be cut anywhere.
                frame = b"".join(frames.data_to_send())
                self._write(frame[: len(frame) // 2])
            # The connection must write nothing of its own into the middle of the frame. It would
            # do so to answer a ping, and Asterisk sends none.
            await asyncio.sleep(stall_s)
            async with self._frames():
                self._write(frame[len(frame) // 2 :])

    async def abort(self) -> None:
        """Break the connection off as a process that is killed does: TCP RST, no close frame."""
        self._record_our_close(b"")
        break_off(self._connection.transport)
        await self._reader

    # --- Receiving ---

    def stop_reading(self) -> None:
        """Read nothing any more from the socket, as an application does that hangs."""
        self._connection.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Read again what has come meanwhile and what comes."""
        self._connection.transport.resume_reading()

    async def wait_event(
        self, name: str, timeout_s: float = EVENT_TIMEOUT_S, **fields: Any
    ) -> Event:
        """The first event ``name`` with these fields that no earlier call has returned.

        It may have come already. Values are compared with their types: a field of a plain-text
        event is a string. Raises HarnessFault, saying which events did come, on time-out and when
        the connection ends.
        """

        def take() -> Event | None:
            for index, event in enumerate(self.events):
                if index not in self._taken and event.matches(name, fields):
                    self._taken.add(index)
                    return event
            return None

        async def taken() -> Event | None:
            async with self._arrived:
                while (event := take()) is None and not self._closed:
                    await self._arrived.wait()
                return event

        wanted = " ".join([name, *(f"{key}={value!r}" for key, value in fields.items())])
        try:
            # Looked for at once: with a time-out of 0, wait_for would not even begin.
            event = take() or await asyncio.wait_for(taken(), timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"no event {wanted} within {timeout_s:g} s", self._events_so_far()
            ) from None
        if event is None:
            raise HarnessFault(
                f"the connection ended (close code {self.close_code}) with no event {wanted}",
                self._events_so_far(),
            )
        return event

    async def wait_heard(
        self, threshold_dbfs: float = SPEECH_DBFS, timeout_s: float = EVENT_TIMEOUT_S
    ) -> Message:
        """The message with which it is clear that somebody speaks: `SPEECH_MESSAGES` loud ones.

        Only what comes from now on counts. Raises HarnessFault on time-out, with the loudest that
        was heard, and when the connection ends; InputFault for a codec that cannot be decoded here.
        """
        codec = str(self.media_start.fields.get("format", "ulaw"))
        energy_dbfs(b"", codec)
        examined = len(self.messages)
        loud, loudest = 0, float("-inf")

        def heard() -> Message | None:
            nonlocal examined, loud, loudest
            while examined < len(self.messages):
                message = self.messages[examined]
                examined += 1
                if message.sender == "asterisk" and message.kind == "binary":
                    energy = energy_dbfs(message.data, codec)
                    loudest = max(loudest, energy)
                    loud = loud + 1 if energy > threshold_dbfs else 0
                    if loud == SPEECH_MESSAGES:
                        return message
            return None

        async def wait() -> Message | None:
            async with self._heard:
                while (message := heard()) is None and not self._closed:
                    await self._heard.wait()
                return message

        why = f"within {timeout_s:g} s"
        try:
            message = await asyncio.wait_for(wait(), timeout_s)
            if message is not None:
                return message
            why = "before the connection ended"
        except asyncio.TimeoutError:
            pass
        raise HarnessFault(
            f"nobody was heard to speak {why}: the loudest audio was {loudest:.1f} dBFS, and"
            f" speech is louder than {threshold_dbfs:g}",
            "Does the caller speak, and does Asterisk send its audio on?",
        )

    async def iterate_events(self) -> AsyncIterator[Event]:
        """All events from the first one on, until the connection ends."""
        for index in itertools.count():
            async with self._arrived:
                while index == len(self.events) and not self._closed:
                    await self._arrived.wait()
            if index == len(self.events):
                return
            yield self.events[index]

    async def wait_closed(self, timeout_s: float = EVENT_TIMEOUT_S) -> None:
        """Until the connection has ended, by whichever side."""
        try:
            await asyncio.wait_for(asyncio.shield(self._reader), timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"the connection was not closed within {timeout_s:g} s", self._events_so_far()
            ) from None

    # --- Inside ---

    async def _command(self, command: str) -> None:
        await self.send_text(protocol.command_simple(self.format, command))

    async def _send(self, data: str | bytes) -> None:
        with self._ended_is_a_fault():
            await self._connection.send(data)

    @asynccontextmanager
    async def _frames(self) -> AsyncIterator[Protocol]:
        """The connection's frames without its socket. Leaving waits until the kernel takes more."""
        with self._ended_is_a_fault():
            async with self._connection.send_context():
                yield self._connection.protocol

    def _write(self, data: bytes) -> None:
        self._connection.transport.write(data)

    @contextmanager
    def _ended_is_a_fault(self) -> Iterator[None]:
        try:
            yield
        except websockets.ConnectionClosed as closed:
            raise ConnectionEnded(
                f"the connection had ended ({closed}) when something was to be sent",
                self._events_so_far(),
            ) from closed

    def _record(self, sender: Sender, kind: MessageKind, data: bytes) -> None:
        self.messages.append(Message(time.time_ns(), sender, kind, data))

    def _record_our_close(self, data: bytes) -> None:
        if self._connection.protocol.state is State.OPEN:
            self._closed_by_us = True
            self._record("application", "close", data)

    async def _read(self) -> None:
        try:
            with suppress(websockets.ConnectionClosed):
                while True:
                    await self._received(await self._connection.recv())
        finally:
            frames = self._connection.protocol
            if frames.close_rcvd:
                self._record("asterisk", "close", frames.close_rcvd.serialize())
            elif not self._closed_by_us:  # the connection broke
                self._record("asterisk", "close", b"")
            self._closed = True
            for condition in (self._arrived, self._heard):
                async with condition:
                    condition.notify_all()

    async def _received(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._record("asterisk", "binary", data)
            self.received_packets += 1
            async with self._heard:
                self._heard.notify_all()
            return
        self._record("asterisk", "text", data.encode())
        self.events.append(protocol.parse_event(data))
        async with self._arrived:
            self._arrived.notify_all()

    def _events_so_far(self, last: int = 20) -> str:
        if not self.events:
            return "No event has come at all."
        left_out = f"... {len(self.events) - last} more, then " if len(self.events) > last else ""
        events = "".join(f"\n    {event}" for event in self.events[-last:])
        return f"The events that came: {left_out}{events}"


def break_off(transport: asyncio.WriteTransport) -> None:
    """End a TCP connection with RST; what is not sent yet is thrown away. Ended already is fine."""
    # A socket that does not linger is reset when it is closed (SO_LINGER, socket(7)).
    linger = struct.pack("ii", 1, 0)
    with suppress(OSError):
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


class MediaServer:
    """The application as a server that Asterisk connects to. Made by `serve`."""

    def __init__(self, with_handshake: Sequence[str] = ()) -> None:
        self.uri = ""
        """where Asterisk is to connect to"""
        self._with_handshake = [text.encode() for text in with_handshake]
        self._ready: asyncio.Queue[MediaSession] = asyncio.Queue()
        self._listener: Server | None = None

    @property
    def port(self) -> int:
        """that it listens on"""
        return int(self.uri.rstrip("/").rpartition(":")[2])

    def stop_listening(self) -> None:
        """Take no more connections and give the port free; those that are open stay."""
        if self._listener is not None:
            # The TCP server's own: the WebSocket server's would also wait for the connections.
            self._listener.server.close()

    async def accept(self, timeout_s: float = OPEN_TIMEOUT_S) -> MediaSession:
        """The next call, in the order their MEDIA_START came in. HarnessFault if none comes."""
        try:
            return await asyncio.wait_for(self._ready.get(), timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"Asterisk did not open a media connection to {self.uri} within {timeout_s:g} s",
                "Asterisk's log says what became of the call.",
            ) from None

    def _glue(self, connection: ServerConnection, request: Request, response: Response) -> None:
        # A 101 has no body (RFC 9110, 15.2): what is written behind its header is frames already.
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            response.body = b"".join(
                Frame(Opcode.TEXT, text).serialize(mask=False) for text in self._with_handshake
            )

    async def _handle(self, connection: ServerConnection) -> None:
        session = MediaSession(connection)
        for text in self._with_handshake:
            session._record("application", "text", text)
        try:
            session.media_start = await session.wait_event("MEDIA_START", OPEN_TIMEOUT_S)
            self._ready.put_nowait(session)
            # The library closes the connection as soon as this function returns.
            await connection.wait_closed()
        finally:
            await session.close()


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1",
    port: int = 0,
    receive_buffer_bytes: int | None = None,
    with_handshake: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[MediaServer]:
    """Listen for Asterisk's connections, by default on a free port. Leaving closes them all.

    With ``receive_buffer_bytes`` the kernel keeps little more than that for a connection that is
    not read, on either side: by default both sides of a loopback connection keep megabytes.

    The text messages ``with_handshake`` are sent in the same write as the HTTP reply that opens the
    WebSocket. What MEDIA_START says of their spelling is not known by then.

    With ``tls``, a server's, the connections are wss://. Raises EnvironmentFault when the port
    cannot be had.
    """
    server = MediaServer(with_handshake)
    try:
        listener = await websocket_serve(
            server._handle,
            host,
            port,
            ssl=tls,
            process_response=server._glue,
            subprotocols=[_SUBPROTOCOL],
            **_OPTIONS,
        )
    except OSError as error:
        raise EnvironmentFault(
            f"the application cannot listen at {host}:{port}: {error.strerror}",
            "Is it an address of this machine, and does nobody else listen there (ss -tlnp)?",
        ) from error
    async with listener:
        server._listener = listener
        socket_ = next(iter(listener.sockets))
        if receive_buffer_bytes is not None:
            # Inherited by the connections. The sender's own buffer grows with the segment size.
            socket_.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
            socket_.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _ETHERNET_SEGMENT_BYTES)
        bound_port = socket_.getsockname()[1]
        server.uri = f"{'wss' if tls else 'ws'}://{host}:{bound_port}/"
        yield server


@asynccontextmanager
async def connect(uri: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[MediaSession]:
    """Connect to the URI of a call that waits for its application. Leaving closes it.

    For wss:// Asterisk's certificate is verified by ``tls``, by default with the machine's
    authorities. Yields once MEDIA_START has come. HarnessFault when the connection is refused.
    """
    try:
        # Never through a proxy that the environment names: this is traffic with the PBX.
        connection = await websocket_connect(
            uri, ssl=tls, subprotocols=[_SUBPROTOCOL], proxy=None, **_OPTIONS
        )
    except (OSError, asyncio.TimeoutError, websockets.WebSocketException) as error:
        raise HarnessFault(
            f"cannot connect to {uri}: {error}",
            "The id in it is that of one call and serves once, while that call waits.",
        ) from error
    session = MediaSession(connection)
    try:
        session.media_start = await session.wait_event("MEDIA_START", OPEN_TIMEOUT_S)
        yield session
    finally:
        await session.close()
