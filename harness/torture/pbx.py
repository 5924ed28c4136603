"""The Asterisk that is tortured: its dialplan, its bridges, and what it keeps of calls."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.application.client import MediaServer
from harness.application.disturb import DisturbingSession, serve
from harness.asterisk.ami import ActionFailed, Ami, manager
from harness.asterisk.ari import Ari, AriRefused
from harness.asterisk.configuration import extensions_conf
from harness.asterisk.instance import Instance
from harness.asterisk.own_asterisk import OwnAsterisk
from harness.errors import HarnessFault
from harness.targets.target import OwnTarget

CONTEXT = "torture"
PLACES = ("silence", "tone", "echo", "conference")
"""extensions of the context that a channel can be sent to"""
PICKUP = "pickup"
"""the extension that picks up the channel whose id is in this variable"""
PICKUP_VARIABLE = "TORTURE_TARGET"
BRIDGES = ("torture-1", "torture-2", "torture-3")
ARI_APPLICATION = "torture"
POLL_S = 0.02
_ZOMBIE_DESCRIPTORS = ("anon_inode:[timerfd]", "anon_inode:[eventfd]")
"""that a channel may have open which nobody serves any more: its timer, and its alert pipe"""
# Where these are in a line of `core show channels concise`, see handle_chanlist() of main/cli.c.
# From the end, as an application's arguments may hold the separator.
_APPLICATION, _BRIDGE = 5, -2

_DIALPLAN = f"""
[{CONTEXT}]
exten = silence,1,Answer()
 same = n,Wait(600)
exten = tone,1,Answer()
 same = n,Milliwatt()
exten = echo,1,Answer()
 same = n,Echo()
exten = conference,1,Answer()
 same = n,ConfBridge(torture,harness_bridge)
exten = {PICKUP},1,PickupChan(${{{PICKUP_VARIABLE}}})
"""
_CONNECTION_S = 60.0
_COMPLAINT = re.compile(r"\bERROR\[|FRACK|[Aa]ssert|runtime error")
# What is written to, or read from, an application that has broken the connection off.
_EXPLAINED = re.compile(
    r"Unable to send event"
    r"|Error reading from web socket: (Connection reset by peer|Broken pipe)"
    r"|SSL_shutdown\(\) failed"
    # What is said of one that is added to a bridge when a masquerade has just ended it.
    r"|Error adding channel to bridge"
)


@dataclass(frozen=True)
class LeftOver:
    """What Asterisk has, of channels and of what the driver keeps of each."""

    text: str
    """what should not be there if there is no call; empty if there is nothing"""
    zombies: int
    """Channels that Asterisk's core has left over. It puts both channels of a masquerade back among
    the others when one of them may have been hung up already. That one then stays there, in the
    list of channels or only in their number; the driver has let go of it, and nobody serves it,
    whatever application it was in."""

    def explains(self, more: Counter[str]) -> bool:
        """Whether these may be the descriptors that these channels have open."""
        return all(kind in _ZOMBIE_DESCRIPTORS for kind in more) and (
            max(more.values(), default=0) <= self.zombies
        )


def left_over(asterisk: OwnAsterisk) -> LeftOver:
    """What an Asterisk has now. Blocks."""
    channels = asterisk.console.run("core show channels concise").splitlines()
    driver = asterisk.console.run("websocket show playback")
    count = int(asterisk.console.run("core show channels count").split()[0])
    return what_is_left(channels, driver, count)


def what_is_left(channels: Sequence[str], driver: str, count: int) -> LeftOver:
    """By the lines of `core show channels concise`, what `websocket show playback` says, and how
    many channels Asterisk counts."""
    served = [channel for channel in channels if is_served(channel)]
    if driver.endswith("\n0 WebSocket channels"):
        served = [channel for channel in served if not channel.startswith("WebSocket/")]
        if not served:
            return LeftOver("", count)
    return LeftOver("\n".join([*served, driver]), count)


def is_served(channel: str) -> bool:
    """Whether a line of `core show channels concise` has an application or a bridge."""
    fields = channel.split("!")
    return fields[_APPLICATION] != "(None)" or fields[_BRIDGE] != ""


class TorturedPbx:
    """An Asterisk with all that calls are moved about with. Made by `tortured`."""

    def __init__(self, asterisk: Instance, ami: Ami, server: MediaServer[DisturbingSession]):
        self.asterisk = asterisk
        self.ami = ami
        self.counts: Counter[str] = Counter()
        """how often each thing was done"""
        self._server = server
        self._target = OwnTarget(asterisk)
        self._expected: dict[str, asyncio.Future[DisturbingSession]] = {}
        self._up: dict[str, tuple[DisturbingSession, bool]] = {}

    @property
    def ari(self) -> Ari:
        return self._target.ari

    @property
    def media_tls(self) -> ssl.SSLContext | None:
        """For connections to Asterisk, if they are wss://."""
        return self._target.media_tls

    def media_uri(self, connection_id: str) -> str:
        """Where an application connects."""
        return self._target.media_uri(connection_id)

    # --- Calls ---

    def expect(self, token: str) -> asyncio.Future[DisturbingSession]:
        """The connection that Asterisk will make for the call of this token."""
        future: asyncio.Future[DisturbingSession] = asyncio.get_running_loop().create_future()
        self._expected[token] = future
        return future

    async def _dispatch(self) -> None:
        while True:
            with suppress(HarnessFault):  # nobody came for a while
                session = await self._server.accept(_CONNECTION_S)
                # Not by URI parameters (dial option v): Asterisk keeps those of the latest call in
                # the client's object, which calls that connect at the same time share.
                token = str(session.media_start.fields["channel_id"])
                expected = self._expected.pop(token, None)
                if expected is not None and not expected.done():
                    expected.set_result(session)

    @contextmanager
    def up(self, token: str, session: DisturbingSession, waits: bool) -> Iterator[None]:
        """While a call is up; whether it waits to be answered."""
        self._up[token] = session, waits
        try:
            yield
        finally:
            del self._up[token]

    def others(self, token: str, *, waiting: bool = False) -> list[DisturbingSession]:
        """The other calls that are up, or those of them that wait to be answered."""
        return [
            session
            for other, (session, waits) in self._up.items()
            if other != token and (waits or not waiting)
        ]

    @asynccontextmanager
    async def bridges(self) -> AsyncIterator[None]:
        """Bridges that calls are moved to and fro, in each of which somebody speaks.

        At the end all that was called besides is hung up.
        """
        for bridge in BRIDGES:
            await self.ari.request("POST", f"bridges/{bridge}", type="mixing")
            speaker = f"{bridge}-speaker"
            await self.ari.originate(f"Local/tone@{CONTEXT}", ARI_APPLICATION, speaker)
            while True:
                with suppress(AriRefused):  # it has not entered the application yet
                    await self.ari.request("POST", f"bridges/{bridge}/addChannel", channel=speaker)
                    break
                await asyncio.sleep(POLL_S)
        try:
            yield
        finally:
            for bridge in BRIDGES:
                with suppress(AriRefused):
                    await self.ari.request("DELETE", f"bridges/{bridge}")
            with suppress(ActionFailed):
                await self.ami.action("Hangup", Channel="/^Local/.*/")

    # --- What is left of calls ---

    async def left_over(self) -> LeftOver:
        """What is left of calls."""
        return await asyncio.to_thread(left_over, self.asterisk)

    def open_descriptors(self) -> Counter[str]:
        """Asterisk's, how many of each kind: a socket, an event, a timer, or the path of a file."""
        kinds: Counter[str] = Counter()
        for link in Path(f"/proc/{self.asterisk.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has been closed meanwhile
                kinds[re.sub(r":\[\d+\]$", "", str(link.readlink()))] += 1
        return kinds


@asynccontextmanager
async def tortured(asterisk: Instance) -> AsyncIterator[TorturedPbx]:
    """Make a running Asterisk ready for it."""
    (asterisk.directories.configuration / "extensions.conf").write_text(
        extensions_conf([]) + _DIALPLAN
    )
    asterisk.console.run("dialplan reload")
    listener = OwnTarget(asterisk).listener
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serve(listener.host, tls=listener.tls))
        asterisk.use_application(server.uri)
        ami = await stack.enter_async_context(manager(asterisk))
        pbx = TorturedPbx(asterisk, ami, server)
        events = await stack.enter_async_context(pbx.ari.events(ARI_APPLICATION))
        await stack.enter_async_context(background(drain(events)))
        await stack.enter_async_context(background(pbx._dispatch()))
        yield pbx


def refused(asterisk: Instance) -> int:
    """How many channels were to enter a bridge when a masquerade had just ended them.

    Asterisk's core refuses them, and may keep what it had of them without counting it.
    """
    log = asterisk.folder / "log" / "asterisk.log"
    return log.read_text(errors="backslashreplace").count("is a zombie and cannot be imparted")


def complaints(asterisk: Instance) -> Iterator[str]:
    """What Asterisk's logs complain of, but what applications that break off explain."""
    for log in asterisk.folder.glob("log/*"):
        for line in log.read_text(errors="backslashreplace").splitlines():
            if _COMPLAINT.search(line) and not _EXPLAINED.search(line):
                yield f"the log says: {line}"


@asynccontextmanager
async def background(work: Awaitable[None]) -> AsyncIterator[None]:
    """Something that goes on until the block is left; what it failed with is raised then."""
    task = asyncio.ensure_future(work)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def drain(events: AsyncIterable[object]) -> None:
    """Take what comes and do nothing with it: an ARI application whose events nobody reads."""
    async for _ in events:
        pass
