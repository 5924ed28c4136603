"""What a scenario expects of its call, besides that every mark and account is truthful. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness.capture.timeline import Timeline
from harness.judge.judge import CallVerdict, MarkVerdict, PacketPlace
from harness.judge.messages import read_command, read_event


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
    missed: tuple[str, ...] = ()
    """what its steps waited for in vain: noticed during the call, and taken as it is"""


def unexpected(expected: Expectations, timeline: Timeline, verdict: CallVerdict) -> list[str]:
    """What did not come of a judged call as it was expected to, each as a sentence."""
    events = _events(timeline)
    file = expected.file
    texts = list(expected.missed)
    for mark_id, wanted in expected.marks.items():
        for mark in verdict.marks:
            named = str(mark.id) == mark_id
            others = mark_id == "all" and str(mark.id) not in expected.marks
            if mark.offset is None or not (named or others):
                continue
            said = _answer(mark)
            if said != wanted:
                texts.append(f'{file}: mark "{mark.id}" was to be {wanted}, and is {said}')
        if mark_id != "all" and not any(str(mark.id) == mark_id for mark in verdict.marks):
            texts.append(f'{file}: there is no mark "{mark_id}"')
    unnamed = [
        mark
        for mark in verdict.marks
        if mark.offset is not None and str(mark.id) not in expected.marks
    ]
    if "all" in expected.marks and not unnamed:
        texts.append(f"{file}: there is no mark that 'all' could stand for")
    for name, (least, most) in expected.events.items():
        if not least <= events[name] <= most:
            count = str(least) if least == most else f"{least} to {most}"
            texts.append(f"{file}: {count} {name} were to come, and {events[name]} did")
    if expected.gapless and (gaps := _gaps(timeline, verdict)):
        texts.append(f"{file}: the media to the caller was interrupted {gaps} times")
    return texts


def _events(timeline: Timeline) -> Counter[str]:
    """How often each event came."""
    return Counter(
        read_event(message)[0]
        for message in timeline.messages
        if message.sender == "asterisk" and message.kind == "text"
    )


def _answer(mark: MarkVerdict) -> str:
    """How a mark was answered first: played, a reason of MARK_DISCARDED, or nothing."""
    if mark.outcome is None:
        return "nothing"
    return (mark.reason or "discarded") if mark.outcome == "discarded" else "played"


def _gaps(timeline: Timeline, verdict: CallVerdict) -> int:
    """How often the media was interrupted, but for the times when the host stood still.

    By a new stretch of its clock, or by silence (or nothing) in a packet for which there was media.
    """
    sending = _sending(timeline)
    places = verdict.places
    media = [index for index, place in enumerate(places) if place.location.pieces]
    return sum(
        (
            places[first].clock.stretch != places[last].clock.stretch
            or _silence_put_in(timeline, verdict, sending, places[first : last + 1])
        )
        and not _stalled(verdict, places[first].time_ns, places[last].time_ns)
        for first, last in pairwise(media)
    )


@dataclass
class _Sending:
    """When the application sent which bytes of its stream."""

    ends: list[int] = field(default_factory=list)
    """offset behind each message, and"""
    times: list[int] = field(default_factory=list)
    """when it was sent"""
    borders: list[int] = field(default_factory=list)
    """offsets at which the driver fills no frame with what comes behind: behind each message
    outside buffering, and where buffering was ended"""

    def sent_ns(self, end: int) -> int | None:
        """When the last of the first ``end`` bytes was sent; None if it was not."""
        index = bisect_left(self.ends, end)
        return self.times[index] if index < len(self.ends) else None

    def frame_end(self, begin: int, length: int) -> int:
        """Where a frame ends that begins there, or goes on, and has room for ``length`` bytes."""
        index = bisect_right(self.borders, begin)
        border = self.borders[index] if index < len(self.borders) else begin + length
        return min(begin + length, border)


def _sending(timeline: Timeline) -> _Sending:
    sending = _Sending()
    received = 0
    buffering = False
    for message in timeline.messages:
        if message.sender != "application":
            continue
        if message.kind == "binary":
            received += len(message.data)
            sending.ends.append(received)
            sending.times.append(message.time_ns)
            if not buffering:
                sending.borders.append(received)
        elif message.kind == "text":
            name, _, _ = read_command(message)
            if name == "START_MEDIA_BUFFERING":
                buffering = True
            elif name in ("STOP_MEDIA_BUFFERING", "FLUSH_MEDIA"):
                buffering = False
                sending.borders.append(received)
    return sending


def _silence_put_in(
    timeline: Timeline, verdict: CallVerdict, sending: _Sending, places: Sequence[PacketPlace]
) -> bool:
    """Whether media went out later than it could, in the last of these packets instead of before.

    The first and the last of ``places`` hold media; those in between hold none.
    """
    if timeline.recoded is not None:
        return False  # what is located by its sound is not known to the byte
    codec = timeline.codec
    frame = codec.bytes_per_second * codec.ptime_ms // 1000
    following = places[-1].location.pieces[0].offset
    for place in places[:-1]:
        location = place.location
        room = frame - sum(piece.length for piece in location.pieces)
        # A frame that ends at a border is not filled up with what comes behind it.
        closed = bool(location.pieces) and location.pieces[-1].end in sending.borders
        if room <= 0 or closed or not location.certain:
            continue
        sent_ns = sending.sent_ns(sending.frame_end(following, room))
        if sent_ns is not None and _could_play(verdict, sent_ns, place.clock.start_ns):
            return True
    return False


def _could_play(verdict: CallVerdict, sent_ns: int, play_ns: int) -> bool:
    """Whether what was sent at the one time had to be there at the other."""
    ruler = verdict.ruler
    stalled_ns = sum(max(0, min(end, play_ns) - max(begin, sent_ns)) for begin, end in ruler.stalls)
    allowed_ns = verdict.bounds.late_ns + 2 * ruler.error_ns + stalled_ns
    return sent_ns + allowed_ns < play_ns


def _stalled(verdict: CallVerdict, begin_ns: int, end_ns: int) -> bool:
    """Whether one stall took a good part of this time: a third, for what was due goes on late."""
    return any(
        min(end, end_ns) - max(begin, begin_ns) > (end_ns - begin_ns) / 3
        for begin, end in verdict.ruler.stalls
    )
