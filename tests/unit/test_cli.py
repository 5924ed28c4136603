"""The command line: what it refuses, and with which exit code it says what it found."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hand_made import speech_call

from harness.asterisk.process import AsteriskCrashed
from harness.commands import build, cli, demo, lab
from harness.commands.command import (
    EXIT_ENVIRONMENT,
    EXIT_FAIL,
    EXIT_INCONCLUSIVE,
    EXIT_INTERRUPTED,
    EXIT_PASS,
    EXIT_USAGE,
)
from harness.errors import EnvironmentFault
from harness.record.capture_files import save_timeline
from harness.record.run_folder import new_run_folder


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The command line handles SIGTERM and SIGINT; pytest is to have its own handling back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["measure", "--marks", "0"], "0 is not a number of 1 or more"),
        (["measure", "--calls", "-3"], "-3 is not a number of 1 or more"),
        (["measure", "--marks", "many"], "many"),
        (["measure", "--module", "mine"], "mine"),
        (["measure", "--ptime", "50"], "50"),
        (["run", "--max-inconclusive", "101"], "101 is not a number from 0 to 100"),
        (["measure", "--max-inconclusive", "few"], "few is not a number from 0 to 100"),
        (["judge"], "FOLDER"),
        (["run", "--codec", "x"], "harness run: error: unrecognized arguments: --codec"),
    ],
)
def test_arguments_that_cannot_be_used(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fresh"], "--fresh is for containers only"),
        (["--container", "packaged", "--release", "22.10.1"], "the distribution's own release"),
        (["--container", "source", "packaged", "--source", "x"], "the distribution's own release"),
    ],
)
def test_options_that_a_build_has_no_use_for(
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for builder in ("build_image", "build_asterisk"):
        monkeypatch.setattr(build, builder, lambda *given, **named: pytest.fail("it was built"))
    assert cli.main(["build", *arguments]) == EXIT_USAGE
    assert complaint in " ".join(capsys.readouterr().err.split())


def test_a_soak_that_is_too_short_for_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["load", "--soak", "179"]) == EXIT_USAGE
    errors = " ".join(capsys.readouterr().err.split())
    assert "--soak 179 is too short" in errors
    assert "Give 180 seconds or more" in errors


def test_a_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["judge", str(tmp_path / "nowhere")]) == EXIT_USAGE
    errors = " ".join(capsys.readouterr().err.split())
    assert "input fault" in errors
    assert "Give the folder of a call" in errors


@pytest.mark.parametrize(
    ("after_ms", "code", "said"),
    [(0.5, EXIT_PASS, "PASS"), (-5.0, EXIT_FAIL, "FAIL")],
)
def test_a_saved_call_is_judged_again(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    after_ms: float,
    code: int,
    said: str,
) -> None:
    call = speech_call([1000], [after_ms])
    call.event(
        4000,
        "PLAYBACK received=1000 played=1000 queued=0 flushed=0 dropped=0 played_ms=125.000 "
        "queued_ms=0.000 marks=0 underruns=0 paused=0 at=0 final=1",
    )
    save_timeline(tmp_path, call.timeline())
    assert cli.main(["judge", str(tmp_path)]) == code
    assert capsys.readouterr().out.splitlines()[-1] == said


def test_a_call_without_marks_says_nothing(tmp_path: Path) -> None:
    call = speech_call([1000], [0.5]).timeline()
    silent = type(call)(call.codec, call.rtp, (), call.measurement, call.end_ns)
    save_timeline(tmp_path, silent)
    assert cli.main(["judge", str(tmp_path)]) == EXIT_INCONCLUSIVE


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (EnvironmentFault("no such thing", "install it"), EXIT_ENVIRONMENT, "install it"),
        (AsteriskCrashed("SIGSEGV", "see"), EXIT_FAIL, "Asterisk crashed: SIGSEGV"),
        (PermissionError(13, "Permission denied", "out/x"), EXIT_ENVIRONMENT, "out/x: Perm"),
        (KeyError("system"), EXIT_ENVIRONMENT, "Traceback"),
        (KeyboardInterrupt(), EXIT_INTERRUPTED, "everything that was started is stopped"),
    ],
)
def test_what_ends_a_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    def raise_it(root: Path) -> None:
        raise error

    monkeypatch.setattr(demo, "load_build", raise_it)
    assert cli.main(["demo"]) == code
    assert said in capsys.readouterr().err


def test_a_check_takes_latest_from_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lab, "OUT", tmp_path / "out")
    file = tmp_path / "lab.yaml"
    assert cli.main(["lab", "check", str(file)]) == EXIT_USAGE
    assert not (tmp_path / "out").exists()

    run = new_run_folder(tmp_path / "out")
    with (
        socket.create_server(("127.0.0.1", 0)) as nobody,
        socket.create_server(("127.0.0.1", 0)) as ours,
    ):
        ports = [one.getsockname()[1] for one in (nobody, ours)]
    sip = f"sip: {{address: 127.0.0.1, transport: tcp, port: {ports[0]}}}\n"
    file.write_text(f"name: x\n{sip}listen: {{address: 127.0.0.1, port: {ports[1]}}}\n")
    assert cli.main(["lab", "check", str(file)]) == EXIT_ENVIRONMENT
    assert (tmp_path / "out/latest").resolve() == run


def test_sigterm_ends_a_command_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "load_build", lambda root: signal.raise_signal(signal.SIGTERM))
    assert cli.main(["demo"]) == EXIT_INTERRUPTED
