"""Runs one scenario on a bench: places its call, does its steps, judges it, holds it against what
the file expects."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.bench import Bench, LiveCall
from harness.errors import Fault
from harness.judge.expectations import Expectations
from harness.judge.verdicts import MAX_INCONCLUSIVE, Bounds, Verdict
from harness.retry import until_reliable
from harness.scenarios.result import CallResult, Outcome, ScenarioResult, kept_of_call
from harness.scenarios.schema import ExpectedFailure, Scenario, Step
from harness.scenarios.steps import StepRunner
from harness.targets.capabilities import Capabilities, has_media_direction

EXPECTATION = "EXPECTATION"
"""what a failure is called that is not the judge's but the file's"""
UNANNOUNCED = "UNANNOUNCED"
"""and that of a target with the patch whose MEDIA_START does not tell of it"""


@dataclass(frozen=True)
class Setting:
    """What a scenario's result says of where it ran."""

    target: str
    stock: bool
    """whether the target is the stock driver, so that the scenario's ``stock`` part holds"""
    patched: bool
    """whether the target was made with the patch"""
    command: str
    """that runs something there again; the scenario's name and the seed are added"""
    max_inconclusive: float = MAX_INCONCLUSIVE
    """see `harness.judge.verdicts.Bounds`"""


@dataclass(frozen=True)
class Attempt:
    call: CallResult
    kinds: frozenset[str]
    """of failures: verdicts of the judge, EXPECTATION, UNANNOUNCED"""
    inconclusive: bool
    """whether too much could not be judged"""
    failures: tuple[str, ...]
    """and what could not be judged, as text"""
    not_judged: str
    """how much that is, and why, in one sentence; empty where all was judged"""


def run_scenario(
    bench: Bench, scenario: Scenario, seed: int, setting: Setting, run_folder: Path
) -> ScenarioResult:
    """Run it, again when it comes out inconclusive, and say what became of it."""
    started = time.monotonic()

    def result(
        outcome: Outcome,
        reason: str = "",
        failures: Sequence[str] = (),
        attempts: int = 0,
        calls: Sequence[CallResult] = (),
    ) -> ScenarioResult:
        return ScenarioResult(
            scenario=scenario.name,
            parameters=scenario.parameters,
            proves=scenario.proves,
            target=setting.target,
            version=bench.capabilities.version,
            seed=seed,
            outcome=outcome,
            reason=reason,
            failures=tuple(failures),
            attempts=attempts,
            seconds=round(time.monotonic() - started, 3),
            rerun=rerun_command(setting.command, scenario, seed),
            calls=tuple(calls),
        )

    known = known_of(scenario, setting.stock, bench.capabilities)
    if why := why_not(scenario, setting.stock, bench.capabilities):
        return result(Outcome.SKIP, why)
    has_patch = setting.patched or bench.capabilities.playback_marks
    bounds = replace(scenario.bounds, max_inconclusive=setting.max_inconclusive)
    attempts = 0
    late: list[Attempt] = []

    def attempt_named(name: str) -> Attempt:
        nonlocal attempts
        attempts += 1
        return asyncio.run(_attempt(bench, scenario, seed, name, run_folder, bounds, has_patch))

    def is_late(attempt: Attempt) -> bool:
        if attempt.kinds != {Verdict.LATE.value} or outcome(attempt, known)[0] is not Outcome.FAIL:
            return False
        late.append(attempt)
        return True

    try:
        attempt = until_reliable(
            f"{scenario.full_name}-{seed}",
            attempt_named,
            lambda attempt: outcome(attempt, known)[0] is Outcome.INCONCLUSIVE,
            alone=loads_the_host(scenario.steps),
            late=is_late,
        )
    except Fault as fault:
        return result(Outcome.ERROR, fault.headline, [str(fault)], attempts)
    became, reason = outcome(attempt, known)
    if late and became is not Outcome.FAIL:
        again = f"late in 1 of {attempts} attempts and not again: {late[0].failures[0]}"
        reason = "; ".join(filter(None, (reason, again)))
    return result(became, reason, attempt.failures, attempts, [attempt.call])


def why_not(scenario: Scenario, stock: bool, capabilities: Capabilities) -> str:
    """Why a target cannot run a scenario, or there is no sense in it; empty if it can."""
    known = known_of(scenario, stock, capabilities)
    if known and known.cannot:
        return known.cannot
    call = scenario.call
    if call.tls is not None and (call.connection in capabilities.encrypted) != call.tls:
        return f"its media connection is {'not ' if call.tls else ''}encrypted"
    if scenario.needs_own and not capabilities.own:
        return "the harness does not configure it, and the call needs more extensions"
    if scenario.sets_direction and not has_media_direction(capabilities.version):
        return f"the driver of Asterisk {capabilities.version} has no media direction"
    return capabilities.lacks(call.extension())


def known_of(scenario: Scenario, stock: bool, capabilities: Capabilities) -> ExpectedFailure | None:
    """What the scenario says of the target's driver.

    A lab PBX without the patch is there to be judged: nothing is excused.
    """
    if stock:
        return scenario.stock
    return scenario.patched if capabilities.playback_marks else None


def rerun_command(command: str, scenario: Scenario, seed: int) -> str:
    """The command that runs exactly this again; ``command`` is what runs something there."""
    shipped = scenario.file.parent == Path(__file__).parent
    name = scenario.full_name
    if not shipped:
        name = str(scenario.file) + name[len(scenario.name) :]
    return f"{command} {shlex.quote(name)} --seed {seed}"


async def _attempt(
    bench: Bench,
    scenario: Scenario,
    seed: int,
    name: str,
    run_folder: Path,
    bounds: Bounds,
    has_patch: bool,
) -> Attempt:
    call = scenario.call
    async with bench.call(
        name,
        call.extension(),
        bounds,
        scenario.conditions(seed),
        judged_later=True,
    ) as live:
        runner = StepRunner(live, scenario, seed)
        await runner.run()
    # Nothing is judged by MARK then, so nothing else would show it.
    unannounced = has_patch and not runner.patched
    missed = [not_announced(scenario)] if unannounced else []
    live.expectations = _expectations(scenario, [*missed, *runner.failures])
    live.judge()
    attempt = _weigh(live, run_folder)
    if unannounced:
        attempt = replace(attempt, kinds=attempt.kinds | {UNANNOUNCED})
    return attempt


def not_announced(scenario: Scenario) -> str:
    """What is wrong with a target that has the patch and does not say so."""
    return (
        f"{scenario.file.name}: MEDIA_START has no playback_marks, though the target has the patch:"
        " no application would send it a MARK"
    )


def loads_the_host(steps: Sequence[Step]) -> bool:
    """Whether these steps make the host busy, for other calls, too."""
    return any(
        step.load is not None or (step.repeat is not None and loads_the_host(step.repeat.steps))
        for step in steps
    )


def _weigh(live: LiveCall, run_folder: Path) -> Attempt:
    judged = live.judged
    kinds = {kind.value for kind in judged.failures}
    if judged.unmet:
        kinds.add(EXPECTATION)
    call = kept_of_call(str(live.folder.relative_to(run_folder)), judged)
    not_judged = ""
    if judged.inconclusive:
        of = len(judged.marks) + len(judged.counters)
        not_judged = (
            f"{len(judged.inconclusive)} of {of} marks and playback counters could not be judged: "
            f"{judged.inconclusive[0].explanation}"
        )
    inconclusive = call.verdict == "INCONCLUSIVE"
    return Attempt(call, frozenset(kinds), inconclusive, tuple(live.failures), not_judged)


def outcome(attempt: Attempt, known: ExpectedFailure | None) -> tuple[Outcome, str]:
    """The outcome and its reason; ``known`` is what the driver is known to do wrong."""
    kinds = ", ".join(sorted(attempt.kinds))
    if known is None:
        if attempt.kinds:
            return Outcome.FAIL, kinds
        became = Outcome.INCONCLUSIVE if attempt.inconclusive else Outcome.PASS
        return became, attempt.not_judged
    expected = ", ".join(known.fails)
    if attempt.kinds - set(known.fails):
        return Outcome.FAIL, f"it fails with {kinds}; only {expected} was known"
    if attempt.kinds:
        return Outcome.XFAIL, known.because
    # What could not be judged may be just what was to fail.
    if attempt.inconclusive or (attempt.not_judged and known.strict):
        return Outcome.INCONCLUSIVE, attempt.not_judged
    if not known.strict:
        return Outcome.PASS, attempt.not_judged
    return Outcome.XPASS, f"{expected} was to show: {known.because}"


def _expectations(scenario: Scenario, missed: Sequence[str]) -> Expectations:
    expect = scenario.expect
    return Expectations(
        file=scenario.file.name,
        marks=dict(expect.marks),
        events={name: count for name, count in expect.events.items()},
        gapless=expect.gapless,
        stage=expect.stage or "",
        missed=tuple(missed),
    )
