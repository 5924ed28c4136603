"""Holds what Asterisk counts against the wire: MEDIA_FLUSHED, PLAYBACK, MEDIA_DROPPED. Pure.

A byte was played when it was found in an RTP packet. At a flush that is every byte sent before it
that ever appears: the packet that was being handed over comes a moment after the flush.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.capture.timeline import Timeline
from harness.judge.judge import FAILURES, CallVerdict, Verdict, location_bytes, stalled_behind_ns
from harness.judge.messages import MarkId, as_count, as_id, read_command, read_event

MS_TOLERANCE = 0.125
"""ms that a time computed from bytes may differ: one sample at 8000 Hz"""

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
    answers: list[_Told] = field(default_factory=list)


@dataclass
class _Talk:
    marks: list[_Mark] = field(default_factory=list)
    flushes: list[_Flush] = field(default_factory=list)
    unasked: list[_Told] = field(default_factory=list)
    """MEDIA_FLUSHED for no flush"""
    reports: list[tuple[_Told, int]] = field(default_factory=list)
    """PLAYBACK events, each with the bytes sent before it came"""
    losses: list[_Told] = field(default_factory=list)
    sent: int = 0
    asked: bool = False
    """whether a command came that makes Asterisk tell its accounts"""
    last_event: int = -1
    closed_by: str = ""


def _read(timeline: Timeline) -> _Talk:
    talk = _Talk()
    marks: dict[MarkId, deque[_Mark]] = defaultdict(deque)
    flushes: dict[MarkId, deque[_Flush]] = defaultdict(deque)
    for index, message in enumerate(timeline.messages):
        if message.kind == "close":
            talk.closed_by = talk.closed_by or message.sender
        elif message.sender == "application" and message.kind == "binary":
            talk.sent += len(message.data)
        elif message.sender == "application" and message.kind == "text":
            name, given_id, _ = read_command(message)
            asks = name in ("MARK", "REPORT_PLAYBACK")  # also where what follows is not valid
            asks = asks or (name == "FLUSH_MEDIA" and given_id is not None)
            talk.asked = talk.asked or asks
            if name == "MARK" and given_id is not None:
                talk.marks.append(_Mark(given_id, talk.sent))
                marks[given_id].append(talk.marks[-1])
            elif name == "FLUSH_MEDIA":
                begin = talk.flushes[-1].end if talk.flushes else 0
                talk.flushes.append(_Flush(given_id, begin, talk.sent, len(talk.marks)))
                if given_id is not None:
                    flushes[given_id].append(talk.flushes[-1])
        elif message.kind == "text":
            talk.last_event = index
            name, fields = read_event(message)
            told = _Told(index, message.time_ns, fields)
            if name in ("MARK_PLAYED", "MARK_DISCARDED") and marks[as_id(fields.get("id"))]:
                mark = marks[as_id(fields.get("id"))].popleft()
                mark.answer, mark.played = index, name == "MARK_PLAYED"
            elif name == "MEDIA_FLUSHED":
                _assign(told, flushes[as_id(fields.get("id"))], talk)
            elif name == "PLAYBACK":
                talk.reports.append((told, talk.sent))
            elif name == "MEDIA_DROPPED":
                talk.losses.append(told)
    return talk


def _assign(told: _Told, flushes: deque[_Flush], talk: _Talk) -> None:
    """Give an answer to the oldest flush of its id without one, else to the latest of them."""
    if not flushes:
        talk.unasked.append(told)
        return
    next((one for one in flushes if not one.answers), flushes[-1]).answers.append(told)


# ---- what the wire says --------------------------------------------------------------------------


class _Seen:
    """The stream's bytes that appeared, by their offset."""

    def __init__(self, call: CallVerdict) -> None:
        self._pieces = sorted(
            (piece for place in call.places for piece in place.location.pieces),
            key=lambda piece: piece.offset,
        )
        self._begins = [piece.offset for piece in self._pieces]

    def count(self, begin: int, end: int) -> int:
        """How many of the bytes from ``begin`` to ``end`` appeared."""
        first = max(0, bisect_left(self._begins, begin) - 1)
        return sum(
            max(0, min(piece.end, end) - max(piece.offset, begin))
            for piece in self._pieces[first : bisect_left(self._begins, end)]
        )


# ---- verdicts ------------------------------------------------------------------------------------


class _Judge:
    def __init__(self, timeline: Timeline, call: CallVerdict) -> None:
        self._call = call
        self._codec = timeline.codec
        self._talk = _read(timeline)
        self._seen = _Seen(call)
        # Then bytes that were not seen may have been played all the same.
        self._blind = call.lost > 0 or timeline.ruler.dropped > 0
        self._error_bytes = location_bytes(call.ruler, timeline.codec)
        self._error_ms = MS_TOLERANCE + call.ruler.location_ns / 1e6
        self._stalled_ns = stalled_behind_ns(call.places, timeline)
        self._uncertain = any(not place.location.certain for place in call.places)

    def verdicts(self) -> list[AccountVerdict]:
        unasked = [
            _verdict("MEDIA_FLUSHED", told, Verdict.UNASKED, "nothing was flushed with its id")
            for told in self._talk.unasked
        ]
        flushes = [self._flush(flush) for flush in self._talk.flushes if flush.id is not None]
        found = [*flushes, *unasked, *self._reports(), self._final()]
        return [one for one in found if one is not None]

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
        faults = [
            *self._count(told, "played", played, self._error_bytes),
            *self._count(told, "flushed", flushed, self._error_bytes),
            *self._ms(told, "played_ms", played),
            *self._ms(told, "flushed_ms", flushed),
        ]
        last = next((mark for mark in reversed(marks) if mark.played), None)
        since_ms = _ms_of(told.fields.get("since_mark_ms"))
        difference_ms = None
        if last is None:
            if "last_mark" in told.fields or since_ms is not None:
                faults.append("it names a mark, but none had been played")
        else:
            said = told.fields.get("last_mark")
            if said != last.id or type(said) is not type(last.id):
                faults.append(f"last_mark is {said!r}, but the last one played is {last.id!r}")
            since = self._seen.count(last.offset, flush.end)
            faults += self._ms(told, "since_mark_ms", since)
            if since_ms is not None:
                difference_ms = since_ms - self._media_ms(since)
        return self._against_the_wire(name, told, played, difference_ms, faults)

    def _reports(self) -> list[AccountVerdict]:
        verdicts = []
        before: Mapping[str, Any] = {}
        for told, sent in self._talk.reports:
            counts = {name: as_count(told.fields.get(name)) for name in _COUNTS}
            why = ""
            if None in counts.values():
                why = f"counts are missing: {dict(told.fields)}"
            else:
                rest = sum(counts[name] or 0 for name in _COUNTS[1:])
                if rest != counts["received"]:
                    why = f"received is {counts['received']}, but the others add up to {rest}"
                elif (counts["received"] or 0) > sent:
                    why = f"received is {counts['received']}, but {sent} bytes had been sent"
            for name in _NEVER_BACK:
                now, then = _ms_of(told.fields.get(name)), _ms_of(before.get(name))
                if now is not None and then is not None and now < then:
                    why = why or f"{name} went back from {then:g} to {now:g}"
            before = told.fields
            verdict = Verdict.WRONG if why else Verdict.PASS
            verdicts.append(_verdict("PLAYBACK", told, verdict, why))
        return verdicts

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
        faults = [
            *self._count(told, "received", self._talk.sent),
            *self._count(
                told,
                "played",
                played - self._untold(told, played) + self._cut_off(told, played),
                self._error_bytes,
            ),
            *self._count(told, "queued", 0),
            *self._count(told, "marks", 0),
        ]
        told_drops = sum(as_count(loss.fields.get("bytes")) or 0 for loss in self._talk.losses)
        dropped = as_count(told.fields.get("dropped")) or 0
        if told_drops != dropped:
            faults.append(f"dropped is {dropped}, but MEDIA_DROPPED events told of {told_drops}")
        if self._talk.last_event != told.index:
            faults.append("it was not the last event")
        return self._against_the_wire(name, told, played, None, faults)

    def _never(self, name: str) -> AccountVerdict | None:
        if self._talk.closed_by == "application":
            return None  # nobody was there any more to be told
        if not self._talk.closed_by:
            why = "it did not come, but the connection was still open when listening ended"
            return AccountVerdict(name, None, None, None, None, Verdict.INCONCLUSIVE, why)
        return AccountVerdict(name, None, None, None, None, Verdict.NEVER, "it did not come")

    def _against_the_wire(
        self, name: str, told: _Told, played: int, since_ms: float | None, faults: list[str]
    ) -> AccountVerdict:
        verdict, why = (Verdict.WRONG, "; ".join(faults)) if faults else (Verdict.PASS, "")
        if faults and self._blind:
            verdict, why = Verdict.INCONCLUSIVE, f"packets were lost; {why}"
        elif faults and self._uncertain:
            verdict, why = Verdict.INCONCLUSIVE, f"packets could not be located; {why}"
        reported = as_count(told.fields.get("played"))
        cut_short = (reported or 0) > played and self._seen.count(0, self._talk.sent) == played
        if verdict is Verdict.WRONG and self._stalled_ns and cut_short:
            held = f"the host stalled for {self._stalled_ns / 1e6:.0f} ms behind the last audio"
            verdict, why = Verdict.INCONCLUSIVE, f"{held}; {why}"
        return AccountVerdict(name, told.time_ns, reported, played, since_ms, verdict, why)

    def _count(self, told: _Told, name: str, expected: int, error: int = 0) -> list[str]:
        said = as_count(told.fields.get(name))
        if said is not None and abs(said - expected) <= error:
            return []
        return [f"{name} is {said}, but it should be {expected}"]

    def _ms(self, told: _Told, name: str, count: int) -> list[str]:
        said, expected = _ms_of(told.fields.get(name)), self._media_ms(count)
        if said is not None and abs(said - expected) <= self._error_ms:
            return []
        return [f"{name} is {said}, but it should be {expected:.3f}"]

    def _media_ms(self, count: int) -> float:
        return count * 1000 / self._codec.bytes_per_second

    def _untold(self, told: _Told, played: int) -> int:
        """How many bytes an account may hide that were played after all.

        When a bridge ceases to mix, Asterisk cannot always see whether the mixer's last round still
        took a frame. It must not say then that it was played: it counts it as lost with the reason
        ``bridge``. That is at most a frame each time, and never the other way round.
        """
        hidden = played - (as_count(told.fields.get("played")) or 0)
        frame = self._codec.bytes_per_second * self._codec.ptime_ms // 1000
        lost = [
            min(frame, as_count(loss.fields.get("bytes")) or 0)
            for loss in self._talk.losses
            if loss.fields.get("reason") == "bridge"
        ]
        return min(max(hidden, 0), sum(lost))

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
        frame = self._codec.bytes_per_second * self._codec.ptime_ms // 1000
        return frame if over == frame else 0

    def _dropped(self, begin: int, end: int) -> int:
        return sum(
            as_count(loss.fields.get("bytes")) or 0
            for loss in self._talk.losses
            if begin <= (as_count(loss.fields.get("offset")) or 0) < end
        )


def _verdict(name: str, told: _Told, verdict: Verdict, why: str) -> AccountVerdict:
    return AccountVerdict(name, told.time_ns, None, None, None, verdict, why)


def _is_final(fields: Mapping[str, Any]) -> bool:
    return fields.get("final") in (True, "1")


def _ms_of(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, (str, int, float)) else None
    except ValueError:
        return None
