"""The module's own tests, inside Asterisk: playback_test.c, run through the console."""

from __future__ import annotations

import re

from harness.asterisk.own_asterisk import OwnAsterisk
from harness.bench import Bench


def check_own_tests(instance: OwnAsterisk) -> None:
    """Run them all; with what they say if one fails."""
    output = instance.console.run("test execute category /channels/chan_websocket/")
    summary = re.search(r"^(\d+) Test\(s\) Executed +(\d+) Passed +(\d+) Failed$", output, re.M)
    assert summary is not None, output
    executed, passed, failed = map(int, summary.groups())
    assert executed == passed > 0, output
    assert failed == 0, output


def test_the_modules_own_tests(patched: Bench) -> None:
    check_own_tests(patched.instance)
