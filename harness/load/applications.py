"""The applications of many calls in one process, at as little cost as Python allows.

They are told apart from agents by what they leave out: nothing that comes is looked into while the
calls are up. The handshake is the library's. Acknowledgements are counted; the capture has them.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from harness.capture.timeline import ULAW
from harness.errors import EnvironmentFault
from harness.load.disturbance import Disturbance
from harness.load.stream import CHUNK_S, LEAD_CHUNKS, Stream, frames_of, rest_of_frame

_TICK_S = 0.005
"""All that is due in one is sent in one go: a wake-up for each would cost more than the sending"""
_BUFFER_BYTES = 1 << 16
_BEHIND_S = 2.0
"""so much later than it could have been media is played: a call takes a moment to be set up, and a
host was seen to stall four times in a call, for 0.3 s each"""
CROSSING_S = 1.0
"""what was sent so long before a call ended, or later, Asterisk need not have read: a busy host was
seen to keep its threads waiting for 0.4 s"""
_CLOSE = b"\x88\x02\x03\xe8"
"""a close frame with the code 1000"""


class Applications:
    """The server that Asterisk connects to, and its calls. Made by `applications`."""

    def __init__(self) -> None:
        self.uri = ""
        """where Asterisk is to connect to"""
        self.port = 0
        self.calls: list[ApplicationCall] = []
        """in the order in which they began"""
        self.most_late_s = 0.0
        """how late a chunk was sent at most; reset it for another time"""
        self.buffer = memoryview(bytearray(_BUFFER_BYTES))
        """that all read into; a view, since asyncio's TLS writes to slices of it"""
        self._due: deque[tuple[float, ApplicationCall]] = deque()
        self._stream: Stream | None = None
        self._disturbance: Callable[[int], Disturbance] | None = None
        self._speaking = False

    def speak(
        self, stream: Stream, disturbance: Callable[[int], Disturbance] | None = None
    ) -> None:
        """Have each call that begins from now on speak this from its beginning.

        ``disturbance`` gives what the call of that number does besides.
        """
        self._stream, self._speaking = stream, True
        self._disturbance = disturbance

    def fall_silent(self) -> None:
        """Each call ends its speech with a whole frame, and says no more."""
        self._speaking = False

    @property
    def open_count(self) -> int:
        """How many connections are open."""
        return sum(not call.closed for call in self.calls)

    @property
    def acknowledged(self) -> bool:
        """Whether all calls are silent again, and as many events have come as marks were set."""
        now = time.monotonic()
        # Not by the number alone: some may have come twice, before the last ones were due.
        return not self._due and all(
            call.closed or (call.events >= call.marks_sent and now >= call.media_ends + _BEHIND_S)
            for call in self.calls
        )

    def began(self, call: ApplicationCall) -> None:
        """MEDIA_START has come."""
        call.number = len(self.calls)
        self.calls.append(call)
        if self._stream is not None and self._speaking:
            call.begin(self._stream, self._disturbance and self._disturbance(call.number))
            self._due.append((time.monotonic() + CHUNK_S, call))

    async def run(self) -> None:
        """Send what is due when it is due; until cancelled."""
        due = self._due
        while True:
            now = time.monotonic()
            # All have the same period: so the order in which they are due never changes.
            while due and due[0][0] <= now:
                at, call = due.popleft()
                if call.closed:
                    continue
                if not self._speaking:
                    call.finish()
                    continue
                self.most_late_s = max(self.most_late_s, now - at)
                if call.send_next():
                    due.append((at + CHUNK_S, call))
                else:
                    call.finish()
            await asyncio.sleep(_TICK_S)


class ApplicationCall(asyncio.BufferedProtocol):
    """One connection of Asterisk's."""

    number = -1
    """of the call, once it has begun"""
    closed = False

    def __init__(self, applications: Applications) -> None:
        self._applications = applications
        self._http: ServerProtocol | None = ServerProtocol(subprotocols=[Subprotocol("media")])
        self._frames = FrameCounter()
        self.client_port = 0
        self.sent_bytes = 0
        """of media"""
        self.marks_sent = 0
        self.marks_owed = 0
        """those that must be acknowledged: the latest ones may cross the caller's hang-up"""
        self._sent: deque[tuple[float, int]] = deque()
        """when each chunk was, and how many marks with it; of those that may cross it"""
        self._stream: Stream | None = None
        self._disturbance: Disturbance | None = None
        self._began = 0.0
        self._next = 0

    @property
    def events(self) -> int:
        """Text messages so far, without MEDIA_START."""
        return max(0, self._frames.texts - 1)

    @property
    def media_ends(self) -> float:
        """When all that it has sent has been played at the earliest, by the monotonic clock."""
        return self._began + self.sent_bytes / ULAW.bytes_per_second

    def begin(self, stream: Stream, disturbance: Disturbance | None) -> None:
        """Send the first chunks."""
        self._began = time.monotonic()
        self._stream = stream
        self._transport.write(stream.start)
        for _ in range(LEAD_CHUNKS):
            self.send_next()
        self._disturbance = disturbance

    def send_next(self) -> bool:
        """Send the next chunk, if there is one."""
        if self._stream is None or self._next == len(self._stream.chunks):
            return False
        if self._disturbance:
            if frames := self._disturbance.next():
                self._transport.write(frames)
            if self._disturbance.hangs_up:
                # It is read behind them.
                self.marks_owed = self.marks_sent
                self._sent.clear()
                self._disturbance = self._stream = None
                return False
        chunk = self._stream.chunks[self._next]
        self._next += 1
        if chunk.size:
            self._transport.write(frames_of(chunk, self.number))
        self.sent_bytes += chunk.size
        self.marks_sent += len(chunk.pieces)
        now = time.monotonic()
        self._sent.append((now, self.marks_sent))
        self._note_owed(now)
        return True

    def _note_owed(self, now: float) -> None:
        while self._sent and self._sent[0][0] <= now - CROSSING_S:
            self.marks_owed = self._sent.popleft()[1]

    def finish(self) -> None:
        """Send what makes its media whole frames."""
        if self._stream is None:
            return
        if self._disturbance and (frames := self._disturbance.undo()):
            self._transport.write(frames)
        size, frame = rest_of_frame(self.number, self.sent_bytes)
        if size:
            self._transport.write(frame)
        self.sent_bytes += size

    # --- asyncio's ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self.client_port = transport.get_extra_info("peername")[1]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._applications.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._applications.buffer[:nbytes]
        if self._http is not None:
            self._shake_hands(self._http, bytes(data))
            return
        begun = self._frames.texts > 0
        self._frames.feed(data)
        if self._frames.closed:
            self._note_owed(time.monotonic())
            self._transport.write(_CLOSE)
            self._transport.close()
        elif self._frames.texts and not begun:
            self._applications.began(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True

    def abort(self) -> None:
        """Break the connection off, if it is open."""
        if not self.closed:
            self._transport.abort()

    def _shake_hands(self, http: ServerProtocol, data: bytes) -> None:
        http.receive_data(data)
        for request in http.events_received():
            assert isinstance(request, Request)
            http.send_response(http.accept(request))
        for written in http.data_to_send():
            if written:
                self._transport.write(written)
        if http.state is State.OPEN:
            self._http = None
        elif http.close_expected():
            self._transport.close()  # whoever that was, it is no call


class FrameCounter:
    """Counts the text messages in a stream of WebSocket frames, each of which is one frame."""

    def __init__(self) -> None:
        self.texts = 0
        self.closed = False
        """whether the other side has closed the connection"""
        self._skip = 0
        """bytes of a frame that are still to come"""
        self._head = b""
        """of the next one"""

    def feed(self, data: memoryview) -> None:
        """What came next."""
        at, end = 0, len(data)
        if self._head:
            joined = self._head + bytes(data)
            self._head = b""
            self.feed(memoryview(joined))
            return
        while True:
            if self._skip:
                taken = min(self._skip, end - at)
                self._skip -= taken
                at += taken
            if at == end:
                return
            header = _header_bytes(data, at, end)
            if not header:
                self._head = bytes(data[at:])
                return
            length = data[at + 1] & 0x7F
            if length > 125:
                length = int.from_bytes(data[at + 2 : at + (4 if length == 126 else 10)], "big")
            kind = data[at] & 0x0F
            self.texts += kind == 1
            self.closed |= kind == 8
            at += header
            self._skip = length


def _header_bytes(data: memoryview, at: int, end: int) -> int:
    """How long the header of the frame is that begins there; 0 if it is not whole."""
    if end - at < 2:
        return 0
    second = data[at + 1]
    length = second & 0x7F
    size = 2 + (0 if length < 126 else 2 if length == 126 else 8) + (4 if second & 0x80 else 0)
    return size if end - at >= size else 0


@asynccontextmanager
async def applications(
    host: str, port: int, tls: ssl.SSLContext | None
) -> AsyncIterator[Applications]:
    """Listen for Asterisk's connections; ``port`` 0 is any that is free. Leaving closes all.

    Raises EnvironmentFault when the port cannot be had.
    """
    found = Applications()
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(
            lambda: ApplicationCall(found), host, port, ssl=tls, backlog=512
        )
    except OSError as error:
        raise EnvironmentFault(
            f"the application cannot listen at {host}:{port}: {error.strerror}",
            "Is it an address of this machine, and does nobody else listen there (ss -tlnp)?",
        ) from error
    found.port = server.sockets[0].getsockname()[1]
    found.uri = f"{'wss' if tls else 'ws'}://{host}:{found.port}/"
    running = loop.create_task(found.run())
    try:
        yield found
    finally:
        running.cancel()
        server.close()
        for call in found.calls:
            call.abort()
