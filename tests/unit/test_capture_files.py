"""A call's timeline, kept in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hand_made import speech_call

from harness.capture.timeline import Measurement
from harness.errors import InputFault
from harness.record.capture_files import load_timeline, save_timeline


def test_a_saved_timeline_is_the_same_when_loaded(tmp_path: Path) -> None:
    call = replace(
        speech_call([500, 900], [0, 1]).timeline(), measurement=Measurement("socket", 700_000, 0)
    )
    save_timeline(tmp_path, call)
    assert load_timeline(tmp_path) == call


@pytest.mark.parametrize("content", [None, "{}", "no json"])
def test_a_folder_without_a_readable_call_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "timeline.json").write_text(content)
    with pytest.raises(InputFault, match="no saved call"):
        load_timeline(tmp_path)
