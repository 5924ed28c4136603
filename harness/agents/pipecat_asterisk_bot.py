"""The same Pipecat pipeline on the transport of pipecat-asterisk, which knows nothing of marks.

It takes the WebSocket of a web framework (ASGI); here that is the call's session, which records all
that goes through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from loguru import logger
from pipecat_asterisk import AsteriskWebsocketTransport
from starlette.websockets import WebSocket

from harness.agents.conversation import Speech
from harness.agents.pipecat_bot import Bot, bot_on
from harness.application.recording import RecordedSession


@asynccontextmanager
async def pipecat_asterisk_bot(session: RecordedSession, speech: Speech) -> AsyncIterator[Bot]:
    """A bot on this call, whose audio must be signed linear; when the block is left it is ended."""
    logger.disable("pipecat_asterisk")
    received = _received(session)

    async def receive() -> dict[str, Any]:
        return await received.__anext__()

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close":
            await session.close()
        elif message.get("bytes") is not None:
            await session.send_media(message["bytes"])
        elif message.get("text") is not None:
            await session.send_text(message["text"])

    websocket = WebSocket({"type": "websocket", "headers": []}, receive, send)
    await websocket.accept()
    transport = AsteriskWebsocketTransport(websocket)
    async with bot_on(transport, session.codec.sample_rate, speech) as bot:
        yield bot


async def _received(session: RecordedSession) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "websocket.connect"}
    async for message in session.iterate_received():
        if message.kind == "text":
            yield {"type": "websocket.receive", "text": message.text}
        elif message.kind == "binary":
            yield {"type": "websocket.receive", "bytes": message.data}
    while True:
        yield {"type": "websocket.disconnect", "code": 1000}
