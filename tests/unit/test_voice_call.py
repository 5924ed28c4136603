"""`chan_websocket.Call`: what it says was played is what was played, whatever was done."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast

import pytest
from fake_driver import FRAME, PATCHED, STOCK, FakeDriver
from fast_motion import FastMotion
from hypothesis import given
from hypothesis import strategies as st

from chan_websocket import Call, CallEnded, Played, Utterance

T = TypeVar("T")
TIMEOUT_S = 60
BYTES_PER_MS = 8


def run(
    test: Callable[[Call, FakeDriver], Awaitable[None]],
    start: str = PATCHED,
    loop: asyncio.AbstractEventLoop | None = None,
) -> None:
    """A test with a call and its driver."""

    async def with_call() -> None:
        driver = FakeDriver(start)
        call = Call(cast(Any, driver))
        await call.wait_started()
        await test(call, driver)
        await call.close()

    if loop is None:
        asyncio.run(asyncio.wait_for(with_call(), TIMEOUT_S))
    else:
        try:
            loop.run_until_complete(with_call())
        finally:
            loop.close()


async def settle() -> None:
    """Let everybody do what there is to do."""
    for _ in range(20):
        await asyncio.sleep(0)


async def while_ticking(driver: FakeDriver, doing: Coroutine[Any, Any, T]) -> T:
    """What ``doing`` returns; the driver's time goes on until it does."""
    task = asyncio.create_task(doing)
    await settle()
    while not task.done():
        driver.tick()
        await settle()
    return task.result()


async def say(call: Call, *pieces: tuple[int, str]) -> Utterance:
    """An utterance of pieces of so many bytes with their text, ended."""
    utterance = call.utterance()
    for size, text in pieces:
        assert await utterance.write(b"\xff" * size, text)
    await utterance.end()
    return utterance


def names(driver: FakeDriver) -> list[str]:
    return [command.name for command in driver.commands]


def test_an_utterance_is_played_to_its_end() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (800, "Good "), (810, "morning."))
        assert not (await asyncio.wait({asyncio.create_task(utterance.started())}, timeout=0))[0]
        assert await while_ticking(driver, utterance.started())
        assert utterance.result is None
        played = await while_ticking(driver, utterance.played())
        assert played == Played(1610 / BYTES_PER_MS, "Good morning.")
        assert call.stage == "sent"
        assert call.truthful
        assert names(driver) == ["MARK", "START_MEDIA_BUFFERING", "MARK"]

    run(test)


def test_an_interruption_says_which_words_were_heard() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        first = await say(call, (800, "Good morning. "))
        second = call.utterance()
        await second.write(b"\xff" * 4000)
        second.add_text("How ", until_ms=100)
        second.add_text("are ", until_ms=200)
        second.add_text("you?", until_ms=500)
        await while_ticking(driver, second.started())
        for _ in range(14):
            driver.tick()
        cut = await while_ticking(driver, call.interrupt())
        assert first.result == Played(100.0, "Good morning. ")
        assert cut == [second]
        # The frame that was on its way is still played.
        assert second.result == Played(320.0, "How are ", True, "flush")
        assert not await second.write(b"\xff" * 800, "too late")
        third = await say(call, (160, "Yes?"))
        played = await while_ticking(driver, third.played())
        assert played == Played(20.0, "Yes?")
        assert names(driver).count("START_MEDIA_BUFFERING") == 2
        assert second.result.text == "How are "

    run(test)


def test_what_was_played_to_its_end_is_not_cut_off() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (160, "Yes."))
        driver.tick()  # the only frame is on its way
        assert await while_ticking(driver, call.interrupt()) == []
        assert utterance.result == Played(20.0, "Yes.")

    run(test)


def test_what_is_not_written_yet_when_the_caller_interrupts_is_never_said() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = call.utterance()
        assert await while_ticking(driver, call.interrupt()) == []
        assert not await utterance.write(b"\xff" * 800, "Never.")
        await utterance.end()
        assert await utterance.played() == Played(0.0, "", True, "flush")
        assert not await utterance.started()
        assert driver.received == 0

    run(test)


def test_one_utterance_is_said_after_the_other() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        first, second = call.utterance(), call.utterance()
        await first.write(b"\xff" * 160)
        with pytest.raises(ValueError, match="has not been ended"):
            await second.write(b"\xff" * 160)
        await first.end()
        await second.write(b"\xff" * 160)
        with pytest.raises(ValueError, match="has been ended"):
            await first.write(b"\xff" * 160)

    run(test)


def test_no_more_is_sent_ahead_than_the_window() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        call.window_ms = 600
        utterance = await while_ticking(driver, say(call, (40_000, "long")))
        assert driver.longest_queue <= 600 * BYTES_PER_MS
        assert (await while_ticking(driver, utterance.played())).text == "long"

    run(test)


def test_a_write_that_waits_for_room_sends_nothing_after_an_interruption() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        call.window_ms = 400
        utterance = call.utterance()
        writing = asyncio.create_task(utterance.write(b"\xff" * 16_000, "never heard"))
        await settle()
        driver.tick()
        sent = driver.received
        assert sent < 16_000
        [cut] = await while_ticking(driver, call.interrupt())
        assert cut is utterance
        assert not await writing
        assert driver.received == sent
        assert utterance.result is not None and utterance.result.text == ""

    run(test)


def test_nothing_is_sent_between_xoff_and_xon() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        driver.event("MEDIA_XOFF")
        await settle()
        writing = asyncio.create_task(call.utterance().write(b"\xff" * 160))
        await settle()
        assert driver.received == 0
        driver.event("MEDIA_XON")
        assert await writing
        assert driver.received == 160

    run(test)


def test_what_the_caller_could_not_be_sent_is_told() -> None:
    """Of a word of which the most was lost nobody says that it was heard."""

    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (1600, "one "), (FRAME, "two "), (1600, "three"))
        for _ in range(10):
            driver.tick()
        driver.lose_next = True
        played = await while_ticking(driver, utterance.played())
        assert played == Played((3200 + FRAME) / BYTES_PER_MS, "one three", lost_ms=20.0)

    run(test)


def test_what_is_lost_before_the_cut_is_not_played() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (800, "one "), (800, "two"))
        for _ in range(5):
            driver.tick()
        driver.lose_next = True
        driver.tick()
        await while_ticking(driver, call.interrupt())
        assert utterance.result == Played(100.0, "one ", True, "flush")

    run(test)


def test_the_end_of_the_call_cuts_off() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (800, "one "), (800, "two"))
        waiting = asyncio.create_task(call.utterance().write(b"\xff" * 80_000))
        for _ in range(7):
            driver.tick()
        driver.hang_up()
        assert await utterance.played() == Played(120.0, "one ", True, "hangup")
        assert not await waiting
        assert await call.interrupt() == []
        assert not await call.utterance().write(b"\xff")
        with pytest.raises(CallEnded):
            await call.mark_at(0)

    run(test)


def test_a_connection_that_breaks_leaves_what_was_acknowledged() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (800, "one "), (800, "two"))
        mark = await utterance.mark_at(100)
        for _ in range(8):
            driver.tick()
        await settle()
        driver.break_off()
        played = await utterance.played()
        assert (played.position_ms, played.text, played.exact) == (100.0, "one ", False)
        assert mark.reached

    run(test)


def test_marks_by_position() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = call.utterance()
        with pytest.raises(ValueError, match="no position yet"):
            await utterance.mark_at(10)
        await utterance.write(b"\xff" * 160)
        ahead = await utterance.mark_at(50)
        await utterance.write(b"\xff" * 1600)
        driver.tick()
        driver.tick()
        await settle()
        assert ahead.reached is None
        assert await while_ticking(driver, ahead.wait())
        later = await utterance.mark_at(150)
        await while_ticking(driver, call.interrupt())
        assert await later.wait() is False

    run(test)


def test_a_mark_that_is_refused_is_set_again() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (800, "one"))
        # The driver's room for marks was full, it says.
        [end] = [mark for mark in driver._marks if mark[0] == 800]
        driver._marks.remove(end)
        driver.event("MARK_DISCARDED", id=end[2], reason="limit")
        assert (await while_ticking(driver, utterance.played())).text == "one"

    run(test)


def test_the_goodbye_is_played_before_the_hang_up() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        goodbye = call.utterance()
        await goodbye.write(b"\xff" * 1600, "Goodbye.")
        await while_ticking(driver, call.hang_up_when_played())
        assert goodbye.result == Played(200.0, "Goodbye.")
        assert driver.heard[-1][1] == 1600
        assert names(driver)[-1] == "HANGUP"
        assert call.closed

    run(test)


def test_suspensions_are_known() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        driver.event("PLAYBACK_SUSPENDED", reason="hold")
        await settle()
        assert call.suspended == "hold"
        driver.event("PLAYBACK_RESUMED")
        await settle()
        assert call.suspended == ""

    run(test)


def test_the_caller_is_heard_and_his_digits_are_told() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        async def digits() -> list[str]:
            return [
                event.fields["digit"]
                async for event in call.incoming_events()
                if event.name == "DTMF_END"
            ]

        async def heard() -> list[bytes]:
            return [audio async for audio in call.audio()]

        tasks = asyncio.create_task(digits()), asyncio.create_task(heard())
        await settle()
        for message in (b"\x01" * 160, '{"event":"DTMF_END","digit":"5"}', b"\x02" * 160):
            driver.say(message)
        driver.hang_up()
        assert await tasks[0] == ["5"]
        assert await tasks[1] == [b"\x01" * 160, b"\x02" * 160]

    run(test)


def test_audio_that_nobody_takes_is_not_kept_for_ever() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        for number in range(300):
            driver.say(bytes([number % 256]) * 160)
        driver.hang_up()
        await call.wait_closed()
        kept = [audio async for audio in call.audio()]
        assert len(kept) == 250
        assert kept[-1] == bytes([299 % 256]) * 160
        assert call.lost_audio == 50 * 160

    run(test)


async def heard_in(seconds: float, call: Call, driver: FakeDriver, talks_s: float) -> list[bytes]:
    """The caller talks for so long, 20 ms after 20 ms, and then his line sends nothing."""
    heard: list[bytes] = []

    async def listen() -> None:
        async for audio in call.audio():
            heard.append(audio)

    listening = asyncio.create_task(listen())
    for number in range(round(seconds / 0.02)):
        if number * 0.02 < talks_s - 0.001:
            driver.say(b"\x01" * FRAME)
        await asyncio.sleep(0.02)
    listening.cancel()
    return heard


def test_what_does_not_come_from_the_caller_is_silence() -> None:
    """As long as it lasts, from 200 ms on; what comes behind it is heard as before."""

    async def test(call: Call, driver: FakeDriver) -> None:
        heard = await heard_in(60.0, call, driver, 1.0)
        assert heard[:50] == [b"\x01" * FRAME] * 50
        assert set(heard[50:]) == {call.codec.encode(bytes(2 * FRAME))}
        assert len(heard) == pytest.approx((60.0 - 0.2) / 0.02, abs=2)
        assert len(call._waiters) < 10

    run(test, loop=FastMotion())


def test_what_comes_unevenly_is_not_silence() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        listening = asyncio.create_task(heard_in(18.1, call, driver, 0.0))
        for _ in range(100):
            # Nothing for 180 ms, then all that was missing.
            await asyncio.sleep(0.18)
            for _ in range(9):
                driver.say(b"\x01" * FRAME)
        assert await listening == [b"\x01" * FRAME] * 900

    run(test, loop=FastMotion())


def test_in_a_format_that_is_not_known_there_is_no_silence() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        assert await heard_in(2.0, call, driver, 1.0) == [b"\x01" * FRAME] * 50

    run(test, PATCHED.replace("ulaw", "g722"), FastMotion())


PIECES = st.lists(st.integers(1, 700), max_size=6)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), PIECES),
        st.tuples(st.just("tick"), st.integers(1, 12)),
        st.tuples(st.just("interrupt"), st.integers(0, 3)),
    ),
    max_size=12,
)


@given(STEPS, st.booleans())
def test_what_is_claimed_was_heard(steps: list[tuple[str, Any]], hangs_up: bool) -> None:
    """Whatever is said and interrupted: each byte that was heard is claimed, and no other."""

    async def test(call: Call, driver: FakeDriver) -> None:
        said: list[tuple[Utterance, list[tuple[int, str]]]] = []
        for step, argument in steps:
            if step == "say":
                pieces = [(size, f"{len(said)}.{n} ") for n, size in enumerate(argument)]
                said.append((await say(call, *pieces), pieces))
            elif step == "tick":
                for _ in range(argument):
                    driver.tick()
                    await settle()
            else:
                interrupting = asyncio.create_task(call.interrupt())
                await settle()
                for _ in range(argument):
                    driver.tick()
                # Said before it is known where the one before was cut off.
                said.append((await say(call, (200, "next ")), [(200, "next ")]))
                await while_ticking(driver, _result(interrupting))
        if hangs_up:
            driver.hang_up()
        while not driver.idle and not hangs_up:
            driver.tick()
        await settle()
        heard = {offset for begin, end in driver.heard for offset in range(begin, end)}
        for utterance, pieces in said:
            played = await utterance.played()
            begin = utterance.begin or 0
            size = sum(count for count, _ in pieces)
            own = [offset for offset in range(begin, begin + size) if offset in heard]
            assert played.position_ms == len(own) / BYTES_PER_MS
            assert played.interrupted == (len(own) < size)
            text, offset = "", begin
            for count, piece in pieces:
                offset += count
                text += piece if offset - 1 in heard else ""
            assert played.text == text
            assert played.exact

    run(test)


async def _result(task: asyncio.Task[T]) -> T:
    return await task


def test_an_hour_takes_no_more_memory_than_a_minute() -> None:
    """And no longer: what is looked at at each event does not grow."""

    async def test(call: Call, driver: FakeDriver) -> None:
        async def listen() -> None:
            async for _ in call.audio():
                pass

        listening = asyncio.create_task(listen())

        async def minute() -> None:
            for sentence in range(12):
                utterance = call.utterance()
                for word in range(10):
                    assert await utterance.write(b"\xff" * 4000, f"word{word} ")
                    for _ in range(25):
                        driver.tick()
                        driver.say(b"\xff" * 160)
                    await settle()
                await utterance.end()
                if sentence % 3 == 0:
                    await while_ticking(driver, call.interrupt())
                driver.heard.clear()
                driver.commands.clear()

        await minute()
        before = sys.getallocatedblocks()
        for _ in range(59):
            await minute()
        # A minute has some 10,000 messages, of several blocks each.
        assert sys.getallocatedblocks() - before < 5_000
        assert len(call._marks) + len(call._open) + len(call._lost) < 50
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening

    run(test)


# --- Without playback acknowledgements ---


def test_an_unpatched_driver_is_asked_what_it_knows() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        assert not call.truthful
        utterance = await say(call, (400, "Good morning."))
        assert names(driver) == ["START_MEDIA_BUFFERING", "STOP_MEDIA_BUFFERING", "MARK_MEDIA"]
        assert await utterance.started()
        driver.event("MEDIA_MARK_PROCESSED", correlation_id=driver.commands[-1].correlation_id)
        assert await utterance.played() == Played(50.0, "Good morning.", exact=False)

    run(test, STOCK)


def test_an_unpatched_driver_that_is_silent_is_not_waited_for_for_ever() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (400, "Good morning."))
        assert (await utterance.played()).text == "Good morning."

    run(test, STOCK)


def test_an_interruption_on_an_unpatched_driver_is_an_estimate() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (400, "one "), (30_000, "two"))
        first = await utterance.mark_at(50)
        assert await first.wait()
        assert await call.interrupt() == [utterance]
        assert utterance.result is not None
        assert utterance.result.text == "one "
        assert not utterance.result.exact
        assert 50 <= utterance.result.position_ms < 10_000
        assert [command.raw for command in driver.commands][-1] == '{"command":"FLUSH_MEDIA"}'

    run(test, STOCK)


def test_an_unpatched_driver_that_stalls_is_not_overtaken() -> None:
    """What is not acknowledged was not played to its end, whatever time it is."""

    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = call.utterance()
        await utterance.write(b"\xff" * 4000, "one ")
        ahead = await call.mark_at(8000)
        await utterance.write(b"\xff" * 4000, "two")
        await utterance.end()
        await asyncio.sleep(1.5)
        assert call.played_offset < 8000
        assert utterance.result is None and ahead.reached is None
        driver.event("MEDIA_MARK_PROCESSED", correlation_id=driver.commands[-1].correlation_id)
        assert await ahead.wait()
        assert call.played_offset == 8000
        assert utterance.result == Played(1000.0, "one two", exact=False)

    run(test, STOCK, FastMotion())


def test_what_an_unpatched_driver_was_stopped_in_was_not_played_to_its_end() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        utterance = await say(call, (4000, "one "), (4000, "two"))
        await asyncio.sleep(1.5)
        assert await call.interrupt() == [utterance]
        assert utterance.result is not None
        assert utterance.result.text == "one "

    run(test, STOCK, FastMotion())
