"""Calls on a chan_websocket.so that is compiled with AddressSanitizer and UBSan.

Asterisk itself is the ordinary one. With AST_DEVMODE the module also asserts after every frame that
the ledger agrees with what is really queued; that changes nothing in what it shares with Asterisk.
The module is slow like this, so times are not looked at.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from live_calls import JSON, PLAIN
from module_variants import compile_variant, is_up_to_date, one_at_a_time, variant
from test_marks import send
from test_own_tests import check_own_tests

from chan_websocket.protocol import Format, command_set_direction
from harness.application.disturb import DisturbingSession, serve
from harness.asterisk.configuration import Extension
from harness.asterisk.instance import Instance
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sip_peer import SipPeer
from harness.caller.sipp import CallRequest, SipCall, place_call
from harness.install.build import Build
from harness.torture.application import MALFORMED

CONFERENCE = Extension("conference", message_format=Format.JSON, bridge="conference")
FLAGS = (
    *("-g", "-O1", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"),
    *("-fno-sanitize-recover=all", "-DAST_DEVMODE"),
)
MARKS_MAX = 2048
MESSAGE_MAX = 1024 * 1024

Script = Callable[[SipCall, DisturbingSession], Awaitable[None]]


@one_at_a_time
def build_sanitized(build: Build) -> Path:
    """The patched module's sources compiled with the sanitizers; some seconds when they changed."""
    module = variant(build, "sanitized")
    if not is_up_to_date(module, [build.patched_module, Path(__file__)]):
        compile_variant(build, module, build.source_dir / "channels", FLAGS)
    return module


def sanitizer_environment(reports: Path) -> dict[str, str]:
    """What Asterisk needs to run with that module; the sanitizers report into files there."""
    runtime = subprocess.run(
        ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": f"log_path={reports / 'asan'}:detect_leaks=1:halt_on_error=1",
        "LSAN_OPTIONS": "exitcode=0",
        # It ignores log_path: what it says is in Asterisk's output.
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }


class Sanitized:
    """An Asterisk with the sanitized module."""

    def __init__(self, instance: Instance, reports: Path) -> None:
        self.instance = instance
        self._reports = reports

    def complaints(self) -> str:
        """What the sanitizers and the assertions have found so far."""
        found = [report.read_text() for report in sorted(self._reports.iterdir())]
        # An assertion says so on the standard output, too; there it cannot be filtered out.
        for log in self.instance.folder.glob("log/*"):
            lines = log.read_text(errors="backslashreplace").splitlines()
            found += [line for line in lines if re.search(r"FRACK|[Aa]ssert|runtime error", line)]
        return "\n".join(found)

    def run(
        self, extension: Extension, script: Script, *, answered: bool = True
    ) -> DisturbingSession:
        """One call; fails if anything is complained of or a mark has not its one answer.

        With ``answered`` false some marks may have none, but none may have two.
        """

        async def call() -> DisturbingSession:
            async with self._placed(extension) as (sip, session):
                await script(sip, session)
            return session

        session = asyncio.run(call())
        assert self.complaints() == ""
        answers, marks = answered_ids(session), marked_ids(session)
        assert answers == marks if answered else answers <= marks
        return session

    @asynccontextmanager
    async def _placed(
        self, extension: Extension
    ) -> AsyncIterator[tuple[SipCall, DisturbingSession]]:
        folder = self.instance.folder / f"call-{len(list(self.instance.folder.glob('call-*')))}"
        folder.mkdir()
        network = self.instance.network
        async with AsyncExitStack() as stack:
            rtp = stack.enter_context(RtpSocket())
            server = await stack.enter_async_context(serve())
            self.instance.use_extensions([extension])
            self.instance.use_application(server.uri)
            peer = SipPeer(network.address, network.sip_port, local_address=network.address)
            request = CallRequest(extension.name, "127.0.0.1", rtp.port, extension.codec)
            sip = await stack.enter_async_context(place_call(peer, request, folder))
            await sip.answered()
            session = await server.accept()
            yield sip, session
            await sip.hang_up()
            await session.wait_closed()


def marked_ids(session: DisturbingSession) -> Counter[str]:
    """The ids of all MARKs sent that have a valid one."""
    ids = []
    for message in session.messages:
        text = message.data.decode(errors="replace")
        if message.sender != "application" or message.kind != "text" or text in MALFORMED:
            continue
        if session.format is Format.JSON:
            command = json.loads(text)
            if command["command"] == "MARK":
                ids.append(str(command["id"]))
        elif text.startswith("MARK id="):
            ids.append(text.removeprefix("MARK id="))
    return Counter(ids)


def answered_ids(session: DisturbingSession) -> Counter[str]:
    """The ids of all answers to them."""
    return Counter(
        str(event.fields["id"])
        for event in session.events
        if event.name in ("MARK_PLAYED", "MARK_DISCARDED")
    )


@pytest.fixture(scope="module")
def sanitized(build: Build, run_folder: Path) -> Iterator[Sanitized]:
    """The module's sanitizers report into files. Its leaks are looked for at the end."""
    folder = run_folder / "sanitized"
    reports = folder / "reports"
    reports.mkdir(parents=True)
    environment = sanitizer_environment(reports)
    with Instance(
        build, folder, module=build_sanitized(build), environment=environment
    ) as instance:
        sanitized = Sanitized(instance, reports)
        yield sanitized
    # Asterisk has ended: what is still allocated and known to nobody was leaked.
    assert sanitized.complaints() == ""


@pytest.mark.parametrize("extension", [PLAIN, JSON], ids=lambda one: one.name)
def test_marks_reports_and_a_flush(sanitized: Sanitized, extension: Extension) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        await session.report_playback(20)
        await session.start_buffering()
        for number in range(20):
            await send(session, 250)
            await session.mark(f"m{number}")
        await session.mark_media("old")
        await session.wait_event("MARK_PLAYED", id="m5")
        await session.report_playback()
        await session.flush("f1")
        await session.wait_event("MEDIA_FLUSHED", id="f1")
        await send(session, 1234)
        await session.mark("tail")
        await session.stop_buffering("completed")
        await session.wait_event("MARK_PLAYED", id="tail")
        await session.flush()

    session = sanitized.run(extension, script)
    assert [event.name for event in session.events].count("PLAYBACK") > 10


def test_an_overflow_and_more_marks_than_there_may_be(sanitized: Sanitized) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        await session.report_playback()
        await session.pause()
        for _ in range(25):
            await send(session, 50 * 160)
        for number in range(MARKS_MAX + 1):
            await session.mark(number)
        await session.wait_event("MARK_DISCARDED", id=MARKS_MAX, reason="limit")
        await session.continue_()
        await session.flush("f1")
        await session.wait_event("MEDIA_FLUSHED", id="f1")

    session = sanitized.run(JSON, script)
    assert [e.fields["reason"] for e in session.events if e.name == "MEDIA_DROPPED"]


@pytest.mark.usefixtures("media_direction")
def test_direction_in_and_a_lost_tail(sanitized: Sanitized) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        await session.report_playback()
        await send(session, 333)
        await session.mark("a")
        await session.send_text(command_set_direction("in"))
        await send(session, 320)
        await session.mark("b")
        await session.send_text(command_set_direction("both"))
        await send(session, 320)
        await session.mark("c")
        await session.wait_event("MARK_PLAYED", id="c")

    sanitized.run(JSON, script)


@pytest.mark.parametrize("extension", [PLAIN, JSON], ids=lambda one: one.name)
def test_malformed_commands(sanitized: Sanitized, extension: Extension) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        await session.mark("before")
        for text in MALFORMED:
            await session.send_text(text)
        await send(session, 160)
        await session.mark("after")
        await session.wait_event("MARK_PLAYED", id="after")

    session = sanitized.run(extension, script)
    assert [event.name for event in session.events].count("ERROR") > 3


def test_messages_in_fragments_and_in_pieces(sanitized: Sanitized) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        await session.start_buffering()
        for size in (1, 500, 20_000):
            await session.send_media_fragmented(bytes(3000), size, pings=True)
            await session.mark(f"fragments-{size}")
        for pieces in (2, 500):
            await session.send_media_stalled(bytes(500), 0.001, pieces)
            await session.mark(f"pieces-{pieces}")
        await session.send_media_fragmented(bytes(MESSAGE_MAX), 200_000)
        await session.send_text("x" * 100_000)
        await session.flush("f1")
        await session.wait_event("MEDIA_FLUSHED", id="f1")

    sanitized.run(PLAIN, script)


def test_a_message_that_is_too_big(sanitized: Sanitized) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        await send(session, 20 * 160)
        await session.mark("m")
        await session.send_media_fragmented(bytes(2 * MESSAGE_MAX), 300_000, pings=True)
        await session.wait_closed()

    sanitized.run(PLAIN, script)


@pytest.mark.parametrize("who", ["caller", "application", "connection"])
def test_hang_up_with_marks_pending(sanitized: Sanitized, who: str) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        for number in range(50):
            await send(session, 160)
            await session.mark(number)
        await session.wait_event("MARK_PLAYED", id=3)
        if who == "connection":
            await session.close()
        else:
            await (sip.hang_up() if who == "caller" else session.hangup())
        await session.wait_closed()

    # Without a connection nobody is there for the answers.
    sanitized.run(JSON, script, answered=who != "connection")


def test_a_conference(sanitized: Sanitized) -> None:
    async def script(sip: SipCall, session: DisturbingSession) -> None:
        await session.start_buffering()
        for number in range(30):
            await send(session, 250)
            await session.mark(number)
        await session.wait_event("MARK_PLAYED", id=20)
        await session.flush("f1")
        await session.wait_event("MEDIA_FLUSHED", id="f1")
        await send(session, 800)
        await session.mark("end")
        await session.wait_event("MARK_PLAYED", id="end")

    sanitized.run(CONFERENCE, script)


def test_the_modules_own_tests(sanitized: Sanitized) -> None:
    check_own_tests(sanitized.instance)
    assert sanitized.complaints() == ""
