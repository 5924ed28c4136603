"""``harness load``: what is sent, what is made of it, and what it refuses."""

from __future__ import annotations

import argparse
import asyncio
import io
import math
import resource
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from unittest.mock import Mock

import numpy as np
import pytest
from bulk_captures import APPLICATION_PORT, RTP_PORT, START_NS, CaptureFile
from rich.console import Console
from websockets.frames import Frame, Opcode

from chan_websocket.protocol import Format, parse_command
from harness.capture.bulk import text_frames
from harness.capture.timeline import Ints, Measurement
from harness.commands.cli import main
from harness.commands.load import _numbers, _rate, _schemes, _target
from harness.commands.printing import print_whole
from harness.errors import EnvironmentFault, InputFault
from harness.judge.many import CALL_BYTES, ManyJudged, Spoken
from harness.load.applications import CROSSING_S, ApplicationCall, Applications, FrameCounter
from harness.load.disturbance import Disturbance
from harness.load.result import Busy, LoadKey, LoadMeasurement, LoadRound, Resources, Soak
from harness.load.run import Loaded, raise_descriptor_limit
from harness.load.stream import CHUNK_BYTES, Chunk, Stream, frames_of, rest_of_frame
from harness.media.position_code import encode
from harness.report.load_picture import write_load_picture
from harness.report.load_table import (
    load_markdown,
    load_table,
    ratio_lines,
    wave_line,
    why_not,
)
from harness.report.load_table import (
    number as as_text,
)

QUIET = Busy(generator=0.2, capture=0.1, host=0.6, asterisk=0.5, late_s=0.01)


def ms(*values: float) -> Ints:
    return np.array([round(value * 1e6) for value in values], np.int64)


def made(
    target: str = "patched",
    calls: int = 50,
    busy: Busy = QUIET,
    spread_ms: float = 1.0,
    early: int = 0,
) -> LoadRound:
    judged = ManyJudged(marks=100, packets=1000, early=early)
    judged.differences_ns, judged.spreads_ns = ms(0.1, 0.2, 0.3), ms(spread_ms)
    before, held, after = (
        Resources(kib * 1024, fds) for kib, fds in ((100, 9), (600, 59), (101, 9))
    )
    stock = target == "stock"
    key = LoadKey("ws", calls)
    return LoadRound(target, stock, key, busy, judged, 0, before, held, after, settled=True)


# ---- what is sent --------------------------------------------------------------------------------


def sent(stream: Stream, chunks: list[Chunk], call: int) -> list[bytes | str]:
    """The messages of an application's frames."""
    data = b"".join(frames_of(chunk, call) for chunk in chunks if chunk.size)
    found: list[bytes | str] = []
    while data:
        length, begin = data[1], 2
        if length > 125:
            length, begin = int.from_bytes(data[2:4], "big"), 4
        content = data[begin : begin + length]
        found.append(content if data[0] == 0x82 else content.decode())
        data = data[begin + length :]
    return found


@pytest.mark.parametrize("rate", [0.5, 3.0, 5.0, 50.0])
@pytest.mark.parametrize("message_format", list(Format))
def test_marks_come_at_their_rate_behind_pieces_of_the_calls_media(
    rate: float, message_format: Format
) -> None:
    stream = Stream(20.0, rate, "MARK", message_format)
    messages = sent(stream, stream.chunks, 7)
    media = b"".join(one for one in messages if isinstance(one, bytes))
    assert media == encode(7 * CALL_BYTES, len(media))
    at = 0
    places: list[int] = []
    for one in messages:
        if isinstance(one, bytes):
            at += len(one)
        else:
            assert parse_command(one).fields["id"] == f"m{len(places)}"
            places.append(at)
    assert places == stream.offsets.tolist()
    assert len(places) == 20 * rate
    # Each in a part of its own.
    assert [int((place - 1) * rate / 8000) for place in places] == list(range(len(places)))


def test_a_chunk_is_what_ends_in_its_time() -> None:
    stream = Stream(20.0, 3.0, "MARK_MEDIA", Format.PLAIN)
    for number, chunk in enumerate(stream.chunks):
        assert chunk.begin + chunk.size <= (number + 1) * CHUNK_BYTES
    # A third of a second has a mark: there must be chunks without any.
    assert any(not chunk.size for chunk in stream.chunks)


@pytest.mark.parametrize("offset", [0, 1, 159, 160, 161])
def test_the_last_frame_is_filled_up(offset: int) -> None:
    size, frame = rest_of_frame(2, offset)
    assert (offset + size) % 160 == 0
    assert size < 160
    assert not size or frame.endswith(encode(2 * CALL_BYTES + offset, size))


def test_text_messages_are_counted_however_the_stream_is_cut() -> None:
    frames = [
        *(Frame(Opcode.TEXT, b"x" * size).serialize(mask=True) for size in (0, 5, 125, 126, 70000)),
        Frame(Opcode.BINARY, bytes(160)).serialize(mask=True),
        Frame(Opcode.PING, b"").serialize(mask=True),
        Frame(Opcode.TEXT, b"last").serialize(mask=False),
    ]
    data = b"".join(frames)
    for seed in range(20):
        random, counter, at = Random(seed), FrameCounter(), 0
        while at < len(data):
            size = random.choice((1, 2, 7, 500, 70000))
            counter.feed(memoryview(data)[at : at + size])
            at += size
        assert counter.texts == 6
        assert not counter.closed
    counter.feed(memoryview(Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True)))
    assert counter.closed


def test_a_soak_disturbs_its_calls_and_puts_each_right_again() -> None:
    disturbance = Disturbance("seed", Format.JSON)
    commands: list[str] = []
    for _ in range(4000):
        commands += [command_name(text) for text in texts_in(disturbance.next())]
        assert disturbance.hangs_up == ("HANGUP" in commands)
    commands += [command_name(text) for text in texts_in(disturbance.undo())]
    assert disturbance.undo() == b""
    found = Counter(commands)
    assert found["FLUSH_MEDIA"] == found["START_MEDIA_BUFFERING"] > 100
    assert found["PAUSE_MEDIA"] == found["CONTINUE_MEDIA"] > 50
    assert found["SET_MEDIA_DIRECTION"] > 50
    assert found["SET_MEDIA_DIRECTION"] % 2 == 0
    assert found["HANGUP"] > 5


def texts_in(data: bytes) -> list[str]:
    return [text.decode() for text in text_frames(data)[0]]


def command_name(text: str) -> str:
    return parse_command(text).name


# ---- what is made of it --------------------------------------------------------------------------


def test_a_capture_is_judged(tmp_path: Path) -> None:
    file = CaptureFile()
    for call in range(2):
        file.connect(START_NS, 40000 + call)
        file.text(START_NS + 2000, 40000 + call, "MEDIA_START playback_marks:2")
        for number in range(10):
            file.rtp(START_NS + number * 20_000_000, call, number)
        for mark, place in enumerate((800, 1000)):
            at_ns = START_NS + place * 125_000 + 300_000 + 100_000 * mark
            file.text(at_ns, 40000 + call, f"MARK_PLAYED id=m{mark}")
    offsets = np.array([800, 1000], np.int64)
    loaded = Loaded(
        QUIET,
        0,
        Measurement("capture", 10_000),
        APPLICATION_PORT,
        RTP_PORT,
        {(40000 + call, 0): Spoken(call, offsets, 1600) for call in range(2)},
        (START_NS, START_NS + 10**9),
        (None, None, None),
    )
    found = loaded.judge(file.write(tmp_path / "a.pcap"))
    assert found.differences_ns.tolist() == [300_000, 400_000] * 2
    assert found.spreads_ns.tolist() == [0, 100_000] * 2
    assert (found.marks, found.packets, found.missing, found.lost_bytes) == (4, 20, 0, 0)


@pytest.mark.parametrize(
    "busy",
    [
        replace(QUIET, generator=0.95),
        replace(QUIET, host=0.99),
        replace(QUIET, late_s=1.5),
    ],
    ids=["generator", "host", "late"],
)
def test_a_full_generator_or_host_says_nothing(busy: Busy) -> None:
    assert made().result == "PASS"
    assert made(busy=busy).result == "INCONCLUSIVE"
    assert made(busy=busy, early=1).result == "INCONCLUSIVE"
    assert made(busy=busy).unreliable
    assert replace(made(), not_captured=1).result == "INCONCLUSIVE"


@pytest.mark.parametrize("wrong", ["early", "missing", "twice", "unasked", "lost_bytes"])
def test_what_a_driver_must_not_do_is_a_failure_but_for_stocks(wrong: str) -> None:
    for target, result in (("patched", "FAIL"), ("stock", "PASS")):
        one = made(target)
        setattr(one.judged, wrong, 2)
        assert one.result == result


def test_figures_are_for_each_call() -> None:
    one = made()
    assert one.cpu == pytest.approx(1.0)
    assert (one.memory_kib, one.memory_after_kib) == (10, 1)
    assert (one.descriptors, one.descriptors_after) == (1, 0)
    # Of a lab PBX there is no process to be seen.
    lab = replace(one, busy=replace(QUIET, asterisk=None), before=None, held=None, after=None)
    assert math.isnan(lab.cpu)
    assert lab.figures["cpu_percent_a_call"] is lab.figures["memory_kib_a_call"] is None


def test_marks_sent_just_before_the_end_of_a_call_need_not_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("harness.load.applications.time.monotonic", lambda: now)
    call = ApplicationCall(Applications())
    transport = Mock(spec=asyncio.Transport)
    transport.get_extra_info.return_value = ("127.0.0.1", 1)
    call.connection_made(transport)
    call.number = 0
    call._http = None
    call.begin(Stream(20.0, 5.0, "MARK", Format.PLAIN), None)
    at_first = call.marks_sent
    assert (at_first > 0, call.marks_owed) == (True, 0)
    now += CROSSING_S
    call.send_next()
    assert call.marks_owed == at_first < call.marks_sent
    now += CROSSING_S / 2
    call.send_next()
    latest, close = call.marks_sent, b"\x88\x02\x03\xe8"
    now += CROSSING_S / 2
    call.get_buffer(0)[: len(close)] = close
    call.buffer_updated(len(close))
    assert at_first < call.marks_owed < latest


def compared() -> LoadMeasurement:
    rounds = [
        made("patched", spread_ms=1.0),
        made("stock", spread_ms=10.0, early=3),
        made("stock", spread_ms=5.0, early=4),
        made("patched", spread_ms=2.0, busy=replace(QUIET, asterisk=0.6, host=0.97)),
    ]
    return LoadMeasurement([*rounds, made("patched", 100), made("stock", 100, spread_ms=4.0)])


@pytest.mark.parametrize(
    ("kib", "fds", "result"), [(1024, 9, "PASS"), (1025, 9, "FAIL"), (0, 10, "FAIL")]
)
def test_a_soak_holds_the_last_wave_against_the_first(kib: int, fds: int, result: str) -> None:
    first, between, last = made(), made(), made()
    after = Resources(101 * 1024 + kib * 1024, fds)
    soak = Soak([first, replace(between, after=Resources(10**9, 99)), replace(last, after=after)])
    assert soak.result == result
    assert f"{kib:+d} KiB, {fds - 9:+d} descriptors" in wave_line(soak)
    assert Soak([first, made(early=1)]).result == "FAIL"
    full = replace(QUIET, host=1.0)
    assert Soak([first, made(busy=full)]).result == "PASS"
    assert Soak([first, made(busy=full, early=1)]).result == "FAIL"
    assert Soak([first, replace(made(early=1), not_captured=1)]).result == "INCONCLUSIVE"
    assert Soak([replace(first, after=None)] * 2).result == "PASS"


def test_a_soak_does_not_mind_that_memory_differs_from_wave_to_wave() -> None:
    def waves(*kib: int) -> Soak:
        return Soak([replace(made(), after=Resources(one * 1024, 9)) for one in kib])

    flat = waves(0, 9000, 700, 300, 500, *(9000,) * 9, 400, 1100, 1800)
    assert flat.grown.memory_bytes == 600 * 1024
    assert flat.result == "PASS"
    assert waves(*range(0, 4500, 300)).result == "FAIL"


def test_memory_is_compared_once_sip_has_forgotten_the_calls() -> None:
    waves = [replace(made(), after=Resources(one << 20, 9), settled=one < 3) for one in range(5)]
    assert Soak(waves).grown.memory_bytes == 2 << 20
    assert Soak(waves[3:]).grown.memory_bytes == 0
    settled = [number for number in range(60) if Soak.settles(number, 60)]
    assert settled == [0, 1, 2, 3, 4, 57, 58, 59]
    assert all(Soak.settles(number, 3) for number in range(3))


def test_ratios_are_of_rounds_that_followed_each_other() -> None:
    third = [made(spread_ms=3.0, busy=replace(QUIET, asterisk=0.6)), made("stock", spread_ms=6.0)]
    assert ratio_lines(LoadMeasurement([*compared().rounds, *third])) == [
        # The second pair tells nothing: the host was full in one of its rounds.
        "ws, 50 calls, patched to stock: CPU 1.100 (1.000 to 1.200);"
        " spread 0.300 (0.100 to 0.500); of 2 pairs of rounds",
        "ws, 100 calls, patched to stock: CPU 1.000 (1.000 to 1.000);"
        " spread 0.250 (0.250 to 0.250); of 1 pairs of rounds",
    ]
    assert ratio_lines(LoadMeasurement([made()])) == []


def test_a_figure_that_is_not_known_is_a_dash_and_nothing_is_minus_zero() -> None:
    assert [as_text(value, 1) for value in (math.nan, -0.04, -0.06)] == ["-", "0.0", "-0.1"]


def test_the_table_has_a_row_for_each_number_of_calls_and_target() -> None:
    output = io.StringIO()
    print_whole(Console(file=output, width=80), load_table(compared()))
    rows = [line.split() for line in output.getvalue().splitlines()]
    assert next(r for r in rows if r[:1] == ["ws"])[:5] == ["ws", "50", "patched", "1.100", "1.50"]
    assert sum(row[:1] == ["ws"] for row in rows) == 4
    assert "…" not in output.getvalue()
    text = load_markdown(compared())
    assert "| ws | 50 | stock | 1.000 | 7.50 | 0.20 |" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1
    assert why_not(compared()) == ["ws, 50 calls, patched: 97% of all processors were in use"]
    assert compared().result == "INCONCLUSIVE"


def test_the_picture_has_a_panel_for_each_figure(tmp_path: Path) -> None:
    path = tmp_path / "load.svg"
    write_load_picture(path, compared())
    texts = [element.text for element in ElementTree.parse(path).iter() if element.text]
    for title in ("Spread of acknowledgements, p99, ms", "patched, ws", "calls at once"):
        assert title in texts
    lab = [replace(one, busy=replace(one.busy, asterisk=None)) for one in compared().rounds]
    write_load_picture(path, LoadMeasurement(lab))
    assert "CPU of Asterisk" not in path.read_text()


# ---- what it refuses -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0", "-3", "x", "50,", "50,0", "4001", ""])
def test_a_wrong_number_of_calls_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        _numbers(text)
    assert _numbers("50,100") == (50, 100)


@pytest.mark.parametrize("text", ["0", "51", "x", "nan", "inf"])
def test_a_wrong_rate_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        _rate(text)
    assert _rate("0.5") == 0.5


def test_over_is_for_our_own_targets() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="'sip' is not ws or wss"):
        _schemes("ws,sip")
    assert _target("stock", "wss", True).text == "stock-tls"
    assert _target("container-source", "ws", False).text == "container-source"
    with pytest.raises(InputFault, match="is as it is"):
        _target("container-source", "wss", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--target", "nothing"],
        ["--against", "patched"],
        ["--calls", "2,,"],
        ["--soak", "--calls", "2,3"],
    ],
)
def test_wrong_usage_is_said_before_anything_is_started(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        assert main(["load", *arguments]) == 2
    except SystemExit as ended:
        assert ended.code == 2
    assert capsys.readouterr().err


def test_too_few_descriptors_are_said_with_what_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 2000))
    limits: list[object] = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, limit: limits.append(limit))
    with pytest.raises(EnvironmentFault, match="300 calls need 3900 file descriptors") as fault:
        raise_descriptor_limit(300)
    assert "with 141 calls" in fault.value.remedy
    assert limits == []
    raise_descriptor_limit(141)
    assert limits == [(2000, 2000)]
