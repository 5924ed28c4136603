"""An event loop in which an hour takes as long as what is done in it."""

from __future__ import annotations

import asyncio
import selectors

_LEFT_S = 60.0


class Clock(selectors.DefaultSelector):
    """Has no time to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.now += timeout
        return ready


class FastMotion(asyncio.SelectorEventLoop):
    """An event loop in whose time nothing takes any but what waits."""

    def __init__(self) -> None:
        self._clock = Clock()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now

    def close(self) -> None:
        """Also end what a test that has failed has left behind."""
        if not self.is_closed() and (left := asyncio.all_tasks(self)):
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.wait(left, timeout=_LEFT_S))
        super().close()
