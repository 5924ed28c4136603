"""The examples, each on a call with a caller who interrupts it."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.install.build import Build

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GREETING = "Good morning. The book you asked for has arrived. We keep it for you until Friday."
NEEDS = {"asterisk": "chan_websocket", "livekit": "livekit", "pipecat": "pipecat"}


@pytest.mark.parametrize("name", NEEDS)
def test_the_agent_knows_what_the_caller_heard(build: Build, name: str) -> None:
    if importlib.util.find_spec(NEEDS[name]) is None:
        pytest.skip(f"{name} is not installed: make frameworks")
    command = [sys.executable, "examples/on_asterisk.py", f"examples/{name}_agent.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3, done.stdout + done.stderr
    _, interrupted, goodbye = done.stdout.splitlines()
    [heard] = re.findall(r"^interrupted; the [a-z ]+: (.+)", interrupted)
    assert GREETING.startswith(heard.strip())
    # The caller interrupts when he has heard 2.5 s of it.
    assert 0 < len(heard) < len(GREETING)
    assert goodbye.strip().endswith(": Goodbye, until Friday.")


def test_openai_is_told_no_more_than_the_caller_heard(build: Build) -> None:
    """The script in its place refuses more than it has said, as OpenAI does."""
    command = [sys.executable, "examples/on_asterisk.py", "--codec", "slin24"]
    command.append("examples/openai_agent.py")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3, done.stdout + done.stderr
    _, interrupted, goodbye = done.stdout.splitlines()
    [heard_ms] = re.findall(r"^interrupted; the model is told: heard (\d+) ms$", interrupted)
    # The caller interrupts when he has heard 2.5 s of it.
    assert 2400 < int(heard_ms) < 5000
    assert goodbye == "the model has said: Goodbye, until Friday."
