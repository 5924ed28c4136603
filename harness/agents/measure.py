"""The frameworks by their names, and how far what they believe is from the wire."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.agents.conversation import AgentOn, Compared, Ending
from harness.judge.call import JudgedCall
from harness.judge.uncertainty import Uncertainty
from harness.judge.verdicts import (
    FAILURES,
    Bounds,
    MarkVerdict,
    Result,
    Statistics,
    Verdict,
    few_inconclusive,
    statistics_of,
)
from harness.media.codecs import codec_named

OVER = Bounds(late_ns=3_000_000)
"""how late a framework may say that something is over"""
POSITION_MS = 1.0
"""how far the position of an interruption may be from the one on the wire"""


@dataclass(frozen=True)
class Framework:
    """What agents are written with."""

    module: str
    """that has to be there"""
    package: str
    """by its name on PyPI"""
    ours: bool = True
    """whether it stands on the client package"""
    codec: str = "ulaw"
    """that its agent speaks"""

    @property
    def installed(self) -> bool:
        """Whether it is there."""
        return importlib.util.find_spec(self.module) is not None

    @property
    def version(self) -> str:
        """Name and version of the package."""
        return f"{self.package} {importlib.metadata.version(self.package)}"


FRAMEWORKS = {
    "pipecat": Framework("pipecat", "pipecat-ai"),
    "livekit": Framework("livekit", "livekit-agents"),
    "pipecat-asterisk": Framework("pipecat_asterisk", "pipecat-asterisk", ours=False, codec="slin"),
}


def agent_on(framework: str) -> AgentOn:
    """The agent of one of `FRAMEWORKS`, which must be installed."""
    if framework == "pipecat":
        from harness.agents.pipecat_bot import pipecat_bot

        return pipecat_bot
    if framework == "pipecat-asterisk":
        from harness.agents.pipecat_asterisk_bot import pipecat_asterisk_bot

        return pipecat_asterisk_bot
    from harness.agents.livekit_agent import livekit_agent

    return livekit_agent


@dataclass(frozen=True)
class Figures:
    """Of one framework on one driver."""

    over: Statistics | None
    """by how much it said that it was over after its audio had ended on the wire"""
    parts: tuple[tuple[str, Statistics], ...]
    """what that consists of, where there were acknowledgements"""
    endings: tuple[MarkVerdict, ...]
    """each as the acknowledgement of a mark at the end of what was said"""
    interruptions: int
    right: int
    """of these: where the model is told the words that were heard"""
    wrong: int
    """of all that was said: where it is told others"""
    too_many: int
    """words, at most, that it is told were heard and were not"""
    off_ms: float | None
    """the most that a position was off; None where none was claimed"""

    @property
    def result(self) -> Result:
        """FAIL if anything that was believed was untrue, or late without the host's fault."""
        if self._untrue or any(one.verdict in FAILURES for one in self.endings):
            return "FAIL"
        passed = [one for one in self.endings if one.verdict is Verdict.PASS]
        unjudged = [one for one in self.endings if one.verdict is Verdict.INCONCLUSIVE]
        few = few_inconclusive(passed, unjudged, lambda one: [one.command], OVER.max_inconclusive)
        return "PASS" if passed and few else "INCONCLUSIVE"

    @property
    def only_late(self) -> bool:
        """Whether nothing is wrong but that something came late."""
        failures = FAILURES & {one.verdict for one in self.endings}
        return failures == {Verdict.LATE} and not self._untrue

    @property
    def failures(self) -> list[str]:
        """What was untrue or late, each as a sentence."""
        texts = []
        if self.wrong:
            texts.append(f"other words than were heard: {self.wrong} things that were said")
        if abs(self.off_ms or 0.0) > POSITION_MS:
            texts.append(f"a position is {self.off_ms:+.1f} ms off the one on the wire")
        for one in self.endings:
            if one.verdict is not Verdict.PASS:
                after_ms = (one.difference_ns or 0) / 1e6
                texts.append(f"{one.id} {one.verdict.value}: {after_ms:+.1f} ms; {one.explanation}")
        return texts

    @property
    def _untrue(self) -> bool:
        return self.wrong > 0 or abs(self.off_ms or 0.0) > POSITION_MS

    @property
    def left_out(self) -> int:
        """Endings whose time says nothing: the host stalled."""
        return sum(one.verdict is Verdict.INCONCLUSIVE for one in self.endings)


def figures(
    judged: JudgedCall, compared: Sequence[Compared], stalls: Sequence[tuple[int, int]]
) -> Figures:
    """Of what was said on a call. ``stalls`` are the host's, for a process like the agent's.

    Asterisk runs at a priority of its own: what keeps the agent waiting need not keep Asterisk.
    """
    endings = [one.ending for one in compared if one.ending]
    verdicts = _verdicts(judged, endings, stalls)
    timed = [
        ending
        for ending, one in zip(endings, verdicts, strict=True)
        if one.verdict is not Verdict.INCONCLUSIVE
    ]
    cut = [one for one in compared if one.interrupted]
    off_ms = [one.position_off_ms for one in compared if one.position_off_ms is not None]
    return Figures(
        statistics_of([ending.over_ns - ending.end_ns for ending in timed]),
        _parts(timed),
        tuple(verdicts),
        len(cut),
        sum(one.claimed == one.heard for one in cut),
        sum(one.claimed != one.heard for one in compared),
        max((one.claimed - one.heard for one in compared), default=0),
        max(off_ms, key=abs, default=None),
    )


def _verdicts(
    judged: JudgedCall, endings: Sequence[Ending], stalls: Sequence[tuple[int, int]]
) -> list[MarkVerdict]:
    seen = tuple(sorted([*judged.measurement.host_stalls, *stalls]))
    measurement = replace(judged.measurement, host_stalls=seen)
    uncertainty = Uncertainty(measurement, OVER, codec_named(judged.codec), judged.ptime_ms)

    def verdict(ending: Ending) -> tuple[Verdict, str]:
        difference_ns = ending.over_ns - ending.end_ns
        if difference_ns < -uncertainty.tolerance_ns:
            return Verdict.EARLY, "the framework said that it was over before its audio had ended"
        if difference_ns <= uncertainty.late_ns:
            return Verdict.PASS, ""
        stalled = uncertainty.stalled(ending.end_ns, ending.over_ns)
        why = "the framework said late that it was over"
        return (Verdict.INCONCLUSIVE, f"{why}; {stalled}") if stalled else (Verdict.LATE, why)

    verdicts = []
    for number, ending in enumerate(endings):
        found, why = verdict(ending)
        verdicts.append(
            MarkVerdict(
                id=f"ending {number}",
                command="MARK",
                offset=ending.offset,
                sent_ns=None,
                due_ns=ending.end_ns,
                acked_ns=ending.over_ns,
                outcome="played",
                difference_ns=ending.over_ns - ending.end_ns,
                raw_wire_end_ns=None,
                lateness_ns=None,
                audio_end_ns=ending.end_ns,
                verdict=found,
                explanation=why,
            )
        )
    return uncertainty.unless_by_chance(verdicts)


def _parts(endings: Sequence[Ending]) -> tuple[tuple[str, Statistics], ...]:
    acked, read, said = [], [], []
    for one in endings:
        if one.acked_ns is not None and one.read_ns is not None:
            acked.append(one.acked_ns - one.end_ns)
            read.append(one.read_ns - one.acked_ns)
            said.append(one.over_ns - one.read_ns)
    parts = {
        "acknowledged": acked,
        "read": read,
        "said": said,
    }
    found = ((name, statistics_of(times)) for name, times in parts.items())
    return tuple((name, times) for name, times in found if times)
