"""Runs many scenarios on one or several targets, in processes of their own, some at once."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.asterisk.process import AsteriskCrashed, AsteriskEnded, AsteriskHangs
from harness.child_process import die_with_parent
from harness.errors import EnvironmentFault, Fault, HarnessFault, InputFault, ProductFault
from harness.judge.verdicts import MAX_INCONCLUSIVE
from harness.scenarios.result import Outcome, ScenarioResult, result_from
from harness.scenarios.run_one import rerun_command
from harness.scenarios.schema import Scenario
from harness.targets.capabilities import Capabilities
from harness.targets.names import TargetName

_LONGEST_LINE = 64 * 1024 * 1024
STOP_TIMEOUT_S = 30.0
"""for a worker to stop its target"""
_FAULTS = {
    kind.kind: kind
    for kind in (AsteriskCrashed, AsteriskEnded, AsteriskHangs, EnvironmentFault, InputFault)
}
BAD = frozenset({Outcome.FAIL, Outcome.XPASS, Outcome.ERROR})


@dataclass(frozen=True)
class Job:
    """A scenario that is to be run on a target."""

    scenario: Scenario
    target: TargetName
    seed: int


@dataclass(frozen=True)
class Plan:
    """What is to be run, and how."""

    jobs: Sequence[Job]
    parallel: int
    """workers of each target that can have several"""
    keep_going: bool
    """whether to go on after a failure"""
    hold: bool
    """whether to keep the target of a failure alive until `Watcher.held` returns"""
    root: Path
    run_folder: Path
    commands: dict[str, str]
    """by target: how a scenario is run on it again"""
    max_inconclusive: float = MAX_INCONCLUSIVE
    """percent of each call's marks, and of the results, that may be INCONCLUSIVE"""


class Watcher:
    """Is told how the run gets on; what a report on the terminal overrides."""

    def started(self, job: Job) -> None:
        """A worker has begun with a job."""

    def finished(self, result: ScenarioResult) -> None:
        """It is done."""

    async def held(self, result: ScenarioResult, console: str) -> None:
        """After a failure: returns when the target may be stopped. One at a time."""


def run_jobs(plan: Plan, watcher: Watcher) -> list[ScenarioResult]:
    """Run the plan's jobs, target after target; the results in the order of the jobs.

    Those that were left out after a failure are among them, as NOT_RUN.
    """
    return asyncio.run(_Run(plan, watcher).run())


def probe(target: TargetName, root: Path, folder: Path) -> Capabilities:
    """What a target can do. Raises HarnessFault when it cannot be started or reached."""

    async def ask() -> Capabilities:
        async with _Worker(target, root, folder, folder, "", MAX_INCONCLUSIVE) as worker:
            return worker.capabilities

    return asyncio.run(ask())


class _Run:
    def __init__(self, plan: Plan, watcher: Watcher) -> None:
        self._plan = plan
        self._watcher = watcher
        self._results: dict[int, ScenarioResult] = {}
        self._versions: dict[TargetName, str] = {}
        """of the targets that told theirs"""
        self._stopping = False
        self._holding = asyncio.Lock()

    async def run(self) -> list[ScenarioResult]:
        targets = list(dict.fromkeys(job.target for job in self._plan.jobs))
        for target in targets:
            waiting = [
                (number, job) for number, job in enumerate(self._plan.jobs) if job.target == target
            ]
            workers = min(self._plan.parallel if target.parallel else 1, len(waiting))
            # With what is raised among the results it waits for all of them, on Ctrl-C, too: else
            # those that were still stopping their targets would be kept from it.
            ends = await asyncio.gather(
                *(self._work(target, number, waiting) for number in range(workers)),
                return_exceptions=True,
            )
            for end in ends:
                if isinstance(end, BaseException) and not isinstance(end, Fault):
                    raise end
            # Where the target could not be had by any worker.
            fault = next((end for end in ends if isinstance(end, Fault)), None)
            while fault and waiting and not self._stopping:
                index, job = waiting.pop(0)
                self._done(index, self._broken(job, fault, attempts=0))
        return [
            self._results.get(number) or self._not_run(job)
            for number, job in enumerate(self._plan.jobs)
        ]

    async def _work(
        self, target: TargetName, number: int, waiting: list[tuple[int, Job]]
    ) -> Fault | None:
        """One worker after the other, until nothing is ``waiting``; why there can be none."""
        plan = self._plan
        name = f"lab-{target.lab_file.stem}" if target.lab_file else target.text
        if plan.parallel > 1:
            name += f"-{number + 1}"
        for again in itertools.count(1):
            if not waiting or self._stopping:
                break
            folder = plan.run_folder / (name if again == 1 else f"{name}-again-{again}")
            done: list[int] = []
            try:
                async with _Worker(
                    target,
                    plan.root,
                    folder,
                    plan.run_folder,
                    plan.commands[target.text],
                    plan.max_inconclusive,
                ) as worker:
                    self._versions[target] = worker.capabilities.version
                    await self._use(worker, waiting, done)
            except Fault as fault:
                if not done:
                    return fault
                # The target broke while it was being stopped.
                last = self._results[done[-1]]
                self._results[done[-1]] = replace(
                    last,
                    outcome=_outcome(fault),
                    reason=fault.headline,
                    failures=(*last.failures, str(fault)),
                )
        return None

    async def _use(self, worker: _Worker, waiting: list[tuple[int, Job]], done: list[int]) -> None:
        """Give job after job to a worker, until one cannot be done: it may be the worker's fault,
        or its target's."""
        while waiting and not self._stopping:
            index, job = waiting.pop(0)
            done.append(index)
            self._watcher.started(job)
            begin = time.monotonic()
            try:
                result = await worker.run(job)
            except Fault as fault:
                seconds = round(time.monotonic() - begin, 3)
                self._done(index, self._broken(job, fault, attempts=1, seconds=seconds))
                return
            if result.outcome in BAD and self._plan.hold:
                with suppress(Fault):  # then there is nothing to be held any more
                    console = await worker.hold()
                    async with self._holding:
                        await self._watcher.held(result, console)
            self._done(index, result)
            if result.outcome is Outcome.ERROR:
                return

    def _done(self, index: int, result: ScenarioResult) -> None:
        self._results[index] = result
        self._watcher.finished(result)
        if result.outcome in BAD and not self._plan.keep_going:
            self._stopping = True

    def _broken(
        self, job: Job, fault: Fault, attempts: int, seconds: float = 0.0
    ) -> ScenarioResult:
        """The result of a job whose worker broke, or that had none."""
        return replace(
            self._not_run(job),
            outcome=_outcome(fault),
            reason=fault.headline,
            failures=(str(fault),),
            attempts=attempts,
            seconds=seconds,
        )

    def _not_run(self, job: Job) -> ScenarioResult:
        return ScenarioResult(
            scenario=job.scenario.name,
            parameters=job.scenario.parameters,
            proves=job.scenario.proves,
            target=job.target.text,
            version=self._versions.get(job.target, ""),
            seed=job.seed,
            outcome=Outcome.NOT_RUN,
            reason="the run stopped at a failure before it",
            failures=(),
            attempts=0,
            seconds=0.0,
            rerun=rerun_command(self._plan.commands[job.target.text], job.scenario, job.seed),
        )


def _outcome(fault: Fault) -> Outcome:
    return Outcome.FAIL if isinstance(fault, ProductFault) else Outcome.ERROR


class _Worker:
    """The process of `harness.scenarios.worker`, its target started."""

    def __init__(
        self,
        target: TargetName,
        root: Path,
        folder: Path,
        run_folder: Path,
        command: str,
        max_inconclusive: float,
    ) -> None:
        self._given = {
            "target": target.text,
            "root": str(root),
            "folder": str(folder),
            "run_folder": str(run_folder),
            "command": command,
            "max_inconclusive": max_inconclusive,
        }
        self._log = folder.with_name(folder.name + "-worker.log")

    capabilities: Capabilities

    async def __aenter__(self) -> _Worker:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *die_with_parent(
                    [sys.executable, "-m", "harness.scenarios.worker", json.dumps(self._given)]
                ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                limit=_LONGEST_LINE,
                # Ctrl-C is for the harness, which then stops its workers in order.
                start_new_session=True,
            )
        try:
            ready = (await self._read())["ready"]
        except BaseException:
            await self._stop()
            raise
        sets = {key: frozenset(value) for key, value in ready.items() if isinstance(value, list)}
        self.capabilities = Capabilities(**{**ready, **sets})
        return self

    async def __aexit__(self, *error: object) -> None:
        """Raises a Fault if the target broke while it was being stopped."""
        await self._stop()
        assert self._process.stdout is not None
        if error[0] is None and (line := await self._process.stdout.readline()):
            self._understood(line)

    async def run(self, job: Job) -> ScenarioResult:
        """Run a job. Raises HarnessFault when the worker breaks."""
        scenario = job.scenario
        await self._write(file=str(scenario.file), name=scenario.full_name, seed=job.seed)
        return result_from((await self._read())["result"])

    async def hold(self) -> str:
        """The command that reaches the console of the worker's Asterisk."""
        await self._write(hold=True)
        return str((await self._read())["held"])

    async def _write(self, **message: Any) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # the reading says what became of it
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            await self._process.stdin.drain()

    async def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            code = await self._process.wait()
            log = self._log.read_text(errors="replace").split("\n")
            said = next((line for line in reversed(log) if line.strip()), "it said nothing")
            raise HarnessFault(
                f"the process that runs scenarios ended by itself (exit code {code}): {said}",
                f"See {self._log}.",
            )
        return self._understood(line)

    @staticmethod
    def _understood(line: bytes) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(line)
        if "fault" in message:
            raise _FAULTS.get(message["fault"], HarnessFault)(message["what"], message["remedy"])
        return message

    async def _stop(self) -> None:
        if self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        # Its end of input is the way to stop it between jobs, the signal within one.
        if sys.exc_info()[0] is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()


def repeated(jobs: Sequence[Job], times: int) -> list[Job]:
    """Each job so often, with another seed each time."""
    return [replace(job, seed=job.seed + repetition) for repetition in range(times) for job in jobs]
