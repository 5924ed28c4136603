"""Marks in every codec, carried unchanged and recoded on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from live_calls import JSON, Script, judged_call, of, passing_call, skip, why_inconclusive

from chan_websocket.protocol import MarkCommand
from harness.application.marks import coded_pieces, play_with_marks, random_sizes
from harness.asterisk.configuration import Bridge, Extension
from harness.bench import Bench, LiveCall
from harness.errors import InputFault
from harness.judge.verdicts import Bounds, Verdict
from harness.media.codecs import CODECS, OPUS_FRAME_BYTES

# An answer may be a round of the mixer, 20 ms, late; and the round before the first may be held.
MIXED = Bounds(late_ns=22_000_000, lateness_ns=22_000_000, around_lateness_ns=22_000_000)
MARKS = 12


def calling(codec: str, caller_codec: str = "", bridge: Bridge = "dial") -> Extension:
    """An extension for these codecs."""
    name = "-".join([codec, caller_codec or codec, bridge])
    return replace(JSON, name=name, codec=codec, caller_codec=caller_codec, bridge=bridge)


def speech(extension: Extension, sizes: list[int], command: MarkCommand = "MARK") -> Script:
    """Media in pieces of these sizes, a mark after each; then all that was counted is asked for."""

    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        pieces = coded_pieces(
            sizes,
            codec=extension.codec,
            caller_codec=extension.caller_codec,
            mixed=extension.mixed,
        )
        await play_with_marks(call.session, pieces, command)
        if command == "MARK":
            await call.session.flush("end")
            await call.session.wait_event("MEDIA_FLUSHED", id="end")

    return script


def sizes_of(codec: str, seed: int) -> list[int]:
    """Pieces of 6 to 150 ms, as of a text-to-speech engine, as many as a call has marks here."""
    scale = CODECS[codec].bytes_per_second // 8000
    return [scale * size for size in random_sizes(seed, MARKS, 50, 1200)]


def all_was_located(call: LiveCall, left: int = 0) -> None:
    """Every byte but so many was found, each once, in order: the pieces are one whole stream."""
    pieces = [piece for place in call.judged.located for piece in place.location.pieces]
    assert [piece.offset for piece in pieces] == [0, *(piece.end for piece in pieces[:-1])]
    assert pieces[-1].end == call.session.sent_bytes - left
    assert all(place.location.certain for place in call.judged.located)


# ---- carried unchanged ---------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["alaw", "slin", "slin16"])
def test_a_codec_of_samples(patched: Bench, codec: str) -> None:
    extension = calling(codec)
    sizes = sizes_of(codec, 31)
    call = passing_call(patched, f"codec-{codec}", speech(extension, sizes), extension)
    all_was_located(call)
    [flushed] = of(call, "MEDIA_FLUSHED")
    assert (flushed.fields["played"], flushed.fields["flushed"]) == (sum(sizes), 0)


@pytest.mark.parametrize("codec", ["slin", "slin16"])
def test_pieces_of_an_odd_number_of_bytes(patched: Bench, codec: str) -> None:
    """The driver counts bytes: a mark may stand in the middle of a sample, media may end there.

    The byte that is left then is not played without its other half.
    """
    extension = calling(codec)
    sizes = [size | 1 for size in sizes_of(codec, 32)[:-1]]
    assert sum(sizes) % 2 == 1
    call = passing_call(patched, f"odd-{codec}", speech(extension, sizes), extension)
    all_was_located(call, left=1)


def test_g722_whose_short_frames_are_filled_up(patched: Bench) -> None:
    extension = calling("g722")
    call = passing_call(patched, "codec-g722", speech(extension, sizes_of("g722", 33)), extension)
    all_was_located(call)


def test_opus_in_frames_of_one_size(patched: Bench) -> None:
    extension = calling("opus")
    script = speech(extension, [OPUS_FRAME_BYTES] * 16)
    all_was_located(passing_call(patched, "codec-opus", script, extension))


def test_a_call_in_ulaw_that_the_caller_hears_as_opus_is_refused(patched: Bench) -> None:
    extension = calling("ulaw", "opus")
    with pytest.raises(InputFault, match="Asterisk has no Opus codec"):
        passing_call(patched, "ulaw-opus", speech(extension, [160]), extension)


# ---- recoded -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "caller_codec"),
    [("slin16", "ulaw"), ("ulaw", "g722"), ("slin16", "g722"), ("ulaw", "slin16")],
)
def test_the_caller_has_another_codec(patched: Bench, codec: str, caller_codec: str) -> None:
    extension = calling(codec, caller_codec)
    script = speech(extension, sizes_of(codec, 34))
    call = passing_call(patched, extension.name, script, extension)
    all_was_located(call)
    assert call.judged.measurement.location_ns > 0


@pytest.mark.parametrize(
    ("caller_codec", "mixing_interval_ms"), [("g722", 20), ("slin16", 20), ("g722", 40)]
)
def test_a_wideband_conference(patched: Bench, caller_codec: str, mixing_interval_ms: int) -> None:
    extension = replace(
        calling(caller_codec, bridge="conference"),
        name=f"{caller_codec}-conference-{mixing_interval_ms}",
        mixing_interval_ms=mixing_interval_ms,
    )
    frame = CODECS[caller_codec].frame_bytes
    talk = speech(extension, [frame * size for size in random_sizes(35, MARKS, 1, 7)])

    async def script(call: LiveCall) -> None:
        # The mixer throws away what it has when it changes to 16000 Hz, after its first round.
        assert await asyncio.to_thread(call.rtp.wait_for_packets, 3, 5.0)
        await talk(call)

    all_was_located(passing_call(patched, extension.name, script, extension, MIXED))


@pytest.mark.parametrize(
    ("codec", "caller_codec"), [("slin16", "ulaw"), ("ulaw", "g722"), ("g722", "slin16")]
)
def test_what_a_flush_threw_away_is_known_though_it_was_recoded(
    patched: Bench, codec: str, caller_codec: str
) -> None:
    extension = calling(codec, caller_codec)
    frame = CODECS[codec].frame_bytes

    async def script(call: LiveCall) -> None:
        session = call.session

        async def say(frames: int, mark_id: str) -> None:
            for piece in coded_pieces(
                [frames * frame], session.sent_bytes, codec, caller_codec=caller_codec
            ):
                await session.send_media(piece)
            await session.mark(mark_id)

        await session.start_buffering()
        for number in range(3):
            await say(15, f"heard-{number}")
            await say(30, f"flushed-{number}")
            await session.wait_event("MARK_PLAYED", id=f"heard-{number}")
            await session.flush(number)
            await session.wait_event("MEDIA_FLUSHED", id=number)
        await say(15, "end")
        await session.wait_event("MARK_PLAYED", id="end")

    call = passing_call(patched, f"flush-{extension.name}", script, extension)
    # The judge has held these against the sound that was heard.
    assert all(event.fields["flushed"] > 20 * frame for event in of(call, "MEDIA_FLUSHED"))
    heard = {piece.offset for place in call.judged.located for piece in place.location.pieces}
    assert len(heard) >= 60


def test_g722_in_whole_frames_for_a_caller_with_another_codec(patched: Bench) -> None:
    extension = calling("g722", "ulaw")
    script = speech(extension, [160 * size for size in random_sizes(37, MARKS, 1, 7)])
    all_was_located(passing_call(patched, extension.name, script, extension))


def test_a_short_frame_of_g722_is_not_held_back_where_it_is_recoded(patched: Bench) -> None:
    extension = calling("g722", "slin16")

    async def script(call: LiveCall) -> None:
        await call.session.start_buffering()
        for number in range(3):
            [piece] = coded_pieces(
                [1640], call.session.sent_bytes, codec="g722", caller_codec="slin16"
            )
            await call.session.send_media(piece)
            await call.session.mark(number)
            await call.session.wait_event("MARK_PLAYED", id=number)

    passing_call(patched, "g722-short", script, extension)


def test_the_judge_sees_that_stock_is_early_where_it_recodes(stock: Bench) -> None:
    extension = calling("slin16", "ulaw")
    script = speech(extension, sizes_of("slin16", 36), "MARK_MEDIA")
    call = judged_call(stock, extension.name, script, extension, marks_fail=True)
    counts = call.judged.counts
    if counts[Verdict.INCONCLUSIVE] > MARKS // 4:
        skip(why_inconclusive(call))
    assert counts[Verdict.EARLY] > MARKS // 2
    assert counts[Verdict.LATE] == counts[Verdict.NEVER] == counts[Verdict.TWICE] == 0
