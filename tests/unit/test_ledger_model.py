"""The compiled ledger beside a naive model of it, compared after every step.

The model keeps the whole stream as a list of pieces, each in one state, and looks all through it
for each mark; the ledger keeps sums, positions and gaps only. What goes into both is what the
driver may tell: any order of media, drops, frames, marks anywhere in the stream, queued events,
flushes and moments.

As long as nothing mixes, every number has to be equal, times included. What a mixer takes in a
mixing interval is the ledger's estimate: there the model follows what moved, and bounds the times
from below, also by the mixing interval that fills the listener's packet.

The ledger allocates nothing, so it cannot fail: a failing allocation and the limit of marks are the
business of playback_commands.c, tested inside Asterisk by playback_test.c.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import gcd

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from ledger import NEVER, Drop, Ledger, Outcome, Queue

MS = 1_000_000
TICK = 20 * MS
BYTE_NS = 125_000
FRAME = 160
SEND_DELAY_NS = 400_000
CLOCK_FRAMES = 5
MIXER_GUARD_NS = 500_000
MIXER_TOLERANCE_NS = 2 * MS
MIXED_SEND_DELAY_NS = 600_000
MIXER_WAIT_NS = 1000 * MS
DROP_INTERVAL_NS = 100 * MS
START_NS = 5_000_000 * MS

# The same inputs in every run: a failure is not there today and gone tomorrow.
SETTINGS = settings(
    derandomize=True, database=None, deadline=None, max_examples=300, stateful_step_count=50
)


@dataclass
class Piece:
    """Some bytes that came in a row and share a state; offsets count all that was received."""

    begin: int
    end: int
    state: str = "queued"
    end_ns: int = 0
    """of what was sent: when its last byte has been played"""
    full_ns: int = 0
    """of what was mixed: how much the mixer has written when the packet with its last byte is full,
    in any case; 0 for what waits for no packet"""

    @property
    def size(self) -> int:
        return self.end - self.begin


@dataclass
class Frame:
    """What was sent at once."""

    begin: int
    arrival_ns: int
    start_ns: int
    media_ns: int
    frame_ns: int
    sample: bool
    """it says something of the clock"""


@dataclass
class Mark:
    """Or a queued event."""

    number: int
    offset: int
    place: int
    """where it lies: before half a sample, if that is the newest media"""
    made_ns: int
    outcome: Outcome
    dropped: int = 0
    """bytes before it"""
    reached_ns: int | None = None
    """when it is due if all before it had been sent when that was first known. Else its time is
    that of the media; where a frame came late and that time is past, when that has left"""
    settled_ns: int | None = None
    """when it was flushed or hung up, or what it was made with"""
    flushed_to: int = 0
    """offset of the flush between it and the mark before it, 0 if there is none"""
    is_fence: bool = False
    """nothing was received between the latest flush and it"""
    held: bool = False
    """something before it was held when it was made"""
    dropped_before: int = 0
    """bytes that had been held, and dropped, when it was made"""
    left: int = 0
    """bytes before it that were held when it was made, and still when the channel was hung up"""


class Model:
    """What playback_ledger.h says, done the long way."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.frames: list[Frame] = []
        self.marks: list[Mark] = []
        self.events: list[Mark] = []
        self.ahead: list[Mark] = []
        self.flushes: list[tuple[int, int]] = []
        """offsets between which all was flushed, or had been dropped before; none touch"""
        self.told = 0
        """bytes that marks have told were dropped"""
        self.told_place = 0
        """the furthest place of a mark that was popped"""
        self.flush_offset = 0
        self.flushed_to = 0
        self.wanted = 0
        self.half_sample = 0
        """the newest bytes that were half a sample when a mark or a queued event came"""
        self.underruns = 0
        self.drops: dict[Drop, tuple[int, int]] = {}
        self.next_drop_ns = 0
        self.hung_up = False

    @property
    def received(self) -> int:
        return self.pieces[-1].end if self.pieces else 0

    def count(self, *states: str, before: int | None = None, after: int = 0) -> int:
        """Bytes in these states, of the whole stream or of a part of it."""
        end = self.received if before is None else before
        return sum(
            max(0, min(piece.end, end) - max(piece.begin, after))
            for piece in self.pieces
            if piece.state in states
        )

    def receive(self, size: int, now: int) -> None:
        self.pieces.append(Piece(self.received, self.received + size))
        while self.ahead and self.ahead[0].offset <= self.received:
            self.place(self.ahead.pop(0), now)

    def drop(self, size: int, reason: Drop, now: int, behind: int) -> None:
        """The newest bytes, but for half a sample."""
        dropped_to = self.received - behind
        dropped_from = dropped_to - size
        waiting = [mark for mark in self.marks if self.unsent(mark.place)]
        self.cut_at(dropped_from)
        self.cut_at(dropped_to)
        for piece in self.pieces:
            if dropped_from <= piece.begin < dropped_to:
                piece.state = "dropped"
        self.report(size, reason, dropped_from)
        for mark in self.marks:
            if mark.offset > dropped_from:
                mark.dropped = self.dropped_before(mark.offset)
                is_over = mark in waiting and not self.unsent(mark.place)
                if mark.outcome is Outcome.WAITING and is_over:
                    mark.reached_ns = self.over_ns(mark.place, now)

    def report(self, size: int, reason: Drop, offset: int) -> None:
        """To be reported."""
        if size:
            first, dropped = self.drops.get(reason, (offset, 0))
            self.drops[reason] = first, dropped + size

    def drop_held(self, size: int, now: int) -> None:
        """The mixer does, with its oldest bytes; what comes after plays no later for that."""
        sent = [piece for piece in self.pieces if piece.state == "sent"]
        end_ns = max(now, sent[-1].end_ns) if sent else now
        for piece in self.first(size, "held"):
            self.report(piece.size, Drop.BRIDGE, piece.begin)
            self.count_in_marks(piece)
            piece.state, piece.end_ns = "dropped_of_held", end_ns

    def count_in_marks(self, dropped: Piece) -> None:
        """For all that are behind it."""
        for mark in self.marks:
            if mark.place > dropped.begin and mark.outcome is not Outcome.ORDERED_EVENT:
                mark.dropped += min(mark.place, dropped.end) - dropped.begin

    def cut_at(self, offset: int) -> None:
        """Have no piece reach over ``offset``."""
        for index, piece in enumerate(self.pieces):
            if piece.begin < offset < piece.end:
                rest = Piece(offset, piece.end, piece.state, piece.end_ns, piece.full_ns)
                self.pieces.insert(index + 1, rest)
                piece.end = offset
                if piece.state == "sent":
                    piece.end_ns -= rest.size * BYTE_NS
                    piece.full_ns -= rest.size * BYTE_NS
                return

    def first(self, size: int, state: str) -> list[Piece]:
        """The oldest ``size`` bytes in ``state``, as whole pieces."""
        found = []
        for piece in list(self.pieces):
            if size and piece.state == state:
                if piece.size > size:
                    self.cut_at(piece.begin + size)
                found.append(piece)
                size -= piece.size
        return found

    def send(self, pieces: list[Piece], frame_ns: int, now: int) -> None:
        """To the listener, as one frame."""
        media_ns = sum(piece.size for piece in pieces) * BYTE_NS
        left_ns = now + SEND_DELAY_NS
        start_ns, sample = self.frame_start(left_ns)
        begin = sum(frame.frame_ns for frame in self.frames)
        self.frames.append(Frame(begin, left_ns, start_ns, media_ns, frame_ns, sample))
        at_ns = start_ns
        for piece in pieces:
            at_ns += piece.size * BYTE_NS
            piece.state, piece.end_ns = "sent", max(at_ns, left_ns)

    def frame_start(self, arrival_ns: int) -> tuple[int, bool]:
        """The listener's clock: its frames follow each other, and start by the latest few's best.

        A frame that leaves half a tick after the end of what was before it begins anew, and so do
        the first media and what is behind a short frame.
        """
        if not self.frames:
            return arrival_ns, True
        last = self.frames[-1]
        end_ns = last.start_ns + last.frame_ns
        if arrival_ns < end_ns and self.last_frame and self.last_frame.frame_ns > TICK:
            return end_ns, False
        behind_short = last.media_ns and last.frame_ns < TICK
        if arrival_ns - end_ns >= TICK // 2 or not self.count("sent") or behind_short:
            for frame in self.frames:
                frame.sample = False
        begin = last.begin + last.frame_ns
        samples = [frame for frame in self.frames if frame.sample][-(CLOCK_FRAMES - 1) :]
        starts = [frame.arrival_ns + begin - frame.begin for frame in samples]
        return min([arrival_ns, *starts]), True

    def flush(self, outcome: Outcome, now: int) -> None:
        gone = ["queued", "held"] if outcome is Outcome.HUNGUP else ["queued"]
        if outcome is Outcome.HUNGUP:
            for mark in self.ahead:
                mark.dropped = self.dropped_before(self.received)
            self.marks += self.ahead
            self.ahead = []
        for mark in self.marks + self.events:
            if outcome is Outcome.HUNGUP and mark.held:
                mark.left = self.count("held", before=mark.place)
            if mark.outcome is Outcome.WAITING and (
                outcome is Outcome.HUNGUP or self.count("queued", before=mark.place)
            ):
                mark.outcome, mark.settled_ns = outcome, now
        [begin, *_] = [*(one.begin for one in self.pieces if one.state == "queued"), self.received]
        if outcome is Outcome.FLUSHED:
            self.flush_offset = self.flushed_to = self.received
        if begin < self.received:
            if self.flushes and self.flushes[-1][1] == begin:
                begin, _ = self.flushes.pop()
            self.flushes.append((begin, self.received))
        for piece in self.pieces:
            if piece.state in gone:
                piece.state = "flushed"
        self.wanted, self.half_sample = self.received, 0
        self.hung_up = outcome is Outcome.HUNGUP

    def mark(self, number: int, outcome: Outcome, now: int) -> None:
        place = self.received - self.half_sample
        mark = Mark(number, self.received, place, now, outcome)
        mark.held = self.count("held") > 0
        mark.dropped_before = self.count("dropped_of_held")
        if outcome is not Outcome.ORDERED_EVENT:
            mark.dropped = self.dropped_before(self.received)
            mark.is_fence = self.received == self.flush_offset
            mark.flushed_to, self.flushed_to = self.flushed_to, 0
        if outcome is not Outcome.WAITING:
            mark.settled_ns = now
        self.enter(mark, now)

    def mark_at(self, number: int, offset: int, outcome: Outcome, now: int) -> None:
        mark = Mark(number, offset, offset, now, outcome)
        if outcome is not Outcome.WAITING:
            mark.settled_ns = now
        if offset > self.received:
            self.ahead.insert(bisect_right([one.offset for one in self.ahead], offset), mark)
        else:
            self.place(mark, now)

    def place(self, mark: Mark, now: int) -> None:
        """By its offset."""
        self.cut_at(mark.offset)
        mark.dropped = self.dropped_before(mark.offset)
        for begin, end in self.flushes:
            if begin < mark.offset < end:
                # Where it was dropped among what was flushed is not remembered.
                mark.dropped -= self.count("dropped", before=mark.offset, after=begin)
            if begin < mark.offset <= end and mark.outcome is Outcome.WAITING:
                mark.outcome, mark.settled_ns = Outcome.FLUSHED, now
        self.enter(mark, now)

    def enter(self, mark: Mark, now: int) -> None:
        if mark.outcome is Outcome.WAITING:
            self.wanted = max(self.wanted, mark.place)
            if not self.unsent(mark.place):
                mark.reached_ns = self.over_ns(mark.place, now)
        self.marks.insert(bisect_right([one.offset for one in self.marks], mark.offset), mark)

    def dropped_before(self, offset: int) -> int:
        return self.count("dropped", "dropped_of_held", before=offset)

    def unsent(self, place: int) -> int:
        """Bytes before it that are to be sent."""
        return self.count("queued", "held", before=place)

    def over_ns(self, place: int, now: int) -> int:
        """When all before it, which has been sent, is over: what was sent follows each other."""
        last = self.last_frame
        if not last or self.hung_up:
            return now
        behind = self.count("sent", after=place)
        return max(now, last.start_ns + last.media_ns - behind * BYTE_NS)

    def is_discarded(self, mark: Mark, dropped: int) -> bool:
        """Whether some of what is its own was dropped, and nothing of it sent."""
        begin = max(self.told_place, mark.flushed_to)
        sent = self.count("sent", before=mark.place, after=begin)
        return dropped > 0 and not mark.is_fence and not sent

    def due_ns(self, mark: Mark) -> int:
        """When a mark's outcome is reached."""
        if mark.settled_ns is not None:
            return mark.settled_ns
        return self.end_ns(mark) if mark.reached_ns is None else mark.reached_ns

    def end_ns(self, mark: Mark) -> int:
        """When all before a mark has been played."""
        if self.count("queued", "held", before=mark.place):
            return NEVER
        gone = [
            p for p in self.pieces if p.state in ("sent", "dropped_of_held") and p.end <= mark.place
        ]
        return gone[-1].end_ns if gone else 0

    def played(self, now: int) -> int:
        """Bytes; frames but the last one are played as soon as that has left."""
        sent = self.count("sent")
        last = self.last_frame
        if not last or self.hung_up:
            return sent
        return sent - (last.media_ns - self.elapsed(now) // BYTE_NS * BYTE_NS) // BYTE_NS

    @property
    def last_frame(self) -> Frame | None:
        """Silence does not count."""
        return next((frame for frame in reversed(self.frames) if frame.media_ns), None)

    def elapsed(self, now: int) -> int:
        """Of the last frame's media, in ns."""
        last = self.last_frame
        if not last or self.hung_up:
            return 0
        return min(max(now - last.start_ns, 0), last.media_ns)

    def played_ns(self, now: int) -> int:
        sent_ns = self.count("sent") * BYTE_NS
        if not self.last_frame or self.hung_up:
            return sent_ns
        return sent_ns - self.last_frame.media_ns + self.elapsed(now)

    def next_due(self) -> tuple[int, list[Mark] | None]:
        """When, and out of which queue: the heads alone count, and marks go first."""
        heads = [(self.due_ns(queue[0]), queue) for queue in (self.marks, self.events) if queue]
        return min(heads, key=lambda head: head[0], default=(NEVER, None))


class LedgerMachine(RuleBasedStateMachine):
    """A channel in a bridge of two."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(TICK, 1)
        self.model = Model()
        self.now = START_NS
        self.numbers = iter(range(10**9))
        self.queued_events: list[tuple[int, int]] = []
        self.whole = 0
        """how far the stream is known to be of whole samples"""

    def teardown(self) -> None:
        """Hang up: each mark has its one answer by then."""
        self.hang_up()
        self.compare()
        self.pop(NEVER - 1)
        self.compare()
        assert not self.model.marks and not self.model.events
        self.ledger.close()

    def hang_up(self) -> None:
        flushed = self.model.count("queued", "held")
        self.model.flush(Outcome.HUNGUP, self.now)
        assert self.ledger.hangup(self.now) == flushed

    # What went before has no time, as much time as that does not fit.
    @initialize(before=st.sampled_from([0, 2**32 - 300, 2**63 - 300]))
    def past(self, before: int) -> None:
        self.model.pieces.append(Piece(0, before, "flushed"))
        self.model.flushes = [(0, before)] if before else []
        self.model.flush_offset = self.model.flushed_to = before
        self.model.wanted = before
        self.ledger.received(before, 0, self.now)
        self.ledger.flush(self.now)

    @rule(
        size=st.sampled_from([1, 80, 160, 200, 480, 1000]) | st.integers(1, 1000),
        dropped=st.just(0) | st.integers(0, 1000),
        reason=st.sampled_from([Drop.OVERFLOW, Drop.PARTIAL, Drop.DIRECTION]),
        behind=st.sampled_from([0, 0, 1]),
    )
    def receive(self, size: int, dropped: int, reason: Drop, behind: int) -> None:
        """A message of media, the end or all of which may be dropped, but for its last byte."""
        half = self.half_is_queued()
        self.model.receive(size, self.now)
        self.ledger.received(size, size * BYTE_NS, self.now)
        dropped = min(dropped, size - behind)
        if dropped == size - behind and half:
            # With its other half.
            dropped += half
        if dropped:
            self.model.drop(dropped, reason, self.now, behind)
            self.ledger.dropped(dropped, dropped * BYTE_NS, reason, self.now, behind)
        self.whole = max([self.whole, *(mark.offset for mark in self.model.marks)])

    @rule(
        size=st.sampled_from([FRAME, FRAME, FRAME, 480]) | st.integers(1, FRAME),
        padded=st.booleans(),
    )
    def deliver(self, size: int, padded: bool) -> None:
        """A frame: full, short, padded, or longer than a tick; nothing if there is none."""
        self.dequeue_events(size)
        size = min(size, self.model.count("queued"))
        if not size:
            self.starve()
            return
        frame_ns = max(size * BYTE_NS, TICK if padded else 0)
        self.delivered(size, frame_ns)

    def delivered(self, size: int, frame_ns: int) -> None:
        self.model.send(self.model.first(size, "queued"), frame_ns, self.now)
        self.ledger.delivered(size, size * BYTE_NS, frame_ns, self.now)

    @rule(silence_ns=st.sampled_from([TICK, 3 * TICK, 5 * MS]))
    def deliver_silence(self, silence_ns: int) -> None:
        """A mixer wanted it, and the channel has left that in the meantime."""
        self.model.send([], silence_ns, self.now)
        self.ledger.delivered(0, 0, silence_ns, self.now)

    @rule(ticks=st.integers(2, 12))
    def deliver_in_time(self, ticks: int) -> None:
        """Full frames, tick by tick."""
        for _ in range(ticks):
            self.deliver(FRAME, False)
            self.now += TICK

    def starve(self) -> None:
        has_played = self.model.count("sent", "held", "dropped_of_held") > 0
        if has_played and self.beyond_wanted() > self.model.half_sample:
            self.model.underruns += 1
        self.ledger.starved()

    def beyond_wanted(self) -> int:
        """Bytes behind what the application said was all, that were not dropped."""
        model = self.model
        states = ("queued", "held", "dropped_of_held", "sent", "flushed")
        return model.count(*states, after=model.wanted)

    @rule(
        outcome=st.sampled_from(
            [
                Outcome.WAITING,
                Outcome.WAITING,
                Outcome.WAITING,
                Outcome.DIRECTION,
                Outcome.ORDERED_EVENT,
            ]
        ),
        half=st.booleans(),
    )
    def mark(self, outcome: Outcome, half: bool) -> None:
        if outcome is Outcome.ORDERED_EVENT:
            self.flush()  # which it answers: nothing is queued before it
        number = next(self.numbers)
        self.set_half_sample(half)
        self.model.mark(number, outcome, self.now)
        self.ledger.mark(number, outcome, self.now)

    @rule(
        outcome=st.sampled_from([Outcome.WAITING, Outcome.WAITING, Outcome.DIRECTION]),
        ahead=st.sampled_from([-FRAME, -1, 0, 1, FRAME]) | st.integers(-2000, 2000),
        of_a_piece=st.integers(0, 5),
    )
    def mark_at(self, outcome: Outcome, ahead: int, of_a_piece: int) -> None:
        """Around the end of the stream, or around a place where something changes."""
        origin = self.model.received
        if of_a_piece and abs(ahead) <= 1 and self.model.pieces:
            origin = self.model.pieces[-min(of_a_piece, len(self.model.pieces))].begin
        offset = max(0, origin + ahead)
        number = next(self.numbers)
        self.model.mark_at(number, offset, outcome, self.now)
        assert self.ledger.mark_at(number, offset, outcome, self.now)
        if offset <= self.model.received:
            self.whole = max(self.whole, offset)

    @rule(half=st.booleans())
    def queue_event(self, half: bool) -> None:
        """It travels with the media, and is entered when what is before it is the next frame's."""
        self.set_half_sample(half)
        self.model.wanted = self.model.received - self.model.half_sample
        self.ledger.event_queued()
        self.queued_events.append((next(self.numbers), self.model.wanted))

    def set_half_sample(self, half: bool) -> None:
        """The newest byte is half a sample, if it can be: it waits, and was none before."""
        [*_, newest] = [None, *(piece for piece in self.model.pieces if piece.size)]
        can_be = newest and newest.state == "queued" and self.model.received > self.whole
        self.model.half_sample = int(bool(half and can_be))
        self.whole = self.model.received - self.model.half_sample
        self.model.cut_at(self.whole)
        self.ledger.half_sample(self.model.half_sample, self.model.half_sample * BYTE_NS)

    def half_is_queued(self) -> int:
        """Whether the newest byte is half a sample that waits."""
        [*_, newest] = [None, *(piece for piece in self.model.pieces if piece.size)]
        is_newest = self.model.half_sample and self.whole == self.model.received - 1
        return int(bool(is_newest and newest and newest.state == "queued"))

    def dequeue_events(self, ahead: int) -> None:
        while self.queued_events:
            number, offset = self.queued_events[0]
            before = self.model.count("queued", before=offset)
            if before > ahead:
                return
            del self.queued_events[0]
            event = Mark(number, offset, offset, self.now, Outcome.WAITING)
            if not self.model.unsent(offset):
                event.reached_ns = self.model.over_ns(offset, self.now)
            self.model.events.append(event)
            self.ledger.event_dequeued(number, before, self.now)

    @rule()
    def flush(self) -> None:
        queued = self.model.count("queued")
        self.model.flush(Outcome.FLUSHED, self.now)
        self.queued_events = []
        assert self.ledger.flush(self.now) == queued

    @rule(
        ns=st.sampled_from([1, TICK, TICK + 1, TICK + 5 * MS, 3 * TICK]) | st.integers(0, 30 * MS)
    )
    def wait(self, ns: int) -> None:
        self.now += ns

    @rule()
    def wait_until_due(self) -> None:
        """And no longer: what is due at this moment is given, not a nanosecond before it."""
        due_ns = self.ledger.state(self.now)["next_due_ns"]
        if self.now < due_ns < NEVER:
            assert self.ledger.pop(due_ns - 1) is None
            self.now = due_ns

    @rule()
    def pop_due(self) -> None:
        self.pop(self.now)

    def pop(self, now: int) -> None:
        while True:
            due_ns, queue = self.next_due()
            popped = self.ledger.pop(now)
            if queue is None or due_ns > now:
                assert popped is None
                return
            mark = queue.pop(0)
            assert popped is not None
            self.check_popped(popped, mark, queue is self.model.events)

    def next_due(self) -> tuple[int, list[Mark] | None]:
        return self.model.next_due()

    def check_popped(self, popped: dict[str, int], mark: Mark, is_event: bool) -> None:
        assert popped["number"] == mark.number
        if mark.outcome is Outcome.ORDERED_EVENT:
            gone = self.model.count("dropped_of_held", before=mark.place) - mark.dropped_before
            gone += mark.left  # nobody will hear it any more
            assert (popped["outcome"], popped["dropped"]) == (mark.outcome, gone)
            return
        dropped = 0 if is_event else max(mark.dropped - self.model.told, 0)
        if mark.outcome is Outcome.WAITING:
            discarded = self.model.is_discarded(mark, dropped)
            mark.outcome = Outcome.DROPPED if discarded else Outcome.PLAYED
            # Said when it was made, and true now.
            if not is_event:
                assert popped["media_ns"] == BYTE_NS * self.model.count("sent", before=mark.place)
        assert popped["outcome"] == mark.outcome
        if not is_event:
            assert popped["offset"] == mark.offset
            assert popped["dropped"] == dropped
            assert abs(popped["dropped_ns"] - dropped * BYTE_NS) <= 1
            self.model.told = max(mark.dropped, self.model.told)
            self.model.told_place = max(mark.place, self.model.told_place)

    @rule()
    def pop_drop(self) -> None:
        model = self.model
        drop = self.ledger.pop_drop(self.now)
        if not model.drops or self.now < model.next_drop_ns:
            assert drop is None
            return
        reason = min(model.drops)
        offset, dropped = model.drops.pop(reason)
        assert drop == (reason, dropped, offset)
        model.next_drop_ns = self.now + DROP_INTERVAL_NS

    @invariant()
    def compare(self) -> None:
        model, state = self.model, self.ledger.state(self.now)
        assert state["received"] == model.received
        for name in ("flushed", "dropped_of_held", "held", "sent", "queued"):
            assert state[name] == model.count(name), name
        # For the application what a mixer dropped is dropped like anything else.
        assert state["dropped"] == model.count("dropped", "dropped_of_held")
        assert state["received"] == sum(
            state[name] for name in ("dropped", "flushed", "held", "sent", "queued")
        )
        assert state["received"] == sum(
            state[name] for name in ("dropped", "flushed", "played", "snapshot_queued")
        )
        assert state["marks"] == sum(
            one.outcome is not Outcome.ORDERED_EVENT for one in model.marks + model.ahead
        )
        assert state["events"] == len(model.events)
        assert state["underruns"] == model.underruns
        drop_due_ns = model.next_drop_ns if model.drops else NEVER
        assert state["drop_due_ns"] == drop_due_ns
        for partial in {0, min(1, model.count("queued")), min(80, model.count("queued"))}:
            assert self.ledger.wants_partial(partial) == (self.beyond_wanted() < partial)
        self.compare_marks()
        self.compare_times(state)

    def compare_marks(self) -> None:
        model = self.model
        for which, queue in ((Queue.MARKS, model.marks), (Queue.EVENTS, model.events)):
            for fields, mark in zip(self.ledger.pending(which), queue, strict=True):
                assert fields["number"] == mark.number
                assert fields["outcome"] == mark.outcome
                if which is Queue.MARKS and mark.outcome is not Outcome.ORDERED_EVENT:
                    assert fields["dropped"] == mark.dropped
                self.compare_due(fields["due_ns"], mark)
        for fields, mark in zip(self.ledger.pending(Queue.AHEAD), model.ahead, strict=True):
            assert (fields["number"], fields["outcome"]) == (mark.number, mark.outcome)

    def compare_due(self, due_ns: int, mark: Mark) -> None:
        assert due_ns == self.model.due_ns(mark)

    def compare_times(self, state: dict[str, int]) -> None:
        model = self.model
        assert state["next_due_ns"] == model.next_due()[0]
        assert state["played"] == model.played(self.now)
        assert state["played_ns"] == model.played_ns(self.now)
        queued = model.count("queued", "held", "sent")
        assert state["snapshot_queued_ns"] == queued * BYTE_NS - state["played_ns"]


class MixingLedgerMachine(LedgerMachine):
    """A channel that goes in and out of bridges that mix."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = False
        self.delivered_ns: dict[int, int] = {}
        """when the byte was given to the mixer, by the offset of a frame's first one"""
        self.played = 0
        self.foreign = False
        """the mixer may hold other audio in front of ours"""
        self.packet_ns = 0
        """how long the listener's packets last, 0 if each frame is one"""
        self.results: list[tuple[int, int]] = []
        """when the mixer wrote, and how much by then"""
        self.interval_ns = TICK
        self.wrote_ns = 0

    @rule(mixing=st.booleans())
    def set_mixing(self, mixing: bool) -> None:
        """What the mixer holds of a channel that leaves it is dropped."""
        held = self.model.count("held")
        self.ledger.mixing(mixing, self.now)
        if not mixing:
            self.packet_ns = 0
        if mixing != self.mixing:
            for piece in self.model.pieces:
                piece.full_ns = 0
        self.mixing = mixing
        self.wrote_ns = self.wrote_ns if mixing else 0
        self.foreign = self.foreign and mixing
        assert self.follow_drops() == (0 if mixing else held)

    @rule(packet_ms=st.sampled_from([0, 20, 30, 40, 60, 120]))
    def set_packets(self, packet_ms: int) -> None:
        """The longest ones of any listener, while a mixer writes them."""
        if self.mixing:
            self.packet_ns = packet_ms * MS
            self.ledger.watching(False, self.packet_ns, self.now)

    @property
    def mixed_ns(self) -> int:
        return self.results[-1][1] if self.results else 0

    def follow_drops(self) -> int:
        """What the ledger says the mixer dropped, the number of bytes."""
        before = self.model.count("dropped_of_held")
        dropped = self.ledger.state(self.now)["dropped_of_held"] - before
        self.model.drop_held(dropped, self.now)
        return dropped

    @rule(
        interval_ns=st.sampled_from([TICK, TICK, 10 * MS, 40 * MS, 80 * MS]),
        ns=st.sampled_from([0, MIXER_GUARD_NS - 1, MIXER_GUARD_NS, 2 * MS]),
    )
    def mix(self, interval_ns: int, ns: int) -> None:
        """A mixing interval ends, some time after whatever was before it."""
        self.now += ns
        result_ns = self.ledger.state(self.now)["mixer_result_ns"]
        self.ledger.mixed(interval_ns, self.now)
        self.wrote_ns = interval_ns if self.mixing else 0
        if self.ledger.state(self.now)["mixer_result_ns"] != result_ns:
            self.results.append((self.now, self.mixed_ns + interval_ns))
            self.interval_ns = interval_ns
        moved = self.follow(self.now, in_turn=True)
        assert sum(piece.size for piece in moved) * BYTE_NS <= interval_ns
        for piece in moved:
            assert self.delivery_of(piece) + MIXER_GUARD_NS <= self.now

    @rule(
        packet_ms=st.sampled_from([40, 60]),
        into=st.integers(1, FRAME),
        stall_ns=st.integers(0, 3 * TICK),
    )
    def stall_in_mid_packet(self, packet_ms: int, into: int, stall_ns: int) -> None:
        """A mark in what a packet begins with; the mixing intervals that fill it come late."""
        self.set_mixing(True)
        self.set_packets(packet_ms)
        self.receive(FRAME, 0, Drop.OVERFLOW, 0)
        self.mark_at(Outcome.WAITING, into - FRAME, 0)
        while self.model.count("queued"):
            self.deliver(FRAME, False)
            self.now += TICK
            self.mix(TICK, 0)
        for _ in range(packet_ms // 20):
            self.now += TICK + stall_ns
            self.pop(self.now)
            self.mix(TICK, 0)

    @rule(intervals=st.integers(2, 6))
    def mix_in_time(self, intervals: int) -> None:
        """Frames and mixing intervals, turn by turn."""
        for _ in range(intervals):
            self.deliver(FRAME, True)
            self.now += 5 * MS
            self.mix(TICK, 0)
            self.now += 15 * MS

    def starve(self) -> None:
        super().starve()
        silence_ns = self.ledger.wants_silence(self.now)
        if not self.mixing or not self.wanted_and_held():
            assert silence_ns == 0
        if silence_ns:
            assert silence_ns <= 80 * MS
            self.deliver_silence(silence_ns)
            assert self.ledger.wants_silence(NEVER) == 0

    def wanted_and_held(self) -> int:
        return self.model.count("held", before=self.model.wanted)

    @rule(silence_ns=st.sampled_from([TICK, 3 * TICK, 5 * MS]))
    def deliver_silence(self, silence_ns: int) -> None:
        held = self.model.count("held")
        self.ledger.delivered(0, 0, silence_ns, self.now)
        assert self.follow_drops() in {0, held}

    @rule(interval_ns=st.sampled_from([TICK, 10 * MS, 40 * MS, 80 * MS]))
    def wait_for_the_mixer(self, interval_ns: int) -> None:
        """Where no media comes any more nothing that is waited for stays in the mixer."""
        if not self.mixing:
            return
        period_ns = {80 * MS: 1000 * MS // 12}.get(interval_ns, interval_ns)
        self.now += period_ns
        self.mix(interval_ns, 0)
        whole_intervals = self.ledger.state(self.now)["held_frames_ns"] // interval_ns
        end_ns = self.now + (whole_intervals + 3) * max(period_ns, TICK)
        tick_ns, mix_ns = self.now + TICK, self.now + period_ns
        silences = 0
        while min(tick_ns, mix_ns) <= end_ns:
            self.now = min(tick_ns, mix_ns)
            if self.now == tick_ns:
                silences += self.ledger.wants_silence(self.now) > 0
                self.starve()
                tick_ns += TICK
            else:
                self.mix(interval_ns, 0)
                mix_ns += period_ns
        assert silences <= 1
        assert not self.wanted_and_held()

    @rule(held_ns=st.sampled_from([0, 5 * MS, TICK, 2 * TICK]))
    def look_into_the_mixer(self, held_ns: int) -> None:
        """What it no longer has was mixed after the frame came, or dropped before that."""
        self.foreign = self.foreign or self.mixing
        before_ns = self.ledger.state(self.now)["held_frames_ns"]
        self.ledger.mixer_holds(held_ns, self.now)
        self.follow_drops()
        state = self.ledger.state(self.now)
        taken_ns = before_ns - state["held_frames_ns"]
        for piece in self.follow(state["mixer_result_ns"], in_turn=True, taken_ns=taken_ns):
            assert self.delivery_of(piece) <= state["mixer_took_ns"]

    @rule(
        held_ns=st.sampled_from([0, 5 * MS, TICK, 2 * TICK]),
        interval_ns=st.sampled_from([0, 10 * MS, TICK, 80 * MS]),
    )
    def begin_anew(self, held_ns: int, interval_ns: int) -> None:
        """The mixer does, with another sample rate or, if that is given, another interval.

        All but what it is seen to hold is dropped, unless it may have mixed just that.
        """
        before_ns = self.ledger.state(self.now)["held_frames_ns"]
        lost_ns = before_ns - held_ns
        may_be_mixed = not self.wrote_ns and abs(lost_ns - interval_ns) <= MIXER_TOLERANCE_NS
        if interval_ns:
            self.ledger.mixer_writes(interval_ns, held_ns, self.now)
        else:
            self.ledger.mixer_began(held_ns, self.now)
        self.follow_drops()
        state = self.ledger.state(self.now)
        assert state["sent"] == self.model.count("sent")
        is_the_same = interval_ns == (self.wrote_ns or self.interval_ns)
        if not self.mixing or lost_ns <= MIXER_TOLERANCE_NS or is_the_same:
            assert state["held_frames_ns"] == before_ns
        elif not (interval_ns and may_be_mixed):
            assert state["held_frames_ns"] == held_ns

    def delivery_of(self, piece: Piece) -> int:
        """When a piece's frame was given to the mixer."""
        return max(ns for begin, ns in self.delivered_ns.items() if begin <= piece.begin)

    def delivered(self, size: int, frame_ns: int) -> None:
        held = self.model.count("held")
        self.ledger.delivered(size, size * BYTE_NS, frame_ns, self.now)
        assert self.follow_drops() in {0, held}
        pieces = self.model.first(size, "queued")
        for piece in pieces:
            piece.state = "held"
        self.delivered_ns[pieces[0].begin] = self.now
        self.follow(self.now, in_turn=not self.mixing)
        assert self.mixing or not self.model.count("held")

    def follow(self, at_ns: int, *, in_turn: bool = False, taken_ns: int = 0) -> list[Piece]:
        """Send what the ledger says the mixer mixed, the oldest first.

        ``in_turn``: it plays one after the other, not all at once. ``taken_ns``: how long all that
        the mixer took lasts, if that may be more than an interval.
        """
        mixed = self.ledger.state(self.now)["sent"] - self.model.count("sent")
        pieces = self.model.first(mixed, "held")
        assert sum(piece.size for piece in pieces) == mixed
        start_ns = at_ns + SEND_DELAY_NS - TICK // 2
        # The packet may have begun anywhere, with frames of other audio.
        step_ns = gcd(self.packet_ns, min(self.interval_ns, TICK))
        full_ns = self.mixed_ns - max(taken_ns, self.interval_ns)
        full_ns += max(self.packet_ns - step_ns, 0)
        for piece in pieces:
            full_ns += piece.size * BYTE_NS
            piece.full_ns = full_ns if self.mixing else 0
            piece.state, piece.end_ns = "sent", start_ns
            if in_turn:
                start_ns += piece.size * BYTE_NS
                piece.end_ns = start_ns
        return pieces

    def next_due(self) -> tuple[int, list[Mark] | None]:
        """Which of the two queues is next is the ledger's to know."""
        due_ns = self.ledger.state(self.now)["next_due_ns"]
        heads = {
            fields["number"]
            for which in (Queue.MARKS, Queue.EVENTS)
            for fields in self.ledger.pending(which)[:1]
            if fields["due_ns"] == due_ns
        }
        for queue in (self.model.marks, self.model.events):
            if queue and queue[0].number in heads:
                return due_ns, queue
        return due_ns, None

    def check_popped(self, popped: dict[str, int], mark: Mark, is_event: bool) -> None:
        super().check_popped(popped, mark, is_event)
        if popped["outcome"] == Outcome.PLAYED and mark.settled_ns is None:
            self.check_left(popped["due_ns"], mark)

    def check_left(self, due_ns: int, mark: Mark) -> None:
        """The packet with the end of its media has left, or was waited for long enough."""
        full_ns = [
            piece.full_ns
            for piece in self.model.pieces
            if piece.state == "sent" and piece.end <= mark.place
        ]
        if not full_ns or full_ns[-1] <= 0:
            return
        left_ns = [ns for ns, mixed_ns in self.results if mixed_ns >= full_ns[-1]]
        if left_ns:
            assert due_ns >= min(
                left_ns[0] + MIXED_SEND_DELAY_NS, self.model.end_ns(mark) + MIXER_WAIT_NS - TICK
            )
        else:
            assert due_ns >= self.model.end_ns(mark) + MIXER_WAIT_NS - TICK

    def compare_due(self, due_ns: int, mark: Mark) -> None:
        if mark.outcome is Outcome.ORDERED_EVENT and mark.held:
            # Until it is known what was sent, and no longer.
            assert due_ns in (0, NEVER)
            assert due_ns == NEVER or not self.model.count("held", before=mark.place)
            assert due_ns == 0 or self.model.count("held")
            return
        if mark.settled_ns is not None:
            assert due_ns == mark.settled_ns
            return
        # Where frames came in a burst the clock of what was sent before has moved since.
        moved_ns = 0 if mark.reached_ns is None else TICK
        assert due_ns >= self.model.end_ns(mark) - moved_ns
        if not self.foreign and not self.model.count("queued", "held"):
            assert due_ns < NEVER

    def compare_times(self, state: dict[str, int]) -> None:
        assert self.played <= state["played"] <= state["sent"]
        self.played = state["played"]


def test_every_number_is_the_models() -> None:
    run_state_machine_as_test(LedgerMachine, settings=SETTINGS)


def test_in_a_mixer_no_byte_is_missing_and_no_mark_early() -> None:
    run_state_machine_as_test(MixingLedgerMachine, settings=SETTINGS)
