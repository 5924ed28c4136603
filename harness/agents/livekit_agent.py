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
        self._finished: list[tuple[int, PlaybackFinishedEvent]] = []
        """when each segment of what is said was reported to have ended, in Unix ns, and how"""
        self._started_ns = 0
        """when the first of these was reported to have begun; 0 if none was"""
        self._handle: SpeechHandle | None = None
        output = session.output.audio
        assert output is not None
        output.on("playback_finished", self._on_finished)
        output.on("playback_started", self._on_started)

    async def say(self, text: str) -> int:
        """Say this to its end; return when playback was said to have finished, in Unix ns."""
        await self._say(text)
        return self._finished[0][0]

    async def interrupted(self, text: str, after_s: float) -> None:
        """Say this, and be interrupted so long after it has begun."""
        self._say(text)
        while not self._started_ns:
            self._changed.clear()
            await self._changed.wait()
        await asyncio.sleep(after_s)
        await self.interrupt()

    async def interrupt(self) -> None:
        """The caller interrupts; return when the session is through with that."""
        await self._session.interrupt()
        if self._handle is not None:
            await self._handle

    def _say(self, text: str) -> SpeechHandle:
        self._finished.clear()
        self._started_ns = 0
        self._handle = self._session.say(text, audio=self._frames(text))
        return self._handle

    def in_context(self) -> list[str]:
        """What the model is told it has said, one message after the other."""
        return [
            item.text_content or ""
            for item in self._session.history.items
            if item.type == "message" and item.role == "assistant"
        ]

    def started_ns(self) -> int:
        """When playback was said to have started, in Unix ns."""
        return self._started_ns

    def forget(self) -> None:
        """Have the model forget what it has said, and the session its record of events."""
        self._session.history.items.clear()
        self._session.current_agent._chat_ctx.items.clear()
        self._session._recorded_events.clear()

    def position_ms(self) -> float | None:
        """How far into what was said last playback got, as the session is told."""
        return 1000 * sum(float(event.playback_position) for _, event in self._finished)

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
        self._finished.append((time.time_ns(), event))
        self._changed.set()

    def _on_started(self, event: object) -> None:
        self._started_ns = self._started_ns or time.time_ns()
        self._changed.set()


@asynccontextmanager
async def livekit_agent(call: Call, speech: Speech) -> AsyncIterator[LiveKitAgent]:
    """An agent on this call; when the block is left its session is closed."""
    session: AgentSession[None] = AgentSession(vad=None, turn_handling={"turn_detection": None})
    attach(session, call)
    await session.start(Agent(instructions=""))
    try:
        yield LiveKitAgent(session, speech, call.codec.sample_rate)
    finally:
        await session.aclose()
