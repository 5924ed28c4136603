"""The same agent with LiveKit Agents.

    python examples/livekit_agent.py [port]

For real services give `AgentSession` its stt, vad, llm and tts, with the text-to-speech engine at
16000 Hz, and leave out what is done here by hand. Asterisk's dial string has ``c(slin16)``.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT, TimedString
from talking import GOODBYE, GREETING, Ears, answer, speak

from chan_websocket import Call, serve
from chan_websocket.livekit import AsteriskAudioOutput


async def voice(text: str, sample_rate: int) -> AsyncIterator[rtc.AudioFrame]:
    """Audio with the time stamps of its words."""
    for word in await asyncio.to_thread(speak, text, sample_rate):
        frame = rtc.AudioFrame(word.audio, sample_rate, 1, len(word.audio) // 2)
        timed = TimedString(f"{word.text} ", word.begin_s, word.end_s)
        frame.userdata[USERDATA_TIMED_TRANSCRIPT] = [timed]
        yield frame


async def agent(call: Call) -> None:
    """One call."""
    # With real services `attach(session, call)`: here the ears are ours, and so are the turns.
    session: AgentSession[None] = AgentSession(vad=None, turn_handling={"turn_detection": None})
    session.output.audio = AsteriskAudioOutput(call)
    await session.start(Agent(instructions=""))
    rate = call.codec.sample_rate
    saying = session.say(GREETING, audio=voice(GREETING, rate))
    ears = Ears()
    interrupted = False
    async for audio in call.audio():
        if ears.hear(call.codec.decode(audio)):
            saying.interrupt()
            interrupted = True
        if saying.done() and not ears.speech:
            if not interrupted:
                break
            interrupted = False
            heard = str(session.history.items[-1].text_content) if session.history.items else ""
            print("interrupted; the model is told:", heard)
            saying = session.say(answer(heard), audio=voice(answer(heard), rate))
    await session.say(GOODBYE, audio=voice(GOODBYE, rate))
    await call.hang_up_when_played()
    print("the model is told:", session.history.items[-1].text_content)
    await session.aclose()


async def main() -> None:
    """Wait for a call, and have it."""
    # What is loaded now stays: else Python looks through it now and then, 0.1 s each time.
    gc.freeze()
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    async with serve("127.0.0.1", port) as server:
        print("waiting for a call at", server.uri, flush=True)
        await agent(await server.accept())


if __name__ == "__main__":
    asyncio.run(main())
