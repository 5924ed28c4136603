"""A network that loses, duplicates, delays and reorders, between Asterisk and its peers.

It is a relay of the harness's own, so it needs no privilege and the same seed always does the same;
the kernel's netem needs root and a module that many kernels do not have. What a relay does happens
behind the place where packets are captured: it is never Asterisk's fault.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from harness.application.disturb import break_off
from harness.caller.rtp_socket import RtpPorts, RtpSocket, read_waiting
from harness.errors import InputFault

_READ_BYTES = 65536
_CHUNKS_ON_THE_WAY = 64
_MOST_SEGMENTS = 40
"""that what was read at once is cut into"""


@dataclass(frozen=True)
class BadNetwork:
    """What becomes of packets on their way. Probabilities are from 0 to 1."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """on top of the delay: evenly from 0 to this, so that packets overtake each other"""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise InputFault for what cannot be."""
        for name in ("loss", "duplicate"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputFault(f"{name} is {getattr(self, name):g}", "Give 0 to 1.")
        for name in ("delay_ms", "jitter_ms"):
            if getattr(self, name) < 0:
                raise InputFault(f"{name} is {getattr(self, name):g}", "Give 0 or more.")


def fates(network: BadNetwork, direction: str = "") -> Iterator[tuple[float, ...]]:
    """What becomes of packet after packet: the delay in seconds of each copy that arrives.

    None is lost, two is duplicated. The same for the same seed and ``direction``.
    """
    chance = random.Random(f"{network.seed}/{direction}")
    while True:
        # Always as many numbers for a packet: so more loss only takes packets, and moves none.
        lost, doubled, *late = (chance.random() for _ in range(4))
        copies = 0 if lost < network.loss else 2 if doubled < network.duplicate else 1
        yield tuple(
            (network.delay_ms + network.jitter_ms * share) / 1000 for share in late[:copies]
        )


class UdpRelay(RtpPorts):
    """A pair of ports that stands for the caller's RTP and RTCP ports.

    Asterisk is given ``port`` instead of the caller's: what it sends there goes on to the caller,
    and what the caller sends there goes on to Asterisk, both through ``network``. RTCP
    (``port + 1``) is relayed untouched.

    All that Asterisk sends is kept in ``packets`` before it is lost or late: so the relay is what
    measures, whatever becomes of the packets behind it.
    """

    def __init__(self, caller: RtpSocket, network: BadNetwork) -> None:
        super().__init__(caller.address, "udp-relay")
        caller.relay_port = self.port
        self._callers = {
            self._rtp: (caller.address, caller.port),
            self._rtcp: (caller.address, caller.port + 1),
        }
        self._peers: dict[socket.socket, tuple[str, int]] = {}
        """where Asterisk sent from"""
        self._to_caller = fates(network, "to the caller")
        self._to_asterisk = fates(network, "to Asterisk")
        self._late: list[tuple[float, int, socket.socket, bytes, tuple[str, int]]] = []
        self._numbers = itertools.count()
        self._lost = 0
        self._start()

    @property
    def lost(self) -> int:
        """RTP packets that the relay threw away, of both directions."""
        with self._changed:
            return self._lost

    def _wait_s(self) -> float | None:
        return max(0.0, self._late[0][0] - time.monotonic()) if self._late else None

    def _read(self) -> None:
        self._take_in()
        while self._late and self._late[0][0] <= time.monotonic():
            _, _, way, data, destination = heapq.heappop(self._late)
            with suppress(OSError):  # nobody there, or no room: lost, as on any network
                way.sendto(data, destination)

    def _take_in(self) -> None:
        now = time.monotonic()
        for way in (self._rtp, self._rtcp):
            for time_ns, data, sender, dropped in read_waiting(way):
                from_caller = sender == self._callers[way]
                if not from_caller:
                    self._peers[way] = sender
                destination = self._peers.get(way) if from_caller else self._callers[way]
                delays: tuple[float, ...] = (0.0,)
                if way is self._rtp:
                    delays = next(self._to_asterisk if from_caller else self._to_caller)
                    with self._changed:
                        self._lost += not delays
                    self._keep(time_ns, b"" if from_caller else data, dropped)
                # Until Asterisk has sent something nobody knows where it is.
                if destination is None:
                    continue
                for delay in delays:
                    entry = (now + delay, next(self._numbers), way, data, destination)
                    heapq.heappush(self._late, entry)


@asynccontextmanager
async def tcp_relay(
    address: str, port: int, delay_ms: float = 0.0, cuts: random.Random | None = None
) -> AsyncIterator[int]:
    """A port on ``address``, which is this machine's, that stands for ``port`` there, with a slow
    network between.

    Every byte arrives ``delay_ms`` later, in either direction, and a connection that breaks off
    here breaks off there. Where there are ``cuts``, bytes leave in segments of random sizes with
    random pauses between. Yields the port. Leaving ends all connections.
    """
    tasks: set[asyncio.Task[None]] = set()

    def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine, whose task would be asyncio's: that reports a cancelled one as an error.
        task = asyncio.ensure_future(_join(reader, writer, address, port, delay_ms / 1000, cuts))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(join, address, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _join(
    near_reader: asyncio.StreamReader,
    near_writer: asyncio.StreamWriter,
    address: str,
    port: int,
    delay_s: float,
    cuts: random.Random | None,
) -> None:
    """Carry bytes both ways between a connection and a new one, until both have ended."""
    writers = [near_writer]
    try:
        far_reader, far_writer = await asyncio.open_connection(address, port)
        writers.append(far_writer)
        await _together(
            _carry(near_reader, far_writer, delay_s, cuts),
            _carry(far_reader, near_writer, delay_s, cuts),
        )
    except OSError:  # one of them was broken off, or never there: so the other one is, too
        for writer in writers:
            break_off(writer.transport)
    finally:
        for writer in writers:
            writer.close()


async def _carry(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    delay_s: float,
    cuts: random.Random | None,
) -> None:
    loop = asyncio.get_running_loop()
    # Not more: a relay that takes in all would hide that the other side does not read.
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_ON_THE_WAY)

    async def take_in() -> None:
        data = b"."
        while data:
            data = await reader.read(_READ_BYTES)
            await on_the_way.put((loop.time() + delay_s, data))

    async def give_out() -> None:
        while True:
            due, data = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                break
            for segment in _segments(data, cuts) if cuts else [data]:
                writer.write(segment)
                await writer.drain()
                if cuts:
                    await asyncio.sleep(_pause_s(cuts))
        if writer.can_write_eof():
            writer.write_eof()

    await _together(take_in(), give_out())


def _segments(data: bytes, cuts: random.Random) -> Iterator[bytes]:
    """``data``, now and then as it is, else in parts down to a byte."""
    largest = cuts.choice((3, 50, 1500, len(data)))
    # Of a byte each they would take too long.
    most = max(largest, len(data) // _MOST_SEGMENTS)
    begin = 0
    while begin < len(data):
        size = cuts.randint(1, most)
        yield data[begin : begin + size]
        begin += size


def _pause_s(cuts: random.Random) -> float:
    """Mostly none, sometimes some ms, rarely so long that what is queued runs out."""
    [longest] = cuts.choices((0.0, 0.005, 0.05, 1.5), (80, 16, 3.7, 0.3))
    return cuts.uniform(0, longest)


async def _together(*parts: Coroutine[object, object, None]) -> None:
    """All parts at once; when one fails the others are ended, which gather would not do."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
