"""Media waits while nobody can hear it, is told of, and goes on where it stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from callerless import Channels, channels, nothing_left
from live_calls import fail, measured, names, of, passing_call, place, result, unreliable
from test_ari import MIXED
from test_marks import played, send

from chan_websocket.protocol import Event, Format
from harness.application.disturb import DisturbingSession, serve
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.ari import Ari
from harness.asterisk.configuration import ARI_APPLICATION, CONTEXT, Bridge, Extension
from harness.asterisk.instance import Instance
from harness.bench import Bench, LiveCall
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sipp import CallRequest, Hold, place_call
from harness.install.build import Build
from harness.judge.evidence import read_evidence
from harness.judge.invariants import broken_invariants
from harness.judge.verdicts import Bounds, Verdict
from harness.record.capture_files import load_timeline
from harness.targets.target import OwnTarget
from harness.torture.pbx import background, drain

pytestmark = pytest.mark.slow

FRAME = 160
UTTERANCE = 10 * FRAME
MARKS = 12
IN_FLIGHT = 2 * FRAME
TIMES = 4
"""bytes that may be on their way when nobody hears them any more"""
WAITS_S = 0.3
"""for which it is watched that media waits"""
STASIS = Extension("listener", bridge="stasis", message_format=Format.JSON)
ARI = Extension("listener-ari", bridge="ari", message_format=Format.JSON)
RUNS_ON = "w(no)"
SUSPENDED, RESUMED = "PLAYBACK_SUSPENDED", "PLAYBACK_RESUMED"


def reasons(events: list[Event]) -> list[str]:
    """Why media waited, and where it went on."""
    return [
        str(event.fields["reason"]) if event.name == SUSPENDED else "resumed"
        for event in events
        if event.name in (SUSPENDED, RESUMED)
    ]


def lost(call: LiveCall) -> int:
    """Bytes that never left."""
    evidence = read_evidence(load_timeline(call.folder), Bounds())
    return evidence.wire.missing(0, evidence.conversation.sent)


async def speech(session: DisturbingSession) -> None:
    await session.start_buffering()
    await play_with_marks(session, coded_pieces(random_sizes(1, MARKS, 100, 1500)))


async def ends(session: DisturbingSession) -> None:
    """The application hangs up: when the caller does, it is alone for a moment."""
    await session.hangup()
    await session.wait_closed()


async def report(session: DisturbingSession) -> Event:
    await session.report_playback()
    return await session.wait_event("PLAYBACK")


# ---- a caller, and what was found in his RTP -----------------------------------------------------


class LateBridge:
    """An ARI application that puts external media into the caller's bridge after a while."""

    def __init__(self, ari: Ari, agent: str, after_s: float) -> None:
        self._ari = ari
        self._agent = agent
        self._after_s = after_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._ari.events(ARI_APPLICATION) as events:
            await self._ari.request("POST", "bridges", type="mixing", bridgeId="late")

            async def run() -> None:
                async for text in events:
                    event = json.loads(text)
                    if event["type"] == "StasisStart":
                        await self._arrived(event["channel"])

            try:
                async with background(run()):
                    yield
            finally:
                await self._ari.request("DELETE", "bridges/late")

    async def _arrived(self, channel: dict[str, str]) -> None:
        if channel["name"].startswith("PJSIP/"):
            await self._ari.request("POST", "bridges/late/addChannel", channel=channel["id"])
            await self._ari.originate(self._agent, ARI_APPLICATION, "agent")
        else:
            await asyncio.sleep(self._after_s)
            await self._ari.request("POST", "bridges/late/addChannel", channel=channel["id"])


async def late_call(bench: Bench, name: str, after_s: float, options: str = "") -> LiveCall:
    """The agent speaks at once, and its bridge comes that much later."""
    ari = OwnTarget(bench.instance).ari
    agent = Extension("agent", message_format=Format.JSON, options=options)
    async with (
        LateBridge(ari, agent.dial_string, after_s).running(),
        bench.call(name, STASIS) as call,
    ):
        await speech(call.session)
        await ends(call.session)
    return call


@pytest.mark.parametrize(
    ("after_s", "told"), [(0.1, []), (1.2, ["unbridged", "resumed"])], ids=["soon", "late"]
)
def test_nothing_is_spoken_before_there_is_a_bridge(
    patched: Bench, after_s: float, told: list[str]
) -> None:
    call = measured("late-bridge", lambda name: late_call(patched, name, after_s), unreliable)
    if result(call) != "PASS":
        fail(call)
    assert len(call.judged.marks) == MARKS
    assert lost(call) == 0
    assert reasons(call.session.events) == told


def test_media_runs_on_if_it_is_to(patched: Bench) -> None:
    call = asyncio.run(late_call(patched, "late-bridge-runs-on", 1.2, RUNS_ON))
    assert reasons(call.session.events) == []
    # From 500 ms on nobody waits for the bridge.
    assert lost(call) > 8 * 200  # of 700, a busy host may take some


@dataclass(frozen=True)
class Parties:
    """The channels of a call that ARI has bridged."""

    ari: Ari
    bridge: str
    agent: str
    caller: str


async def parties(bench: Bench, session: DisturbingSession) -> Parties:
    ari = OwnTarget(bench.instance).ari
    agent = str(session.media_start.fields["channel_id"])
    bridges = await ari.request("GET", "bridges")
    bridge = next(one for one in bridges if agent in one["channels"])
    caller = next(one for one in bridge["channels"] if one != agent)
    return Parties(ari, bridge["id"], agent, caller)


Undo = Callable[[], Awaitable[object]]
Action = Callable[[Parties], Awaitable[Undo]]


def channel_action(party: str, path: str, **query: str) -> Action:
    async def do(call: Parties) -> Undo:
        where = f"channels/{getattr(call, party)}/{path}"
        await call.ari.request("POST", where, **query)
        return lambda: call.ari.request("DELETE", where, **query)

    return do


def play(party: str) -> Action:
    async def do(call: Parties) -> Undo:
        where = f"channels/{getattr(call, party)}/play"
        playback = await call.ari.request("POST", where, media="tone:ring")
        return lambda: call.ari.request("DELETE", f"playbacks/{playback['id']}")

    return do


async def digit(call: Parties) -> Undo:
    await call.ari.request("POST", f"channels/{call.caller}/dtmf", dtmf="5", duration="1000")
    return lambda: asyncio.sleep(0)


def remove(party: str) -> Action:
    async def do(call: Parties) -> Undo:
        where, channel = f"bridges/{call.bridge}", getattr(call, party)
        await call.ari.request("POST", f"{where}/removeChannel", channel=channel)
        return lambda: call.ari.request("POST", f"{where}/addChannel", channel=channel)

    return do


ACTIONS: dict[str, tuple[str, Action]] = {
    "play": ("audio", play("caller")),
    "play-to-the-agent": ("audio", play("agent")),
    "silence": ("audio", channel_action("caller", "silence")),
    "digit": ("digit", digit),
    "hold": ("hold", channel_action("caller", "hold")),
    "mute-the-agent": ("mute", channel_action("agent", "mute", direction="in")),
    "mute-the-caller": ("mute", channel_action("caller", "mute", direction="out")),
    "agent-removed": ("unbridged", remove("agent")),
    "caller-removed": ("alone", remove("caller")),
}
actions = pytest.mark.parametrize("action", ACTIONS)


@actions
def test_what_is_said_meanwhile_is_heard_afterwards(patched: Bench, action: str) -> None:
    """Nothing is lost, and nothing is told to be played before it left."""
    reason, do = ACTIONS[action]

    async def script(call: LiveCall) -> None:
        session = call.session
        await send(session, UTTERANCE)
        await session.mark("before")
        await played(session, "before")
        undo = await do(await parties(patched, session))
        await session.wait_event(SUSPENDED, reason=reason)
        await send(session, UTTERANCE)
        await session.mark("meanwhile")
        first = await report(session)
        await asyncio.sleep(WAITS_S)
        second = await report(session)
        for one in (first, second):
            assert one.fields["queued"] == UTTERANCE, one
            assert one.fields["marks"] == 1, one
            assert one.fields["paused"] is False, one
        await undo()
        await session.wait_event(RESUMED)
        await played(session, "meanwhile")
        await ends(session)

    call = passing_call(patched, f"meanwhile-{action}", script, ARI)
    assert lost(call) == 0
    assert reasons(call.session.events) == [reason, "resumed"]


async def speak(session: DisturbingSession) -> None:
    """Media with `MARKS` marks, m0 and so on, one behind each half of an utterance."""
    await session.start_buffering()
    for number in range(MARKS):
        await send(session, UTTERANCE // 2)
        await session.mark(f"m{number}")


@actions
def test_in_mid_speech_at_most_what_was_under_way_is_lost(patched: Bench, action: str) -> None:
    reason, do = ACTIONS[action]

    async def script(call: LiveCall) -> None:
        session = call.session
        await speak(session)
        await played(session, "m3")
        undo = await do(await parties(patched, session))
        await session.wait_event(SUSPENDED, reason=reason)
        await asyncio.sleep(WAITS_S)
        await undo()
        await session.wait_event(RESUMED)
        await played(session, f"m{MARKS - 1}")

    # The driver only tries others' locks: with one that is held at a tick it sees it at the next.
    # It does not happen three times in a row, and what is lost by it is told.
    for attempt in (1, 2, 3):
        call = asyncio.run(place(patched, f"mid-speech-{action}-{attempt}", script, ARI))
        assert sum(drop.number("bytes") for drop in of(call, "MEDIA_DROPPED")) == lost(call)
        if lost(call) <= IN_FLIGHT:
            break
    assert lost(call) <= IN_FLIGHT
    verdicts = [mark.verdict for mark in call.judged.marks]
    if lost(call) == 0 and set(verdicts) - {Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.LATE}:
        fail(call)
    # The marks that what was lost came before.
    assert sum(verdict is Verdict.WRONG for verdict in verdicts) <= IN_FLIGHT // FRAME


def test_what_comes_and_goes_quickly_is_seen_each_time(patched: Bench) -> None:
    """A caller that is mute, for a moment is not, and is mute again: each within a few ticks."""
    _, do = ACTIONS["mute-the-caller"]

    async def script(call: LiveCall) -> None:
        session = call.session
        await speak(session)
        await played(session, "m1")
        call_parties = await parties(patched, session)
        for _ in range(TIMES):
            undo = await do(call_parties)
            await session.wait_event(SUSPENDED, reason="mute")
            await undo()
            await session.wait_event(RESUMED)
        await played(session, f"m{MARKS - 1}")

    for attempt in (1, 2, 3):
        call = asyncio.run(place(patched, f"quickly-{attempt}", script, ARI))
        assert sum(drop.number("bytes") for drop in of(call, "MEDIA_DROPPED")) == lost(call)
        if lost(call) <= TIMES * IN_FLIGHT:
            break
    assert lost(call) <= TIMES * IN_FLIGHT


@pytest.mark.parametrize("how", ["sendonly", "0.0.0.0"])
@pytest.mark.parametrize("bridge", ["dial", "ari", "conference"])
def test_media_waits_while_the_caller_holds(patched: Bench, bridge: Bridge, how: Hold) -> None:
    """A mixer does not tell of it; there it is seen by the caller's RTP."""

    async def script(call: LiveCall) -> None:
        session = call.session
        await send(session, UTTERANCE)
        await session.mark("before")
        await played(session, "before")
        await call.sip.hold(how)
        await session.wait_event(SUSPENDED, reason="hold")
        await send(session, UTTERANCE)
        await session.mark("meanwhile")
        await asyncio.sleep(WAITS_S)
        assert (await report(session)).fields["queued"] == UTTERANCE
        await call.sip.resume()
        await session.wait_event(RESUMED)
        await played(session, "meanwhile")
        await ends(session)

    name = f"holds-{bridge}-{how}"
    extension = Extension(f"listener-{bridge}", bridge=bridge, message_format=Format.JSON)
    call = passing_call(patched, name, script, extension, MIXED if extension.mixed else None)
    assert lost(call) == 0
    assert reasons(call.session.events) == ["hold", "resumed"]


def test_media_runs_on_into_a_mute_channel_if_it_is_to(patched: Bench) -> None:
    """And is told as lost."""
    _, do = ACTIONS["mute-the-agent"]

    async def script(call: LiveCall) -> None:
        session = call.session
        await send(session, UTTERANCE)
        await session.mark("before")
        await played(session, "before")
        undo = await do(await parties(patched, session))
        await asyncio.sleep(WAITS_S)
        await send(session, UTTERANCE)
        await session.mark("meanwhile")
        await session.wait_event("MARK_DISCARDED", id="meanwhile")
        await undo()
        await ends(session)

    extension = replace(ARI, name="listener-runs-on", options=RUNS_ON)
    call = asyncio.run(place(patched, "runs-on", script, extension))
    told = [name for name in names(call.session.events) if name != "MEDIA_DROPPED"]
    assert told == ["MARK_PLAYED", "MARK_DISCARDED"]
    assert lost(call) == UTTERANCE
    assert not call.judged.failures, call.failures


def test_a_hang_up_while_media_waits(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        _, do = ACTIONS["mute-the-agent"]
        await report(session)  # opts in
        await do(await parties(patched, session))
        await session.wait_event(SUSPENDED, reason="mute")
        await send(session, UTTERANCE)
        await session.mark("never")
        await report(session)
        await call.sip.hang_up()
        await session.wait_closed()

    call = passing_call(patched, "hang-up-while-it-waits", script, ARI)
    (discarded,) = of(call, "MARK_DISCARDED")
    assert discarded.fields["reason"] == "hangup"
    assert call.session.events[-1].fields["flushed"] == UTTERANCE


# ---- early media: dial option n ------------------------------------------------------------------


@pytest.fixture(scope="module")
def asterisk(build: Build, run_folder: Path) -> Iterator[Instance]:
    """Its dialplan is these tests' own."""
    folder = run_folder / "listener"
    folder.mkdir()
    with Instance(build, folder) as instance:
        (folder / "announcement.ulaw").write_bytes(ANNOUNCEMENT)
        conf = instance.directories.configuration / "extensions.conf"
        conf.write_text(conf.read_text() + DIALPLAN.format(announcement=folder / "announcement"))
        instance.console.run("dialplan reload")
        yield instance


ANNOUNCEMENT = bytes(8 * 1500)
AGENT = Extension("agent", message_format=Format.JSON)
EARLY = replace(AGENT, options="n")
DIALPLAN = f"""
[{CONTEXT}]
exten = early,1,Dial({EARLY.dial_string})
exten = early-media,1,Progress()
 same = n,Dial({EARLY.dial_string})

[listener]
exten = announced,1,Answer()
 same = n,Dial({AGENT.dial_string},,A({{announcement}}))
exten = subroutine,1,Answer()
 same = n,Dial({AGENT.dial_string},,U(listener-subroutine^s^1))
exten = answered-early,1,Answer()
 same = n,Dial({EARLY.dial_string})
exten = rings,1,Ringing()
 same = n,Wait(1.5)
 same = n,Answer()
 same = n,Echo()
exten = calls,1,Dial(Local/rings@listener)
exten = conference,1,Answer()
 same = n,ConfBridge(listener,harness_bridge,harness_user)
exten = echo,1,Answer()
 same = n,Echo()

[listener-subroutine]
exten = s,1,Wait(1.5)
 same = n,Return()
"""


@pytest.mark.parametrize(
    ("extension", "told"), [("early", ["unanswered", "resumed"]), ("early-media", [])]
)
def test_early_media_waits_unless_it_is_sent(
    asterisk: Instance, tmp_path: Path, extension: str, told: list[str]
) -> None:
    """With a 183 there is RTP before the answer, and without it none is sent."""

    async def scenario() -> tuple[DisturbingSession, bytes, bytes]:
        target = OwnTarget(asterisk)
        with RtpSocket(asterisk.network.address) as rtp:
            request = CallRequest(extension, asterisk.network.address, rtp.port, "ulaw")
            async with AsyncExitStack() as stack:
                server = await stack.enter_async_context(serve())
                asterisk.use_application(server.uri)
                sip = await stack.enter_async_context(place_call(target.sip, request, tmp_path))
                session = await server.accept()
                await send(session, UTTERANCE)
                await session.mark("m")
                if told:
                    await session.wait_event(SUSPENDED, reason=told[0])
                    assert (await report(session)).fields["queued"] == UTTERANCE
                    assert not rtp.packets
                else:
                    await played(session, "m")
                await session.answer()
                await sip.answered()
                if told:
                    await played(session, "m")
                await sip.hang_up()
                await session.wait_closed()
            payload = b"".join(one.payload for one in rtp.packets)
            return session, payload, b"".join(coded_pieces([UTTERANCE], 0))

    session, heard, said = asyncio.run(scenario())
    assert heard == said
    assert reasons(session.events) == told
    assert broken_invariants(session.messages) == []


# ---- without a caller: where a channel can be ----------------------------------------------------

AGENT_ID, OTHER_ID = "agent-1", "other-1"
OPTIONS = "c(ulaw)f(json)"
Story = Callable[[Channels, Ari, DisturbingSession], Awaitable[None]]


def told_in(
    asterisk: Instance, begin: Callable[[Channels], Awaitable[None]], story: Story
) -> DisturbingSession:
    """A channel is made, and the application's session has this story; it hangs up at the end."""

    async def scenario() -> DisturbingSession:
        ari = OwnTarget(asterisk).ari
        async with (
            serve() as server,
            channels(asterisk) as made,
            ari.events(ARI_APPLICATION) as events,
            background(drain(events)),
        ):
            asterisk.use_application(server.uri)
            await begin(made)
            session = await server.accept()
            await story(made, ari, session)
            await ends(session)
        return session

    with nothing_left(asterisk):
        session = asyncio.run(scenario())
    assert broken_invariants(session.messages) == []
    return session


def called_by(extension: str) -> Callable[[Channels], Awaitable[None]]:
    """The agent is called by the dialplan."""

    async def begin(made: Channels) -> None:
        await made.originate(f"Local/{extension}@listener", OTHER_ID)

    return begin


def enters(**where: str) -> Callable[[Channels], Awaitable[None]]:
    """The agent goes there when it is answered."""

    async def begin(made: Channels) -> None:
        await made.originate_websocket(AGENT_ID, OPTIONS, **where)

    return begin


in_dialplan = {"Context": "listener", "Priority": "1"}
in_stasis = {"Application": "Stasis", "Data": ARI_APPLICATION}


async def waits_by_itself(made: Channels, ari: Ari, session: DisturbingSession) -> None:
    """What is said at once waits, and goes on without anything that we do."""
    await send(session, UTTERANCE)
    await session.mark("m")
    await session.wait_event(SUSPENDED)
    counted = await report(session)
    assert 0 <= UTTERANCE - counted.number("queued") <= IN_FLIGHT, counted
    await played(session, "m")
    assert (await report(session)).fields["underruns"] == 0


@pytest.mark.parametrize(("extension", "reason"), [("announced", "dial"), ("subroutine", "dial")])
def test_what_dial_does_first_is_waited_for(
    asterisk: Instance, extension: str, reason: str
) -> None:
    session = told_in(asterisk, called_by(extension), waits_by_itself)
    assert reasons(session.events) == [reason, "resumed"]


def test_who_is_called_is_waited_for(asterisk: Instance) -> None:
    session = told_in(asterisk, enters(**in_dialplan, Exten="calls"), waits_by_itself)
    assert reasons(session.events) == ["ringing", "resumed"]


def test_a_caller_that_was_answered_hears_early_media(asterisk: Instance) -> None:
    async def story(made: Channels, ari: Ari, session: DisturbingSession) -> None:
        await send(session, 5 * UTTERANCE)
        await session.mark("m")
        await played(session, "m")
        await session.answer()

    session = told_in(asterisk, called_by("answered-early"), story)
    assert reasons(session.events) == []


@pytest.mark.parametrize(("application", "data"), [("Echo", ""), ("Wait", "600")])
def test_an_application_listens(asterisk: Instance, application: str, data: str) -> None:
    async def story(made: Channels, ari: Ari, session: DisturbingSession) -> None:
        await send(session, 5 * UTTERANCE)
        await session.mark("m")
        await played(session, "m")

    begin = enters(Application=application, Data=data)
    assert reasons(told_in(asterisk, begin, story).events) == []


def test_a_conference_is_waited_for(asterisk: Instance) -> None:
    async def story(made: Channels, ari: Ari, session: DisturbingSession) -> None:
        await send(session, UTTERANCE)
        await session.mark("m")
        await session.wait_event(SUSPENDED, reason="alone")
        await made.originate("Local/conference@listener", OTHER_ID)
        await played(session, "m")

    session = told_in(asterisk, enters(**in_dialplan, Exten="conference"), story)
    assert reasons(session.events) == ["alone", "resumed"]


def test_a_snoop_listens(asterisk: Instance) -> None:
    async def story(made: Channels, ari: Ari, session: DisturbingSession) -> None:
        await send(session, UTTERANCE)
        await session.mark("m")
        await session.wait_event(SUSPENDED, reason="unbridged")
        await ari.request(
            "POST", f"channels/{AGENT_ID}/snoop/{OTHER_ID}", spy="in", app=ARI_APPLICATION
        )
        await played(session, "m")

    session = told_in(asterisk, enters(**in_stasis), story)
    assert reasons(session.events) == ["unbridged", "resumed"]


def test_a_masquerade_takes_the_channel_to_a_listener(asterisk: Instance) -> None:
    async def story(made: Channels, ari: Ari, session: DisturbingSession) -> None:
        await send(session, UTTERANCE)
        await session.mark("m")
        await session.wait_event(SUSPENDED, reason="unbridged")
        await made.ami.action(
            "Redirect", Channel=AGENT_ID, Context="listener", Exten="echo", Priority="1"
        )
        await played(session, "m")

    session = told_in(asterisk, enters(**in_stasis), story)
    assert reasons(session.events) == ["unbridged", "resumed"]


def test_the_application_can_pause_and_flush_meanwhile(asterisk: Instance) -> None:
    """Its own pause outlasts the wait, the queue fills and is emptied, marks have their turn."""

    async def story(made: Channels, ari: Ari, session: DisturbingSession) -> None:
        await report(session)
        await session.wait_event(SUSPENDED, reason="unbridged")
        await session.pause()
        for _ in range(10):
            await send(session, 100 * FRAME)
        await session.wait_event("MEDIA_XOFF")
        await session.mark("flushed")
        await session.report_queue_drained()
        await session.flush("f")
        discarded = await session.wait_event("MARK_DISCARDED", id="flushed")
        assert discarded.fields["reason"] == "flush"
        flush = await session.wait_event("MEDIA_FLUSHED", id="f")
        assert (flush.fields["played"], flush.fields["flushed"]) == (0, 1000 * FRAME)
        await session.wait_event("MEDIA_XON")
        await session.wait_event("QUEUE_DRAINED")
        await session.mark("nothing before it")
        await played(session, "nothing before it")
        # The flush has ended the pause.
        await session.pause()
        await send(session, UTTERANCE)
        await session.mark("m")
        await made.ami.action(
            "Redirect", Channel=AGENT_ID, Context="listener", Exten="echo", Priority="1"
        )
        await session.wait_event(RESUMED)
        counted = await report(session)
        assert (counted.fields["queued"], counted.fields["paused"]) == (UTTERANCE, True)
        await session.continue_()
        await played(session, "m")

    session = told_in(asterisk, enters(**in_stasis), story)
    assert reasons(session.events) == ["unbridged", "resumed"]


def test_who_has_not_opted_in_does_not_wait_for_long(asterisk: Instance) -> None:
    async def story(made: Channels, ari: Ari, session: DisturbingSession) -> None:
        await send(session, UTTERANCE)
        await session.mark_media("m")
        await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="m")

    session = told_in(asterisk, enters(**in_stasis), story)
    assert names(session.events) == ["MEDIA_MARK_PROCESSED"]
