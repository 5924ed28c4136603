"""OpenAI Realtime on a call: its items are spoken, and truncated to what was heard of them.

The session's output format is that of the call: ``audio/pcmu`` for ulaw, ``audio/pcma`` for alaw,
``audio/pcm`` for slin24. Nothing of OpenAI's is needed here: events are dicts, as JSON has them::

    speech = RealtimeSpeech(call)
    async for message in openai:
        for event in await speech.on_event(json.loads(message)):
            await openai.send(json.dumps(event))
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from chan_websocket.call import Call, Utterance
from chan_websocket.playback import Played

# By their names of today, and of the beta.
_DELTA = ("response.output_audio.delta", "response.audio.delta")
_DONE = ("response.output_audio.done", "response.audio.done")
_SPEECH_STARTED = "input_audio_buffer.speech_started"


def truncation(item_id: str, played: Played, content_index: int = 0) -> dict[str, Any]:
    """``conversation.item.truncate`` for an item that was spoken as an utterance of its own.

    ``audio_end_ms`` is never beyond the audio that was written, which OpenAI refuses: it is rounded
    down.
    """
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": int(played.position_ms),
    }


class _Item:
    def __init__(self, utterance: Utterance, content_index: int) -> None:
        self.utterance = utterance
        self.content_index = content_index
        self.audio: asyncio.Queue[bytes | None] = asyncio.Queue()
        """None is its end"""
        self.done = False
        """whether nothing of it is of interest any more"""


class RealtimeSpeech:
    """Says on the call what a Realtime session says.

    `on_event` returns at once, however far ahead of playback the session is; only an interruption
    takes the moment until it is known where playback was cut off.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._items: dict[str, _Item] = {}
        self._order: asyncio.Queue[_Item] = asyncio.Queue()
        self._speaker = asyncio.create_task(self._speak())

    async def on_event(self, event: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Any server event; return what is to be sent to the session in response.

        Audio is spoken. When the caller begins to speak, what is being said is cut off, and the
        truncations are returned. With other turn detection than the session's call `interrupt`.
        """
        kind = event.get("type")
        if kind in _DELTA:
            item = self._item(event)
            if not item.done:
                item.audio.put_nowait(base64.b64decode(event["delta"]))
        elif kind in _DONE:
            finished = self._items.get(event["item_id"])
            if finished is not None:
                finished.audio.put_nowait(None)
                if finished.done:
                    del self._items[event["item_id"]]
        elif kind == _SPEECH_STARTED:
            return await self.interrupt()
        return []

    async def interrupt(self) -> list[dict[str, Any]]:
        """Cut off what is being said; return the truncations of the items that were not heard
        to their end."""
        self._forget_heard()
        speaking = {name: item for name, item in self._items.items() if not item.done}
        for item in speaking.values():
            # What comes of it from now on is too late, and its turn is over.
            item.done = True
            item.audio.put_nowait(None)
        await self._call.interrupt()
        truncations = []
        for item_id, item in speaking.items():
            played = await item.utterance.played()
            if played.interrupted:
                truncations.append(truncation(item_id, played, item.content_index))
        return truncations

    async def played(self) -> None:
        """Until all that the session has said so far was played, or cut off: before a hang-up.

        Only when it has said that, with response.done or a function call: the audio's end is an
        event, too.
        """
        for item in list(self._items.values()):
            if not item.done:
                await item.utterance.played()

    async def close(self) -> None:
        """Say nothing more."""
        self._speaker.cancel()
        await asyncio.wait([self._speaker])

    def _item(self, event: Mapping[str, Any]) -> _Item:
        item = self._items.get(event["item_id"])
        if item is None:
            self._forget_heard()
            item = _Item(self._call.utterance(), int(event.get("content_index", 0)))
            self._items[event["item_id"]] = item
            self._order.put_nowait(item)
        return item

    def _forget_heard(self) -> None:
        # What was cut off is remembered until OpenAI has done with it.
        for item_id, item in list(self._items.items()):
            if item.utterance.result and not item.done:
                del self._items[item_id]

    async def _speak(self) -> None:
        while True:
            item = await self._order.get()
            while (audio := await item.audio.get()) is not None:
                await item.utterance.write(audio)
            await item.utterance.end()
