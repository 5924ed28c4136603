"""Calls ramped up, held, and hung up, and what that took: one round of `harness load`.

Whoever makes the calls must not be what is measured. All applications are in this process, which
looks into nothing that comes; one SIPp has all the calls, nobody reads their RTP, and one tcpdump
captures everything, which is looked at when the calls are over.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from random import Random

from chan_websocket.protocol import Format, MarkCommand, parse_event
from harness.asterisk.configuration import Extension
from harness.asterisk.own_asterisk import OwnAsterisk
from harness.bench import Bench
from harness.caller.rtp_sender import rtp_packet
from harness.caller.rtp_socket import RtpSink
from harness.caller.sip_peer import local_address_towards
from harness.caller.sipp import CallRequest, SipCalls, place_calls
from harness.capture.bulk import read_bulk
from harness.capture.tcpdump import Tcpdump
from harness.capture.timeline import Measurement
from harness.capture.tls import SECRETS_FILE
from harness.certificates import note_secrets
from harness.errors import EnvironmentFault, HarnessFault, InputFault
from harness.judge.many import Acks, ManyJudged, Spoken, judge_many
from harness.load.applications import applications
from harness.load.disturbance import Disturbance
from harness.load.result import Busy, LoadKey, LoadRound, Resources
from harness.load.stream import Stream
from harness.media import position_code
from harness.media.speech import tone
from harness.record.capture_files import CAPTURE_FILE
from harness.targets.target import OwnTarget

MOST_CALLS = 4000
"""the harness's own Asterisk has RTP ports for 5000"""
MOST_MARKS_A_SECOND = 50.0
RAMP = 20.0
"""calls a second"""
_DESCRIPTORS_A_CALL = 12
"""that Asterisk opens: RTP, RTCP, WebSocket, timers, alert pipes"""
_OTHER_DESCRIPTORS = 300
_SETTLE_S = 1.0
"""of all calls being up, before they are measured"""
_CONNECT_S = 15.0
"""for the last calls to be answered, behind the time that the ramp takes"""
_LAST_ACK_S = 10.0
_HANG_UP_S = 30.0
_IDLE_S = 10.0
_POLL_S = 0.05
_PROGRESS_S = 0.5
_WARM_UP_S = 0.5
_PACKET_S = 0.02
_OPERATE_S = 1.0
_TRANSACTIONS_S = 33.0
"""in which SIP forgets a call that has ended: 64*T1 (RFC 3261, 17.2.2, timer J) and a second for
pjsip's timers. Till then it has 100 kB of each."""
_COMMANDS = (
    "module reload chan_websocket.so",
    "websocket show playback",
    "core show channels verbose",
)


@dataclass(frozen=True)
class LoadPlan:
    """What is to be done, once."""

    calls: int = 100
    marks_a_second: float = 5.0
    """of each call"""
    seconds: float = 20.0
    """for which all calls are held and measured"""
    ramp: float = RAMP
    """calls a second"""
    message_format: Format = Format.PLAIN
    speaking: bool = False
    """whether the callers speak"""
    soak: bool = False
    """whether calls come and go, and what they say is flushed, paused and dropped"""
    settles: bool = False
    """whether memory is measured when SIP, too, has forgotten the calls"""
    seed: int = 1

    @property
    def count(self) -> int:
        """How many calls are placed."""
        return round(self.ramp * self.seconds) if self.soak else self.calls

    @property
    def extension(self) -> Extension:
        """What is called."""
        return Extension("load", message_format=self.message_format)

    @property
    def speech_s(self) -> float:
        """How long the first call speaks, at most."""
        if self.soak:
            return self.seconds + _CONNECT_S
        return self.calls / self.ramp + _CONNECT_S + _SETTLE_S + self.seconds


@dataclass(frozen=True)
class LoadProgress:
    """How far a round is."""

    stage: str
    calls: int
    """that are up"""
    asterisk: float | None
    """of a processor, since the last time; None where that cannot be seen"""
    generator: float
    acknowledged: int


OnProgress = Callable[[LoadProgress], None]


def raise_descriptor_limit(calls: int) -> None:
    """Let this process, and the Asterisks that it starts, open what so many calls need.

    Raises EnvironmentFault where the machine does not allow it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = calls * _DESCRIPTORS_A_CALL + _OTHER_DESCRIPTORS
    if most != resource.RLIM_INFINITY and most < needed:
        raise EnvironmentFault(
            f"{calls} calls need {needed} file descriptors, and this machine allows a process"
            f" {most} (ulimit -Hn)",
            f"Raise the limit: as root, ulimit -Hn {needed}; or load it with"
            f" {max(1, (most - _OTHER_DESCRIPTORS) // _DESCRIPTORS_A_CALL)} calls.",
        )
    wanted = needed if most == resource.RLIM_INFINITY else most
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


def load(
    bench: Bench,
    target: str,
    plan: LoadPlan,
    folder: Path,
    on_progress: OnProgress = lambda progress: None,
) -> LoadRound:
    """Make the calls of a round and judge them; ``target`` is what to call the PBX.

    Raises InputFault and EnvironmentFault for what cannot be done on this PBX or machine.
    """
    if bench.not_captured:
        raise EnvironmentFault(
            f"the calls cannot be captured: {bench.not_captured}",
            "Under load all times are of a packet capture.",
        )
    capabilities = bench.capabilities
    if reason := capabilities.lacks(plan.extension):
        raise InputFault(f"{target} cannot be loaded: {reason}", "Choose another target.")
    folder.mkdir(parents=True, exist_ok=True)
    command: MarkCommand = "MARK" if capabilities.playback_marks else "MARK_MEDIA"
    found = asyncio.run(_Round(bench, plan, folder, command, on_progress).run())
    on_progress(LoadProgress("judging", 0, None, 0.0, 0))
    judged = found.judge(folder / CAPTURE_FILE)
    over = "wss" if bench.target.listener.tls else "ws"
    return LoadRound(
        target,
        not capabilities.playback_marks,
        LoadKey(over, plan.calls),
        found.busy,
        judged,
        found.not_captured,
        *found.resources,
        plan.settles,
    )


@dataclass(frozen=True)
class Loaded:
    """What a round has left to be judged."""

    busy: Busy
    not_captured: int
    measurement: Measurement
    port: int
    """of the application"""
    rtp_port: int
    spoken: dict[tuple[int, int], Spoken]
    """by the port of the connection that Asterisk made for the call, and how many that port had
    before"""
    window: tuple[int, int]
    resources: tuple[Resources | None, Resources | None, Resources | None]
    """before, while the calls were held, after"""

    def judge(self, path: Path) -> ManyJudged:
        """Judge what is in the capture."""
        capture = read_bulk(path)
        acks = {one.number: Acks() for one in self.spoken.values()}
        for text in capture.texts_of(self.port, application_is_server=True):
            if (spoken := self.spoken.get((text.client_port, text.earlier))) is not None:
                acks[spoken.number].add(text.time_ns, parse_event(text.text.decode()))
        rtp = capture.rtp_to(self.rtp_port)
        return judge_many(
            rtp,
            position_code.offsets_of(rtp.heads),
            acks,
            list(self.spoken.values()),
            self.measurement,
            self.window,
        )


class _Round:
    """One round."""

    def __init__(
        self,
        bench: Bench,
        plan: LoadPlan,
        folder: Path,
        command: MarkCommand,
        on_progress: OnProgress,
    ) -> None:
        self._bench, self._plan, self._folder = bench, plan, folder
        self._on_progress = on_progress
        self._stage = "warming up"
        target = bench.target
        self._asterisk: OwnAsterisk | None = (
            target.asterisk if isinstance(target, OwnTarget) else None
        )
        self._stream = Stream(
            plan.speech_s, plan.marks_a_second, command, plan.message_format, plan.seed
        )

    async def run(self) -> Loaded:
        plan, target = self._plan, self._bench.target
        async with AsyncExitStack() as stack:
            listener = target.listener
            sink = stack.enter_context(RtpSink(local_address_towards(target.sip)))
            self._sink = sink
            apps = await stack.enter_async_context(
                applications(listener.host, listener.port, listener.tls)
            )
            self._apps = apps
            if listener.tls:
                note_secrets(listener.tls, self._folder / SECRETS_FILE)
            number = target.prepare(plan.extension, apps.uri)
            request = CallRequest(number, sink.address, sink.port)
            await stack.enter_async_context(self._watched())
            # What is opened once and kept is no call's.
            await self._warm_up(request)
            before = await self._resources()
            self._stage = "ramping up"
            capture = stack.enter_context(
                Tcpdump(self._folder / CAPTURE_FILE, [sink.port], [apps.port], bulk=True)
            )
            apps.speak(self._stream, self._disturbance if plan.soak else None)
            async with self._placing(request, plan.count, plan.ramp) as calls:
                if plan.soak:
                    window, busy = await self._come_and_go(calls, capture)
                else:
                    await self._answered(calls)
                    if plan.speaking:
                        task = asyncio.create_task(self._speak(calls))
                        stack.push_async_callback(_cancelled, task)
                    self._stage = "settling"
                    await asyncio.sleep(_SETTLE_S)
                    self._stage = "holding"
                    window, busy = await self._measured(capture, asyncio.sleep(plan.seconds))
                held = await self._resources(trim=False)
                self._stage = "waiting for acknowledgements"
                apps.fall_silent()
                # The judge says what did not come.
                await self._reached(lambda: apps.acknowledged, _LAST_ACK_S)
                self._stage = "hanging up"
                await calls.hang_up(_HANG_UP_S)
            await self._gone()
            if plan.settles:
                self._stage = "waiting for SIP to forget the calls"
                await asyncio.sleep(_TRANSACTIONS_S)
            after = await self._resources()
            summary = capture.stop()
        stalls = self._bench.host_stalls.between(*window)
        return Loaded(
            busy,
            summary.dropped,
            Measurement("capture", summary.uncertainty_ns, summary.dropped, tuple(stalls)),
            apps.port,
            sink.port,
            self._spoken(),
            window,
            (before, held, after),
        )

    def _spoken(self) -> dict[tuple[int, int], Spoken]:
        """See `Loaded.spoken`."""
        earlier: Counter[int] = Counter()
        spoken = {}
        for call in self._apps.calls[self._first :]:
            port, offsets = call.client_port, self._stream.offsets[: call.marks_sent]
            owed = call.marks_owed if self._plan.soak else None
            spoken[port, earlier[port]] = Spoken(call.number, offsets, call.sent_bytes, owed)
            earlier[port] += 1
        return spoken

    @asynccontextmanager
    async def _placing(
        self, request: CallRequest, count: int, a_second: float
    ) -> AsyncIterator[SipCalls]:
        """So many calls, which are on their way."""
        self._first = len(self._apps.calls)
        sip = self._bench.target.sip
        async with place_calls(sip, request, self._folder, count, a_second) as calls:
            self._sip_calls = calls
            yield calls

    async def _answered(self, calls: SipCalls) -> None:
        """Until all are answered and have their connections."""
        await calls.answered(calls.count / self._plan.ramp + _CONNECT_S)

        def came() -> int:
            return len(self._apps.calls) - self._first

        if not await self._reached(lambda: came() == calls.count, _CONNECT_S):
            raise HarnessFault(
                f"{calls.count} calls were answered, but only {came()} media connections came to"
                f" {self._apps.uri}",
                "The PBX's log says why; has it descriptors enough, and the right address?",
            )

    async def _come_and_go(self, calls: SipCalls, capture: Tcpdump) -> tuple[tuple[int, int], Busy]:
        """Until all calls have come, most of which have gone again; the console is used."""
        self._stage = "coming and going"
        others = [asyncio.create_task(one) for one in (self._go(calls), self._operate())]
        try:
            return await self._measured(capture, self._answered(calls))
        finally:
            for task in others:
                await _cancelled(task)

    async def _go(self, calls: SipCalls) -> None:
        """Callers hang up, so that there are about as many calls at once as planned."""
        random = Random(f"{self._plan.seed}/go")
        ends: dict[str, float] = {}
        while True:
            now = time.monotonic()
            for call in calls.calls:
                if not call.is_answered or call.is_over:
                    continue
                lives_s = random.uniform(0, 2 * self._plan.calls / self._plan.ramp)
                if now >= ends.setdefault(call.call_id, now + lives_s):
                    call.tell_to_hang_up()
                    ends[call.call_id] = now + _HANG_UP_S
            await asyncio.sleep(_POLL_S)

    async def _operate(self) -> None:
        """Commands on the console, as an operator has them."""
        for command in cycle(_COMMANDS if self._asterisk else ()):
            await asyncio.to_thread(self._console, command)
            await asyncio.sleep(_OPERATE_S)

    def _console(self, command: str) -> None:
        assert self._asterisk is not None, "its console is there"
        self._asterisk.console.run(command)

    def _disturbance(self, call: int) -> Disturbance:
        return Disturbance(f"{self._plan.seed}/{call}", self._plan.message_format)

    async def _warm_up(self, request: CallRequest) -> None:
        self._apps.speak(self._stream)
        async with self._placing(request, 1, self._plan.ramp) as calls:
            await self._answered(calls)
            await asyncio.sleep(_WARM_UP_S)
            self._apps.fall_silent()
            await calls.hang_up(_HANG_UP_S)
        await self._gone()

    async def _gone(self) -> None:
        """Until nothing is left of the calls."""
        closed = await self._reached(lambda: not self._apps.open_count, _IDLE_S)
        if not closed:
            raise HarnessFault(
                f"{self._apps.open_count} media connections are still open {_IDLE_S:g} s after"
                " all calls were hung up"
            )
        if self._asterisk is None:
            return
        deadline = time.monotonic() + _IDLE_S
        while time.monotonic() < deadline:
            channels = await asyncio.to_thread(
                self._asterisk.console.run, "core show channels count"
            )
            if channels.startswith("0 active channels"):
                return
            await asyncio.sleep(_POLL_S)
        raise HarnessFault(f"Asterisk still has channels: {channels}")

    async def _measured(
        self, capture: Tcpdump, work: Awaitable[None]
    ) -> tuple[tuple[int, int], Busy]:
        """What is taken while something else is awaited, and when that was."""
        self._apps.most_late_s = 0.0
        gc.collect()
        gc.freeze()  # so that collecting garbage takes no time from the calls
        begin_ns, begun = time.time_ns(), self._taken(capture)
        await work
        end_ns, ended = time.time_ns(), self._taken(capture)
        gc.unfreeze()
        lasted_s = (end_ns - begin_ns) / 1e9
        asterisk, generator, tcpdump = (
            (after - before) / lasted_s for before, after in zip(begun[:3], ended[:3], strict=True)
        )
        used, in_all = (after - before for before, after in zip(begun[3:], ended[3:], strict=True))
        seen = self._asterisk is not None
        late_s = self._apps.most_late_s
        busy = Busy(generator, tcpdump, used / in_all, asterisk if seen else None, late_s)
        return (begin_ns, end_ns), busy

    def _taken(self, capture: Tcpdump) -> tuple[float, ...]:
        """Of processors so far: by Asterisk, generator and capture, in s; by all, and idle."""
        asterisk = self._asterisk.cpu_seconds() if self._asterisk else 0.0
        generator = time.process_time() + self._sip_calls.cpu_seconds
        fields = [
            int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
        ]
        in_all = sum(fields)
        # Idle, and waiting for a disk. What the hypervisor took for others was not free either.
        used = in_all - fields[3] - fields[4]
        return asterisk, generator, capture.cpu_seconds, float(used), float(in_all)

    async def _resources(self, trim: bool = True) -> Resources | None:
        """Of Asterisk's process; ``trim``: without what it has freed and keeps for later."""
        if self._asterisk is None:
            return None
        if trim:
            await asyncio.to_thread(self._asterisk.console.run, "malloc trim")
        return resources_of(self._asterisk.pid)

    async def _speak(self, calls: SipCalls) -> None:
        """All callers speak: a packet each 20 ms to where each call wants it, evenly in time."""
        voice = tone(1000)
        targets = [call.media for call in calls.calls]
        begun = time.monotonic()
        sent = 0
        while True:
            due = int((time.monotonic() - begun) / _PACKET_S * len(targets))
            for count in range(sent, due):
                number, call = divmod(count, len(targets))
                at = number * 160 % len(voice)
                packet = rtp_packet(
                    number, number * 160, call + 1, 0, voice[at : at + 160], number == 0
                )
                self._sink.send(packet, targets[call])
            sent = due
            await asyncio.sleep(_PACKET_S / 4)

    async def _reached(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Whether the condition holds within this time; looked at again and again."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._bench.check_alive()
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Tell how far it is, again and again."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            await _cancelled(task)

    async def _watch(self) -> None:
        at, asterisk_s, own_s = time.monotonic(), 0.0, time.process_time()
        while True:
            before = at, asterisk_s, own_s
            at, own_s = time.monotonic(), time.process_time()
            asterisk_s = self._asterisk.cpu_seconds() if self._asterisk else 0.0
            lasted_s = max(at - before[0], 1e-3)
            known = self._asterisk is not None and before[1] > 0
            self._on_progress(
                LoadProgress(
                    self._stage,
                    self._apps.open_count,
                    (asterisk_s - before[1]) / lasted_s if known else None,
                    (own_s - before[2]) / lasted_s,
                    sum(call.events for call in self._apps.calls),
                )
            )
            await asyncio.sleep(_PROGRESS_S)


def resources_of(pid: int) -> Resources:
    """Of a process of this machine."""
    status = Path(f"/proc/{pid}/status").read_text()
    anonymous_kib = next(
        int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")
    )
    return Resources(anonymous_kib * 1024, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()))


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
