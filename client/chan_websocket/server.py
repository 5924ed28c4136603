"""Media connections in both directions: Asterisk connects to the agent, or it to Asterisk."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.asyncio.server import Server, ServerConnection
from websockets.asyncio.server import serve as websocket_serve
from websockets.typing import Subprotocol

from chan_websocket.call import Call
from chan_websocket.errors import ConnectFailed
from chan_websocket.session import CLOSE_TIMEOUT_S, OPEN_TIMEOUT_S, MediaSession

_SUBPROTOCOL = Subprotocol("media")
# No compression: it costs time and saves nothing on audio. No pings: they are needless traffic, and
# a dead peer shows as an event that does not come. No limit on the size of a message: what Asterisk
# sends is audio frames.
_OPTIONS: dict[str, Any] = {
    "compression": None,
    "ping_interval": None,
    "max_size": None,
    "open_timeout": OPEN_TIMEOUT_S,
    "close_timeout": CLOSE_TIMEOUT_S,
}

Session = TypeVar("Session", bound=MediaSession)


class MediaServer(Generic[Session]):
    """The agent as a server that Asterisk connects to. Made by `serve`.

    ``async for call in server`` has its calls, one after the other, without end.
    """

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

    async def accept(self, timeout_s: float | None = None) -> Session:
        """The next call, in the order their MEDIA_START came in. Raises TimeoutError."""
        return await asyncio.wait_for(self._ready.get(), timeout_s)

    def __aiter__(self) -> AsyncIterator[Session]:
        return self

    async def __anext__(self) -> Session:
        return await self._ready.get()

    async def _handle(self, connection: ServerConnection) -> None:
        session = self._session_of(connection)
        try:
            await session.wait_started()
            self._ready.put_nowait(session)
            # The library closes the connection as soon as this function returns.
            await connection.wait_closed()
        except ConnectFailed:
            pass  # whoever that was, it is no call
        finally:
            await session.close()


@asynccontextmanager
async def serve(
    host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[MediaServer[Call]]:
    """Listen for Asterisk's connections, by default on a free port. Leaving closes them all.

    With ``tls``, a server's, the connections are wss://. Raises OSError when the port cannot be
    had.
    """
    async with serve_sessions(MediaServer(Call), host, port, tls) as server:
        yield server


@asynccontextmanager
async def serve_sessions(
    server: MediaServer[Session],
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    **options: Any,
) -> AsyncIterator[MediaServer[Session]]:
    """`serve` with sessions of another kind; ``options`` go to the library websockets."""
    listening = websocket_serve(
        server._handle, host, port, ssl=tls, subprotocols=[_SUBPROTOCOL], **_OPTIONS, **options
    )
    async with listening as listener:
        server._listener = listener
        bound_port = server.socket.getsockname()[1]
        server.uri = f"{'wss' if tls else 'ws'}://{host}:{bound_port}/"
        yield server


@asynccontextmanager
async def connect(uri: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Call]:
    """Connect to the URI of a call that waits for its agent. Leaving closes it.

    For wss:// Asterisk's certificate is verified by ``tls``, by default with the machine's
    authorities. Yields once MEDIA_START has come. Raises ConnectFailed when there is no such call.
    """
    async with connect_session(Call, uri, tls) as call:
        yield call


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
        raise ConnectFailed(
            f"cannot connect to {uri}: {error}. The id in it is that of one call and serves once,"
            " while that call waits"
        ) from error
    session = session_of(connection)
    try:
        await session.wait_started()
        yield session
    finally:
        await session.close()
