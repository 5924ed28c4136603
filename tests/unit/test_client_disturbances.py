"""The application as it should not be, and what it hears: as frames and bytes at the other end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from test_client import MEDIA, START, call, run
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websocket_serve
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.uri import parse_uri

from harness.application.disturb import DisturbingSession, connect, serve
from harness.application.recording import SPEECH_MESSAGES
from harness.errors import HarnessFault, InputFault

LOUD, SILENT = b"\x00\x80" * 80, b"\xff" * 160


@asynccontextmanager
async def raw_call(
    with_handshake: tuple[str, ...] = (),
) -> AsyncIterator[tuple[DisturbingSession, asyncio.StreamReader, ClientProtocol, list[bytes]]]:
    """A session, and Asterisk's end of it as it is read from the socket.

    The list has what came with each read so far, the handshake's answer among it.
    """
    async with serve(with_handshake=with_handshake) as server:
        host, port = server.uri[len("ws://") :].rstrip("/").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        protocol = ClientProtocol(parse_uri(server.uri), subprotocols=MEDIA, max_size=None)
        protocol.send_request(protocol.connect())
        writer.writelines(protocol.data_to_send())
        reads: list[bytes] = []
        while protocol.state is not State.OPEN:
            reads.append(await reader.read(1 << 20))
            protocol.receive_data(reads[-1])
        protocol.send_text(START.encode())
        writer.writelines(protocol.data_to_send())
        yield await server.accept(), reader, protocol, reads
        writer.close()


async def frames(reader: asyncio.StreamReader, protocol: ClientProtocol, count: int) -> list[Frame]:
    """The next so many frames."""
    found: list[Frame] = []
    while len(found) < count:
        protocol.receive_data(await reader.read(1 << 20))
        found += [event for event in protocol.events_received() if isinstance(event, Frame)]
    return found


def test_messages_that_are_cut_are_whole_and_have_pings_between() -> None:
    async def test() -> None:
        sent: list[bytes | str] = [b"", b"x" * 5000, "MARK id=a", b"y" * 20, "GET_STATUS"] * 8
        async with raw_call() as (session, reader, protocol, _):
            cuts = random.Random(2)
            for message in sent:
                await session.send_cut(message, cuts)
            got: list[Frame] = []
            while sum(one.fin and one.opcode is not Opcode.PING for one in got) < len(sent):
                got += await frames(reader, protocol, 1)
            assert session.sent_bytes == 8 * 5020
        data = [one for one in got if one.opcode is not Opcode.PING]
        assert len(got) > len(data) > len(sent)
        received: list[bytes | str] = []
        message, text = b"", False
        for one in data:
            text = one.opcode is Opcode.TEXT or (one.opcode is Opcode.CONT and text)
            message += bytes(one.data)
            if one.fin:
                received.append(message.decode() if text else message)
                message = b""
        assert received == sent

    run(test)


def test_fragments_have_the_size_asked_for_and_none_is_empty() -> None:
    async def test() -> None:
        async with raw_call() as (session, reader, protocol, _):
            media = bytes(range(200)) * 5
            await session.send_media_fragmented(media, 400)
            got = await frames(reader, protocol, 3)
            assert [(one.opcode, one.fin, len(one.data)) for one in got] == [
                (Opcode.BINARY, False, 400),
                (Opcode.CONT, False, 400),
                (Opcode.CONT, True, 200),
            ]
            assert b"".join(bytes(one.data) for one in got) == media
            assert session.sent_bytes == 1000
            await session.send_media_fragmented(b"x" * 400, 400)
            (whole,) = await frames(reader, protocol, 1)
            assert (whole.opcode, whole.fin) == (Opcode.BINARY, True)
            await session.send_media_fragmented(b"x" * 5, 2, pings=True)
            got = await frames(reader, protocol, 5)
            assert [one.opcode for one in got] == [
                *(Opcode.BINARY, Opcode.PING, Opcode.CONT, Opcode.PING, Opcode.CONT)
            ]
            with pytest.raises(InputFault):
                await session.send_media_fragmented(media, 0)

    run(test)


def test_several_messages_in_one_write_arrive_in_one_read() -> None:
    async def test() -> None:
        async with raw_call() as (session, reader, protocol, _):
            await session.send_in_one_write([b"a" * 500, session.mark_text("m"), b"b" * 20])
            read = await reader.read(1 << 20)
            protocol.receive_data(read)
            got = [event for event in protocol.events_received() if isinstance(event, Frame)]
            assert [bytes(one.data) for one in got] == [b"a" * 500, b"MARK id=m", b"b" * 20]
            assert session.sent_bytes == 520
            sent = [message.kind for message in session.messages if message.sender != "asterisk"]
            assert sent == ["binary", "text", "binary"]

    run(test)


def test_half_a_message_arrives_and_then_the_rest() -> None:
    async def test() -> None:
        async with raw_call() as (session, reader, protocol, _):
            sending = asyncio.create_task(session.send_media_stalled(b"a" * 1000, stall_s=0.2))
            half = await reader.read(1 << 20)
            assert 400 < len(half) < 600
            # What is sent meanwhile waits for the rest: the frame must not be broken.
            mark = asyncio.create_task(session.mark("m"))
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.shield(mark), 0.05)
            assert not sending.done()
            protocol.receive_data(half)
            media, text = await frames(reader, protocol, 2)
            assert (bytes(media.data), bytes(text.data)) == (b"a" * 1000, b"MARK id=m")
            await asyncio.gather(sending, mark)

    run(test)


def test_a_message_arrives_byte_by_byte() -> None:
    async def test() -> None:
        async with raw_call() as (session, reader, protocol, _):
            sending = session.send_media_stalled(b"abc", stall_s=0.01, pieces=100)
            sent = asyncio.create_task(sending)
            reads = [await reader.read(1 << 20) for _ in range(5)]
            # A header of two bytes and three of media.
            assert [len(read) for read in reads] == [1] * 5
            await sent
            protocol.receive_data(b"".join(reads))
            got = [event for event in protocol.events_received() if isinstance(event, Frame)]
            assert [bytes(one.data) for one in got] == [b"abc"]

    run(test)


def test_a_client_masks_its_fragments_and_halves_too() -> None:
    async def test() -> None:
        got: list[bytes | str] = []

        async def asterisk(connection: ServerConnection) -> None:
            await connection.send(START)
            async for message in connection:
                got.append(message)

        async with websocket_serve(asterisk, "127.0.0.1", 0, subprotocols=MEDIA) as listener:
            port = next(iter(listener.sockets)).getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}/media/id") as session:
                await session.send_media_fragmented(b"f" * 1000, 300)
                await session.send_media_stalled(b"s" * 1000, stall_s=0.01)
                await session.send_in_one_write(["t", b"o"])
        assert got == [b"f" * 1000, b"s" * 1000, "t", b"o"]

    run(test)


def test_text_with_the_handshake_comes_in_its_read() -> None:
    async def test() -> None:
        async with raw_call(with_handshake=("MARK id=a", "MARK id=b")) as (session, _, _, reads):
            assert len(reads) == 1
            assert reads[0].startswith(b"HTTP/1.1 101 ")
            assert reads[0].endswith(b"\x81\x09MARK id=a\x81\x09MARK id=b")
            assert [message.text for message in session.messages[:2]] == ["MARK id=a", "MARK id=b"]

    run(test)


def test_an_aborted_connection_is_reset_without_a_close_frame() -> None:
    async def test() -> None:
        async with raw_call() as (session, reader, _, _):
            await session.abort()
            assert session.closed
            assert session.close_code == 1006
            assert closes(session) == [("application", b"")]
            with pytest.raises(ConnectionResetError):
                await reader.read()
            with pytest.raises(HarnessFault, match="had ended"):
                await session.send_in_one_write(["late"])
            await session.abort()  # ended already is fine
            assert closes(session) == [("application", b"")]

    run(test)


def test_who_ended_the_connection_is_recorded_first() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            asterisk.transport.abort()
            await session.wait_closed()
            await session.close()
            assert closes(session) == [("asterisk", b"")]
        async with call() as (session, _):
            await session.close()
            normal = b"\x03\xe8"  # 1000 (RFC 6455, 7.4.1)
            assert closes(session) == [("application", normal), ("asterisk", normal)]

    run(test)


def closes(session: DisturbingSession) -> list[tuple[str, bytes]]:
    return [(one.sender, one.data) for one in session.messages if one.kind == "close"]


# ---- hearing -------------------------------------------------------------------------------------


def test_speech_is_heard_as_soon_as_enough_of_it_has_come() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            heard = asyncio.create_task(session.wait_heard())
            # A click is not speech, nor are two with silence between.
            for media in [SILENT] * 5 + [LOUD] * (SPEECH_MESSAGES - 1) + [SILENT, LOUD, SILENT]:
                await asterisk.send(media)
            await asterisk.send("XON")
            await session.wait_event("XON")
            assert not heard.done()
            for _ in range(SPEECH_MESSAGES + 1):
                await asterisk.send(LOUD)
            message = await heard
            binary = [one for one in session.messages if one.kind == "binary"]
            assert [one.data for one in binary[: binary.index(message) + 1]][-4:] == [
                SILENT,
                *[LOUD] * SPEECH_MESSAGES,
            ]

    run(test)


def test_nothing_heard_says_how_loud_it_was() -> None:
    async def test() -> None:
        async with call() as (session, asterisk):
            waiting = asyncio.create_task(session.wait_heard(threshold_dbfs=1.0, timeout_s=0.2))
            await asyncio.sleep(0)
            await asterisk.send(LOUD)
            with pytest.raises(HarnessFault, match=r"within 0\.2 s.*-0\.2 dBFS"):
                await waiting
            # What came before somebody listened does not count.
            with pytest.raises(HarnessFault, match="-inf dBFS"):
                await session.wait_heard(timeout_s=0.05)
            waiting = asyncio.create_task(session.wait_heard())
            await asterisk.close()
            with pytest.raises(HarnessFault, match="before the connection ended"):
                await waiting

    run(test)


def test_a_codec_that_cannot_be_heard_is_refused() -> None:
    async def test() -> None:
        async with call("MEDIA_START format:opus optimal_frame_size:0") as (session, _):
            with pytest.raises(InputFault, match="opus"):
                await session.wait_heard()

    run(test)
