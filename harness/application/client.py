"""The harness's own application: a `chan_websocket.Call` that keeps every event, to be waited for.

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

What goes wrong is a Fault here. What is kept besides, and done wrong on purpose, is in recording.py
and disturb.py.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection

import chan_websocket.server
from chan_websocket.call import Call
from chan_websocket.errors import CallEnded, ConnectFailed
from chan_websocket.protocol import Event, Id
from chan_websocket.session import OPEN_TIMEOUT_S
from harness.application.events import ReceivedEvents
from harness.errors import EnvironmentFault, HarnessFault, InputFault

EVENT_TIMEOUT_S = 10.0
"""the usual time-out of `wait_event`"""


class ConnectionEnded(HarnessFault, CallEnded):
    """Something was to be done on a connection that has ended, by whichever side."""


class MediaSession(Call):
    """One call, as the application sees it. Made by `serve` and `connect`."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._events = ReceivedEvents()

    @property
    def events(self) -> list[Event]:
        """Every event so far, in order."""
        return self._events.all

    def mark_text(self, mark_id: Id, offset: int | None = None) -> str:
        """The command that `mark` sends."""
        try:
            return super().mark_text(mark_id, offset)
        except ValueError as error:
            raise InputFault(str(error)) from error

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

    async def wait_closed(self, timeout_s: float | None = EVENT_TIMEOUT_S) -> None:
        """Until the connection has ended, by whichever side."""
        try:
            await super().wait_closed(timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"the connection was not closed within {timeout_s:g} s", str(self._events)
            ) from None

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        self._events.add(event)

    def _on_closed(self) -> None:
        super()._on_closed()
        self._events.end(f"the connection ended (close code {self.close_code})")

    @contextmanager
    def _ended_is_an_error(self) -> Iterator[None]:
        try:
            with super()._ended_is_an_error():
                yield
        except CallEnded as ended:
            raise ConnectionEnded(str(ended), str(self._events)) from ended


Session = TypeVar("Session", bound=MediaSession)


class MediaServer(chan_websocket.server.MediaServer[Session]):
    """The application as a server that Asterisk connects to. Made by `serve`."""

    async def accept(self, timeout_s: float | None = OPEN_TIMEOUT_S) -> Session:
        """The next call, in the order their MEDIA_START came in. HarnessFault if none comes."""
        try:
            return await super().accept(timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"Asterisk did not open a media connection to {self.uri} within {timeout_s:g} s",
                "Asterisk's log says why the call failed.",
            ) from None


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
    serving = chan_websocket.server.serve_sessions(server, host, port, tls, **options)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(serving)
        except OSError as error:
            raise EnvironmentFault(
                f"the application cannot listen at {host}:{port}: {error.strerror}",
                "Is it an address of this machine, and does nobody else listen there (ss -tlnp)?",
            ) from error
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
    async with AsyncExitStack() as stack:
        connecting = chan_websocket.server.connect_session(session_of, uri, tls)
        try:
            session = await stack.enter_async_context(connecting)
        except ConnectFailed as failed:
            raise HarnessFault(str(failed)) from failed
        yield session
