"""Whether a mark was discarded rightly: by a flush, hang-up, the direction or the limit. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from chan_websocket.protocol import DROP_REASONS
from harness.judge.conversation import (
    READ_NS,
    Acknowledgement,
    Conversation,
    DroppedMedia,
    Mark,
)
from harness.judge.evidence import Evidence
from harness.judge.verdicts import PASS, Decision, Verdict

_CLOSED_NS = 1_000_000_000
"""So long after Asterisk says that the call was hung up it has closed the connection, whatever else
there is to be sent: the acknowledgements of thousands of marks, over a connection that is far"""

_GAPS = 64
"""So many places where media was dropped or flushed Asterisk remembers; of a position before these
it cannot say what became of it, and refuses the mark"""


class DiscardedMarks:
    """The marks of a call that MARK_DISCARDED acknowledges."""

    def __init__(self, evidence: Evidence) -> None:
        self._at = evidence.at
        self._conversation = evidence.conversation
        self._wire = evidence.wire
        self._uncertainty = evidence.uncertainty
        self._end_ns = evidence.timeline.end_ns
        self._late_ns = evidence.uncertainty.late_ns
        self._packet_ns = evidence.uncertainty.packet_ns
        self._pending = _PendingMarks(evidence.conversation, evidence.uncertainty.longest_unseen_ns)
        self._hidden = DroppedMedia(evidence.conversation.drops).hidden(evidence.codec.frame_bytes)
        self._acked_before = _latest_acks(evidence.conversation.marks)
        dropped = sum(drop.bytes for drop in evidence.conversation.drops)
        self._most_gaps = len(evidence.conversation.flushes) + dropped

    def decide(self, mark: Mark, ack: Acknowledgement, due_ns: int) -> Decision:
        """The verdict, and why. ``due_ns`` is when it would have been played."""
        said = f"discarded at {self._at(ack.time_ns)} (reason {ack.reason or 'not given'})"
        if ack.reason == "flush":
            return self._flushed(mark, ack, said)
        if ack.reason == "hangup":
            return self._hung_up(mark, ack, due_ns, said)
        if ack.reason == "limit":
            if mark.by_position and self._most_gaps >= _GAPS:
                return PASS  # it may lie before all that is remembered
            why = self._pending.refused_wrongly(mark)
            return (Verdict.WRONG, f"{said}, but {why}") if why else PASS
        if ack.reason == "direction" and mark.direction_in:
            return PASS
        if ack.reason in DROP_REASONS and self._conversation.playback_marks >= 2:
            return self._dropped(mark, ack, said)
        if ack.reason != "direction":
            return Verdict.WRONG, f"{said}: not a reason of the protocol"
        return Verdict.WRONG, f"{said}, but the direction of media was not 'in'"

    def _dropped(self, mark: Mark, ack: Acknowledgement, said: str) -> Decision:
        """All media between the mark before it and this one was dropped, and that was told."""
        piece = range(mark.piece_begin, mark.offset)
        if not piece:
            return Verdict.WRONG, f"{said}, but there is no media behind the mark before it"
        seen = self._wire.seen(piece.start, self._wire.whole(piece.stop))
        hidden = self._hidden if ack.reason == "bridge" else 0
        if seen > self._uncertainty.error_bytes + hidden:
            return Verdict.WRONG, (
                f"{said}, but {seen} of the {len(piece)} bytes behind the mark before it were sent"
            )
        told = any(
            drop.reason == ack.reason
            and drop.sent.rank < ack.rank
            and (drop.by_bridge or drop.offset < piece.stop)
            and drop.received > piece.start
            for drop in self._conversation.drops
        )
        if not told:
            return Verdict.WRONG, f"{said}, but no MEDIA_DROPPED had told of it"
        return PASS

    def _flushed(self, mark: Mark, ack: Acknowledgement, said: str) -> Decision:
        flush = self._conversation.flush_of(mark)
        if flush is None or flush.time_ns > ack.time_ns:
            behind = ", or behind it" if mark.by_position else ""
            return Verdict.WRONG, f"{said}, but nothing was flushed after it was set{behind}"
        flush_ns = max(flush.time_ns, mark.sent_ns)
        if self._wire.is_complete(mark.offset):
            return Verdict.WRONG, f"{said}, but all of its audio was sent"
        # The marks in the frame or packet that is in play are acknowledged first, and there can be
        # hundreds.
        ahead_ns = self._acked_before[mark.number]
        due_ns = max(flush_ns, ahead_ns) + self._packet_ns
        if ack.time_ns <= due_ns + self._late_ns:
            return PASS
        explanation = f"{said}, {(ack.time_ns - flush_ns) / 1e6:.3f} ms after it was flushed"
        excuse = self._uncertainty.excuse(due_ns, ack.time_ns)
        if excuse:
            return Verdict.INCONCLUSIVE, f"{explanation}; {excuse}"
        return Verdict.LATE, explanation

    def _hung_up(self, mark: Mark, ack: Acknowledgement, due_ns: int, said: str) -> Decision:
        if self._wire.is_complete(mark.offset) and due_ns + self._late_ns < ack.time_ns:
            return Verdict.WRONG, f"{said}, but its audio had ended at {self._at(due_ns)}"
        last_ns = self._wire.last_audio_ns
        if last_ns is not None and last_ns > ack.time_ns + 2 * self._packet_ns:
            return Verdict.WRONG, f"{said}, but audio was sent until {self._at(last_ns)}"
        until_ns = self._conversation.closed_ns or self._end_ns
        if until_ns - ack.time_ns > _CLOSED_NS + self._late_ns:
            return (
                Verdict.WRONG,
                f"{said}, but the connection was open until {self._at(until_ns)}",
            )
        if not self._conversation.closed_ns:
            return Verdict.INCONCLUSIVE, f"{said}, and listening ended before the connection did"
        return PASS


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
        self._room = self._most_pending(marks, READ_NS + longest_unseen_ns)

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
        asked = sum(one.id is not None and one.time_ns <= time_ns for one in self._flushes)
        return max(0, asked - bisect_left(self._flush_replies, time_ns))


def _latest_acks(marks: Sequence[Mark]) -> dict[int, int]:
    """By the number of each MARK, when the latest of those before it in the stream was
    acknowledged ahead of it; 0 if none was."""
    latest, times = {}, list[int]()
    for mark in sorted(marks, key=lambda one: (one.offset, one.number)):
        if mark.command == "MARK" and mark.ack and not mark.is_refused:
            place = bisect_right(times, mark.ack.time_ns)
            latest[mark.number] = times[place - 1] if place else 0
            insort(times, mark.ack.time_ns)
    return latest
