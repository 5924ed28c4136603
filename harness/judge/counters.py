"""Holds what Asterisk counts against the wire: MEDIA_FLUSHED, PLAYBACK, MEDIA_DROPPED. Pure.

A byte was played when it was found in an RTP packet. At a flush that is every byte sent before it
that ever appears: the packet that was being handed over comes a moment after the flush.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Literal

from harness.capture.timeline import Codec, Message, Timeline
from harness.judge.judge import (
    FAILURES,
    MS_TOLERANCE,
    CallVerdict,
    Verdict,
    chance_text,
    frame_bytes,
    location_bytes,
    stalled_behind_ns,
    stalled_text,
    tolerance_ns,
)
from harness.judge.messages import (
    DIRECTIONS,
    Losses,
    MarkId,
    as_count,
    as_id,
    as_number,
    asks,
    asks_once,
    read_command,
    read_event,
)

_HANG_UP_NS = 500_000_000
"""Where media ceases so long before Asterisk takes leave, that need not have ended it: a hang-up is
some messages between it and the caller, then between its threads"""

_COUNTS = ("received", "played", "queued", "flushed", "dropped")
_NEVER_BACK = ("received", "played", "flushed", "dropped", "underruns", "played_ms")


@dataclass(frozen=True)
class AccountVerdict:
    """One account that Asterisk gave, or owes."""

    name: str
    """of the event, with its id if it has one"""
    time_ns: int | None
    """None when it never came"""
    reported_bytes: int | None
    """as played; None where nothing can be held against the wire"""
    captured_bytes: int | None
    since_mark_difference_ms: float | None
    """``since_mark_ms`` less the media found on the wire behind that mark"""
    verdict: Verdict
    explanation: str
    """why, in one sentence; empty for PASS"""

    @property
    def difference_bytes(self) -> int | None:
        """Reported less captured."""
        if self.reported_bytes is None or self.captured_bytes is None:
            return None
        return self.reported_bytes - self.captured_bytes


@dataclass(frozen=True)
class Accounts:
    """All accounts of a call, flushes first."""

    verdicts: tuple[AccountVerdict, ...]
    call: CallVerdict

    @property
    def verdict(self) -> Literal["PASS", "FAIL", "INCONCLUSIVE"]:
        """FAIL when any failed, INCONCLUSIVE when any could not be judged. None at all pass."""
        kinds = {one.verdict for one in self.verdicts}
        if kinds & FAILURES:
            return "FAIL"
        return "INCONCLUSIVE" if Verdict.INCONCLUSIVE in kinds else "PASS"

    def failure_text(self, one: AccountVerdict) -> str:
        """Two lines that say what was wrong with an account and how sure that is."""
        when = "never" if one.time_ns is None else f"{self.call.relative_s(one.time_ns):+.6f} s"
        return (
            f"{one.name} {one.verdict.value}: {one.explanation}\n"
            f"  (came {when}; {self.call.packets} packets, {self.call.lost} lost)"
        )


def judge_accounts(timeline: Timeline, call: CallVerdict) -> Accounts:
    """The accounts of a call whose marks have been judged."""
    return Accounts(tuple(_Judge(timeline, call).verdicts()), call)


# ---- what the messages say -----------------------------------------------------------------------


@dataclass
class _Mark:
    id: MarkId
    offset: int
    answer: int | None = None
    """index of the message that answered it first"""
    answered_ns: int = 0
    played: bool = False


@dataclass(frozen=True)
class _Told:
    """An event: its index among the call's messages, when it came, and what it says."""

    index: int
    time_ns: int
    fields: Mapping[str, Any]


@dataclass
class _Flush:
    id: MarkId | None
    begin: int
    """bytes sent before the flush before it"""
    end: int
    """bytes sent before it"""
    marks: int
    """MARKs sent before it"""
    time_ns: int
    answers: list[_Told] = field(default_factory=list)


@dataclass
class _Request:
    """A REPORT_PLAYBACK that asks for one PLAYBACK."""

    time_ns: int
    periodic: bool
    """whether they come periodically, too, so that nobody can tell which is the answer"""
    answer: _Told | None = None


@dataclass(frozen=True)
class _Faults:
    """What is wrong with an account."""

    plain: list[str]
    """whatever the wire says: it contradicts the messages, or itself"""
    wire: list[str]
    """by what was seen on the wire"""


@dataclass
class _Talk:
    marks: list[_Mark] = field(default_factory=list)
    flushes: list[_Flush] = field(default_factory=list)
    unasked: list[tuple[str, _Told, str]] = field(default_factory=list)
    """what nobody asked for: which event, and why"""
    requests: list[_Request] = field(default_factory=list)
    periodic: bool = False
    """whether PLAYBACK was asked for periodically"""
    paused: bool = False
    direction_in: bool = False
    going_ns: int = 0
    """when the application last sent something that makes media go on"""
    reports: list[tuple[_Told, int]] = field(default_factory=list)
    """PLAYBACK events, each with the bytes sent before it came"""
    losses: list[_Told] = field(default_factory=list)
    sent: int = 0
    asked: bool = False
    """whether a command came that makes Asterisk tell its accounts"""
    last_event: int = -1
    closed_by: str = ""
    closed_ns: int = 0


def _read(timeline: Timeline) -> _Talk:
    talk = _Talk()
    marks: dict[MarkId, deque[_Mark]] = defaultdict(deque)
    flushes: dict[MarkId, deque[_Flush]] = defaultdict(deque)
    for index, message in enumerate(timeline.messages):
        if message.kind == "close":
            talk.closed_by = talk.closed_by or message.sender
            talk.closed_ns = talk.closed_ns or message.time_ns
        elif message.sender == "application" and message.kind == "binary":
            talk.sent += len(message.data)
            talk.going_ns = message.time_ns
        elif message.sender == "application" and message.kind == "text":
            _read_command(message, talk, marks, flushes)
        elif message.kind == "text":
            talk.last_event = index
            name, fields = read_event(message)
            told = _Told(index, message.time_ns, fields)
            if name in ("MARK_PLAYED", "MARK_DISCARDED") and marks[as_id(fields.get("id"))]:
                mark = marks[as_id(fields.get("id"))].popleft()
                mark.answer, mark.played = index, name == "MARK_PLAYED"
                mark.answered_ns = message.time_ns
            elif name == "MEDIA_FLUSHED":
                _assign(told, flushes[as_id(fields.get("id"))], talk)
            elif not talk.asked and _only_for_those_who_ask(name, fields):
                talk.unasked.append((name, told, "nothing had asked for it"))
            elif name == "PLAYBACK":
                _report(told, talk)
            elif name == "MEDIA_DROPPED":
                talk.losses.append(told)
    return talk


def _read_command(
    message: Message,
    talk: _Talk,
    marks: dict[MarkId, deque[_Mark]],
    flushes: dict[MarkId, deque[_Flush]],
) -> None:
    name, given_id, _ = read_command(message)
    talk.asked = talk.asked or asks(message)
    if name == "MARK" and given_id is not None:
        talk.marks.append(_Mark(given_id, talk.sent))
        marks[given_id].append(talk.marks[-1])
    elif name == "FLUSH_MEDIA":
        begin = talk.flushes[-1].end if talk.flushes else 0
        flush = _Flush(given_id, begin, talk.sent, len(talk.marks), message.time_ns)
        talk.flushes.append(flush)
        if given_id is not None:
            flushes[given_id].append(flush)
    elif asks_once(message):
        talk.requests.append(_Request(message.time_ns, talk.periodic))
    elif name == "REPORT_PLAYBACK":
        talk.periodic = True
    elif name in ("PAUSE_MEDIA", "CONTINUE_MEDIA"):
        talk.paused = name == "PAUSE_MEDIA"
        talk.going_ns = message.time_ns
    elif name == "SET_MEDIA_DIRECTION":
        direction = (message.json() or {}).get("direction")
        if direction in DIRECTIONS:
            talk.direction_in = direction == "in"
        talk.going_ns = message.time_ns


def _only_for_those_who_ask(name: str, fields: Mapping[str, Any]) -> bool:
    """Whether an event is one that a channel gets only after a command that asks for it.

    Asterisk has an ERROR of its own; only ours names the command. The last PLAYBACK is judged by
    itself, and the answers to marks with the marks.
    """
    if name == "PLAYBACK":
        return not _is_final(fields)
    return name == "MEDIA_DROPPED" or (name == "ERROR" and "command" in fields)


def _report(told: _Told, talk: _Talk) -> None:
    talk.reports.append((told, talk.sent))
    waiting = next((one for one in talk.requests if one.answer is None), None)
    if waiting and not _is_final(told.fields):
        waiting.answer = told


def _assign(told: _Told, flushes: deque[_Flush], talk: _Talk) -> None:
    """Give an answer to the oldest flush of its id without one, else to the latest of them."""
    if not flushes:
        talk.unasked.append(("MEDIA_FLUSHED", told, "nothing was flushed with its id"))
        return
    next((one for one in flushes if not one.answers), flushes[-1]).answers.append(told)


# ---- what the wire says --------------------------------------------------------------------------


class _Seen:
    """The stream's bytes that appeared, by their offset and by when they were played."""

    def __init__(self, call: CallVerdict, codec: Codec) -> None:
        found = sorted(
            (
                (piece, place.clock.start_ns)
                for place in call.places
                for piece in place.location.pieces
            ),
            key=lambda one: one[0].offset,
        )
        self._pieces = [piece for piece, _ in found]
        self._begins = [piece.offset for piece in self._pieces]
        byte_ns = 1_000_000_000 / codec.bytes_per_second
        self._ends_ns = [start_ns + round((p.start + p.length) * byte_ns) for p, start_ns in found]
        self._played = _sums(
            (start_ns + round(piece.start * byte_ns), piece.length) for piece, start_ns in found
        )
        self._over = _sums(
            zip(self._ends_ns, (piece.length for piece in self._pieces), strict=True)
        )

    def count(self, begin: int, end: int) -> int:
        """How many of the bytes from ``begin`` to ``end`` appeared."""
        first = max(0, bisect_left(self._begins, begin) - 1)
        return sum(
            max(0, min(piece.end, end) - max(piece.offset, begin))
            for piece in self._pieces[first : bisect_left(self._begins, end)]
        )

    def last(self, begin: int, end: int) -> int:
        """Offset behind the last of these bytes that appeared; ``begin`` if none did."""
        place = bisect_left(self._begins, end) - 1
        return min(end, max(begin, self._pieces[place].end)) if place >= 0 else begin

    def end_ns(self, offset: int) -> int:
        """When the last piece that begins before ``offset`` had been played; 0 if there is none."""
        place = bisect_left(self._begins, offset) - 1
        return self._ends_ns[place] if place >= 0 else 0

    def begun(self, time_ns: int) -> int:
        """Bytes of the pieces that had begun to play by then."""
        return _sum_until(self._played, time_ns)

    def over(self, time_ns: int) -> int:
        """Bytes of the pieces that had been played to their end by then."""
        return _sum_until(self._over, time_ns)


def _sums(moments: Iterable[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Moments in their order, and what had been counted up to each."""
    ordered = sorted(moments)
    return [time for time, _ in ordered], list(accumulate(count for _, count in ordered))


def _sum_until(sums: tuple[list[int], list[int]], time_ns: int) -> int:
    index = bisect_right(sums[0], time_ns)
    return sums[1][index - 1] if index else 0


# ---- verdicts ------------------------------------------------------------------------------------


class _Judge:
    def __init__(self, timeline: Timeline, call: CallVerdict) -> None:
        self._call = call
        self._codec = timeline.codec
        self._talk = _read(timeline)
        self._seen = _Seen(call, timeline.codec)
        self._told_losses = Losses(timeline.messages)
        # Then bytes that were not seen may have been played all the same.
        self._blind = call.lost > 0
        self._error_bytes = location_bytes(call.ruler, timeline.codec)
        byte_ms = 1000 / timeline.codec.bytes_per_second
        self._error_ms = max(MS_TOLERANCE, byte_ms) + call.ruler.location_ns / 1e6
        self._frame = frame_bytes(timeline.codec)
        self._frame_ns = timeline.codec.ptime_ms * 1_000_000
        self._tolerance_ns = tolerance_ns(call.ruler)
        self._late_ns = call.bounds.late_ns + self._tolerance_ns
        self._stalled_ns = stalled_behind_ns(call.places, timeline)
        self._uncertain = any(not place.location.certain for place in call.places)

    def verdicts(self) -> list[AccountVerdict]:
        unasked = [
            _verdict(name, told, Verdict.UNASKED, why) for name, told, why in self._talk.unasked
        ]
        flushes = [self._flush(flush) for flush in self._talk.flushes if flush.id is not None]
        asked = [self._request(request) for request in self._talk.requests]
        found = [*flushes, *unasked, *self._reports(), *asked, self._final()]
        verdicts = [one for one in found if one is not None]
        return (
            [self._unless_lost(one) for one in verdicts] if self._call.ruler.dropped else verdicts
        )

    def _unless_lost(self, one: AccountVerdict) -> AccountVerdict:
        """What the capture lost may be what this needs."""
        if one.verdict in (Verdict.PASS, Verdict.INCONCLUSIVE):
            return one
        why = f"packets were lost; {one.explanation}"
        return replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why)

    def _flush(self, flush: _Flush) -> AccountVerdict | None:
        name = f'MEDIA_FLUSHED "{flush.id}"'
        if not flush.answers:
            return self._never(name)
        told = flush.answers[0]
        if len(flush.answers) > 1:
            return _verdict(name, told, Verdict.TWICE, f"it came {len(flush.answers)} times")
        marks = self._talk.marks[: flush.marks]
        for mark in marks:
            if mark.answer is None or mark.answer > told.index:
                why = f'it came before the answer of the mark "{mark.id}", which was sent before'
                return _verdict(name, told, Verdict.EARLY, f"{why} the flush")
        played = self._seen.count(0, flush.end)
        unseen = flush.end - flush.begin - self._seen.count(flush.begin, flush.end)
        flushed = unseen - self._dropped(flush.begin, flush.end)
        wire = [
            *self._count(told, "played", played, self._error_bytes),
            *self._count(told, "flushed", flushed, self._error_bytes),
            *self._ms(told, "played_ms", played),
            *self._ms(told, "flushed_ms", flushed),
            *self._hole(flush.begin, self._seen.last(flush.begin, flush.end)),
        ]
        plain = []
        last = next((mark for mark in reversed(marks) if mark.played), None)
        since_ms = as_number(told.fields.get("since_mark_ms"))
        difference_ms = None
        if last is None:
            if "last_mark" in told.fields or since_ms is not None:
                plain.append("it names a mark, but none had been played")
        else:
            said = told.fields.get("last_mark")
            if said != last.id or type(said) is not type(last.id):
                plain.append(f"last_mark is {said!r}, but the last one played is {last.id!r}")
            since = self._seen.count(last.offset, flush.end)
            wire += self._ms(told, "since_mark_ms", since)
            if since_ms is not None:
                difference_ms = since_ms - self._media_ms(since)
        found = self._against_the_wire(name, told, played, difference_ms, _Faults(plain, wire))
        if found.verdict is not Verdict.PASS:
            return found
        # It waits for the frame that is in play, and for the answers of the marks before it.
        answers_ns = max((mark.answered_ns for mark in marks), default=0)
        due_ns = max(flush.time_ns, answers_ns, self._seen.end_ns(flush.end)) + self._frame_ns
        return self._in_time(found, due_ns, "a frame after all that it waits for")

    def _in_time(self, found: AccountVerdict, due_ns: int, event: str) -> AccountVerdict:
        """``found``, or what to say instead when it came too late."""
        told_ns = found.time_ns or 0
        if told_ns <= due_ns + self._late_ns:
            return found
        ruler = self._call.ruler
        difference_ns = told_ns - due_ns
        explanation = f"it came {difference_ns / 1e6:.3f} ms later than {event}"
        excuse = stalled_text(ruler, due_ns, told_ns, self._late_ns) or chance_text(
            ruler, difference_ns, self._late_ns
        )
        verdict = Verdict.INCONCLUSIVE if excuse else Verdict.LATE
        why = f"{explanation}; {excuse}" if excuse else explanation
        return replace(found, verdict=verdict, explanation=why)

    def _hole(self, begin: int, end: int, more: int = 0) -> list[str]:
        """What is wrong when bytes never left that should have: all up to ``end``, and ``more``."""
        missing = max(0, end - begin - self._seen.count(begin, end)) + more
        untold = missing - self._told_losses.within(begin, end + more)
        if untold <= self._error_bytes:
            return []
        return [f"{untold} bytes from {begin} on never left, and nothing flushed or dropped them"]

    def _request(self, request: _Request) -> AccountVerdict | None:
        """Whether a PLAYBACK came that was asked for; what it says is judged by itself."""
        if request.answer is None:
            unread = self._talk.closed_ns - request.time_ns <= self._late_ns + self._frame_ns
            return None if self._talk.closed_ns and unread else self._never("PLAYBACK")
        if request.periodic:
            return None
        passed = _verdict("PLAYBACK", request.answer, Verdict.PASS, "")
        found = self._in_time(passed, request.time_ns + self._frame_ns, "a frame after its command")
        return None if found.verdict is Verdict.PASS else found

    def _reports(self) -> list[AccountVerdict]:
        verdicts = []
        before: Mapping[str, Any] = {}
        for told, sent in self._talk.reports:
            why = _inconsistent(told.fields, before, sent)
            before = told.fields
            if why:
                verdicts.append(_verdict("PLAYBACK", told, Verdict.WRONG, why))
                continue
            plain = self._ms(told, "played_ms", as_count(told.fields["played"]) or 0)
            wire = [] if _is_final(told.fields) else self._played_by(told)
            one = self._against_the_wire("PLAYBACK", told, None, None, _Faults(plain, wire))
            verdicts.append(self._unless_stalled(one) if wire else one)
        return verdicts

    def _played_by(self, told: _Told) -> list[str]:
        """What is wrong when a report says that more was played by now than can have been, or less.

        It was made up to ``late_ns`` before it came. A frame more or less is the difference between
        the driver's clock and that of the packets.
        """
        said = as_count(told.fields.get("played")) or 0
        least = self._seen.over(told.time_ns - self._late_ns - self._frame_ns)
        most = self._seen.begun(told.time_ns + self._frame_ns + self._tolerance_ns)
        # A frame that was handed over as the call ended need not have left.
        over = told.time_ns > self._seen.end_ns(self._talk.sent) - self._frame_ns
        most += self._error_bytes + (self._frame if over else 0)
        least -= self._error_bytes + self._told_losses.hidden(self._frame)
        if least <= said <= most:
            return []
        return [f"played is {said}, but it was between {max(least, 0)} and {most} then"]

    def _unless_stalled(self, one: AccountVerdict) -> AccountVerdict:
        time_ns = one.time_ns or 0
        near_ns = self._late_ns + 2 * self._frame_ns
        stalled = any(
            begin < time_ns + near_ns and end > time_ns - near_ns
            for begin, end in self._call.ruler.stalls
        )
        if one.verdict is not Verdict.WRONG or not stalled:
            return one
        why = f"the host stalled around it; {one.explanation}"
        return replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why)

    def _final(self) -> AccountVerdict | None:
        """The last PLAYBACK, which a channel gets that has asked for accounts."""
        finals = [told for told, _ in self._talk.reports if _is_final(told.fields)]
        name = "PLAYBACK final"
        if not finals:
            return self._never(name) if self._talk.asked else None
        told = finals[0]
        if len(finals) > 1:
            return _verdict(name, told, Verdict.TWICE, f"it came {len(finals)} times")
        if not self._talk.asked:
            return _verdict(name, told, Verdict.UNASKED, "nothing asked for accounts")
        played = self._seen.count(0, self._talk.sent)
        expected = played - self._untold(told, played) + self._cut_off(told, played)
        begin = self._talk.flushes[-1].end if self._talk.flushes else 0
        end = self._seen.last(begin, self._talk.sent)
        wire = [
            *self._count(told, "played", expected, self._error_bytes),
            *self._hole(begin, end, self._left_lying(told, end)),
        ]
        plain = [
            *self._count(told, "received", self._talk.sent),
            *self._count(told, "queued", 0),
            *self._count(told, "marks", 0),
        ]
        told_drops = sum(as_count(loss.fields.get("bytes")) or 0 for loss in self._talk.losses)
        dropped = as_count(told.fields.get("dropped")) or 0
        if told_drops != dropped:
            plain.append(f"dropped is {dropped}, but MEDIA_DROPPED events told of {told_drops}")
        if self._talk.last_event != told.index:
            plain.append("it was not the last event")
        return self._against_the_wire(name, told, played, None, _Faults(plain, wire))

    def _left_lying(self, told: _Told, end: int) -> int:
        """How many bytes behind the last that left had their time to do so, and did not.

        What is still to be played when a call ends is flushed. Not so where media had ceased
        before. The beginning of a frame may wait for its rest.
        """
        going_ns = max(self._talk.going_ns, self._seen.end_ns(self._talk.sent))
        if self._talk.paused or self._talk.direction_in:
            return 0
        if told.time_ns - going_ns <= _HANG_UP_NS + self._late_ns + 2 * self._stalled_ns:
            return 0
        left = self._talk.sent - end
        return left if left >= self._frame else 0

    def _never(self, name: str) -> AccountVerdict | None:
        if self._talk.closed_by == "application":
            return None  # nobody was there any more to be told
        if not self._talk.closed_by:
            why = "it did not come, but the connection was still open when listening ended"
            return AccountVerdict(name, None, None, None, None, Verdict.INCONCLUSIVE, why)
        return AccountVerdict(name, None, None, None, None, Verdict.NEVER, "it did not come")

    def _against_the_wire(
        self, name: str, told: _Told, played: int | None, since_ms: float | None, faults: _Faults
    ) -> AccountVerdict:
        why = "; ".join([*faults.plain, *faults.wire])
        verdict = Verdict.WRONG if why else Verdict.PASS
        reported = as_count(told.fields.get("played")) if played is not None else None
        if verdict is Verdict.WRONG and not faults.plain:
            bent = self._bent(reported or 0, played)
            if bent:
                verdict, why = Verdict.INCONCLUSIVE, f"{bent}; {why}"
        return AccountVerdict(name, told.time_ns, reported, played, since_ms, verdict, why)

    def _bent(self, reported: int, played: int | None) -> str:
        """Why nothing can be held against the wire; empty if it can."""
        if self._blind:
            return "packets were lost"
        if self._uncertain:
            return "packets could not be located"
        cut_short = played is not None and reported > played == self._seen.count(0, self._talk.sent)
        if self._stalled_ns and cut_short:
            return f"the host stalled for {self._stalled_ns / 1e6:.0f} ms behind the last audio"
        return ""

    def _count(self, told: _Told, name: str, expected: int, error: int = 0) -> list[str]:
        said = as_count(told.fields.get(name))
        if said is not None and abs(said - expected) <= error:
            return []
        return [f"{name} is {said}, but it should be {expected}"]

    def _ms(self, told: _Told, name: str, count: int) -> list[str]:
        said, expected = as_number(told.fields.get(name)), self._media_ms(count)
        if said is not None and abs(said - expected) <= self._error_ms:
            return []
        return [f"{name} is {said}, but it should be {expected:.3f}"]

    def _media_ms(self, count: int) -> float:
        return count * 1000 / self._codec.bytes_per_second

    def _untold(self, told: _Told, played: int) -> int:
        """How many bytes an account may hide that were played after all, and does."""
        hidden = played - (as_count(told.fields.get("played")) or 0)
        return min(max(hidden, 0), self._told_losses.hidden(self._frame))

    def _cut_off(self, told: _Told, played: int) -> int:
        """How many bytes of the call's last frame were given to the core and went nowhere.

        Played means handed over. When the call ends while media plays, the caller's side may be
        gone already when a frame is handed over: that one frame is on nobody's wire.
        """
        flushed = sum(
            as_count(one.answers[0].fields.get("flushed")) or 0
            for one in self._talk.flushes
            if one.answers
        )
        if (as_count(told.fields.get("flushed")) or 0) <= flushed:
            return 0  # nothing was left to play
        over = (as_count(told.fields.get("played")) or 0) - played
        return self._frame if over == self._frame else 0

    def _dropped(self, begin: int, end: int) -> int:
        return sum(
            as_count(loss.fields.get("bytes")) or 0
            for loss in self._talk.losses
            if begin <= (as_count(loss.fields.get("offset")) or 0) < end
        )


def _inconsistent(fields: Mapping[str, Any], before: Mapping[str, Any], sent: int) -> str:
    """What is wrong with a PLAYBACK by itself, and after the one before it; empty if nothing is."""
    counts = {name: as_count(fields.get(name)) for name in _COUNTS}
    known = [count for count in counts.values() if count is not None]
    if len(known) < len(_COUNTS):
        return f"counts are missing: {dict(fields)}"
    received, rest = known[0], sum(known[1:])
    if rest != received:
        return f"received is {received}, but the others add up to {rest}"
    if received > sent:
        return f"received is {received}, but {sent} bytes had been sent"
    for name in _NEVER_BACK:
        now, then = as_number(fields.get(name)), as_number(before.get(name))
        if now is not None and then is not None and now < then:
            return f"{name} went back from {then:g} to {now:g}"
    return ""


def _verdict(name: str, told: _Told, verdict: Verdict, why: str) -> AccountVerdict:
    return AccountVerdict(name, told.time_ns, None, None, None, verdict, why)


def _is_final(fields: Mapping[str, Any]) -> bool:
    return fields.get("final") in (True, "1")
