"""Whether a mark was acknowledged as played rightly: in time, with its media, true values. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.judge.conversation import Acknowledgement, DroppedMedia, Mark
from harness.judge.evidence import Evidence
from harness.judge.uncertainty import MOST_UNCERTAIN_NS
from harness.judge.verdicts import PASS, Decision, Verdict
from harness.judge.wire import AudioEnd, Wire

_DROP_REPORTED_NS = 500_000_000
"""So long after media was dropped MEDIA_DROPPED reports it at the latest: there are four reasons,
and ten events a second"""

_SAYS = "the acknowledgement says"


class PlayedMarks:
    """The marks of a call that MARK_PLAYED or MEDIA_MARK_PROCESSED acknowledges."""

    def __init__(self, evidence: Evidence) -> None:
        self._at = evidence.at
        self._wire = evidence.wire
        self._uncertainty = evidence.uncertainty
        self._codec = evidence.codec
        self._late_ns = evidence.uncertainty.late_ns
        self._frame_ns = evidence.uncertainty.frame_ns
        self._idle = sorted(
            (begin_ns, end_ns)
            for begin_ns, end_ns in [
                *evidence.conversation.pauses,
                *evidence.conversation.deafness,
            ]
            if end_ns is not None
        )
        self._version = evidence.conversation.playback_marks
        self._app_closed_ns = evidence.conversation.closed_by_ns("application")
        self._dropped = DroppedMedia(evidence.conversation.drops)
        self._missing = _missing_media(
            evidence.conversation.marks, evidence.wire, self._dropped, self._version
        )
        self._unsent = [one for one in evidence.conversation.drops if one.reason == "unsent"]
        self._clocks_ns = _between_clocks(evidence.conversation.marks)

    def decide(
        self, mark: Mark, ack: Acknowledgement, audio: AudioEnd | None, due_ns: int
    ) -> Decision:
        """The verdict, and why."""
        missing = self._media_missing(mark, ack)
        if missing:
            return missing
        difference_ns = ack.time_ns - due_ns
        latest_ns = max(due_ns, audio.latest_ns if audio else 0) + self._unsent_ns(mark, audio)
        if mark.command == "MARK_MEDIA":
            latest_ns = self._passed_queue_ns(latest_ns)
        if (
            difference_ns >= -self._uncertainty.tolerance_ns
            and ack.time_ns <= latest_ns + self._late_ns
        ):
            return self._in_time(mark, ack, due_ns, latest_ns)
        cause = (
            "it was sent, with nothing left to play,"
            if due_ns == mark.reachable_ns
            else "its audio ended"
        )
        explanation = f"acknowledged at {self._at(ack.time_ns)}, {cause} at {self._at(due_ns)}"
        if difference_ns < 0:
            verdict, excuse = Verdict.EARLY, self._early_excuse(difference_ns, audio)
        else:
            verdict, excuse = Verdict.LATE, self._late_excuse(latest_ns, ack.time_ns)
        if excuse:
            return Verdict.INCONCLUSIVE, f"{explanation}; {excuse}"
        return verdict, explanation

    def unsent_bytes(self, mark: Mark) -> int:
        """How many bytes a mark says were played that were never sent."""
        found = self._missing.get(mark.number)
        unsent = found.unreported if found else 0
        return unsent if unsent > self._uncertainty.error_bytes else 0

    def _unsent_ns(self, mark: Mark, audio: AudioEnd | None) -> int:
        """How long what is missing at the end of a mark's media may have taken to be missed.

        What the listener's channel does not send is missed when it would have been sent, the end of
        a frame that is resampled with the next one.
        """
        heard = audio.last if audio else 0
        if not any(drop.offset < mark.offset and drop.received > heard for drop in self._unsent):
            return 0
        resampled_ns = self._frame_ns if self._uncertainty.error_bytes else 0
        return (
            self._codec.duration_ns(mark.offset - heard)
            + self._uncertainty.packet_ns
            + resampled_ns
        )

    def _passed_queue_ns(self, latest_ns: int) -> int:
        """When a MARK_MEDIA is due at the latest: it passes the queue itself, at a tick, and there
        is none while media is paused or the direction is ``in``."""
        for begin_ns, end_ns in self._idle:
            if begin_ns <= latest_ns + self._frame_ns and latest_ns < end_ns:
                latest_ns = end_ns + self._frame_ns
        return latest_ns

    def _in_time(self, mark: Mark, ack: Acknowledgement, due_ns: int, latest_ns: int) -> Decision:
        uncertainty_ns = self._uncertainty.measurement.uncertainty_ns
        if uncertainty_ns > MOST_UNCERTAIN_NS:
            return Verdict.INCONCLUSIVE, (
                f"it seems in time, but by times that can be wrong by {uncertainty_ns / 1e6:.1f} ms"
            )
        if self._uncertainty.taken_late(ack.time_ns):
            return Verdict.INCONCLUSIVE, (
                "it seems in time, but the harness itself was late to see the acknowledgement"
            )
        wrong = self._wrong_values(mark, ack, due_ns, latest_ns) if ack.is_detailed else ""
        return (Verdict.WRONG, wrong) if wrong else PASS

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

    def _wrong_values(self, mark: Mark, ack: Acknowledgement, due_ns: int, latest_ns: int) -> str:
        """What is wrong with the values of an acknowledgement in time; empty if nothing is."""
        codec, end = self._codec, self._wire.whole(mark.offset)
        played_ms = ack.event.decimal("played_ms") or 0.0
        seen = self._wire.seen(0, end)
        hidden = self._dropped.hidden(codec.frame_bytes)
        byte_ms = 1000 / codec.bytes_per_second
        error_ms = self._uncertainty.error_ms
        least_ms, most_ms = (seen - hidden) * byte_ms - error_ms, seen * byte_ms + error_ms
        if not least_ms <= played_ms <= most_ms and not self._wire.sequence.missing:
            return f"{_SAYS} played_ms {played_ms:g}, but it should be {seen * byte_ms:.3f}"
        dropped, reported = ack.dropped, self._dropped.total
        if dropped > reported and not self._left_too_early(ack):
            return f"{_SAYS} dropped {dropped}, but MEDIA_DROPPED events reported {reported}"
        if self._version >= 2 and (why := self._not_played(mark, ack)):
            return why
        if ack.at_ns is None:
            return ""
        at_ns, around_ns = ack.at_ns + self._clocks_ns, self._late_ns + self._frame_ns
        if not due_ns - around_ns <= at_ns <= latest_ns + around_ns:
            return (
                f"{_SAYS} at {ack.at_ns / 1e6:.3f}, but by the clock of the other acknowledgements "
                f"it was due at {(due_ns - self._clocks_ns) / 1e6:.3f}"
            )
        return ""

    def _not_played(self, mark: Mark, ack: Acknowledgement) -> str:
        """What is wrong with what it says of dropped media; empty if nothing is."""
        dropped_ms = ack.event.decimal("dropped_ms") or 0.0
        should_ms = ack.dropped * 1000 / self._codec.bytes_per_second
        if abs(dropped_ms - should_ms) > self._uncertainty.error_ms:
            return f"{_SAYS} dropped_ms {dropped_ms:g}, but it should be {should_ms:.3f}"
        begin, end = mark.piece_begin, mark.offset
        if ack.dropped and begin < end and not self._wire.seen(begin, end):
            return (
                f"{_SAYS} dropped {ack.dropped}, and nothing else behind the mark before it was "
                "sent: so it was not played"
            )
        return ""

    def _media_missing(self, mark: Mark, ack: Acknowledgement) -> Decision | None:
        """What to say of a mark acknowledged as played when media that it stands behind is not
        there."""
        found = self._missing[mark.number]
        if found.unreported <= self._uncertainty.error_bytes:
            return None
        end = self._wire.whole(mark.offset)
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
    marks: Sequence[Mark], wire: Wire, dropped: DroppedMedia, version: int
) -> dict[int, _Missing]:
    """By the number of each mark that was acknowledged as played.

    Since ``version`` 2 what is missing before a MARK has to be told before its acknowledgement.
    """
    found = {}
    played_to = 0
    for mark in sorted(marks, key=lambda one: (one.offset, one.number)):
        if mark.ack is None or mark.ack.outcome != "played":
            continue
        begin, end = max(played_to, mark.flushed_to), wire.whole(mark.offset)
        missing = wire.missing(begin, end)
        before = mark.ack.rank if version >= 2 and mark.command == "MARK" else None
        unreported = missing - dropped.use_up(begin, end, missing, before)
        found[mark.number] = _Missing(begin, missing, unreported)
        played_to = end
    return found


def _between_clocks(marks: Sequence[Mark]) -> int:
    """How far the capture's clock is ahead of the one that Asterisk's ``at`` is from.

    That is mostly how long an acknowledgement takes; but Asterisk may run on another host. What is
    discarded may wait for its turn. The lower of two medians: a stall of the host only adds to it.
    """
    differences = [
        mark.ack.time_ns - mark.ack.at_ns
        for mark in marks
        if mark.ack and mark.ack.outcome == "played" and mark.ack.at_ns is not None
    ]
    return sorted(differences)[(len(differences) - 1) // 2] if differences else 0
