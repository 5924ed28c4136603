"""OpenAI Realtime's items on a call, and what it is told of them."""

from __future__ import annotations

import base64
from typing import Any

from fake_driver import FakeDriver
from test_voice_call import run, settle, while_ticking

from chan_websocket import Call, Played
from chan_websocket.openai_realtime import RealtimeSpeech, truncation

STARTED = {"type": "input_audio_buffer.speech_started"}


def delta(item_id: str, size: int, kind: str = "response.output_audio.delta") -> dict[str, Any]:
    audio = base64.b64encode(b"\xff" * size).decode()
    return {"type": kind, "item_id": item_id, "content_index": 0, "delta": audio}


def done(item_id: str) -> dict[str, Any]:
    return {"type": "response.output_audio.done", "item_id": item_id}


def test_a_truncation_is_never_beyond_the_audio() -> None:
    assert truncation("a", Played(1234.9, "", True), 1) == {
        "type": "conversation.item.truncate",
        "item_id": "a",
        "content_index": 1,
        "audio_end_ms": 1234,
    }


def test_what_was_cut_off_is_truncated_to_what_was_heard() -> None:
    async def test(call: Call, driver: FakeDriver) -> None:
        speech = RealtimeSpeech(call)
        for event in (delta("a", 800), delta("a", 800), done("a"), delta("b", 8000)):
            assert await speech.on_event(event) == []
        await settle()
        for _ in range(16):
            driver.tick()
        await settle()
        # 320 ms are over: item a was heard to its end, b for 100 ms and the frame on its way.
        told = await while_ticking(driver, speech.on_event(STARTED))
        assert [(one["item_id"], one["audio_end_ms"]) for one in told] == [("b", 120)]
        # What still comes of it is not said, and another item is.
        for event in (delta("b", 8000), done("b"), delta("c", 160), done("c")):
            await speech.on_event(event)
        await settle()
        while not driver.idle:
            driver.tick()
            await settle()
        assert driver.heard[-1][1] - driver.heard[-1][0] == 160
        assert driver.received == 1600 + 8000 + 160
        assert await while_ticking(driver, speech.on_event(STARTED)) == []
        await speech.close()

    run(test)


def test_it_never_waits_for_playback() -> None:
    """Speech of a minute comes at once, and the caller may still interrupt; the beta's names."""

    async def test(call: Call, driver: FakeDriver) -> None:
        speech = RealtimeSpeech(call)
        for _ in range(60):
            await speech.on_event(delta("a", 8000, "response.audio.delta"))
        await settle()
        assert driver.received <= call.bytes_of(call.window_ms)
        driver.tick()
        [told] = await while_ticking(driver, speech.on_event(STARTED))
        assert told["audio_end_ms"] == 20
        await speech.close()

    run(test)


def test_it_is_known_when_all_was_played() -> None:
    """Also what is behind the window, and not written yet."""

    async def test(call: Call, driver: FakeDriver) -> None:
        speech = RealtimeSpeech(call)
        for event in (delta("a", 80000), done("a"), delta("b", 8000), done("b")):
            await speech.on_event(event)
        await while_ticking(driver, speech.played())
        assert sum(end - begin for begin, end in driver.heard) == 88000
        # What was cut off is not waited for.
        await speech.on_event(delta("c", 8000))
        await settle()
        await while_ticking(driver, speech.interrupt())
        await speech.played()
        await speech.close()

    run(test)
