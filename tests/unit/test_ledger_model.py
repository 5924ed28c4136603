"""The compiled ledger beside a naive model of it, compared after every step.

The model keeps the whole stream as a list of pieces, each in one state, and looks all through it
for each answer; the ledger keeps sums and positions only. What the two are told is what the driver
may tell: any order of media, losses, frames, marks, notes, flushes and moments.

As long as nothing mixes, every number has to be equal, times included. What a mixer takes in a
round is the ledger's estimate: there the model follows what moved, and bounds the times from below.

The ledger allocates nothing, so it cannot fail: a failing allocation and the limit of marks are the
business of playback_channel.c, tested inside Asterisk by playback_test.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from ledger import NEVER, Ledger, Loss, Outcome

MS = 1_000_000
TICK = 20 * MS
BYTE_NS = 125_000
FRAME = 160
HANDOVER_NS = 400_000
CLOCK_FRAMES = 5
MIXER_GUARD_NS = 500_000
LOSS_INTERVAL_NS = 100 * MS
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
    """of what was handed over: when its last byte has been played"""

    @property
    def size(self) -> int:
        return self.end - self.begin


@dataclass
class Frame:
    """What was handed over at once."""

    begin: int
    arrival_ns: int
    start_ns: int
    media_ns: int
    frame_ns: int
    sample: bool
    """it says something of the clock"""


@dataclass
class Mark:
    """Or a note."""

    number: int
    offset: int
    place: int
    """where it lies: before half a sample, if that is the newest media"""
    made_ns: int
    outcome: Outcome
    dropped: int = 0
    waits: bool = False
    """something before it had not been handed over when it was made: its time is that of the media
    then, even where a frame came late and that time is past"""
    settled_ns: int | None = None
    """when it was flushed or hung up, or what it was made with"""


class Model:
    """What playback_ledger.h says, done the long way."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.frames: list[Frame] = []
        self.marks: list[Mark] = []
        self.notes: list[Mark] = []
        self.last_mark = 0
        self.untold = 0
        """bytes that a mixer lost behind the last mark"""
        self.wanted = 0
        self.cut = 0
        """the newest bytes that were half a sample when a mark or a note was set"""
        self.underruns = 0
        self.losses: dict[Loss, tuple[int, int]] = {}
        self.next_loss_ns = 0
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

    def receive(self, size: int) -> None:
        self.pieces.append(Piece(self.received, self.received + size))

    def drop(self, size: int, reason: Loss) -> None:
        """The newest bytes."""
        cut = self.received - size
        self.cut_at(cut)
        for piece in self.pieces:
            if piece.begin >= cut:
                piece.state = "dropped"
        self.lose(size, reason, cut)

    def lose(self, size: int, reason: Loss, offset: int) -> None:
        """To be reported."""
        if size:
            first, lost = self.losses.get(reason, (offset, 0))
            self.losses[reason] = first, lost + size

    def throw_away_held(self, size: int, now: int) -> None:
        """The mixer does, with its oldest bytes; what comes after plays no later for that."""
        handed = [piece for piece in self.pieces if piece.state == "handed"]
        end_ns = max(now, handed[-1].end_ns) if handed else now
        for piece in self.first(size, "held"):
            # What was dropped behind it counts as dropped before it: that is not remembered.
            dropped_behind = self.count("dropped", after=piece.end)
            self.lose(piece.size, Loss.BRIDGE, piece.begin + dropped_behind)
            self.tell_marks(piece)
            piece.state, piece.end_ns = "lost", end_ns

    def tell_marks(self, lost: Piece) -> None:
        """Each byte lost is told to the first pending mark behind it, or to the next one."""
        begin = lost.begin
        for mark in self.marks:
            if mark.place > begin and mark.outcome is not Outcome.TURN:
                mark.dropped += min(mark.place, lost.end) - begin
                begin = min(mark.place, lost.end)
        self.untold += lost.end - begin

    def cut_at(self, offset: int) -> None:
        """Have no piece reach over ``offset``."""
        for index, piece in enumerate(self.pieces):
            if piece.begin < offset < piece.end:
                self.pieces.insert(index + 1, Piece(offset, piece.end, piece.state, piece.end_ns))
                piece.end = offset
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

    def hand_over(self, pieces: list[Piece], frame_ns: int, now: int) -> None:
        """To the listener, as one frame."""
        media_ns = sum(piece.size for piece in pieces) * BYTE_NS
        start_ns, sample = self.frame_start(now + HANDOVER_NS)
        begin = sum(frame.frame_ns for frame in self.frames)
        self.frames.append(Frame(begin, now + HANDOVER_NS, start_ns, media_ns, frame_ns, sample))
        at_ns = start_ns
        for piece in pieces:
            at_ns += piece.size * BYTE_NS
            piece.state, piece.end_ns = "handed", at_ns

    def frame_start(self, arrival_ns: int) -> tuple[int, bool]:
        """The listener's clock: its frames follow each other, and start by the latest few's best.

        A frame that leaves half a tick after the end of what was before it begins anew.
        """
        if not self.frames:
            return arrival_ns, True
        last = self.frames[-1]
        end_ns = last.start_ns + last.frame_ns
        if arrival_ns < end_ns and last.frame_ns > TICK:
            return end_ns, False
        if arrival_ns - end_ns >= TICK // 2:
            for frame in self.frames:
                frame.sample = False
        begin = last.begin + last.frame_ns
        samples = [frame for frame in self.frames if frame.sample][-(CLOCK_FRAMES - 1) :]
        starts = [frame.arrival_ns + begin - frame.begin for frame in samples]
        return min([arrival_ns, *starts]), True

    def flush(self, outcome: Outcome, now: int) -> None:
        thrown_away = ["queued", "held"] if outcome is Outcome.HUNGUP else ["queued"]
        for mark in self.marks + self.notes:
            if mark.outcome is Outcome.WAITING and (
                outcome is Outcome.HUNGUP or self.count("queued", before=mark.place)
            ):
                mark.outcome, mark.settled_ns = outcome, now
        for piece in self.pieces:
            if piece.state in thrown_away:
                piece.state = "flushed"
        self.wanted, self.cut = self.received, 0
        self.hung_up = outcome is Outcome.HUNGUP

    def mark(self, number: int, outcome: Outcome, now: int) -> None:
        place = self.received - self.cut
        mark = Mark(number, self.received, place, now, outcome)
        mark.waits = self.count("queued", before=place) + self.count("held") > 0
        if outcome is not Outcome.TURN:
            mark.dropped = self.count("dropped", after=self.last_mark) + self.untold
            self.last_mark, self.untold = self.received, 0
        if outcome is Outcome.WAITING:
            self.wanted = max(self.wanted, place)
        else:
            mark.settled_ns = now
        self.marks.append(mark)

    def due_ns(self, mark: Mark) -> int:
        """When a mark's outcome is reached."""
        if mark.settled_ns is not None:
            return mark.settled_ns
        return self.end_ns(mark) if mark.waits else max(mark.made_ns, self.end_ns(mark))

    def end_ns(self, mark: Mark) -> int:
        """When all before a mark has been played."""
        if self.count("queued", "held", before=mark.place):
            return NEVER
        gone = [p for p in self.pieces if p.state in ("handed", "lost") and p.end <= mark.place]
        return gone[-1].end_ns if gone else 0

    def played(self, now: int) -> int:
        """Bytes; frames but the last one are played as soon as that has left."""
        handed = self.count("handed")
        if not self.frames or self.hung_up:
            return handed
        last = self.frames[-1]
        return handed - (last.media_ns - self.elapsed(now) // BYTE_NS * BYTE_NS) // BYTE_NS

    def elapsed(self, now: int) -> int:
        """Of the last frame's media, in ns."""
        if not self.frames or self.hung_up:
            return 0
        last = self.frames[-1]
        return min(max(now - last.start_ns, 0), last.media_ns)

    def played_ns(self, now: int) -> int:
        handed_ns = self.count("handed") * BYTE_NS
        if not self.frames or self.hung_up:
            return handed_ns
        return handed_ns - self.frames[-1].media_ns + self.elapsed(now)

    def next_due(self) -> tuple[int, list[Mark] | None]:
        """When, and out of which queue: the heads alone count, and marks go first."""
        heads = [(self.due_ns(queue[0]), queue) for queue in (self.marks, self.notes) if queue]
        return min(heads, key=lambda head: head[0], default=(NEVER, None))

    def last_taken(self) -> int | None:
        last = None
        for mark in self.marks:
            if mark.outcome is Outcome.WAITING:
                if self.count("queued", before=mark.place):
                    break
                last = mark.number
        return last


class LedgerMachine(RuleBasedStateMachine):
    """A channel in a bridge of two."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(TICK)
        self.model = Model()
        self.now = START_NS
        self.numbers = iter(range(10**9))
        self.queued_notes: list[tuple[int, int]] = []
        self.whole = 0
        """how far the stream is known to be of whole samples"""

    def teardown(self) -> None:
        """Hang up: each mark has its one answer by then."""
        self.hang_up()
        self.compare()
        self.pop(NEVER - 1)
        self.compare()
        assert not self.model.marks and not self.model.notes
        self.ledger.close()

    def hang_up(self) -> None:
        flushed = self.model.count("queued", "held")
        self.model.flush(Outcome.HUNGUP, self.now)
        assert self.ledger.flush(Outcome.HUNGUP, self.now) == flushed

    # What went before has no time, as much time as that does not fit.
    @initialize(before=st.sampled_from([0, 2**32 - 300, 2**63 - 300]))
    def past(self, before: int) -> None:
        self.model.pieces.append(Piece(0, before, "flushed"))
        self.model.wanted = before
        self.ledger.received(before, 0)
        self.ledger.flush(Outcome.FLUSHED, self.now)

    @rule(
        size=st.sampled_from([1, 80, 160, 200, 480, 1000]) | st.integers(1, 1000),
        lost=st.just(0) | st.integers(0, 1000),
        reason=st.sampled_from([Loss.OVERFLOW, Loss.PARTIAL, Loss.DIRECTION_IN]),
    )
    def receive(self, size: int, lost: int, reason: Loss) -> None:
        """A message of media, the end or all of which may be lost."""
        self.model.receive(size)
        self.ledger.received(size, size * BYTE_NS)
        lost = min(lost, size)
        self.model.drop(lost, reason)
        if lost:
            self.ledger.dropped(lost, lost * BYTE_NS, reason)

    @rule(
        size=st.sampled_from([FRAME, FRAME, FRAME, 480]) | st.integers(1, FRAME),
        padded=st.booleans(),
    )
    def take(self, size: int, padded: bool) -> None:
        """A frame: full, short, padded, or longer than a tick; nothing if there is none."""
        self.release_notes(size)
        size = min(size, self.model.count("queued"))
        if not size:
            self.starve()
            return
        frame_ns = max(size * BYTE_NS, TICK if padded else 0)
        self.taken(size, frame_ns)

    def taken(self, size: int, frame_ns: int) -> None:
        self.model.hand_over(self.model.first(size, "queued"), frame_ns, self.now)
        self.ledger.taken(size, size * BYTE_NS, frame_ns, self.now)

    @rule(ticks=st.integers(2, 12))
    def take_in_time(self, ticks: int) -> None:
        """Full frames, tick by tick."""
        for _ in range(ticks):
            self.take(FRAME, False)
            self.now += TICK

    def starve(self) -> None:
        has_played = self.model.count("handed", "held", "lost") > 0
        if has_played and self.beyond_wanted() > self.model.cut:
            self.model.underruns += 1
        self.ledger.starved()

    def beyond_wanted(self) -> int:
        """Bytes behind what the application said was all, that were not lost."""
        model = self.model
        return model.count("queued", "held", "lost", "handed", "flushed", after=model.wanted)

    @rule(
        outcome=st.sampled_from(
            [Outcome.WAITING, Outcome.WAITING, Outcome.WAITING, Outcome.DIRECTION, Outcome.TURN]
        ),
        cut=st.booleans(),
    )
    def mark(self, outcome: Outcome, cut: bool) -> None:
        number = next(self.numbers)
        self.cut(cut)
        self.model.mark(number, outcome, self.now)
        self.ledger.mark(number, outcome, self.now)

    @rule(cut=st.booleans())
    def queue_note(self, cut: bool) -> None:
        """It travels with the media, and is entered when what is before it is the next frame's."""
        self.cut(cut)
        self.model.wanted = self.model.received - self.model.cut
        self.ledger.note_queued()
        self.queued_notes.append((next(self.numbers), self.model.wanted))

    def cut(self, cut: bool) -> None:
        """The newest byte is half a sample, if it can be: it waits, and was none before."""
        [*_, newest] = [None, *(piece for piece in self.model.pieces if piece.size)]
        can_be = newest and newest.state == "queued" and self.model.received > self.whole
        self.model.cut = int(bool(cut and can_be))
        self.whole = self.model.received - self.model.cut
        self.model.cut_at(self.whole)
        self.ledger.cut(self.model.cut, self.model.cut * BYTE_NS)

    def release_notes(self, ahead: int) -> None:
        while self.queued_notes:
            number, offset = self.queued_notes[0]
            before = self.model.count("queued", before=offset)
            if before > ahead:
                return
            del self.queued_notes[0]
            note = Mark(number, offset, offset, self.now, Outcome.WAITING)
            note.waits = self.model.count("queued", "held", before=offset) > 0
            self.model.notes.append(note)
            self.ledger.note(number, before, self.now)

    @rule()
    def flush(self) -> None:
        queued = self.model.count("queued")
        self.model.flush(Outcome.FLUSHED, self.now)
        self.queued_notes = []
        assert self.ledger.flush(Outcome.FLUSHED, self.now) == queued

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
            self.check_answer(popped, mark, queue is self.model.notes)

    def next_due(self) -> tuple[int, list[Mark] | None]:
        return self.model.next_due()

    def check_answer(self, popped: dict[str, int], mark: Mark, is_note: bool) -> None:
        assert popped["number"] == mark.number
        if mark.outcome is Outcome.WAITING:
            mark.outcome = Outcome.PLAYED
            # Told when it was made, and true now.
            if not is_note:
                assert popped["media_ns"] == BYTE_NS * self.model.count("handed", before=mark.place)
        assert popped["outcome"] == mark.outcome
        if not is_note:
            assert popped["offset"] == mark.offset
            assert popped["dropped"] == mark.dropped

    @rule()
    def pop_loss(self) -> None:
        model = self.model
        loss = self.ledger.pop_loss(self.now)
        if not model.losses or self.now < model.next_loss_ns:
            assert loss is None
            return
        reason = min(model.losses)
        offset, lost = model.losses.pop(reason)
        assert loss == (reason, lost, offset)
        model.next_loss_ns = self.now + LOSS_INTERVAL_NS

    @invariant()
    def compare(self) -> None:
        model, state = self.model, self.ledger.state(self.now)
        assert state["received"] == model.received
        for name in ("flushed", "lost", "held", "handed", "queued"):
            assert state[name] == model.count(name), name
        # For the application what a mixer lost is dropped like anything else.
        assert state["dropped"] == model.count("dropped", "lost")
        assert state["received"] == sum(
            state[name] for name in ("dropped", "flushed", "held", "handed", "queued")
        )
        assert state["received"] == sum(
            state[name] for name in ("dropped", "flushed", "played", "snapshot_queued")
        )
        assert state["marks"] == sum(one.outcome is not Outcome.TURN for one in model.marks)
        assert state["notes"] == len(model.notes)
        assert state["underruns"] == model.underruns
        assert self.ledger.last_taken() == model.last_taken()
        loss_due_ns = model.next_loss_ns if model.losses else NEVER
        assert state["loss_due_ns"] == loss_due_ns
        for partial in {0, min(1, model.count("queued")), min(80, model.count("queued"))}:
            assert self.ledger.wants_partial(partial) == (self.beyond_wanted() < partial)
        self.compare_marks()
        self.compare_times(state)

    def compare_marks(self) -> None:
        for model_queue, notes in ((self.model.marks, False), (self.model.notes, True)):
            pending = self.ledger.pending(notes=notes)
            for fields, mark in zip(pending, model_queue, strict=True):
                assert fields["number"] == mark.number
                assert fields["outcome"] == mark.outcome
                assert notes or fields["dropped"] == mark.dropped
                self.compare_due(fields["due_ns"], mark)

    def compare_due(self, due_ns: int, mark: Mark) -> None:
        assert due_ns == self.model.due_ns(mark)

    def compare_times(self, state: dict[str, int]) -> None:
        model = self.model
        assert state["next_due_ns"] == model.next_due()[0]
        assert state["played"] == model.played(self.now)
        assert state["played_ns"] == model.played_ns(self.now)
        queued = model.count("queued", "held", "handed")
        assert state["snapshot_queued_ns"] == queued * BYTE_NS - state["played_ns"]


class MixingLedgerMachine(LedgerMachine):
    """A channel that goes in and out of bridges that mix."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = False
        self.taken_ns: dict[int, int] = {}
        """when the byte was given to the mixer, by the offset of a frame's first one"""
        self.played = 0
        self.foreign = False
        """the mixer may hold other audio in front of ours"""

    @rule(mixing=st.booleans())
    def set_mixing(self, mixing: bool) -> None:
        """What the mixer holds of a channel that leaves it is lost."""
        held = self.model.count("held")
        self.ledger.mixing(mixing, self.now)
        self.mixing = mixing
        self.foreign = self.foreign and mixing
        assert self.throw_away() == (0 if mixing else held)

    def throw_away(self) -> int:
        """What the ledger says the mixer did, the number of bytes."""
        lost = self.ledger.state(self.now)["lost"] - self.model.count("lost")
        self.model.throw_away_held(lost, self.now)
        return lost

    @rule(
        interval_ns=st.sampled_from([TICK, TICK, 10 * MS, 40 * MS, 80 * MS]),
        ns=st.sampled_from([0, MIXER_GUARD_NS - 1, MIXER_GUARD_NS, 2 * MS]),
    )
    def mix(self, interval_ns: int, ns: int) -> None:
        """A round, some time after whatever was before it."""
        self.now += ns
        self.ledger.mixed(interval_ns, self.now)
        moved = self.follow(self.now, in_turn=True)
        assert sum(piece.size for piece in moved) * BYTE_NS <= interval_ns
        for piece in moved:
            assert self.taken_of(piece) + MIXER_GUARD_NS <= self.now

    @rule(rounds=st.integers(2, 6))
    def mix_in_time(self, rounds: int) -> None:
        """Frames and rounds, turn by turn."""
        for _ in range(rounds):
            self.take(FRAME, True)
            self.now += 5 * MS
            self.mix(TICK, 0)
            self.now += 15 * MS

    @rule(held_ns=st.sampled_from([0, 5 * MS, TICK, 2 * TICK]))
    def look_into_the_mixer(self, held_ns: int) -> None:
        """What it no longer has a round took that came after the frame, or it threw it away."""
        self.foreign = self.foreign or self.mixing
        self.ledger.mixer_holds(held_ns, self.now)
        if self.throw_away():
            assert self.ledger.state(self.now)["handed"] == self.model.count("handed")
        state = self.ledger.state(self.now)
        for piece in self.follow(state["mixer_heard_ns"], in_turn=True):
            assert self.taken_of(piece) <= state["mixer_round_ns"]

    def taken_of(self, piece: Piece) -> int:
        """When a piece's frame was given to the mixer."""
        return max(ns for begin, ns in self.taken_ns.items() if begin <= piece.begin)

    def taken(self, size: int, frame_ns: int) -> None:
        held = self.model.count("held")
        self.ledger.taken(size, size * BYTE_NS, frame_ns, self.now)
        assert self.throw_away() in {0, held}
        pieces = self.model.first(size, "queued")
        for piece in pieces:
            piece.state = "held"
        self.taken_ns[pieces[0].begin] = self.now
        self.follow(self.now, in_turn=not self.mixing)
        assert self.mixing or not self.model.count("held")

    def follow(self, at_ns: int, *, in_turn: bool = False) -> list[Piece]:
        """Hand over what the ledger says the mixer gave, the oldest first.

        ``in_turn``: what is given plays one after the other, not all at once.
        """
        given = self.ledger.state(self.now)["handed"] - self.model.count("handed")
        pieces = self.model.first(given, "held")
        assert sum(piece.size for piece in pieces) == given
        start_ns = at_ns + HANDOVER_NS - TICK // 2
        for piece in pieces:
            piece.state, piece.end_ns = "handed", start_ns
            if in_turn:
                start_ns += piece.size * BYTE_NS
                piece.end_ns = start_ns
        return pieces

    def next_due(self) -> tuple[int, list[Mark] | None]:
        """Which of the two queues is next is the ledger's to know."""
        due_ns = self.ledger.state(self.now)["next_due_ns"]
        heads = {
            fields["number"]
            for notes in (False, True)
            for fields in self.ledger.pending(notes=notes)[:1]
            if fields["due_ns"] == due_ns
        }
        for queue in (self.model.marks, self.model.notes):
            if queue and queue[0].number in heads:
                return due_ns, queue
        return due_ns, None

    def compare_due(self, due_ns: int, mark: Mark) -> None:
        if mark.settled_ns is not None:
            assert due_ns == mark.settled_ns
            return
        assert due_ns >= self.model.end_ns(mark)
        if not self.foreign and not self.model.count("queued", "held"):
            assert due_ns < NEVER

    def compare_times(self, state: dict[str, int]) -> None:
        assert self.played <= state["played"] <= state["handed"]
        self.played = state["played"]


def test_every_number_is_the_models() -> None:
    run_state_machine_as_test(LedgerMachine, settings=SETTINGS)


def test_in_a_mixer_no_byte_is_lost_and_no_mark_early() -> None:
    run_state_machine_as_test(MixingLedgerMachine, settings=SETTINGS)
