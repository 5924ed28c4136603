"""``harness measure --cpu``: what is made of the rounds."""

from __future__ import annotations

import io
import socket

import pytest
from rich.console import Console

from harness.caller.rtp_socket import RtpSink
from harness.commands.measure_cpu import CpuMeasurement, Load, print_cpu


def measured(generator: float = 0.4, lost: int = 0) -> CpuMeasurement:
    """Three rounds with 100 calls."""
    found = CpuMeasurement(100)
    found.loads["stock"] = [Load(0.5, 0.3), Load(0.4, generator), Load(0.5, 0.3)]
    found.loads["patched"] = [Load(0.51, 0.3), Load(0.44, 0.3), Load(0.5, 0.3)]
    found.sent = {"stock": 9000, "patched": 9000}
    found.lost["patched"] = lost
    return found


def test_each_ratio_is_of_rounds_that_followed_each_other() -> None:
    # Not of the medians, 0.5 and 0.5: what the machine did meanwhile fell on both of a pair.
    assert measured().ratios == pytest.approx([1.02, 1.1, 1.0])
    output = io.StringIO()
    print_cpu(Console(file=output, width=120), measured(lost=2))
    text = output.getvalue()
    assert "stock 0.500 % of a processor, patched 0.500 %" in text
    assert "Patched to stock: median 1.020, 1.000 to 1.100 in 3 rounds." in text
    assert "Packets that were not sent: stock 0 of 9000, patched 2 of 9000." in text
    assert "The generator took at most 40 % of a processor; the host stalled for 0 ms" in text


def test_a_lost_packet_is_a_failure_and_a_busy_generator_tells_nothing() -> None:
    assert measured().result == "PASS"
    assert measured(lost=1).result == "FAIL"
    assert measured(generator=0.95, lost=1).result == "INCONCLUSIVE"
    for stalled_ms, result in ((19.0, "FAIL"), (20.0, "INCONCLUSIVE")):
        found = measured(lost=1)
        found.stalled_ms = stalled_ms
        assert found.result == result
    found = measured()
    found.stalled_ms = 300.0
    assert found.result == "PASS"
    # More packets than frames: a queue ran empty
    assert measured(lost=-1).result == "INCONCLUSIVE"


def test_the_sink_counts_what_it_has_no_room_for() -> None:
    with RtpSink("127.0.0.1") as sink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sink._rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        assert sink.received() == 0
        for _ in range(500):
            sender.sendto(bytes(172), ("127.0.0.1", sink.port))
        assert sink.received() == 500
        sender.sendto(bytes(172), ("127.0.0.1", sink.port))
        assert sink.received() == 501
