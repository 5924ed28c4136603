"""An application that does anything at any moment: for torture, not for measurements.

What it does is chosen by a random generator, so a seed repeats it; what becomes of it depends on
when Asterisk gets to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from chan_websocket import protocol
from chan_websocket.protocol import Format
from harness.application.disturb import DisturbingSession

LARGEST_BURST = 120
"""marks in one go"""
FLOOD = 2100
"""marks in one go, rarely: more than a channel may have pending by default"""
_MEAN_PAUSE_S = 0.03
_LONGEST_DEAF_S = 0.6
_LONGEST_STALL_S = 0.05

MALFORMED = (
    *("", " ", "MARK", "MARK id=", "MARK  id=a", "MARK id=a b", "MARK id=" + "x" * 65),
    *("MARK id=a offset=", "MARK id=a offset=-1", "MARK id=a offset=1.5", "MARK offset=1 id=a"),
    *("MARK id=a offset=9007199254740992", "MARK id=a offset=1 offset=1", "MARK id=a offset=x"),
    *("FLUSH_MEDIA id=", "REPORT_PLAYBACK interval_ms=19", "REPORT_PLAYBACK x"),
    *("MARK_MEDIA " + "y" * 400, "z" * 513, "z" * 5000, "MARK id=\x01", "MARK id=\u00e4"),
    *("{", "[]", '""', "{}", '{"command":1}', '{"command":"MARK"}', '{"command":"MARK","id":1.5}'),
    *('{"command":"MARK","id":""}', '{"command":"MARK","id":[]}', '{"id":"a"}'),
    '{"command":"FLUSH_MEDIA","id":null}',
    '{"command":"REPORT_PLAYBACK","interval_ms":"20"}',
    '{"command":"REPORT_PLAYBACK","interval_ms":-1}',
    '{"command":"MARK","id":99999999999999999999999}',
    '{"command":"MARK","id":"a","offset":-1}',
    '{"command":"MARK","id":"a","offset":1.0}',
    '{"command":"MARK","id":"a","offset":"1"}',
    '{"command":"MARK","id":"a","offset":null}',
    '{"command":"MARK","id":"a","offset":9007199254740992}',
    "[" * 500,
)
"""Commands that neither control message format takes"""

Action = Callable[[], Awaitable[object]]


class RandomApplication:
    """Plays on one session. It opts in to the playback events, or sends stock's commands alone."""

    def __init__(self, session: DisturbingSession, random: Random, opts_in: bool) -> None:
        self._session = session
        self._random = random
        self._marks = 0
        self.has_stopped_reading = False
        """at least once"""
        stock: list[tuple[int, Action]] = [
            (30, self._send),
            (20, self._pause_ourselves),
            (6, session.start_buffering),
            (4, self._stop_buffering),
            (3, self._mark_media),
            (1, session.flush),
            (2, session.pause),
            (4, session.continue_),
            (2, session.report_queue_drained),
            (1, session.get_status),
            (2, self._set_direction),
            (1, self._stop_reading),
            (1, self._send_fragmented),
            (1, self._send_slowly),
        ]
        ours: list[tuple[int, Action]] = [
            (25, self._mark),
            (10, self._mark_by_position),
            (2, self._burst),
            (1, self._glued),
            (3, self._flush),
            (5, session.report_playback),
            (2, self._report),
            (2, self._malformed),
        ]
        actions = [*stock, *(ours if opts_in else [])]
        self._weights = [weight for weight, _ in actions]
        self._actions = [action for _, action in actions]

    async def act(self) -> None:
        """Do one thing. Raises ConnectionEnded when there is nobody to do it to any more."""
        [action] = self._random.choices(self._actions, self._weights)
        await action()

    # --- Media ---

    def _media(self) -> bytes:
        size = self._random.choice(
            (
                0,
                self._random.randint(1, 1500),
                160 * self._random.randint(1, 20),
                320 * self._random.randint(1, 20),
                self._random.randint(1, 20000),
            )
        )
        return self._random.randbytes(size)

    async def _send(self) -> None:
        await self._session.send_media(self._media())

    async def _send_fragmented(self) -> None:
        data = self._media() or b"\x00"
        size = self._random.choice((self._random.randint(50, 500), self._random.randint(500, 5000)))
        await self._session.send_media_fragmented(data, size, self._random.random() < 0.5)

    async def _send_slowly(self) -> None:
        stall_s = self._random.uniform(0, _LONGEST_STALL_S)
        await self._session.send_media_stalled(self._media(), stall_s, self._random.randint(2, 20))

    async def _pause_ourselves(self) -> None:
        await asyncio.sleep(self._random.expovariate(1 / _MEAN_PAUSE_S))

    async def _stop_reading(self) -> None:
        self.has_stopped_reading = True
        self._session.stop_reading()
        try:
            await asyncio.sleep(self._random.uniform(0, _LONGEST_DEAF_S))
        finally:
            self._session.go_on_reading()

    # --- Commands ---

    def _id(self) -> protocol.Id:
        self._marks += 1
        if self._session.format is Format.JSON and self._random.random() < 0.3:
            return self._marks
        # Now and then one that was there already.
        return f"m{self._marks - (self._random.random() < 0.05)}"

    async def _mark(self) -> None:
        await self._session.mark(self._id())

    async def _mark_by_position(self) -> None:
        """Amid what was sent or ahead of it, mostly near its end."""
        self._marks += 1
        far = self._random.choice((1, 10, 400, 5000, 100_000))
        offset = self._session.sent_bytes + self._random.randint(-far, far)
        await self._session.mark(f"p{self._marks}", max(0, offset))

    async def _burst(self) -> None:
        flood = self._random.random() < 0.02
        for _ in range(FLOOD if flood else self._random.randint(2, LARGEST_BURST)):
            await self._mark()

    async def _glued(self) -> None:
        await self._session.send_in_one_write(
            [
                self._media(),
                self._session.mark_text(self._id()),
                self._media(),
                self._session.mark_text(self._id()),
            ]
        )

    async def _mark_media(self) -> None:
        self._marks += 1
        await self._session.mark_media(self._random.choice((None, f"old{self._marks}")))

    async def _stop_buffering(self) -> None:
        self._marks += 1
        await self._session.stop_buffering(self._random.choice((None, f"end{self._marks}")))

    async def _flush(self) -> None:
        await self._session.flush(self._id())

    async def _report(self) -> None:
        await self._session.report_playback(self._random.choice((0, 20, 20, 50, 200)))

    async def _set_direction(self) -> None:
        # Plain text does not know it: that is an error, and must do no harm either.
        direction = self._random.choice(("both", "both", "both", "out", "in"))
        await self._session.send_text(protocol.command_set_direction(direction))

    async def _malformed(self) -> None:
        await self._session.send_text(self._random.choice(MALFORMED))
