"""A Pipecat transport whose bot has spoken when, and what, the caller was played.

    call = await server.accept()
    transport = AsteriskTransport(call)
    Pipeline([transport.input(), stt, user, llm, tts, transport.output(), assistant])

Needs ``pip install 'chan-websocket[pipecat]'``. Pipecat's sample rates are to be those of the call
(`AsteriskTransport.sample_rate`): 16000 Hz with ``c(slin16)`` in Asterisk's dial string.

What Pipecat says of the bot's speech waits here until Asterisk has played it: BotStartedSpeaking
until its first sample, a word until its end, BotStoppedSpeaking, and whatever else follows audio,
until the end of that audio. After an interruption what was not heard is not said.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextlib import suppress
from typing import Any

from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
    InputDTMFFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    StartFrame,
    StopFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from chan_websocket.call import Call, Utterance
from chan_websocket.errors import CallError

WINDOW_MS = 400.0
"""Audio ahead of its playback. Pipecat's BotSpeakingFrame comes with what is written."""
_HOPS = 12
"""turns of the event loop that a frame may take through the processors behind the transport"""
_FOR_EVER_S = 7 * 86400.0


class AsteriskParams(TransportParams):
    """Pipecat's parameters, with what a call wants by default.

    ``hang_up_at_end``: whether an EndFrame, once all has been played, hangs up the call, as a
    CancelFrame does at once.
    """

    audio_in_enabled: bool = True
    audio_out_enabled: bool = True
    audio_out_10ms_chunks: int = 2
    audio_out_end_silence_secs: int = 0
    # A caller who holds is no peer that has gone: that one's connection ends.
    audio_out_write_timeout_secs: float = _FOR_EVER_S
    hang_up_at_end: bool = True


class AsteriskTransport(BaseTransport):
    """One call as a transport. Raises ValueError for a call whose audio cannot be decoded.

    Events: on_client_connected(transport, call), on_client_disconnected(transport, call).
    """

    def __init__(
        self,
        call: Call,
        params: AsteriskParams | None = None,
        *,
        input_name: str | None = None,
        output_name: str | None = None,
    ) -> None:
        super().__init__(input_name=input_name, output_name=output_name)
        self.call = call
        self.sample_rate = call.codec.sample_rate
        """of the call's audio in Hz, both ways"""
        rates = {
            "audio_in_sample_rate": self.sample_rate,
            "audio_out_sample_rate": self.sample_rate,
        }
        params = (params or AsteriskParams()).model_copy(update=rates)
        call.window_ms = WINDOW_MS
        self._input = _Input(self, call, params, name=input_name)
        self._output = _Output(call, params, name=output_name)
        self._register_event_handler("on_client_connected")
        self._register_event_handler("on_client_disconnected")

    def input(self) -> FrameProcessor:
        """What the caller says, and his digits."""
        return self._input

    def output(self) -> FrameProcessor:
        """What the bot says."""
        return self._output

    async def _tell(self, event: str) -> None:
        await self._call_event_handler(event, self.call)


class _Input(BaseInputTransport):
    def __init__(
        self, transport: AsteriskTransport, call: Call, params: AsteriskParams, **options: Any
    ) -> None:
        super().__init__(params, **options)
        self._asterisk = transport
        self._call = call
        self._readers: list[asyncio.Task[None]] = []

    async def start(self, frame: StartFrame) -> None:
        """Begin to listen."""
        await super().start(frame)
        await self.set_transport_ready(frame)
        if not self._readers:
            self._readers = [self.create_task(self._listen()), self.create_task(self._digits())]
            await self._asterisk._tell("on_client_connected")

    async def stop(self, frame: EndFrame) -> None:
        """Listen no more."""
        await super().stop(frame)
        await self._stop_reading()

    async def cancel(self, frame: CancelFrame) -> None:
        """Listen no more."""
        await super().cancel(frame)
        await self._stop_reading()

    async def cleanup(self) -> None:
        """Listen no more."""
        await self._stop_reading()
        await super().cleanup()
        await self._asterisk.cleanup()

    async def _stop_reading(self) -> None:
        readers, self._readers = self._readers, []
        for reader in readers:
            await self.cancel_task(reader)

    async def _listen(self) -> None:
        codec = self._call.codec
        async for data in self._call.audio():
            await self.push_audio_frame(
                InputAudioRawFrame(codec.decode(data), codec.sample_rate, num_channels=1)
            )
        await self._asterisk._tell("on_client_disconnected")

    async def _digits(self) -> None:
        async for event in self._call.incoming_events():
            digit = str(event.fields.get("digit", ""))
            if event.name == "DTMF_END" and digit in {entry.value for entry in KeypadEntry}:
                await self.push_frame(InputDTMFFrame(KeypadEntry(digit)))


class _Held:
    """Frames that wait for the playback of what is before an offset."""

    def __init__(
        self, frames: list[tuple[Frame, FrameDirection]], offset: int, number: int
    ) -> None:
        self.frames = frames
        self.offset = offset
        self.number = number

    def __lt__(self, other: _Held) -> bool:
        return (self.offset, self.number) < (other.offset, other.number)


class _Output(BaseOutputTransport):
    """What is written is in order; what waits for it is by the offsets of the call's stream."""

    def __init__(self, call: Call, params: AsteriskParams, **options: Any) -> None:
        super().__init__(params, **options)
        self._asterisk_params = params
        self._call = call
        self._codec = call.codec
        self._chunk = call.bytes_of(10 * params.audio_out_10ms_chunks)
        self._utterance: Utterance | None = None
        self._queued = 0.0
        """the offset behind all audio that Pipecat has handed over, written or not"""
        self._contexts: dict[str | None, tuple[int, float]] = {}
        """of the text-to-speech contexts: Pipecat's time and the offset of the first sample"""
        self._last_pts = 0
        """of the last word"""
        self._early: list[tuple[Frame, FrameDirection]] = []
        """words of which no audio has come yet"""
        self._word: list[tuple[Frame, FrameDirection]] = []
        """the last word, whose end is not known yet, and what belongs behind it"""
        self._held: list[_Held] = []
        self._numbers = itertools.count()
        self._changed = asyncio.Event()
        self._releaser: asyncio.Task[None] | None = None
        self._watches: dict[int, asyncio.Task[None]] = {}
        """by the offset whose playback each waits for"""
        self._interrupting = False
        self._not_interrupting = asyncio.Event()
        self._not_interrupting.set()
        self._keeps_until = 0
        """the offset behind the last audio that nobody may interrupt"""

    # --- Beginning and end ---

    async def start(self, frame: StartFrame) -> None:
        """Begin to speak."""
        await super().start(frame)
        if self._releaser is None:
            self._releaser = self.create_task(self._release())
        await self.set_transport_ready(frame)

    async def stop(self, frame: EndFrame) -> None:
        """Have everything played, then hang up."""
        await super().stop(frame)
        await self._end_speech()
        while self._held and not self._call.closed:
            self._changed.clear()
            await self._changed.wait()
        if self._asterisk_params.hang_up_at_end:
            await self._call.hang_up_when_played()

    async def cancel(self, frame: CancelFrame) -> None:
        """Hang up at once."""
        await super().cancel(frame)
        if self._asterisk_params.hang_up_at_end and not self._call.closed:
            with suppress(CallError):  # it may have ended meanwhile
                await self._call.hangup()

    async def cleanup(self) -> None:
        """Nothing more is said."""
        if self._releaser is not None:
            await self.cancel_task(self._releaser)
            self._releaser = None
        for watch in list(self._watches.values()):
            await self.cancel_task(watch)
        await super().cleanup()

    # --- From Pipecat ---

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """As Pipecat's, with an interruption that knows what was heard."""
        if isinstance(frame, InterruptionFrame):
            self._interrupting = True
            self._not_interrupting.clear()
            try:
                await self._interrupt()
                await super().process_frame(frame, direction)
            finally:
                if self._keeps_until <= self._call.played_offset:
                    # What came meanwhile has been thrown away.
                    self._queued = float(self._call.sent_bytes)
                    self._word, self._early, self._last_pts = [], [], 0
                self._interrupting = False
                self._not_interrupting.set()
                self._changed.set()
            return
        if direction is FrameDirection.DOWNSTREAM:
            if isinstance(frame, OutputAudioRawFrame):
                self._count(frame)
                early, self._early = self._early, []
                for word, way in early:
                    await self._timed(word, way)
            elif isinstance(frame, TTSStoppedFrame):
                # Pipecat fills the last chunk up.
                self._queued = -(-self._queued // self._chunk) * self._chunk
                await self._end_word()
            elif frame.pts and not isinstance(frame, (OutputImageRawFrame, SystemFrame)):
                if await self._timed(frame, direction):
                    await FrameProcessor.process_frame(self, frame, direction)
                    return
                frame.pts = None
        await super().process_frame(frame, direction)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Write a chunk when there is room; False if it is not to be heard any more."""
        interruptible = _interruptible(frame)
        if self._interrupting:
            # Nothing behind this chunk is looked at before Pipecat has thrown away what it can.
            await self._not_interrupting.wait()
            if interruptible:
                return False
        if self._call.closed:
            return False
        if self._utterance is None or self._utterance.result is not None:
            self._utterance = self._call.utterance()
        if not await self._utterance.write(self._codec.encode(frame.audio)):
            return False
        if not interruptible:
            self._keeps_until = self._call.sent_bytes
        return True

    async def push_frame(
        self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM
    ) -> None:
        """Push what does not depend on playback; keep the rest until it has been played."""
        if isinstance(frame, BotStartedSpeakingFrame):
            await self._hold([(frame, direction)], self._call.sent_bytes + 1)
        elif isinstance(frame, BotStoppedSpeakingFrame):
            if not self._interrupting:
                await self._end_speech()
            await self._hold([(frame, direction)], self._call.sent_bytes)
        elif direction is FrameDirection.UPSTREAM or isinstance(
            frame, (OutputAudioRawFrame, SystemFrame, EndFrame, StopFrame)
        ):
            await super().push_frame(frame, direction)
        elif not self._interrupting or not _interruptible(frame):
            await self._hold([(frame, direction)], self._call.sent_bytes)

    # --- Words ---

    def _count(self, frame: OutputAudioRawFrame) -> None:
        begin = max(self._queued, float(self._call.sent_bytes))
        context = getattr(frame, "context_id", None)
        if isinstance(frame, TTSAudioRawFrame) and context not in self._contexts:
            # Its time stamps begin now or, where speech is made faster than it is spoken and the
            # context before is not over yet, with the last word of that one. Only one is spoken at
            # a time; words may come late for the one before.
            self._contexts = {
                **dict(list(self._contexts.items())[-3:]),
                context: (max(self.get_clock().get_time(), self._last_pts), begin),
            }
        samples = len(frame.audio) / (2 * frame.num_channels)
        self._queued = begin + samples / frame.sample_rate * 1000 * self._call.bytes_per_ms

    async def _timed(self, frame: Frame, direction: FrameDirection) -> bool:
        """Whether a frame with a time stamp was kept here: a word, or what belongs behind one."""
        context = self._contexts.get(getattr(frame, "context_id", None))
        if isinstance(frame, TTSTextFrame):
            assert frame.pts is not None
            if context is None:
                self._early.append((frame, direction))
                return True
            self._last_pts = frame.pts
            began, offset = context
            # The time stamps begin when the service sent the first audio on, which is a moment
            # before it came here: mostly the first word's is that moment.
            began = min(began, frame.pts)
            self._contexts[getattr(frame, "context_id", None)] = (began, offset)
            after_ms = max(0.0, (frame.pts - began) / 1e6)
            # The word before ends where this one begins.
            await self._end_word(int(offset + after_ms * self._call.bytes_per_ms))
            self._word = [(frame, direction)]
            return True
        waiting = self._early or self._word
        if waiting:
            waiting.append((frame, direction))
        return bool(waiting)

    async def _end_word(self, offset: int | None = None) -> None:
        word, self._word = self._word, []
        if word:
            await self._hold(word, int(self._queued) if offset is None else offset)

    async def _end_speech(self) -> None:
        """What the bot says for now has been written; something else may be queued behind it."""
        sent = self._call.sent_bytes
        if self._queued < sent + self._chunk:
            self._queued = sent
            await self._end_word()
        for held in self._held:
            # Pipecat throws away what does not fill a chunk: that is not waited for.
            if sent < held.offset < sent + self._chunk:
                held.offset = sent
        heapq.heapify(self._held)
        if self._utterance is not None:
            await self._utterance.end()
            self._utterance = None

    # --- Until it has been played ---

    async def _hold(self, frames: list[tuple[Frame, FrameDirection]], offset: int) -> None:
        if not self._held and offset <= self._call.played_offset:
            await self._push(frames)
            return
        heapq.heappush(self._held, _Held(frames, offset, next(self._numbers)))
        if offset not in self._watches:
            self._watches[offset] = self.create_task(self._watch(offset))

    async def _watch(self, offset: int) -> None:
        with suppress(CallError):  # when the call has ended, nothing more will be played
            await (await self._call.mark_at(offset)).wait()
        self._watches.pop(offset, None)
        self._changed.set()

    async def _release(self) -> None:
        while True:
            self._changed.clear()
            while self._due():
                await self._push(heapq.heappop(self._held).frames)
            await self._changed.wait()

    def _due(self) -> bool:
        # While it is not known where playback was cut off, nothing is.
        reached = self._call.played_offset
        return bool(self._held) and not self._interrupting and self._held[0].offset <= reached

    async def _push(self, frames: list[tuple[Frame, FrameDirection]]) -> None:
        for frame, direction in frames:
            await super().push_frame(frame, direction)
        self._changed.set()

    async def _interrupt(self) -> None:
        """Cut off what is being said; push what was heard of it, forget the rest."""
        if self._keeps_until > self._call.played_offset:
            return
        cut = self._call.sent_bytes
        for utterance in await self._call.interrupt():
            assert utterance.begin is not None and utterance.result is not None
            end = utterance.begin + self._call.bytes_of(utterance.result.position_ms)
            cut = min(cut, end)
        self._utterance = None
        held, self._held = sorted(self._held), []
        word, self._word = self._word, []
        for one in [*held, _Held(word, self._call.sent_bytes + 1, 0)]:
            heard = one.offset <= cut
            for frame, direction in one.frames:
                if heard or isinstance(frame, BotStoppedSpeakingFrame) or not _interruptible(frame):
                    await super().push_frame(frame, direction)
        await _let_through()


async def _let_through() -> None:
    """Let words pass the processors behind: Pipecat has system frames overtake them."""
    for _ in range(_HOPS):
        await asyncio.sleep(0)


def _interruptible(frame: Frame) -> bool:
    """Whether an interruption throws it away: by the frame itself, before 1.12 by its class."""
    flag = getattr(frame, "interruptible", None)
    if isinstance(flag, bool):
        return flag
    return "UninterruptibleFrame" not in {base.__name__ for base in type(frame).__mro__}
