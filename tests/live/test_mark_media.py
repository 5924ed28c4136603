"""MARK_MEDIA and what goes with it: unchanged in form and order, and no longer early."""

from __future__ import annotations

import asyncio
import json

import pytest
from live_calls import (
    JSON,
    PLAIN,
    judged_call,
    names,
    of,
    passing_call,
    place,
    skip,
    why_inconclusive,
)
from test_marks import STRETCH, both_formats, send

from chan_websocket.protocol import Format
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Extension
from harness.bench import Bench, LiveCall
from harness.judge.verdicts import Verdict

PLAIN_EVENTS = [
    "MEDIA_MARK_PROCESSED first",
    "MEDIA_MARK_PROCESSED the second one",
    "MEDIA_MARK_PROCESSED",
    "MEDIA_BUFFERING_COMPLETED done",
    "QUEUE_DRAINED",
    "MEDIA_BUFFERING_COMPLETED",
]
JSON_EVENTS = [
    '{"event":"MEDIA_MARK_PROCESSED","channel_id":"CHANNEL","correlation_id":"first"}',
    '{"event":"MEDIA_MARK_PROCESSED","channel_id":"CHANNEL","correlation_id":"the second one"}',
    '{"event":"MEDIA_MARK_PROCESSED","channel_id":"CHANNEL","correlation_id":""}',
    '{"event":"MEDIA_BUFFERING_COMPLETED","channel_id":"CHANNEL","correlation_id":"done"}',
    '{"event":"QUEUE_DRAINED","channel_id":"CHANNEL"}',
    '{"event":"MEDIA_BUFFERING_COMPLETED","channel_id":"CHANNEL","correlation_id":""}',
]


async def use_stock_commands(call: LiveCall) -> None:
    """Every command of today's clients that is answered about media."""
    session = call.session
    await session.start_buffering()
    await send(session, 700)
    await session.mark_media("first")
    await send(session, 700)
    await session.mark_media("the second one")
    await send(session, 700)
    await session.mark_media()
    await session.report_queue_drained()
    await session.stop_buffering("done")
    await session.wait_event("QUEUE_DRAINED")
    await session.start_buffering()
    await send(session, STRETCH + 80)
    await session.stop_buffering()
    await session.wait_event("MEDIA_BUFFERING_COMPLETED", correlation_id="")


def told(call: LiveCall) -> list[str]:
    """The texts of the events behind MEDIA_START, with the channel's id replaced."""
    channel_id = call.session.media_start.fields["channel_id"]
    return [event.raw.replace(channel_id, "CHANNEL") for event in call.session.events[1:]]


@both_formats
def test_the_events_of_todays_clients_are_those_of_stock(
    patched: Bench, stock: Bench, extension: Extension
) -> None:
    expected = PLAIN_EVENTS if extension.message_format is Format.PLAIN else JSON_EVENTS
    name = f"mark-media-{extension.name}"
    # Stock acknowledges all of these early, and only what it says is of interest here.
    by_stock = asyncio.run(place(stock, name, use_stock_commands, extension))
    assert told(by_stock) == expected
    by_patched = passing_call(patched, name, use_stock_commands, extension)
    assert told(by_patched) == expected


def test_mark_media_is_not_early(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        pieces = coded_pieces(random_sizes(7, 24, 1, 1200))
        await play_with_marks(call.session, pieces, "MARK_MEDIA")

    call = passing_call(patched, "mark-media-random", script)
    assert names(call.session.events) == ["MEDIA_MARK_PROCESSED"] * 24


def test_both_kinds_of_mark_in_one_call(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await session.start_buffering()
        for number, size in enumerate(random_sizes(8, 12, 1, 900)):
            await send(session, size)
            await session.mark(f"new-{number}")
            await session.mark_media(f"old-{number}")
        await session.wait_event("MARK_PLAYED", id="new-11")
        await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="old-11")

    call = passing_call(patched, "both-kinds", script)
    assert len(of(call, "MARK_PLAYED")) == len(of(call, "MEDIA_MARK_PROCESSED")) == 12


def test_a_flushed_mark_media_stays_unanswered(patched: Bench) -> None:
    async def script(call: LiveCall) -> None:
        session = call.session
        await send(session, STRETCH)
        await session.mark_media("played")
        await send(session, 8000)
        await session.mark_media("flushed")
        await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="played")
        await session.flush()
        await send(session, STRETCH)
        await session.mark_media("after")
        await session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="after")

    call = passing_call(patched, "mark-media-flushed", script)
    answered = [event.fields["correlation_id"] for event in of(call, "MEDIA_MARK_PROCESSED")]
    assert answered == ["played", "after"]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_judge_sees_that_stock_is_early(stock: Bench, seed: int) -> None:
    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        pieces = coded_pieces(random_sizes(seed, 24, 1, 1200))
        await play_with_marks(call.session, pieces, "MARK_MEDIA")

    call = judged_call(stock, f"early-seed-{seed}", script, marks_fail=True)
    counts = call.judged.counts
    if counts[Verdict.INCONCLUSIVE] > 6:
        skip(why_inconclusive(call))
    assert counts[Verdict.EARLY] > 12
    assert counts[Verdict.LATE] == counts[Verdict.NEVER] == counts[Verdict.TWICE] == 0


@both_formats
def test_media_start_says_that_marks_are_supported(
    patched: Bench, stock: Bench, extension: Extension
) -> None:
    async def nothing(call: LiveCall) -> None:
        pass

    starts = [
        asyncio.run(place(bench, f"start-{extension.name}", nothing, extension)).session.media_start
        for bench in (patched, stock)
    ]
    assert [start.fields.get("playback_marks") for start in starts] == (
        ["2", None] if extension is PLAIN else [2, None]
    )
    if extension is PLAIN:
        assert starts[0].raw.endswith(" ptime:20 playback_marks:2")
        assert starts[1].raw.endswith(" ptime:20")
    else:
        keys = list(json.loads(starts[0].raw))
        assert keys[-3:] == ["ptime", "playback_marks", "channel_variables"]
        assert list(json.loads(starts[1].raw)) == [key for key in keys if key != "playback_marks"]


def test_stock_says_nothing_to_a_mark(stock: Bench) -> None:
    """So that an application which ignores MEDIA_START waits for ever, as documented."""

    async def script(call: LiveCall) -> None:
        await send(call.session, 320)
        await call.session.mark("unknown")
        await call.session.mark_media("known")
        await call.session.wait_event("MEDIA_MARK_PROCESSED", correlation_id="known")

    call = asyncio.run(place(stock, "unknown-mark", script, JSON))
    assert names(call.session.events) == ["MEDIA_MARK_PROCESSED"]
