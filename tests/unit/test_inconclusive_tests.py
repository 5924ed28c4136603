"""Live tests that could say nothing: how many of them a session may have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
IMPORTS = "import pytest\nfrom live_calls import INCONCLUSIVE\n"


def session(folder: Path, tests: str) -> tuple[int, str]:
    """Exit status and output of a session with these tests among the live ones."""
    (folder / "live").mkdir()
    for name in ("conftest.py", "live/live_calls.py"):
        shutil.copyfile(TESTS / name, folder / name)
    (folder / "live" / "test_it.py").write_text(IMPORTS + tests)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = live: x\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(folder)],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


def made(good: int, inconclusive: int, untested: int = 0) -> str:
    return f"""
@pytest.mark.parametrize("number", range({good}))
def test_good(number): pass
@pytest.mark.parametrize("number", range({inconclusive}))
def test_inconclusive(number): pytest.skip(f"{{INCONCLUSIVE}} 3 times")
@pytest.mark.parametrize("number", range({untested}))
def test_untested(number): pytest.skip("there is no container engine; inconclusive?")
"""


def test_a_few_may_say_nothing(tmp_path: Path) -> None:
    status, output = session(tmp_path, made(good=2, inconclusive=2))
    assert status == 0, output
    assert "were inconclusive" not in output


@pytest.mark.parametrize(("good", "inconclusive"), [(1, 2), (0, 2)])
def test_too_many_are_no_success(tmp_path: Path, good: int, inconclusive: int) -> None:
    status, output = session(tmp_path, made(good, inconclusive, untested=9))
    assert status == 1, output
    assert f"2 of {good + 2} live tests were inconclusive" in output


def test_what_failed_stays_what_is_told(tmp_path: Path) -> None:
    status, output = session(tmp_path, made(3, 1) + "def test_bad(): assert False\n")
    assert status == 1
    assert "were inconclusive" not in output
