"""What a scenario expects of its call, besides that every mark and account is truthful. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from harness.capture.timeline import Timeline
from harness.judge.judge import CallVerdict
from harness.judge.messages import MarkId, as_id, read_event


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
    """the media to the caller went on without interruption"""
    missed: tuple[str, ...] = ()
    """what its steps waited for in vain: noticed during the call, and taken as it is"""


def unexpected(expected: Expectations, timeline: Timeline, verdict: CallVerdict) -> list[str]:
    """What did not come of a judged call as it was expected to, each as a sentence."""
    events, answers = _events(timeline)
    file = expected.file
    texts = list(expected.missed)
    for mark_id, wanted in expected.marks.items():
        for mark in verdict.marks:
            named = str(mark.id) == mark_id
            others = mark_id == "all" and str(mark.id) not in expected.marks
            if mark.offset is None or not (named or others):
                continue
            said = answers.get(mark.id, "nothing")
            if said != wanted:
                texts.append(f'{file}: mark "{mark.id}" was to be {wanted}, and is {said}')
        if mark_id != "all" and not any(str(mark.id) == mark_id for mark in verdict.marks):
            texts.append(f'{file}: there is no mark "{mark_id}"')
    for name, (least, most) in expected.events.items():
        if not least <= events[name] <= most:
            count = str(least) if least == most else f"{least} to {most}"
            texts.append(f"{file}: {count} {name} were to come, and {events[name]} did")
    if expected.gapless and (gaps := _gaps(verdict)):
        texts.append(f"{file}: the media to the caller was interrupted {gaps} times")
    return texts


def _events(timeline: Timeline) -> tuple[Counter[str], dict[MarkId, str]]:
    """How often each event came, and how the latest mark of each id was answered."""
    events: Counter[str] = Counter()
    answers: dict[MarkId, str] = {}
    for message in timeline.messages:
        if message.sender != "asterisk" or message.kind != "text":
            continue
        name, fields = read_event(message)
        events[name] += 1
        if name == "MEDIA_MARK_PROCESSED":
            answers[as_id(fields.get("correlation_id"))] = "played"
        elif name == "MARK_PLAYED":
            answers[as_id(fields.get("id"))] = "played"
        elif name == "MARK_DISCARDED":
            answers[as_id(fields.get("id"))] = str(fields.get("reason"))
    return events, answers


def _gaps(verdict: CallVerdict) -> int:
    """How often the media was interrupted, but for the times when the host stood still."""
    media = [place for place in verdict.places if place.location.pieces]
    return sum(
        after.clock.stretch != before.clock.stretch
        and not _stalled(verdict, before.time_ns, after.time_ns)
        for before, after in pairwise(media)
    )


def _stalled(verdict: CallVerdict, begin_ns: int, end_ns: int) -> bool:
    """Whether one stall took a good part of this time: a third, for what was due goes on late."""
    return any(
        min(end, end_ns) - max(begin, begin_ns) > (end_ns - begin_ns) / 3
        for begin, end in verdict.ruler.stalls
    )
