"""LiveKit Agents on a call: an audio input, and an audio output that knows what was played.

    call = await server.accept()
    session = AgentSession(...)
    attach(session, call)
    await session.start(agent=...)

Needs ``pip install 'chan-websocket[livekit]'``; no room, no server. Playback has started and
finished, and got as far as it says, by what Asterisk has sent to the caller. Where the
text-to-speech engine gives time stamps and its audio has the call's rate (16000 Hz with
``c(slin16)`` in Asterisk's dial string), the transcript of what was interrupted ends with the last
word that was played to its end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from livekit import rtc
from livekit.agents import AgentSession
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.agents.voice import io

from chan_websocket.call import Call, Utterance
from chan_websocket.errors import CallError


def attach(session: AgentSession[Any], call: Call) -> None:
    """Have the session hear and speak on this call. Raises ValueError for a codec not known here.

    The session does not end with the call: close it when the call's `Call.wait_closed` returns.
    """
    session.input.audio = AsteriskAudioInput(call)
    session.output.audio = AsteriskAudioOutput(call)


class AsteriskAudioInput(io.AudioInput):
    """What the caller says."""

    def __init__(self, call: Call) -> None:
        super().__init__(label="Asterisk")
        self._codec = call.codec
        self._audio = call.audio()

    async def __anext__(self) -> rtc.AudioFrame:
        """The next 20 ms; the end of the iteration is that of the call."""
        data = self._codec.decode(await self._audio.__anext__())
        return rtc.AudioFrame(data, self._codec.sample_rate, 1, len(data) // 2)


class AsteriskAudioOutput(io.AudioOutput):
    """What the agent says: each segment is an `Utterance`."""

    def __init__(self, call: Call) -> None:
        self._codec = call.codec
        super().__init__(
            label="Asterisk",
            capabilities=io.AudioOutputCapabilities(pause=True),
            sample_rate=self._codec.sample_rate,
        )
        self._call = call
        self._utterance: Utterance | None = None
        self._word = ""
        """of the segment: whose end is where the next one begins"""
        self._unfinished = 0
        """segments of which it is not reported yet how they ended"""
        self._tasks: set[asyncio.Task[None]] = set()

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        """Say this, once there is room in the call's window."""
        await super().capture_frame(frame)
        if self._utterance is None:
            self._utterance = self._call.utterance()
            self._unfinished += 1
            self._do(self._report(self._utterance))
        utterance = self._utterance
        for text in frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, []):
            self._add_text(utterance, text)
        await utterance.write(self._codec.encode(bytes(frame.data)))

    def flush(self) -> None:
        """That was the segment."""
        super().flush()
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            if self._word:
                utterance.add_text(self._word, utterance.written_ms)
            self._do(utterance.end())

    def clear_buffer(self) -> None:
        """Cut off what is being said."""
        if self._unfinished:
            self._do(self._interrupt())

    def pause(self) -> None:
        """Hold what is queued."""
        super().pause()
        self._do(self._call.pause())

    def resume(self) -> None:
        """Go on playing."""
        super().resume()
        self._do(self._call.continue_())

    def _add_text(self, utterance: Utterance, text: str) -> None:
        begin, end = getattr(text, "start_time", None), getattr(text, "end_time", None)
        if self._word and isinstance(begin, (int, float)):
            utterance.add_text(self._word, begin * 1000)
            self._word = ""
        self._word += str(text)
        if isinstance(end, (int, float)):
            utterance.add_text(self._word, end * 1000)
            self._word = ""

    async def _report(self, utterance: Utterance) -> None:
        if await utterance.started():
            self.on_playback_started(created_at=time.time())
        played = await utterance.played()
        self._unfinished -= 1
        self.on_playback_finished(
            playback_position=played.position_ms / 1000,
            interrupted=played.interrupted,
            synchronized_transcript=played.text if utterance.has_text else None,
        )

    async def _interrupt(self) -> None:
        await self._call.interrupt()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        async def done() -> None:
            with suppress(CallError):  # the call may have ended
                await what

        task = asyncio.get_running_loop().create_task(done())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
