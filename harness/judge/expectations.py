"""What a scenario expects of its call, besides that every mark and counter is true. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from harness.judge.evidence import Evidence
from harness.judge.uncertainty import Uncertainty
from harness.judge.verdicts import LocatedPacket, MarkVerdict, Verdict


@dataclass(frozen=True)
class Expectations:
    """What must have come of a call."""

    file: str
    """the scenario's, by its name"""
    marks: Mapping[str, str]
    """by id (numbers as text), or "all" for those not named: played, nothing, or a reason of
    MARK_DISCARDED"""
    events: Mapping[str, tuple[int, int]]
    """how many of them came, at least and at most"""
    gapless: bool
    """the media to the caller went on without interruption, with no silence put into it"""
    stage: str = ""
    """what every acknowledgement of a MARK in JSON and every PLAYBACK but the last says of how far
    media was followed; empty for anything"""
    missed: tuple[str, ...] = ()
    """what its steps waited for in vain: noticed during the call, and taken as it is"""


def unmet_expectations(
    expected: Expectations, evidence: Evidence, marks: Sequence[MarkVerdict]
) -> list[str]:
    """What did not come of a call as it was expected to, each as a sentence."""
    file = expected.file
    texts = [*expected.missed, *_unmet_by_marks(expected, marks)]
    events = evidence.conversation.count_events()
    for name, (least, most) in expected.events.items():
        if not least <= events[name] <= most:
            count = str(least) if least == most else f"{least} to {most}"
            texts.append(f"{file}: {count} {name} were to come, and {events[name]} did")
    if expected.stage and evidence.conversation.playback_marks >= 2:
        texts += _unmet_by_stage(expected, evidence)
    if expected.gapless and (gaps := _Gaps(evidence).count()):
        texts.append(f"{file}: the media to the caller was interrupted {gaps} times")
    return texts


def _unmet_by_stage(expected: Expectations, evidence: Evidence) -> list[str]:
    said = [
        one.event
        for one in evidence.conversation.events
        # Before any media the call may not have been set up.
        if "stage" in one.event.fields
        and not one.event.flag("final")
        and (one.event.count("received") or one.event.count("offset"))
    ]
    other = next((one for one in said if one.fields["stage"] != expected.stage), None)
    if other is None:
        return []
    return [f"{expected.file}: the stage was to be {expected.stage}: {other}"]


_LOSS_NS = 2_000_000_000
"""so long before its acknowledgement at most what was before a mark was lost"""
_LOST = ("bridge", "unsent")
"""reasons of marks whose media Asterisk may throw away where it has no time for it"""


def unless_host_stalled(
    expected: Expectations, marks: Sequence[MarkVerdict], uncertainty: Uncertainty
) -> tuple[MarkVerdict, ...]:
    """``marks``, INCONCLUSIVE where the loss of one that was to be played may be a host stall's."""
    return tuple(_unless_host_stalled(expected, mark, uncertainty) for mark in marks)


def _unless_host_stalled(
    expected: Expectations, mark: MarkVerdict, uncertainty: Uncertainty
) -> MarkVerdict:
    wanted = expected.marks.get(str(mark.id), expected.marks.get("all"))
    acked_ns = mark.acked_ns or 0
    stalled_ns = uncertainty.stalled_near(acked_ns - _LOSS_NS, acked_ns, uncertainty.frame_ns)
    if wanted != "played" or _became(mark) not in _LOST or not stalled_ns:
        return mark
    if mark.verdict is not Verdict.PASS:
        return mark
    why = f"discarded, but the host stalled for {stalled_ns / 1e6:.0f} ms before"
    return replace(mark, verdict=Verdict.INCONCLUSIVE, explanation=why)


def _unmet_by_marks(expected: Expectations, marks: Sequence[MarkVerdict]) -> list[str]:
    file = expected.file
    texts = []
    for mark_id, wanted in expected.marks.items():
        for mark in marks:
            named = str(mark.id) == mark_id
            others = mark_id == "all" and str(mark.id) not in expected.marks
            if mark.offset is None or not (named or others):
                continue
            became = _became(mark)
            lost = mark.verdict is Verdict.INCONCLUSIVE and became in _LOST
            if became != wanted and not lost:
                texts.append(f'{file}: mark "{mark.id}" was to be {wanted}, and is {became}')
        if mark_id != "all" and not any(str(mark.id) == mark_id for mark in marks):
            texts.append(f'{file}: there is no mark "{mark_id}"')
    unnamed = [
        mark for mark in marks if mark.offset is not None and str(mark.id) not in expected.marks
    ]
    if "all" in expected.marks and not unnamed:
        texts.append(f"{file}: there is no mark that 'all' could stand for")
    return texts


def _became(mark: MarkVerdict) -> str:
    """How a mark was acknowledged first: played, a reason of MARK_DISCARDED, or nothing."""
    if mark.outcome is None:
        return "nothing"
    return (mark.reason or "discarded") if mark.outcome == "discarded" else "played"


class _Gaps:
    """How often the media was interrupted, but for the times when the host stood still."""

    def __init__(self, evidence: Evidence) -> None:
        self._codec = evidence.codec
        self._recoded = evidence.timeline.recoded is not None
        self._conversation = evidence.conversation
        self._packets = evidence.wire.packets
        self._uncertainty = evidence.uncertainty

    def count(self) -> int:
        """By a new segment of its clock, or by silence (or nothing) where there was media."""
        packets = self._packets
        media = [index for index, one in enumerate(packets) if one.location.pieces]
        return sum(
            (
                packets[first].clock.segment != packets[last].clock.segment
                or self._silence_put_in(packets[first : last + 1])
            )
            # From the clock on, as a stall can both keep a packet back and make the next one miss
            # its tick.
            and not self._uncertainty.mostly_stalled(
                packets[first].clock.start_ns, packets[last].time_ns
            )
            for first, last in pairwise(media)
        )

    def _silence_put_in(self, packets: Sequence[LocatedPacket]) -> bool:
        """Whether media went out later than it could: in the last of these instead of before.

        The first and the last of ``packets`` hold media; those in between hold none.
        """
        if self._recoded:
            return False  # what is located by its sound is not known to the byte
        following = packets[-1].location.pieces[0].offset
        for packet in packets[:-1]:
            location = packet.location
            room = self._codec.frame_bytes - sum(piece.length for piece in location.pieces)
            # A frame that ends at a border is not filled up with what comes behind it.
            closed = bool(location.pieces) and location.pieces[-1].end in self._conversation.borders
            if room <= 0 or closed or not location.certain:
                continue
            sent_ns = self._conversation.sent_ns(self._conversation.frame_end(following, room))
            if sent_ns is not None and self._could_play(sent_ns, packet.clock.start_ns):
                return True
        return False

    def _could_play(self, sent_ns: int, play_ns: int) -> bool:
        """Whether what was sent at the one time had to be there at the other."""
        measurement = self._uncertainty.measurement
        stalled_ns = sum(
            max(0, min(end, play_ns) - max(begin, sent_ns))
            for begin, end in measurement.host_stalls
        )
        allowed_ns = self._uncertainty.bounds.late_ns + 2 * measurement.uncertainty_ns + stalled_ns
        return sent_ns + allowed_ns < play_ns
