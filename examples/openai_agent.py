"""The same agent with OpenAI's Realtime API.

    python examples/openai_agent.py [port]

Here a script is in the place of the service. For the real one connect to
``wss://api.openai.com/v1/realtime?model=gpt-realtime`` with
``additional_headers={"Authorization": f"Bearer {key}"}``, and say in `SESSION` what it is to do.
Asterisk's dial string has ``c(slin24)``.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

from scripted_realtime import scripted_realtime
from websockets.asyncio.client import ClientConnection, connect

from chan_websocket import Call, serve
from chan_websocket.openai_realtime import RealtimeSpeech

FORMAT = {"type": "audio/pcm", "rate": 24000}
SESSION = {
    "type": "realtime",
    "audio": {
        "input": {"format": FORMAT, "turn_detection": {"type": "server_vad"}},
        "output": {"format": FORMAT},
    },
    "tools": [{"type": "function", "name": "hang_up", "description": "End the call."}],
}


async def listen(call: Call, openai: ClientConnection) -> None:
    """What the caller says goes to the service."""
    async for audio in call.audio():
        encoded = base64.b64encode(audio).decode()
        await send(openai, "input_audio_buffer.append", audio=encoded)
    await openai.close()


async def send(openai: ClientConnection, kind: str, **fields: Any) -> None:
    """An event for the service."""
    await openai.send(json.dumps({"type": kind, **fields}))


async def agent(call: Call, uri: str) -> None:
    """One call."""
    async with connect(uri) as openai:
        await send(openai, "session.update", session=SESSION)
        await send(openai, "response.create")
        speech = RealtimeSpeech(call)
        listening = asyncio.create_task(listen(call, openai))
        said = ""
        async for message in openai:
            event = json.loads(message)
            for truncation in await speech.on_event(event):
                await openai.send(json.dumps(truncation))
            if event["type"] == "conversation.item.truncated":
                print("interrupted; the model is told: heard", event["audio_end_ms"], "ms")
            elif event["type"] == "response.output_audio_transcript.done":
                said = event["transcript"]
            elif event["type"] == "response.function_call_arguments.done":
                # The goodbye is heard to its end.
                await speech.played()
                await call.hangup()
                print("the model has said:", said)
            elif event["type"] == "error":
                print("error:", event["error"]["message"])
        await listening
        await speech.close()


async def main() -> None:
    """Wait for a call, and have it."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765
    async with serve("127.0.0.1", port) as server, scripted_realtime() as uri:
        print("waiting for a call at", server.uri, flush=True)
        await agent(await server.accept(), uri)


if __name__ == "__main__":
    asyncio.run(main())
