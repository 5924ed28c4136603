"""`harness torture --storm`: legal WebSocket traffic, cut at random, on calls that are measured.

What applications send comes in fragments, TLS records and TCP segments of any size, with pauses of
any length between them, with every command. Each call is judged: each mark has its one
acknowledgement, the counters are whole, the media is in the RTP byte for byte. And the media goes
on: no gap but those that the application has made itself.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import os
import shutil
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from chan_websocket import protocol
from chan_websocket.protocol import Format
from harness.application.client import ConnectionEnded
from harness.application.disturb import DisturbingSession
from harness.application.marks import coded_pieces
from harness.asterisk.configuration import Extension
from harness.bench import Bench, Conditions, LiveCall, bench
from harness.errors import HarnessFault
from harness.install.build import Build
from harness.judge.call import judge_call
from harness.judge.evidence import Evidence, read_evidence
from harness.judge.verdicts import Bounds, Verdict
from harness.media.position_code import DECODABLE_BYTES
from harness.record.capture_files import load_timeline
from harness.record.verdict_files import write_call_files
from harness.torture.run import TorturePlan, TortureResult

LONGEST_GAP_NS = 30_000_000
"""from the end of a packet, or from when the application had sent what comes next, to that"""
_BOUNDS = Bounds(late_ns=1_000_000_000)
"""An acknowledgement may be late here: the machine has 20 calls, and each is judged meanwhile."""
_ACTIONS = 150
"""of a call"""
_AHEAD_S = 6.0
"""so much of its media an application sends ahead at most"""
_FRAME = 160
_FRAME_NS = 20_000_000
_LAST_ACK_S = 30.0
_MEAN_PAUSE_S = 0.05


def storm(
    build: Build,
    folder: Path,
    module: Path,
    plan: TorturePlan,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[float], None] = lambda seconds: None,
) -> TortureResult:
    """Start an Asterisk with this module and place calls on it until the plan's time is over.

    ``environment`` is added to Asterisk's own. ``progress`` is told now and then how many seconds
    have passed. The folders of calls with which nothing is wrong are removed.
    """
    result = TortureResult(folder)
    with bench(build, folder, module, plan.tls, environment) as b:
        asyncio.run(_storm(b, plan, result, progress))
    return result


async def _storm(
    bench: Bench, plan: TorturePlan, result: TortureResult, progress: Callable[[float], None]
) -> None:
    started = time.monotonic()
    until = started + plan.seconds
    # A thread of this process, which would have the interpreter's lock while it waits for a
    # processor, would make all applications wait, too.
    judge = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.nice, (19,))

    async def place(slot: int) -> None:
        for number in itertools.count():
            if time.monotonic() > until:
                return
            random = Random(f"{plan.seed}/{slot}/{number}")
            name = f"{slot}-{number}"
            try:
                call = await _call(bench, random, name, until, result.counts)
            except HarnessFault as fault:
                result.faults.append(f"call {name}: {fault.what} {fault.remedy}")
                continue
            loop = asyncio.get_running_loop()
            judged = await loop.run_in_executor(judge, _judge, call.folder)
            result.counts.update(judged.counts)
            result.faults += [f"call {name}: {fault}" for fault in judged.faults]
            progress(time.monotonic() - started)

    with judge:
        await asyncio.gather(*(place(slot) for slot in range(plan.calls)))


async def _call(
    bench: Bench, random: Random, name: str, until: float, counts: Counter[str]
) -> LiveCall:
    extension = Extension(
        "storm",
        codec=random.choice(("ulaw", "alaw")),
        message_format=random.choice((Format.PLAIN, Format.JSON)),
        connection=random.choice(("outgoing", "incoming")),
    )
    conditions = Conditions(cuts=Random(random.random()))
    async with bench.call(name, extension, _BOUNDS, conditions, judged_later=True) as call:
        counts[f"calls, {extension.connection}"] += 1
        application = StormyApplication(call.session, random, counts)
        with suppress(ConnectionEnded):
            for _ in range(random.randint(_ACTIONS // 3, _ACTIONS)):
                if time.monotonic() > until:
                    break
                await application.act()
            await application.finish()
    return call


@dataclass(frozen=True)
class _Judged:
    """A call that is over."""

    faults: list[str]
    """what is wrong with it, a sentence each"""
    counts: Counter[str]


def _judge(folder: Path) -> _Judged:
    """Judge the call in ``folder``, which is removed if nothing is wrong with it."""
    timeline = load_timeline(folder)
    judged = judge_call(timeline, _BOUNDS)
    failures = write_call_files(folder, timeline, judged)
    # What the host's load makes impossible to judge is none.
    failures = [text for text in failures if f" {Verdict.INCONCLUSIVE.value}:" not in text]
    faults = [*failures, *interruptions(read_evidence(timeline, _BOUNDS))]
    if not faults:
        shutil.rmtree(folder)
    counts = {
        "marks": len(judged.marks),
        "frames of media": judged.packets,
        f"judged {judged.result}": 1,
    }
    return _Judged(faults, Counter(counts))


class StormyApplication:
    """An application whose traffic is legal and as odd as it can be.

    It speaks the codec's frames as it likes: in pieces of any size while it buffers, else in whole
    frames.
    """

    def __init__(self, session: DisturbingSession, random: Random, counts: Counter[str]) -> None:
        self._session = session
        self._random = random
        self._counts = counts
        self._began = time.monotonic()
        self._buffers = False
        self._jumps = False
        """whether the RTP goes on elsewhere in the stream: the next piece has to show where"""
        self._number = 0
        actions: list[tuple[int, Callable[[], Awaitable[object]]]] = [
            (40, self._speak),
            (20, self._wait),
            (12, self._mark),
            (6, self._mark_by_position),
            (4, self._mark_media),
            (4, self._buffer),
            (3, self._flush),
            (2, self._pause),
            (2, self._direction),
            (3, self._report),
            (4, self._others),
            (3, self._in_one_write),
        ]
        self._weights = [weight for weight, _ in actions]
        self._actions = [action for _, action in actions]

    async def act(self) -> None:
        """Do one thing. Raises ConnectionEnded when there is nobody to do it to any more."""
        [action] = self._random.choices(self._actions, self._weights)
        self._counts[action.__name__.strip("_").replace("_", " ")] += 1
        await action()

    async def finish(self) -> None:
        """Have all that was sent played, so that the judge can hold it against the RTP."""
        if self._session.format is Format.JSON:
            await self._send(protocol.command_set_direction("both"))
        await self._simple("CONTINUE_MEDIA")
        await self._simple("STOP_MEDIA_BUFFERING")
        await self._send(self._session.mark_text("end"))
        with suppress(HarnessFault):  # the judge says what did not come
            await self._session.wait_event("MARK_PLAYED", _LAST_ACK_S, id="end")
        await self._simple("HANGUP")
        with suppress(HarnessFault):
            await self._session.wait_closed()

    # --- Media ---

    def _media(self) -> bytes:
        if self._buffers:
            size = self._random.choice((1, 7, 159, 161, 3000, 9000))
            size = self._random.randint(0, size)
        else:
            size = _FRAME * self._random.randint(1, self._random.choice((1, 5, 40)))
        if self._jumps:
            size = max(size, DECODABLE_BYTES)
            self._jumps = False
        codec = str(self._session.media_start.fields["format"])
        [piece] = coded_pieces([size], self._session.sent_bytes, codec)
        return piece

    async def _speak(self) -> None:
        sent_s = self._session.sent_bytes / _FRAME * _FRAME_NS / 1e9
        ahead_s = sent_s - (time.monotonic() - self._began)
        if ahead_s > _AHEAD_S:
            await asyncio.sleep(ahead_s - _AHEAD_S)
        await self._send(self._media())

    async def _wait(self) -> None:
        await asyncio.sleep(self._random.expovariate(1 / _MEAN_PAUSE_S))

    async def _in_one_write(self) -> None:
        media = self._media()
        await self._session.send_in_one_write(
            [media, self._session.mark_text(self._id()), self._session.mark_text(self._id())]
        )

    # --- Commands ---

    async def _send(self, message: bytes | str) -> None:
        await self._session.send_cut(message, self._random)

    async def _simple(self, name: str) -> None:
        await self._send(protocol.command_simple(self._session.format, name))

    def _id(self) -> str:
        self._number += 1
        return f"m{self._number}"

    async def _mark(self) -> None:
        await self._send(self._session.mark_text(self._id()))

    async def _mark_by_position(self) -> None:
        far = self._random.choice((1, 160, 5000))
        offset = self._session.sent_bytes + self._random.randint(-far, far)
        await self._send(self._session.mark_text(self._id(), max(0, offset)))

    async def _mark_media(self) -> None:
        name = self._id()
        await self._send(protocol.command_mark_media(self._session.format, f"old-{name}"))

    async def _buffer(self) -> None:
        if self._buffers:
            ends = protocol.command_stop_buffering(self._session.format, f"by-{self._id()}")
            await self._send(ends)
        else:
            await self._simple("START_MEDIA_BUFFERING")
        self._buffers = not self._buffers

    async def _flush(self) -> None:
        flush_id = self._random.choice((None, f"f{self._id()}"))
        await self._send(protocol.command_flush(self._session.format, flush_id))
        self._buffers = False
        self._jumps = True

    async def _pause(self) -> None:
        await self._simple("PAUSE_MEDIA")
        await asyncio.sleep(self._random.uniform(0, 0.3))
        await self._simple("CONTINUE_MEDIA")

    async def _direction(self) -> None:
        if self._session.format is Format.PLAIN:
            return  # which does not know it
        await self._send(protocol.command_set_direction(self._random.choice(("in", "out"))))
        await asyncio.sleep(self._random.uniform(0, 0.1))
        if self._random.random() < 0.5:
            # Of direction "in" it is thrown away.
            await self._speak()
            self._jumps = True
        await self._send(protocol.command_set_direction("both"))

    async def _report(self) -> None:
        interval_ms = self._random.choice((None, None, 20, 0))
        await self._send(protocol.command_report_playback(self._session.format, interval_ms))

    async def _others(self) -> None:
        await self._simple(
            self._random.choice(("REPORT_QUEUE_DRAINED", "GET_STATUS", "ANSWER", "NO_SUCH_COMMAND"))
        )


# ---- the gaps ------------------------------------------------------------------------------------


def interruptions(evidence: Evidence) -> list[str]:
    """Where the media was interrupted for longer than `LONGEST_GAP_NS`, and need not have been.

    It may be where nothing more had arrived, and where the application had asked for it.
    """
    halts = _halts(evidence)
    packets = [packet for packet in evidence.wire.packets if packet.location.pieces]
    texts = []
    for before, after in pairwise(packets):
        ready_ns = evidence.conversation.sent_ns(after.location.pieces[-1].end) or 0
        halted = [end for begin, end in halts if begin < after.time_ns and end > before.time_ns]
        if sum(piece.length for piece in after.location.pieces) < _FRAME:
            # A partial frame is played when it is known that no more comes.
            closings = evidence.conversation.closings
            halted += closings[: bisect_right(closings, after.time_ns)][-1:]
        due_ns = max([before.time_ns + _FRAME_NS, ready_ns, *halted])
        late_ns = after.time_ns - due_ns
        if late_ns <= LONGEST_GAP_NS or evidence.wire.rtp_missing_within(
            before.location.pieces[-1].offset, after.location.pieces[0].end
        ):
            continue  # what was not captured may have been there
        if not evidence.uncertainty.mostly_stalled(due_ns, after.time_ns):
            texts.append(
                f"the media went on {late_ns / 1e6:.1f} ms late at {evidence.at(after.time_ns)}"
            )
    return texts


def _halts(evidence: Evidence) -> list[tuple[int, int]]:
    """From when to when the application had media halted: paused, or of direction ``in``."""
    end_ns = evidence.timeline.end_ns
    halts = [(begin, end or end_ns) for begin, end in evidence.conversation.pauses]
    began_ns = 0
    for sent in evidence.conversation.commands:
        if sent.command.direction == "in" and not began_ns:
            began_ns = sent.time_ns
        elif sent.command.direction in ("out", "both") and began_ns:
            halts.append((began_ns, sent.time_ns))
            began_ns = 0
    return halts
