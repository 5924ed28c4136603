"""The caller's RTP: its packets, when they are due, and that silence takes part in the count."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.caller.rtp_sender import RtpTarget, deadline_ns, digit_events, rtp_packet
from harness.caller.rtp_socket import RtpSocket
from harness.capture.rtp import parse_report, parse_rtp, receiver_report
from harness.capture.timeline import TELEPHONE_EVENT, ReceptionReport, RtpPacket
from harness.errors import InputFault
from harness.media.speech import silent_payload

TIMEOUT_S = 10.0


def test_a_packet_byte_by_byte() -> None:
    packet = rtp_packet(0x1234, 0x89ABCDEF, 0xDEADBEEF, 8, b"\x01\x02", marker=True)
    assert packet.hex() == "8088123489abcdefdeadbeef0102"
    assert rtp_packet(0, 0, 0, 8, b"", marker=False)[1] == 8


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 127), st.binary())
def test_a_packet_is_read_back_and_its_counters_wrap(
    sequence: int, timestamp: int, payload_type: int, payload: bytes
) -> None:
    # Payload types 64 to 95 with a marker bit are RTCP's packet types: never used (RFC 5761).
    marker = not 64 <= payload_type <= 95
    packet = rtp_packet(sequence, timestamp, 7, payload_type, payload, marker)
    assert parse_rtp(1, packet) == RtpPacket(
        1, sequence % 2**16, timestamp % 2**32, payload_type, 7, payload
    )


def test_a_receiver_report_byte_by_byte() -> None:
    report = ReceptionReport(5, jitter=24, last_sr=0x89ABCDEF, delay=6554)
    sent = receiver_report(report, ssrc=0xDEADBEEF)
    # Version 2 and one block, type 201, 7 words behind the first; then RFC 3550, 6.4.2.
    assert sent.hex() == "81c90007deadbeef" + "00000000" * 3 + "0000001889abcdef0000199a"
    assert parse_report(5, sent) == report
    assert parse_report(5, bytes.fromhex("80c90001deadbeef")) is None
    assert parse_rtp(5, sent) is None


def test_a_report_has_the_round_trip_that_was_asked_for() -> None:
    with RtpSocket() as asterisk, RtpSocket() as caller:
        target = RtpTarget("127.0.0.1", asterisk.port, 0)
        for rtt_ms in (80.0, 0.5, -100.0):
            caller.report(target, rtt_ms, 24)
            said = caller.reports[-1].rtt_ms
            assert said is not None and abs(said - rtt_ms) < 0.1
        caller.report(target, None, 24)
        assert caller.reports[-1].rtt_ms is None


def test_a_late_packet_does_not_move_the_next_one() -> None:
    assert [deadline_ns(5, number) for number in (0, 1, 50)] == [5, 20_000_005, 1_000_000_005]


@pytest.mark.parametrize(
    ("codec", "size", "step"),
    [("ulaw", 160, 160), ("alaw", 160, 160), ("slin", 320, 160), ("slin16", 640, 320)],
)
def test_words_come_between_silence_in_one_stream(codec: str, size: int, step: int) -> None:
    words = [bytes([number]) * size for number in (1, 2, 3)]
    with RtpSocket() as asterisk, RtpSocket() as caller:
        voice = caller.talk(RtpTarget("127.0.0.1", asterisk.port, 96), codec)
        assert asterisk.wait_for_packets(2, TIMEOUT_S)
        voice.speak(words)
        voice.wait_spoken(TIMEOUT_S)
        assert asterisk.wait_for_packets(voice.sent + 2, TIMEOUT_S)
        voice.close()
        packets = asterisk.packets
    silence = silent_payload(codec)
    assert len(silence) == size
    begin = next(index for index, packet in enumerate(packets) if packet.payload != silence)
    payloads = [packet.payload for packet in packets]
    assert payloads[begin : begin + 3] == words
    assert set(payloads[:begin] + payloads[begin + 3 :]) == {silence}
    first = packets[0]
    assert [replace(packet, time_ns=0, payload=b"") for packet in packets] == [
        RtpPacket(
            0,
            (first.sequence + number) % 2**16,
            (first.timestamp + number * step) % 2**32,
            96,
            first.ssrc,
            b"",
        )
        for number in range(len(packets))
    ]


def test_a_digit_is_pressed_in_place_of_audio() -> None:
    with RtpSocket() as asterisk, RtpSocket() as caller:
        voice = caller.talk(RtpTarget("127.0.0.1", asterisk.port, 0))
        voice.press("#", 60)
        voice.wait_spoken(TIMEOUT_S)
        assert asterisk.wait_for_packets(voice.sent + 2, TIMEOUT_S)
        voice.close()
        packets = asterisk.packets
    begin = next(n for n, one in enumerate(packets) if one.payload_type == TELEPHONE_EVENT)
    digits, after = packets[begin : begin + 5], packets[begin + 5]
    # Event 11, volume 10, then 20, 40 and (its end, three times) 60 ms in units of 8000 Hz.
    assert [one.payload.hex() for one in digits] == ["0b0a00a0", "0b0a0140", *["0b8a01e0"] * 3]
    assert {one.payload_type for one in digits} == {TELEPHONE_EVENT}
    assert {one.timestamp for one in digits} == {digits[0].timestamp}
    assert (after.payload, after.payload_type) == (silent_payload("ulaw"), 0)
    assert (after.timestamp - digits[0].timestamp) % 2**32 == 5 * 160
    assert (after.sequence - digits[0].sequence) % 2**16 == 5


@pytest.mark.parametrize("digit", ["", "12", "E", "d"])
def test_what_is_no_digit_is_not_pressed(digit: str) -> None:
    with pytest.raises(InputFault, match="is not a digit"):
        digit_events(digit, 100)


def test_digits_need_the_clock_of_their_events() -> None:
    with RtpSocket() as caller:
        voice = caller.talk(RtpTarget("127.0.0.1", 9, 97), "slin16")
        with pytest.raises(InputFault, match="16000 Hz"):
            voice.press("5", 100)


def test_a_closed_port_sends_nothing() -> None:
    with RtpSocket() as asterisk:
        with RtpSocket() as caller:
            voice = caller.talk(RtpTarget("127.0.0.1", asterisk.port, 0))
            assert asterisk.wait_for_packets(1, TIMEOUT_S)
        sent = voice.sent
        assert not asterisk.wait_for_packets(sent + 1, 0.1)


def test_a_codec_without_an_encoder_is_refused() -> None:
    with RtpSocket() as caller, pytest.raises(InputFault, match="opus"):
        caller.talk(RtpTarget("127.0.0.1", 9, 107), "opus")
