"""Where a run's files go: its folder, and the files of a call."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hand_made import speech_call

from harness.judge.call import judge_call
from harness.record.run_folder import new_folder, new_run_folder
from harness.record.verdict_files import write_call_files


def test_latest_leads_to_the_run_that_began_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The three begin in the same second.
    monkeypatch.setattr(time, "strftime", lambda pattern: "2026-01-02_03-04-05")
    out = tmp_path / "out"
    for name in ("2026-01-02_03-04-05", "2026-01-02_03-04-05_2", "2026-01-02_03-04-05_3"):
        folder = new_run_folder(out)
        assert folder.name == name
        assert (out / "latest").readlink() == Path(name)
    assert len(list(out.iterdir())) == 4


def test_what_is_no_run_leaves_latest_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = new_run_folder(out)
    folder = new_folder(out)
    assert folder.parent == out
    assert folder != run
    assert (out / "latest").resolve() == run


def test_the_files_of_a_call_and_its_failures_with_their_evidence(tmp_path: Path) -> None:
    timeline = speech_call([1000, 2000], [0.5, -3.0]).timeline()
    verdict = judge_call(timeline)
    failure, final = write_call_files(tmp_path, timeline, verdict)
    assert "PLAYBACK final INCONCLUSIVE" in final
    assert 'mark "m1" EARLY' in failure
    evidence = failure.split()[-1]
    file, _, number = evidence.rpartition(":")
    assert Path(file) == tmp_path / "timeline.txt"
    assert 'mark "m1" EARLY' in Path(file).read_text().splitlines()[int(number) - 1]

    messages = [json.loads(line) for line in (tmp_path / "ws.jsonl").read_text().splitlines()]
    assert len(messages) == len(timeline.messages)
    assert messages[1] == {
        "time_ns": timeline.messages[1].time_ns,
        "sender": "application",
        "kind": "binary",
        "bytes": 1000,
    }
    assert messages[2]["text"] == "MARK id=m0"

    summary = json.loads((tmp_path / "verdict.json").read_text())
    assert summary["verdict"] == "FAIL"
    assert summary["counts"]["EARLY"] == summary["counts"]["PASS"] == 1
    assert [mark["verdict"] for mark in summary["marks"]] == ["PASS", "EARLY"]
    assert summary["difference_ns"]["min_ns"] == -3_000_000
