"""``harness dispositions``: everything that can become of a mark, on real calls, in one table.

Each disposition is a script for the application's side of a call. The stock driver is taken through
the same scripts with the commands it knows, MARK_MEDIA and FLUSH_MEDIA without an id.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path

from harness.asterisk.configuration import Extension
from harness.bench import OPUS_FRAME_BYTES, Bench, LiveCall
from harness.errors import HarnessFault, InputFault
from harness.judge.judge import FAILURES, Bounds, CallVerdict, Verdict
from harness.measure import Module
from harness.media import position_code
from harness.media.play import ANSWER_EVENT, MarkCommand, coded_pieces, mark
from harness.websocket.client import MediaSession
from harness.websocket.protocol import Event, Format, Id, command_set_direction

MARKS = 10_000
"""in all calls of a run, at least, unless the user says otherwise"""
PENDING_MAX = 2048
"""marks a channel may have pending: max_pending_marks of chan_websocket.conf"""
INTERRUPTIONS = 50

_AT_ONCE = 2
"""calls: so many do not disturb each other's times on two processors"""
_ATTEMPTS = 3
_BUSY = 0.1
"""of a call's time: a host that stalled so much runs nothing when it is due"""
_WAIT_S = 5.0
_MEMORY_CALLS = 8
_MEMORY_ID_BYTES = 8
_WARM_UP_MARKS = 48
_FRAME = 160
_STRETCH = 10 * _FRAME
"""bytes of media that tell the media clock"""
_QUEUE_FRAMES = 1000
_XOFF_FRAMES = 900
_MESSAGE = 100 * _FRAME
"""bytes of a big message"""
# Opus: SILK and CELT together, full band, 20 ms, mono, one frame (RFC 6716, 3.1).
_OPUS_HEADER = bytes([15 << 3])
_MIXED = Bounds(late_ns=22_000_000)
"""in a bridge that mixes an answer may come one round of 20 ms late"""
_CROWDED = Bounds(late_ns=45_000_000)
"""TCP sends ten small events in a row (its initial window), then waits for the application's kernel
to acknowledge them, which may put that off by 40 ms"""
_UNREAD_S = 2.0
_UNREAD = Bounds(late_ns=int(_UNREAD_S * 1e9) + 500_000_000)


class Agent:
    """The application in one call: it speaks position-coded media and sets marks m0, m1, ..."""

    def __init__(self, call: LiveCall, module: Module) -> None:
        self.call = call
        self.session: MediaSession = call.session
        self.patched = module == "patched"
        self.command: MarkCommand = "MARK" if self.patched else "MARK_MEDIA"
        self._marks = 0
        self._flushes = 0
        self._last: Id = ""

    async def begin(self) -> None:
        """Begin to speak: with enough that the media clock is known before the first mark.

        Of one packet alone, or of two, nobody can tell whether it was sent late.
        """
        await self.session.start_buffering()
        await self.say(_STRETCH)

    async def say(self, size: int) -> None:
        """Send the next ``size`` bytes as one message."""
        for piece in coded_pieces([size], self.session.sent_bytes):
            await self.session.send_media(piece)

    async def mark(self, mark_id: Id | None = None) -> Id:
        """Set a mark; by default with the next id."""
        if mark_id is None:
            mark_id = f"m{self._marks}"
            self._marks += 1
        self._last = mark_id
        if isinstance(mark_id, int) and not self.patched:
            fields = {"command": "MARK_MEDIA", "correlation_id": mark_id}
            await self.session.send_text(json.dumps(fields))
        elif self.patched:
            await self.session.mark(mark_id)
        else:
            await mark(self.session, self.command, str(mark_id))
        # The other applications of this process have to read meanwhile, see Bench.call.
        await asyncio.sleep(0)
        return mark_id

    async def say_and_mark(self, size: int) -> Id:
        """Say so much, with a mark behind it."""
        await self.say(size)
        return await self.mark()

    async def flush(self) -> None:
        """Flush, and wait for the answer if the driver gives one."""
        self._flushes += 1
        await self.session.flush(f"f{self._flushes}" if self.patched else None)
        if self.patched:
            await self.event("MEDIA_FLUSHED", id=f"f{self._flushes}")

    async def ask(self) -> None:
        """Make the driver tell of losses from now on."""
        if self.patched:
            await self.session.report_playback()

    async def event(self, name: str, **fields: Id) -> None:
        """Wait for an event. That it does not come is not said here: the judge does."""
        with suppress(HarnessFault):
            await self.session.wait_event(name, _WAIT_S, **fields)

    async def answered(self, mark_id: Id | None = None, timeout_s: float = _WAIT_S) -> None:
        """Wait until the mark, by default the latest one, has been answered in whichever way."""
        wanted = self._last if mark_id is None else mark_id

        async def wait() -> None:
            async for event in self.session.iterate_events():
                if _answers(event) == wanted:
                    return

        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(wait(), timeout_s)


def _answers(event: Event) -> Id | None:
    """The id of the mark that an event answers."""
    if event.name in ("MARK_PLAYED", "MARK_DISCARDED"):
        return event.fields.get("id")
    return event.fields.get("correlation_id") if event.name in ANSWER_EVENT.values() else None


Script = Callable[[Agent, random.Random, int], Awaitable[None]]
"""What the application does; the number says how many marks it shall set, where that is free"""
Check = Callable[[LiveCall], str]
"""What else is wrong with a call; empty if nothing is"""


# ---- scripts -------------------------------------------------------------------------------------


async def _aligned(agent: Agent, chance: random.Random, marks: int) -> None:
    for _ in range(marks):
        await agent.say_and_mark(_FRAME)
    await agent.answered(timeout_s=marks * 0.02 + _WAIT_S)


async def _random_chunks(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.begin()
    waiting: list[Id] = []
    for _ in range(marks):
        waiting.append(await agent.say_and_mark(chance.randint(1, 400)))
        if len(waiting) > 40:
            await agent.answered(waiting.pop(0))
    await agent.answered()


async def _big_message(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.session.start_buffering()
    for _ in range(marks):
        await agent.say_and_mark(chance.randint(10_000, 20_000))
    await agent.answered(timeout_s=marks * 2.5 + _WAIT_S)


async def _interrupted(agent: Agent, chance: random.Random, marks: int) -> None:
    """Five times: speech of about 1.5 s, interrupted at any moment of it."""
    for _ in range(5):
        await agent.begin()
        for _ in range(marks // 5):
            await agent.say_and_mark(chance.randint(1, 1200))
        await asyncio.sleep(chance.uniform(0.0, 1.4))
        await agent.flush()
    # What a mixer holds at the hang-up is lost, though the flush rightly counted it as given away.
    await agent.say_and_mark(_STRETCH)
    await agent.answered()


async def _paused(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.begin()
    for _ in range(marks):
        await agent.say_and_mark(chance.randint(100, 500))
    for _ in range(3):
        await asyncio.sleep(chance.uniform(0.1, 0.2))
        await agent.session.pause()
        await asyncio.sleep(chance.uniform(0.1, 0.3))
        await agent.session.continue_()
    await agent.answered()


async def _xoff_xon(agent: Agent, chance: random.Random, marks: int) -> None:
    for _ in range(_XOFF_FRAMES * _FRAME // _MESSAGE + 1):
        await agent.say_and_mark(_MESSAGE)
    await agent.event("MEDIA_XOFF")
    await agent.event("MEDIA_XON")
    await agent.flush()
    await agent.say_and_mark(_STRETCH)
    await agent.answered()


async def _overflow(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.ask()
    for _ in range(_QUEUE_FRAMES * _FRAME // _MESSAGE + 2):
        await agent.say_and_mark(_MESSAGE)
    await agent.answered(timeout_s=_QUEUE_FRAMES * 0.02 + _WAIT_S)
    await agent.say_and_mark(_STRETCH)
    await agent.answered()


async def _some_pending(agent: Agent, marks: int) -> None:
    """Speech with marks, of which the first has been heard and the last is far away."""
    await agent.session.start_buffering()
    heard = await agent.say_and_mark(_STRETCH + 80)
    for _ in range(marks - 1):
        await agent.say_and_mark(_STRETCH)
    await agent.answered(heard)


async def _caller_hangs_up(agent: Agent, chance: random.Random, marks: int) -> None:
    await _some_pending(agent, marks)
    await agent.call.sip.hang_up()
    await agent.session.wait_closed()


async def _application_hangs_up(agent: Agent, chance: random.Random, marks: int) -> None:
    await _some_pending(agent, marks)
    await agent.session.hangup()
    await agent.session.wait_closed()


async def _application_closes(agent: Agent, chance: random.Random, marks: int) -> None:
    """A closed connection can carry no answer: all marks have theirs before."""
    await agent.begin()
    for _ in range(marks):
        await agent.say_and_mark(chance.randint(1, 400))
    await agent.answered()
    await agent.say(_STRETCH)
    await agent.session.close()


async def _direction_in(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.ask()
    await agent.begin()
    for _ in range(marks // 2):
        await agent.say_and_mark(chance.randint(100, 500))
    await asyncio.sleep(chance.uniform(0.05, 0.15))
    await agent.session.send_text(command_set_direction("in"))
    for _ in range(marks // 4):
        await agent.mark()
    await asyncio.sleep(chance.uniform(0.1, 0.2))
    await agent.session.send_text(command_set_direction("both"))
    for _ in range(marks // 4):
        await agent.say_and_mark(chance.randint(100, 500))
    await agent.answered()


async def _partial_left_open(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.session.start_buffering()
    for _ in range(marks):
        await agent.say_and_mark(_STRETCH + chance.randint(1, _FRAME - 1))
        await agent.answered()


async def _odd_tail(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.ask()
    for _ in range(marks):
        await agent.say_and_mark(_STRETCH + chance.randint(1, _FRAME - 1))
        await agent.answered()


async def _before_any_media(agent: Agent, chance: random.Random, marks: int) -> None:
    for _ in range(marks):
        await agent.mark()
    await agent.answered()
    await agent.say_and_mark(_STRETCH)
    await agent.answered()


async def _empty_queue(agent: Agent, chance: random.Random, marks: int) -> None:
    for _ in range(marks // 4):
        await agent.say_and_mark(_STRETCH)
        await agent.answered()
        for _ in range(3):
            await agent.mark()
        await agent.answered()


async def _fence_after_flush(agent: Agent, chance: random.Random, marks: int) -> None:
    for _ in range(marks // 4):
        await agent.session.start_buffering()
        for _ in range(3):
            await agent.say_and_mark(chance.randint(1000, 2000))
        await asyncio.sleep(chance.uniform(0.0, 0.4))
        # Not waited for: the fence is sent in the same breath.
        await agent.session.flush("f" if agent.patched else None)
        await agent.mark()
        await agent.answered()


async def _bursts(agent: Agent, chance: random.Random, marks: int) -> None:
    while marks > 0:
        await agent.say(_STRETCH)
        burst = min(marks, chance.randint(50, 200))
        for _ in range(burst):
            await agent.mark()
        await agent.answered()
        marks -= burst


async def _one_too_many(agent: Agent, chance: random.Random, marks: int) -> None:
    """As many marks as may be pending, one each millisecond, and one more."""
    await agent.session.start_buffering()
    await agent.session.pause()
    for _ in range(marks - 2):
        last = await agent.say_and_mark(8)
    one_too_many = await agent.mark()
    if agent.patched:
        await agent.answered(one_too_many)
    await agent.session.continue_()
    await agent.answered(last)
    await agent.say_and_mark(_STRETCH)
    await agent.answered()


async def _odd_ids(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.begin()
    odd: list[Id] = [
        7,
        "7",
        -1,
        0,
        2**62,
        'a "b" \\ c',
        "w\u00f6rter \u4f60\u597d",
        "\U0001f600" * 16,
    ]
    odd += ["x" * 64, "line\nbreak", "{}", "id=1", " "]
    for number in range(marks):
        await agent.say(chance.randint(100, 400))
        await agent.mark(odd[number % len(odd)])
    await agent.mark()
    await agent.answered()


async def _same_id(agent: Agent, chance: random.Random, marks: int) -> None:
    await agent.begin()
    for _ in range(marks - 1):
        await agent.say(chance.randint(100, 400))
        await agent.mark("same")
    await agent.mark()
    await agent.answered()


async def _slow_reader(agent: Agent, chance: random.Random, marks: int) -> None:
    """Speech with a mark each millisecond, while the application reads nothing."""
    await agent.session.start_buffering()
    await agent.session.pause()
    for number in range(marks):
        await agent.say(8)
        await agent.mark(f"{number}".rjust(64, "-"))
    agent.session.stop_reading()
    await agent.session.continue_()
    await asyncio.sleep(_UNREAD_S)
    agent.session.go_on_reading()
    await agent.answered()


async def _passthrough_opus(agent: Agent, chance: random.Random, marks: int) -> None:
    for _ in range(marks):
        offset = agent.session.sent_bytes
        coded = position_code.encode(offset, OPUS_FRAME_BYTES - len(_OPUS_HEADER))
        await agent.session.send_media(_OPUS_HEADER + coded)
        await agent.mark()
    await agent.answered(timeout_s=marks * 0.02 + _WAIT_S)


# ---- what else must hold -------------------------------------------------------------------------


def _no_gap(call: LiveCall) -> str:
    """Whether the media went on all the time."""
    stretches = {place.clock.stretch for place in call.result.places if place.location.pieces}
    return (
        f"the media to the caller was interrupted {len(stretches) - 1} times"
        if (len(stretches) > 1)
        else ""
    )


def _one_limit(call: LiveCall) -> str:
    limits = [one for one in call.session.events if one.fields.get("reason") == "limit"]
    patched = call.session.media_start.flag("playback_marks")
    if patched and len(limits) != 1:
        return f"{len(limits)} marks were discarded with limit, not one"
    return ""


def _nothing(call: LiveCall) -> str:
    return ""


# ---- the list ------------------------------------------------------------------------------------

_PLAIN = Extension("plain")
_JSON = Extension("json", message_format=Format.JSON)


@dataclass(frozen=True)
class Disposition:
    """A row of the table."""

    name: str
    script: Script
    extension: Extension = _PLAIN
    calls: int = 1
    marks: int = 20
    """a call"""
    share: float = 0.0
    """of the marks that the others leave to be set: such a row is as large as the run"""
    bounds: Bounds = field(default_factory=Bounds)
    receive_buffer_bytes: int | None = None
    """of the application, see `serve`"""
    check: Check = _nothing
    interrupts: bool = False
    """whether its flushes are those of the summary of interruptions"""


_PASSTHROUGH = replace(_PLAIN, name="passthrough", options="p")
_OPUS = Extension("opus", codec="opus", message_format=Format.JSON)
_INCOMING = replace(_PLAIN, name="incoming", connection="incoming")
_INCOMING_JSON = replace(_JSON, name="incoming-json", connection="incoming")
_CONFERENCE = replace(_PLAIN, name="conference", bridge="conference")

# The longest calls first, so that the others run beside them.
DISPOSITIONS = (
    Disposition("queue overflow", _overflow, marks=13),
    Disposition("played, one big message", _big_message, marks=5),
    Disposition("played, random chunks", _random_chunks, calls=4, share=0.35),
    Disposition("played, random chunks, JSON", _random_chunks, _JSON, calls=4, share=0.35),
    Disposition("played, aligned chunks", _aligned, marks=100),
    Disposition("50-200 marks in 1 ms", _bursts, calls=2, share=0.15, bounds=_CROWDED),
    Disposition("50-200 marks in 1 ms, JSON", _bursts, _JSON, calls=2, share=0.15, bounds=_CROWDED),
    Disposition(
        "flushed at a random moment",
        _interrupted,
        calls=INTERRUPTIONS // 10,
        marks=100,
        interrupts=True,
    ),
    Disposition(
        "flushed at a random moment, JSON",
        _interrupted,
        _JSON,
        calls=INTERRUPTIONS // 10,
        marks=100,
        interrupts=True,
    ),
    Disposition("fence after a flush", _fence_after_flush, marks=40),
    Disposition("pause and continue", _paused, calls=2),
    Disposition("XOFF and XON", _xoff_xon, marks=11),
    Disposition("direction in and back, JSON", _direction_in, _JSON, calls=2, marks=24),
    Disposition("partial frame left open", _partial_left_open),
    Disposition("odd tail, not buffering", _odd_tail, _JSON),
    Disposition("before any media", _before_any_media, marks=10),
    Disposition("empty queue", _empty_queue, marks=40),
    Disposition(
        "2048 pending and one more",
        _one_too_many,
        marks=PENDING_MAX + 2,
        bounds=_CROWDED,
        check=_one_limit,
    ),
    Disposition(
        "2048 pending and one more, JSON",
        _one_too_many,
        _JSON,
        marks=PENDING_MAX + 2,
        bounds=_CROWDED,
        check=_one_limit,
    ),
    Disposition("odd ids, JSON", _odd_ids, _JSON, marks=52),
    Disposition("same id", _same_id, marks=20),
    Disposition(
        "application reads nothing for 2 s",
        _slow_reader,
        _JSON,
        marks=2000,
        bounds=_UNREAD,
        receive_buffer_bytes=4096,
        check=_no_gap,
    ),
    Disposition("passthrough, ulaw", _aligned, _PASSTHROUGH, marks=100),
    Disposition("passthrough, opus, JSON", _passthrough_opus, _OPUS, marks=100),
    Disposition("application connects", _random_chunks, _INCOMING, marks=100),
    Disposition("application connects, JSON", _random_chunks, _INCOMING_JSON, marks=100),
    Disposition("ConfBridge", _random_chunks, _CONFERENCE, calls=2, marks=150, bounds=_MIXED),
    Disposition(
        "ConfBridge, three parties",
        _random_chunks,
        replace(_CONFERENCE, name="conference-of-three", bridge="conference of three"),
        calls=2,
        marks=150,
        bounds=_MIXED,
    ),
    Disposition(
        "ConfBridge, flushed at a random moment",
        _interrupted,
        _CONFERENCE,
        calls=2,
        marks=100,
        bounds=_MIXED,
    ),
    Disposition("caller hangs up", _caller_hangs_up, calls=2),
    Disposition("application hangs up", _application_hangs_up, _JSON, calls=2),
    Disposition("application closes WebSocket", _application_closes, calls=2),
)


@dataclass(frozen=True)
class Interruptions:
    """All flushes of the calls that were interrupted at random moments."""

    count: int
    worst_bytes: int
    """between MEDIA_FLUSHED.played and the bytes on the wire"""
    worst_since_mark_ms: float
    seeds: str


def interruptions(rows: Sequence[Row]) -> Interruptions:
    """The summary of the rows that say they are interruptions."""
    chosen = [row for row in rows if row.disposition.interrupts]
    flushes = [
        one
        for row in chosen
        for call in row.calls
        for one in call.accounts.verdicts
        if one.name.startswith("MEDIA_FLUSHED")
    ]
    return Interruptions(
        len(flushes),
        max((abs(one.difference_bytes or 0) for one in flushes), default=0),
        max((abs(one.since_mark_difference_ms or 0.0) for one in flushes), default=0.0),
        ", ".join(call.name.rpartition("/")[2] for row in chosen for call in row.calls),
    )


# ---- running them --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What became of a disposition's calls."""

    disposition: Disposition
    calls: tuple[LiveCall, ...]

    @property
    def marks(self) -> int:
        """MARKs sent."""
        return sum(one.offset is not None for call in self.calls for one in call.result.marks)

    def outcomes(self, outcome: str | None) -> int:
        """Marks that were first answered so; None: that were not answered."""
        return sum(
            one.outcome == outcome
            for call in self.calls
            for one in call.result.marks
            if one.offset is not None
        )

    def verdicts(self, *kinds: Verdict) -> int:
        """Marks with one of these verdicts."""
        return sum(one.verdict in kinds for call in self.calls for one in call.result.marks)

    @property
    def difference_bytes(self) -> int | None:
        """The largest difference between reported and captured played bytes; None for none."""
        differences = [
            one.difference_bytes
            for call in self.calls
            for one in call.accounts.verdicts
            if one.difference_bytes is not None
        ]
        return max(differences, key=abs) if differences else None

    @property
    def failures(self) -> list[str]:
        """Why it failed, as text."""
        texts = []
        for call in self.calls:
            texts += call.failures
            texts += [
                f"{call.accounts.failure_text(one)}   {call.folder}"
                for one in call.accounts.verdicts
                if one.explanation
            ]
            if wrong := self.disposition.check(call):
                texts.append(f"{wrong}   {call.folder}")
        if missing := self.outcomes(None):
            texts.append(f"{missing} marks were not answered   {self.calls[0].folder.parent}")
        return [f"{self.disposition.name}: {text}" for text in texts]

    @property
    def verdict(self) -> str:
        """FAIL if any call failed or a mark was not answered, else INCONCLUSIVE or PASS."""
        kinds = {_verdict(self.disposition, call) for call in self.calls}
        if "FAIL" in kinds or self.outcomes(None):
            return "FAIL"
        return "INCONCLUSIVE" if "INCONCLUSIVE" in kinds else "PASS"


def _verdict(disposition: Disposition, call: LiveCall) -> str:
    marks = call.result.verdict
    if marks == "FAIL" and late_on_a_busy_host(call.result):
        marks = "INCONCLUSIVE"
    kinds = {marks, call.accounts.verdict}
    if "FAIL" in kinds or disposition.check(call):
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in kinds else "PASS"


def late_on_a_busy_host(verdict: CallVerdict) -> bool:
    """Whether lateness is all that the judge complains of, and the host is to blame for it.

    The judge excuses a late answer by the stalls seen in that very moment. On a busy host they do
    not show all: the process that watches may be run while Asterisk is not.
    """
    failures = {one.verdict for one in verdict.marks} & FAILURES
    times = [place.time_ns for place in verdict.places]
    if failures != {Verdict.LATE} or not times:
        return False
    begin_ns, end_ns = min(times), max(times)
    stalled_ns = sum(
        max(0, min(end, end_ns) - max(begin, begin_ns)) for begin, end in verdict.ruler.stalls
    )
    processors = len(os.sched_getaffinity(0))
    return stalled_ns > _BUSY * processors * (end_ns - begin_ns)


def planned(marks: int) -> list[tuple[Disposition, int]]:
    """Every disposition with its marks a call, so that there are ``marks`` in all or more."""
    fixed = sum(one.calls * one.marks for one in DISPOSITIONS if not one.share)
    rest = max(0, marks - fixed)
    return [
        (one, max(one.marks, ceil(rest * one.share / one.calls)) if one.share else one.marks)
        for one in DISPOSITIONS
    ]


def _chosen(marks: int, only: Sequence[str]) -> list[tuple[Disposition, int]]:
    chosen = [
        (one, count)
        for one, count in planned(marks)
        if not only or any(text in one.name for text in only)
    ]
    if not chosen:
        raise InputFault(
            f"no disposition has {' or '.join(only)} in its name",
            f"There are: {', '.join(one.name for one in DISPOSITIONS)}.",
        )
    return chosen


def calls_planned(marks: int, only: Sequence[str] = ()) -> int:
    """How many calls `run_dispositions` will place, repeated ones not counted."""
    return sum(one.calls for one, _ in _chosen(marks, only))


def run_dispositions(
    bench: Bench,
    module: Module,
    marks: int,
    seed: int,
    on_call: Callable[[int], None],
    only: Sequence[str] = (),
) -> list[Row]:
    """Place the calls of every disposition. ``on_call`` gets the number of calls done.

    ``only``: of those whose names contain one of these texts.
    """
    return asyncio.run(_run(bench, module, marks, seed, on_call, only))


async def _run(
    bench: Bench,
    module: Module,
    marks: int,
    seed: int,
    on_call: Callable[[int], None],
    only: Sequence[str],
) -> list[Row]:
    chosen = _chosen(marks, only)
    waiting = [
        _Placed(disposition, seed + number, count)
        for disposition, count in chosen
        for number in range(disposition.calls)
    ]
    calls: dict[Disposition, list[LiveCall]] = {disposition: [] for disposition, _ in chosen}
    done = 0
    while waiting:
        batch, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        placed = await asyncio.gather(*(_place(bench, module, one) for one in batch))
        again = []
        for one, call in zip(batch, placed, strict=True):
            call.judge()
            inconclusive = _verdict(one.disposition, call) == "INCONCLUSIVE"
            if inconclusive and one.attempt < _ATTEMPTS:
                again.append(replace(one, attempt=one.attempt + 1))
                continue
            calls[one.disposition].append(call)
            done += 1
            on_call(done)
        waiting = again + waiting
    return [Row(disposition, tuple(calls[disposition])) for disposition, _ in chosen]


@dataclass(frozen=True)
class _Placed:
    """A call that is to be placed."""

    disposition: Disposition
    seed: int
    marks: int
    attempt: int = 1

    @property
    def name(self) -> str:
        again = f"-again-{self.attempt}" if self.attempt > 1 else ""
        return f"{self.disposition.name}/seed-{self.seed}{again}"


async def _place(bench: Bench, module: Module, one: _Placed) -> LiveCall:
    disposition = one.disposition
    async with bench.call(
        one.name,
        disposition.extension,
        disposition.bounds,
        disposition.receive_buffer_bytes,
        judged_later=True,
    ) as call:
        await disposition.script(Agent(call, module), random.Random(one.seed), one.marks)
    return call


@dataclass(frozen=True)
class Memory:
    """What Asterisk takes for pending marks."""

    marks: int
    bytes_a_mark: float
    id_bytes: int
    """length of the marks' ids"""


def measure_memory(bench: Bench) -> Memory:
    """Let many calls have as many marks pending as they may, and look how Asterisk grows."""
    return asyncio.run(_measure_memory(bench))


async def _measure_memory(bench: Bench) -> Memory:
    grown = 0
    up: list[MediaSession] = []
    async with AsyncExitStack() as stack:
        for number in range(_MEMORY_CALLS):
            call = await stack.enter_async_context(bench.call(f"memory/{number}", _PLAIN))
            await call.session.pause()
            await call.session.send_media(position_code.encode(0, _FRAME))
            # What only the first mark of a channel takes is not meant.
            await _fill(call.session, 0, _WARM_UP_MARKS)
            up.append(call.session)
        before = _resident_bytes(bench.instance.pid)
        for session in up:
            await _fill(session, _WARM_UP_MARKS, PENDING_MAX)
        grown = _resident_bytes(bench.instance.pid) - before
    marks = _MEMORY_CALLS * (PENDING_MAX - _WARM_UP_MARKS)
    return Memory(marks, grown / marks, _MEMORY_ID_BYTES)


async def _fill(session: MediaSession, begin: int, end: int) -> None:
    for number in range(begin, end):
        await session.mark(f"{number:0{_MEMORY_ID_BYTES}}")
    await session.report_playback()
    await session.wait_event("PLAYBACK", marks=str(end))


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
