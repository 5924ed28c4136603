"""One Asterisk with the patched module and one with stock, for all live tests of a session."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_calls import is_inconclusive

from harness.bench import Bench
from harness.bench import bench as start_bench
from harness.install.build import Build, load_build
from harness.record.run_folder import new_run_folder

MOST_INCONCLUSIVE = 0.5
"""the share of the live tests that may say nothing"""

ROOT = Path(__file__).parents[2]

# Whoever runs something in the background has Ctrl-C ignored there, shells for one, and programs
# that tests interrupt would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is in this folder is live."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.live)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tests that could say nothing have tested nothing: too many of them are no success."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
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


@pytest.fixture(scope="session")
def build() -> Build:
    """What `make build` has built."""
    return load_build(ROOT)


@pytest.fixture(scope="session")
def run_folder() -> Path:
    """Where all that these tests leave behind is: out/latest."""
    return new_run_folder(ROOT / "out")


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
