"""What ends a command: what is the machine's fault, and what is unexpected."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from harness.errors import EnvironmentFault, HarnessFault, InputFault, as_fault
from harness.install import build, module, patch_tool, patches


def test_a_fault_stays_what_it_is() -> None:
    fault = InputFault("no such thing")
    assert as_fault(fault) is fault


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "out/x"), "out/x: Permission denied"),
        (FileExistsError(errno.EEXIST, "File exists", "out"), "out: File exists"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
    ],
)
def test_what_the_machine_refuses(
    problem: OSError, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = as_fault(problem)
    assert isinstance(fault, EnvironmentFault)
    assert fault.what == said
    assert bool(fault.remedy) == isinstance(problem, PermissionError)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "problem",
    [
        KeyError("system"),
        TimeoutError(),
        FileNotFoundError(errno.ENOENT, "No such file or directory", "timeline.txt"),
    ],
)
def test_an_unexpected_error_comes_with_its_traceback(
    problem: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    def raise_it() -> None:
        raise problem

    try:
        raise_it()
    except Exception as caught:
        fault = as_fault(caught)
    assert isinstance(fault, HarnessFault)
    assert type(problem).__name__ in fault.what
    assert "in raise_it" in capsys.readouterr().err


def _denied(*arguments: object, **named: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied", "build/lock")


@pytest.mark.parametrize(
    ("main", "begin"),
    [
        (lambda: build.main([]), (build, "build")),
        (lambda: module.main(["build"]), (module, "find_installed")),
        (lambda: patch_tool.main(["tree", "status"]), (patch_tool, "load_known")),
        (patches.main, (patches, "load_series")),
    ],
    ids=["build", "module", "patch", "patches"],
)
def test_no_command_ends_with_a_traceback_for_what_another_user_has_left(
    main: Callable[[], int],
    begin: tuple[object, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["make"])
    monkeypatch.setattr("pathlib.Path.is_dir", lambda path: True)
    monkeypatch.setattr(*begin, _denied)
    assert main() != 0
    assert "environment fault: build/lock: Permission denied" in capsys.readouterr().err
