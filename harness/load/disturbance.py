"""What the application of a soak does besides speaking, so that its marks have every fate. Pure."""

from __future__ import annotations

from random import Random

from websockets.frames import Frame, Opcode

from chan_websocket.protocol import (
    Format,
    command_flush,
    command_set_direction,
    command_simple,
)

_FLUSH, _PAUSE, _DEAF, _HANG_UP = 0.04, 0.02, 0.02, 0.005
"""how probable each is before a chunk"""


class Disturbance:
    """Of one call. Between the commands of one disturbance a chunk is sent."""

    hangs_up = False
    """whether the latest one was to hang up: nothing is to be sent behind it"""

    def __init__(self, seed: str, message_format: Format) -> None:
        self._random = Random(seed)
        self._format = message_format
        self._undo = b""

    def undo(self) -> bytes:
        """What ends the latest one, as frames on the WebSocket; empty if nothing has to."""
        undo, self._undo = self._undo, b""
        return undo

    def next(self) -> bytes:
        """The next one, behind what ends the latest one; mostly nothing."""
        undo, at = self.undo(), self._random.random()
        if at < _FLUSH:
            # A flush also ends buffering.
            return undo + _frames(
                command_flush(self._format, "flush"),
                command_simple(self._format, "START_MEDIA_BUFFERING"),
            )
        if (at := at - _FLUSH) < _PAUSE:
            self._undo = _frames(command_simple(self._format, "CONTINUE_MEDIA"))
            return undo + _frames(command_simple(self._format, "PAUSE_MEDIA"))
        if (at := at - _PAUSE) < _DEAF:
            # The driver knows it in JSON alone.
            if self._format is not Format.JSON:
                return undo
            self._undo = _frames(command_set_direction("both"))
            return undo + _frames(command_set_direction("in"))
        if at - _DEAF < _HANG_UP:
            self.hangs_up = True
            return undo + _frames(command_simple(self._format, "HANGUP"))
        return undo


def _frames(*texts: str) -> bytes:
    return b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=False) for text in texts)
