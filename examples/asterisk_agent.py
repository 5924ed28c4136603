"""An agent with the client package alone: it greets, is interrupted, answers, and says goodbye.

    python examples/asterisk_agent.py [port]

For a real service write its audio and its words where `speak` makes them here, and interrupt when
its voice activity detection says so.
"""

from __future__ import annotations

import asyncio
import sys

from talking import GOODBYE, GREETING, Ears, answer, speak

from chan_websocket import Call, Utterance, serve


async def say(call: Call, text: str) -> Utterance:
    """Say it; return as soon as all of it has been sent, or the caller has interrupted."""
    utterance = call.utterance()
    for word in await asyncio.to_thread(speak, text, call.codec.sample_rate):
        if not await utterance.write(call.codec.encode(word.audio), f"{word.text} "):
            break
    await utterance.end()
    return utterance


async def agent(call: Call) -> None:
    """One call."""
    saying = asyncio.create_task(say(call, GREETING))
    ears = Ears()
    interrupted = False
    async for audio in call.audio():
        if ears.hear(call.codec.decode(audio)):
            await call.interrupt()
            interrupted = True
        if saying.done() and not ears.speech and (heard := saying.result().result):
            if not interrupted:
                break
            print("interrupted; the caller has heard:", heard.text)
            interrupted = False
            saying = asyncio.create_task(say(call, answer(heard.text)))
    goodbye = await say(call, GOODBYE)
    await call.hang_up_when_played()
    print("the caller has heard:", (await goodbye.played()).text)


async def main() -> None:
    """Wait for a call, and have it."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    async with serve("127.0.0.1", port) as server:
        print("waiting for a call at", server.uri, flush=True)
        await agent(await server.accept())


if __name__ == "__main__":
    asyncio.run(main())
