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

Commands are sent in the control message format (plain text or JSON) of MEDIA_START.

This file and events.py need the library websockets, `harness.protocol` and `harness.errors`, and
nothing else of the harness. What the harness wants of its own applications besides is in
recording.py and disturb.py.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Generic, Literal, TypeVar

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as websocket_serve
from websockets.frames import Close, CloseCode
from websockets.protocol import State
from websockets.typing import Subprotocol

from harness import protocol
from harness.application.events import ReceivedEvents
from harness.errors import EnvironmentFault, HarnessFault
from harness.protocol import Event, Format, Id

OPEN_TIMEOUT_S = 5.0
"""for a connection to be made and MEDIA_START to come"""
EVENT_TIMEOUT_S = 10.0
"""the usual time-out of `wait_event`"""
CLOSE_TIMEOUT_S = 2.0

Kind = Literal["text", "binary", "close"]
"""of a message: a command or event, media, the end of the connection"""

_SUBPROTOCOL = Subprotocol("media")
# No compression: it would cost time and hide the audio from a capture. No pings: they are needless
# traffic, and a dead peer shows as an event that does not come. No limit on the size of
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
        self._events = ReceivedEvents()
        self._closed = self._closed_by_us = False
        self.sent_bytes = 0
        """media bytes sent: the offset in the stream of whatever is sent next"""
        self.media_start = Event("MEDIA_START")
        """replaced by the real one before anybody gets to see the session"""
        self._reader = asyncio.create_task(self._read())

    # --- What the session knows ---

    @property
    def events(self) -> list[Event]:
        """Every event so far, in order."""
        return self._events.all

    @property
    def format(self) -> Format:
        """This call's control message format: that of its MEDIA_START."""
        return Format.JSON if self.media_start.raw.lstrip().startswith("{") else Format.PLAIN

    @property
    def path(self) -> str:
        """Path and query of the URI that was connected to, by which calls can be told apart."""
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
    def closed(self) -> bool:
        """Whether the connection has ended and everything has been received."""
        return self._closed

    @property
    def close_code(self) -> int | None:
        """Of the closing handshake (RFC 6455, 7.4); 1006 if there was none."""
        return self._connection.close_code

    # --- Sending ---

    async def send_media(self, data: bytes) -> None:
        """Send audio as one binary message."""
        async with self._sending:
            self._on_sent("binary", data)
            self.sent_bytes += len(data)
            await self._send(data)

    async def send_text(self, text: str) -> int:
        """Send a command as it stands, well-formed or not; return the offset it was sent at."""
        async with self._sending:
            self._on_sent("text", text.encode())
            offset = self.sent_bytes
            await self._send(text)
            return offset

    async def start_buffering(self) -> None:
        """Audio may come in pieces of any size from now on."""
        await self._command("START_MEDIA_BUFFERING")

    async def stop_buffering(self, correlation_id: str | None = None) -> None:
        """End of a segment of audio; MEDIA_BUFFERING_COMPLETED follows."""
        await self.send_text(protocol.command_stop_buffering(self.format, correlation_id))

    async def mark(self, mark_id: Id, offset: int | None = None) -> int:
        """Put a playback mark behind the audio sent so far; return its offset.

        With ``offset`` it stands there, in bytes of media since the start of the stream: amid what
        was sent, or ahead of it.
        """
        sent = await self.send_text(self.mark_text(mark_id, offset))
        return sent if offset is None else offset

    def mark_text(self, mark_id: Id, offset: int | None = None) -> str:
        """The command that `mark` sends."""
        return protocol.command_mark(self.format, mark_id, offset)

    async def mark_media(self, correlation_id: str | None = None) -> int:
        """The stock driver's MARK_MEDIA; return the offset it was put at."""
        return await self.send_text(protocol.command_mark_media(self.format, correlation_id))

    async def flush(self, flush_id: Id | None = None) -> None:
        """Throw away what is queued; with an id, MEDIA_FLUSHED follows."""
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
        self._on_our_close(Close(CloseCode.NORMAL_CLOSURE, "").serialize())
        await self._connection.close()
        await self._reader

    # --- Receiving ---

    async def wait_event(
        self, name: str, timeout_s: float = EVENT_TIMEOUT_S, **fields: Any
    ) -> Event:
        """The first event ``name`` with these fields that no earlier call has returned.

        It may have come already. Values are compared with their types: a field of a plain-text
        event is a string. Raises HarnessFault, saying which events did come, on time-out and when
        the connection ends.
        """
        return await self._events.wait(name, fields, timeout_s)

    def iterate_events(self) -> AsyncIterator[Event]:
        """All events from the first one on, until the connection ends."""
        return self._events.iterate()

    async def wait_closed(self, timeout_s: float = EVENT_TIMEOUT_S) -> None:
        """Until the connection has ended, by whichever side."""
        try:
            await asyncio.wait_for(asyncio.shield(self._reader), timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"the connection was not closed within {timeout_s:g} s", str(self._events)
            ) from None

    # --- For subclasses: called for every message, in order ---

    def _on_sent(self, kind: Kind, data: bytes) -> None:
        """Something is about to be written to the socket; of a connection broken off b""."""

    def _on_received(self, kind: Kind, data: bytes) -> None:
        """Something was read from the socket; b"" as ``close`` if the connection broke."""

    def _on_closed(self) -> None:
        """Nothing more will be sent or received."""

    # --- Inside ---

    async def _command(self, command: str) -> None:
        await self.send_text(protocol.command_simple(self.format, command))

    async def _send(self, data: str | bytes) -> None:
        with self._ended_is_a_fault():
            await self._connection.send(data)

    @contextmanager
    def _ended_is_a_fault(self) -> Iterator[None]:
        try:
            yield
        except websockets.ConnectionClosed as closed:
            raise ConnectionEnded(
                f"the connection had ended ({closed}) when something was to be sent",
                str(self._events),
            ) from closed

    def _on_our_close(self, data: bytes) -> None:
        if self._connection.protocol.state is State.OPEN:
            self._closed_by_us = True
            self._on_sent("close", data)

    async def _read(self) -> None:
        try:
            with suppress(websockets.ConnectionClosed):
                while True:
                    await self._received(await self._connection.recv())
        finally:
            frames = self._connection.protocol
            if frames.close_rcvd:
                self._on_received("close", frames.close_rcvd.serialize())
            elif not self._closed_by_us:  # the connection broke
                self._on_received("close", b"")
            self._closed = True
            self._on_closed()
            await self._events.end(f"the connection ended (close code {self.close_code})")

    async def _received(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._on_received("binary", data)
            return
        self._on_received("text", data.encode())
        await self._events.add(protocol.parse_event(data))


Session = TypeVar("Session", bound=MediaSession)


class MediaServer(Generic[Session]):
    """The application as a server that Asterisk connects to. Made by `serve`."""

    def __init__(self, session_of: Callable[[ServerConnection], Session]) -> None:
        self.uri = ""
        """where Asterisk is to connect to"""
        self._session_of = session_of
        self._ready: asyncio.Queue[Session] = asyncio.Queue()
        self._listener: Server | None = None

    @property
    def port(self) -> int:
        """that it listens on"""
        return int(self.uri.rstrip("/").rpartition(":")[2])

    @property
    def socket(self) -> socket.socket:
        """that it listens on"""
        assert self._listener is not None, "it listens as long as `serve` is entered"
        return next(iter(self._listener.sockets))

    def stop_listening(self) -> None:
        """Take no more connections and give the port free; those that are open stay."""
        if self._listener is not None:
            # The TCP server's own: the WebSocket server's would also wait for the connections.
            self._listener.server.close()

    async def accept(self, timeout_s: float = OPEN_TIMEOUT_S) -> Session:
        """The next call, in the order their MEDIA_START came in. HarnessFault if none comes."""
        try:
            return await asyncio.wait_for(self._ready.get(), timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"Asterisk did not open a media connection to {self.uri} within {timeout_s:g} s",
                "Asterisk's log says why the call failed.",
            ) from None

    async def _handle(self, connection: ServerConnection) -> None:
        session = self._session_of(connection)
        try:
            session.media_start = await session.wait_event("MEDIA_START", OPEN_TIMEOUT_S)
            self._ready.put_nowait(session)
            # The library closes the connection as soon as this function returns.
            await connection.wait_closed()
        finally:
            await session.close()


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[MediaServer[MediaSession]]:
    """Listen for Asterisk's connections, by default on a free port. Leaving closes them all.

    With ``tls``, a server's, the connections are wss://. Raises EnvironmentFault when the port
    cannot be had.
    """
    async with serve_sessions(MediaSession, host, port, tls) as server:
        yield server


@asynccontextmanager
async def serve_sessions(
    session_of: Callable[[ServerConnection], Session],
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    **options: Any,
) -> AsyncIterator[MediaServer[Session]]:
    """`serve` with sessions of another kind; ``options`` go to the library."""
    server = MediaServer(session_of)
    try:
        listener = await websocket_serve(
            server._handle, host, port, ssl=tls, subprotocols=[_SUBPROTOCOL], **_OPTIONS, **options
        )
    except OSError as error:
        raise EnvironmentFault(
            f"the application cannot listen at {host}:{port}: {error.strerror}",
            "Is it an address of this machine, and does nobody else listen there (ss -tlnp)?",
        ) from error
    async with listener:
        server._listener = listener
        bound_port = server.socket.getsockname()[1]
        server.uri = f"{'wss' if tls else 'ws'}://{host}:{bound_port}/"
        yield server


@asynccontextmanager
async def connect(uri: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[MediaSession]:
    """Connect to the URI of a call that waits for its application. Leaving closes it.

    For wss:// Asterisk's certificate is verified by ``tls``, by default with the machine's
    authorities. Yields once MEDIA_START has come. HarnessFault when the connection is refused.
    """
    async with connect_session(MediaSession, uri, tls) as session:
        yield session


@asynccontextmanager
async def connect_session(
    session_of: Callable[[ClientConnection], Session], uri: str, tls: ssl.SSLContext | None
) -> AsyncIterator[Session]:
    """`connect` with a session of another kind."""
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
    session = session_of(connection)
    try:
        session.media_start = await session.wait_event("MEDIA_START", OPEN_TIMEOUT_S)
        yield session
    finally:
        await session.close()
