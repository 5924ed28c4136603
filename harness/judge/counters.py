"""Holds Asterisk's playback counters against the wire: MEDIA_FLUSHED and PLAYBACK. Pure.

A byte was played when it was found in an RTP packet. At a flush that is every byte sent before it
that ever appears: the packet that was being sent comes a moment after the flush.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from chan_websocket.protocol import STAGES, SUSPENSION_REASONS, Event
from harness.judge.conversation import (
    Drop,
    DroppedMedia,
    Flush,
    Request,
    SentEvent,
    Suspension,
)
from harness.judge.evidence import Evidence
from harness.judge.far_end import FarEnd
from harness.judge.verdicts import CounterVerdict, Verdict

_HANG_UP_NS = 500_000_000
"""Where media ceases so long before Asterisk takes leave, that need not have ended it: a hang-up is
some messages between it and the caller, then between its threads"""

_IN_FLIGHT_FRAMES = 5
"""at most are on their way to the caller when media begins to wait: a mixer holds up to four"""

_COUNTS = ("received", "played", "queued", "flushed", "dropped")
_NEVER_BACK = ("received", "played", "flushed", "dropped", "underruns", "played_ms")


def judge_counters(evidence: Evidence) -> tuple[CounterVerdict, ...]:
    """The verdicts of a call's playback counters: flushes first, the last PLAYBACK at last."""
    checks = _Checks(evidence)
    conversation = evidence.conversation
    flushes = [_judge_flush(checks, one) for one in conversation.flushes if one.id is not None]
    unasked = [
        _verdict(sent.event.name, sent, Verdict.UNASKED, why) for sent, why in conversation.unasked
    ]
    reports = _judge_reports(checks)
    drops = [_judge_drop(checks, one) for one in conversation.drops if not one.by_bridge]
    requests = [_judge_request(checks, request) for request in conversation.requests]
    suspensions = [_judge_suspension(checks, one) for one in conversation.suspensions]
    found = [*flushes, *unasked, *reports, *drops, *suspensions, *requests, _judge_final(checks)]
    verdicts = [one for one in found if one is not None]
    if evidence.uncertainty.measurement.capture_drops:
        verdicts = [_unless_not_captured(one) for one in verdicts]
    return tuple(verdicts)


# ---- what they have in common --------------------------------------------------------------------


@dataclass(frozen=True)
class _Faults:
    """What is wrong with an event."""

    plain: list[str]
    """whatever the wire says: it contradicts the messages, or itself"""
    wire: list[str]
    """by what was seen on the wire"""


class _Checks:
    """What counters of any kind are held against."""

    def __init__(self, evidence: Evidence) -> None:
        self.codec = evidence.codec
        self.conversation = evidence.conversation
        self.wire = evidence.wire
        self.uncertainty = evidence.uncertainty
        self.frame_ns = self.uncertainty.frame_ns
        self.packet_ns = self.uncertainty.packet_ns
        self.late_ns = self.uncertainty.late_ns
        self.error_bytes = self.uncertainty.error_bytes
        self.dropped = DroppedMedia(self.conversation.drops)
        self.hidden = self.dropped.hidden(self.codec.frame_bytes)
        self.stalled_ns = self.uncertainty.stalled_behind(self.wire.last_audio_ns)
        self.far_end = FarEnd(evidence)

    def never(self, name: str) -> CounterVerdict | None:
        """What to say of an event that did not come; None where nobody was there to get it."""
        if self.conversation.closed_by == "application":
            return None
        if not self.conversation.closed_by:
            why = "it did not come, but the connection was still open when listening ended"
            return CounterVerdict(name, None, None, None, None, Verdict.INCONCLUSIVE, why)
        return CounterVerdict(name, None, None, None, None, Verdict.NEVER, "it did not come")

    def in_time(self, found: CounterVerdict, due_ns: int, due: str) -> CounterVerdict:
        """``found``, or what to say instead when it came too late."""
        came_ns = found.time_ns or 0
        if came_ns <= due_ns + self.late_ns:
            return found
        explanation = f"it came {(came_ns - due_ns) / 1e6:.3f} ms later than {due}"
        excuse = self.uncertainty.excuse(due_ns, came_ns)
        verdict = Verdict.INCONCLUSIVE if excuse else Verdict.LATE
        why = f"{explanation}; {excuse}" if excuse else explanation
        return replace(found, verdict=verdict, explanation=why)

    def against_the_wire(
        self,
        name: str,
        sent: SentEvent,
        played: int | None,
        since_ms: float | None,
        faults: _Faults,
    ) -> CounterVerdict:
        """The verdict by its faults. ``played`` is what was seen, None where nothing says that."""
        why = "; ".join([*faults.plain, *faults.wire])
        verdict = Verdict.WRONG if why else Verdict.PASS
        reported = sent.event.count("played") if played is not None else None
        if verdict is Verdict.WRONG and not faults.plain:
            unreliable = self._unreliable(reported or 0, played)
            if unreliable:
                verdict, why = Verdict.INCONCLUSIVE, f"{unreliable}; {why}"
        return CounterVerdict(name, sent.time_ns, reported, played, since_ms, verdict, why)

    def _unreliable(self, reported: int, played: int | None) -> str:
        """Why nothing can be held against the wire; empty if it can."""
        if self.wire.sequence.missing:
            return "RTP is missing"
        if not self.wire.is_certain:
            return "packets could not be located"
        cut_short = played is not None and reported > played == self.wire.seen(
            0, self.conversation.sent
        )
        if self.stalled_ns and cut_short:
            return f"the host stalled for {self.stalled_ns / 1e6:.0f} ms behind the last audio"
        return ""

    def count(self, event: Event, name: str, expected: int, error: int = 0) -> list[str]:
        """What is wrong with a count of bytes."""
        said = event.count(name)
        if said is not None and abs(said - expected) <= error:
            return []
        return [f"{name} is {said}, but it should be {expected}"]

    def ms(self, event: Event, name: str, count: int) -> list[str]:
        """What is wrong with the media time of so many bytes."""
        said, expected = event.decimal(name), self.media_ms(count)
        if said is not None and abs(said - expected) <= self.uncertainty.error_ms:
            return []
        return [f"{name} is {said}, but it should be {expected:.3f}"]

    def media_ms(self, count: int) -> float:
        """Media time of so many bytes."""
        return count * 1000 / self.codec.bytes_per_second

    def hole(self, begin: int, end: int, more: int = 0) -> list[str]:
        """What is wrong where bytes were never sent: all up to ``end`` should be, and ``more``."""
        missing = max(0, self.wire.missing(begin, end)) + more
        unreported = missing - self.dropped.within(begin, end + more)
        if unreported <= self.error_bytes:
            return []
        return [
            f"{unreported} bytes from {begin} on were never sent, "
            "and nothing flushed or dropped them"
        ]


# ---- MEDIA_FLUSHED -------------------------------------------------------------------------------


def _judge_flush(checks: _Checks, flush: Flush) -> CounterVerdict | None:
    name = f'MEDIA_FLUSHED "{flush.id}"'
    if not flush.replies:
        return checks.never(name)
    sent = flush.replies[0]
    if len(flush.replies) > 1:
        return _verdict(name, sent, Verdict.TWICE, f"it came {len(flush.replies)} times")
    marks = [
        mark
        for mark in checks.conversation.marks[: flush.marks]
        if mark.command == "MARK" and mark.offset <= flush.end  # the others have yet to come
    ]
    for mark in marks:
        if mark.ack is None or mark.ack.rank > sent.rank:
            why = (
                f'it came before the acknowledgement of the mark "{mark.id}", which was sent before'
            )
            return _verdict(name, sent, Verdict.EARLY, f"{why} the flush")
    wire = checks.wire
    played = wire.seen(0, flush.end)
    dropped = sum(
        drop.bytes for drop in checks.conversation.drops if flush.begin <= drop.offset < flush.end
    )
    flushed = wire.missing(flush.begin, flush.end) - dropped
    faults = _Faults(
        checks.far_end.faults(sent),
        [
            *checks.count(sent.event, "played", played, checks.error_bytes),
            *checks.count(sent.event, "flushed", flushed, checks.error_bytes),
            *checks.ms(sent.event, "played_ms", played),
            *checks.ms(sent.event, "flushed_ms", flushed),
            *checks.hole(flush.begin, wire.last_seen(flush.begin, flush.end)),
        ],
    )
    difference_ms = _judge_last_mark(checks, flush, sent, faults)
    found = checks.against_the_wire(name, sent, played, difference_ms, faults)
    if found.verdict is not Verdict.PASS:
        return found
    # It waits for the frame or packet that is in play, and for the acknowledgements of the marks
    # before it.
    acks_ns = max((mark.ack.time_ns for mark in marks if mark.ack), default=0)
    due_ns = max(flush.time_ns, acks_ns, wire.played_ns(flush.end)) + checks.packet_ns
    return checks.in_time(found, due_ns, "a frame or packet after all that it waits for")


def _judge_last_mark(
    checks: _Checks, flush: Flush, sent: SentEvent, faults: _Faults
) -> float | None:
    """Adds to ``faults`` what is wrong with the mark it names; by how many ms its time differs."""
    event = sent.event
    since_ms = event.decimal("since_mark_ms")
    # One that was set behind the flush may be of media that had been played before it.
    played = (
        mark
        for mark in checks.conversation.marks
        if mark.command == "MARK"
        and mark.ack
        and mark.ack.outcome == "played"
        and mark.ack.rank < sent.rank
    )
    last = max(played, key=lambda mark: (mark.offset, mark.number), default=None)
    if last is None:
        if "last_mark" in event.fields or since_ms is not None:
            faults.plain.append("it names a mark, but none had been played")
        return None
    said = event.fields.get("last_mark")
    if said != last.id or type(said) is not type(last.id):
        faults.plain.append(f"last_mark is {said!r}, but the last one played is {last.id!r}")
    since = checks.wire.seen(last.offset, flush.end)
    faults.wire.extend(checks.ms(event, "since_mark_ms", since))
    return None if since_ms is None else since_ms - checks.media_ms(since)


# ---- PLAYBACK ------------------------------------------------------------------------------------


def _judge_request(checks: _Checks, request: Request) -> CounterVerdict | None:
    """Whether a PLAYBACK came that was asked for; what it says is judged by itself."""
    if request.reply is None:
        closed_ns = checks.conversation.closed_ns
        unread = closed_ns - request.time_ns <= checks.late_ns + checks.frame_ns
        return None if closed_ns and unread else checks.never("PLAYBACK")
    if request.periodic:
        return None
    passed = _verdict("PLAYBACK", request.reply, Verdict.PASS, "")
    due_ns = request.time_ns + checks.frame_ns
    found = checks.in_time(passed, due_ns, "a frame after its command")
    return None if found.verdict is Verdict.PASS else found


def _judge_reports(checks: _Checks) -> list[CounterVerdict]:
    verdicts = []
    before: Event | None = None
    for report in checks.conversation.reports:
        event = report.sent.event
        why = _inconsistent(event, before, report.received) or _without_stage(checks, event)
        before = event
        if why:
            verdicts.append(_verdict("PLAYBACK", report.sent, Verdict.WRONG, why))
            continue
        plain = checks.ms(event, "played_ms", event.count("played") or 0)
        plain += checks.far_end.faults(report.sent)
        wire = [] if report.is_final else _played_by(checks, report.sent)
        faults = _Faults(plain, wire)
        one = checks.against_the_wire("PLAYBACK", report.sent, None, None, faults)
        verdicts.append(_unless_stalled(checks, one) if wire else one)
    return verdicts


# ---- MEDIA_DROPPED -------------------------------------------------------------------------------


def _judge_drop(checks: _Checks, drop: Drop) -> CounterVerdict:
    """Whether what it tells of never left: so many bytes from its offset on, that one first."""
    wire = checks.wire
    plain, on_wire = [], []
    if drop.sent.event.count("offset") is None or drop.bytes <= 0:
        plain.append(f"it names no bytes: {dict(drop.sent.event.fields)}")
    missing = wire.missing(drop.offset, max(drop.offset, drop.received))
    inexact = checks.uncertainty.loss_error_bytes
    if drop.bytes > missing + inexact:
        on_wire.append(
            f"bytes is {drop.bytes}, but {missing} from {drop.offset} on were never sent"
        )
    if not inexact and wire.seen(drop.offset, drop.offset + 1):
        on_wire.append(f"the byte at its offset {drop.offset} was sent")
    return checks.against_the_wire("MEDIA_DROPPED", drop.sent, None, None, _Faults(plain, on_wire))


# ---- PLAYBACK_SUSPENDED, PLAYBACK_RESUMED --------------------------------------------------------


def _judge_suspension(checks: _Checks, suspension: Suspension) -> CounterVerdict:
    """Whether media waited for so long as Asterisk said, but for what was on its way by then."""
    name, first = "PLAYBACK_SUSPENDED", suspension.sent
    plain, wire = [], []
    reason = first.event.fields.get("reason")
    if reason not in SUSPENSION_REASONS:
        plain.append(f"the reason is {reason!r}")
    before: Event | None = None
    for sent in [first, *([suspension.resumed] if suspension.resumed else [])]:
        event = sent.event
        if event.is_json:
            received = checks.conversation.sent_until(sent.time_ns)
            plain += [why] if (why := _inconsistent(event, before, received)) else []
            plain += checks.ms(event, "played_ms", event.count("played") or 0)
            wire += _played_by(checks, sent)
        before = event
    end_ns = suspension.resumed.time_ns if suspension.resumed else checks.conversation.closed_ns
    if end_ns:
        under_way = _IN_FLIGHT_FRAMES * checks.frame_ns + checks.uncertainty.tolerance_ns
        # The first packet behind it may be late, and so begin before it by the packets' clock.
        begun = checks.wire.begun_by(end_ns - checks.frame_ns)
        begun -= checks.wire.begun_by(first.time_ns + under_way)
        if begun > checks.error_bytes:
            wire.append(f"{begun} bytes left while Asterisk said that media waited")
    faults = _Faults(plain, wire)
    one = checks.against_the_wire(name, first, None, None, faults)
    return _unless_stalled(checks, one) if wire else one


def _inconsistent(event: Event, before: Event | None, sent: int) -> str:
    """What is wrong with a PLAYBACK by itself, and after the one before it; empty if nothing is."""
    known = [count for name in _COUNTS if (count := event.count(name)) is not None]
    if len(known) < len(_COUNTS):
        return f"counts are missing: {dict(event.fields)}"
    received, rest = known[0], sum(known[1:])
    if rest != received:
        return f"received is {received}, but the others add up to {rest}"
    if received > sent:
        return f"received is {received}, but {sent} bytes had been sent"
    for name in _NEVER_BACK:
        now, then = event.decimal(name), before.decimal(name) if before else None
        if now is not None and then is not None and now < then:
            return f"{name} went back from {then:g} to {now:g}"
    return ""


def _without_stage(checks: _Checks, event: Event) -> str:
    """What is wrong with the stage that a PLAYBACK names; empty if nothing is."""
    stage = event.fields.get("stage")
    known = checks.conversation.playback_marks < 2 or stage in STAGES
    return "" if known else f"stage is {stage!r}"


def _played_by(checks: _Checks, sent: SentEvent) -> list[str]:
    """What is wrong when a report says that more was played by now than can have been, or less.

    It was made up to ``late_ns`` before it came. A frame more or less is the difference between
    the driver's clock and that of the packets.
    """
    wire, frame, frame_ns = checks.wire, checks.codec.frame_bytes, checks.frame_ns
    said = sent.event.count("played") or 0
    least = wire.played_by(sent.time_ns - checks.late_ns - frame_ns)
    most = wire.begun_by(sent.time_ns + frame_ns + checks.uncertainty.tolerance_ns)
    # A frame that was delivered to the core as the call ended need not have left.
    over = sent.time_ns > wire.played_ns(checks.conversation.sent) - frame_ns
    most += checks.error_bytes + (frame if over else 0)
    least -= checks.error_bytes + checks.hidden
    if least <= said <= most:
        return []
    return [f"played is {said}, but it was between {max(least, 0)} and {most} then"]


def _unless_stalled(checks: _Checks, one: CounterVerdict) -> CounterVerdict:
    time_ns = one.time_ns or 0
    near_ns = checks.late_ns + 2 * checks.frame_ns
    stalled = checks.uncertainty.stalled_near(time_ns - near_ns, time_ns + near_ns)
    if one.verdict is not Verdict.WRONG or not stalled:
        return one
    why = f"the host stalled around it; {one.explanation}"
    return replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why)


# ---- the last PLAYBACK ---------------------------------------------------------------------------


def _judge_final(checks: _Checks) -> CounterVerdict | None:
    """The last PLAYBACK, which a channel gets that has opted in."""
    conversation, wire = checks.conversation, checks.wire
    finals = [report for report in conversation.reports if report.is_final]
    name = "PLAYBACK final"
    if not finals:
        return checks.never(name) if conversation.opted_in else None
    sent = finals[0].sent
    if len(finals) > 1:
        return _verdict(name, sent, Verdict.TWICE, f"it came {len(finals)} times")
    if not conversation.opted_in:
        return _verdict(name, sent, Verdict.UNASKED, "the application had not opted in")
    event = sent.event
    played = wire.seen(0, conversation.sent)
    expected = played - _played_unreported(checks, event, played)
    expected += _cut_off(checks, event, played)
    begin = conversation.flushes[-1].end if conversation.flushes else 0
    end = wire.last_seen(begin, conversation.sent)
    faults = _Faults(
        [
            *checks.count(event, "received", conversation.sent),
            *checks.count(event, "queued", 0),
            *checks.count(event, "marks", 0),
        ],
        [
            *checks.count(event, "played", expected, checks.error_bytes),
            *checks.hole(begin, end, _left_lying(checks, sent, end)),
        ],
    )
    dropped, reported = event.count("dropped") or 0, checks.dropped.total
    if reported != dropped:
        faults.plain.append(f"dropped is {dropped}, but MEDIA_DROPPED events reported {reported}")
    if conversation.events[-1].rank != sent.rank:
        faults.plain.append("it was not the last event")
    return checks.against_the_wire(name, sent, played, None, faults)


def _left_lying(checks: _Checks, sent: SentEvent, end: int) -> int:
    """How many bytes behind the last that left had their time to do so, and did not.

    What is still to be played when a call ends is flushed. Not so where media had ceased before.
    The beginning of a frame may wait for its rest.
    """
    conversation = checks.conversation
    if conversation.paused or conversation.suspended or conversation.direction_in:
        return 0
    going_ns = max(conversation.going_ns, checks.wire.played_ns(conversation.sent))
    if sent.time_ns - going_ns <= _HANG_UP_NS + checks.late_ns + 2 * checks.stalled_ns:
        return 0
    left = conversation.sent - end
    return left if left >= checks.codec.frame_bytes else 0


def _played_unreported(checks: _Checks, event: Event, played: int) -> int:
    """How many bytes an event may hide that were played after all, and does."""
    hidden = played - (event.count("played") or 0)
    return min(max(hidden, 0), checks.hidden)


def _cut_off(checks: _Checks, event: Event, played: int) -> int:
    """How many bytes of the call's last frame were delivered to the core and went nowhere.

    Played means delivered. When the call ends while media plays, the caller's side may be gone
    already when a frame is delivered: that one frame is on nobody's wire. Where played means sent,
    as the event's stage says, there is no such frame.
    """
    if event.fields.get("stage") == "sent":
        return 0
    flushes = [flush for flush in checks.conversation.flushes if flush.replies]
    flushed = sum(flush.replies[0].event.count("flushed") or 0 for flush in flushes)
    if (event.count("flushed") or 0) <= flushed:
        return 0  # nothing was left to play
    frame = checks.codec.frame_bytes
    return frame if (event.count("played") or 0) - played == frame else 0


def _unless_not_captured(one: CounterVerdict) -> CounterVerdict:
    """What the capture dropped may be what this needs."""
    if one.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE):
        return one
    why = f"the capture missed packets; {one.explanation}"
    return replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why)


def _verdict(name: str, sent: SentEvent, verdict: Verdict, why: str) -> CounterVerdict:
    return CounterVerdict(name, sent.time_ns, None, None, None, verdict, why)
