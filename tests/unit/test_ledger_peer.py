"""The compiled ledger beside a simulated peer: what is told of a mark is what became of its media.

The peer's thread takes the frames it is given, mostly at once, sometimes late; may resample them,
which makes them later; fills packets of any length with them; and sends these, or throws them away
while it sends a digit. While it has nowhere to send to, since the far end holds the call, it throws
away what it has resampled instead. The driver looks at each tick as playback_channel.c does, and
once between two ticks where a mark waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger import NEVER, Drop, Ledger, Outcome, Stage

MS = 1_000_000
TICK = 20 * MS
FRAME = 160
BYTE_NS = 125_000
START_NS = 5_000_000 * MS
LOOK_NS = 100_000
HANDOVER_NS = 60_000
CLOCK_PACKETS = 5
"""on each side, that the judge takes the clock of a packet from"""

TICKS = st.lists(
    st.tuples(
        st.sampled_from(["frame", "frame", "frame", "frame", "nothing"]),
        st.sampled_from(
            [
                *[""] * 5,
                *("hold", "resume", "reset", "stall", "flush", "unheard", "shut", "open", "anew"),
            ]
        ),
    ),
    min_size=1,
    max_size=40,
)


@dataclass
class Frame:
    """Of media with a mark behind it, or of silence without one; or part of one."""

    number: int | None
    ns: int


def take(frames: list[Frame], ns: int) -> list[Frame]:
    """So much off the front."""
    taken = []
    while ns:
        first = frames[0]
        part = min(ns, first.ns)
        taken.append(Frame(first.number, part))
        first.ns -= part
        ns -= part
        if not first.ns:
            frames.pop(0)
    return taken


@dataclass
class Peer:
    """What Asterisk's core, its RTP and the far end make of the frames."""

    packet_ns: int
    resampled_ns: int = 0
    packets: int = 0
    """that it has sent"""
    hears: bool = True
    shut: bool = False
    """nothing gets so far as to fill a packet"""
    given: list[Frame] = field(default_factory=list)
    resampler: list[Frame] = field(default_factory=list)
    smoother: list[Frame] = field(default_factory=list)
    left_ns: dict[int, int] = field(default_factory=dict)
    """when the packet with the latest of a frame was sent, by the number of the mark behind it"""
    sent_ns: dict[int, int] = field(default_factory=dict)
    """how much of it was"""

    def __post_init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """With other resamplers, in which there is silence."""
        self.resampler = [Frame(None, self.resampled_ns)] if self.resampled_ns else []

    def run(self, now: int) -> None:
        """Write all frames that were given."""
        for frame in self.given:
            self.resampler.append(Frame(frame.number, frame.ns))
            resampled = take(self.resampler, frame.ns)
            if self.shut:
                continue
            if not self.packet_ns:
                self.send(resampled, now)
                continue
            self.smoother += resampled
            while sum(one.ns for one in self.smoother) >= self.packet_ns:
                self.send(take(self.smoother, self.packet_ns), now)
        self.given = []

    def send(self, frames: list[Frame], now: int) -> None:
        if not self.hears:
            return
        self.packets += 1
        for frame in frames:
            if frame.number is not None:
                self.left_ns[frame.number] = now
                self.sent_ns[frame.number] = self.sent_ns.get(frame.number, 0) + frame.ns


class Driver:
    """Its ticks, and the acknowledgements."""

    def __init__(self, packet_ns: int, resampled_ns: int = 0) -> None:
        self.ledger = Ledger(TICK, 1)
        self.peer = Peer(packet_ns, resampled_ns)
        self.now = START_NS
        self.counted = 0
        self.heard = 0
        """ticks since the far end was on hold"""
        self.marks = 0
        self.acked: dict[int, dict[str, int]] = {}
        self.flushed: set[int] = set()
        self.unheard: set[int] = set()
        self.ledger.listener_resampled(resampled_ns, True, self.now)
        self.ledger.watching(True, packet_ns, self.now)

    def look(self) -> None:
        """As playback_watch_peer() does."""
        done = not self.peer.given
        packet_ns = self.peer.packet_ns
        if self.ledger.looked(self.peer.packets - self.counted, False, self.now):
            self.counted = self.peer.packets
        if done and packet_ns:
            self.ledger.shut(self.peer.shut, self.now)
        done = done and not (packet_ns and self.peer.shut)
        if done and self.ledger.looked(self.peer.packets - self.counted, True, self.now):
            self.counted = self.peer.packets
        while popped := self.ledger.pop(self.now):
            self.acked[popped["number"]] = popped | {"acked_ns": self.now}

    def tick(self, what: str, event: str, *, late: bool = False) -> None:
        """And what happens until the next one."""
        self.look()
        if not self.peer.given:
            if event in ("hold", "resume"):
                self.peer.hears = event == "resume"
            if event == "reset" and not self.peer.hears:
                # As a digit does when it ends.
                self.peer.smoother = []
                self.peer.hears = True
            if event == "anew":
                self.peer.begin_anew()
                self.ledger.listener_resampled(self.peer.resampled_ns, True, self.now)
        if event == "flush":
            self.ledger.received(FRAME, TICK, self.now)
            self.ledger.mark(self.marks, Outcome.WAITING, self.now)
            self.flushed.add(self.marks)
            self.marks += 1
            self.ledger.flush(self.now)
            self.ledger.mark(self.marks, Outcome.ORDERED_EVENT, self.now)
            self.flushed.add(self.marks)
            self.marks += 1
        if what == "frame":
            self.ledger.received(FRAME, TICK, self.now)
            self.ledger.mark(self.marks, Outcome.WAITING, self.now)
            self.ledger.delivered(FRAME, TICK, TICK, self.now)
            if event == "unheard" and not self.peer.given:
                self.unheard.add(self.marks)
                self.ledger.unheard(self.now)
            else:
                self.peer.given.append(Frame(self.marks, TICK))
            self.marks += 1
        elif silence_ns := self.ledger.wants_silence(self.now):
            self.ledger.delivered(0, 0, silence_ns, self.now)
            self.peer.given.append(Frame(None, silence_ns))
        next_tick_ns = self.now + TICK
        # After a packet was lost it is known which were only if the peer keeps time until then.
        self.heard = self.heard + 1 if self.peer.hears else 0
        if event == "stall" and not late and self.heard > self.peer.packet_ns // TICK + 1:
            self.now = next_tick_ns
            return
        self.peer.run(self.now + HANDOVER_NS)
        look_ns = self.ledger.state(self.now)["look_due_ns"]
        if look_ns < next_tick_ns:
            self.now = look_ns + HANDOVER_NS
            self.look()
        # Frames are written as soon as they are delivered; so far it is as it was found.
        if event in ("shut", "open"):
            self.peer.shut = event == "shut"
        self.now = next_tick_ns


@pytest.mark.parametrize("resampled_ms", [0, 5])
@pytest.mark.parametrize("packet_ms", [0, 10, 20, 40, 60, 120])
def test_what_is_told_of_a_mark_is_what_became_of_its_media(
    packet_ms: int, resampled_ms: int
) -> None:
    @settings(derandomize=True, database=None, deadline=None, max_examples=200)
    @given(TICKS)
    def run(ticks: list[tuple[str, str]]) -> None:
        driver = Driver(packet_ms * MS, resampled_ms * MS)
        for what, event in ticks:
            driver.tick(what, event)
        driver.tick("nothing", "open")
        # Where no media comes any more nothing that a mark waits for stays anywhere.
        for _ in range(5 + 2 * packet_ms // 20):
            driver.tick("nothing", "", late=True)
        check(driver)
        driver.ledger.close()

    run()


def check(driver: Driver) -> None:
    assert sorted(driver.acked) == list(range(driver.marks))
    left = driver.peer.left_ns
    for number, ack in driver.acked.items():
        if number in driver.flushed:
            continue
        sent = driver.peer.sent_ns.get(number, 0) // BYTE_NS
        if number in left:
            assert ack["outcome"] == Outcome.PLAYED, number
            assert ack["dropped"] == FRAME - sent
            # Not before the packet with the end of its media has left.
            assert ack["acked_ns"] >= left[number]
        else:
            assert ack["outcome"] == Outcome.DROPPED, number
            assert ack["drop_reason"] == Drop.UNSENT
            assert ack["dropped"] == FRAME
        assert ack["stage"] == Stage.SENT
    state = driver.ledger.state(driver.now)
    assert state["held"] == 0
    assert state["played"] == sum(driver.peer.sent_ns.values()) // BYTE_NS
    assert state["received"] == state["played"] + state["flushed"] + state["dropped"]


def test_an_acknowledgement_comes_when_the_packets_time_has_passed() -> None:
    for packet_ms in (0, 20, 40, 60):
        driver = Driver(packet_ms * MS)
        for _ in range(120):
            driver.tick("frame", "")
        for _ in range(10):
            driver.tick("nothing", "", late=True)
        check(driver)
        frames = max(packet_ms // 20, 1)
        for number, ack in driver.acked.items():
            within = number % frames
            due_ns = driver.peer.left_ns[number] + (within + 1) * TICK
            # At first it is not known how evenly frames leave.
            late_ns = LOOK_NS + HANDOVER_NS + (MS // 10 if number > 60 else MS // 2)
            assert due_ns <= ack["due_ns"] <= due_ns + late_ns, (packet_ms, number)


@pytest.mark.parametrize("packet_ms", [0, 20])
@pytest.mark.parametrize("marks_every", [5, 40])
@pytest.mark.parametrize("mean_us", [20, 100, 400, 1000])
def test_load_makes_no_acknowledgement_early(
    mean_us: int, marks_every: int, packet_ms: int
) -> None:
    """Whoever is woken waits for a processor: exponentially distributed, each for himself."""
    late = under_load(mean_us, marks_every, packet_ns=packet_ms * MS)
    assert min(late) >= 0
    # Where one frame is later than those before it nothing else is relied on.
    assert sorted(late)[len(late) // 2] <= 2_500 * mean_us + 3 * LOOK_NS


@pytest.mark.parametrize("mean_us", [100, 300])
@pytest.mark.parametrize("peer_us", [1000, 3000])
def test_a_slow_peer_makes_no_acknowledgement_early(mean_us: int, peer_us: int) -> None:
    """Its thread takes long for every frame, as where it codes or waits behind the same others:
    within four seconds that comes and goes. Few frames are looked at."""
    late = under_load(mean_us, marks_every=10, peer_us=peer_us)
    assert min(late) >= 0
    assert sorted(late)[len(late) // 2] <= 2_500 * mean_us + 500 * peer_us + 3 * LOOK_NS


def under_load(mean_us: int, marks_every: int, peer_us: int = 0, packet_ns: int = 0) -> list[int]:
    """How late marks are, in ns, one in so many frames."""
    random = Random(mean_us)

    def woken(at_ns: int) -> int:
        return at_ns + min(round(random.expovariate(1 / mean_us) * 1000), TICK // 4)

    frames = 10_000
    ledger = Ledger(TICK, 1)
    ledger.watching(True, packet_ns, START_NS)
    delays: list[int] = []
    acked: list[dict[str, int]] = []
    unseen = 0
    for number in range(frames):
        begin = START_NS + number * TICK
        now = woken(begin)
        ledger.looked(unseen, True, now)
        ledger.received(FRAME, TICK, now)
        if number % marks_every == marks_every - 1:
            offset = number * FRAME + random.randint(1, FRAME)
            ledger.mark_at(number, offset, Outcome.WAITING, now)
        ledger.delivered(FRAME, TICK, TICK, now)
        slow_ns = round(peer_us * 500 * (1 + math.sin(number / 30)))
        left = woken(now + HANDOVER_NS // 2 + slow_ns)
        delays.append(left - begin)
        unseen, looked = 1, now
        while (due := ledger.state(now)["look_due_ns"]) < NEVER:
            # As playback_ledger_look_again() has it: in vain, once more, and the more rarely.
            looked = woken(due if looked < due else looked + LOOK_NS + min(looked - due, MS))
            if looked >= begin + TICK:
                break
            sent = int(unseen and looked >= left)
            ledger.looked(sent, bool(sent), looked)
            unseen -= sent
        while popped := ledger.pop(begin + 2 * TICK):
            acked.append(popped)
    ledger.close()
    late = [ack["due_ns"] - media_ns(ack["offset"], delays) for ack in acked]
    assert len(late) > frames // marks_every - 10
    return late


def media_ns(offset: int, delays: list[int]) -> int:
    """When the byte before it has been played, by the judge's clock of the packets around."""
    number, within = divmod(offset - 1, FRAME)
    around = delays[max(0, number - CLOCK_PACKETS) : number + CLOCK_PACKETS + 1]
    return START_NS + number * TICK + min(around) + (within + 1) * BYTE_NS
