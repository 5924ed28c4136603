"""The README's agent in a call with a WebSocket peer in Asterisk's place, and the package's."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_driver import FRAME, FakeDriver
from fast_motion import FastMotion
from test_voice_call import run
from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from chan_websocket import Call

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MEDIA = Subprotocol("media")
TIMEOUT_S = 60
"""for the whole conversation, on a machine that does much else"""


def agent() -> str:
    """The program, on a free port instead of its own one."""
    [program] = re.findall(r"```python\n(.*?)```", README, re.S)
    assert program.count("8765") == 1
    return str(program.replace("8765", "0"))


def conversation() -> list[tuple[str, str]]:
    """Its lines: who sends (``>`` is the application) and what, without the remarks behind."""
    [block] = re.findall(r"((?:^    [<>] .*\n)+)", README, re.M)
    return re.findall(r"^    ([<>]) (.+?)(?: {3,}.*)?$", block, re.M)


async def play_asterisk(asterisk: ClientConnection, driver: FakeDriver) -> None:
    """Be the driver, on the clock of the day."""

    async def to_the_agent() -> None:
        with suppress(ConnectionClosed):
            while True:
                await asterisk.send(await driver.recv())

    async def from_the_agent() -> None:
        async for message in asterisk:
            await driver.send(message)

    async def time_goes_on() -> None:
        while True:
            await asyncio.sleep(0.02)
            driver.tick()

    tasks = [asyncio.create_task(doing()) for doing in (to_the_agent, from_the_agent, time_goes_on)]
    await tasks[0]  # until the agent hangs up
    for task in tasks:
        task.cancel()


async def have_the_conversation(driver: FakeDriver) -> tuple[int | None, str]:
    """The agent's exit code, and what it printed, its errors included."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", "-c", agent()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout
    try:
        first = (await process.stdout.readline()).decode()
        if first.startswith("waiting for a call at"):
            # An agent that ends too early says why: below.
            with suppress(ConnectionClosed):
                async with connect(first.split()[-1], subprotocols=[MEDIA], proxy=None) as asterisk:
                    await play_asterisk(asterisk, driver)
        rest, _ = await process.communicate()
        return process.returncode, first + rest.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_agent_knows_what_was_heard() -> None:
    driver = FakeDriver()
    code, printed = asyncio.run(asyncio.wait_for(have_the_conversation(driver), TIMEOUT_S))
    assert code == 0, printed
    heard = sum(end - begin for begin, end in driver.heard)
    assert 12000 <= heard < 28000
    assert printed.splitlines()[1:] == [
        f"cut off after {heard // 8} ms; the caller has heard: Your book has arrived. "
    ]


def test_the_agent_is_one_of_the_examples() -> None:
    [program] = re.findall(r"```python\n(.*?)```", README, re.S)
    assert program == (ROOT / "examples/agent.py").read_text()


def test_the_conversation_is_the_protocols() -> None:
    """Its commands and events stand in the protocol's example, letter for letter."""
    example = (ROOT / "docs/protocol.md").read_text()
    for sender, line in conversation():
        assert line.startswith("(") or f"    {sender} {line}" in example


def test_the_agent_of_the_package_knows_it_too(capsys: pytest.CaptureFixture[str]) -> None:
    [program] = re.findall(r"```python\n(.*?)```", (ROOT / "client/README.md").read_text(), re.S)
    names: dict[str, Any] = {}
    exec(program.replace("asyncio.run(main())", ""), names)

    async def test(call: Call, driver: FakeDriver) -> None:
        agent = asyncio.create_task(names["agent"](call))
        for tick in range(1000):
            if agent.done():
                break
            if tick == 100:
                driver.say(b"\x01" * FRAME)
            driver.tick()
            await asyncio.sleep(0.02)
        await agent

    run(test, loop=FastMotion())
    printed = capsys.readouterr().out
    assert "interrupted=True" in printed
    assert "text='Good morning. '" in printed
