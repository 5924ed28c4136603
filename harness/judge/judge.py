"""Holds every mark's answer against the audio that left: a timeline in, verdicts out. Pure.

A mark stands at an offset of the application's stream: the count of media bytes sent before it. It
is due when the last of these bytes that appeared on the wire has finished playing on the media
clock, or, when nothing before it is left to play, the moment the command itself is there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Literal

import numpy as np

from harness.capture.timeline import Codec, Message, RtpPacket, Ruler, Sender, Timeline
from harness.judge.locate import Location, locate
from harness.judge.locate_audio import ERROR_NS, Payload, locate_audio
from harness.judge.media_clock import Clocked, PacketSequence, in_order, media_clock
from harness.judge.messages import (
    DIRECTIONS,
    Losses,
    MarkId,
    as_count,
    as_id,
    as_number,
    read_command,
    read_event,
)

MarkCommand = Literal["MARK", "MARK_MEDIA"]
Outcome = Literal["played", "discarded"]


class Verdict(str, Enum):
    """What the judge says of one mark (see the failure text for why)."""

    PASS = "PASS"
    EARLY = "EARLY"
    LATE = "LATE"
    NEVER = "NEVER"
    TWICE = "TWICE"
    UNASKED = "UNASKED"
    WRONG = "WRONG"
    INCONCLUSIVE = "INCONCLUSIVE"


MS_TOLERANCE = 0.125
"""ms that a time computed from bytes may differ: one sample at 8000 Hz"""

_STALL_SAMPLE = 2
"""The stalls that were seen are a sample: those who watch are run by the rules that Asterisk's
threads are run by (see `harness.capture.stalls`), but are due at other moments. One twice as long
may have gone unseen."""

_STALLED_SHARE = 3
"""Where one part in so many of a time was stalled, the host was so busy in it that what was due
had to wait in the rest of it, too."""

_BY_CHANCE = 5
"""So many moments of a call, or more, are not late by chance where no stall was seen, if they are
most of those that marks were due in: that is the driver. On a host kept busy by eight others it was
two in five at the most. Nor if they are more than the stalls of their length that were seen at
other times: of those there were more, in every call."""

_LOSS_TOLD_NS = 500_000_000
"""So long after media was lost MEDIA_DROPPED tells of it at the latest: there are four reasons, and
ten events a second"""

_CLOSED_NS = 1_000_000_000
"""So long after Asterisk says that the call was hung up it has closed the connection, whatever else
there is to be sent: the answers to thousands of marks, over a connection that is far"""

_READ_NS = 100_000_000
"""So long after a command was sent Asterisk has read it, if the host did not stall"""

FAILURES = frozenset(Verdict) - {Verdict.PASS, Verdict.INCONCLUSIVE}


@dataclass(frozen=True)
class Bounds:
    """What is allowed; the ruler's error comes on top of it, on both sides."""

    early_ns: int = 0
    late_ns: int = 2_000_000
    slip_ns: int = 10_000_000
    """a packet sent later than this against the media clock is no ruler"""
    around_slip_ns: int = 2_000_000
    """nor are packets of which half are sent later than this"""
    ruler_ns: int = 5_000_000
    """nor is one whose times can be wrong by more: with both ends' error, half a frame of 20 ms"""


@dataclass(frozen=True)
class MarkVerdict:
    """One mark, or one answer that no mark asked for (then without offset and ``sent_ns``)."""

    id: MarkId
    command: MarkCommand
    offset: int | None
    """bytes of media sent before it"""
    sent_ns: int | None
    due_ns: int | None
    answered_ns: int | None
    outcome: Outcome | None
    """how it was answered first"""
    difference_ns: int | None
    """answered - due, where it was answered as played"""
    raw_wire_end_ns: int | None
    """end of its audio by the moment its last packet was seen, without the media clock"""
    slip_ns: int | None
    """of its last packet against the media clock"""
    audio_end_ns: int | None
    """end of its audio on the media clock; None when there is none before it"""
    verdict: Verdict
    explanation: str
    """why, in one sentence; empty for PASS"""
    reason: str = ""
    """of MARK_DISCARDED; empty where the mark was not answered so"""


@dataclass(frozen=True)
class Statistics:
    """Of the differences (answered - due), in ns."""

    count: int
    min_ns: int
    median_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int


@dataclass(frozen=True)
class PacketPlace:
    """What the judge knows of one RTP packet, for reports."""

    time_ns: int
    sequence: int
    """as on the wire"""
    location: Location
    clock: Clocked


@dataclass(frozen=True)
class CallVerdict:
    """All verdicts of a call, in the order of the marks; unasked answers come last."""

    marks: tuple[MarkVerdict, ...]
    notes: tuple[str, ...]
    """what a reader should know besides: losses, malformed commands, bytes that never left"""
    packets: int
    lost: int
    ruler: Ruler
    bounds: Bounds
    start_ns: int
    """time zero of the texts: the first thing on the timeline"""
    places: tuple[PacketPlace, ...] = field(repr=False)
    """the packets in the order of their sequence numbers"""

    @property
    def counts(self) -> dict[Verdict, int]:
        """How many marks got each verdict."""
        counter = Counter(mark.verdict for mark in self.marks)
        return {verdict: counter[verdict] for verdict in Verdict}

    @property
    def verdict(self) -> Literal["PASS", "FAIL", "INCONCLUSIVE"]:
        """FAIL when any mark failed, INCONCLUSIVE when any could not be judged or none was set."""
        if any(mark.verdict in FAILURES for mark in self.marks):
            return "FAIL"
        passed = self.marks and all(mark.verdict is Verdict.PASS for mark in self.marks)
        return "PASS" if passed else "INCONCLUSIVE"

    @property
    def statistics(self) -> Statistics | None:
        """Of this call's differences; None when there is none."""
        return statistics(self.marks)

    def relative_s(self, time_ns: int) -> float:
        """Seconds since the start of the timeline."""
        return (time_ns - self.start_ns) / 1e9

    def failure_text(self, mark: MarkVerdict, where: str = "", evidence: str = "") -> str:
        """Two lines that say what was wrong with a mark and how sure that is.

        ``where`` is what asked for it (scenario.yaml:14), ``evidence`` where to look
        (timeline.txt:88).
        """
        prefix = f"{where}: " if where else ""
        difference = (
            f"{mark.difference_ns / 1e6:+.3f} ms; " if mark.difference_ns is not None else ""
        )
        lowest = f"{-self.bounds.early_ns / 1e6:+.1f}" if self.bounds.early_ns else "0"
        return (
            f'{prefix}mark "{mark.id}" {mark.verdict.value}: {mark.explanation}\n'
            f"  ({difference}allowed {lowest} .. {self.bounds.late_ns / 1e6:+.1f} ms; "
            f"ruler +-{tolerance_ns(self.ruler) / 1e6:.2g} ms; "
            f"{self.packets} packets, {self.lost} lost)"
        ) + (f"   {evidence}" if evidence else "")


def judge(timeline: Timeline, bounds: Bounds | None = None) -> CallVerdict:
    """The verdicts of one call."""
    return _Judge(timeline, bounds or Bounds()).call_verdict()


def statistics(marks: Iterable[MarkVerdict]) -> Statistics | None:
    """Of the differences of the marks whose time could be judged, also of several calls."""
    return statistics_of(timed_differences(marks))


def timed_differences(marks: Iterable[MarkVerdict]) -> list[int]:
    """Answered - due, in ns, of each mark whose time could be judged."""
    timed = {Verdict.PASS, Verdict.EARLY, Verdict.LATE, Verdict.TWICE}
    return [
        mark.difference_ns
        for mark in marks
        if mark.difference_ns is not None and mark.verdict in timed
    ]


def statistics_of(differences: Sequence[int]) -> Statistics | None:
    """Of differences in ns; None when there is none."""
    if not differences:
        return None
    median, p95, p99 = (int(value) for value in np.percentile(differences, [50, 95, 99]))
    return Statistics(len(differences), min(differences), median, p95, p99, max(differences))


# ---- what the messages say -----------------------------------------------------------------------


@dataclass
class _Mark:
    number: int
    """counts the marks of the call"""
    id: MarkId
    command: MarkCommand
    offset: int
    flushed_to: int
    """offset of the latest flush before it: of the bytes before that, some may have gone with it"""
    sent_ns: int
    direction_in: bool = False
    """whether the application's media direction was ``in``"""
    answers: list[_Answer] = field(default_factory=list)
    end: int = 0
    """where the media ends that it waits for: its offset, or half a sample before it"""


@dataclass(frozen=True)
class _Answer:
    id: MarkId
    command: MarkCommand
    outcome: Outcome
    reason: str
    time_ns: int
    rank: int
    """counts the answers of the call"""
    said: Mapping[str, Any] | None = None
    """all fields of an answer in JSON; None for one in plain text, which has but the id"""

    @property
    def offset(self) -> int | None:
        return as_count(self.said.get("offset")) if self.said else None

    @property
    def at_ns(self) -> int | None:
        """When Asterisk says that the mark was reached, by the clock of its host."""
        at_ms = as_number(self.said.get("at")) if self.said else None
        return None if at_ms is None else round(at_ms * 1_000_000)


@dataclass
class _Conversation:
    """The messages of a call, read once."""

    stream: bytes = b""
    chunk_ends: list[int] = field(default_factory=list)
    chunk_times: list[int] = field(default_factory=list)
    marks: list[_Mark] = field(default_factory=list)
    unasked: list[_Answer] = field(default_factory=list)
    flushes: list[int] = field(default_factory=list)
    """times of FLUSH_MEDIA"""
    flushes_answered: list[int] = field(default_factory=list)
    """times of MEDIA_FLUSHED"""
    flushed_to: int = 0
    """bytes sent before the latest of them"""
    continues: list[int] = field(default_factory=list)
    """times of CONTINUE_MEDIA"""
    closings: list[int] = field(default_factory=list)
    """times of the commands after which a partial frame waits for no more bytes"""
    paused: bool = False
    direction_in: bool = False
    closed_ns: int = 0
    """when one side closed the connection: nothing can be answered any more. 0 if none did"""
    closed_by: Sender | None = None
    """who did so first"""
    notes: list[str] = field(default_factory=list)

    def sent_ns(self, end: int) -> int | None:
        """When the last of the first ``end`` bytes was sent."""
        index = bisect_left(self.chunk_ends, end)
        return self.chunk_times[index] if end > 0 and index < len(self.chunk_times) else None

    def sent_until(self, time_ns: int) -> int:
        """How many bytes had been sent by then."""
        index = bisect_right(self.chunk_times, time_ns)
        return self.chunk_ends[index - 1] if index else 0


def _read_conversation(messages: Sequence[Message]) -> _Conversation:
    talk = _Conversation()
    chunks: list[bytes] = []
    received = 0
    pending: dict[tuple[MarkCommand, MarkId], deque[_Mark]] = defaultdict(deque)
    answered: dict[tuple[MarkCommand, MarkId], _Mark] = {}
    answers = 0
    for message in messages:
        if message.kind == "close":
            talk.closed_ns, talk.closed_by = message.time_ns, message.sender
            break
        if message.kind == "binary" and message.sender == "application":
            chunks.append(message.data)
            received += len(message.data)
            talk.chunk_ends.append(received)
            talk.chunk_times.append(message.time_ns)
        elif message.kind == "text" and message.sender == "application":
            mark = _read_command(message, received, talk)
            if mark is not None:
                talk.marks.append(mark)
                pending[mark.command, mark.id].append(mark)
        elif message.kind == "text":
            if read_event(message)[0] == "MEDIA_FLUSHED":
                talk.flushes_answered.append(message.time_ns)
            answer = _read_answer(message, answers)
            if answer is None:
                continue
            answers += 1
            key = (answer.command, answer.id)
            if pending[key]:
                answered[key] = pending[key].popleft()
                answered[key].answers.append(answer)
            elif key in answered:
                answered[key].answers.append(answer)
            else:
                talk.unasked.append(answer)
    talk.stream = b"".join(chunks)
    return talk


def _read_command(message: Message, received: int, talk: _Conversation) -> _Mark | None:
    """The mark that a command of the application sets; other commands are noted in ``talk``."""
    name, mark_id, given = read_command(message)
    if name == "FLUSH_MEDIA":
        talk.flushes.append(message.time_ns)
        talk.flushed_to = received
    elif name == "PAUSE_MEDIA":
        talk.paused = True
    elif name == "CONTINUE_MEDIA":
        talk.paused = False
        talk.continues.append(message.time_ns)
    elif name == "SET_MEDIA_DIRECTION":
        direction = (message.json() or {}).get("direction")
        if direction in DIRECTIONS:
            talk.direction_in = direction == "in"
    elif name == "STOP_MEDIA_BUFFERING":
        talk.closings.append(message.time_ns)
    number = len(talk.marks)
    if name == "MARK_MEDIA":
        talk.closings.append(message.time_ns)
        return _Mark(number, given, "MARK_MEDIA", received, talk.flushed_to, message.time_ns)
    if name != "MARK":
        return None
    if mark_id is None:
        talk.notes.append(f"malformed MARK, not judged: {message.text!r}")
        return None
    talk.closings.append(message.time_ns)
    return _Mark(
        number, mark_id, "MARK", received, talk.flushed_to, message.time_ns, talk.direction_in
    )


def _read_answer(message: Message, rank: int) -> _Answer | None:
    """The answer to a mark that an event of Asterisk is."""
    name, fields = read_event(message)
    if name == "MEDIA_MARK_PROCESSED":
        mark_id = as_id(fields.get("correlation_id"))
        return _Answer(mark_id, "MARK_MEDIA", "played", "", message.time_ns, rank)
    if name not in ("MARK_PLAYED", "MARK_DISCARDED"):
        return None
    return _Answer(
        as_id(fields.get("id")),
        "MARK",
        "played" if name == "MARK_PLAYED" else "discarded",
        str(fields.get("reason", "")) if name == "MARK_DISCARDED" else "",
        message.time_ns,
        rank,
        message.json(),
    )


# ---- what the wire says --------------------------------------------------------------------------


@dataclass(frozen=True)
class _AudioEnd:
    """Where the audio before an offset ended, as far as it appeared on the wire."""

    last: int
    """offset behind the last byte that appeared"""
    end_ns: int
    """on the media clock"""
    raw_ns: int
    clock: Clocked
    certain: bool
    lost_after: bool
    """whether RTP was lost right behind it, so that more could have been played"""


class _Wire:
    """The stream's bytes on the wire, searchable by offset."""

    def __init__(self, timeline: Timeline, talk: _Conversation) -> None:
        self._codec = timeline.codec
        self.error_bytes = location_bytes(timeline.ruler, timeline.codec)
        self.sequence: PacketSequence = in_order(timeline.rtp)
        locations = _locations(timeline, self.sequence, talk)
        ready = [
            _ready_ns(one.packet, where, talk, timeline.wire)
            for one, where in zip(self.sequence.packets, locations, strict=True)
        ]
        clocks = media_clock(self.sequence.packets, timeline.wire, ready)
        self.places = tuple(
            PacketPlace(one.packet.time_ns, one.packet.sequence, location, clock)
            for one, location, clock in zip(self.sequence.packets, locations, clocks, strict=True)
        )
        self._pieces = sorted(
            ((piece, index) for index, where in enumerate(locations) for piece in where.pieces),
            key=lambda found: found[0].offset,
        )
        self._begins = [piece.offset for piece, _ in self._pieces]
        self._lost_before = [one.lost_before > 0 for one in self.sequence.packets]

    @property
    def end(self) -> int:
        """Offset behind the last byte of the stream that appeared."""
        return max((piece.end for piece, _ in self._pieces), default=0)

    @property
    def last_audio_ns(self) -> int | None:
        """When the last packet was sent that holds any of the stream."""
        return last_audio_ns(self.places)

    def audio_end(self, offset: int) -> _AudioEnd | None:
        """The end of the audio before ``offset``; None when none of it appeared."""
        # A piece that begins at the offset may be found to begin a little before it.
        place = bisect_left(self._begins, offset - self.error_bytes) - 1
        if place < 0:
            return None
        piece, index = self._pieces[place]
        packet = self.places[index]
        last = min(piece.end, offset)
        played_ns = self._ns(piece.start + last - piece.offset)
        return _AudioEnd(
            last,
            packet.clock.start_ns + played_ns,
            packet.time_ns + played_ns,
            packet.clock,
            packet.location.certain,
            last < offset - self.error_bytes and self._loss_behind(place, index),
        )

    def whole(self, offset: int) -> int:
        """``offset``, or where the sample begins in which it lies: half a sample is not played."""
        place = bisect_right(self._begins, offset - 1) - 1
        if self._codec.sample_bytes == 1 or self.error_bytes or place < 0:
            return offset
        piece, _ = self._pieces[place]
        within = piece.start + offset - piece.offset
        return offset - 1 if piece.end >= offset - 1 and within % 2 else offset

    def slip_between(self, begin_ns: int, end_ns: int) -> int:
        """The largest slip of the packets whose audio begins in this time; 0 if there is none."""
        return max(
            (
                place.clock.slip_ns
                for place in self.places
                if begin_ns <= place.clock.start_ns <= end_ns
            ),
            default=0,
        )

    def missing(self, begin: int, end: int) -> int:
        """How many of the bytes from ``begin`` to ``end`` never appeared."""
        seen = 0
        first = max(0, bisect_right(self._begins, begin) - 1)
        for place in range(first, bisect_left(self._begins, end)):
            piece, _ = self._pieces[place]
            seen += max(0, min(piece.end, end) - max(piece.offset, begin))
        return end - begin - seen

    def loss_within(self, begin: int, end: int) -> bool:
        """Whether RTP was lost between or behind the pieces that hold these bytes.

        Nothing in the packets shows that the first ones of a call were lost, or the last ones.
        Where others were, these can be, too.
        """
        outside = not self._pieces or begin < self._begins[0] or end > self._pieces[-1][0].end
        if outside and self.sequence.lost:
            return True
        first = max(0, bisect_right(self._begins, begin) - 1)
        last = max(0, bisect_left(self._begins, end) - 1)
        return any(
            self._loss_behind(place, self._pieces[place][1])
            for place in range(first, min(last + 1, len(self._pieces)))
        )

    def _loss_behind(self, place: int, index: int) -> bool:
        until = self._pieces[place + 1][1] if place + 1 < len(self._pieces) else None
        following = self._lost_before[index + 1 : until + 1 if until is not None else None]
        return any(following)

    def _ns(self, count: int) -> int:
        return count * 1_000_000_000 // self._codec.bytes_per_second


def _locations(timeline: Timeline, sequence: PacketSequence, talk: _Conversation) -> list[Location]:
    codec = timeline.codec
    if timeline.recoded is None:
        payloads = [codec.canonical(one.packet.payload) for one in sequence.packets]
        return locate(payloads, codec.canonical(talk.stream), codec.silence)
    heard = [
        Payload(one.packet.payload, one.lost_before, talk.sent_until(one.packet.time_ns))
        for one in sequence.packets
    ]
    return locate_audio(heard, talk.stream, codec, timeline.recoded)


def _ready_ns(packet: RtpPacket, where: Location, talk: _Conversation, codec: Codec) -> int | None:
    """When the application had sent all that was needed for a packet to be played."""
    if not where.pieces:
        return None
    times = [talk.sent_ns(where.pieces[-1].end), _latest(talk.continues, packet.time_ns)]
    partial = where.padding or len(packet.payload) * 1000 < codec.bytes_per_second * codec.ptime_ms
    if partial:
        times.append(_latest(talk.closings, packet.time_ns))
    return max((time for time in times if time is not None), default=None)


def _latest(times: Sequence[int], until_ns: int) -> int | None:
    index = bisect_right(times, until_ns)
    return times[index - 1] if index else None


# ---- verdicts ------------------------------------------------------------------------------------


class _Judge:
    def __init__(self, timeline: Timeline, bounds: Bounds) -> None:
        ruler = replace(timeline.ruler, location_ns=ERROR_NS if timeline.recoded else 0)
        self._timeline = timeline = replace(timeline, ruler=ruler)
        self._bounds = bounds
        self._late_ns = bounds.late_ns + tolerance_ns(ruler)
        self._early_ns = bounds.early_ns + tolerance_ns(ruler)
        self._talk = _read_conversation(timeline.messages)
        self._wire = _Wire(timeline, self._talk)
        self._losses = Losses(timeline.messages)
        for mark in self._talk.marks:
            mark.end = self._wire.whole(mark.offset)
        self._missing = self._missing_bytes()
        self._clocks_ns = _between_clocks(self._talk.marks)
        kept = [one for one in self._talk.marks if one.command == "MARK" and not _is_refused(one)]
        self._kept = [one.number for one in kept]
        self._kept_answers = sorted(one.answers[0].time_ns for one in kept if one.answers)
        self._room = self._most_pending()
        self._answered_before = _latest_answers(self._talk.marks)
        times = [message.time_ns for message in timeline.messages]
        times += [packet.time_ns for packet in timeline.rtp]
        self._start_ns = min(times, default=timeline.end_ns)
        self._until_ns = self._closed_by("application") or timeline.end_ns
        self._last_rtp_ns = max((packet.time_ns for packet in timeline.rtp), default=0)

    def call_verdict(self) -> CallVerdict:
        verdicts = [self._mark_verdict(mark) for mark in self._talk.marks]
        for index in _overtaken(self._talk.marks):
            if verdicts[index].verdict is Verdict.PASS:
                why = "it was answered after a mark that was sent later"
                verdicts[index] = replace(verdicts[index], verdict=Verdict.WRONG, explanation=why)
        verdicts = self._late_by_chance(verdicts)
        verdicts += [self._unasked(answer) for answer in self._talk.unasked]
        if self._timeline.ruler.dropped:
            why = f"the ruler lost {self._timeline.ruler.dropped} packets of this call's capture"
            verdicts = [
                replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why) for one in verdicts
            ]
        return CallVerdict(
            marks=tuple(verdicts),
            notes=tuple(self._notes()),
            packets=len(self._timeline.rtp),
            lost=self._wire.sequence.lost,
            ruler=self._timeline.ruler,
            bounds=self._bounds,
            start_ns=self._start_ns,
            places=self._wire.places,
        )

    def _mark_verdict(self, mark: _Mark) -> MarkVerdict:
        audio = self._wire.audio_end(mark.end)
        due_ns = max(mark.sent_ns, audio.end_ns) if audio else mark.sent_ns
        first = mark.answers[0] if mark.answers else None
        played = first is not None and first.outcome == "played"
        verdict, explanation = self._decide(mark, audio, due_ns)
        return MarkVerdict(
            id=mark.id,
            command=mark.command,
            offset=mark.offset,
            sent_ns=mark.sent_ns,
            due_ns=due_ns,
            answered_ns=first.time_ns if first else None,
            outcome=first.outcome if first else None,
            difference_ns=first.time_ns - due_ns if first and played else None,
            audio_end_ns=audio.end_ns if audio else None,
            raw_wire_end_ns=audio.raw_ns if audio else None,
            slip_ns=audio.clock.slip_ns if audio else None,
            verdict=verdict,
            explanation=explanation,
            reason=first.reason if first else "",
        )

    def _decide(self, mark: _Mark, audio: _AudioEnd | None, due_ns: int) -> tuple[Verdict, str]:
        # First what needs no ruler.
        if len(mark.answers) > 1:
            times = ", ".join(
                f"{answer.outcome} {self._at(answer.time_ns)}" for answer in mark.answers
            )
            return Verdict.TWICE, f"answered {len(mark.answers)} times: {times}"
        answer = mark.answers[0] if mark.answers else None
        closed_ns = self._closed_by("asterisk")
        if answer is None and mark.command == "MARK" and closed_ns > mark.sent_ns:
            return Verdict.NEVER, (
                f"not answered when Asterisk closed the connection at {self._at(closed_ns)}"
            )
        if answer and answer.offset is not None and answer.offset != mark.offset:
            return Verdict.WRONG, (
                f"the answer says offset {answer.offset}, but "
                f"{mark.offset} bytes were sent before it"
            )
        if mark.direction_in and answer and answer.outcome == "played":
            return Verdict.WRONG, (
                f"acked as played at {self._at(answer.time_ns)}, but it was set while the "
                "direction of media was 'in'"
            )
        if answer and answer.said is not None and (why := _misstated(mark, answer, answer.said)):
            return Verdict.WRONG, why
        bent = self._bent(mark, audio)
        if bent:
            return Verdict.INCONCLUSIVE, bent
        if answer is None:
            return self._unanswered(mark, audio, due_ns)
        if answer.outcome == "discarded":
            return self._discarded(mark, answer, due_ns)
        return self._played(mark, answer, audio, due_ns)

    def _bent(self, mark: _Mark, audio: _AudioEnd | None) -> str:
        """Why this mark cannot be judged; empty when it can."""
        if audio is None:
            lost = mark.offset > 0 and self._wire.sequence.lost > 0
            return "RTP was lost, and none of its audio was seen" if lost else ""
        if audio.lost_after:
            return f"RTP was lost where its audio ends, after byte {audio.last}"
        if not audio.certain:
            return "its last packet could be from several places of the stream"
        if audio.raw_ns <= mark.sent_ns:
            return ""  # already over when the mark was set, however late the packet was
        slip_ms, around_ms = audio.clock.slip_ns / 1e6, audio.clock.around_slip_ns / 1e6
        if audio.clock.slip_ns > self._bounds.slip_ns:
            return f"the packet its audio ends in was sent {slip_ms:.1f} ms late"
        if audio.clock.around_slip_ns > self._bounds.around_slip_ns:
            return f"half of the packets around were sent more than {around_ms:.1f} ms late"
        return ""

    def _unanswered(self, mark: _Mark, audio: _AudioEnd | None, due_ns: int) -> tuple[Verdict, str]:
        complete = self._complete(mark)
        flush_ns = next((time for time in self._talk.flushes if time >= mark.sent_ns), None)
        since_ns, event = due_ns, "its audio ended" if audio else "it was sent"
        within_ns = self._late_ns
        if flush_ns is not None and (not complete or flush_ns <= due_ns + self._late_ns):
            if mark.command == "MARK_MEDIA":
                return Verdict.PASS, ""  # upstream never answers a flushed one
            since_ns, event = max(due_ns, flush_ns), "it was flushed"
            within_ns += self._ptime_ns
        elif not complete and mark.flushed_to < mark.offset:
            if self._talk.paused:
                return self._not_owed("media was still paused when listening ended")
            if self._talk.direction_in:
                return self._not_owed("media still had the direction 'in' when listening ended")
            # An application can close before the first of its media has had time to leave.
            sent_ns = mark.sent_ns if self._closed_by("application") else 0
            if self._until_ns - max(self._last_rtp_ns, sent_ns) < 5 * self._ptime_ns:
                return self._not_owed("listening ended while its audio was still to come")
            event = "the last of its audio that was seen" if audio else "it was sent"
        listened_ns = self._until_ns - since_ns
        listened = f"{listened_ns / 1e9:.3f} s after {event} at {self._at(since_ns)}"
        if listened_ns <= within_ns:
            return self._not_owed(f"listening ended {listened}, which is too early")
        if self._closed_by("application"):
            return Verdict.NEVER, f"not answered; the application closed {listened}"
        return Verdict.NEVER, f"not answered; listened until {listened}"

    def _not_owed(self, why: str) -> tuple[Verdict, str]:
        """What to say of a mark whose answer was not due yet when the messages end.

        Where the application closed the connection nobody was there any more to be answered.
        """
        if self._closed_by("application"):
            return Verdict.PASS, ""
        return Verdict.INCONCLUSIVE, why

    def _discarded(self, mark: _Mark, answer: _Answer, due_ns: int) -> tuple[Verdict, str]:
        said = f"discarded at {self._at(answer.time_ns)} (reason {answer.reason or 'not given'})"
        if answer.reason == "flush":
            return self._flushed(mark, answer, said)
        if answer.reason == "hangup":
            return self._hung_up(mark, answer, due_ns, said)
        if answer.reason == "direction":
            if not mark.direction_in:
                return Verdict.WRONG, f"{said}, but the direction of media was not 'in'"
        elif answer.reason == "limit":
            return self._refused(mark, said)
        else:
            return Verdict.WRONG, f"{said}: not a reason of the protocol"
        return Verdict.PASS, ""

    def _flushed(self, mark: _Mark, answer: _Answer, said: str) -> tuple[Verdict, str]:
        flush_ns = next((time for time in self._talk.flushes if time >= mark.sent_ns), None)
        if flush_ns is None or flush_ns > answer.time_ns:
            return Verdict.WRONG, f"{said}, but nothing was flushed after it was set"
        if self._complete(mark):
            return Verdict.WRONG, f"{said}, but all of its audio left"
        # The marks in the frame that is in play are answered first, and there can be hundreds.
        ahead_ns = min(self._answered_before[mark.number], answer.time_ns)
        due_ns = max(flush_ns, ahead_ns) + self._ptime_ns
        if answer.time_ns <= due_ns + self._late_ns:
            return Verdict.PASS, ""
        ruler, difference_ns = self._timeline.ruler, answer.time_ns - due_ns
        explanation = f"{said}, {(answer.time_ns - flush_ns) / 1e6:.3f} ms after it was flushed"
        excuse = stalled_text(ruler, due_ns, answer.time_ns, self._late_ns) or chance_text(
            ruler, difference_ns, self._late_ns
        )
        if excuse:
            return Verdict.INCONCLUSIVE, f"{explanation}; {excuse}"
        return Verdict.LATE, explanation

    def _hung_up(self, mark: _Mark, answer: _Answer, due_ns: int, said: str) -> tuple[Verdict, str]:
        if self._complete(mark) and due_ns + self._late_ns < answer.time_ns:
            return Verdict.WRONG, f"{said}, but its audio had ended at {self._at(due_ns)}"
        last_ns = self._wire.last_audio_ns
        if last_ns is not None and last_ns > answer.time_ns + 2 * self._ptime_ns:
            return Verdict.WRONG, f"{said}, but audio left until {self._at(last_ns)}"
        until_ns = self._talk.closed_ns or self._timeline.end_ns
        if until_ns - answer.time_ns > _CLOSED_NS + self._late_ns:
            return Verdict.WRONG, f"{said}, but the connection was open until {self._at(until_ns)}"
        if not self._talk.closed_ns:
            return Verdict.INCONCLUSIVE, f"{said}, and listening ended before the connection did"
        return Verdict.PASS, ""

    def _refused(self, mark: _Mark, said: str) -> tuple[Verdict, str]:
        pending = self._pending(mark, mark.sent_ns) + self._flushes_pending(mark.sent_ns)
        if not pending:
            return Verdict.WRONG, f"{said}, but none was pending"
        if pending <= self._room:
            return Verdict.WRONG, (
                f"{said}, but at most {pending} were pending, and one more was kept in this call "
                f"when there were {self._room}"
            )
        return Verdict.PASS, ""

    def _pending(self, mark: _Mark, time_ns: int) -> int:
        """How many of the MARKs before this one were kept and not answered by then."""
        kept = bisect_left(self._kept, mark.number)
        return max(0, kept - bisect_left(self._kept_answers, time_ns))

    def _flushes_pending(self, time_ns: int) -> int:
        """How many answers of flushes, which wait in the same queue, there may be by then."""
        asked = sum(time <= time_ns for time in self._talk.flushes)
        return max(0, asked - sum(time < time_ns for time in self._talk.flushes_answered))

    def _most_pending(self) -> int:
        """How many MARKs were pending when one more was kept, at the most.

        Only those before the first that was refused: to refuse one takes Asterisk's reader as long
        as the application lets it wait, and what it has not read is not pending.
        """
        longest_ns = max((end - begin for begin, end in self._timeline.ruler.stalls), default=0)
        read_ns = _READ_NS + _STALL_SAMPLE * longest_ns
        most = 0
        for mark in self._talk.marks:
            if mark.command == "MARK":
                if _is_refused(mark):
                    break
                most = max(most, self._pending(mark, mark.sent_ns + read_ns))
        return most

    def _played(
        self, mark: _Mark, answer: _Answer, audio: _AudioEnd | None, due_ns: int
    ) -> tuple[Verdict, str]:
        lost = self._lost(mark, answer)
        if lost:
            return lost
        difference_ns = answer.time_ns - due_ns
        if -self._early_ns <= difference_ns <= self._late_ns:
            error_ns = self._timeline.ruler.error_ns
            if error_ns > self._bounds.ruler_ns:
                return Verdict.INCONCLUSIVE, (
                    f"it seems in time, but by a ruler that can be wrong by {error_ns / 1e6:.1f} ms"
                )
            if self._taken_late(answer.time_ns):
                return Verdict.INCONCLUSIVE, (
                    "it seems in time, but the harness itself was late to see the answer"
                )
            wrong = self._wrong_times(mark, answer, due_ns)
            return (Verdict.WRONG, wrong) if wrong else (Verdict.PASS, "")
        cause = (
            "it was sent, with nothing left to play,"
            if due_ns == mark.sent_ns
            else "its audio ended"
        )
        explanation = f"acked at {self._at(answer.time_ns)}, {cause} at {self._at(due_ns)}"
        if difference_ns < 0:
            held_ns = self._stall_before_packet(audio)
            if _STALL_SAMPLE * held_ns >= -difference_ns:
                held = f"the host stalled for {held_ns / 1e6:.0f} ms when its last packet was due"
                return Verdict.INCONCLUSIVE, f"{explanation}; {held}"
            if audio is not None and -difference_ns <= audio.clock.around_slip_ns:
                # The clock is the best of a few packets. Where they differ so much, none of them
                # need have been sent at once.
                around_ms = audio.clock.around_slip_ns / 1e6
                return Verdict.INCONCLUSIVE, (
                    f"{explanation}; half of the packets around were sent more than "
                    f"{around_ms:.2f} ms late"
                )
            return Verdict.EARLY, explanation
        stalled = stalled_text(self._timeline.ruler, due_ns, answer.time_ns, self._late_ns)
        if stalled:
            return Verdict.INCONCLUSIVE, f"{explanation}; {stalled}"
        slip_ns = self._wire.slip_between(due_ns - self._ptime_ns, answer.time_ns + self._ptime_ns)
        if slip_ns > self._bounds.slip_ns:
            return Verdict.INCONCLUSIVE, (
                f"{explanation}; media that was due then was sent {slip_ns / 1e6:.1f} ms late, too"
            )
        return Verdict.LATE, explanation

    def _wrong_times(self, mark: _Mark, answer: _Answer, due_ns: int) -> str:
        """What is wrong with the times that an answer in time states; empty if nothing is."""
        if answer.said is None:
            return ""
        played_ms = as_number(answer.said.get("played_ms")) or 0.0
        seen = mark.end - self._wire.missing(0, mark.end)
        hidden = self._losses.hidden(frame_bytes(self._timeline.codec))
        byte_ms = 1000 / self._timeline.codec.bytes_per_second
        error_ms = max(MS_TOLERANCE, byte_ms) + self._timeline.ruler.location_ns / 1e6
        least_ms, most_ms = (seen - hidden) * byte_ms - error_ms, seen * byte_ms + error_ms
        if not least_ms <= played_ms <= most_ms and not self._wire.sequence.lost:
            return f"the answer says played_ms {played_ms:g}, but it should be {seen * byte_ms:.3f}"
        dropped, told = as_count(answer.said.get("dropped")) or 0, self._losses.total
        if dropped > told and not self._left_untold(answer):
            return f"the answer says dropped {dropped}, but MEDIA_DROPPED events told of {told}"
        at_ns = answer.at_ns
        if at_ns is not None and abs(at_ns + self._clocks_ns - due_ns) > (
            self._late_ns + self._ptime_ns
        ):
            return (
                f"the answer says at {at_ns / 1e6:.3f}, but by the other answers' clock it was due "
                f"at {(due_ns - self._clocks_ns) / 1e6:.3f}"
            )
        return ""

    def _lost(self, mark: _Mark, answer: _Answer) -> tuple[Verdict, str] | None:
        """What to say of a mark answered as played when media that it stands behind is missing."""
        begin, missing, untold = self._missing[mark.number]
        if untold <= self._wire.error_bytes:
            return None
        if self._wire.loss_within(begin, mark.end):
            return Verdict.INCONCLUSIVE, f"RTP was lost, {missing} of its bytes were not seen"
        held_ns = stalled_behind_ns(self._wire.places, self._timeline)
        if held_ns and missing == mark.end - max(begin, self._wire.end):
            return Verdict.INCONCLUSIVE, (
                f"acked as played, but the host stalled for {held_ns / 1e6:.0f} ms "
                "when its audio was to leave, and the call ended"
            )
        explanation = (
            f"acked as played at {self._at(answer.time_ns)}, but {untold} of the "
            f"{mark.end - begin} bytes since the mark or flush before it never left"
        )
        if mark.command == "MARK" and self._left_untold(answer):
            return Verdict.INCONCLUSIVE, f"{explanation}; the application closed before it was told"
        return Verdict.WRONG, explanation

    def _left_untold(self, answer: _Answer) -> bool:
        """Whether the application did not stay for what may have been told after this answer."""
        return 0 < self._closed_by("application") - answer.time_ns < _LOSS_TOLD_NS

    def _missing_bytes(self) -> dict[int, tuple[int, int, int]]:
        """Of each mark that was answered as played, by its number: from which offset on its media
        had to leave, how many bytes of that did not, and how many of these nothing told of."""
        losses = self._losses
        found = {}
        played_to = 0
        for mark in self._talk.marks:
            if not mark.answers or mark.answers[0].outcome != "played":
                continue
            begin = max(played_to, mark.flushed_to)
            missing = self._wire.missing(begin, mark.end)
            found[mark.number] = (
                begin,
                missing,
                missing - losses.use_up(begin, mark.end, missing),
            )
            played_to = mark.end
        return found

    def _late_by_chance(self, verdicts: list[MarkVerdict]) -> list[MarkVerdict]:
        """``verdicts``, INCONCLUSIVE instead of LATE where a stall may have gone unseen."""
        timed = [one for one in verdicts if one.difference_ns is not None]
        late = [one for one in timed if one.verdict is Verdict.LATE]
        moments = self._moments(late)
        if moments >= _BY_CHANCE and 2 * moments > self._moments(timed):
            return verdicts
        return [self._unless_by_chance(one, late) for one in verdicts]

    def _unless_by_chance(self, one: MarkVerdict, late: Sequence[MarkVerdict]) -> MarkVerdict:
        if one.verdict is not Verdict.LATE or one.difference_ns is None:
            return one
        why = chance_text(self._timeline.ruler, one.difference_ns, self._late_ns)
        as_late = _times_apart(
            (other.due_ns or 0, other.answered_ns or 0)
            for other in late
            if (other.difference_ns or 0) >= (one.difference_ns or 0)
        )
        if not why or (as_late >= _BY_CHANCE and as_late > self._as_long(one.difference_ns)):
            return one
        why = f"{one.explanation}; {why}"
        return replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why)

    def _as_long(self, difference_ns: int) -> int:
        """How many stalls were seen of which an unseen one like them would make a mark so late."""
        excess_ns = difference_ns - self._late_ns
        return sum(
            _STALL_SAMPLE * (end - begin) >= excess_ns for begin, end in self._timeline.ruler.stalls
        )

    def _moments(self, marks: Sequence[MarkVerdict]) -> int:
        """In how many frames' time these were due: one stall makes all of such a moment late."""
        return len({(one.due_ns or 0) // self._ptime_ns for one in marks})

    def _stall_before_packet(self, audio: _AudioEnd | None) -> int:
        """The longest stall during which the packet that audio ends in was to be sent.

        Only one longer than half a frame: it can keep back several packets in a row, and then the
        clock that is taken from them is late. A shorter one makes a slip that the clock forgets.
        """
        if audio is None:
            return 0
        frame_ns = self._ptime_ns
        first_ns = audio.end_ns - 2 * frame_ns
        held = [
            end - begin
            for begin, end in self._timeline.ruler.stalls
            if begin < audio.end_ns and end > first_ns and end - begin >= frame_ns // 2
        ]
        return max(held, default=0)

    def _taken_late(self, time_ns: int) -> bool:
        """Whether a time that the client took itself was taken in a moment it did not run.

        What is shorter than the ruler's error is in that error.
        """
        ruler = self._timeline.ruler
        near_ns = ruler.error_ns
        return ruler.source == "socket" and any(
            begin < time_ns + near_ns and end > time_ns - near_ns
            for begin, end in ruler.stalls
            if end - begin > near_ns
        )

    def _closed_by(self, sender: Sender) -> int:
        """When this side closed the connection; 0 if it did not, or not first."""
        return self._talk.closed_ns if self._talk.closed_by == sender else 0

    def _complete(self, mark: _Mark) -> bool:
        """Whether the byte before the mark left; true for a mark before any media."""
        audio = self._wire.audio_end(mark.end)
        lowest = mark.end - self._wire.error_bytes
        return lowest <= 0 or (audio is not None and audio.last >= lowest)

    def _unasked(self, answer: _Answer) -> MarkVerdict:
        return MarkVerdict(
            id=answer.id,
            command=answer.command,
            offset=None,
            sent_ns=None,
            due_ns=None,
            answered_ns=answer.time_ns,
            outcome=answer.outcome,
            difference_ns=None,
            audio_end_ns=None,
            raw_wire_end_ns=None,
            slip_ns=None,
            verdict=Verdict.UNASKED,
            explanation=f"{answer.outcome} at {self._at(answer.time_ns)}, but no such mark was set",
            reason=answer.reason,
        )

    def _notes(self) -> list[str]:
        sequence, places = self._wire.sequence, self._wire.places
        foreign = sum(1 for place in places if place.location.foreign)
        sent = len(self._talk.stream)
        missing = self._wire.missing(0, sent)
        counts = [
            (sequence.lost, "RTP packets lost"),
            (sequence.duplicates, "RTP packets came twice"),
            (sequence.reordered, "RTP packets came out of order"),
            (foreign, "RTP packets hold bytes that are not the application's"),
            (missing, f"of {sent} bytes never left"),
            (self._timeline.ruler.dropped, "packets lost by the capture"),
        ]
        notes = [f"{count} {what}" for count, what in counts if count] + self._talk.notes
        if self._timeline.recoded is not None:
            codecs = f"{self._timeline.codec.name} became {self._timeline.recoded.name}"
            notes.append(f"{codecs}: located by its sound, to {ERROR_NS / 1e6:g} ms")
        return notes

    @property
    def _ptime_ns(self) -> int:
        return self._timeline.codec.ptime_ms * 1_000_000

    def _at(self, time_ns: int) -> str:
        return f"{(time_ns - self._start_ns) / 1e9:+.6f} s"


def last_audio_ns(places: Iterable[PacketPlace]) -> int | None:
    """When the last packet was sent that holds any of the stream."""
    return max((place.time_ns for place in places if place.location.pieces), default=None)


def stalled_behind_ns(places: Iterable[PacketPlace], timeline: Timeline) -> int:
    """The longest stall, of a frame or more, behind the last audio that left; 0 if there is none.

    Audio is handed over by one thread and sent by another. Where the second one was kept waiting
    until the call ended, what was handed over never left.
    """
    last_ns = last_audio_ns(places) or 0
    lengths = [end - begin for begin, end in timeline.ruler.stalls if end > last_ns]
    longest_ns = max(lengths, default=0)
    return longest_ns if longest_ns >= timeline.codec.ptime_ms * 1_000_000 else 0


def frame_bytes(codec: Codec) -> int:
    """Bytes of a full frame of the application's media."""
    return codec.bytes_per_second * codec.ptime_ms // 1000


def location_bytes(ruler: Ruler, codec: Codec) -> int:
    """How many bytes a place in the stream may be wrong by."""
    return ruler.location_ns * codec.bytes_per_second // 1_000_000_000


def tolerance_ns(ruler: Ruler) -> int:
    """The ruler's error of a difference: both of its times can be wrong, and one place."""
    return 2 * ruler.error_ns + ruler.location_ns


def stalled_text(ruler: Ruler, due_ns: int, answered_ns: int, late_ns: int) -> str:
    """Why what came later than ``late_ns`` after it was due need not be the driver's fault, by the
    stalls seen meanwhile; empty if it is."""
    difference_ns = answered_ns - due_ns
    stalled_ns = _overlap_ns(ruler.stalls, due_ns, answered_ns)
    if difference_ns - stalled_ns <= late_ns or stalled_ns * _STALLED_SHARE >= difference_ns:
        return f"the host stalled for {stalled_ns / 1e6:.1f} ms of these"
    return ""


def chance_text(ruler: Ruler, difference_ns: int, late_ns: int) -> str:
    """The same by the stalls seen at other times of the call: one may have gone unseen."""
    longest_ns = max((end - begin for begin, end in ruler.stalls), default=0)
    if difference_ns > late_ns + _STALL_SAMPLE * longest_ns:
        return ""
    return f"in this call the host kept others waiting, too, for up to {longest_ns / 1e6:.1f} ms"


def _overlap_ns(stalls: Sequence[tuple[int, int]], begin_ns: int, end_ns: int) -> int:
    """How much of a span is covered by stalls, which may overlap each other (processors)."""
    covered = 0
    for begin, end in sorted(stalls):
        begin = max(begin, begin_ns)
        end = min(end, end_ns)
        if begin < end:
            covered += end - begin
            begin_ns = end
    return covered


def _misstated(mark: _Mark, answer: _Answer, said: Mapping[str, Any]) -> str:
    """What is missing in an answer in JSON, or is not as it must be; empty if nothing is."""
    again = said.get("correlation_id")
    if again != mark.id or type(again) is not type(mark.id):
        return f"the answer says correlation_id {again!r}"
    numbers = ["offset", "at"] + (["played_ms", "dropped"] if answer.outcome == "played" else [])
    missing = [name for name in numbers if as_number(said.get(name)) is None]
    return f"the answer has no number as {', '.join(missing)}" if missing else ""


def _between_clocks(marks: Sequence[_Mark]) -> int:
    """How far the capture's clock is ahead of the one that Asterisk's ``at`` is from.

    That is mostly how long an answer takes; but Asterisk may run on another host. What is discarded
    may wait for its turn.
    """
    differences = [
        answer.time_ns - answer.at_ns
        for mark in marks
        for answer in mark.answers[:1]
        if answer.outcome == "played" and answer.at_ns is not None
    ]
    return sorted(differences)[len(differences) // 2] if differences else 0


def _latest_answers(marks: Sequence[_Mark]) -> list[int]:
    """When the latest of the MARKs before each was answered; 0 if none was."""
    times, latest_ns = [], 0
    for mark in marks:
        times.append(latest_ns)
        if mark.command == "MARK" and mark.answers and not _is_refused(mark):
            latest_ns = max(latest_ns, mark.answers[0].time_ns)
    return times


def _is_refused(mark: _Mark) -> bool:
    """Whether Asterisk said that there was no room for it."""
    return bool(mark.answers) and mark.answers[0].reason == "limit"


def _times_apart(spans: Iterable[tuple[int, int]]) -> int:
    """How many stalls it takes to cover these spans: one can be as long as those that overlap."""
    count = until_ns = 0
    for begin, end in sorted(spans):
        count += begin >= until_ns
        until_ns = max(until_ns, end)
    return count


def _overtaken(marks: Sequence[_Mark]) -> list[int]:
    """Indexes of the MARKs that were answered after one that was sent later.

    Not counted: the answer that there is no room for one more mark, which comes at once.
    """
    overtaken = []
    earliest = None
    for index in range(len(marks) - 1, -1, -1):
        mark = marks[index]
        if mark.command == "MARK" and mark.answers and not _is_refused(mark):
            rank = mark.answers[0].rank
            if earliest is not None and rank > earliest:
                overtaken.append(index)
            earliest = rank if earliest is None else min(earliest, rank)
    return overtaken
