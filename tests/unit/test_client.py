"""The application's side against a stand-in for Asterisk: a plain WebSocket peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websocket_serve
from websockets.typing import Subprotocol

from chan_websocket.protocol import Format
from harness.application import client
from harness.application.disturb import DisturbingSession, connect, serve
from harness.errors import HarnessFault

MEDIA = [Subprotocol("media")]
START = "MEDIA_START connection_id:a channel:c channel_id:1 format:ulaw optimal_frame_size:160"
JSON_START = '{"event":"MEDIA_START","optimal_frame_size":160}'


@asynccontextmanager
async def call(start: str = START) -> AsyncIterator[tuple[DisturbingSession, ClientConnection]]:
    """A session, and Asterisk's end of its connection."""
    async with (
        serve() as server,
        websocket_connect(f"{server.uri}?x=1", subprotocols=MEDIA, proxy=None) as asterisk,
    ):
        await asterisk.send(start)
        yield await server.accept(), asterisk


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 20))


def test_a_session_knows_its_call() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            assert asterisk.subprotocol == "media"
            assert session.path == "/?x=1"
            assert session.frame_bytes == 160
            assert session.format is Format.PLAIN

    run(test)


def test_the_client_that_others_use_records_nothing() -> None:
    async def test() -> None:
        async with (
            client.serve() as server,
            websocket_connect(server.uri, subprotocols=MEDIA, proxy=None) as asterisk,
        ):
            await asterisk.send(START)
            session = await server.accept()
            await session.send_media(b"x" * 160)
            assert await session.mark("greeting") == 160
            assert [await asterisk.recv() for _ in range(2)] == [b"x" * 160, "MARK id=greeting"]
            await asterisk.send(b"\xff" * 160)
            await asterisk.send("MARK_PLAYED id=greeting")
            await session.wait_event("MARK_PLAYED", id="greeting")
            assert type(session) is client.MediaSession

    run(test)


def test_the_client_that_others_use_can_connect_itself() -> None:
    async def asterisk(connection: ServerConnection) -> None:
        await connection.send(START)
        await connection.wait_closed()

    async def test() -> None:
        async with websocket_serve(asterisk, "127.0.0.1", 0, subprotocols=MEDIA) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with client.connect(f"ws://127.0.0.1:{port}/media/id") as session:
                assert session.path == "/media/id"

    run(test)


def test_offsets_are_those_of_the_audio_sent_before() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            assert await session.mark("first") == 0
            await session.send_media(b"x" * 700)
            await session.send_media(b"x" * 51)
            assert await session.mark("second") == 751
            assert session.sent_bytes == 751
            assert await session.mark("word", 240) == 240
            got = [await asterisk.recv() for _ in range(5)]
            marks = ["MARK id=first", "MARK id=second", "MARK id=word offset=240"]
            assert got == [marks[0], b"x" * 700, b"x" * 51, *marks[1:]]

    run(test)


def test_commands_are_spelled_as_media_start_was() -> None:
    async def test() -> None:
        async with call(JSON_START) as (session, asterisk):
            assert session.format is Format.JSON
            await session.mark(7)
            assert await asterisk.recv() == '{"command":"MARK","id":7}'
            await session.mark(7, 0)
            assert await asterisk.recv() == '{"command":"MARK","id":7,"offset":0}'

    run(test)


def test_an_event_is_found_whenever_it_came_and_only_once() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            for message in ("MARK_PLAYED id=b", "MARK_PLAYED id=a", "MARK_PLAYED id=a"):
                await asterisk.send(message)
            await session.wait_event("MARK_PLAYED", id="a")
            await session.wait_event("MARK_PLAYED", id="a")
            await session.wait_event("MARK_PLAYED", timeout_s=0, id="b")
            with pytest.raises(HarnessFault) as failure:
                await session.wait_event("MARK_PLAYED", timeout_s=0, id="a")
            assert "MARK_PLAYED id='a'" in failure.value.what
            assert "MARK_PLAYED id=b" in failure.value.remedy

    run(test)


def test_waiting_ends_with_the_connection() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            waiting = asyncio.create_task(session.wait_event("MARK_PLAYED"))
            await asterisk.send("MEDIA_XOFF")
            await asterisk.close(1001)
            with pytest.raises(HarnessFault, match=r"ended \(close code 1001\).*MARK_PLAYED"):
                await waiting
            assert session.closed
            assert session.messages[-1].kind == "close"
            with pytest.raises(HarnessFault, match="had ended"):
                await session.mark("late")

    run(test)


def test_events_are_iterated_from_the_first_to_the_last() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            await asterisk.send("MEDIA_XOFF")
            await asterisk.send("MEDIA_XON")
            await asterisk.close()
            names = [event.name async for event in session.iterate_events()]
            assert names == ["MEDIA_START", "MEDIA_XOFF", "MEDIA_XON"]

    run(test)


def test_every_message_is_recorded_in_order_of_time() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            await session.send_media(b"abc")
            await asterisk.recv()
            await asterisk.send(b"def")
            await asterisk.send("MEDIA_XON")
            await session.wait_event("MEDIA_XON")
            assert [(m.sender, m.kind, m.data) for m in session.messages[1:]] == [
                ("application", "binary", b"abc"),
                ("asterisk", "binary", b"def"),
                ("asterisk", "text", b"MEDIA_XON"),
            ]
            times = [message.time_ns for message in session.messages]
            assert times == sorted(times)
            assert (session.received_media, session.received_packets) == (b"def", 1)

    run(test)


def test_nobody_connects() -> None:
    async def test() -> None:
        async with serve() as server:
            with pytest.raises(HarnessFault, match="did not open a media connection"):
                await server.accept(timeout_s=0)

    run(test)


def test_connecting_to_asterisk() -> None:
    async def test() -> None:
        async def asterisk(connection: ServerConnection) -> None:
            await connection.send(START)
            assert await connection.recv() == "HANGUP"

        async with websocket_serve(asterisk, "127.0.0.1", 0, subprotocols=MEDIA) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/media/id") as session:
                assert session.path == "/media/id"
                await session.hangup()
                await session.wait_closed()
                assert session.close_code == 1000

    run(test)


def test_a_refused_connection_says_where() -> None:
    async def test() -> None:
        async with websocket_serve(_nobody, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(HarnessFault, match=f"cannot connect to ws://127.0.0.1:{port}/media/x"):
            async with connect(f"ws://127.0.0.1:{port}/media/x"):
                pass

    run(test)


async def _nobody(connection: ServerConnection) -> None:
    await connection.close()
