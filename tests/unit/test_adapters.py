"""The adapters for Pipecat and LiveKit in fast motion, against a driver that is a model.

The frameworks are real, and so is the event loop but for its clock, which jumps to whatever is due
next. They are installed by `make frameworks`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from fake_driver import FRAME, FakeDriver
from fast_motion import FastMotion

from chan_websocket import Call
from harness.agents.conversation import Agent, Speech
from harness.agents.measure import FRAMEWORKS

MINUTES = 60
WARM_UP_MINUTES = 5
MOST_GROWN_BYTES = 5 << 20
MOST_GROWN_BLOCKS = 400
"""of Python's objects, in some 275 turns of a dozen words each: up to a weak reference a turn is
kept by the frameworks. What they keep of the conversation itself the agents forget."""
TURN_S = 12.0
WORDS, WORD_BYTES = 10, 4000
INTERRUPTED_AFTER_S = 1.3
TICK_S = 0.02
HEARD_TICKS = 40
"""of the caller's audio in a message, or a few more"""


@asynccontextmanager
async def agent_of(name: str, call: Call, speech: Speech) -> AsyncIterator[Agent]:
    if name == "livekit":
        from harness.agents.livekit_agent import livekit_agent

        async with livekit_agent(call, speech) as agent:
            yield agent
        return
    from chan_websocket.pipecat import AsteriskParams, AsteriskTransport
    from harness.agents.pipecat_bot import bot_on

    # Ten frames in one, which take Pipecat as long as one.
    params = AsteriskParams(audio_out_10ms_chunks=20)
    transport = AsteriskTransport(call, params)
    async with bot_on(transport, transport.sample_rate, speech) as bot:
        yield bot


async def time_goes_on(driver: FakeDriver) -> None:
    ticks = 0
    while True:
        passed = 5 if driver.idle else 1
        await asyncio.sleep(passed * TICK_S)
        driver.tick()
        ticks += passed
        if ticks >= HEARD_TICKS:
            driver.say(b"\xff" * FRAME * ticks)
            ticks = 0


async def converse(agent: Agent, driver: FakeDriver, minutes: int) -> None:
    """The agent speaks, is interrupted every third time, and listens."""
    loop = asyncio.get_running_loop()
    turns, began = 0, loop.time()
    while loop.time() < began + 60 * minutes:
        turn_s = loop.time()
        text = " ".join(f"word{turns}x{word}" for word in range(WORDS))
        if turns % 3 == 0:
            await agent.interrupted(text, INTERRUPTED_AFTER_S)
            assert 0 < len(agent.in_context()[-1].split()) < WORDS
        else:
            await agent.say(text)
            assert agent.in_context()[-1].split() == text.split()
        agent.forget()
        driver.heard.clear()
        driver.commands.clear()
        turns += 1
        await asyncio.sleep(turn_s + TURN_S - loop.time())


def needed(name: str) -> None:
    if not FRAMEWORKS[name].installed:
        pytest.skip(f"{name} is not installed: make frameworks")


Run = Callable[[Awaitable[None]], None]


@pytest.fixture
def in_fast_motion(monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    loop = FastMotion()
    asyncio.set_event_loop(loop)
    # Frameworks look at these, too.
    for name in ("time", "monotonic"):
        monkeypatch.setattr(time, name, loop.time)
        monkeypatch.setattr(time, f"{name}_ns", lambda: int(loop.time() * 1e9))
    yield loop.run_until_complete
    loop.close()
    asyncio.set_event_loop(None)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@asynccontextmanager
async def conversation(name: str) -> AsyncIterator[tuple[Agent, FakeDriver]]:
    driver = FakeDriver()
    call = Call(cast(Any, driver))
    await call.wait_started()
    ticking = asyncio.create_task(time_goes_on(driver))
    word = call.codec.decode(b"\x55" * WORD_BYTES)
    async with agent_of(name, call, lambda text: word) as agent:
        yield agent, driver
    ticking.cancel()
    await call.close()


@pytest.mark.parametrize("name", [name for name, one in FRAMEWORKS.items() if one.ours])
def test_an_hour_takes_no_more_memory_than_minutes(name: str, in_fast_motion: Run) -> None:
    """So that nothing which is looked through can grow either."""
    needed(name)

    async def test() -> None:
        async with conversation(name) as (agent, driver):
            await converse(agent, driver, WARM_UP_MINUTES)
            gc.collect()
            blocks, resident = sys.getallocatedblocks(), resident_bytes()
            await converse(agent, driver, MINUTES - WARM_UP_MINUTES)
            gc.collect()
            assert sys.getallocatedblocks() - blocks < MOST_GROWN_BLOCKS
            assert resident_bytes() - resident < MOST_GROWN_BYTES

    in_fast_motion(test())


def test_pipecat_is_told_the_words_of_what_was_queued_behind_another_thing(
    in_fast_motion: Run,
) -> None:
    """Its time stamps begin with the last word of the one before, which is not spoken yet."""
    needed("pipecat")

    async def test() -> None:
        async with conversation("pipecat") as (agent, driver):
            first, second = ([f"{name}{word}" for word in range(WORDS)] for name in "ab")
            saying = [asyncio.create_task(agent.say(" ".join(one))) for one in (first, second)]
            while sum(end - begin for begin, end in driver.heard) < (WORDS + 2.5) * WORD_BYTES:
                await asyncio.sleep(TICK_S)
            await cast(Any, agent).interrupt()
            for one in saying:
                one.cancel()
            heard = sum(end - begin for begin, end in driver.heard) // WORD_BYTES
            assert WORDS < heard < 2 * WORDS
            assert " ".join(agent.in_context()).split() == [*first, *second][:heard]

    in_fast_motion(test())
