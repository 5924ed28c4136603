"""What stands between Asterisk's core and the wire, on the stock driver, which looks at none of it.

The caller and the bridge do what the scenario says, and the judge sees that the driver claims what
did not leave, or not yet. The last one is of the patched driver.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from live_calls import INCONCLUSIVE

from chan_websocket.protocol import parse_event
from harness.bench import Bench
from harness.capture.timeline import TELEPHONE_EVENT, RtpPacket
from harness.media.codecs import PACKET_TIMES_MS
from harness.record.capture_files import load_timeline
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.result import CallResult, Outcome
from harness.scenarios.run_one import Setting, run_scenario

TICK_MS = 20


def run(bench: Bench, run_folder: Path, name: str) -> tuple[CallResult, Path]:
    """The scenario's call on the stock driver, where it fails as it is known to; its folder."""
    [scenario] = choose_scenarios([name])
    setting = Setting("stock", stock=True, patched=False, command="harness run --target stock")
    result = run_scenario(bench, scenario, 1, setting, run_folder)
    if result.outcome is Outcome.INCONCLUSIVE:
        pytest.skip(f"{INCONCLUSIVE}: {result.reason}")
    assert result.outcome is Outcome.XFAIL, "\n".join([result.reason, *result.failures])
    [call] = result.calls
    return call, run_folder / call.folder


def sent(folder: Path) -> tuple[RtpPacket, ...]:
    return load_timeline(folder).rtp


@pytest.mark.parametrize("ptime_ms", PACKET_TIMES_MS)
def test_packets_are_as_long_as_the_caller_asks_for(
    stock: Bench, run_folder: Path, ptime_ms: int
) -> None:
    call, folder = run(stock, run_folder, f"wire_packet_time[ptime_ms={ptime_ms},format=plain]")
    assert {len(packet.payload) for packet in sent(folder)} == {8 * ptime_ms}
    # It acknowledges when the frame is fetched; the packet leaves when its last frame is there.
    gathered_ms = max(0, ptime_ms - TICK_MS) if ptime_ms != 30 else 10
    assert min(call.differences_ns) < -(gathered_ms + TICK_MS / 2) * 1e6
    assert call.counts["EARLY"] > call.marks / 2


@pytest.mark.parametrize("how", ["sendonly", "inactive", "0.0.0.0"])
def test_nothing_leaves_while_the_caller_holds(stock: Bench, run_folder: Path, how: str) -> None:
    call, folder = run(stock, run_folder, f"wire_hold[how={how},ptime_ms=20]")
    times = [packet.time_ns for packet in sent(folder)]
    longest_ms = max(after - before for before, after in pairwise(times)) / 1e6
    assert longest_ms > 1900
    # 2 s of 8000 bytes, but for what a busy host keeps back meanwhile.
    assert 8_000 < call.unsent_bytes < 18_000


def test_audio_gives_way_to_a_digit(stock: Bench, run_folder: Path) -> None:
    call, folder = run(stock, run_folder, "wire_digit[digits=rfc4733,ms=500]")
    events = [packet for packet in sent(folder) if packet.payload_type == TELEPHONE_EVENT]
    assert {packet.payload[0] for packet in events} == {5}
    assert call.missing_packets == 0
    # Twice 500 ms.
    assert 2 * 2000 < call.unsent_bytes < 2 * 6000


def test_the_application_is_told_of_the_caller_s_digit(stock: Bench, run_folder: Path) -> None:
    _, folder = run(stock, run_folder, "wire_digit_from_caller")
    texts = [one.text for one in load_timeline(folder).messages if one.kind == "text"]
    digits = [event for event in map(parse_event, texts) if event.name == "DTMF_END"]
    assert [event.fields["digit"] for event in digits] == ["5"]


@pytest.mark.parametrize(
    ("name", "lasts_ms"),
    [
        ("wire_other_audio[do=play,to=caller,ptime_ms=20]", 600),
        ("wire_other_audio[do=moh,to=caller,ptime_ms=20]", 600),
        ("wire_other_audio[do=silence,to=caller,ptime_ms=20]", 600),
        ("wire_other_audio[do=mute,to=caller,ptime_ms=20]", 600),
        ("wire_other_audio[do=hold,to=caller,ptime_ms=20]", 600),
        ("wire_other_audio[do=mute,to=application,ptime_ms=20]", 600),
        ("wire_muted[channel=caller,direction=out,ptime_ms=20]", 900),
        ("wire_muted[channel=application,direction=in,ptime_ms=20]", 900),
        ("wire_removed[do=remove,who=application,ptime_ms=20]", 1000),
        ("wire_removed[do=remove,who=caller,ptime_ms=20]", 1000),
        ("wire_late_bridge[bridge_after_ms=1200,format=plain]", 1200),
        ("wire_unanswered[dial_options=]", 700),
        ("wire_dial[dial_options=U(harness-moment)]", 1000),
        ("wire_ringing", 1000),
    ],
)
def test_what_nobody_hears_is_claimed(
    stock: Bench, run_folder: Path, name: str, lasts_ms: int
) -> None:
    call, _ = run(stock, run_folder, name)
    # What a busy host keeps back meanwhile is neither played to nobody nor claimed.
    assert call.unsent_bytes > 8 * lasts_ms * 0.5


@pytest.mark.parametrize("bridge", ["local", "local n"])
def test_a_local_channel_hides_the_packets(stock: Bench, run_folder: Path, bridge: str) -> None:
    call, folder = run(stock, run_folder, f"wire_local[bridge={bridge},ptime_ms=40]")
    assert {len(packet.payload) for packet in sent(folder)} == {320}
    assert call.counts["EARLY"] > call.marks / 2


def test_packets_stay_as_long_as_they_were(patched: Bench, run_folder: Path) -> None:
    """Asterisk does not give a caller the longer packets that he asks for in mid-speech."""
    [scenario] = choose_scenarios(["wire_packets_change[from_ms=20,to_ms=40]"])
    setting = Setting("patched", stock=False, patched=True, command="harness run")
    result = run_scenario(patched, scenario, 1, setting, run_folder)
    if result.outcome is Outcome.INCONCLUSIVE:
        pytest.skip(f"{INCONCLUSIVE}: {result.reason}")
    assert result.outcome is Outcome.PASS, "\n".join([result.reason, *result.failures])
    assert {len(packet.payload) for packet in sent(run_folder / result.calls[-1].folder)} == {160}
