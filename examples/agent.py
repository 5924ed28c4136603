import asyncio

from chan_websocket import Call, serve

SPEECH = {  # G.711 mu-law, as your text-to-speech engine makes it, by the text that it speaks
    "Your book has arrived. ": b"\xff" * 12000,
    "We keep it for you until Friday.": b"\xff" * 16000,
}


async def agent(call: Call) -> None:
    answer = call.utterance()
    for text, audio in SPEECH.items():
        await answer.write(audio, text)
    await answer.end()
    await answer.started()
    await asyncio.sleep(2.2)  # until your speech detector hears the caller interrupt
    await call.interrupt()
    heard = await answer.played()
    print(f"cut off after {heard.position_ms:.0f} ms; the caller has heard: {heard.text}")
    await call.hangup()


async def main() -> None:
    async with serve("127.0.0.1", 8765) as server:
        print("waiting for a call at", server.uri)
        await agent(await server.accept())


asyncio.run(main())
