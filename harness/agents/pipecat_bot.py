"""A real Pipecat pipeline on a call, with speech that is a script's: words of coded audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import WorkerRunner
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import BaseTransport

from chan_websocket.call import Call
from chan_websocket.pipecat import AsteriskTransport
from harness.agents.conversation import Speech, settle


class ScriptedSpeech(TTSService):
    """A text-to-speech service with word time stamps: where each word begins."""

    def __init__(self, speech: Speech, sample_rate: int) -> None:
        super().__init__(
            push_text_frames=False,
            push_start_frame=True,
            push_stop_frames=True,
            stop_frame_timeout_s=0.5,
            sample_rate=sample_rate,
        )
        self._speech = speech
        self._context_id = ""
        self._at_s = 0.0
        """where the context's next word begins"""

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Each word, with its time stamp ahead of it."""
        if context_id != self._context_id:
            self._context_id, self._at_s = context_id, 0.0
        for word in text.split():
            audio = self._speech(word)
            await self.add_word_timestamps([(word, self._at_s)], context_id)
            yield TTSAudioRawFrame(audio, self.sample_rate, 1, context_id=context_id)
            self._at_s += len(audio) / 2 / self.sample_rate


class Recorder(FrameProcessor):
    """What comes out of the transport, and when."""

    def __init__(self) -> None:
        super().__init__()
        self._first: dict[type[Frame], int] = {}
        self._changed = asyncio.Event()

    def forget(self) -> None:
        """What has come so far is of no interest any more."""
        self._first.clear()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note it and pass it on."""
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM and isinstance(frame, _RECORDED):
            self._first.setdefault(type(frame), time.time_ns())
            self._changed.set()
        await self.push_frame(frame, direction)

    async def first(self, kind: type[Frame]) -> int:
        """When the first frame of this kind has come since then, in Unix ns."""
        while not self.first_ns(kind):
            self._changed.clear()
            await self._changed.wait()
        return self.first_ns(kind)

    def first_ns(self, kind: type[Frame]) -> int:
        """The same; 0 if none has come."""
        return self._first.get(kind, 0)


_RECORDED = (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
)


class Bot:
    """The pipeline while it runs."""

    def __init__(self, worker: PipelineWorker, recorder: Recorder, context: LLMContext) -> None:
        self._worker = worker
        self._recorder = recorder
        self._context = context

    async def say(self, text: str) -> int:
        """Say this to its end; return when Pipecat said that the bot stopped, in Unix ns."""
        await self._respond(text)
        stopped_ns = await self._recorder.first(BotStoppedSpeakingFrame)
        # Then the model is told what it has said.
        await self._recorder.first(LLMFullResponseEndFrame)
        await settle()
        return stopped_ns

    async def interrupted(self, text: str, after_s: float) -> None:
        """Say this, and be interrupted so long after it has begun."""
        await self._respond(text)
        await self._recorder.first(BotStartedSpeakingFrame)
        await asyncio.sleep(after_s)
        await self.interrupt()

    async def interrupt(self) -> None:
        """The caller interrupts; return when Pipecat is through with that."""
        await self._worker.queue_frame(InterruptionFrame())
        await self._recorder.first(InterruptionFrame)
        await settle()

    async def _respond(self, text: str) -> None:
        self._recorder.forget()
        response = (LLMFullResponseStartFrame(), LLMTextFrame(text), LLMFullResponseEndFrame())
        await self._worker.queue_frames(response)

    async def end(self) -> None:
        """Say what is to be said, and hang up."""
        await self._worker.queue_frame(EndFrame())

    def in_context(self) -> list[str]:
        """What the model is told it has said, one message after the other."""
        messages: list[Any] = self._context.get_messages()
        return [str(one["content"]) for one in messages if one["role"] == "assistant"]

    def started_ns(self) -> int:
        """When Pipecat said that the bot started, in Unix ns."""
        return self._recorder.first_ns(BotStartedSpeakingFrame)

    def forget(self) -> None:
        """Have the model forget what it has said."""
        self._context.set_messages([])

    def position_ms(self) -> float | None:
        """Pipecat knows no positions."""
        return None


@asynccontextmanager
async def pipecat_bot(call: Call, speech: Speech) -> AsyncIterator[Bot]:
    """A bot on this call; when the block is left it is ended."""
    transport = AsteriskTransport(call)
    async with bot_on(transport, transport.sample_rate, speech) as bot:
        yield bot


@asynccontextmanager
async def bot_on(transport: BaseTransport, sample_rate: int, speech: Speech) -> AsyncIterator[Bot]:
    """A bot on any transport whose audio has this rate, in Hz."""
    logger.disable("pipecat")  # hundreds of lines a second
    context = LLMContext()
    recorder = Recorder()
    pipeline = Pipeline(
        [
            transport.input(),
            ScriptedSpeech(speech, sample_rate),
            transport.output(),
            recorder,
            LLMContextAggregatorPair(context).assistant(),
        ]
    )
    params = PipelineParams(audio_in_sample_rate=sample_rate, audio_out_sample_rate=sample_rate)
    worker = PipelineWorker(pipeline, params=params, idle_timeout_secs=None)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    bot = Bot(worker, recorder, context)
    try:
        yield bot
        await bot.end()
        await running
    finally:
        running.cancel()
        await asyncio.wait([running])
