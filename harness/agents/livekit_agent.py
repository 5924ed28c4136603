"""A real LiveKit agent session on a call, with speech that is a script's: words of coded audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT, TimedString
from livekit.agents.voice import SpeechHandle
from livekit.agents.voice.io import PlaybackFinishedEvent

from chan_websocket.call import Call
from chan_websocket.livekit import attach
from harness.agents.conversation import Speech


class LiveKitAgent:
    """The session while it runs."""

    def __init__(self, session: AgentSession[None], speech: Speech, sample_rate: int) -> None:
        self._session = session
        self._speech = speech
        self._sample_rate = sample_rate
        self._changed = asyncio.Event()
        self.finished: list[tuple[int, PlaybackFinishedEvent]] = []
        """when each segment was reported to have ended, in Unix ns, and how"""
        self.started = 0
        """segments that were reported to have begun"""
        output = session.output.audio
        assert output is not None
        output.on("playback_finished", self._on_finished)
        output.on("playback_started", self._on_started)

    async def say(self, text: str) -> int:
        """Say this to its end; return when playback was said to have finished, in Unix ns."""
        finished = len(self.finished)
        await self._say(text)
        return self.finished[finished][0]

    async def interrupted(self, text: str, after_s: float) -> None:
        """Say this, and be interrupted so long after it has begun."""
        started = self.started
        handle = self._say(text)
        while self.started == started:
            self._changed.clear()
            await self._changed.wait()
        await asyncio.sleep(after_s)
        await self._session.interrupt()
        await handle

    def _say(self, text: str) -> SpeechHandle:
        return self._session.say(text, audio=self._frames(text))

    def in_context(self) -> list[str]:
        """What the model is told it has said, one message after the other."""
        return [
            item.text_content or ""
            for item in self._session.history.items
            if item.type == "message" and item.role == "assistant"
        ]

    async def _frames(self, text: str) -> AsyncIterator[rtc.AudioFrame]:
        at_s = 0.0
        for word in text.split():
            audio = self._speech(word)
            frame = rtc.AudioFrame(audio, self._sample_rate, 1, len(audio) // 2)
            end_s = at_s + frame.duration
            frame.userdata[USERDATA_TIMED_TRANSCRIPT] = [TimedString(f"{word} ", at_s, end_s)]
            at_s = end_s
            yield frame

    def _on_finished(self, event: PlaybackFinishedEvent) -> None:
        self.finished.append((time.time_ns(), event))
        self._changed.set()

    def _on_started(self, event: object) -> None:
        self.started += 1
        self._changed.set()


@asynccontextmanager
async def livekit_agent(call: Call, speech: Speech) -> AsyncIterator[LiveKitAgent]:
    """An agent on this call; when the block is left its session is closed."""
    session: AgentSession[None] = AgentSession(vad=None)
    attach(session, call)
    await session.start(Agent(instructions=""))
    try:
        yield LiveKitAgent(session, speech, call.codec.sample_rate)
    finally:
        await session.aclose()
