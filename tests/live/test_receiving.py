"""How the driver receives what the application sends: in fragments, in pieces, slowly, too much.

It takes what has come, and waits for nothing. For that it finds the stream of a connection in a
struct of res_http_websocket's own: Asterisk's Makefile looks whether it still is there; outside
Asterisk's tree a table of releases says where it is. Elsewhere messages are read as the stock
driver does, and the tests say what that is.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

import pytest
from live_calls import PLAIN, ids, of, passing_call, place
from module_variants import compile_variant, copy_sources, is_up_to_date, one_at_a_time, variant
from test_disturbances import longest_gap_ns, media
from test_marks import STRETCH, played, send

from harness.application.disturb import DisturbingSession, connect
from harness.asterisk.configuration import Connection, Extension
from harness.bench import Bench, Conditions, LiveCall
from harness.bench import bench as start_bench
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sip_peer import SipPeer
from harness.caller.sipp import CallRequest, place_call
from harness.commands.measure_receive import SCHEMES, measure_receive
from harness.install.build import Build
from harness.media.speech import interruption
from harness.record.capture_files import load_timeline
from harness.targets.target import OwnTarget

MESSAGE_MAX = 1024 * 1024
STALL_S = 0.6
AT_ONCE_S = 1.0
"""for what must not wait for something else: more than enough on a busy host"""
TOO_BIG = f"Message of more than {MESSAGE_MAX} bytes: the connection ends"
STREAM = "struct ast_websocket {\n"
NOTICE = "res_http_websocket of Asterisk"
"""how the line begins that says that the stream is not found"""

both_ways = pytest.mark.parametrize("connection", ["outgoing", "incoming"])


@pytest.fixture(scope="module")
def encrypted(build: Build, run_folder: Path) -> Iterator[Bench]:
    folder = run_folder / "receiving-encrypted"
    folder.mkdir()
    with start_bench(build, folder, tls=True) as bench:
        yield bench


@pytest.fixture(params=["ws", "wss"])
def either(request: pytest.FixtureRequest, patched: Bench, encrypted: Bench) -> Bench:
    """An Asterisk with plain media connections, and one with encrypted ones."""
    return encrypted if request.param == "wss" else patched


def extension(connection: Connection) -> Extension:
    return Extension(f"receiving-{connection}", connection=connection)


# ---- messages in fragments and in pieces ---------------------------------------------------------


@both_ways
@pytest.mark.parametrize("fragment_bytes", [1, 500, 1500])
def test_fragments_are_played_whole(
    either: Bench, connection: Connection, fragment_bytes: int
) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH)
        await session.mark("before")
        await session.send_media_fragmented(media(session, 2077), fragment_bytes, pings=True)
        await session.mark("m")
        await played(session, "before", "m")

    name = f"fragments-{fragment_bytes}-{connection}"
    call = passing_call(either, name, script, extension(connection))
    assert of(call, "PLAYBACK")[-1].number("received") == STRETCH + 2077


@both_ways
@pytest.mark.parametrize("pieces", [2, 30])
def test_what_is_queued_goes_on_while_a_message_comes_slowly(
    either: Bench, connection: Connection, pieces: int
) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 10 * STRETCH)
        await session.mark("queued")
        assert await asyncio.to_thread(call.rtp.wait_for_packets, 10, 5.0)
        stall_s = STALL_S / (pieces - 1)
        await session.send_media_stalled(media(session, 5 * STRETCH), stall_s, pieces)
        await session.mark("stalled")
        await played(session, "queued", "stalled")

    name = f"pieces-{pieces}-{connection}"
    call = passing_call(either, name, script, extension(connection))
    stalls = load_timeline(call.folder).measurement.host_stalls
    assert longest_gap_ns(call, stalls) < STALL_S * 1e9


class Cutter:
    """Relays a connection; what goes to Asterisk is cut into segments of 1 to 40 bytes."""

    def __init__(self, uri: str) -> None:
        self.asterisk = urlsplit(uri)
        self.stall_s = 0.0
        """stands still so long in the middle of what comes next, once"""
        self._random = Random(1)
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[str]:
        """The URI to connect to instead."""
        host = self.asterisk.hostname
        async with await asyncio.start_server(self._relay, host, 0) as server:
            port = server.sockets[0].getsockname()[1]
            yield self.asterisk._replace(netloc=f"{host}:{port}").geturl()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _relay(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        far, on = await asyncio.open_connection(self.asterisk.hostname, self.asterisk.port)
        self._tasks.append(asyncio.create_task(self._copy(far, back)))
        await self._cut(near, on)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
        writer.close()

    async def _cut(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            at, middle = 0, len(data) // 2
            while at < len(data):
                size = self._random.randint(1, 40)
                if self.stall_s and at <= middle < at + size:
                    await asyncio.sleep(self.stall_s)
                    self.stall_s = 0.0
                writer.write(data[at : at + size])
                at += size
                await asyncio.sleep(0)
        writer.close()


def test_the_connections_own_pieces_may_be_cut_anywhere(either: Bench, run_folder: Path) -> None:
    """TCP segments that hold a part of a frame, of its header, of a TLS record."""
    incoming, network = extension("incoming"), either.instance.network
    either.instance.use_extensions([incoming])
    folder = run_folder / f"cut-{network.https_port or network.http_port}"
    folder.mkdir()
    marks = [f"m{number}" for number in range(11)]

    async def call(rtp: RtpSocket) -> None:
        peer = SipPeer(network.address, network.sip_port, local_address=network.address)
        request = CallRequest(incoming.name, "127.0.0.1", rtp.port, incoming.codec)
        async with place_call(peer, request, folder) as sip:
            uri = await asyncio.to_thread(either.instance.connection_uri, sip.call_id)
            cutter = Cutter(uri)
            async with (
                cutter.relaying() as uri,
                connect(uri, OwnTarget(either.instance).media_tls) as session,
            ):
                await session.start_buffering()
                for number in range(10):
                    await send(session, 1 + 300 * number)
                    await session.mark(f"m{number}")
                assert await asyncio.to_thread(rtp.wait_for_packets, 10, 5.0)
                cutter.stall_s = STALL_S
                await session.send_media_fragmented(media(session, 5 * STRETCH), 1500, pings=True)
                await session.mark("m10")
                await played(session, *marks)
                await sip.hang_up()
                await session.wait_closed()
            assert ids([e for e in session.events if e.name == "MARK_PLAYED"]) == marks
            (final,) = [e for e in session.events if e.name == "PLAYBACK"]
            assert final.number("played") == session.sent_bytes == final.number("received")

    with RtpSocket() as rtp:
        asyncio.run(call(rtp))
        times = [packet.time_ns for packet in rtp.packets]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) < STALL_S * 1e9


def test_hundreds_of_commands_in_one_write_are_all_answered(either: Bench) -> None:
    """More than the outbox keeps for an application that does not read."""

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.send_in_one_write(["GET_STATUS"] * 500 + ["MARK id=m"])
        await played(session, "m")

    call = asyncio.run(place(either, "many", script, PLAIN))
    assert len(of(call, "STATUS")) == 500


def longest_silence_ns(session: DisturbingSession) -> int:
    """Between two messages of media that came to the application, while it sent half a message."""
    times = [one.time_ns for one in session.messages if one.sender != "application"]
    return max(later - earlier for earlier, later in itertools.pairwise(times))


def test_what_the_caller_says_comes_while_a_message_is_half_there(either: Bench) -> None:
    """Nothing is locked meanwhile: not for who writes to the channel, nor for the console."""
    waited: list[float] = []

    async def script(call: LiveCall) -> None:
        session = call.session
        console = either.instance.console
        loop = asyncio.get_running_loop()

        async def ask() -> None:
            [channel] = [
                word
                for word in (await asyncio.to_thread(console.run, "core show channels")).split()
                if word.startswith("WebSocket/")
            ]
            begin = loop.time()
            await asyncio.to_thread(console.run, f"core show channel {channel}")
            waited.append(loop.time() - begin)

        call.rtp.talk(call.sip.media).speak(interruption(3000))
        await session.wait_heard()
        session.messages.clear()
        sending = session.send_media_stalled(media(session, STRETCH), 3 * AT_ONCE_S)
        sent = asyncio.create_task(sending)
        await asyncio.sleep(0)
        await ask()
        assert not sent.done()
        await sent
        assert longest_silence_ns(session) < AT_ONCE_S * 1e9
        await session.mark("m")
        await played(session, "m")

    asyncio.run(place(either, "half", script, Extension("half")))
    assert waited and max(waited) < AT_ONCE_S


def test_a_mark_with_the_handshake_is_read_at_once(either: Bench) -> None:
    async def script() -> LiveCall:
        conditions = Conditions(with_handshake=["MARK id=glued"])
        async with either.call("handshake", PLAIN, conditions=conditions) as call:
            await call.session.wait_event("MARK_PLAYED", AT_ONCE_S, id="glued")
        return call

    assert ids(of(asyncio.run(script()), "MARK_PLAYED")) == ["glued"]


@both_ways
def test_two_messages_in_one_write_are_both_read(either: Bench, connection: Connection) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, STRETCH)
        await session.send_in_one_write([media(session, STRETCH + 77), session.mark_text("m")])
        await played(session, "m")

    passing_call(either, f"one-write-{connection}", script, extension(connection))


# ---- messages that are too big -------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("fragment_bytes", [0, 300_000])
def test_a_message_that_is_too_big_ends_the_connection_with_all_answered(
    either: Bench, connection: Connection, fragment_bytes: int
) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 50 * STRETCH)
        await session.mark("a")
        await session.mark("b")
        too_big = bytes(MESSAGE_MAX + 1)
        if fragment_bytes:
            await session.send_media_fragmented(too_big, fragment_bytes)
        else:
            await session.send_media(too_big)
        await session.wait_closed()

    name = f"too-big-{fragment_bytes}-{connection}"
    call = asyncio.run(place(either, name, script, extension(connection)))
    assert [error.fields["error_text"] for error in of(call, "ERROR")] == [TOO_BIG]
    discarded = of(call, "MARK_DISCARDED")
    assert [(one.fields["id"], one.fields["reason"]) for one in discarded] == [
        ("a", "hangup"),
        ("b", "hangup"),
    ]
    final = of(call, "PLAYBACK")[-1]
    assert final.flag("final") and final.number("received") == 50 * STRETCH
    assert call.session.close_code == 1009


def test_one_that_has_not_opted_in_is_told_by_the_close_code_alone(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.send_media(bytes(MESSAGE_MAX + 1))
        await call.session.wait_closed()

    call = asyncio.run(place(patched, "too-big-not-opted-in", script, PLAIN))
    assert [event.name for event in call.session.events] == ["MEDIA_START"]
    assert call.session.close_code == 1009


def test_a_text_message_that_is_too_long_is_an_error_however_it_is_sent(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.mark("before")
        await session.send_text("x" * 100_000)
        await session.mark("behind")
        await played(session, "before", "behind")

    call = passing_call(patched, "long-text", script)
    (error,) = of(call, "ERROR")
    assert "100000 bytes" in str(error.fields["error_text"])


# ---- the end -------------------------------------------------------------------------------------


def test_a_closing_handshake_is_answered_as_the_stock_driver_does(
    patched: Bench, stock: Bench
) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.close()
        assert await call.sip.ended() == "asterisk"

    def closed(bench: Bench) -> int | None:
        return asyncio.run(place(bench, "close", script, PLAIN)).session.close_code

    assert closed(patched) == closed(stock)


# ---- where the stream is -------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [False, True], ids=["as-it-is", "moved"])
def test_the_makefile_sees_a_struct_that_has_changed(
    build: Build, tmp_path: Path, moved: bool
) -> None:
    source = Path("res/res_http_websocket.c")
    text = (build.source_dir / source).read_text()
    assert text.count(STREAM) == 1
    (tmp_path / source).parent.mkdir()
    (tmp_path / source).write_text(text.replace(STREAM, f"{STREAM}\tint new;\n") if moved else text)
    makefile = (build.source_dir / "channels" / "Makefile").read_text()
    begin = makefile.index("ifneq ($(shell sed")
    looks = makefile[begin : makefile.index("endif", begin)]
    (tmp_path / "Makefile").write_text(
        f"{looks}endif\nwebsocket/websocket_input.o:\n\t@echo flags: $(_ASTCFLAGS)\n"
    )
    made = subprocess.run(
        # Within a `make test` it would say which folder it is in.
        [
            *("make", "--no-print-directory"),
            *(f"ASTTOPDIR={tmp_path}", "websocket/websocket_input.o"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert made.stdout.split("flags:")[1].split() == (
        [] if moved else ["-DWEBSOCKET_INPUT_CHECKED=1"]
    )


@one_at_a_time
def build_for_another_release(build: Build) -> Path:
    """The module compiled outside Asterisk's tree for none of the releases that it knows."""
    module = variant(build, "stream-unknown")
    if not is_up_to_date(module, [build.patched_module, Path(__file__)]):
        copy_sources(build, module.parent)
        source = module.parent / "websocket" / "websocket_input.c"
        text = source.read_text()
        begin = text.index("stream_releases[] = {")
        end = text.index("};", begin)
        source.write_text(f'{text[:begin]}stream_releases[] = {{ "1.0"\n{text[end:]}')
        compile_variant(build, module, module.parent)
    return module


@pytest.fixture(scope="module")
def unknown(build: Build, run_folder: Path) -> Iterator[Bench]:
    folder = run_folder / "stream-unknown"
    folder.mkdir()
    with start_bench(build, folder, build_for_another_release(build)) as bench:
        yield bench


def test_an_unknown_release_reads_as_the_stock_driver_does(unknown: Bench) -> None:
    """The thread that waits for the rest of a message is the one that plays."""

    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        await send(session, 5 * STRETCH)
        await session.mark("queued")
        assert await asyncio.to_thread(call.rtp.wait_for_packets, 10, 5.0)
        await session.send_media_stalled(media(session, 5 * STRETCH), STALL_S)
        await session.mark("stalled")
        await played(session, "queued", "stalled")

    call = passing_call(unknown, "stalled", script)
    assert longest_gap_ns(call) > (STALL_S - 0.05) * 1e9
    assert unknown.instance.log.read_text().count(NOTICE) == 1


def test_a_known_release_is_not_told_of(patched: Bench) -> None:
    passing_call(patched, "known", lambda call: mark_one(call.session))
    assert NOTICE not in patched.instance.log.read_text()


async def mark_one(session: DisturbingSession) -> None:
    await session.start_buffering()
    await send(session, STRETCH)
    await session.mark("m")
    await played(session, "m")


def test_what_a_megabyte_takes_can_be_measured(build: Build, run_folder: Path) -> None:
    """The numbers are a benchmark's affair: `harness measure --receive`."""
    measured = measure_receive(build, run_folder / "receive", rounds=1)
    assert set(measured.ms_a_megabyte) == {
        (scheme, module) for scheme in SCHEMES for module in ("stock", "patched")
    }
    assert all(times[0] > 0 for times in measured.ms_a_megabyte.values())
