"""The events that a session has received, and whoever waits for one."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

from chan_websocket.protocol import Event
from harness.errors import HarnessFault

_SHOWN_EVENTS = 20


class ReceivedEvents:
    """All events of a session in order, until it ends."""

    def __init__(self) -> None:
        self.all: list[Event] = []
        """every event so far"""
        self._returned: set[int] = set()
        """indexes of those that `wait` has returned"""
        self._changed = asyncio.Event()
        self._end = ""

    def add(self, event: Event) -> None:
        """An event has come."""
        self.all.append(event)
        self._changed.set()

    def end(self, why: str) -> None:
        """None will come any more; ``why``, as a clause, is for those who wait."""
        self._end = why
        self._changed.set()

    async def wait(self, name: str, fields: Mapping[str, Any], timeout_s: float) -> Event:
        """The first event ``name`` with these fields that no earlier call has returned.

        Raises HarnessFault, saying which events did come, on time-out and when none can come.
        """

        async def arrived() -> Event | None:
            while (event := self._take(name, fields)) is None and not self._end:
                await self._change()
            return event

        wanted = " ".join([name, *(f"{key}={value!r}" for key, value in fields.items())])
        try:
            # Looked for at once: with a time-out of 0, wait_for would not even begin.
            event = self._take(name, fields) or await asyncio.wait_for(arrived(), timeout_s)
        except asyncio.TimeoutError:
            raise HarnessFault(f"no event {wanted} within {timeout_s:g} s", str(self)) from None
        if event is None:
            raise HarnessFault(f"{self._end} with no event {wanted}", str(self))
        return event

    async def iterate(self) -> AsyncIterator[Event]:
        """All events from the first one on, until the end."""
        for index in itertools.count():
            while index == len(self.all) and not self._end:
                await self._change()
            if index == len(self.all):
                return
            yield self.all[index]

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _take(self, name: str, fields: Mapping[str, Any]) -> Event | None:
        for index, event in enumerate(self.all):
            if index not in self._returned and event.matches(name, fields):
                self._returned.add(index)
                return event
        return None

    def __str__(self) -> str:
        if not self.all:
            return "No event has come at all."
        more = len(self.all) - _SHOWN_EVENTS
        left_out = f"... {more} more, then " if more > 0 else ""
        events = "".join(f"\n    {event}" for event in self.all[-_SHOWN_EVENTS:])
        return f"The events that came: {left_out}{events}"
