"""What is told apart of an Asterisk whose console is asked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.asterisk.console import Console, NotAnswered
from harness.asterisk.own_asterisk import OwnAsterisk
from harness.asterisk.process import AsteriskHangs
from harness.errors import Fault, HarnessFault

CHANNELS = "PJSIP/caller-1!marks!x!1!Up\nWebSocket/app/2!marks!!1!Up"


def test_no_answer_is_not_the_same_as_a_refusal(tmp_path: Path) -> None:
    silent = Console(["/bin/sh", "-c", "exec /bin/sleep 60"], tmp_path / "asterisk.ctl")
    with pytest.raises(NotAnswered, match="'core show version' was not answered"):
        silent.run("core show version", 0.1)
    refusing = Console(["/bin/sh", "-c", "echo No such command"], tmp_path / "asterisk.ctl")
    with pytest.raises(HarnessFault) as refused:
        refusing.run("core show version")
    assert not isinstance(refused.value, NotAnswered)


def check(tmp_path: Path, answers: dict[str, str | Fault]) -> None:
    """Ask an Asterisk that answers these commands so."""

    def run(command: str) -> str:
        answer = answers[command]
        if isinstance(answer, Fault):
            raise answer
        return answer

    made = SimpleNamespace(
        console=SimpleNamespace(run=run), version="22.10.1", pid=4711, log=tmp_path / "no.log"
    )
    OwnAsterisk.check_answers(cast(Any, made))


def test_an_asterisk_hangs_when_its_console_or_a_channel_does(tmp_path: Path) -> None:
    listed = {"core show channels concise": CHANNELS, "core show channel PJSIP/caller-1": "Up"}
    last = "core show channel WebSocket/app/2"
    check(tmp_path, {**listed, last: "Up"})
    check(tmp_path, {**listed, last: HarnessFault("it is gone")})
    check(tmp_path, {"core show channels concise": ""})
    with pytest.raises(AsteriskHangs, match="4711"):
        check(tmp_path, {**listed, last: NotAnswered("the channel is locked")})
    with pytest.raises(AsteriskHangs, match="runs, but it is silent"):
        check(tmp_path, {"core show channels concise": NotAnswered("it is silent")})
