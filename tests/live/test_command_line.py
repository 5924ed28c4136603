"""The command line as its users type it: scenarios run, judged again, reported again."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from live_calls import INCONCLUSIVE

from harness.commands.command import (
    EXIT_ENVIRONMENT,
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_PASS,
)
from harness.report.html import REPORT_FILE
from harness.scenarios.result import Outcome, RunSummary, load_summary

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def harness(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)


def run(*arguments: str) -> tuple[RunSummary, Path]:
    """A run that must not fail; skipped, with the reason, where the host would not let it tell."""
    done = harness("run", "--keep-going", *arguments)
    if done.returncode == EXIT_INCONCLUSIVE:
        pytest.skip(f"{INCONCLUSIVE} in three attempts:\n{done.stdout[-3000:]}")
    assert done.returncode == EXIT_PASS, done.stdout + done.stderr
    return summary_of(done.stdout)


def summary_of(output: str) -> tuple[RunSummary, Path]:
    """Of the run that printed this, and its folder."""
    found = re.search(rf"^Report: (.*)/{re.escape(REPORT_FILE)}$", output, re.M)
    assert found is not None, output
    folder = ROOT / found[1]
    return load_summary(folder), folder


def test_the_smoke_group_passes() -> None:
    summary, folder = run("--group", "smoke")
    assert summary.counts[Outcome.PASS] == len(summary.results) >= 10
    report = (folder / REPORT_FILE).read_text()
    assert all(result.scenario in report for result in summary.results)
    assert (folder / "junit.xml").read_text().count("<testcase") == len(summary.results)


def test_the_stock_driver_fails_as_it_is_known_to_and_its_run_can_be_judged_elsewhere(
    tmp_path: Path,
) -> None:
    summary, folder = run("--target", "stock", "text_to_speech", "pause_continue")
    assert {result.outcome for result in summary.results} == {Outcome.XFAIL}
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    again = harness("judge", str(moved), cwd=tmp_path)
    assert "EARLY" in again.stdout
    assert again.returncode == EXIT_PASS, again.stdout[-3000:]
    assert again.stdout.count("It fails as expected (XFAIL): ") == len(summary.results)
    calls = sum(len(result.calls) for result in summary.results)
    assert again.stdout.count("The verdict is byte for byte the one that was saved") >= calls
    assert "NOT the one" not in again.stdout


def test_what_a_file_expects_is_judged_again_too(tmp_path: Path) -> None:
    file = tmp_path / "unmet.yaml"
    file.write_text(
        "proves: That an expectation that is not met fails.\n"
        "steps:\n"
        "  - play: {bytes: 400}\n"
        "  - mark: a\n"
        "  - wait: {acknowledged: a}\n"
        "  - wait: {event: QUEUE_DRAINED, within_s: 0.1}\n"
        "expect:\n"
        "  marks: {a: flush}\n"
    )
    done = harness("run", str(file))
    assert done.returncode == EXIT_FAIL, done.stdout + done.stderr
    summary, folder = summary_of(done.stdout)
    [result] = summary.results
    assert (result.outcome, result.reason) == (Outcome.FAIL, "EXPECTATION")
    again = harness("judge", str(folder), cwd=tmp_path)
    assert again.returncode == EXIT_FAIL
    for said in ('unmet.yaml: mark "a" was to be flush, and is played', "unmet.yaml:6: "):
        assert any(said in text for text in result.failures)
        assert said in again.stdout
    assert "The verdict is byte for byte the one that was saved" in again.stdout


def test_a_report_can_be_made_again_from_the_files(tmp_path: Path) -> None:
    _, folder = run("before_any_media")
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    for name in (REPORT_FILE, "junit.xml"):
        (moved / name).unlink()
    assert harness("report", str(moved), cwd=tmp_path).returncode == EXIT_PASS
    for name in (REPORT_FILE, "junit.xml"):
        assert (moved / name).read_bytes() == (folder / name).read_bytes()


def test_ctrl_c_stops_all_that_was_started() -> None:
    command = [sys.executable, "-m", "harness", "run", "mark_each_frame"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        children = _wait_for_asterisk(process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED
    assert "everything that was started is stopped" in " ".join(errors.split())
    assert not [child for child in children if _runs(child)]


@pytest.mark.parametrize(
    ("number", "code", "says"),
    [
        (signal.SIGSEGV, EXIT_FAIL, "Asterisk crashed"),
        (signal.SIGKILL, EXIT_ENVIRONMENT, "Asterisk ended"),
    ],
)
def test_a_crash_of_asterisk_is_the_products_and_a_kill_is_not(
    number: signal.Signals, code: int, says: str
) -> None:
    """Nor does what the stock driver is known to do wrong excuse it."""
    command = [sys.executable, "-m", "harness", "run", "mark_each_frame", "--target", "stock"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        [asterisk] = [one for one in _wait_for_asterisk(process) if _name(one) == "asterisk"]
        asterisk.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == code
    [result] = summary_of(output)[0].results
    assert result.reason.startswith(says) and number.name in result.reason
    assert result.reason in " ".join(output.split())


def test_an_asterisk_that_stands_still_is_the_products_fault(tmp_path: Path) -> None:
    file = tmp_path / "still.yaml"
    file.write_text("proves: x\nsteps:\n  - elapse: 1000\n  - mark: a\n")
    command = [sys.executable, "-m", "harness", "run", str(file)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        [asterisk] = [one for one in _wait_for_asterisk(process) if _name(one) == "asterisk"]
        # Calls are in the folder that Asterisk runs in. The caller's ACK is when one is up.
        log = Path(asterisk.cwd()) / "still-1" / "sip.log"
        while process.poll() is None and not (log.exists() and "ACK sip" in log.read_text()):
            time.sleep(0.01)
        asterisk.suspend()
        output, _ = process.communicate(timeout=90)
    assert process.returncode == EXIT_FAIL
    [result] = summary_of(output)[0].results
    assert result.reason.startswith("Asterisk hangs: ")
    assert not _runs(asterisk)


def _runs(process: psutil.Process) -> bool:
    """Whether it still does anything: a zombie only waits for somebody to ask after it."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _wait_for_asterisk(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The descendants of a process, once an Asterisk is among them."""
    while process.poll() is None:
        found = psutil.Process(process.pid).children(recursive=True)
        if any(_name(child) == "asterisk" for child in found):
            return found
    raise AssertionError(process.communicate())


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
