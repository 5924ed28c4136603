"""One call, as a voice agent sees it: it listens, speaks, and knows what was played.

What is spoken is an `Utterance`. Its audio is written as a text-to-speech engine makes it, its text
beside it; when it has been played, or was cut off, it says how far playback got and which words
were spoken to their end.

On a driver without playback acknowledgements all of this works on an estimate, see estimate.py, and
`Call.truthful` is False.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from websockets.asyncio.connection import Connection

from chan_websocket import protocol
from chan_websocket.codecs import Codec
from chan_websocket.errors import CallEnded
from chan_websocket.estimate import FRAME_S, Estimate
from chan_websocket.playback import Played, Range, cut_at, heard_text, last_played, overlap
from chan_websocket.protocol import Event, Id
from chan_websocket.session import CLOSE_TIMEOUT_S, Kind, MediaSession

T = TypeVar("T")

WINDOW_MS = 5000.0
"""how much audio may be sent ahead of its playback"""
_MESSAGE_MS = 200.0
"""at most in one message: the window is filled in these steps"""
_AUDIO_KEPT_MS = 5000.0
_SILENT_AFTER_S = 0.2
"""how long nothing may come from the caller before that is silence: no network is that uneven"""
_EVENTS_KEPT = 1000
_OWN_ID = "~"
"""how the ids of our own marks and flushes begin"""
_TRUTHFUL = 2
"""the version of the playback acknowledgements from which on played means sent"""
_UNACKNOWLEDGED_S = 2.0
"""how long after its estimated time a MARK_MEDIA that is not acknowledged is taken for reached"""


class Mark:
    """A point in the stream. Made by `Call.mark_at` and `Utterance.mark_at`."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        """in bytes since the start of the stream"""
        self._reached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._then: Callable[[bool, str], None] = lambda reached, reason: None
        self._expects_ack = False
        """whether a MARK_MEDIA of it is under way"""

    async def wait(self) -> bool:
        """Until playback has got there; False if it never will, or all before it was lost."""
        return await asyncio.shield(self._reached)

    @property
    def reached(self) -> bool | None:
        """What `wait` returns; None as long as it waits."""
        return self._reached.result() if self._reached.done() else None

    def _settle(self, reached: bool, reason: str = "") -> None:
        if not self._reached.done():
            self._reached.set_result(reached)
            self._then(reached, reason)


@dataclass
class _Flush:
    offset: int
    """of the stream's end when it was sent"""
    cut: list[Utterance]
    done: asyncio.Future[int]
    """the offset at which it cut playback off"""


class Utterance:
    """What the agent says, from its first sample to its last. Made by `Call.utterance`.

    One utterance is written after the other, each until `end`.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._begin: int | None = None
        self._written = 0
        self._ended = False
        self._cut = False
        self._pieces: list[tuple[int, str]] = []
        """of its text, with the bytes of the utterance's audio up to the end of each"""
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[bool] = loop.create_future()
        self._done: asyncio.Future[Played] = loop.create_future()

    @property
    def begin(self) -> int | None:
        """The offset of its first byte in the call's stream; None until it is written."""
        return self._begin

    @property
    def written_ms(self) -> float:
        """How long the audio is that has been written so far."""
        return self._written / self._call.bytes_per_ms

    @property
    def has_text(self) -> bool:
        """Whether any of its text is known."""
        return bool(self._pieces)

    @property
    def result(self) -> Played | None:
        """What `played` returns; None as long as it waits."""
        return self._done.result() if self._done.done() else None

    async def write(self, audio: bytes, text: str = "") -> bool:
        """Say this, once there is room in the window; ``text`` is spoken when it has been played.

        The audio is in the call's format, in pieces of any size. Returns False if the utterance is
        cut off, by `Call.interrupt` or the end of the call: then the rest was thrown away.
        """
        step = self._call.bytes_of(_MESSAGE_MS)
        for begin in range(0, len(audio), step):
            if not await self._call._write_piece(self, audio[begin : begin + step]):
                return False
        if text and not self._cut:
            self.add_text(text)
        return not self._cut

    def add_text(self, text: str, until_ms: float | None = None) -> None:
        """What is spoken by ``until_ms`` into the utterance; by default by all written so far.

        These are the time stamps of a text-to-speech engine: the end of each word, in their order.
        """
        until = self._written if until_ms is None else self._call.bytes_of(until_ms)
        self._pieces.append((max(until, self._pieces[-1][0] if self._pieces else 0), text))

    async def mark_at(self, position_ms: float) -> Mark:
        """A mark so far into the utterance, written already or not. Write something first."""
        if self._begin is None:
            raise ValueError("an utterance of which nothing is written has no position yet")
        return await self._call.mark_at(self._begin + self._call.bytes_of(position_ms))

    async def end(self) -> None:
        """That was all of it."""
        if self._ended or self._done.done():
            return
        self._ended = True
        if self._begin is None:
            self._settle_at(0)
        elif not self._cut:
            await self._call._mark_end(self, self._begin + self._written)

    async def started(self) -> bool:
        """Until its first sample is played; False if it never will be."""
        return await asyncio.shield(self._started)

    async def played(self) -> Played:
        """Until it has been played to its end, or was cut off. Needs `end`, or an interruption."""
        return await asyncio.shield(self._done)

    # --- For the call ---

    def _begin_at(self, offset: int) -> None:
        self._begin = offset

    def _on_end(self, reached: bool, reason: str) -> None:
        """The mark at its end is acknowledged, or estimated to be reached."""
        if reached or reason not in ("flush", "hangup"):
            self._settle_at(self._end_offset, reason)
        elif reason == "flush" and not self._cut:
            # Somebody else's flush, which does not say where.
            self._cut = True
            self._settle_at(self._call.played_offset, reason, exact=False)

    @property
    def _end_offset(self) -> int:
        return (self._begin or 0) + self._written

    def _settle_at(self, cut: int, reason: str = "", *, exact: bool = True) -> None:
        """Playback of it ended at the offset ``cut``."""
        if self._done.done():
            return
        call = self._call
        begin = self._begin or 0
        lost = call._lost
        cut = max(begin, min(cut, self._end_offset))
        interrupted = self._cut and not (self._ended and cut == self._end_offset)
        cut = max(begin, last_played(cut, lost))
        pieces = [(begin + size, text) for size, text in self._pieces]
        if not self._started.done():
            self._started.set_result(cut > begin)
        self._done.set_result(
            Played(
                (cut - begin) / call.bytes_per_ms,
                heard_text(pieces, begin, cut, lost) if cut > begin else "",
                interrupted,
                reason if interrupted or reason not in ("flush", "hangup") else "",
                overlap(begin, cut, lost) / call.bytes_per_ms,
                exact and call.truthful,
            )
        )
        call._on_done(self)


class Call(MediaSession):
    """One call. Made by `serve` and `connect`.

    Nothing grows with its length: of the audio that nobody takes the last seconds are kept, of the
    events nothing.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self.window_ms = WINDOW_MS
        """how much audio `Utterance.write` sends ahead of its playback"""
        self.played_offset = 0
        """the offset up to which playback is known to have got"""
        self.suspended = ""
        """why nobody hears the agent now, as PLAYBACK_SUSPENDED says it; empty if somebody does"""
        self.stage = ""
        """how far Asterisk follows media (sent, mixed, delivered), as far as it has said so"""
        self.lost_audio = 0
        """bytes of the caller's audio that nobody took in time"""
        self._loop = asyncio.get_running_loop()
        self._open: list[Utterance] = []
        self._marks: dict[str, Mark] = {}
        self._refused: list[Mark] = []
        self._flushes: dict[str, _Flush] = {}
        self._flushed = 0
        self._lost: list[Range] = []
        self._ids = 0
        self._buffering = self._stopped = False
        self._writing: Utterance | None = None
        self._write_turn = asyncio.Lock()
        self._waiters: list[asyncio.Future[None]] = []
        self._estimate: Estimate | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._audio: deque[bytes] = deque()
        self._audio_bytes = 0
        self._subscribers: list[deque[Event]] = []
        self._final: Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- What the call is ---

    @property
    def truthful(self) -> bool:
        """Whether Asterisk says what was played. Without the patched driver it is estimated."""
        return self.media_start.playback_marks >= _TRUTHFUL

    @property
    def channel_id(self) -> str:
        """By which ARI and the dialplan know the agent's channel."""
        return str(self.media_start.fields.get("channel_id", ""))

    @property
    def codec(self) -> Codec:
        """The format of its audio, both ways. Raises ValueError for one that is not decoded here.

        Utterances and `audio` work all the same then, with audio as Asterisk has it.
        """
        return Codec(str(self.media_start.fields.get("format", "")))

    @property
    def bytes_per_ms(self) -> float:
        """Of its audio. Raises ValueError where that is not constant: passthrough mode, as Opus."""
        ptime_ms = self.media_start.decimal("ptime") or 20.0
        if not self.frame_bytes:
            raise ValueError(
                f"{self.media_start.fields.get('format')} has no constant rate: have Asterisk"
                " transcode, with c(slin16) or c(ulaw) in the dial string"
            )
        return self.frame_bytes / ptime_ms

    def bytes_of(self, duration_ms: float) -> int:
        """How much audio so long is."""
        return int(duration_ms * self.bytes_per_ms + 1e-6)

    # --- Listening ---

    async def audio(self) -> AsyncIterator[bytes]:
        """What the caller says, as it comes, until the call ends: for one reader.

        Asterisk has nothing to send where the caller's telephone is muted, suppresses silence, or
        has the agent on hold. That is silence here, of the call's format and in real time: else
        whoever waits for the end of what the caller says would wait for ever. Not in formats that
        `codec` does not know.

        Of what nobody takes in time the oldest is thrown away, and counted in `lost_audio`.
        """
        silence = self._silence()
        until_s = self._loop.time()
        while True:
            while self._audio:
                data = self._audio.popleft()
                self._audio_bytes -= len(data)
                if silence:
                    now_s = self._loop.time()
                    until_s = max(now_s, min(until_s, now_s + _SILENT_AFTER_S))
                    until_s += len(data) / self.bytes_per_ms / 1000
                yield data
            if self.closed:
                return
            due_s = until_s + _SILENT_AFTER_S
            await self._change(due_s if silence else None)
            now_s = self._loop.time()
            if silence and now_s >= due_s and not self._audio and not self.closed:
                until_s = max(until_s + FRAME_S, now_s - _SILENT_AFTER_S)
                yield silence

    def _silence(self) -> bytes:
        """A frame of it; nothing for a format that is not known here."""
        try:
            return self.codec.encode(bytes(2 * round(self.codec.sample_rate * FRAME_S)))
        except ValueError:
            return b""

    async def incoming_events(self) -> AsyncIterator[Event]:
        """The events from now on, until the call ends; for any number of readers.

        Such as DTMF_END, with the ``digit``. A reader that is 1000 behind loses the oldest.
        """
        kept: deque[Event] = deque(maxlen=_EVENTS_KEPT)
        self._subscribers.append(kept)
        try:
            while True:
                while kept:
                    yield kept.popleft()
                if self.closed:
                    return
                await self._change()
        finally:
            self._subscribers.remove(kept)

    # --- Speaking ---

    def utterance(self) -> Utterance:
        """Begin to say something."""
        utterance = Utterance(self)
        if self.closed:
            self._end_utterance(utterance)
        else:
            self._open.append(utterance)
        return utterance

    async def mark_at(self, offset: int) -> Mark:
        """A mark at this offset in the stream, written already or not."""
        mark = Mark(offset)
        await self._set(mark)
        return mark

    async def interrupt(self) -> list[Utterance]:
        """Cut off whatever is being said; return what was cut off, in the order it was begun.

        When it returns, each one's `Utterance.result` says how far it got. Of an utterance that is
        not among them everything had been played. New utterances may be written at once.
        """
        cut = [utterance for utterance in self._open if not utterance._cut]
        for utterance in cut:
            utterance._cut = True
        self._writing = None
        self._notify()
        try:
            await self._flush_for(cut)
        except CallEnded:
            await self.wait_closed()
        return [one for one in cut if one.result and one.result.interrupted and one._written]

    async def all_played(self) -> None:
        """Until all that was begun has been played to its end, or was cut off."""
        while self._open:
            await self._open[-1].played()

    async def hang_up_when_played(self) -> None:
        """Have all that was begun played to its end, then hang up, and wait until that is done.

        An utterance that was not ended is ended here.
        """
        try:
            for utterance in list(self._open):
                await utterance.end()
            await self.all_played()
            await self.hangup()
        except CallEnded:
            pass
        try:
            await self.wait_closed(CLOSE_TIMEOUT_S)
        except asyncio.TimeoutError:
            await self.close()

    async def pause(self) -> None:
        """Hold what is queued."""
        await super().pause()
        if self._estimate:
            self._estimate.on_paused(self._loop.time())

    async def continue_(self) -> None:
        """Go on playing."""
        await super().continue_()
        if self._estimate:
            self._estimate.on_continued(self._loop.time())
            self._look()

    # --- Inside: audio and marks out ---

    async def _send_audio(self, data: bytes) -> None:
        if self._estimate:
            self._estimate.on_sent(len(data), self._loop.time())
        await super()._send_audio(data)
        if self._estimate:
            self._look()

    async def _write_piece(self, utterance: Utterance, audio: bytes) -> bool:
        """One message of an utterance, when there is room for it; whether it was sent."""
        async with self._write_turn:
            await self._room(utterance, len(audio))
            try:
                async with self._sending:
                    if utterance._cut:
                        return False
                    if self._writing is not utterance:
                        await self._begin(utterance)
                    if not self._buffering:
                        self._buffering = True
                        await self._send_command(self._simple("START_MEDIA_BUFFERING"))
                    utterance._written += len(audio)
                    await self._send_audio(audio)
            except CallEnded:
                await self.wait_closed()
            return not utterance._cut

    async def _begin(self, utterance: Utterance) -> None:
        if utterance._begin is not None or utterance._ended:
            raise ValueError("this utterance has been ended, or another one was begun since")
        if self._writing is not None and not self._writing._ended:
            raise ValueError("the utterance before has not been ended")
        self._writing = utterance
        utterance._begin_at(self.sent_bytes)
        mark = Mark(self.sent_bytes + 1)
        mark._then = lambda reached, reason: _set(utterance._started, reached)
        await self._send_mark(mark)

    async def _room(self, utterance: Utterance, size: int) -> None:
        """Until so much may be sent, the utterance is cut off, or the call has ended."""
        window = max(size, self.bytes_of(self.window_ms))
        mark: Mark | None = None
        while not utterance._cut and not self.closed:
            full = self.sent_bytes + size - self.played_offset > window
            if not self._stopped and (not full or self.sent_bytes == self.played_offset):
                return
            if full and (mark is None or mark.reached is not None):
                try:
                    # Room for several of them: not a mark for each.
                    room = max(size, window // 4)
                    mark = await self.mark_at(self.sent_bytes + room - window)
                except CallEnded:
                    await self.wait_closed()
                continue
            await self._change()

    async def _mark_end(self, utterance: Utterance, offset: int) -> None:
        mark = Mark(offset)
        mark._then = utterance._on_end
        try:
            if self._estimate:
                # What does not fill a frame is played when buffering stops, and not before.
                self._buffering = False
                await self._command("STOP_MEDIA_BUFFERING")
            await self._set(mark)
        except CallEnded:
            await self.wait_closed()

    async def _set(self, mark: Mark) -> None:
        if self.closed:
            raise CallEnded("the call has ended")
        async with self._sending:
            await self._send_mark(mark)

    async def _send_mark(self, mark: Mark) -> None:
        mark_id = self._own_id()
        self._marks[mark_id] = mark
        at_end = mark.offset == self.sent_bytes
        if not self._estimate:
            offset = None if at_end else mark.offset
            await self._send_command(protocol.command_mark(self.format, mark_id, offset))
            return
        if at_end:
            mark._expects_ack = True
            await self._send_command(protocol.command_mark_media(self.format, mark_id))
        self._look()

    async def _flush_for(self, cut: list[Utterance]) -> int:
        """Flush, and settle the utterances that it cuts off; the offset of the cut."""
        async with self._sending:
            self._buffering = False
            flush_id = self._own_id()
            flush = _Flush(self.sent_bytes, cut, self._loop.create_future())
            if not self._estimate:
                self._flushes[flush_id] = flush
                await self._send_command(protocol.command_flush(self.format, flush_id))
            else:
                await self._send_command(protocol.command_flush(self.format))
                now = self._loop.time()
                cut_off = self._estimated(now)
                self._estimate.on_flushed(now)
                self._on_cut(flush, cut_off)
        return await flush.done

    def _own_id(self) -> str:
        self._ids += 1
        return f"{_OWN_ID}{self._ids}"

    def _simple(self, command: str) -> str:
        return protocol.command_simple(self.format, command)

    # --- Inside: audio and events in ---

    def _on_received(self, kind: Kind, data: bytes) -> None:
        super()._on_received(kind, data)
        if kind == "binary":
            self._audio.append(data)
            self._audio_bytes += len(data)
            # In passthrough mode a message is a frame of 20 ms or more, and small.
            kept = _AUDIO_KEPT_MS / 20 * (self.media_start.count("optimal_frame_size") or 200)
            while self._audio_bytes > kept and len(self._audio) > 1:
                oldest = len(self._audio.popleft())
                self._audio_bytes -= oldest
                self.lost_audio += oldest
            self._notify()

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        handle = _HANDLERS.get(event.name)
        if handle is not None:
            handle(self, event)
        if isinstance(event.fields.get("stage"), str):
            self.stage = event.fields["stage"]
        for kept in self._subscribers:
            kept.append(event)
        self._notify()

    def _on_media_start(self, event: Event) -> None:
        if not self.truthful and event.count("optimal_frame_size"):
            self._estimate = Estimate(self.bytes_per_ms * 1000)

    def _on_mark_played(self, event: Event) -> None:
        mark = self._take(event.id)
        if mark is not None:
            self.played_offset = max(self.played_offset, mark.offset)
            mark._settle(True)

    def _on_mark_discarded(self, event: Event) -> None:
        mark = self._take(event.id)
        if mark is None:
            return
        reason = str(event.fields.get("reason", ""))
        if reason == "limit":
            # Too many are pending: once more when one of them is acknowledged.
            self._refused.append(mark)
            return
        if reason not in ("flush", "hangup"):
            # Everything before it was lost: playback has got there.
            self.played_offset = max(self.played_offset, mark.offset)
        mark._settle(False, reason)

    def _on_mark_processed(self, event: Event) -> None:
        mark = self._marks.get(str(event.correlation_id))
        if mark is not None and self._estimate:
            mark._expects_ack = False
            self._estimate.on_acknowledged(mark.offset, self._loop.time())
            self._look()

    def _on_media_dropped(self, event: Event) -> None:
        offset, count = event.count("offset"), event.count("bytes")
        if offset is not None and count:
            # Only what is still being said is of interest.
            oldest = min(
                (one._begin for one in self._open if one._begin is not None), default=offset
            )
            self._lost = [lost for lost in self._lost if lost[1] > oldest]
            self._lost.append((offset, offset + count))

    def _on_media_flushed(self, event: Event) -> None:
        flushed = event.count("flushed") or 0
        self._flushed += flushed
        flush = self._flushes.pop(str(event.id), None)
        if flush is not None:
            self._on_cut(flush, cut_at(flush.offset, flushed, self._lost))

    def _on_playback(self, event: Event) -> None:
        if event.flag("final"):
            self._final = event

    def _on_suspended(self, event: Event) -> None:
        self.suspended = str(event.fields.get("reason", "")) or "unknown"

    def _on_resumed(self, event: Event) -> None:
        self.suspended = ""

    def _on_xoff(self, event: Event) -> None:
        self._stopped = True

    def _on_xon(self, event: Event) -> None:
        self._stopped = False

    def _take(self, mark_id: Id) -> Mark | None:
        mark = self._marks.pop(mark_id, None) if isinstance(mark_id, str) else None
        if mark is not None and self._refused and not self.closed:
            again, self._refused = self._refused, []
            self._spawn(self._set_again(again))
        return mark

    async def _set_again(self, marks: list[Mark]) -> None:
        try:
            for mark in marks:
                await self._set(mark)
        except CallEnded:
            pass

    def _on_cut(self, flush: _Flush, offset: int) -> None:
        """What a flush left of the stream ends at this offset."""
        self.played_offset = max(self.played_offset, flush.offset)
        for mark_id, mark in list(self._marks.items()):
            if self._estimate and mark.offset <= flush.offset:
                del self._marks[mark_id]
                mark._settle(mark.offset <= offset, "flush")
        for utterance in flush.cut:
            utterance._settle_at(offset, "flush")
        if not flush.done.done():
            flush.done.set_result(offset)

    def _on_closed(self) -> None:
        super()._on_closed()
        if self._timer:
            self._timer.cancel()
        for mark in [*self._marks.values(), *self._refused]:
            mark._settle(False, "hangup")
        self._marks.clear()
        for utterance in list(self._open):
            self._end_utterance(utterance)
        for flush in self._flushes.values():
            if not flush.done.done():
                flush.done.set_result(self.played_offset)
        self._flushes.clear()
        self._notify()

    def _end_utterance(self, utterance: Utterance) -> None:
        """Settle what the end of the call has cut off."""
        utterance._cut = True
        cut, exact = self._last_offset()
        utterance._settle_at(cut, "hangup", exact=exact)

    def _last_offset(self) -> tuple[int, bool]:
        """Where the end of the call cut playback off, and whether Asterisk has said so."""
        if self._estimate:
            return self._estimated(self._loop.time()), False
        if self._final is not None:
            received, flushed = self._final.count("received"), self._final.count("flushed")
            if received is not None and flushed is not None:
                return cut_at(received, max(0, flushed - self._flushed), self._lost), True
        return self.played_offset, False

    def _on_done(self, utterance: Utterance) -> None:
        if utterance in self._open:
            self._open.remove(utterance)
        self._notify()

    # --- Inside: without playback acknowledgements ---

    def _estimated(self, now: float) -> int:
        """Where playback is. Not at a MARK_MEDIA that is not acknowledged: that comes early."""
        assert self._estimate is not None
        position = self._estimate.position(now)
        for mark in self._marks.values():
            overdue_s = self._estimate.time_of(mark.offset) + _UNACKNOWLEDGED_S
            if mark._expects_ack and position >= mark.offset and now < overdue_s:
                position = max(0, mark.offset - 1)
        return position

    def _look(self) -> None:
        """Settle the marks that playback is estimated to have reached; look again for the next."""
        assert self._estimate is not None
        now = self._loop.time()
        position = self._estimated(now)
        self.played_offset = max(self.played_offset, position)
        if self._timer:
            self._timer.cancel()
            self._timer = None
        next_s: float | None = None
        for mark_id, mark in list(self._marks.items()):
            due = self._estimate.time_of(mark.offset)
            if mark._expects_ack:
                due += _UNACKNOWLEDGED_S
            if position >= mark.offset and now >= due - FRAME_S / 20:
                del self._marks[mark_id]
                mark._settle(True)
            elif mark.offset <= self.sent_bytes:
                next_s = due if next_s is None else min(next_s, due)
        if next_s is not None and not self.closed:
            self._timer = self._loop.call_at(max(next_s, now + 0.001), self._look)
        self._notify()

    # --- Inside: whoever waits ---

    async def _change(self, until_s: float | None = None) -> None:
        """Until something has come, or was done; at the longest until this time of the loop."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        timer = until_s is not None and self._loop.call_at(until_s, _set, waiter, None)
        try:
            await waiter
        finally:
            if timer:
                timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _notify(self) -> None:
        for waiter in self._waiters:
            _set(waiter, None)
        self._waiters.clear()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_HANDLERS: dict[str, Callable[[Call, Event], None]] = {
    "MEDIA_START": Call._on_media_start,
    "MARK_PLAYED": Call._on_mark_played,
    "MARK_DISCARDED": Call._on_mark_discarded,
    "MEDIA_MARK_PROCESSED": Call._on_mark_processed,
    "MEDIA_DROPPED": Call._on_media_dropped,
    "MEDIA_FLUSHED": Call._on_media_flushed,
    "PLAYBACK": Call._on_playback,
    "PLAYBACK_SUSPENDED": Call._on_suspended,
    "PLAYBACK_RESUMED": Call._on_resumed,
    "MEDIA_XOFF": Call._on_xoff,
    "MEDIA_XON": Call._on_xon,
}


def _set(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
