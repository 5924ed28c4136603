"""In the place of OpenAI's Realtime API: a script that hears, speaks, and is told what was heard.

It has the API's events, as far as `openai_agent.py` needs them.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from talking import GOODBYE, GREETING, Ears, Word, answer, speak
from websockets.asyncio.server import ServerConnection, serve

RATE_HZ = 24000


class Session:
    """What the service does on one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self._ears = Ears()
        self._items: list[list[Word]] = []
        self._heard = ""

    async def run(self) -> None:
        """Until the connection ends."""
        async for message in self._connection:
            event = json.loads(message)
            if event["type"] == "session.update":
                await self._send("session.updated", session=event["session"])
            elif event["type"] == "response.create":
                await self._say(GREETING)
            elif event["type"] == "input_audio_buffer.append":
                await self._hear(base64.b64decode(event["audio"]))
            elif event["type"] == "conversation.item.truncate":
                await self._truncate(event["item_id"], event["audio_end_ms"])

    async def _hear(self, audio: bytes) -> None:
        spoke = self._ears.speech
        if self._ears.hear(audio):
            await self._send("input_audio_buffer.speech_started")
        elif spoke and not self._ears.speech:
            await self._send("input_audio_buffer.speech_stopped")
            await self._say(answer(self._heard))
            await self._say(GOODBYE)
            await self._send("response.function_call_arguments.done", name="hang_up")

    async def _say(self, text: str) -> None:
        """Much faster than it is spoken, as the service does."""
        words = await asyncio.to_thread(speak, text, RATE_HZ)
        self._heard = text
        self._items.append(words)
        item = {"item_id": f"item_{len(self._items)}", "content_index": 0}
        for word in words:
            delta = base64.b64encode(word.audio).decode()
            await self._send("response.output_audio.delta", **item, delta=delta)
        await self._send("response.output_audio.done", **item)
        await self._send("response.output_audio_transcript.done", **item, transcript=text)

    async def _truncate(self, item_id: str, audio_end_ms: int) -> None:
        words = self._items[int(item_id.removeprefix("item_")) - 1]
        if audio_end_ms > 1000 * words[-1].end_s:
            await self._send("error", error={"message": "the item's audio is shorter than that"})
            return
        self._heard = " ".join(word.text for word in words if 1000 * word.end_s <= audio_end_ms)
        await self._send("conversation.item.truncated", item_id=item_id, audio_end_ms=audio_end_ms)

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._connection.send(json.dumps({"type": kind, **fields}))


@asynccontextmanager
async def scripted_realtime() -> AsyncIterator[str]:
    """The service while the block lasts: its URI."""
    async with serve(lambda connection: Session(connection).run(), "127.0.0.1", 0) as server:
        [socket] = server.sockets
        yield f"ws://127.0.0.1:{socket.getsockname()[1]}/"
