"""SIP messages on a stream, and their way to and from UDP."""

from __future__ import annotations

import asyncio
import socket

from harness.caller.sip_options import ask_options
from harness.caller.sip_peer import SipPeer, local_address_towards
from harness.caller.sip_stream import open_relay, read_message

ONE = b"SIP/2.0 200 OK\r\nContent-Length: 4\r\n\r\nbody"
OTHER = b"BYE sip:x SIP/2.0\r\nl: 0\r\n\r\n"


async def messages_of(*pieces: bytes) -> list[bytes]:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    messages = []
    while message := await read_message(reader):
        messages.append(message)
    return messages


def test_messages_are_told_apart_by_their_length() -> None:
    assert asyncio.run(messages_of(ONE + OTHER + ONE)) == [ONE, OTHER, ONE]


def test_empty_lines_between_messages_are_no_message() -> None:
    assert asyncio.run(messages_of(b"\r\n\r\n", ONE, b"\r\n\r\n" + OTHER)) == [ONE, OTHER]


def test_a_message_that_is_cut_off_is_none() -> None:
    assert asyncio.run(messages_of(ONE + ONE[:-1])) == [ONE]


def test_a_relay_carries_datagrams_to_the_stream_and_back() -> None:
    async def run() -> None:
        received: asyncio.Queue[bytes] = asyncio.Queue()

        async def pbx(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            received.put_nowait(await read_message(reader))
            writer.write(ONE + OTHER)

        server = await asyncio.start_server(pbx, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        async with server, open_relay(SipPeer("127.0.0.1", port, "tcp")) as relay:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sipp:
                sipp.bind(("127.0.0.1", 0))
                sipp.connect(relay.udp)
                sipp.setblocking(False)
                await loop.sock_sendall(sipp, OTHER)
                assert await asyncio.wait_for(received.get(), 5) == OTHER
                for expected in (ONE, OTHER):
                    assert await asyncio.wait_for(loop.sock_recv(sipp, 4096), 5) == expected

    asyncio.run(run())


def test_any_answer_to_options_will_do() -> None:
    async def run() -> str:
        async def pbx(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert (await read_message(reader)).startswith(b"OPTIONS sip:127.0.0.1:")
            writer.write(b"SIP/2.0 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

        server = await asyncio.start_server(pbx, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            return await ask_options(SipPeer("127.0.0.1", port, "tcp"))

    assert asyncio.run(run()) == "SIP/2.0 401 Unauthorized"


def test_the_address_to_call_from_is_the_one_with_a_route() -> None:
    assert local_address_towards(SipPeer("127.1.2.3", 5060)) == "127.0.0.1"
    assert local_address_towards(SipPeer("x", 1, local_address="127.1.2.3")) == "127.1.2.3"
