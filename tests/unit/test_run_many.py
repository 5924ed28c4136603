"""Many scenarios: none is lost, whatever becomes of the processes that run them."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import deque
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from made_results import result

from harness.asterisk.process import AsteriskCrashed, AsteriskHangs
from harness.errors import EnvironmentFault, Fault, HarnessFault
from harness.scenarios import run_many
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.result import Outcome, ScenarioResult
from harness.scenarios.run_many import Job, Plan, Watcher, repeated, run_jobs
from harness.targets.capabilities import Capabilities
from harness.targets.names import TargetName

BROKEN = HarnessFault("it ended by itself", "See its log.")
CRASHED = AsteriskCrashed("it was ended by SIGSEGV", "The end of its log:")
NOT_THERE = EnvironmentFault("there is no such PBX")
CAPABILITIES = Capabilities(
    "22.10.1", True, frozenset({"ulaw"}), frozenset({"outgoing"}), frozenset({"dial"})
)
[SCENARIO, *_] = choose_scenarios(["hang_up"])


class Script:
    """What the workers do, in the order in which they are asked."""

    def __init__(self, *answers: Outcome | Fault, starts: tuple[Fault | None, ...] = ()) -> None:
        self.answers = deque(answers)
        self.starts = deque(starts)
        self.stop: Fault | None = None
        self.folders: list[str] = []
        self.alive = 0


class Watched(Watcher):
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.consoles: list[str] = []

    def finished(self, result: ScenarioResult) -> None:
        self.outcomes.append(result.outcome)

    async def held(self, result: ScenarioResult, console: str) -> None:
        self.consoles.append(f"{result.seed} {console}")


@pytest.fixture
def watched() -> Watched:
    return Watched()


def run(
    monkeypatch: pytest.MonkeyPatch,
    script: Script,
    watched: Watched,
    jobs: int,
    *,
    parallel: int = 1,
    keep_going: bool = True,
    hold: bool = False,
) -> list[ScenarioResult]:
    """The results of so many jobs; each has its number as its seed."""

    class Worker:
        def __init__(self, target: TargetName, root: Path, folder: Path, *others: object) -> None:
            script.folders.append(folder.name)

        capabilities = CAPABILITIES

        async def __aenter__(self) -> Worker:
            if script.starts and (fault := script.starts.popleft()):
                raise fault
            script.alive += 1
            return self

        async def __aexit__(self, *error: object) -> None:
            script.alive -= 1
            if script.stop:
                raise script.stop

        async def run(self, job: Job) -> ScenarioResult:
            answer = script.answers.popleft()
            # The first of two that run beside each other is done last.
            for _ in range(10 - job.seed):
                await asyncio.sleep(0)
            if isinstance(answer, Fault):
                raise answer
            return replace(result(answer), seed=job.seed)

        async def hold(self) -> str:
            return "asterisk -r"

    monkeypatch.setattr(run_many, "_Worker", Worker)
    target = TargetName("patched")
    plan = Plan(
        repeated([Job(SCENARIO, target, 0)], jobs),
        parallel,
        keep_going,
        hold,
        Path(),
        Path(),
        {"patched": "harness run --target patched"},
    )
    results = run_jobs(plan, watched)
    assert script.alive == 0
    ran = [one for one in results if one.outcome is not Outcome.NOT_RUN]
    assert 0 < len(ran) == len(watched.outcomes)
    assert [one.seed for one in results] == list(range(jobs))
    return results


def outcomes(results: list[ScenarioResult]) -> list[str]:
    return [one.outcome.value for one in results]


PASS, FAIL, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.ERROR


def test_a_worker_that_breaks_costs_one_result_and_is_replaced(
    monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    script = Script(PASS, BROKEN, PASS, ERROR, PASS)
    results = run(monkeypatch, script, watched, 5)
    assert outcomes(results) == ["PASS", "ERROR", "PASS", "ERROR", "PASS"]
    assert script.folders == ["patched", "patched-again-2", "patched-again-3"]
    assert results[1].reason == "harness fault: it ended by itself"
    assert "See its log." in results[1].failures[0]
    assert results[1].rerun.endswith(f"--target patched '{SCENARIO.full_name}' --seed 1")


def test_a_crash_or_hang_of_asterisk_is_the_products_failure_wherever_it_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = run(monkeypatch, Script(CRASHED, PASS), Watched(), 2)
    assert outcomes(results) == ["FAIL", "PASS"]
    assert results[0].reason == "Asterisk crashed: it was ended by SIGSEGV"
    results = run(monkeypatch, Script(AsteriskHangs("its console is silent"), PASS), Watched(), 2)
    assert outcomes(results) == ["FAIL", "PASS"]
    assert results[0].reason == "Asterisk hangs: its console is silent"
    stopped = Script(PASS)
    stopped.stop = CRASHED
    assert outcomes(run(monkeypatch, stopped, Watched(), 1)) == ["FAIL"]
    never_up = Script(starts=(CRASHED,))
    assert outcomes(run(monkeypatch, never_up, Watched(), 2)) == ["FAIL", "FAIL"]


def test_of_several_workers_the_results_are_in_order(
    monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    script = Script(FAIL, BROKEN, PASS, PASS, PASS)
    results = run(monkeypatch, script, watched, 5, parallel=2)
    assert outcomes(results) == ["FAIL", "ERROR", "PASS", "PASS", "PASS"]
    assert watched.outcomes[0] is ERROR  # it was done first
    assert script.folders[:2] == ["patched-1", "patched-2"]


@pytest.mark.parametrize("bad", [FAIL, Outcome.XPASS, ERROR, BROKEN])
def test_the_first_failure_ends_the_run_unless_it_is_to_keep_going(
    monkeypatch: pytest.MonkeyPatch, watched: Watched, bad: Outcome | Fault
) -> None:
    script = Script(PASS, bad, PASS)
    results = run(monkeypatch, script, watched, 3, keep_going=False)
    assert [one.outcome is Outcome.NOT_RUN for one in results] == [False, False, True]
    left_out = results[2]
    assert left_out.name == SCENARIO.full_name
    assert left_out.reason == "the run stopped at a failure before it"
    assert left_out.rerun.endswith(f"'{SCENARIO.full_name}' --seed 2")
    assert (left_out.version, left_out.attempts, left_out.failures) == ("22.10.1", 0, ())


def test_what_is_known_of_a_job_whose_worker_broke_is_said(
    monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    clock = itertools.count(100.0, 1.5)
    monkeypatch.setattr(run_many, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    [broken] = run(monkeypatch, Script(CRASHED), watched, 1)
    assert (broken.version, broken.seconds) == ("22.10.1", 1.5)


def test_of_a_target_that_was_never_reached_no_version_is_claimed(
    monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    [broken] = run(monkeypatch, Script(starts=(NOT_THERE,)), watched, 1)
    assert (broken.version, broken.seconds) == ("", 0.0)


def test_without_a_target_all_are_errors(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    results = run(monkeypatch, Script(starts=(NOT_THERE,)), watched, 3)
    assert outcomes(results) == ["ERROR"] * 3
    assert {one.reason for one in results} == {"environment fault: there is no such PBX"}
    assert [one.attempts for one in results] == [0, 0, 0]


def test_without_a_target_one_error_is_enough(
    monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    script = Script(starts=(NOT_THERE,))
    results = run(monkeypatch, script, watched, 3, keep_going=False)
    assert outcomes(results) == ["ERROR", "NOT_RUN", "NOT_RUN"]


def test_a_worker_that_cannot_be_started_leaves_its_jobs_to_the_others(
    monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    script = Script(PASS, PASS, PASS, starts=(None, NOT_THERE))
    assert outcomes(run(monkeypatch, script, watched, 3, parallel=2)) == ["PASS"] * 3


def test_a_target_that_breaks_while_it_is_stopped_is_an_error(
    monkeypatch: pytest.MonkeyPatch, watched: Watched
) -> None:
    script = Script(PASS, PASS)
    script.stop = BROKEN
    results = run(monkeypatch, script, watched, 2)
    assert outcomes(results) == ["PASS", "ERROR"]
    assert results[1].reason == "harness fault: it ended by itself"


def test_the_target_of_a_failure_is_held(monkeypatch: pytest.MonkeyPatch, watched: Watched) -> None:
    run(monkeypatch, Script(PASS, FAIL, PASS), watched, 3, hold=True)
    assert watched.consoles == ["1 asterisk -r"]


@pytest.mark.parametrize("kind", [AsteriskCrashed, AsteriskHangs, EnvironmentFault, HarnessFault])
def test_a_fault_that_a_worker_tells_of_stays_what_it_is(kind: type[Fault]) -> None:
    told = json.dumps({"fault": kind.kind, "what": "so it is", "remedy": ""}).encode()
    with pytest.raises(kind, match="so it is") as raised:
        run_many._Worker._understood(told)
    assert type(raised.value) is kind
