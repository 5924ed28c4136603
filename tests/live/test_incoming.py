"""Connections that the application opens: which are taken, which are refused, and what is left.

What decides is whether a channel waits for the connection. Where that changes between the request
and the hand-over of the connection to the channel, a variant of the module stops in between, until
the test lets it go on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import websockets
from callerless import channels, is_idle, nothing_left
from live_calls import passing_call
from module_variants import compile_variant, is_up_to_date, one_at_a_time, variant
from test_marks import played, send
from websockets.asyncio.client import connect as websocket_connect

from harness.application.client import connect
from harness.asterisk.configuration import WEBSOCKET_CLIENT, Extension
from harness.asterisk.instance import Instance
from harness.bench import Bench, LiveCall
from harness.install.build import Build

OUTGOING = Extension("dials-out")
INCOMING = Extension("is-dialled", connection="incoming")
ANSWER_TIMEOUT_S = 5.0
GOING_AWAY = 1001

HAND_OVER = "\tchannel = lock_channel_of(instance);\n\tif (channel) {\n\t\tinstance->websocket ="
STOP = """\
\t{
\t\tchar path[PATH_MAX];
\t\tint fd;

\t\tsnprintf(path, sizeof(path), "%s/reached", getenv("HAND_OVER_FOLDER"));
\t\tif ((fd = open(path, O_WRONLY)) >= 0) {
\t\t\tclose(fd);
\t\t\tsnprintf(path, sizeof(path), "%s/go-on", getenv("HAND_OVER_FOLDER"));
\t\t\tclose(open(path, O_RDONLY));
\t\t}
\t}
"""
"""before a connection is handed over to its channel. Opening a FIFO waits for its other end: the
test knows when that is reached, and says when to go on."""


async def request(uri: str, protocol: str = "media") -> tuple[int, bool]:
    """The status that a connection is answered with, and whether Asterisk then closes it."""
    parts = urlsplit(uri)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: {protocol}\r\n"
        "\r\n".encode()
    )
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), ANSWER_TIMEOUT_S)
        try:
            await asyncio.wait_for(reader.read(), ANSWER_TIMEOUT_S)
            closed = True
        except asyncio.TimeoutError:
            closed = False
    finally:
        writer.close()
    return int(head.split()[1]), closed


async def plays(uri: str) -> None:
    """A connection on which a mark is played, and which HANGUP ends."""
    async with connect(uri) as session:
        await send(session, 400)
        await session.mark("m")
        await played(session, "m")
        await session.hangup()
        await session.wait_closed()


def test_an_unknown_id_is_refused(patched: Bench) -> None:
    uri = patched.instance.network.media_uri("00000000-0000-0000-0000-000000000000")
    with nothing_left(patched.instance):
        assert asyncio.run(request(uri)) == (404, True)


def test_a_second_connection_is_refused_and_the_first_one_goes_on(patched: Bench) -> None:
    answers = []

    async def script(call: LiveCall) -> None:
        uri = await asyncio.to_thread(patched.instance.connection_uri, call.sip.call_id)
        for number in range(3):
            await send(call.session, 1600)
            await call.session.mark(f"m{number}")
            answers.append(await request(uri))
        await played(call.session, "m2")

    with nothing_left(patched.instance):
        call = passing_call(patched, "second-connection", script, INCOMING)
    assert set(answers) == {(409, True)}
    assert len(call.judged.marks) == 3


def test_a_channel_that_dials_out_takes_no_connection(patched: Bench) -> None:
    answers = []

    async def script(call: LiveCall) -> None:
        await send(call.session, 3200)
        await call.session.mark("m")
        answers.append(await request(patched.instance.network.media_uri(WEBSOCKET_CLIENT)))
        await played(call.session, "m")

    with nothing_left(patched.instance):
        passing_call(patched, "dials-out", script, OUTGOING)
    assert set(answers) == {(404, True)}


def test_after_a_bad_request_the_id_can_be_used(patched: Bench) -> None:
    async def scenario() -> None:
        async with channels(patched.instance) as made:
            uri = await made.waiting("bad-request")
            with pytest.raises(websockets.InvalidStatus) as refused:
                await websocket_connect(
                    uri, subprotocols=[websockets.Subprotocol("another")], proxy=None
                )
            assert refused.value.response.status_code == 400
            await plays(uri)

    with nothing_left(patched.instance):
        asyncio.run(scenario())


def test_a_channel_that_was_hung_up_takes_no_connection(patched: Bench) -> None:
    async def scenario() -> None:
        async with channels(patched.instance) as made:
            uri = await made.waiting("hung-up")
            await made.hang_up("hung-up")
            assert await request(uri) == (404, True)

    with nothing_left(patched.instance):
        asyncio.run(scenario())


def test_a_query_cannot_choose_another_channel(patched: Bench) -> None:
    async def scenario() -> None:
        async with channels(patched.instance) as made:
            mine, other = await made.waiting("mine"), await made.waiting("other")
            async with connect(f"{mine}?CONNECTION_ID={other.rpartition('/')[2]}") as session:
                assert session.media_start.fields["channel_id"] == "mine"
            await plays(other)

    with nothing_left(patched.instance):
        asyncio.run(scenario())


# --- Between the request and the hand-over ---


@one_at_a_time
def build_stopping(build: Build) -> Path:
    """The module that stops before it hands a connection over."""
    module = variant(build, "stops-at-hand-over")
    if is_up_to_date(module, [build.patched_module, Path(__file__)]):
        return module
    folder, channels = module.parent, build.source_dir / "channels"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(channels / "websocket", folder / "websocket")
    shutil.copy(channels / "chan_websocket.exports", folder)
    source = (channels / "chan_websocket.c").read_text()
    assert source.count(HAND_OVER) == 1
    (folder / "chan_websocket.c").write_text(source.replace(HAND_OVER, STOP + HAND_OVER))
    compile_variant(build, module, folder)
    return module


class HandOver:
    """The moment before a connection is handed over, in an Asterisk that stops there."""

    def __init__(self, asterisk: Instance, folder: Path) -> None:
        self.asterisk = asterisk
        self._folder = folder

    def stop_at_the_next(self) -> None:
        """The next connection stops."""
        for name in ("reached", "go-on"):
            os.mkfifo(self._folder / name)

    async def reached(self) -> None:
        """Until a connection has stopped. Those after it do not stop."""
        await asyncio.to_thread((self._folder / "reached").read_bytes)
        (self._folder / "reached").unlink()

    async def go_on(self) -> None:
        """Let it go on."""
        await asyncio.to_thread((self._folder / "go-on").write_bytes, b"")
        (self._folder / "go-on").unlink()


@pytest.fixture(scope="module")
def hand_over(build: Build, run_folder: Path) -> Iterator[HandOver]:
    folder = run_folder / "hand-over"
    stops = folder / "stops"
    stops.mkdir(parents=True)
    with Instance(
        build,
        folder,
        module=build_stopping(build),
        environment={"HAND_OVER_FOLDER": str(stops)},
    ) as instance:
        yield HandOver(instance, stops)
        # After all these.
        assert is_idle(instance)


async def accepted(uri: str) -> websockets.ClientConnection:
    """A connection that is accepted; nothing is received on it yet."""
    return await websocket_connect(
        uri, subprotocols=[websockets.Subprotocol("media")], proxy=None, compression=None
    )


def test_a_channel_is_hung_up_before_the_hand_over(hand_over: HandOver) -> None:
    async def scenario() -> None:
        async with channels(hand_over.asterisk) as made:
            uri = await made.waiting("hung-up-before")
            hand_over.stop_at_the_next()
            connection = await accepted(uri)
            await hand_over.reached()
            await made.hang_up("hung-up-before")
            await hand_over.go_on()
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await asyncio.wait_for(connection.recv(), ANSWER_TIMEOUT_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == GOING_AWAY

    with nothing_left(hand_over.asterisk):
        asyncio.run(scenario())


def test_a_second_connection_comes_before_the_hand_over(hand_over: HandOver) -> None:
    async def scenario() -> None:
        async with channels(hand_over.asterisk) as made:
            uri = await made.waiting("second")
            hand_over.stop_at_the_next()
            first = asyncio.create_task(plays(uri))
            await hand_over.reached()
            assert await request(uri) == (409, True)
            await hand_over.go_on()
            await first

    with nothing_left(hand_over.asterisk):
        asyncio.run(scenario())


def test_the_application_breaks_off_before_the_hand_over(hand_over: HandOver) -> None:
    async def scenario() -> None:
        async with channels(hand_over.asterisk) as made:
            uri = await made.waiting("broken-off")
            hand_over.stop_at_the_next()
            connection = await accepted(uri)
            await hand_over.reached()
            connection.transport.abort()
            await hand_over.go_on()
            await made.gone("broken-off")

    with nothing_left(hand_over.asterisk):
        asyncio.run(scenario())
