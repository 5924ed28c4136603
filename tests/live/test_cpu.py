"""``harness measure --cpu`` with few calls: what it measures is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_calls import INCONCLUSIVE

from harness.commands.measure_cpu import measure_cpu
from harness.install.build import Build

pytestmark = pytest.mark.slow


def test_both_modules_are_measured_and_every_packet_is_counted(
    build: Build, run_folder: Path
) -> None:
    measured = measure_cpu(build, run_folder / "cpu", calls=3, rounds=1)
    # 46 marks, ten frames apart on average, in each of three calls
    assert measured.sent == {"stock": 3 * 46 * 10, "patched": 3 * 46 * 10}
    if measured.result == "INCONCLUSIVE":
        pytest.skip(f"{INCONCLUSIVE}: the applications were not given the time to send")
    assert measured.lost == {"stock": 0, "patched": 0}
    # How much they take is the benchmark's to say: here other tests run beside it.
    [ratio] = measured.ratios
    assert ratio > 0
    assert measured.percent("patched") > 0
