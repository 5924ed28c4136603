"""`harness torture`, shortly: on the module as it is, with sanitizers, and on broken ones.

`TORTURE_SECONDS=600 pytest tests/live/test_torture.py -k "module or sanitized"` is the long form.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from test_mutants import build_mutant
from test_sanitized import build_sanitized, sanitizer_environment
from test_threads import build_for_threads, racing_files, sanitizer_runtime

from harness.host_lock import HOST
from harness.install.build import Build
from harness.torture.run import TorturePlan, TortureResult, torture
from harness.torture.storm import storm

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("TORTURE_SECONDS", "0"))
"""instead of those below, if it is not 0"""
MODULE_SECONDS = 15.0
SANITIZED_SECONDS = 6.0
SANITIZED_CALLS = 10
STORM_SECONDS = 8.0
STORM_CALLS = 6
MUTANT_SECONDS = 3.0
MUTANT_CALLS = 6


STACKS = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t size)
{
	int (*real)(pthread_attr_t *, size_t) = dlsym(RTLD_NEXT, "pthread_attr_setstacksize");

	return real(attributes, size + (1 << 20));
}
"""
"""ThreadSanitizer takes much of a thread's stack, and Asterisk gives 240 kB to each."""


def larger_stacks(folder: Path) -> str:
    """A library to be preloaded."""
    library = folder / "larger_stacks.so"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", str(library), "-x", "c", "-"],
        input=STACKS,
        text=True,
        check=True,
    )
    return str(library)


def tortured(
    build: Build,
    folder: Path,
    module: Path,
    plan: TorturePlan,
    environment: Mapping[str, str] | None = None,
) -> TortureResult:
    """Other tests' calls would be late beside it."""
    with HOST.alone():
        return torture(build, folder, module, plan, environment)


def plan(seconds: float, calls: int = 20, *, tls: bool = False) -> TorturePlan:
    return TorturePlan(SECONDS or seconds, seed=1, calls=calls, tls=tls)


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_the_module_stands_it(build: Build, run_folder: Path, tls: bool) -> None:
    folder = run_folder / f"torture-{'wss' if tls else 'ws'}"
    result = tortured(build, folder, build.patched_module, plan(MODULE_SECONDS, tls=tls))
    assert result.faults == []
    # Something of each was done.
    for what in ("redirected", "bridged with another", "picked up another", "connections refused"):
        assert result.counts[what], result.counts


def test_nothing_is_written_or_read_where_it_must_not_be_when_sanitized(
    build: Build, run_folder: Path
) -> None:
    folder = run_folder / "torture-sanitized"
    reports = folder / "reports"
    reports.mkdir(parents=True)
    result = tortured(
        build,
        folder,
        build_sanitized(build),
        plan(SANITIZED_SECONDS, SANITIZED_CALLS),
        sanitizer_environment(reports),
    )
    assert "".join(report.read_text() for report in reports.iterdir()) == ""
    assert result.faults == []


def test_no_data_race_is_seen_when_sanitized(build: Build, run_folder: Path) -> None:
    folder = run_folder / "torture-threads"
    reports = folder / "reports"
    reports.mkdir(parents=True)
    environment = {
        "LD_PRELOAD": f"{sanitizer_runtime(folder)}:{larger_stacks(folder)}",
        "TSAN_OPTIONS": f"log_path={reports / 'tsan'}:exitcode=0:detect_deadlocks=0",
    }
    module = build_for_threads(build, broken=False)
    result = tortured(build, folder, module, plan(SANITIZED_SECONDS, SANITIZED_CALLS), environment)
    assert racing_files(folder) == set()
    assert result.faults == []


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
def test_the_media_goes_on_in_a_storm(build: Build, run_folder: Path, tls: bool) -> None:
    folder = run_folder / f"storm-{'wss' if tls else 'ws'}"
    with HOST.alone():
        result = storm(
            build, folder, build.patched_module, plan(STORM_SECONDS, STORM_CALLS, tls=tls)
        )
    assert result.faults == []
    assert result.counts["marks"] > 100


def test_a_storm_does_no_harm_when_sanitized(build: Build, run_folder: Path) -> None:
    folder = run_folder / "storm-sanitized"
    reports = folder / "reports"
    reports.mkdir(parents=True)
    with HOST.alone():
        result = storm(
            build,
            folder,
            build_sanitized(build),
            plan(STORM_SECONDS, STORM_CALLS, tls=True),
            sanitizer_environment(reports),
        )
    assert "".join(report.read_text() for report in reports.iterdir()) == ""
    assert result.faults == []


@pytest.mark.parametrize("name", ["twice", "no-final-report"])
def test_a_broken_module_does_not_stand_a_storm(build: Build, run_folder: Path, name: str) -> None:
    folder = run_folder / f"storm-{name}"
    with HOST.alone():
        result = storm(build, folder, build_mutant(build, name), TorturePlan(1.0, 1, 2))
    assert result.faults != []


@pytest.mark.parametrize("name", ["twice", "out-of-order", "no-final-report"])
def test_a_broken_module_does_not(build: Build, run_folder: Path, name: str) -> None:
    folder = run_folder / f"torture-{name}"
    result = tortured(
        build, folder, build_mutant(build, name), TorturePlan(MUTANT_SECONDS, 1, MUTANT_CALLS)
    )
    assert result.faults != []
