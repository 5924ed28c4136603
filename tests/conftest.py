"""How the tests of a session share the host, and the Asterisks that live tests share.

With ``pytest -n auto``, as `make test` runs it, tests run in several processes. Live tests, which
are those in tests/live, mostly wait, so there are more of these than processors. Who shares the
host with whom is `harness.host_lock`'s affair; what is a unit test only gets what live ones leave.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from harness.bench import Bench
from harness.bench import bench as start_bench
from harness.install.build import Build, load_build
from harness.record.run_folder import lead_latest_to, new_folder, new_run_folder
from harness.targets.capabilities import has_media_direction

MOST_INCONCLUSIVE = 0.5
"""the share of the live tests that may say nothing"""
INCONCLUSIVE = "Skipped: inconclusive"
"""how the reason of those begins"""
WORKERS_A_PROCESSOR = 3
"""A call takes a tenth of one; its judging, and to start an Asterisk, all of it for a moment"""

ROOT = Path(__file__).parents[1]

# Beside live tests a host stall is no reason to fail.
settings.register_profile("beside live tests", settings(), deadline=None)
settings.load_profile("beside live tests")
LIVE = Path(__file__).parent / "live"

# Whoever runs something in the background has Ctrl-C ignored there, shells for one, and programs
# that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


# ---- several processes ---------------------------------------------------------------------------


def pytest_xdist_auto_num_workers() -> int:
    """Of ``-n auto``."""
    return WORKERS_A_PROCESSOR * len(os.sched_getaffinity(0))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the live tests, and put all in the order in which the workers take them."""
    for item in items:
        if item.path.is_relative_to(LIVE):
            item.add_marker(pytest.mark.live)
    if hasattr(config, "workerinput"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        live = [item for item in items if item.get_closest_marker("live") and item not in slow]
        unit = [item for item in items if not item.get_closest_marker("live")]
        # Nothing is to wait for what is slow in the end; unit tests run while live ones wait.
        items[:] = [*slow, *spread(live, unit)]


def spread(*parts: Sequence[pytest.Item]) -> list[pytest.Item]:
    """All of these in one sequence, evenly between each other."""
    placed = [
        ((number + 0.5) / len(part), item) for part in parts for number, item in enumerate(part)
    ]
    return [item for _, item in sorted(placed, key=lambda one: one[0])]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Live tests come first. Only root may be what it was before again."""
    yields = item.get_closest_marker("live") is None and os.geteuid() == 0
    before = os.getpriority(os.PRIO_PROCESS, 0)
    if yields:
        os.setpriority(os.PRIO_PROCESS, 0, before + 10)
    try:
        return (yield)
    finally:
        if yields:
            os.setpriority(os.PRIO_PROCESS, 0, before)


def pytest_configure_node(node: Any) -> None:
    """All workers write to one folder."""
    if not hasattr(node.config, "run_folder"):
        node.config.run_folder = new_folder(ROOT / "out")
    node.workerinput["run_folder"] = str(node.config.run_folder)


# ---- tests that can say nothing ------------------------------------------------------------------


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tests that could say nothing have tested nothing: too many of them are no success."""
    folder: Path | None = getattr(session.config, "run_folder", None)
    if folder is not None:
        if list(folder.iterdir()):
            lead_latest_to(folder)
        else:
            folder.rmdir()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:  # a worker
        return
    assert isinstance(reporter, pytest.TerminalReporter)
    if _too_inconclusive(reporter) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Why the exit status says failed where no test did."""
    if sentence := _too_inconclusive(terminalreporter):
        terminalreporter.section("nothing was shown", red=True, bold=True)
        terminalreporter.write_line(sentence)


def _too_inconclusive(reporter: pytest.TerminalReporter) -> str:
    """What there is to say if too many live tests were skipped as inconclusive, else empty."""
    reports = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in reporter.stats.get(outcome, [])
        if "live" in report.keywords
    ]
    inconclusive = sum(report.skipped and is_inconclusive(report) for report in reports)
    ran = sum(not report.skipped for report in reports) + inconclusive
    if inconclusive <= MOST_INCONCLUSIVE * ran:
        return ""
    return (
        f"{inconclusive} of {ran} live tests were inconclusive: this machine was too busy to tell,"
        " and they count as failed. Run them again on a quieter one."
    )


def is_inconclusive(report: pytest.TestReport) -> bool:
    """Whether a test was skipped because nothing can be said."""
    # File, line and reason, as pytest keeps them.
    return isinstance(report.longrepr, tuple) and report.longrepr[2].startswith(INCONCLUSIVE)


# ---- what live tests share -----------------------------------------------------------------------


@pytest.fixture(scope="session")
def build() -> Build:
    """What `make build` has built."""
    return load_build(ROOT)


@pytest.fixture
def media_direction(build: Build) -> None:
    """For tests that set it: skipped where the driver is older."""
    if not has_media_direction(build.version):
        pytest.skip(f"the driver of Asterisk {build.version} has no media direction")


@pytest.fixture(scope="session")
def run_folder(request: pytest.FixtureRequest, worker_id: str) -> Path:
    """Where all that these tests leave behind is, of several workers each in a folder of its own:
    out/latest, when they have ended."""
    workerinput = getattr(request.config, "workerinput", None)
    if workerinput is None:
        return new_run_folder(ROOT / "out")
    folder = Path(workerinput["run_folder"], worker_id)
    folder.mkdir()
    return folder


def _bench(build: Build, folder: Path, module: Path) -> Iterator[Bench]:
    folder.mkdir()
    with start_bench(build, folder, module) as bench:
        yield bench


@pytest.fixture(scope="session")
def patched(build: Build, run_folder: Path) -> Iterator[Bench]:
    """An Asterisk with the patched module."""
    yield from _bench(build, run_folder / "patched", build.patched_module)


@pytest.fixture(scope="session")
def stock(build: Build, run_folder: Path) -> Iterator[Bench]:
    """An Asterisk with the stock module."""
    yield from _bench(build, run_folder / "stock", build.stock_module)
