"""What a load did to a PBX, and what can be said of it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, median_low

from harness.judge.many import ManyJudged, percentile_ms
from harness.judge.verdicts import Result, worst

GENERATOR_FULL = 0.9
"""of a processor: it has but one to run on"""
MOST_LATE_S = 1.0
"""so late the generator may send what is due: half of what it is ahead"""
HOST_FULL = 0.95
"""of all processors: what was due then had to wait, whosever it was"""


@dataclass(frozen=True)
class Resources:
    """Of Asterisk's process."""

    memory_bytes: int
    """resident, of its own: without what is mapped from files"""
    descriptors: int


@dataclass(frozen=True)
class Busy:
    """What was taken of processors while the calls were held: 1 is all of one."""

    generator: float
    """SIP, applications and callers: the harness's process, and SIPp"""
    capture: float
    host: float
    """the share that was used of all of them together"""
    asterisk: float | None
    """None where its process cannot be seen"""
    late_s: float
    """how late the applications sent what was due, at most"""


@dataclass(frozen=True)
class LoadKey:
    """What was measured, but for the target."""

    over: str
    """ws or wss"""
    calls: int


@dataclass(frozen=True)
class LoadRound:
    """Calls ramped up, held and hung up, once."""

    target: str
    stock: bool
    """whether it is the stock driver: its early marks are what it is known for"""
    key: LoadKey
    busy: Busy
    judged: ManyJudged
    not_captured: int
    """packets the capture missed"""
    before: Resources | None = None
    """None where Asterisk's process cannot be seen"""
    held: Resources | None = None
    after: Resources | None = None
    settled: bool = False
    """whether SIP had forgotten the calls by then"""

    @property
    def unreliable(self) -> str:
        """Why it says nothing; empty if it does."""
        busy = self.busy
        if busy.generator > GENERATOR_FULL:
            return f"the generator took {busy.generator:.0%} of its processor"
        if busy.late_s > MOST_LATE_S:
            return f"the generator sent media {busy.late_s:.1f} s late"
        if busy.host > HOST_FULL:
            return f"{busy.host:.0%} of all processors were in use"
        if self.not_captured:
            return f"the capture missed {self.not_captured} packets"
        return ""

    @property
    def wrong(self) -> list[str]:
        """What the driver did wrong, in words; whoever is known to is not blamed."""
        if self.stock:
            return []
        judged = self.judged
        counted = {
            "early": judged.early,
            "missing": judged.missing,
            "twice": judged.twice,
            "unasked": judged.unasked,
            "bytes of media lost": judged.lost_bytes,
        }
        return [f"{count} {what}" for what, count in counted.items() if count]

    @property
    def result(self) -> Result:
        """INCONCLUSIVE where the generator or the host was full, whatever else."""
        if self.unreliable:
            return "INCONCLUSIVE"
        return "FAIL" if self.wrong else "PASS"

    # What a row has, by the names of `COLUMNS`.

    @property
    def cpu(self) -> float:
        """Of Asterisk, for each call, in percent of a processor."""
        return math.nan if self.busy.asterisk is None else self.busy.asterisk / self.key.calls * 100

    @property
    def spread_ms(self) -> float:
        """p99 of the acknowledgements' time less the mark's place in the media, less the least."""
        return percentile_ms(self.judged.spreads_ns, 99)

    @property
    def offset_ms(self) -> float:
        """Median of acknowledged less end of audio."""
        return percentile_ms(self.judged.differences_ns, 50)

    @property
    def offset_p99_ms(self) -> float:
        return percentile_ms(self.judged.differences_ns, 99)

    @property
    def memory_kib(self) -> float:
        """For each call."""
        if self.before is None or self.held is None:
            return math.nan
        return (self.held.memory_bytes - self.before.memory_bytes) / self.key.calls / 1024

    @property
    def memory_after_kib(self) -> float:
        """More than before the calls, when they are over."""
        if self.before is None or self.after is None:
            return math.nan
        return (self.after.memory_bytes - self.before.memory_bytes) / 1024

    @property
    def descriptors(self) -> float:
        """For each call."""
        if self.before is None or self.held is None:
            return math.nan
        return (self.held.descriptors - self.before.descriptors) / self.key.calls

    @property
    def descriptors_after(self) -> float:
        """More than before the calls, when they are over."""
        if self.before is None or self.after is None:
            return math.nan
        return self.after.descriptors - self.before.descriptors

    @property
    def figures(self) -> dict[str, object]:
        """All of it by name."""
        judged, busy = self.judged, self.busy
        figures: dict[str, object] = {
            "target": self.target,
            "over": self.key.over,
            "calls": self.key.calls,
            "result": self.result,
            "unreliable": self.unreliable,
            "marks": judged.marks,
            "packets": judged.packets,
            "early": judged.early,
            "missing": judged.missing,
            "twice": judged.twice,
            "unasked": judged.unasked,
            "discarded": judged.discarded,
            "gaps": judged.gaps,
            "longest_gap_ms": judged.longest_gap_ns / 1e6,
            "lost_bytes": judged.lost_bytes,
            "not_captured": self.not_captured,
            "generator": busy.generator,
            "generator_late_s": busy.late_s,
            "capture": busy.capture,
            "host": busy.host,
        }
        measured = {
            "cpu_percent_a_call": self.cpu,
            "spread_p99_ms": self.spread_ms,
            "offset_median_ms": self.offset_ms,
            "offset_p99_ms": self.offset_p99_ms,
            "memory_kib_a_call": self.memory_kib,
            "memory_after_kib": self.memory_after_kib,
            "descriptors_a_call": self.descriptors,
            "descriptors_after": self.descriptors_after,
        }
        known = {name: None if math.isnan(value) else value for name, value in measured.items()}
        return figures | known


@dataclass
class LoadMeasurement:
    """All rounds of a command, in the order they were made."""

    rounds: list[LoadRound] = field(default_factory=list)

    @property
    def result(self) -> Result:
        """The worst of all."""
        return worst(one.result for one in self.rounds)

    @property
    def keys(self) -> list[LoadKey]:
        """What was measured, in order."""
        return list(dict.fromkeys(one.key for one in self.rounds))

    @property
    def figures(self) -> list[dict[str, object]]:
        """Of all rounds, as JSON takes them: what is not known is None."""
        return [one.figures for one in self.rounds]

    @property
    def targets(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(one.target for one in self.rounds))

    def of(self, key: LoadKey, target: str) -> list[LoadRound]:
        """The rounds of one row."""
        return [one for one in self.rounds if (one.key, one.target) == (key, target)]

    def ratios(self, key: LoadKey, figure: Callable[[LoadRound], float]) -> list[float]:
        """The first target's to the second one's, of each two rounds that followed each other and
        that tell something."""
        pairs = [(figure(ours), figure(theirs)) for ours, theirs in self._pairs(key)]
        return [a / b for a, b in pairs if b > 0]

    def reliable_pairs(self, key: LoadKey) -> int:
        """Of how many pairs of rounds `ratios` are."""
        return len(self._pairs(key))

    def _pairs(self, key: LoadKey) -> list[tuple[LoadRound, LoadRound]]:
        ours, theirs = (self.of(key, target) for target in self.targets[:2])
        pairs = zip(ours, theirs, strict=False)
        return [pair for pair in pairs if not any(one.unreliable for one in pair)]


MOST_GROWN_BYTES = 1 << 20
"""of memory between the first waves of a soak and the last ones"""
SOAK_BEGIN = slice(2, 5)
SOAK_END = slice(-3, None)
"""the waves that are compared, where there are so many, by the median: the first two may take
memory that is kept for those after them"""


@dataclass
class Soak:
    """Waves of calls that come and go, on one Asterisk."""

    waves: list[LoadRound] = field(default_factory=list)

    @property
    def grown(self) -> Resources:
        """By how much more memory than after the first waves is taken after the last ones of those
        that have settled; how many more descriptors than after the first are open after the last.
        """
        after = [wave.after for wave in self.waves if wave.after is not None]
        settled = [one.after.memory_bytes for one in self.waves if one.settled and one.after]
        if not after:
            return Resources(0, 0)
        begin, end = settled[:1], settled[-1:]
        if len(settled) >= SOAK_BEGIN.stop - SOAK_END.start:
            begin, end = settled[SOAK_BEGIN], settled[SOAK_END]
        grown = median_low(end) - median_low(begin) if settled else 0
        return Resources(grown, after[-1].descriptors - after[0].descriptors)

    @staticmethod
    def settles(number: int, waves: int) -> bool:
        """Whether wave ``number`` of so many, from 0, is one that is compared, or kept from it."""
        return number < SOAK_BEGIN.stop or number - waves >= SOAK_END.start

    @property
    def wrong(self) -> list[str]:
        """What has not come back, in words."""
        grown = self.grown
        wrong = []
        if grown.memory_bytes > MOST_GROWN_BYTES:
            wrong.append(f"memory has grown by {grown.memory_bytes / 1024:.0f} KiB")
        if grown.descriptors > 0:
            wrong.append(f"{grown.descriptors} descriptors are left open")
        return wrong

    @property
    def result(self) -> Result:
        """The worst of all waves, and FAIL for what has not come back."""
        return worst([*map(self.verdict, self.waves), "FAIL" if self.wrong else "PASS"])

    @staticmethod
    def verdict(wave: LoadRound) -> Result:
        """Of one wave. A host that is full excuses nothing: there is no limit to be late."""
        if wave.not_captured:
            return "INCONCLUSIVE"
        return "FAIL" if wave.wrong else "PASS"


def middle(values: Iterable[float]) -> float:
    """The median of those that are numbers; not a number if there is none."""
    numbers = [value for value in values if not math.isnan(value)]
    return median(numbers) if numbers else math.nan


def lowest_and_highest(values: Sequence[float]) -> tuple[float, float]:
    """Of those that are numbers; not numbers if there is none."""
    numbers = [value for value in values if not math.isnan(value)]
    return (min(numbers), max(numbers)) if numbers else (math.nan, math.nan)
