"""Media connections over TLS, in both directions, on an Asterisk of the harness's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_calls import passing_call

from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Bridge, Connection, Extension
from harness.bench import Bench, LiveCall
from harness.bench import bench as start_bench
from harness.install.build import Build

MARKS = 12


@pytest.fixture(scope="module")
def encrypted(build: Build, run_folder: Path) -> Iterator[Bench]:
    folder = run_folder / "encrypted"
    folder.mkdir()
    with start_bench(build, folder, tls=True) as bench:
        yield bench


@pytest.mark.parametrize("bridge", ["dial", "ari"])
@pytest.mark.parametrize("connection", ["outgoing", "incoming"])
def test_marks_over_tls(encrypted: Bench, bridge: Bridge, connection: Connection) -> None:
    extension = Extension(f"{bridge}-{connection}", bridge=bridge, connection=connection)

    async def script(call: LiveCall) -> None:
        assert call.session.tls
        await call.session.start_buffering()
        await play_with_marks(call.session, coded_pieces(random_sizes(1, MARKS, largest=1500)))

    call = passing_call(encrypted, extension.name, script, extension)
    assert len(call.judged.marks) == MARKS
    # Measured as without: what is encrypted is read with the application's own secrets.
    assert call.judged.measurement.source == ("socket" if encrypted.not_captured else "capture")
