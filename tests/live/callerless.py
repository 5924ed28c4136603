"""WebSocket channels without a caller, made by AMI, and what is left of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil

from harness.application.client import connect
from harness.asterisk.ami import ActionFailed, Ami, manager
from harness.asterisk.configuration import WEBSOCKET_CLIENT
from harness.asterisk.own_asterisk import OwnAsterisk
from harness.host_lock import HOST
from harness.targets.target import OwnTarget
from harness.torture.pbx import LeftOver, left_over

T = TypeVar("T")

TIMEOUT_S = 10.0
"""for what Asterisk does by itself"""
POLL_S = 0.01
IDLE_CPU = 0.03
IDLE_WINDOW_S = 2.0
SILENCE = {"Context": "harness-silence", "Exten": "s", "Priority": "1"}
"""the dialplan that answers and says nothing, as AMI's actions name it"""
NOTHING = {"Application": "Wait", "Data": "600"}
"""what a channel does that has no dialplan"""


class Channels:
    """The channels of one Asterisk."""

    def __init__(self, asterisk: OwnAsterisk, ami: Ami) -> None:
        self.asterisk, self.ami = asterisk, ami

    async def originate(self, dial_string: str, channel_id: str, **where: str) -> None:
        """Make a channel with this id that goes there when it is answered."""
        await self.ami.action(
            "Originate",
            Channel=dial_string,
            ChannelId=channel_id,
            Async="true",
            Timeout="600000",
            **(where or NOTHING),
        )

    async def originate_websocket(
        self, channel_id: str, options: str = "c(ulaw)f(json)", **where: str
    ) -> None:
        """Make one that connects to the application."""
        await self.originate(f"WebSocket/{WEBSOCKET_CLIENT}/{options}", channel_id, **where)

    async def waiting(self, channel_id: str, options: str = "c(ulaw)f(json)") -> str:
        """Make one that the application is to connect to; where."""
        await self.originate(f"WebSocket/INCOMING/{options}", channel_id)

        async def connection_id() -> str:
            with suppress(ActionFailed):  # the channel is not there yet
                return await self.variable(channel_id, "MEDIA_WEBSOCKET_CONNECTION_ID")
            return ""

        return self.asterisk.network.media_uri(await until(connection_id))

    async def variable(self, channel: str, name: str) -> str:
        """A variable of a channel; ActionFailed if there is no such channel."""
        return (await self.ami.action("Getvar", Channel=channel, Variable=name))["Value"]

    async def hang_up(self, channel: str) -> None:
        """Hang up a channel, by its id or its name, and wait until it is gone."""
        await self.ami.action("Hangup", Channel=channel)
        await self.gone(channel)

    async def gone(self, channel: str) -> None:
        """Until there is no such channel."""

        async def is_gone() -> bool:
            try:
                await self.variable(channel, "CHANNEL(state)")
            except ActionFailed:
                return True
            return False

        await until(is_gone)


async def until(condition: Callable[[], Awaitable[T]]) -> T:
    """What the condition returns when it is met; TimeoutError if it never is."""

    async def met() -> T:
        while not (result := await condition()):
            await asyncio.sleep(POLL_S)
        return result

    return await asyncio.wait_for(met(), TIMEOUT_S)


@asynccontextmanager
async def channels(asterisk: OwnAsterisk) -> AsyncIterator[Channels]:
    """For a test's scenario: an AMI session to make channels by. Leaving hangs up what is left."""
    async with HOST.shared(), manager(asterisk) as ami:
        try:
            yield Channels(asterisk, ami)
        finally:
            with suppress(ActionFailed):
                await ami.action("Hangup", Channel="/.*/")


@contextmanager
def nothing_left(asterisk: OwnAsterisk) -> Iterator[None]:
    """Within this, calls leave neither channels nor descriptors behind.

    There may be calls before and after, but none besides.
    """
    process = psutil.Process(asterisk.pid)
    if asterisk.pid not in _warmed_up:
        # What is opened once and kept is no leak.
        asyncio.run(_warm_up(asterisk))
        _warmed_up.add(asterisk.pid)
    _wait_until_idle(asterisk)
    before = _descriptors(process)
    yield
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        # At most one channel's timer and alert pipe each.
        most = len(before) + 2 * _wait_until_idle(asterisk).zombies
        if len(after := _descriptors(process)) <= most or time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    assert len(after) <= most, f"open before: {before}, after: {after}"


def is_idle(asterisk: OwnAsterisk) -> bool:
    """Whether no thread spins where no call is up. Looks for some seconds."""
    return cpu_share(asterisk, IDLE_WINDOW_S) < IDLE_CPU


def cpu_share(asterisk: OwnAsterisk, window_s: float) -> float:
    """How much of a processor Asterisk uses in the time that follows."""
    process = psutil.Process(asterisk.pid)

    def used() -> float:
        times = process.cpu_times()
        return times.user + times.system

    begin, used_before = time.monotonic(), used()
    time.sleep(window_s)
    return (used() - used_before) / (time.monotonic() - begin)


def _descriptors(process: psutil.Process) -> list[str]:
    """What is open in the process, but what its clock opens once, some time: /etc is watched."""
    opened = []
    for link in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            opened.append(f"{link.name}: {link.readlink()}")
    opened = [one for one in opened if not one.endswith("inotify")]
    return sorted(opened, key=lambda one: int(one.partition(":")[0]))


_warmed_up: set[int] = set()
"""pids of those that have had a call"""


async def _warm_up(asterisk: OwnAsterisk) -> None:
    async with channels(asterisk) as made:
        tls = OwnTarget(asterisk).media_tls
        async with connect(await made.waiting("warm-up"), tls) as session:
            await session.mark("m")
            await session.wait_event("MARK_PLAYED", id="m")
        await made.gone("warm-up")


def _wait_until_idle(asterisk: OwnAsterisk) -> LeftOver:
    deadline = time.monotonic() + TIMEOUT_S
    while (left := left_over(asterisk)).text:
        assert time.monotonic() < deadline, left.text
        time.sleep(POLL_S)
    return left
