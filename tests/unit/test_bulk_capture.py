"""Captures of many calls, read by numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bulk_captures import APPLICATION_PORT, RTP_PORT, START_NS, CaptureFile
from websockets.frames import Frame, Opcode

from harness.capture.bulk import read_bulk, text_frames
from harness.errors import InputFault
from harness.media import position_code


def texts(path: Path) -> list[tuple[int, int, bytes]]:
    found = read_bulk(path).texts_of(APPLICATION_PORT, application_is_server=True)
    return [(one.time_ns - START_NS, one.client_port, one.text) for one in found]


def test_rtp_is_read_with_where_it_stands_in_the_stream(tmp_path: Path) -> None:
    file = CaptureFile()
    for number in range(3):
        for call in range(2):
            file.rtp(START_NS + number * 20_000_000 + call, call, number)
    file.udp(START_NS, 5, RTP_PORT, b"\x80\xc8" + bytes(20))  # RTCP
    file.udp(START_NS, 5, RTP_PORT + 2, b"another port" * 5)
    file.udp(START_NS, 5, RTP_PORT, b"x")
    rtp = read_bulk(file.write(tmp_path / "a.pcap")).rtp_to(RTP_PORT)
    assert (rtp.time_ns - START_NS).tolist() == [
        0,
        1,
        20_000_000,
        20_000_001,
        40_000_000,
        40_000_001,
    ]
    assert rtp.source_port.tolist() == [10000, 10002] * 3
    assert rtp.sequence.tolist() == [0, 0, 1, 1, 2, 2]
    assert rtp.timestamp.tolist() == [0, 0, 160, 160, 320, 320]
    assert rtp.ssrc.tolist() == [1, 2] * 3
    assert set(rtp.payload_bytes.tolist()) == {160}
    offsets = position_code.offsets_of(rtp.heads)
    assert offsets.tolist() == [0, 1 << 32, 160, (1 << 32) + 160, 320, (1 << 32) + 320]


def test_a_place_that_is_none_is_told() -> None:
    rows = [position_code.encode(800, 16), b"\xff" * 16, position_code.encode(803, 16), bytes(16)]
    heads = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16)
    assert position_code.offsets_of(heads).tolist() == [800, -1, -1, -1]


def test_text_messages_are_read_by_connection(tmp_path: Path) -> None:
    file = CaptureFile()
    file.connect(START_NS, 40000)
    file.connect(START_NS, 40002)
    file.text(START_NS + 10_000, 40000, "MEDIA_START channel:a")
    file.text(START_NS + 11_000, 40002, '{"event":"' + "x" * 300 + '"}')
    audio = Frame(Opcode.BINARY, bytes(160)).serialize(mask=True)
    played = Frame(Opcode.TEXT, b"MARK_PLAYED id=1").serialize(mask=True)
    file.tcp(START_NS + 20_000, 40000, audio + played[:5])  # a message in two segments
    file.tcp(START_NS + 30_000, 40000, played[5:])
    file.text(START_NS + 40_000, 40004, "of a connection whose beginning is not there")
    assert texts(file.write(tmp_path / "a.pcap")) == [
        (10_000, 40000, b"MEDIA_START channel:a"),
        (11_000, 40002, b'{"event":"' + b"x" * 300 + b'"}'),
        (30_000, 40000, b"MARK_PLAYED id=1"),
    ]


def test_a_port_may_have_several_connections(tmp_path: Path) -> None:
    file = CaptureFile()
    for count in range(2):
        file.connect(START_NS + count * 10_000, 40000)
        file.text(START_NS + count * 10_000 + 2000, 40000, f"MEDIA_START channel:{count}")
    found = read_bulk(file.write(tmp_path / "a.pcap")).texts_of(APPLICATION_PORT, True)
    assert [(one.earlier, one.text[-1:]) for one in found] == [(0, b"0"), (1, b"1")]


def test_what_is_cut_off_is_left_out(tmp_path: Path) -> None:
    file = CaptureFile()
    for number in range(3):
        file.rtp(START_NS + number, 0, number)
    path = file.write(tmp_path / "a.pcap")
    path.write_bytes(path.read_bytes()[:-7])
    assert read_bulk(path).rtp_to(RTP_PORT).sequence.tolist() == [0, 1]


def test_what_is_no_capture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(b"nothing of the kind, but long enough to hold a header")
    with pytest.raises(InputFault, match="is not a capture"):
        read_bulk(path)
    with pytest.raises(InputFault, match="cannot be read"):
        read_bulk(tmp_path / "not there")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("masked", [True, False])
def test_frames_of_any_size(size: int, masked: bool) -> None:
    text = bytes(65 + number % 26 for number in range(size))
    data = b"".join(Frame(Opcode.TEXT, one).serialize(mask=masked) for one in (text, b"next"))
    assert text_frames(data) == ([text, b"next"], len(data))
    found, used = text_frames(data[:-1])
    assert found == [text]
    assert text_frames(data[used:]) == ([b"next"], len(data) - used)
