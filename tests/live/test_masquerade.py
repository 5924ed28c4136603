"""A WebSocket channel that another channel's masquerade moves, in mid-speech, by each way of a PBX.

The application must not notice: each mark has its one acknowledgement, on time, the channel id
stays, HANGUP hangs up, and afterwards nothing is left. With no caller there is no RTP to hold the
marks against. Then it is the media clock that a masquerade must not turn back or stop: what was
played and when that was, as the acknowledgements say it, and when they came.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from callerless import NOTHING, SILENCE, Channels, channels, cpu_share, is_idle, nothing_left, until
from live_calls import fail, measured, result, skip, unreliable
from test_marks import played, send

from chan_websocket.protocol import Event, Format
from harness.application.client import MediaSession
from harness.application.disturb import DisturbingSession, serve
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.ami import ActionFailed
from harness.asterisk.configuration import ARI_APPLICATION, CONTEXT, Extension
from harness.asterisk.instance import Instance
from harness.bench import Bench, LiveCall
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sip_phone import SipPhone
from harness.capture.host_stalls import watch_host_stalls
from harness.install.build import Build
from harness.judge.invariants import broken_invariants
from harness.retry import until_reliable
from harness.targets.target import OwnTarget
from harness.torture.pbx import background, drain

pytestmark = pytest.mark.slow

MARKS = 24
MOVED_AT = 8
"""marks that have been played when the channel is moved"""
PIECE = 800
"""bytes between two marks: 100 ms"""
GAP_MS = 45.0
"""for which nobody may read the channel while it is moved: two ticks, and the masquerade"""
EARLY_MS = 20.0
"""by which the media clock goes back where a frame shows that those before it came late"""
LATE_MS = 20.0
"""that an acknowledgement takes until this process has read it. On a busy host that takes longer:
then it is measured again, with the host to itself."""
BUSY_CPU = 0.5
"""more than a call takes, and less than a thread that spins"""
QUIET_WINDOW_S = 0.5
LOG_LINES = 300
"""fewer than a thread that spins writes"""

Begin = Callable[[Channels], Awaitable[None]]
"""How the channel of id `MOVED` is made"""
Way = Callable[[Channels], Awaitable[None]]
"""How it is moved"""

STASIS = Extension("joined", message_format=Format.JSON, bridge="stasis")
MOVED, OTHER = "moved", "other"
OPTIONS = "c(ulaw)f(json)w(no)"
"""Media is to run on wherever the channel is moved, so that its clock shows what was done to it."""
UNANSWERED = f"{OPTIONS}n"
SAY_NOTHING = "Local/s@harness-silence"


async def name_of(made: Channels, channel_id: str = MOVED) -> str:
    return await made.variable(channel_id, "CHANNEL(name)")


async def redirect(made: Channels) -> None:
    """AMI's Redirect, of a channel that has no PBX."""
    await made.ami.action("Redirect", Channel=MOVED, **SILENCE)


async def console_redirect(made: Channels) -> None:
    name = await name_of(made)
    await asyncio.to_thread(
        made.asterisk.console.run, f"channel redirect {name} harness-silence,s,1"
    )


async def channel_redirect(made: Channels) -> None:
    """ChannelRedirect() in another channel's dialplan."""
    where = f"{await name_of(made)},harness-silence,s,1"
    await made.originate(SAY_NOTHING, OTHER, Application="ChannelRedirect", Data=where)


async def bridge_action(made: Channels) -> None:
    """AMI's Bridge takes the channel away from what it does."""
    await made.originate(SAY_NOTHING, OTHER)

    async def answered() -> bool:
        with suppress(ActionFailed):  # the channel is not there yet
            return await made.variable(OTHER, "CHANNEL(state)") == "Up"
        return False

    await until(answered)
    await made.ami.action("Bridge", Channel1=MOVED, Channel2=OTHER, Tone="no")


async def bridge_application(made: Channels) -> None:
    """Bridge() in another channel's dialplan."""
    await made.originate(SAY_NOTHING, OTHER, Application="Bridge", Data=await name_of(made))


async def stays(made: Channels) -> None:
    """ARI's continue is no masquerade: the channel stays, and goes on elsewhere."""
    ari = OwnTarget(made.asterisk).ari
    await ari.request(
        "POST", f"channels/{MOVED}/continue", context="harness-silence", extension="s"
    )


class Moves:
    """An Asterisk that says how many masquerades the driver has followed."""

    def __init__(self, asterisk: Instance) -> None:
        self.asterisk = asterisk
        self._log = asterisk.folder / "log" / "debug.log"
        asterisk.console.run("logger add channel debug.log debug")
        asterisk.console.run("core set debug 3 chan_websocket.so")

    @property
    def count(self) -> int:
        return self._log.read_text().count("WebSocket instance moved from")


def name_of_function(function: Callable[..., object]) -> str:
    return function.__name__


@pytest.fixture(scope="module")
def moves(build: Build, run_folder: Path) -> Iterator[Moves]:
    folder = run_folder / "masquerade"
    folder.mkdir()
    with Instance(build, folder) as asterisk:
        yield Moves(asterisk)
        # After all these.
        assert is_idle(asterisk)


async def speak(session: MediaSession, move: Callable[[], Awaitable[None]]) -> None:
    """Speech with a mark behind each piece, in the midst of which the channel is moved."""
    await session.start_buffering()
    for number in range(MARKS):
        await send(session, PIECE)
        await session.mark(f"m{number}")
    await played(session, f"m{MOVED_AT - 1}")
    await move()
    await played(session, f"m{MARKS - 1}")


def check(session: DisturbingSession) -> None:
    """Everything that holds for the application, but the time; also that the channel id stays."""
    assert [(ack.name, ack.id) for ack in acks_of(session)] == [
        ("MARK_PLAYED", f"m{number}") for number in range(MARKS)
    ]
    assert broken_invariants(session.messages) == []


def acks_of(session: DisturbingSession) -> list[Event]:
    return [event for event in session.events if event.name in ("MARK_PLAYED", "MARK_DISCARDED")]


def out_of_time(session: DisturbingSession) -> str:
    """Which acknowledgement is, and how; empty if none is."""
    acks = acks_of(session)
    arrived_ms = {
        message.text: message.time_ns / 1e6
        for message in session.messages
        if message.sender == "asterisk" and message.kind == "text"
    }
    # How long after the beginning of the stream's media clock each was played.
    clock_ms = [ack.number("at") - ack.number("played_ms") for ack in acks]
    for ack, (before, now) in zip(acks[1:], pairwise(clock_ms), strict=True):
        if now < before - EARLY_MS:
            return f"the media clock went back by {before - now:.3f} ms: {ack}"
        if now > clock_ms[0] + GAP_MS:
            return f"the media clock stood still for {now - clock_ms[0]:.3f} ms: {ack}"
        if (late_ms := arrived_ms[ack.raw] - ack.number("at")) > LATE_MS:
            return f"it came {late_ms:.3f} ms late: {ack}"
    return ""


async def is_quiet(made: Channels, asterisk: Instance) -> None:
    """The call is up and says nothing: nothing spins, and nothing floods the log."""
    lines = len(asterisk.log.read_text().splitlines())
    assert await asyncio.to_thread(cpu_share, asterisk, QUIET_WINDOW_S) < BUSY_CPU
    assert len(asterisk.log.read_text().splitlines()) - lines < LOG_LINES


def in_time(measure: Callable[[], DisturbingSession]) -> DisturbingSession:
    """The session of a call that is in time, at the latest with the host to itself.

    Times are those of this process: where the host kept it waiting too, they tell nothing.
    """
    begun_ns = 0

    def begin(name: str) -> DisturbingSession:
        nonlocal begun_ns
        begun_ns = time.time_ns()
        return measure()

    with tempfile.TemporaryDirectory() as folder, watch_host_stalls(Path(folder)) as watch:
        session = until_reliable("moved", begin, out_of_time)
        stalls = watch.between(begun_ns, time.time_ns())
    why = out_of_time(session)
    if why and max((end - begin for begin, end in stalls), default=0) > LATE_MS * 1e6:
        skip(f"{why}; the host stalled")
    assert why == ""
    return session


def moved(moves: Moves, begin: Begin, way: Way) -> DisturbingSession:
    """Make a channel, speak, move it meanwhile, and have the application hang it up."""

    async def scenario() -> DisturbingSession:
        async with serve() as server, channels(moves.asterisk) as made:
            moves.asterisk.use_application(server.uri)
            await begin(made)
            session = await server.accept()
            await speak(session, lambda: way(made))
            await is_quiet(made, moves.asterisk)
            await session.hangup()
            await session.wait_closed()
        return session

    before = moves.count
    with nothing_left(moves.asterisk):
        session = asyncio.run(scenario())
    check(session)
    assert moves.count == before + (way is not stays)
    return session


async def without_pbx(made: Channels) -> None:
    """A channel that runs an application, with no dialplan."""
    await made.originate_websocket(MOVED, OPTIONS, **NOTHING)


async def with_pbx(made: Channels) -> None:
    await made.originate_websocket(MOVED, OPTIONS, **SILENCE)


async def unanswered(made: Channels) -> None:
    """A channel that is being called, and speaks before it answers."""
    await made.originate_websocket(MOVED, UNANSWERED, **NOTHING)


@pytest.mark.parametrize("begin", [without_pbx, unanswered], ids=name_of_function)
@pytest.mark.parametrize(
    "way", [redirect, console_redirect, channel_redirect], ids=name_of_function
)
def test_a_channel_without_pbx_is_redirected(moves: Moves, begin: Begin, way: Way) -> None:
    in_time(lambda: moved(moves, begin, way))


@pytest.mark.parametrize("begin", [with_pbx, without_pbx], ids=name_of_function)
@pytest.mark.parametrize("way", [bridge_action, bridge_application], ids=name_of_function)
def test_a_bridge_takes_the_channel_away(moves: Moves, begin: Begin, way: Way) -> None:
    in_time(lambda: moved(moves, begin, way))


@pytest.mark.parametrize("way", [redirect, bridge_action, stays], ids=name_of_function)
def test_a_channel_of_an_ari_application(moves: Moves, way: Way) -> None:
    """Out of the application by AMI, or by ARI itself, which masquerades nothing."""

    async def in_application(made: Channels) -> None:
        await made.originate_websocket(MOVED, OPTIONS, Application="Stasis", Data=ARI_APPLICATION)

    async def listening() -> DisturbingSession:
        ari = OwnTarget(moves.asterisk).ari
        async with ari.events(ARI_APPLICATION) as events, background(drain(events)):
            return await asyncio.to_thread(moved, moves, in_application, way)

    in_time(lambda: asyncio.run(listening()))


def test_a_channel_picks_up_another(moves: Moves) -> None:
    """A masquerade of two WebSocket channels: the one takes the other's place, which is closed."""

    async def scenario() -> tuple[DisturbingSession, DisturbingSession]:
        async with serve() as server, channels(moves.asterisk) as made:
            moves.asterisk.use_application(server.uri)
            await made.originate_websocket(OTHER, UNANSWERED)
            rings = await server.accept()
            await rings.report_playback()
            await made.originate_websocket(MOVED, OPTIONS, **SILENCE)
            session = await server.accept()

            async def pick_up() -> None:
                await made.ami.action(
                    "Redirect", Channel=MOVED, Context="masquerade", Exten="pickup", Priority="1"
                )

            await speak(session, pick_up)
            await rings.wait_closed()
            await session.hangup()
            await session.wait_closed()
            return session, rings

    moves.asterisk.console.run(
        "dialplan add extension pickup,1,PickupChan,other into masquerade replace"
    )

    def measure() -> DisturbingSession:
        before = moves.count
        with nothing_left(moves.asterisk):
            session, rings = asyncio.run(scenario())
        check(session)
        assert broken_invariants(rings.messages) == []
        assert rings.events[-1].flag("final")
        # Each has followed its instance.
        assert moves.count == before + 2
        return session

    in_time(measure)


def test_an_attended_transfer_to_an_application(moves: Moves) -> None:
    """The caller hands the application over to what its second call has reached."""
    network = moves.asterisk.network

    async def scenario() -> DisturbingSession:
        peer = OwnTarget(moves.asterisk).sip
        async with serve() as server, channels(moves.asterisk) as made:
            moves.asterisk.use_application(server.uri)
            with RtpSocket(network.address) as rtp:
                async with SipPhone(peer, rtp.port) as phone:
                    first = await phone.call("speaks")
                    session = await server.accept()
                    second = await phone.call("waits")
                    await speak(session, lambda: phone.transfer(first, second))
                    await is_quiet(made, moves.asterisk)
                    await session.hangup()
                    await session.wait_closed()
                    await phone.hang_up(first)
                    await phone.ended(second)
            return session

    moves.asterisk.use_extensions([Extension("speaks", message_format=Format.JSON)])
    for step in ("1,Answer", "2,Wait,600"):
        moves.asterisk.console.run(f"dialplan add extension waits,{step} into {CONTEXT}")

    def measure() -> DisturbingSession:
        before = moves.count
        with nothing_left(moves.asterisk):
            session = asyncio.run(scenario())
        check(session)
        assert moves.count == before + 1
        return session

    in_time(measure)


def test_marks_after_a_masquerade_are_on_time(patched: Bench) -> None:
    """AMI's Bridge takes caller and application away from what they do, and joins them."""

    async def joined() -> LiveCall:
        ari = OwnTarget(patched.instance).ari
        async with (
            channels(patched.instance) as made,
            ari.events(ARI_APPLICATION) as events,
        ):

            async def call_the_application() -> str:
                async for text in events:
                    event = json.loads(text)
                    if event["type"] == "StasisStart":
                        await made.originate_websocket(MOVED, OPTIONS, **SILENCE)
                        return str(event["channel"]["id"])
                raise AssertionError("ARI has closed the connection")

            calling = asyncio.create_task(call_the_application())
            async with patched.call("joined", STASIS) as call:
                caller = await calling
                await made.ami.action("Bridge", Channel1=caller, Channel2=MOVED, Tone="no")
                await call.session.start_buffering()
                pieces = coded_pieces(random_sizes(1, MARKS, largest=1500))
                await play_with_marks(call.session, pieces)
                await call.session.hangup()
                await call.session.wait_closed()
        return call

    with nothing_left(patched.instance):
        call = measured("joined", lambda name: joined(), unreliable)
        if result(call) != "PASS":
            fail(call)
    assert len(call.judged.marks) == MARKS
