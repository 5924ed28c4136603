"""Load that ends for certain, and networks that are as bad as they were told to be."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import psutil
import pytest

from harness.asterisk.console import Console, hang_up_caller
from harness.caller.rtp_sender import RtpTarget, rtp_packet
from harness.caller.rtp_socket import RtpSocket, bind_pair, read_waiting
from harness.errors import HarnessFault, InputFault
from harness.network_impairment import BadNetwork, UdpRelay, fates, tcp_relay
from harness.scenarios.cpu_load import cpu_load

TIMEOUT_S = 10.0


# ---- load ----------------------------------------------------------------------------------------


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_load_is_there_in_the_block_and_gone_behind_it() -> None:
    before = children()
    with pytest.raises(ZeroDivisionError), cpu_load(2):
        busy = children() - before
        assert len(busy) == 2
        for pid in busy:
            assert os.sched_getscheduler(pid) == os.sched_getscheduler(0)
        raise ZeroDivisionError
    assert children() == before


def test_load_ends_with_the_harness_however_that_ends() -> None:
    script = (
        "import os, signal\n"
        "from harness.scenarios.cpu_load import cpu_load\n"
        "with cpu_load(1):\n"
        "    print(open(f'/proc/self/task/{os.getpid()}/children').read(), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    (pid,) = (int(word) for word in run.stdout.split())
    wait_until_gone(pid)


def test_load_ends_by_itself() -> None:
    before = children()
    with cpu_load(1, max_s=1):
        (pid,) = children() - before
        wait_until_gone(pid)


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return
        if stat.rpartition(")")[2].split()[0] == "Z":
            return
        assert time.monotonic() < deadline, "it is still there"
        time.sleep(0.01)


# ---- channels ------------------------------------------------------------------------------------


class FakeConsole:
    def __init__(self) -> None:
        self.hung_up: list[str] = []

    def run(self, command: str) -> str:
        if command == "core show channels concise":
            return "PJSIP/caller-1!calls!a\nWebSocket/x/1!calls!b\nPJSIP/caller-2!calls!c"
        if command.startswith("core show channel "):
            of = "two" if command.endswith(("caller-2", "x/1")) else "one"
            return f"      Variables:\nSIP_CALL_ID={of}\nDIALSTATUS=ANSWER\n"
        self.hung_up.append(command)
        return ""


def test_the_channel_of_the_call_is_hung_up_and_no_other() -> None:
    fake = FakeConsole()
    console = cast(Console, cast(Any, fake))
    assert hang_up_caller(console, "two") == "PJSIP/caller-2"
    assert fake.hung_up == ["channel request hangup PJSIP/caller-2"]
    # "tw" is the beginning of another call's id.
    with pytest.raises(HarnessFault, match="no caller's channel"):
        hang_up_caller(console, "tw")


# ---- networks ------------------------------------------------------------------------------------


def first(network: BadNetwork, count: int, direction: str = "") -> list[tuple[float, ...]]:
    return list(itertools.islice(fates(network, direction), count))


def test_the_same_seed_is_the_same_fate() -> None:
    network = BadNetwork(loss=0.2, duplicate=0.1, delay_ms=5, jitter_ms=50, seed=3)
    assert first(network, 500) == first(network, 500)
    assert first(network, 500) != first(network, 500, "other")
    assert first(network, 500) != first(BadNetwork(**{**vars(network), "seed": 4}), 500)


def test_a_network_is_as_bad_as_it_says() -> None:
    found = first(BadNetwork(loss=0.2, duplicate=0.1, delay_ms=5, jitter_ms=50), 10_000)
    assert sum(not one for one in found) / 10_000 == pytest.approx(0.2, abs=0.02)
    assert sum(len(one) == 2 for one in found) / 10_000 == pytest.approx(0.08, abs=0.02)
    late = [delay for one in found for delay in one]
    assert 0.005 <= min(late) < 0.006
    assert 0.054 < max(late) <= 0.055
    assert first(BadNetwork(), 3) == [(0.0,)] * 3


def test_more_loss_only_takes_packets_away() -> None:
    good = first(BadNetwork(loss=0.1, jitter_ms=50), 1000)
    bad = first(BadNetwork(loss=0.5, jitter_ms=50), 1000)
    assert all(worse in ((), better) for better, worse in zip(good, bad, strict=True))


@pytest.mark.parametrize("wrong", [{"loss": 1.1}, {"duplicate": -1}, {"jitter_ms": -1}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputFault):
        BadNetwork(**wrong)  # type: ignore[arg-type]


def test_a_relay_notes_all_and_loses_what_its_seed_says() -> None:
    network = BadNetwork(loss=0.3, seed=5)
    kept = [number for number, one in enumerate(first(network, 200, "to the caller")) if one]
    asterisk, rtcp = bind_pair()
    with asterisk, rtcp, RtpSocket() as caller, UdpRelay(caller, network) as relay:
        assert relay.port != caller.port
        for number in range(200):
            packet = rtp_packet(number, number * 160, 1, 0, b"x", marker=False)
            asterisk.sendto(packet, (relay.address, relay.port))
        assert caller.wait_for_packets(len(kept), TIMEOUT_S)
        assert [packet.sequence for packet in caller.packets] == kept
        assert [packet.sequence for packet in relay.packets] == list(range(200))
        assert (relay.lost, relay.dropped) == (200 - len(kept), 0)


def test_packets_overtake_each_other_in_a_relay_with_jitter() -> None:
    asterisk, rtcp = bind_pair()
    network = BadNetwork(jitter_ms=30, duplicate=0.2, seed=1)
    with asterisk, rtcp, RtpSocket() as caller, UdpRelay(caller, network) as relay:
        copies = [len(one) for one in first(network, 100, "to the caller")]
        for number in range(100):
            packet = rtp_packet(number, number * 160, 1, 0, b"x", marker=False)
            asterisk.sendto(packet, (relay.address, relay.port))
        assert caller.wait_for_packets(sum(copies), TIMEOUT_S)
        got = [packet.sequence for packet in caller.packets]
        assert got != sorted(got)
        assert [got.count(number) for number in range(100)] == copies


def test_what_the_caller_says_goes_through_the_relay_to_where_asterisk_is() -> None:
    asterisk, rtcp = bind_pair()
    with asterisk, rtcp, RtpSocket() as caller, UdpRelay(caller, BadNetwork()) as relay:
        asterisk.sendto(rtp_packet(0, 0, 1, 0, b"x", marker=False), ("127.0.0.1", relay.port))
        assert caller.wait_for_packets(1, TIMEOUT_S)
        # Port 9 is what its SDP would have said: it is not asked.
        caller.talk(RtpTarget("127.0.0.1", 9, 0))
        asterisk.setblocking(True)
        asterisk.settimeout(TIMEOUT_S)
        asterisk.recv(1, socket.MSG_PEEK)
        _, packet, sender, _ = next(read_waiting(asterisk))
        assert sender == ("127.0.0.1", relay.port)
        assert len(packet) == 172
        assert [packet.payload for packet in relay.packets] == [b"x"]


def test_a_slow_connection_carries_everything_later_and_ends_when_it_is_ended() -> None:
    async def test() -> None:
        ended = asyncio.Event()

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read())
            writer.close()
            ended.set()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with tcp_relay("127.0.0.1", port, delay_ms=50) as relay_port:
            sent = os.urandom(3_000_000)
            begin = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", relay_port)
            writer.write(sent)
            writer.write_eof()
            assert await reader.read() == sent
            assert time.monotonic() - begin >= 0.1
            await ended.wait()
            writer.close()
        server.close()

    asyncio.run(asyncio.wait_for(test(), TIMEOUT_S))


def test_a_connection_can_be_cut_into_segments_of_any_size() -> None:
    async def test() -> None:
        sizes = []

        async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received = b""
            while data := await reader.read(1 << 20):
                sizes.append(len(data))
                received += data
            writer.write(received)
            writer.close()

        server = await asyncio.start_server(listen, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with tcp_relay("127.0.0.1", port, cuts=random.Random(1)) as relay_port:
            sent = os.urandom(20_000)
            reader, writer = await asyncio.open_connection("127.0.0.1", relay_port)
            for begin in range(0, len(sent), 2000):
                writer.write(sent[begin : begin + 2000])
                await asyncio.sleep(0)
            writer.write_eof()
            assert await reader.read() == sent
            assert len(sizes) > 10
            writer.close()
        server.close()

    asyncio.run(asyncio.wait_for(test(), TIMEOUT_S))


def test_a_connection_that_breaks_off_breaks_off_behind_a_relay_too() -> None:
    async def test() -> None:
        reset = asyncio.Event()

        async def wait_for_reset(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            with pytest.raises(ConnectionResetError):
                await reader.read()
            reset.set()
            writer.close()

        server = await asyncio.start_server(wait_for_reset, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with tcp_relay("127.0.0.1", port, delay_ms=0) as relay_port:
            _, writer = await asyncio.open_connection("127.0.0.1", relay_port)
            linger = (1).to_bytes(4, sys.byteorder) + bytes(4)
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
            await reset.wait()
        server.close()

    asyncio.run(asyncio.wait_for(test(), TIMEOUT_S))
