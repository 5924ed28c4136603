"""The same agent with Pipecat.

    python examples/pipecat_agent.py [port]

For real services put their processors into the pipeline, where the script's are here, with a voice
activity detector in the user aggregator. Asterisk's dial string has ``c(slin16)``.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator

from loguru import logger
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InputAudioRawFrame,
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
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from talking import GOODBYE, GREETING, Ears, answer, speak

from chan_websocket import Call, serve
from chan_websocket.pipecat import AsteriskTransport


class Brain(FrameProcessor):
    """In the place of speech-to-text, turn taking and language model: ears and a script."""

    def __init__(self, context: LLMContext) -> None:
        super().__init__()
        self._context = context
        self._ears = Ears()
        self._begun = self._interrupted = self._ended = False

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Hear the caller, and what becomes of the bot's speech."""
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            if not self._begun:
                self._begun = True
                await self._respond(GREETING)
            if self._ears.hear(frame.audio):
                self._interrupted = True
                await self.push_frame(InterruptionFrame())
            elif self._interrupted and not self._ears.speech:
                self._interrupted = False
                heard = str(self._context.get_messages()[-1]["content"])
                print("interrupted; the model is told:", heard)
                await self._respond(answer(heard))
        elif isinstance(frame, BotStoppedSpeakingFrame) and not (self._interrupted or self._ended):
            self._ended = True
            await self._respond(GOODBYE)
            await self.push_frame(EndFrame())

    async def _respond(self, text: str) -> None:
        await self.push_frame(LLMFullResponseStartFrame())
        await self.push_frame(LLMTextFrame(text))
        await self.push_frame(LLMFullResponseEndFrame())


class Voice(TTSService):
    """In the place of a text-to-speech service with word time stamps."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__(
            push_text_frames=False,
            push_start_frame=True,
            push_stop_frames=True,
            stop_frame_timeout_s=2.0,
            sample_rate=sample_rate,
            settings=TTSSettings(model=None, voice=None, language=None),
        )
        self._context_id, self._at_s = "", 0.0

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Each word, with its time stamp ahead of it."""
        if context_id != self._context_id:
            self._context_id, self._at_s = context_id, 0.0
        for word in await asyncio.to_thread(speak, text, self.sample_rate):
            await self.add_word_timestamps([(word.text, self._at_s)], context_id)
            yield TTSAudioRawFrame(word.audio, self.sample_rate, 1, context_id=context_id)
            self._at_s += len(word.audio) / 2 / self.sample_rate


async def agent(call: Call) -> None:
    """One call."""
    transport = AsteriskTransport(call)
    context = LLMContext()
    pipeline = Pipeline(
        [
            transport.input(),
            Brain(context),
            Voice(transport.sample_rate),
            transport.output(),
            LLMContextAggregatorPair(context).assistant(),
        ]
    )
    rate = transport.sample_rate
    params = PipelineParams(audio_in_sample_rate=rate, audio_out_sample_rate=rate)
    worker = PipelineWorker(pipeline, params=params)

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport: AsteriskTransport, call: Call) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    print("the model is told:", context.get_messages()[-1]["content"])


async def main() -> None:
    """Wait for a call, and have it."""
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    # What is loaded now stays: else Python looks through it now and then, 0.1 s each time.
    gc.freeze()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    async with serve("127.0.0.1", port) as server:
        print("waiting for a call at", server.uri, flush=True)
        await agent(await server.accept())


if __name__ == "__main__":
    asyncio.run(main())
