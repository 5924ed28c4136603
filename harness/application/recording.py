"""A session whose messages are kept with their times, for the judge, and which can tell speech."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

from websockets.asyncio.connection import Connection

from chan_websocket.call import Utterance
from chan_websocket.session import Kind
from harness.application.client import EVENT_TIMEOUT_S, MediaSession
from harness.capture.timeline import Message, Sender
from harness.errors import HarnessFault
from harness.media.speech import energy_dbfs

SPEECH_DBFS = -40.0
"""what is louder is somebody who speaks; see `energy_dbfs`"""
SPEECH_MESSAGES = 3
"""so many loud messages in a row are speech, fewer could be a click on the line"""


class RecordedSession(MediaSession):
    """Every message of both directions is recorded with the time at which this process sent or
    received it, so that the session can be examined when it is over."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        # What waits for events must not look at all of them 50 times a second.
        self._audio_came = asyncio.Event()
        self.messages: list[Message] = []
        """every message of both directions so far, with this process's time of sending (just
        before the socket got it) or receiving, in Unix time. Whoever breaks the connection off has
        an empty ``close``."""
        self.utterances: list[Utterance] = []
        """all that were begun so far"""

    def utterance(self) -> Utterance:
        """Begin to say something."""
        self.utterances.append(super().utterance())
        return self.utterances[-1]

    async def iterate_received(self) -> AsyncIterator[Message]:
        """All that was received, from the first message on, until the connection ends."""
        for index in itertools.count():
            while index == len(self.messages) and not self.closed:
                await self._change()
            if index == len(self.messages):
                return
            if self.messages[index].sender == "asterisk":
                yield self.messages[index]

    @property
    def received_media(self) -> bytes:
        """All the audio received, joined."""
        return b"".join(self._received_audio())

    @property
    def received_packets(self) -> int:
        """Binary messages received."""
        return len(self._received_audio())

    async def wait_heard(
        self, threshold_dbfs: float = SPEECH_DBFS, timeout_s: float = EVENT_TIMEOUT_S
    ) -> Message:
        """The message with which it is clear that somebody speaks: `SPEECH_MESSAGES` loud ones.

        Only what comes from now on counts. Raises HarnessFault on time-out, with the loudest that
        was heard, and when the connection ends; InputFault for a codec that cannot be decoded here.
        """
        codec = str(self.media_start.fields.get("format", "ulaw"))
        energy_dbfs(b"", codec)
        examined = len(self.messages)
        loud, loudest = 0, float("-inf")

        def heard() -> Message | None:
            nonlocal examined, loud, loudest
            while examined < len(self.messages):
                message = self.messages[examined]
                examined += 1
                if message.sender == "asterisk" and message.kind == "binary":
                    energy = energy_dbfs(message.data, codec)
                    loudest = max(loudest, energy)
                    loud = loud + 1 if energy > threshold_dbfs else 0
                    if loud == SPEECH_MESSAGES:
                        return message
            return None

        async def wait() -> Message | None:
            while (message := heard()) is None and not self.closed:
                self._audio_came.clear()
                await self._audio_came.wait()
            return message

        why = f"within {timeout_s:g} s"
        try:
            message = await asyncio.wait_for(wait(), timeout_s)
            if message is not None:
                return message
            why = "before the connection ended"
        except asyncio.TimeoutError:
            pass
        raise HarnessFault(
            f"nobody was heard to speak {why}: the loudest audio was {loudest:.1f} dBFS, and"
            f" speech is louder than {threshold_dbfs:g}",
            "Does the caller speak, and does Asterisk send its audio on?",
        )

    def _received_audio(self) -> list[bytes]:
        return [
            message.data
            for message in self.messages
            if message.sender == "asterisk" and message.kind == "binary"
        ]

    def _on_sent(self, kind: Kind, data: bytes) -> None:
        super()._on_sent(kind, data)
        self._record("application", kind, data)

    def _on_received(self, kind: Kind, data: bytes) -> None:
        self._record("asterisk", kind, data)
        super()._on_received(kind, data)
        if kind == "binary":
            self._audio_came.set()

    def _on_closed(self) -> None:
        super()._on_closed()
        self._audio_came.set()

    def _record(self, sender: Sender, kind: Kind, data: bytes) -> None:
        self.messages.append(Message(time.time_ns(), sender, kind, data))
