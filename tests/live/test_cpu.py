"""``harness measure --cpu`` with few calls: what it measures is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from live_calls import skip

from harness.commands.measure_cpu import CpuMeasurement, measure_cpu
from harness.install.build import Build
from harness.retry import until_reliable

pytestmark = pytest.mark.slow


def test_both_modules_are_measured_and_every_packet_is_counted(
    build: Build, run_folder: Path
) -> None:
    def measure(name: str) -> CpuMeasurement:
        return measure_cpu(build, run_folder / name, calls=3, rounds=1)

    measured = until_reliable("cpu", measure, lambda found: found.result == "INCONCLUSIVE")
    # 46 marks, ten frames apart on average, in each of three calls
    assert measured.sent == {"stock": 3 * 46 * 10, "patched": 3 * 46 * 10}
    if measured.result == "INCONCLUSIVE":
        skip(f"lost {measured.lost}, the host stalled for {measured.stalled_ms:.0f} ms")
    assert measured.result == "PASS", measured.lost
    # How much they take is the benchmark's to say: here other tests run beside it.
    [ratio] = measured.ratios
    assert ratio > 0
    assert measured.percent("patched") > 0
