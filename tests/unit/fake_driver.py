"""A driver with playback acknowledgements on a clock of its own: to a session it is a connection.

Only what an agent's calls need is modelled: mu-law, frames of 20 ms of which one is on its way, and
a `tick` that plays it and takes the next one from the queue. It knows what was heard.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from types import SimpleNamespace
from typing import Any

from websockets.exceptions import ConnectionClosedOK
from websockets.frames import Close, CloseCode
from websockets.protocol import State

from chan_websocket.protocol import Command, parse_command

FRAME = 160
START = '{"event":"MEDIA_START","channel_id":"1.1","format":"ulaw","optimal_frame_size":160'
PATCHED = START + ',"ptime":20,"playback_marks":2}'
STOCK = START + ',"ptime":20}'


class FakeDriver:
    """Asterisk's end of a media connection, in JSON."""

    def __init__(self, start: str = PATCHED) -> None:
        self.received = 0
        self.heard: list[tuple[int, int]] = []
        """what was played to the caller, as ranges of offsets"""
        self.commands: list[Command] = []
        """all of them"""
        self.longest_queue = 0
        """in bytes"""
        self.lose_next = False
        """whether the next frame is not sent to the caller"""
        self.flushed = self.dropped = 0
        self._queue: deque[tuple[int, int]] = deque()
        self._playing: tuple[int, int] | None = None
        self._losing = False
        self._marks: list[tuple[int, int, str]] = []
        self._flushes: list[tuple[str, int, list[tuple[int, int, str]]]] = []
        self._to_session: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        # What a session wants to know of its connection.
        self.protocol = SimpleNamespace(state=State.OPEN, close_rcvd=None)
        self.request = None
        self.close_code: int | None = None
        self.say(start)

    # --- For tests ---

    def say(self, message: str | bytes) -> None:
        """Send something as it stands."""
        self._to_session.put_nowait(message)

    def event(self, name: str, **fields: Any) -> None:
        """Send an event."""
        self.say(json.dumps({"event": name, **fields}))

    def tick(self) -> None:
        """20 ms pass."""
        if self._playing:
            begin, end = self._playing
            if self._losing:
                self.dropped += end - begin
                self.event("MEDIA_DROPPED", bytes=end - begin, reason="unsent", offset=begin)
            else:
                self.heard.append((begin, end))
            self._playing = None
            self._acknowledge(end)
        for flush_id, count, discarded in self._flushes:
            for mark in discarded:
                self.event("MARK_DISCARDED", id=mark[2], reason="flush")
            played = sum(end - begin for begin, end in self.heard)
            self.event("MEDIA_FLUSHED", id=flush_id, played=played, flushed=count)
        self._flushes.clear()
        if self._queue:
            begin, end = self._queue.popleft()
            if end - begin > FRAME:
                self._queue.appendleft((begin + FRAME, end))
                end = begin + FRAME
            self._playing = (begin, end)
            self._losing, self.lose_next = self.lose_next, False

    @property
    def idle(self) -> bool:
        """Whether nothing is left to be played."""
        return not self._queue and not self._playing

    def hang_up(self) -> None:
        """The caller hangs up: what is on its way is not played any more."""
        if self.protocol.state is not State.OPEN:
            return
        for _, _, discarded in self._flushes:
            self._marks += discarded
        left = sum(end - begin for begin, end in self._queue)
        if self._playing:
            left += self._playing[1] - self._playing[0]
        for mark in sorted(self._marks):
            self.event("MARK_DISCARDED", id=mark[2], reason="hangup")
        flushed = self.flushed + left
        self.event("PLAYBACK", received=self.received, flushed=flushed, final=True)
        self._end()

    def break_off(self) -> None:
        """The connection ends with not a word."""
        self._end()

    # --- As a connection ---

    async def send(self, message: str | bytes) -> None:
        """A message of the session's."""
        if self.protocol.state is not State.OPEN:
            raise ConnectionClosedOK(None, None)
        if isinstance(message, bytes):
            self._queue.append((self.received, self.received + len(message)))
            self.received += len(message)
            queued = sum(end - begin for begin, end in self._queue)
            self.longest_queue = max(self.longest_queue, queued)
            return
        command = parse_command(message)
        self.commands.append(command)
        if command.name == "MARK":
            offset = command.offset if command.has_offset else self.received
            assert offset is not None and isinstance(command.id, str)
            self._marks.append((offset, len(self.commands), command.id))
            self._acknowledge(self._passed)
        elif command.name == "FLUSH_MEDIA":
            count = sum(end - begin for begin, end in self._queue)
            self._queue.clear()
            self.flushed += count
            passed = self._playing[1] if self._playing else self._passed
            discarded = [mark for mark in sorted(self._marks) if passed < mark[0] <= self.received]
            self._marks = [mark for mark in self._marks if mark not in discarded]
            if command.id is not None:
                self._flushes.append((str(command.id), count, discarded))
                if not self._playing:
                    self._flush_now()
        elif command.name == "HANGUP":
            self.hang_up()

    async def recv(self) -> str | bytes:
        """The next message for the session."""
        message = await self._to_session.get()
        if message is None:
            raise ConnectionClosedOK(None, None)
        return message

    async def close(self) -> None:
        """The session has enough."""
        self._end()

    # --- Inside ---

    @property
    def _passed(self) -> int:
        """The offset up to which nothing is left to be played."""
        if self._playing:
            return self._playing[0]
        return self._queue[0][0] if self._queue else self.received

    def _flush_now(self) -> None:
        queue, self._queue = self._queue, deque()
        self.tick()
        self._queue = queue

    def _acknowledge(self, offset: int) -> None:
        due = sorted(mark for mark in self._marks if mark[0] <= offset)
        self._marks = [mark for mark in self._marks if mark not in due]
        for mark in due:
            self.event("MARK_PLAYED", id=mark[2], offset=mark[0], stage="sent")

    def _end(self) -> None:
        if self.protocol.state is State.OPEN:
            self.protocol.state = State.CLOSED
            self.protocol.close_rcvd = Close(CloseCode.NORMAL_CLOSURE, "")
            self.close_code = 1000
            self._to_session.put_nowait(None)
