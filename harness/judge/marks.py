"""Holds every mark's acknowledgement against the audio that was sent. Pure.

A mark stands at an offset of the application's stream: the count of media bytes sent before it, or
the one that its command gives. It is due when the last of the bytes before it that appeared on the
wire has finished playing on the media clock, or, when nothing before it is left to play, the moment
the command itself and these bytes are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chan_websocket.protocol import STAGES
from harness.judge.conversation import READ_NS, Acknowledgement, Mark
from harness.judge.evidence import Evidence
from harness.judge.marks_discarded import DiscardedMarks
from harness.judge.marks_played import PlayedMarks
from harness.judge.verdicts import PASS, Decision, MarkVerdict, Verdict
from harness.judge.wire import AudioEnd

_SAYS = "the acknowledgement says"


def judge_marks(evidence: Evidence) -> tuple[MarkVerdict, ...]:
    """The verdicts of a call's marks, in their order; acknowledgements nobody asked for at last."""
    judge = _Judge(evidence)
    marks = evidence.conversation.marks
    verdicts = [judge.verdict(mark) for mark in marks]
    read_ns = READ_NS + evidence.uncertainty.longest_unseen_ns
    for mark, other in _overtaken(marks, read_ns):
        if verdicts[mark.number].verdict is Verdict.PASS:
            why = "it was acknowledged after a mark that was sent later"
            if mark.by_position or other.by_position:
                why = f'it was acknowledged after the mark "{other.id}", which stands behind it'
            verdicts[mark.number] = replace(
                verdicts[mark.number], verdict=Verdict.WRONG, explanation=why
            )
    verdicts = evidence.uncertainty.unless_by_chance(verdicts)
    verdicts += [judge.unasked(ack) for ack in evidence.conversation.unasked_acks]
    if drops := evidence.uncertainty.measurement.capture_drops:
        why = f"the capture missed {drops} packets of this call"
        verdicts = [replace(one, verdict=Verdict.INCONCLUSIVE, explanation=why) for one in verdicts]
    return tuple(verdicts)


class _Judge:
    def __init__(self, evidence: Evidence) -> None:
        self._at = evidence.at
        self._conversation = evidence.conversation
        self._wire = evidence.wire
        self._uncertainty = evidence.uncertainty
        self._late_ns = evidence.uncertainty.late_ns
        self._packet_ns = evidence.uncertainty.packet_ns
        self._losses = _losses(evidence)
        # Half a sample is played with what comes behind the mark.
        self._loss_error_bytes = (
            evidence.uncertainty.loss_error_bytes + evidence.codec.sample_bytes - 1
        )
        self._played = PlayedMarks(evidence)
        self._discarded = DiscardedMarks(evidence)
        self._app_closed_ns = evidence.conversation.closed_by_ns("application")
        self._until_ns = self._app_closed_ns or evidence.timeline.end_ns
        self._last_rtp_ns = max((packet.time_ns for packet in evidence.timeline.rtp), default=0)

    def verdict(self, mark: Mark) -> MarkVerdict:
        audio = self._wire.audio_end(self._wire.whole(mark.offset))
        first = mark.ack
        due_ns = max(mark.reachable_ns, audio.end_ns) if audio else mark.reachable_ns
        if audio and (self._wire.gathered or (first and first.says_sent)):
            due_ns = max(due_ns, audio.sent_ns)
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
            unsent_bytes=self._played.unsent_bytes(mark),
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

    def _decide(self, mark: Mark, audio: AudioEnd | None, due_ns: int) -> Decision:
        wrong = self._wrong_by_itself(mark)
        if wrong:
            return wrong
        unreliable = self._unreliable(mark, audio)
        if unreliable:
            return Verdict.INCONCLUSIVE, unreliable
        if mark.ack is None:
            return self._unacknowledged(mark, audio, due_ns)
        if mark.ack.outcome == "discarded":
            decision = self._discarded.decide(mark, mark.ack, due_ns)
        else:
            decision = self._played.decide(mark, mark.ack, audio, due_ns)
        if decision == PASS and (why := self._miscounted(mark, mark.ack)):
            return Verdict.WRONG, why
        return decision

    def _miscounted(self, mark: Mark, ack: Acknowledgement) -> str:
        """What is wrong with how much it says was dropped, where the wire tells; else empty."""
        lost = self._losses.get(mark.number, ack.dropped)
        if abs(ack.dropped - lost) <= self._loss_error_bytes:
            return ""
        return (
            f"{_SAYS} dropped {ack.dropped}, but {lost} bytes were not sent that none had counted"
        )

    def _wrong_by_itself(self, mark: Mark) -> Decision | None:
        """What is wrong with a mark however well the wire was measured."""
        if len(mark.acks) > 1:
            times = ", ".join(f"{ack.outcome} {self._at(ack.time_ns)}" for ack in mark.acks)
            return Verdict.TWICE, f"acknowledged {len(mark.acks)} times: {times}"
        ack = mark.ack
        if ack is None:
            closed_ns = self._conversation.closed_by_ns("asterisk")
            if mark.command == "MARK" and closed_ns > mark.sent_ns:
                return Verdict.NEVER, (
                    f"not acknowledged when Asterisk closed the connection at {self._at(closed_ns)}"
                )
            return None
        if ack.offset is not None and ack.offset != mark.offset:
            where = f"{mark.offset} bytes were sent before it"
            if mark.by_position:
                where = f"it was set at {mark.offset}"
            return Verdict.WRONG, f"{_SAYS} offset {ack.offset}, but {where}"
        if mark.direction_in and ack.outcome == "played":
            return Verdict.WRONG, (
                f"acknowledged as played at {self._at(ack.time_ns)}, but it was set while the "
                "direction of media was 'in'"
            )
        version = self._conversation.playback_marks
        why = _misstated(mark, ack, version) if ack.is_detailed else ""
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
        if audio.raw_ns <= mark.reachable_ns:
            return ""  # already over when the mark was set, however late the packet was
        bounds, clock = self._uncertainty.bounds, audio.clock
        if clock.lateness_ns > bounds.lateness_ns:
            late_ms = clock.lateness_ns / 1e6
            return f"the packet its audio ends in was sent {late_ms:.1f} ms late"
        if clock.around_lateness_ns > bounds.around_lateness_ns:
            around_ms = clock.around_lateness_ns / 1e6
            return f"half of the packets around were sent more than {around_ms:.1f} ms late"
        return ""

    def _unacknowledged(self, mark: Mark, audio: AudioEnd | None, due_ns: int) -> Decision:
        complete = self._wire.is_complete(mark.offset)
        flush = self._conversation.flush_of(mark)
        flush_ns = flush.time_ns if flush else None
        since_ns, event = due_ns, "its audio ended" if audio else "it was sent"
        within_ns = self._late_ns
        if flush_ns is not None and (not complete or flush_ns <= due_ns + self._late_ns):
            if mark.command == "MARK_MEDIA":
                return PASS  # upstream never acknowledges a flushed one
            since_ns, event = max(due_ns, flush_ns), "it was flushed"
            within_ns += self._packet_ns
        elif mark.offset > self._conversation.sent:
            return self._not_owed("media up to it was never sent")
        elif not complete and mark.flushed_to < mark.offset:
            if self._conversation.paused:
                return self._not_owed("media was still paused when listening ended")
            if self._conversation.suspended:
                return self._not_owed("media still waited for a listener when listening ended")
            if self._conversation.direction_in:
                return self._not_owed("media still had the direction 'in' when listening ended")
            # An application can close before the first of its media has had time to leave.
            sent_ns = mark.sent_ns if self._app_closed_ns else 0
            if self._until_ns - max(self._last_rtp_ns, sent_ns) < 5 * self._packet_ns:
                return self._not_owed("listening ended while its audio was still to come")
            event = "the last of its audio that was seen" if audio else "it was sent"
        listened_ns = self._until_ns - since_ns
        listened = f"{listened_ns / 1e9:.3f} s after {event} at {self._at(since_ns)}"
        if listened_ns <= within_ns:
            return self._not_owed(f"listening ended {listened}, which is too early")
        if self._app_closed_ns:
            return Verdict.NEVER, f"not acknowledged; the application closed {listened}"
        return Verdict.NEVER, f"not acknowledged; listened until {listened}"

    def _not_owed(self, why: str) -> Decision:
        """What to say of a mark whose acknowledgement was not due yet when the messages end.

        Where the application closed the connection nobody was there any more to get it.
        """
        return PASS if self._app_closed_ns else (Verdict.INCONCLUSIVE, why)


def _losses(evidence: Evidence) -> dict[int, int]:
    """By the number of a MARK how many bytes its acknowledgement has to count as dropped.

    Each byte counts once, for the first mark behind it that is acknowledged. Left out are marks of
    which the wire does not tell: some of what is missing before them was flushed, or dropped by a
    bridge, which does not know which bytes that were.
    """
    conversation, wire = evidence.conversation, evidence.wire
    if (
        conversation.playback_marks < 2
        or wire.sequence.missing
        or not wire.is_certain
        or any(drop.by_bridge for drop in conversation.drops)
    ):
        return {}
    losses = {}
    counted_to = 0
    acked = [one for one in conversation.marks if one.command == "MARK" and one.ack]
    for mark in sorted(acked, key=_rank):
        ack = mark.ack
        if ack is None or mark.is_refused:
            continue
        begin, end = counted_to, max(counted_to, mark.offset)
        counted_to = end
        flushed = ack.reason in ("flush", "hangup") or any(
            flush.time_ns <= ack.time_ns and flush.begin < end and begin < flush.end
            for flush in conversation.flushes
        )
        if ack.is_detailed and not flushed:
            losses[mark.number] = max(0, wire.missing(begin, wire.whole(end)))
    return losses


def _misstated(mark: Mark, ack: Acknowledgement, version: int) -> str:
    """What is missing in a detailed acknowledgement, or is not as it must be; else empty."""
    again = ack.event.fields.get("correlation_id")
    if again != mark.id or type(again) is not type(mark.id):
        return f"{_SAYS} correlation_id {again!r}"
    stage = ack.event.fields.get("stage")
    if version >= 2 and stage not in STAGES:
        return f"{_SAYS} stage {stage!r}"
    numbers = ["offset", "at"] + (["played_ms", "dropped"] if ack.outcome == "played" else [])
    if version >= 2:
        numbers = [*dict.fromkeys([*numbers, "dropped", "dropped_ms"])]
    missing = [name for name in numbers if ack.event.decimal(name) is None]
    return f"the acknowledgement has no number as {', '.join(missing)}" if missing else ""


def _overtaken(marks: Sequence[Mark], read_ns: int) -> list[tuple[Mark, Mark]]:
    """The MARKs that were acknowledged after one that stands behind them, each with that one.

    At one offset it is the one that was sent later. Not counted: the reply that there is no room
    for one more mark, which comes at once; and what was set by position when Asterisk, which needs
    up to ``read_ns`` to read it, may have acknowledged the other one already.
    """
    acked = [one for one in marks if one.command == "MARK" and one.ack and not one.is_refused]
    order = sorted(acked, key=lambda one: (one.offset, one.number))
    overtaken = []
    earliest = None
    for place in range(len(order) - 1, -1, -1):
        mark = order[place]
        rank = _rank(mark)
        if earliest is not None and rank > earliest:
            before = (
                other
                for other in order[place + 1 :]
                if _rank(other) < rank
                and (mark.number < other.number or mark.sent_ns + read_ns < _acked_ns(other))
            )
            if (other := next(before, None)) is not None:
                overtaken.append((mark, other))
        earliest = rank if earliest is None else min(earliest, rank)
    return overtaken


def _rank(mark: Mark) -> int:
    return mark.ack.rank if mark.ack else 0


def _acked_ns(mark: Mark) -> int:
    return mark.ack.time_ns if mark.ack else 0
