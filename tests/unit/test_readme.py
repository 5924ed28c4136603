"""The README's agent has the README's conversation, with a WebSocket peer in Asterisk's place."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress
from pathlib import Path

from websockets import ConnectionClosed
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

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


async def play_asterisk(asterisk: ClientConnection) -> None:
    """Send Asterisk's lines and expect the application's, in their order."""
    await asterisk.send(
        "MEDIA_START connection_id:c channel:WebSocket/agent/0x1 channel_id:1.1 format:ulaw"
        " optimal_frame_size:160 ptime:20 playback_marks:2"
    )
    assert await asterisk.recv() == "START_MEDIA_BUFFERING"
    for sender, line in conversation():
        audio = re.fullmatch(r"\(audio, (\d+) bytes\)", line)
        if sender == ">" and audio:
            received = await asterisk.recv()
            assert isinstance(received, bytes)
            assert len(received) == int(audio[1])
        elif sender == ">":
            assert await asterisk.recv() == line
        else:
            await asterisk.send(line)
    await asterisk.wait_closed()


async def have_the_conversation() -> tuple[int | None, str]:
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
                    await play_asterisk(asterisk)
        rest, _ = await process.communicate()
        return process.returncode, first + rest.decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_the_agent_has_the_conversation() -> None:
    code, printed = asyncio.run(asyncio.wait_for(have_the_conversation(), TIMEOUT_S))
    assert code == 0, printed
    assert printed.splitlines()[1:] == [
        "the caller has been played the first sentence",
        "interrupted 700.000 ms after s1",
    ]


def test_the_conversation_is_the_protocols() -> None:
    """Its commands and events stand in the protocol's example, letter for letter."""
    example = (ROOT / "docs/protocol.md").read_text()
    for sender, line in conversation():
        assert line.startswith("(") or f"    {sender} {line}" in example
