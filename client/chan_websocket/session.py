"""The media connection of one call: audio and commands out, audio and events in.

What an agent wants besides, utterances and interruptions, is in call.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import websockets
from websockets.asyncio.connection import Connection
from websockets.frames import Close, CloseCode
from websockets.protocol import State

from chan_websocket import protocol
from chan_websocket.errors import CallEnded, ConnectFailed
from chan_websocket.protocol import Event, Format, Id

OPEN_TIMEOUT_S = 5.0
"""for a connection to be made and MEDIA_START to come"""
CLOSE_TIMEOUT_S = 2.0
"""for the closing handshake, and for Asterisk to close the connection after a HANGUP"""

Kind = Literal["text", "binary", "close"]
"""of a message: a command or event, media, the end of the connection"""


class MediaSession:
    """One call's connection. Made by `serve` and `connect`.

    Nothing that has come is kept here: subclasses get it as it comes.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = asyncio.Lock()
        self._closed = self._closed_by_us = False
        self.sent_bytes = 0
        """media bytes sent: the offset in the stream of whatever is sent next"""
        self.media_start = Event("MEDIA_START")
        """replaced by the real one before anybody gets to see the session"""
        self._started: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._reader = asyncio.create_task(self._read())

    # --- What the session knows ---

    @property
    def format(self) -> Format:
        """This call's control message format: that of its MEDIA_START."""
        return Format.JSON if self.media_start.is_json else Format.PLAIN

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
        """Send audio as one binary message, at once. Raises CallEnded."""
        async with self._sending:
            await self._send_audio(data)

    async def send_text(self, text: str) -> int:
        """Send a command as it stands, well-formed or not; return the offset it was sent at.

        Raises CallEnded.
        """
        async with self._sending:
            return await self._send_command(text)

    async def start_buffering(self) -> None:
        """Audio may come in pieces of any size from now on, until a flush."""
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
        """The command that `mark` sends. Raises ValueError for an id that cannot be sent."""
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

    async def opt_in(self) -> None:
        """Have the patched driver treat this call as one that uses its commands, from now on.

        Each of them does: this one changes nothing else, and nothing is answered. Media sent before
        the first of them does not wait for a listener.
        """
        await self.report_playback(0)

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
        """Have Asterisk hang up at once; it then closes the connection: see `wait_closed`."""
        await self._command("HANGUP")

    async def close(self) -> None:
        """Close the connection from this side. Done already is fine."""
        self._on_our_close(Close(CloseCode.NORMAL_CLOSURE, "").serialize())
        await self._connection.close()
        await self._reader

    async def wait_closed(self, timeout_s: float | None = None) -> None:
        """Until the connection has ended, by whichever side. Raises TimeoutError."""
        await asyncio.wait_for(asyncio.shield(self._reader), timeout_s)

    async def wait_started(self, timeout_s: float = OPEN_TIMEOUT_S) -> None:
        """Until MEDIA_START has come; `serve` and `connect` have done so. Raises ConnectFailed."""
        try:
            self.media_start = await asyncio.wait_for(asyncio.shield(self._started), timeout_s)
        except asyncio.TimeoutError:
            raise ConnectFailed(
                f"no MEDIA_START came within {timeout_s:g} s: is the peer chan_websocket?"
            ) from None

    # --- For subclasses: called for every message, in order ---

    def _on_sent(self, kind: Kind, data: bytes) -> None:
        """Something is about to be written to the socket; of a connection broken off b""."""

    def _on_received(self, kind: Kind, data: bytes) -> None:
        """Something was read from the socket; b"" as ``close`` if the connection broke."""

    def _on_event(self, event: Event) -> None:
        """An event, which `_on_received` has had as text. MEDIA_START is the first one."""

    def _on_closed(self) -> None:
        """Nothing more will be sent or received."""

    # --- Inside; where it sends, `_sending` is held ---

    async def _command(self, command: str) -> None:
        await self.send_text(protocol.command_simple(self.format, command))

    async def _send_audio(self, data: bytes) -> None:
        self._on_sent("binary", data)
        self.sent_bytes += len(data)
        await self._send(data)

    async def _send_command(self, text: str) -> int:
        self._on_sent("text", text.encode())
        offset = self.sent_bytes
        await self._send(text)
        return offset

    async def _send(self, data: str | bytes) -> None:
        with self._ended_is_an_error():
            await self._connection.send(data)

    @contextmanager
    def _ended_is_an_error(self) -> Iterator[None]:
        try:
            yield
        except websockets.ConnectionClosed as closed:
            raise CallEnded(
                f"the connection had ended ({closed}) when something was to be sent"
            ) from closed

    def _on_our_close(self, data: bytes) -> None:
        if self._connection.protocol.state is State.OPEN:
            self._closed_by_us = True
            self._on_sent("close", data)

    async def _read(self) -> None:
        try:
            with suppress(websockets.ConnectionClosed):
                while True:
                    self._received(await self._connection.recv())
        finally:
            frames = self._connection.protocol
            if frames.close_rcvd:
                self._on_received("close", frames.close_rcvd.serialize())
            elif not self._closed_by_us:  # the connection broke
                self._on_received("close", b"")
            self._closed = True
            if not self._started.done():
                self._started.set_exception(
                    ConnectFailed(
                        f"the connection ended (close code {self.close_code}) before MEDIA_START"
                    )
                )
                self._started.exception()  # nobody may be waiting
            self._on_closed()

    def _received(self, data: str | bytes) -> None:
        if isinstance(data, bytes):
            self._on_received("binary", data)
            return
        self._on_received("text", data.encode())
        event = protocol.parse_event(data)
        if event.name == "MEDIA_START" and not self._started.done():
            self.media_start = event
            self._started.set_result(event)
        self._on_event(event)
