"""Holds every mark's acknowledgement against the audio that left. Pure.

A mark stands at an offset of the application's stream: the count of media bytes sent before it. It
is due when the last of these bytes that appeared on the wire has finished playing on the media
clock, or, when nothing before it is left to play, the moment the command itself is there.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.capture.timeline import Timeline
from harness.judge.conversation import Acknowledgement, Conversation, DroppedMedia, Mark
from harness.judge.uncertainty import MOST_UNCERTAIN_NS, Uncertainty
from harness.judge.verdicts import MarkVerdict, Verdict
from harness.judge.wire import AudioEnd, Wire

_DROP_REPORTED_NS = 500_000_000
"""So long after media was dropped MEDIA_DROPPED reports it at the latest: there are four reasons,
and ten events a second"""

_CLOSED_NS = 1_000_000_000
"""So long after Asterisk says that the call was hung up it has closed the connection, whatever else
there is to be sent: the acknowledgements of thousands of marks, over a connection that is far"""

_READ_NS = 100_000_000
"""So long after a command was sent Asterisk has read it, if the host did not stall"""

_Decision = tuple[Verdict, str]
"""and why, in one sentence; empty for PASS"""
_PASS: _Decision = (Verdict.PASS, "")
_SAYS = "the acknowledgement says"


def judge_marks(
    timeline: Timeline, conversation: Conversation, wire: Wire, uncertainty: Uncertainty
) -> tuple[MarkVerdict, ...]:
    """The verdicts of a call's marks, in their order; acknowledgements nobody asked for at last."""
    judge = _Judge(timeline, conversation, wire, uncertainty)
    verdicts = [judge.verdict(mark) for mark in conversation.marks]
    for index in _overtaken(conversation.marks):
        if verdicts[index].verdict is Verdict.PASS:
            why = "it was acknowledged after a mark that was sent later"
            verdicts[index] = replace(verdicts[index], verdict=Verdict.WRONG, explanation=why)
    verdicts = uncertainty.unless_by_chance(verdicts)
    verdicts += [judge.unasked(ack) for ack in conversation.unasked_acks]
    if drops := uncertainty.measurement.capture_drops:
        why = f"the capture missed {drops} packets of this call"
        verdicts = [replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why) for one in verdicts]
    return tuple(verdicts)


class _Judge:
    def __init__(
        self, timeline: Timeline, conversation: Conversation, wire: Wire, uncertainty: Uncertainty
    ) -> None:
        self._timeline = timeline
        self._talk = conversation
        self._wire = wire
        self._uncertainty = uncertainty
        self._late_ns = uncertainty.late_ns
        self._frame_ns = uncertainty.frame_ns
        self._ends = [wire.whole(mark.offset) for mark in conversation.marks]
        """where the media ends that each mark waits for: its offset, or half a sample before it"""
        self._dropped = DroppedMedia(conversation.drops)
        self._missing = _missing_media(conversation.marks, self._ends, wire, self._dropped)
        self._clocks_ns = _between_clocks(conversation.marks)
        self._pending = _PendingMarks(conversation, uncertainty.longest_unseen_ns)
        self._acked_before = _latest_acks(conversation.marks)
        self._app_closed_ns = conversation.closed_by_ns("application")
        self._until_ns = self._app_closed_ns or timeline.end_ns
        self._last_rtp_ns = max((packet.time_ns for packet in timeline.rtp), default=0)

    def verdict(self, mark: Mark) -> MarkVerdict:
        audio = self._wire.audio_end(self._ends[mark.number])
        due_ns = max(mark.sent_ns, audio.end_ns) if audio else mark.sent_ns
        first = mark.ack
        played = first is not None and first.outcome == "played"
        verdict, explanation = self._decide(mark, audio, due_ns)
        return MarkVerdict(
            id=mark.id,
            command=mark.command,
            offset=mark.offset,
            sent_ns=mark.sent_ns,
            due_ns=due_ns,
            acked_ns=first.time_ns if first else None,
            outcome=first.outcome if first else None,
            difference_ns=first.time_ns - due_ns if first and played else None,
            audio_end_ns=audio.end_ns if audio else None,
            raw_wire_end_ns=audio.raw_ns if audio else None,
            lateness_ns=audio.clock.lateness_ns if audio else None,
            verdict=verdict,
            explanation=explanation,
            reason=first.reason if first else "",
        )

    def unasked(self, ack: Acknowledgement) -> MarkVerdict:
        return MarkVerdict(
            id=ack.id,
            command=ack.command,
            offset=None,
            sent_ns=None,
            due_ns=None,
            acked_ns=ack.time_ns,
            outcome=ack.outcome,
            difference_ns=None,
            audio_end_ns=None,
            raw_wire_end_ns=None,
            lateness_ns=None,
            verdict=Verdict.UNASKED,
            explanation=f"{ack.outcome} at {self._at(ack.time_ns)}, but no such mark was set",
            reason=ack.reason,
        )

    def _decide(self, mark: Mark, audio: AudioEnd | None, due_ns: int) -> _Decision:
        wrong = self._wrong_by_itself(mark)
        if wrong:
            return wrong
        unreliable = self._unreliable(mark, audio)
        if unreliable:
            return Verdict.INCONCLUSIVE, unreliable
        if mark.ack is None:
            return self._unacknowledged(mark, audio, due_ns)
        if mark.ack.outcome == "discarded":
            return self._discarded(mark, mark.ack, due_ns)
        return self._played(mark, mark.ack, audio, due_ns)

    def _wrong_by_itself(self, mark: Mark) -> _Decision | None:
        """What is wrong with a mark however well the wire was measured."""
        if len(mark.acks) > 1:
            times = ", ".join(f"{ack.outcome} {self._at(ack.time_ns)}" for ack in mark.acks)
            return Verdict.TWICE, f"acknowledged {len(mark.acks)} times: {times}"
        ack = mark.ack
        if ack is None:
            closed_ns = self._talk.closed_by_ns("asterisk")
            if mark.command == "MARK" and closed_ns > mark.sent_ns:
                return Verdict.NEVER, (
                    f"not acknowledged when Asterisk closed the connection at {self._at(closed_ns)}"
                )
            return None
        if ack.offset is not None and ack.offset != mark.offset:
            return Verdict.WRONG, (
                f"{_SAYS} offset {ack.offset}, but {mark.offset} bytes were sent before it"
            )
        if mark.direction_in and ack.outcome == "played":
            return Verdict.WRONG, (
                f"acknowledged as played at {self._at(ack.time_ns)}, but it was set while the "
                "direction of media was 'in'"
            )
        why = _misstated(mark, ack) if ack.is_detailed else ""
        return (Verdict.WRONG, why) if why else None

    def _unreliable(self, mark: Mark, audio: AudioEnd | None) -> str:
        """Why this mark cannot be judged; empty when it can."""
        if audio is None:
            missing = mark.offset > 0 and self._wire.sequence.missing > 0
            return "RTP is missing, and none of its audio was seen" if missing else ""
        if audio.missing_after:
            return f"RTP is missing where its audio ends, after byte {audio.last}"
        if not audio.certain:
            return "its last packet could be from several places of the stream"
        if audio.raw_ns <= mark.sent_ns:
            return ""  # already over when the mark was set, however late the packet was
        bounds, clock = self._uncertainty.bounds, audio.clock
        if clock.lateness_ns > bounds.lateness_ns:
            late_ms = clock.lateness_ns / 1e6
            return f"the packet its audio ends in was sent {late_ms:.1f} ms late"
        if clock.around_lateness_ns > bounds.around_lateness_ns:
            around_ms = clock.around_lateness_ns / 1e6
            return f"half of the packets around were sent more than {around_ms:.1f} ms late"
        return ""

    # ---- not acknowledged ------------------------------------------------------------------------

    def _unacknowledged(self, mark: Mark, audio: AudioEnd | None, due_ns: int) -> _Decision:
        complete = self._complete(mark)
        flush_ns = self._flushed_ns(mark)
        since_ns, event = due_ns, "its audio ended" if audio else "it was sent"
        within_ns = self._late_ns
        if flush_ns is not None and (not complete or flush_ns <= due_ns + self._late_ns):
            if mark.command == "MARK_MEDIA":
                return _PASS  # upstream never acknowledges a flushed one
            since_ns, event = max(due_ns, flush_ns), "it was flushed"
            within_ns += self._frame_ns
        elif not complete and mark.flushed_to < mark.offset:
            if self._talk.paused:
                return self._not_owed("media was still paused when listening ended")
            if self._talk.direction_in:
                return self._not_owed("media still had the direction 'in' when listening ended")
            # An application can close before the first of its media has had time to leave.
            sent_ns = mark.sent_ns if self._app_closed_ns else 0
            if self._until_ns - max(self._last_rtp_ns, sent_ns) < 5 * self._frame_ns:
                return self._not_owed("listening ended while its audio was still to come")
            event = "the last of its audio that was seen" if audio else "it was sent"
        listened_ns = self._until_ns - since_ns
        listened = f"{listened_ns / 1e9:.3f} s after {event} at {self._at(since_ns)}"
        if listened_ns <= within_ns:
            return self._not_owed(f"listening ended {listened}, which is too early")
        if self._app_closed_ns:
            return Verdict.NEVER, f"not acknowledged; the application closed {listened}"
        return Verdict.NEVER, f"not acknowledged; listened until {listened}"

    def _not_owed(self, why: str) -> _Decision:
        """What to say of a mark whose acknowledgement was not due yet when the messages end.

        Where the application closed the connection nobody was there any more to get it.
        """
        return _PASS if self._app_closed_ns else (Verdict.INCONCLUSIVE, why)

    # ---- discarded -------------------------------------------------------------------------------

    def _discarded(self, mark: Mark, ack: Acknowledgement, due_ns: int) -> _Decision:
        said = f"discarded at {self._at(ack.time_ns)} (reason {ack.reason or 'not given'})"
        if ack.reason == "flush":
            return self._flushed(mark, ack, said)
        if ack.reason == "hangup":
            return self._hung_up(mark, ack, due_ns, said)
        if ack.reason == "limit":
            why = self._pending.refused_wrongly(mark)
            return (Verdict.WRONG, f"{said}, but {why}") if why else _PASS
        if ack.reason != "direction":
            return Verdict.WRONG, f"{said}: not a reason of the protocol"
        if not mark.direction_in:
            return Verdict.WRONG, f"{said}, but the direction of media was not 'in'"
        return _PASS

    def _flushed(self, mark: Mark, ack: Acknowledgement, said: str) -> _Decision:
        flush_ns = self._flushed_ns(mark)
        if flush_ns is None or flush_ns > ack.time_ns:
            return Verdict.WRONG, f"{said}, but nothing was flushed after it was set"
        if self._complete(mark):
            return Verdict.WRONG, f"{said}, but all of its audio was sent"
        # The marks in the frame that is in play are acknowledged first, and there can be hundreds.
        ahead_ns = min(self._acked_before[mark.number], ack.time_ns)
        due_ns = max(flush_ns, ahead_ns) + self._frame_ns
        if ack.time_ns <= due_ns + self._late_ns:
            return _PASS
        explanation = f"{said}, {(ack.time_ns - flush_ns) / 1e6:.3f} ms after it was flushed"
        excuse = self._uncertainty.excuse(due_ns, ack.time_ns)
        if excuse:
            return Verdict.INCONCLUSIVE, f"{explanation}; {excuse}"
        return Verdict.LATE, explanation

    def _hung_up(self, mark: Mark, ack: Acknowledgement, due_ns: int, said: str) -> _Decision:
        if self._complete(mark) and due_ns + self._late_ns < ack.time_ns:
            return Verdict.WRONG, f"{said}, but its audio had ended at {self._at(due_ns)}"
        last_ns = self._wire.last_audio_ns
        if last_ns is not None and last_ns > ack.time_ns + 2 * self._frame_ns:
            return Verdict.WRONG, f"{said}, but audio was sent until {self._at(last_ns)}"
        until_ns = self._talk.closed_ns or self._timeline.end_ns
        if until_ns - ack.time_ns > _CLOSED_NS + self._late_ns:
            return Verdict.WRONG, f"{said}, but the connection was open until {self._at(until_ns)}"
        if not self._talk.closed_ns:
            return Verdict.INCONCLUSIVE, f"{said}, and listening ended before the connection did"
        return _PASS

    # ---- played ----------------------------------------------------------------------------------

    def _played(
        self, mark: Mark, ack: Acknowledgement, audio: AudioEnd | None, due_ns: int
    ) -> _Decision:
        missing = self._media_missing(mark, ack)
        if missing:
            return missing
        difference_ns = ack.time_ns - due_ns
        if -self._uncertainty.tolerance_ns <= difference_ns <= self._late_ns:
            return self._in_time(mark, ack, due_ns)
        cause = (
            "it was sent, with nothing left to play,"
            if due_ns == mark.sent_ns
            else "its audio ended"
        )
        explanation = f"acknowledged at {self._at(ack.time_ns)}, {cause} at {self._at(due_ns)}"
        if difference_ns < 0:
            verdict, excuse = Verdict.EARLY, self._early_excuse(difference_ns, audio)
        else:
            verdict, excuse = Verdict.LATE, self._late_excuse(due_ns, ack.time_ns)
        if excuse:
            return Verdict.INCONCLUSIVE, f"{explanation}; {excuse}"
        return verdict, explanation

    def _in_time(self, mark: Mark, ack: Acknowledgement, due_ns: int) -> _Decision:
        uncertainty_ns = self._uncertainty.measurement.uncertainty_ns
        if uncertainty_ns > MOST_UNCERTAIN_NS:
            return Verdict.INCONCLUSIVE, (
                f"it seems in time, but by times that can be wrong by {uncertainty_ns / 1e6:.1f} ms"
            )
        if self._uncertainty.taken_late(ack.time_ns):
            return Verdict.INCONCLUSIVE, (
                "it seems in time, but the harness itself was late to see the acknowledgement"
            )
        wrong = self._wrong_values(mark, ack, due_ns) if ack.is_detailed else ""
        return (Verdict.WRONG, wrong) if wrong else _PASS

    def _early_excuse(self, difference_ns: int, audio: AudioEnd | None) -> str:
        if audio is None:
            return ""
        excuse = self._uncertainty.early_excuse(difference_ns, audio.end_ns)
        if not excuse and -difference_ns <= audio.clock.around_lateness_ns:
            # The clock is the best of a few packets. Where they differ so much, none of them
            # need have been sent at once.
            around_ms = audio.clock.around_lateness_ns / 1e6
            return f"half of the packets around were sent more than {around_ms:.2f} ms late"
        return excuse

    def _late_excuse(self, due_ns: int, acked_ns: int) -> str:
        stalled = self._uncertainty.stalled(due_ns, acked_ns)
        if stalled:
            return stalled
        late_ns = self._wire.lateness_between(due_ns - self._frame_ns, acked_ns + self._frame_ns)
        if late_ns > self._uncertainty.bounds.lateness_ns:
            return f"media that was due then was sent {late_ns / 1e6:.1f} ms late, too"
        return ""

    def _wrong_values(self, mark: Mark, ack: Acknowledgement, due_ns: int) -> str:
        """What is wrong with the values of an acknowledgement in time; empty if nothing is."""
        codec, end = self._timeline.codec, self._ends[mark.number]
        played_ms = ack.event.decimal("played_ms") or 0.0
        seen = self._wire.seen(0, end)
        hidden = self._dropped.hidden(codec.frame_bytes)
        byte_ms = 1000 / codec.bytes_per_second
        error_ms = self._uncertainty.error_ms
        least_ms, most_ms = (seen - hidden) * byte_ms - error_ms, seen * byte_ms + error_ms
        if not least_ms <= played_ms <= most_ms and not self._wire.sequence.missing:
            return f"{_SAYS} played_ms {played_ms:g}, but it should be {seen * byte_ms:.3f}"
        dropped, reported = ack.event.count("dropped") or 0, self._dropped.total
        if dropped > reported and not self._left_too_early(ack):
            return f"{_SAYS} dropped {dropped}, but MEDIA_DROPPED events reported {reported}"
        at_ns = ack.at_ns
        if at_ns is not None and abs(at_ns + self._clocks_ns - due_ns) > (
            self._late_ns + self._frame_ns
        ):
            return (
                f"{_SAYS} at {at_ns / 1e6:.3f}, but by the clock of the other acknowledgements "
                f"it was due at {(due_ns - self._clocks_ns) / 1e6:.3f}"
            )
        return ""

    def _media_missing(self, mark: Mark, ack: Acknowledgement) -> _Decision | None:
        """What to say of a mark acknowledged as played when media that it stands behind is not
        there."""
        found = self._missing[mark.number]
        if found.unreported <= self._uncertainty.error_bytes:
            return None
        end = self._ends[mark.number]
        if self._wire.rtp_missing_within(found.begin, end):
            return Verdict.INCONCLUSIVE, f"RTP is missing, {found.bytes} of its bytes were not seen"
        held_ns = self._uncertainty.stalled_behind(self._wire.last_audio_ns)
        if held_ns and found.bytes == end - max(found.begin, self._wire.end):
            return Verdict.INCONCLUSIVE, (
                f"acknowledged as played, but the host stalled for {held_ns / 1e6:.0f} ms "
                "when its audio was to leave, and the call ended"
            )
        explanation = (
            f"acknowledged as played at {self._at(ack.time_ns)}, but {found.unreported} of the "
            f"{end - found.begin} bytes since the mark or flush before it were never sent"
        )
        if mark.command == "MARK" and self._left_too_early(ack):
            return (
                Verdict.INCONCLUSIVE,
                f"{explanation}; the application closed before it could be reported",
            )
        return Verdict.WRONG, explanation

    def _left_too_early(self, ack: Acknowledgement) -> bool:
        """Whether the application did not stay for what may have been reported after this."""
        return 0 < self._app_closed_ns - ack.time_ns < _DROP_REPORTED_NS

    # ---- of use to several -----------------------------------------------------------------------

    def _flushed_ns(self, mark: Mark) -> int | None:
        """When the first flush after a mark came."""
        times = (flush.time_ns for flush in self._talk.flushes)
        return next((time_ns for time_ns in times if time_ns >= mark.sent_ns), None)

    def _complete(self, mark: Mark) -> bool:
        """Whether the byte before the mark left; true for a mark before any media."""
        end = self._ends[mark.number]
        audio = self._wire.audio_end(end)
        lowest = end - self._uncertainty.error_bytes
        return lowest <= 0 or (audio is not None and audio.last >= lowest)

    def _at(self, time_ns: int) -> str:
        return f"{(time_ns - self._timeline.start_ns) / 1e9:+.6f} s"


class _PendingMarks:
    """How many marks Asterisk had to keep, and how many more it had no room for."""

    def __init__(self, conversation: Conversation, longest_unseen_ns: int) -> None:
        self._flushes = conversation.flushes
        marks = [mark for mark in conversation.marks if mark.command == "MARK"]
        kept = [mark for mark in marks if not mark.is_refused]
        self._kept = [mark.number for mark in kept]
        self._acks = sorted(mark.ack.time_ns for mark in kept if mark.ack)
        self._flush_replies = sorted(
            reply.time_ns for flush in self._flushes for reply in flush.replies
        )
        self._room = self._most_pending(marks, _READ_NS + longest_unseen_ns)

    def refused_wrongly(self, mark: Mark) -> str:
        """What is wrong with refusing a mark for the limit; empty if nothing is."""
        pending = self._pending(mark, mark.sent_ns) + self._flushes_pending(mark.sent_ns)
        if not pending:
            return "none was pending"
        if pending <= self._room:
            return (
                f"at most {pending} were pending, and one more was kept in this call "
                f"when there were {self._room}"
            )
        return ""

    def _most_pending(self, marks: Sequence[Mark], read_ns: int) -> int:
        """How many were pending when one more was kept, at the most.

        Only those before the first that was refused: to refuse one takes Asterisk's reader as long
        as the application lets it wait, and what it has not read is not pending. ``read_ns`` is how
        long it may take to read a command.
        """
        most = 0
        for mark in marks:
            if mark.is_refused:
                break
            most = max(most, self._pending(mark, mark.sent_ns + read_ns))
        return most

    def _pending(self, mark: Mark, time_ns: int) -> int:
        """How many of the MARKs before this one were kept and not acknowledged by then."""
        kept = bisect_left(self._kept, mark.number)
        return max(0, kept - bisect_left(self._acks, time_ns))

    def _flushes_pending(self, time_ns: int) -> int:
        """How many replies to flushes, which wait in the same queue, there may be by then."""
        asked = sum(flush.time_ns <= time_ns for flush in self._flushes)
        return max(0, asked - bisect_left(self._flush_replies, time_ns))


@dataclass(frozen=True)
class _Missing:
    """Media that a mark acknowledged as played stands behind."""

    begin: int
    """from this offset on it had to leave"""
    bytes: int
    """that did not"""
    unreported: int
    """and of these, that no MEDIA_DROPPED reported"""


def _missing_media(
    marks: Sequence[Mark], ends: Sequence[int], wire: Wire, dropped: DroppedMedia
) -> dict[int, _Missing]:
    """By the number of each mark that was acknowledged as played."""
    found = {}
    played_to = 0
    for mark, end in zip(marks, ends, strict=True):
        if mark.ack is None or mark.ack.outcome != "played":
            continue
        begin = max(played_to, mark.flushed_to)
        missing = wire.missing(begin, end)
        unreported = missing - dropped.use_up(begin, end, missing)
        found[mark.number] = _Missing(begin, missing, unreported)
        played_to = end
    return found


def _misstated(mark: Mark, ack: Acknowledgement) -> str:
    """What is missing in a detailed acknowledgement, or is not as it must be; else empty."""
    again = ack.event.fields.get("correlation_id")
    if again != mark.id or type(again) is not type(mark.id):
        return f"{_SAYS} correlation_id {again!r}"
    numbers = ["offset", "at"] + (["played_ms", "dropped"] if ack.outcome == "played" else [])
    missing = [name for name in numbers if ack.event.decimal(name) is None]
    return f"the acknowledgement has no number as {', '.join(missing)}" if missing else ""


def _between_clocks(marks: Sequence[Mark]) -> int:
    """How far the capture's clock is ahead of the one that Asterisk's ``at`` is from.

    That is mostly how long an acknowledgement takes; but Asterisk may run on another host. What is
    discarded may wait for its turn.
    """
    differences = [
        mark.ack.time_ns - mark.ack.at_ns
        for mark in marks
        if mark.ack and mark.ack.outcome == "played" and mark.ack.at_ns is not None
    ]
    return sorted(differences)[len(differences) // 2] if differences else 0


def _latest_acks(marks: Sequence[Mark]) -> list[int]:
    """When the latest of the MARKs before each was acknowledged; 0 if none was."""
    times, latest_ns = [], 0
    for mark in marks:
        times.append(latest_ns)
        if mark.command == "MARK" and mark.ack and not mark.is_refused:
            latest_ns = max(latest_ns, mark.ack.time_ns)
    return times


def _overtaken(marks: Sequence[Mark]) -> list[int]:
    """Indexes of the MARKs that were acknowledged after one that was sent later.

    Not counted: the reply that there is no room for one more mark, which comes at once.
    """
    overtaken = []
    earliest = None
    for index in range(len(marks) - 1, -1, -1):
        mark = marks[index]
        if mark.command == "MARK" and mark.ack and not mark.is_refused:
            rank = mark.ack.rank
            if earliest is not None and rank > earliest:
                overtaken.append(index)
            earliest = rank if earliest is None else min(earliest, rank)
    return overtaken
