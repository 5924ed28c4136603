"""What the judge says: of one mark, of one of Asterisk's playback counters, of a call. Values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, TypeVar

import numpy as np

from chan_websocket.protocol import Id, MarkCommand
from harness.judge.locate import Location
from harness.judge.media_clock import Clocked

T = TypeVar("T")

MarkOutcome = Literal["played", "discarded"]
Result = Literal["PASS", "FAIL", "INCONCLUSIVE"]


class Verdict(str, Enum):
    """What the judge says of one mark or counter (its explanation says why)."""

    PASS = "PASS"
    EARLY = "EARLY"
    LATE = "LATE"
    NEVER = "NEVER"
    TWICE = "TWICE"
    UNASKED = "UNASKED"
    WRONG = "WRONG"
    INCONCLUSIVE = "INCONCLUSIVE"


FAILURES = frozenset(Verdict) - {Verdict.PASS, Verdict.INCONCLUSIVE}


Decision = tuple[Verdict, str]
"""and why, in one sentence; empty for PASS"""
PASS: Decision = (Verdict.PASS, "")


MAX_INCONCLUSIVE = 5.0
"""Percent of what is to be judged that may stay unjudged, by default: one mark of twenty.

A host stall does not choose whose mark it makes INCONCLUSIVE. So a fault that a driver shows once
in a call is missed with at most this probability, and one that it shows at each mark of a kind is
never missed."""


@dataclass(frozen=True)
class Bounds:
    """What is allowed. The measurement's uncertainty comes on top of times, on both sides.

    There is none for early: an acknowledgement may never be.
    """

    late_ns: int = 2_000_000
    lateness_ns: int = 10_000_000
    """a packet sent later than this against the media clock measures nothing"""
    around_lateness_ns: int = 2_000_000
    """nor do packets of which half are sent later than this"""
    max_inconclusive: float = MAX_INCONCLUSIVE
    """percent of a call's marks, and of its playback counters, that may be INCONCLUSIVE where all
    others pass; see `few_inconclusive`"""


@dataclass(frozen=True)
class MarkVerdict:
    """One mark, or an acknowledgement that no mark asked for (without offset and ``sent_ns``)."""

    id: Id
    command: MarkCommand
    offset: int | None
    """bytes of media sent before it"""
    sent_ns: int | None
    due_ns: int | None
    acked_ns: int | None
    outcome: MarkOutcome | None
    """how it was acknowledged first"""
    difference_ns: int | None
    """acknowledged - due, where it was acknowledged as played"""
    raw_wire_end_ns: int | None
    """end of its audio by the moment its last packet was seen, without the media clock"""
    lateness_ns: int | None
    """of its last packet against the media clock"""
    audio_end_ns: int | None
    """end of its audio on the media clock; None when there is none before it"""
    verdict: Verdict
    explanation: str
    """why, in one sentence; empty for PASS"""
    reason: str = ""
    """of MARK_DISCARDED; empty where the mark was not acknowledged so"""
    unsent_bytes: int = 0
    """of those since the mark or flush before it, how many it says were played although they were
    never sent, and nothing said that they were dropped"""


@dataclass(frozen=True)
class CounterVerdict:
    """One event with playback counters that Asterisk sent, or owes."""

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
class LocatedPacket:
    """An RTP packet: which bytes of the stream it holds, and when they play."""

    time_ns: int
    sequence: int
    """as on the wire"""
    location: Location
    clock: Clocked


@dataclass(frozen=True)
class Statistics:
    """Of the differences (acknowledged - due), in ns."""

    count: int
    min_ns: int
    median_ns: int
    p95_ns: int
    p99_ns: int
    max_ns: int


def statistics(marks: Iterable[MarkVerdict]) -> Statistics | None:
    """Of the differences of the marks whose time could be judged, also of several calls."""
    return statistics_of(timed_differences(marks))


def timed_differences(marks: Iterable[MarkVerdict]) -> list[int]:
    """Acknowledged - due, in ns, of each mark whose time could be judged."""
    timed = {Verdict.PASS, Verdict.EARLY, Verdict.LATE, Verdict.TWICE}
    return [
        mark.difference_ns
        for mark in marks
        if mark.difference_ns is not None and mark.verdict in timed
    ]


def statistics_of(differences: Sequence[int]) -> Statistics | None:
    """Of differences in ns; None when there is none."""
    if not differences:
        return None
    median, p95, p99 = (int(value) for value in np.percentile(differences, [50, 95, 99]))
    return Statistics(len(differences), min(differences), median, p95, p99, max(differences))


def few_inconclusive(
    judged: Iterable[T],
    inconclusive: Sequence[T],
    kinds: Callable[[T], Iterable[object]],
    max_percent: float,
) -> bool:
    """Whether what could not be judged is so little that what could be judged stands for all of it.

    It must be at most ``max_percent`` of all, and for each of its kinds something else must have
    been judged.
    """
    judged = list(judged)
    seen = {kind for one in judged for kind in kinds(one)}
    few = len(inconclusive) * 100 <= max_percent * (len(judged) + len(inconclusive))
    return few and all(kind in seen for one in inconclusive for kind in kinds(one))


def worst(results: Iterable[Result]) -> Result:
    """FAIL if there is one, else INCONCLUSIVE if there is one, else PASS."""
    kinds = set(results)
    if "FAIL" in kinds:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in kinds else "PASS"
