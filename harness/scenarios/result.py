"""What became of a scenario, as values that can be saved: the input of every report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from harness.errors import InputFault
from harness.judge.call import JudgedCall
from harness.judge.verdicts import Verdict, few_inconclusive, timed_differences

SUMMARY_FILE = "summary.json"


class Outcome(str, Enum):
    """What became of one run of a scenario."""

    PASS = "PASS"
    FAIL = "FAIL"
    """the product did wrong, or crashed"""
    INCONCLUSIVE = "INCONCLUSIVE"
    """the measurement was unreliable (host stalled, packets lost), in each of the attempts"""
    ERROR = "ERROR"
    """the harness or the environment did not get it done"""
    SKIP = "SKIP"
    """the target cannot run it"""
    XFAIL = "XFAIL"
    """the driver did wrong in just the way the scenario says it is known to do"""
    XPASS = "XPASS"
    """the wrong that the driver is known to do did not show: it is mended, or the harness blind"""
    NOT_RUN = "NOT_RUN"
    """left out, because the run stopped at a failure before it"""

    @property
    def word(self) -> str:
        """As it is shown."""
        return self.value.replace("_", " ")


WORST_FIRST = (
    Outcome.ERROR,
    Outcome.FAIL,
    Outcome.XPASS,
    Outcome.INCONCLUSIVE,
    Outcome.XFAIL,
    Outcome.PASS,
    Outcome.SKIP,
    Outcome.NOT_RUN,
)
"""What needs a look comes first"""


@dataclass(frozen=True)
class CallResult:
    """One judged call of a scenario."""

    folder: str
    """of the call's files (verdict.json, timeline.txt, ...), below the run's folder"""
    verdict: str
    """PASS, FAIL or INCONCLUSIVE: see `JudgedCall.result`"""
    counts: dict[str, int]
    """marks by verdict"""
    differences_ns: tuple[int, ...]
    """acknowledged - due, of each mark whose time could be judged"""
    packets: int
    missing_packets: int
    source: str
    """of the measurement: capture or socket"""
    uncertainty_ns: int
    """of a single time"""
    late_ns: int
    """how much later than due an acknowledgement may be; the uncertainty comes on top of it"""
    location_ns: int = 0
    """how much a place in the stream may be wrong by, where audio was located by its sound"""
    marks: int = 0
    """that were sent, and of these"""
    played: int = 0
    """acknowledged so, first"""
    discarded: int = 0
    """acknowledged so, first"""
    difference_bytes: int | None = None
    """between played bytes reported and found on the wire, the largest; None without a report"""
    unsent_bytes: int = 0
    """that marks say were played, and were never sent"""
    flushes: tuple[tuple[int | None, float | None], ...] = ()
    """of each flush that owes a MEDIA_FLUSHED what its ``played`` (bytes) and ``since_mark_ms``
    differ from the wire; None where there is nothing to compare: no reply, no mark played"""


@dataclass(frozen=True)
class ScenarioResult:
    """One scenario with one set of parameters on one target."""

    scenario: str
    parameters: dict[str, str]
    """of the matrix"""
    proves: str
    target: str
    """as it is named on the command line: ``patched``, ``lab:office.yaml``, ..."""
    version: str
    """of the target's Asterisk; empty when it was never reached"""
    seed: int
    outcome: Outcome
    reason: str
    """one sentence: why it was skipped, is inconclusive, ...; of PASS what could not be judged, if
    anything"""
    failures: tuple[str, ...]
    """each thing that was wrong, or could not be judged, as text that says where to look"""
    attempts: int
    seconds: float
    rerun: str
    """the command that runs exactly this again"""
    calls: tuple[CallResult, ...] = ()

    @property
    def name(self) -> str:
        """Scenario and parameters: ``play-chunks[codec=ulaw,format=json]``."""
        values = ",".join(f"{key}={value}" for key, value in self.parameters.items())
        return f"{self.scenario}[{values}]" if values else self.scenario


@dataclass(frozen=True)
class RunSummary:
    """All results of a run."""

    command: str
    started: str
    """local time, ISO 8601"""
    seconds: float
    results: tuple[ScenarioResult, ...] = ()
    """with those that were left out"""
    max_inconclusive: float = 0.0
    """percent of the results that may be INCONCLUSIVE where all others are as expected"""

    @property
    def ran(self) -> tuple[ScenarioResult, ...]:
        """The results without those that were left out."""
        return tuple(one for one in self.results if one.outcome is not Outcome.NOT_RUN)

    @property
    def not_run(self) -> int:
        """How many were left out, because one before them failed."""
        return len(self.results) - len(self.ran)

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many results have each outcome."""
        return {
            outcome: sum(result.outcome is outcome for result in self.results)
            for outcome in Outcome
        }

    @property
    def marks(self) -> tuple[int, int]:
        """How many marks all calls had, and how many of them could not be judged."""
        counts = [call.counts for result in self.results for call in result.calls]
        return (
            sum(sum(one.values()) for one in counts),
            sum(one.get(Verdict.INCONCLUSIVE.value, 0) for one in counts),
        )

    @property
    def outcome(self) -> Outcome:
        """The worst one: ERROR, FAIL (or XPASS), INCONCLUSIVE, else PASS; SKIP if nothing ran.

        A few INCONCLUSIVE ones do not count, but of each scenario, with each value of each of its
        parameters, one must have been judged on each target.
        """
        counts = self.counts
        if counts[Outcome.ERROR]:
            return Outcome.ERROR
        if counts[Outcome.FAIL] or counts[Outcome.XPASS]:
            return Outcome.FAIL
        if not few_inconclusive(
            [one for one in self.results if one.outcome in (Outcome.PASS, Outcome.XFAIL)],
            [one for one in self.results if one.outcome is Outcome.INCONCLUSIVE],
            _kinds,
            self.max_inconclusive,
        ):
            return Outcome.INCONCLUSIVE
        return Outcome.PASS if counts[Outcome.PASS] or counts[Outcome.XFAIL] else Outcome.SKIP


def _kinds(result: ScenarioResult) -> list[tuple[str, ...]]:
    scenario = (result.target, result.scenario)
    return [scenario, *((*scenario, *parameter) for parameter in result.parameters.items())]


def kept_of_call(folder: str, judged: JudgedCall) -> CallResult:
    """What is kept of a call; ``folder`` is that of its files, below the run's folder."""
    differences = [
        one.difference_bytes for one in judged.counters if one.difference_bytes is not None
    ]
    outcomes = [mark.outcome for mark in judged.marks if mark.offset is not None]
    return CallResult(
        folder=folder,
        verdict=judged.result,
        counts={kind.value: count for kind, count in judged.counts.items() if count},
        differences_ns=tuple(timed_differences(judged.marks)),
        packets=judged.packets,
        missing_packets=judged.missing_packets,
        source=judged.measurement.source,
        uncertainty_ns=judged.measurement.uncertainty_ns,
        late_ns=judged.bounds.late_ns,
        location_ns=judged.measurement.location_ns,
        marks=len(outcomes),
        played=outcomes.count("played"),
        discarded=outcomes.count("discarded"),
        difference_bytes=max(differences, key=abs, default=None),
        unsent_bytes=sum(mark.unsent_bytes for mark in judged.marks),
        flushes=tuple(
            (one.difference_bytes, one.since_mark_difference_ms)
            for one in judged.counters
            if one.name.startswith("MEDIA_FLUSHED") and one.verdict is not Verdict.UNASKED
        ),
    )


def save_summary(folder: Path, summary: RunSummary) -> None:
    """Write ``summary.json`` into a run's folder."""
    (folder / SUMMARY_FILE).write_text(json.dumps(asdict(summary), indent=2) + "\n")


def load_summary(folder: Path) -> RunSummary:
    """The summary saved in a run's folder. Raises InputFault when there is none."""
    path = folder / SUMMARY_FILE
    try:
        saved = json.loads(path.read_text())
        results = tuple(result_from(result) for result in saved.pop("results"))
        # Runs that were saved before NOT_RUN was a result have only the number of these.
        saved.pop("not_run", None)
        return RunSummary(results=results, **saved)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputFault(
            f"{path} cannot be read: {error}", "Give the folder of a run, such as out/latest."
        ) from error


def result_from(saved: dict[str, Any]) -> ScenarioResult:
    """A result out of its plain values (``asdict``)."""
    calls: Sequence[dict[str, Any]] = saved.pop("calls")
    return ScenarioResult(
        **{
            **saved,
            "outcome": Outcome(saved["outcome"]),
            "failures": tuple(saved["failures"]),
            "calls": tuple(
                CallResult(
                    **{
                        **call,
                        "differences_ns": tuple(call["differences_ns"]),
                        "flushes": tuple((size, ms) for size, ms in call["flushes"]),
                    }
                )
                for call in calls
            ),
        }
    )
