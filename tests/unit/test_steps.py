"""A scenario's steps are done in a call, here one whose Asterisk is played by the test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect
from websockets.exceptions import ConnectionClosedError
from websockets.typing import Subprotocol

from harness.application.disturb import serve
from harness.bench import Bench, LiveCall
from harness.capture.dissect import timeline_from_sockets
from harness.capture.timeline import ULAW
from harness.scenarios.result import Outcome, ScenarioResult
from harness.scenarios.run_one import Setting, run_scenario
from harness.scenarios.schema import load_scenarios
from harness.targets.capabilities import Capabilities

STOCK_START = "MEDIA_START channel:x channel_id:1.1 format:ulaw optimal_frame_size:160 ptime:20"
PATCHED_START = f"{STOCK_START} playback_marks:2"
NOTHING_PLAYED = (
    "PLAYBACK received=0 played=0 queued=0 flushed=0 dropped=0 played_ms=0.000 queued_ms=0.000"
    " marks=0 underruns=0 paused=0 stage=delivered at=1795980000000.000 final=1"
)

Asterisk = Callable[[ClientConnection], Awaitable[None]]
"""What Asterisk does in the call, once it is up"""


async def reads(asterisk: ClientConnection) -> None:
    """Take whatever comes, until the connection ends."""
    async for _ in asterisk:
        pass


class Sip:
    """The caller's leg, of which only the hanging up matters here: Asterisk then closes."""

    def __init__(self, asterisk: ClientConnection) -> None:
        self._asterisk = asterisk

    async def hang_up(self) -> None:
        await self._asterisk.close()


class MadeBench:
    """A bench without a PBX: no media leaves, so its scenarios set no marks behind any."""

    def __init__(self, folder: Path, start: str, asterisk: Asterisk, playback_marks: bool) -> None:
        self._folder = folder
        self._start = start
        self._asterisk = asterisk
        self.capabilities = Capabilities(
            "22.10.1",
            playback_marks,
            frozenset({"ulaw"}),
            frozenset({"outgoing"}),
            frozenset({"dial"}),
        )

    @asynccontextmanager
    async def call(self, name: str, *args: Any, **options: Any) -> AsyncIterator[LiveCall]:
        folder = self._folder / name
        folder.mkdir()
        async with (
            serve() as server,
            websocket_connect(
                server.uri, subprotocols=[Subprotocol("media")], proxy=None
            ) as asterisk,
        ):
            await asterisk.send(self._start)
            session = await server.accept()
            doing = asyncio.ensure_future(self._asterisk(asterisk))
            call = LiveCall(name, folder, cast(Any, Sip(asterisk)), session, cast(Any, None))
            call._bounds = args[1]
            yield call
            await call.sip.hang_up()
            await session.wait_closed()
            with suppress(ConnectionClosedError):
                await doing
        call._read = lambda: timeline_from_sockets(
            ULAW, [], session.messages, uncertainty_ns=0, end_ns=time.time_ns(), capture_drops=0
        )


def run(
    folder: Path,
    steps: str,
    start: str = PATCHED_START,
    asterisk: Asterisk = reads,
    *,
    patched: bool = True,
    playback_marks: bool = True,
    more: str = "",
) -> ScenarioResult:
    """What becomes of a scenario with these ``steps``, a line each, and ``more`` keys."""
    file = folder / "mine.yaml"
    file.write_text(f"proves: x\nsteps:\n{steps}\n{more}")
    [scenario] = load_scenarios(file)
    bench = cast(Bench, MadeBench(folder, start, asterisk, playback_marks))
    setting = Setting("made", not patched, patched, "harness run")
    return run_scenario(bench, scenario, 1, setting, folder)


def test_steps_that_come_to_their_end(tmp_path: Path) -> None:
    result = run(tmp_path, "- pause\n- continue")
    assert (result.outcome, result.failures) == (Outcome.PASS, ())


async def answers(asterisk: ClientConnection) -> None:
    """Answer each mark at once."""
    async for text in asterisk:
        assert isinstance(text, str)
        if text.startswith("MARK "):
            await asterisk.send(text.replace("MARK ", "MARK_PLAYED "))


@pytest.mark.parametrize(
    ("late_calls", "outcome", "attempts", "says"),
    [
        ({1}, Outcome.PASS, 2, "late in 1 of 2 attempts and not again: "),
        ({1, 2}, Outcome.FAIL, 2, "LATE"),
        (set(), Outcome.PASS, 1, ""),
    ],
)
def test_what_is_late_in_one_call_alone_is_late_by_chance(
    tmp_path: Path, late_calls: set[int], outcome: Outcome, attempts: int, says: str
) -> None:
    calls = 0

    async def answers_late(asterisk: ClientConnection) -> None:
        nonlocal calls
        calls += 1
        late_s = 1.3 if calls in late_calls else 0
        async for text in asterisk:
            assert isinstance(text, str)
            if text.startswith("MARK "):
                await asyncio.sleep(late_s)
                await asterisk.send(text.replace("MARK ", "MARK_PLAYED "))
                await asterisk.send(NOTHING_PLAYED)

    steps = "- mark: a\n- wait: {acknowledged: a, within_s: 60}"
    # Of a busy host, too, less is expected than of this Asterisk.
    late = "expect: {late_ms: 1000, because: a made call}\n"
    result = run(tmp_path, steps, asterisk=answers_late, more=late)
    assert (result.outcome, result.attempts) == (outcome, attempts), result.failures
    assert result.reason.startswith(says)


def test_in_plain_text_a_number_is_answered_as_text(tmp_path: Path) -> None:
    waits = [f"- wait: {{acknowledged: {mark}, within_s: 60}}" for mark in ("all", 8)]
    steps = f"- mark: [a, 7]\n{waits[0]}\n- mark: 8\n{waits[1]}"
    result = run(tmp_path, steps, asterisk=answers)
    assert not [text for text in result.failures if "no mark" in text]
    assert result.seconds < 60, "a wait was in vain"


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (
            PATCHED_START,
            [
                "REPORT_PLAYBACK interval_ms=0",
                *("MARK id=a offset=5", "MARK id=b offset=410", "MARK id=m0 offset=397"),
                *("MARK id=m1 offset=397", "MARK id=early offset=0"),
            ],
        ),
        # It has no marks by position.
        (STOCK_START, [f"MARK_MEDIA {name}" for name in ("a", "b", "m0", "m1", "early")]),
    ],
)
def test_marks_by_position(tmp_path: Path, start: str, expected: list[str]) -> None:
    sent = []

    async def notes(asterisk: ClientConnection) -> None:
        sent.extend([text async for text in asterisk if isinstance(text, str)])

    steps = """
- play: {bytes: 400}
- mark: {id: a, offset: 5}
- mark: {id: b, ahead: 10}
- mark: {count: 2, back: 3}
- mark: {id: early, back: 1000}
"""
    result = run(tmp_path, steps, start, notes, patched=False, playback_marks=False)
    assert sent == expected * result.attempts


@pytest.mark.parametrize(
    ("patched", "playback_marks", "outcome"),
    [
        (True, True, Outcome.FAIL),
        # A lab PBX, or a module without its console command, that has lost the field only.
        (False, True, Outcome.FAIL),
        (True, False, Outcome.FAIL),
        (False, False, Outcome.PASS),
    ],
)
def test_a_target_with_the_patch_must_announce_it(
    tmp_path: Path, patched: bool, playback_marks: bool, outcome: Outcome
) -> None:
    result = run(tmp_path, "- pause", STOCK_START, patched=patched, playback_marks=playback_marks)
    assert result.outcome is outcome
    assert ["MEDIA_START has no playback_marks" in text for text in result.failures] == (
        [True] if outcome is Outcome.FAIL else []
    )


def test_what_is_known_of_a_scenario_does_not_excuse_a_missing_announcement(
    tmp_path: Path,
) -> None:
    known = "patched: {fails: [EXPECTATION], because: of something else}"
    result = run(tmp_path, "- pause", STOCK_START, more=known)
    assert result.outcome is Outcome.FAIL
    assert "UNANNOUNCED" in result.reason


async def closes(asterisk: ClientConnection) -> None:
    """When it is to pause, close the connection as if something were wrong with it."""
    async for text in asterisk:
        if text == "PAUSE_MEDIA":
            await asterisk.close(1003)


async def breaks(asterisk: ClientConnection) -> None:
    """When it is to pause, break the connection off."""
    async for text in asterisk:
        if text == "PAUSE_MEDIA":
            asterisk.transport.abort()


@pytest.mark.parametrize("asterisk", [closes, breaks])
@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ("- pause\n- wait: {event: DTMF_END}\n- continue", 4),
        ("- repeat: {times: 2, steps: [pause, wait: {event: DTMF_END}]}\n- continue", 3),
        ("- pause\n- repeat: {times: 100000, steps: [mark: {}]}", 4),
    ],
)
def test_a_connection_that_ends_too_early_is_the_drivers_failure(
    tmp_path: Path, steps: str, line: int, asterisk: Asterisk
) -> None:
    result = run(tmp_path, steps, asterisk=asterisk)
    assert result.outcome is Outcome.FAIL
    assert "EXPECTATION" in result.reason
    last = [text for text in result.failures if text.startswith("mine.yaml")][-1]
    assert last.startswith(f"mine.yaml:{line}: the connection") and "ended" in last
    assert result.calls[0].verdict == "FAIL"


def test_who_does_not_read_sees_the_end_as_soon_as_he_sends(tmp_path: Path) -> None:
    steps = "- stop reading\n- pause\n- repeat: {times: 1000, steps: [continue, elapse: 1]}"
    result = run(tmp_path, steps, asterisk=breaks)
    assert result.outcome is Outcome.FAIL
    [ended] = [text for text in result.failures if text.startswith("mine.yaml:5: the connection")]
    assert "had ended" in ended or "no step had ended" in ended


@pytest.mark.parametrize(
    "steps",
    [
        "- hang_up: caller",
        "- hang_up: application",
        "- send: HANGUP\n- wait: {closed: true}",
        "- send: HANGUP\n- elapse: 100",
        "- pause\n- wait: {closed: true}",
        "- close",
        "- abort",
    ],
)
def test_a_connection_that_is_ended_on_purpose(tmp_path: Path, steps: str) -> None:
    async def asterisk(connection: ClientConnection) -> None:
        async for text in connection:
            if text in ("HANGUP", "PAUSE_MEDIA"):
                await connection.close()

    result = run(tmp_path, steps, asterisk=asterisk)
    assert (result.outcome, result.failures) == (Outcome.PASS, ())


def test_who_sends_behind_an_end_of_his_own_is_told_so(tmp_path: Path) -> None:
    result = run(tmp_path, "- close\n- pause")
    assert result.outcome is Outcome.ERROR
    assert "the connection had ended" in result.reason
