"""A call's messages, read once: what the application sent and asked for, what Asterisk replied.

The one place that gives commands and events their meaning over time. All who judge or draw a call
take it from here. Pure.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from chan_websocket.protocol import (
    MAX_MESSAGE_BYTES,
    Command,
    Event,
    Id,
    MarkCommand,
    parse_command,
    parse_event,
)
from harness.capture.timeline import Message, Sender
from harness.judge.verdicts import MarkOutcome

READ_NS = 100_000_000
"""So long after a command was sent Asterisk has read it, if the host did not stall"""


@dataclass(frozen=True)
class SentCommand:
    """A command, when the application sent it."""

    time_ns: int
    command: Command


@dataclass(frozen=True)
class SentEvent:
    """An event, when Asterisk sent it."""

    time_ns: int
    rank: int
    """counts the events of the call"""
    event: Event


@dataclass(frozen=True)
class Acknowledgement(SentEvent):
    """The event by which Asterisk says what became of a mark."""

    id: Id
    command: MarkCommand
    outcome: MarkOutcome
    reason: str
    """of MARK_DISCARDED"""

    @property
    def is_detailed(self) -> bool:
        """Whether it has more than the id: only a MARK's in JSON has."""
        return self.command == "MARK" and self.event.is_json

    @property
    def says_sent(self) -> bool:
        """Whether Asterisk says that it followed the mark's media until it was sent."""
        return self.is_detailed and self.event.fields.get("stage") == "sent"

    @property
    def offset(self) -> int | None:
        """Where Asterisk says that the mark stands."""
        return self.event.count("offset") if self.is_detailed else None

    @property
    def dropped(self) -> int:
        """How many bytes Asterisk says were dropped before it; 0 where it does not say."""
        return (self.event.count("dropped") or 0) if self.is_detailed else 0

    @property
    def at_ns(self) -> int | None:
        """When Asterisk says that the mark was reached, by the clock of its host."""
        at_ms = self.event.decimal("at") if self.is_detailed else None
        return None if at_ms is None else round(at_ms * 1_000_000)


@dataclass
class Mark:
    """A mark that the application set."""

    number: int
    """counts the marks of the call"""
    id: Id
    command: MarkCommand
    offset: int
    """bytes of media sent before it, or up to where it was set by position"""
    by_position: bool
    """whether its MARK says where it stands"""
    flushed_to: int
    """offset of the latest flush before it: of the bytes before that, some may have gone with it"""
    sent_ns: int
    direction_in: bool
    """whether the application's media direction was ``in``"""
    reachable_ns: int = 0
    """when the command and the media before the mark had been sent: it is not due before"""
    piece_begin: int = 0
    """offset of the MARK before it that Asterisk kept, or of the flush between the two"""
    acks: list[Acknowledgement] = field(default_factory=list)

    @property
    def ack(self) -> Acknowledgement | None:
        """The first one."""
        return self.acks[0] if self.acks else None

    @property
    def is_refused(self) -> bool:
        """Whether Asterisk said that it had no room for it."""
        return bool(self.acks) and self.acks[0].reason == "limit"


@dataclass
class Flush:
    """A FLUSH_MEDIA."""

    time_ns: int
    id: Id | None
    """None for one that is not acknowledged"""
    begin: int
    """bytes sent before the flush before it"""
    end: int
    """bytes sent before it"""
    marks: int
    """marks set before it"""
    replies: list[SentEvent] = field(default_factory=list)
    """MEDIA_FLUSHED with its id"""


@dataclass
class Request:
    """A REPORT_PLAYBACK that asks for one PLAYBACK."""

    time_ns: int
    periodic: bool
    """whether they come periodically, too, so that nobody can tell which is the reply"""
    reply: SentEvent | None = None


@dataclass(frozen=True)
class Report:
    """A PLAYBACK event."""

    sent: SentEvent
    received: int
    """bytes that the application had sent before it came"""

    @property
    def is_final(self) -> bool:
        """Whether it is the one at hang-up."""
        return self.sent.event.flag("final")


@dataclass(frozen=True)
class Drop:
    """A MEDIA_DROPPED event."""

    sent: SentEvent
    received: int
    """bytes that the application had sent before it came"""

    @property
    def offset(self) -> int:
        """Of the first byte dropped."""
        return self.sent.event.count("offset") or 0

    @property
    def bytes(self) -> int:
        """How many were dropped."""
        return self.sent.event.count("bytes") or 0

    @property
    def reason(self) -> str:
        """Why."""
        return str(self.sent.event.fields.get("reason", ""))

    @property
    def by_bridge(self) -> bool:
        """Whether a bridge dropped them."""
        return self.reason == "bridge"


@dataclass
class Suspension:
    """Media waits for a listener, as Asterisk says it."""

    sent: SentEvent
    """PLAYBACK_SUSPENDED"""
    resumed: SentEvent | None = None
    """PLAYBACK_RESUMED; None: it stayed so"""


class Conversation:
    """What was said in a call, up to the moment one side closed the connection."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.commands: list[SentCommand] = []
        self.events: list[SentEvent] = []
        self.marks: list[Mark] = []
        self.flushes: list[Flush] = []
        self.requests: list[Request] = []
        self.reports: list[Report] = []
        self.drops: list[Drop] = []
        self.unasked_acks: list[Acknowledgement] = []
        self.unasked: list[tuple[SentEvent, str]] = []
        """events that nothing had asked for, each with why"""
        self.notes: list[str] = []
        """what cannot be judged"""
        self.media_ends: list[int] = []
        """offset behind each message of media, and"""
        self.media_times: list[int] = []
        """when it was sent"""
        self.borders: list[int] = []
        """offsets at which the driver fills no frame with what comes behind: behind each message
        outside buffering, and where buffering was ended"""
        self.continues: list[int] = []
        """times of CONTINUE_MEDIA, of flushes that ended a pause, and of PLAYBACK_RESUMED"""
        self.closings: list[int] = []
        """times of the commands after which a partial frame waits for no more bytes"""
        self.pauses: list[tuple[int, int | None]] = []
        """from when to when media was paused; None: it stayed so"""
        self.suspensions: list[Suspension] = []
        self.deafness: list[tuple[int, int | None]] = []
        """from when to when the application's media direction was ``in``; None: it stayed so"""
        self.direction_in = False
        """whether the application's media direction is ``in``, at the end"""
        self.going_ns = 0
        """when the application last sent something that makes media go on"""
        self.playback_marks = 0
        """the version of the playback acknowledgements that Asterisk announced; 0 for none"""
        self.opted_in_from: int | None = None
        """bytes sent before the first command that makes Asterisk send its playback events; None:
        there was none"""
        self.closed_ns = 0
        """when one side closed the connection: nothing is owed any more. 0 if none did"""
        self.closed_by: Sender | None = None
        """who did so first"""
        self._chunks: list[bytes] = []
        self._buffering = False
        self._periodic = False
        self._pending: dict[tuple[MarkCommand, Id], list[Mark]] = defaultdict(list)
        self._acknowledged: dict[tuple[MarkCommand, Id], Mark] = {}
        self._flushes_of: dict[Id, list[Flush]] = defaultdict(list)
        for message in messages:
            if message.kind == "close":
                self.closed_ns, self.closed_by = message.time_ns, message.sender
                break
            if message.kind == "binary" and message.sender == "application":
                self._read_media(message)
            elif message.kind == "text" and message.sender == "application":
                self._read_command(SentCommand(message.time_ns, parse_command(message.text)))
            elif message.kind == "text":
                event = parse_event(message.text)
                self._read_event(SentEvent(message.time_ns, len(self.events), event))
        self.stream = b"".join(self._chunks)
        """all media that the application sent"""
        self._place_marks()

    @property
    def sent(self) -> int:
        """Bytes of media sent, so far or in all."""
        return self.media_ends[-1] if self.media_ends else 0

    @property
    def opted_in(self) -> bool:
        """Whether a command came that makes Asterisk send its playback events."""
        return self.opted_in_from is not None

    @property
    def paused(self) -> bool:
        """Whether media is paused, at the end."""
        return bool(self.pauses) and self.pauses[-1][1] is None

    @property
    def suspended(self) -> bool:
        """Whether media waits for a listener, at the end, as Asterisk said it."""
        return bool(self.suspensions) and self.suspensions[-1].resumed is None

    def closed_by_ns(self, sender: Sender) -> int:
        """When this side closed the connection; 0 if it did not, or not first."""
        return self.closed_ns if self.closed_by == sender else 0

    def sent_ns(self, end: int) -> int | None:
        """When the last of the first ``end`` bytes was sent; None if it was not."""
        index = bisect_left(self.media_ends, end)
        return self.media_times[index] if end > 0 and index < len(self.media_times) else None

    def sent_until(self, time_ns: int) -> int:
        """How many bytes had been sent by then."""
        index = bisect_right(self.media_times, time_ns)
        return self.media_ends[index - 1] if index else 0

    def flush_of(self, mark: Mark) -> Flush | None:
        """The first flush that could throw the mark's media away.

        A mark by position may have been set behind that. One that was set ahead is not concerned by
        flushes that came before its media.
        """
        for flush in self.flushes:
            if flush.end >= mark.offset and (mark.by_position or flush.marks > mark.number):
                return flush
        return None

    def frame_end(self, begin: int, length: int) -> int:
        """Where a frame ends that begins there, or goes on, and has room for ``length`` bytes."""
        index = bisect_right(self.borders, begin)
        border = self.borders[index] if index < len(self.borders) else begin + length
        return min(begin + length, border)

    def count_events(self) -> Counter[str]:
        """How often each event came."""
        return Counter(one.event.name for one in self.events)

    # ---- the application -------------------------------------------------------------------------

    def _read_media(self, message: Message) -> None:
        if len(message.data) > MAX_MESSAGE_BYTES:
            return
        self._chunks.append(message.data)
        self.media_ends.append(self.sent + len(message.data))
        self.media_times.append(message.time_ns)
        self.going_ns = message.time_ns
        if not self._buffering:
            self.borders.append(self.sent)

    def _read_command(self, sent: SentCommand) -> None:
        self.commands.append(sent)
        if self.opted_in_from is None and sent.command.opts_in:
            self.opted_in_from = self.sent
        read = _COMMANDS.get(sent.command.name)
        if read:
            read(self, sent)

    def _mark(self, sent: SentCommand) -> None:
        if sent.command.id is None or not sent.command.sets_mark:
            self.notes.append(f"malformed MARK, not judged: {sent.command.raw!r}")
        else:
            self._add_mark(sent, "MARK", sent.command.id)

    def _mark_media(self, sent: SentCommand) -> None:
        self._add_mark(sent, "MARK_MEDIA", sent.command.correlation_id)

    def _add_mark(self, sent: SentCommand, command: MarkCommand, mark_id: Id) -> None:
        flushed_to = self.flushes[-1].end if self.flushes else 0
        # What MARK_MEDIA makes of the direction is upstream's affair.
        direction_in = self.direction_in and command == "MARK"
        by_position = sent.command.has_offset
        offset = sent.command.offset if by_position else self.sent
        mark = Mark(
            *(len(self.marks), mark_id, command, offset or 0, by_position),
            *(flushed_to, sent.time_ns, direction_in),
        )
        self.marks.append(mark)
        self._pending[command, mark_id].append(mark)
        self.closings.append(sent.time_ns)

    def _place_marks(self) -> None:
        """What is known of marks when all is known: those by position may stand anywhere."""
        for mark in self.marks:
            mark.reachable_ns = mark.sent_ns
            if mark.by_position:
                mark.reachable_ns = max(mark.sent_ns, self.sent_ns(mark.offset) or 0)
                flushed = [flush.end for flush in self.flushes if flush.end < mark.offset]
                mark.flushed_to = max(flushed, default=0)
        placed: list[Mark] = []
        for mark in sorted(self.marks, key=lambda mark: (mark.offset, mark.number)):
            # One before it that was set when it had been acknowledged is acknowledged behind it.
            known = (one.offset for one in reversed(placed) if _is_acked_before(one, mark))
            mark.piece_begin = max(next(known, 0), mark.flushed_to)
            if mark.command == "MARK" and not mark.is_refused:
                placed.append(mark)

    def _flush(self, sent: SentCommand) -> None:
        if self.playback_marks and sent.command.opts_in and sent.command.id is None:
            return  # an id that the patched driver does not take: an ERROR, and nothing is flushed
        begin = self.flushes[-1].end if self.flushes else 0
        flush = Flush(sent.time_ns, sent.command.id, begin, self.sent, len(self.marks))
        self.flushes.append(flush)
        if flush.id is not None:
            self._flushes_of[flush.id].append(flush)
        self._buffering = False
        self.borders.append(self.sent)
        if self.opted_in and self.paused:
            self._continue(sent)  # as Asterisk's manual says; its own driver stays paused

    def _report_playback(self, sent: SentCommand) -> None:
        if "interval_ms" in sent.command.fields:
            self._periodic |= sent.command.fields["interval_ms"] not in (0, "0")
        else:
            self.requests.append(Request(sent.time_ns, self._periodic))

    def _pause(self, sent: SentCommand) -> None:
        self.going_ns = sent.time_ns
        if not self.paused:
            self.pauses.append((sent.time_ns, None))

    def _continue(self, sent: SentCommand) -> None:
        self.going_ns = sent.time_ns
        self.continues.append(sent.time_ns)
        if self.paused:
            self.pauses[-1] = (self.pauses[-1][0], sent.time_ns)

    def _set_direction(self, sent: SentCommand) -> None:
        self.going_ns = sent.time_ns
        if sent.command.direction is None:
            return
        was_in, self.direction_in = self.direction_in, sent.command.direction == "in"
        if self.direction_in and not was_in:
            self.deafness.append((sent.time_ns, None))
        elif was_in and not self.direction_in:
            self.deafness[-1] = (self.deafness[-1][0], sent.time_ns)

    def _start_buffering(self, _: SentCommand) -> None:
        self._buffering = True

    def _stop_buffering(self, sent: SentCommand) -> None:
        self._buffering = False
        self.borders.append(self.sent)
        self.closings.append(sent.time_ns)

    # ---- Asterisk --------------------------------------------------------------------------------

    def _read_event(self, sent: SentEvent) -> None:
        self.events.append(sent)
        if not self.opted_in and _needs_opt_in(sent.event):
            self.unasked.append((sent, "the application had not opted in"))
        read = _EVENTS.get(sent.event.name)
        if read:
            read(self, sent)

    def _media_start(self, sent: SentEvent) -> None:
        self.playback_marks = sent.event.playback_marks

    def _mark_played(self, sent: SentEvent) -> None:
        self._acknowledge(sent, sent.event.id, "MARK", "played")

    def _mark_discarded(self, sent: SentEvent) -> None:
        reason = str(sent.event.fields.get("reason", ""))
        self._acknowledge(sent, sent.event.id, "MARK", "discarded", reason)

    def _mark_processed(self, sent: SentEvent) -> None:
        self._acknowledge(sent, sent.event.correlation_id, "MARK_MEDIA", "played")

    def _acknowledge(
        self, sent: SentEvent, id_: Id, command: MarkCommand, outcome: MarkOutcome, reason: str = ""
    ) -> None:
        """To the mark with this id that has none yet, else to the latest that has one.

        Of several it is the first in the stream, or that at the offset which is acknowledged.
        """
        ack = Acknowledgement(sent.time_ns, sent.rank, sent.event, id_, command, outcome, reason)
        key = (command, id_)
        if pending := self._pending[key]:
            first = min(pending, key=lambda one: (one.offset != ack.offset, one.offset, one.number))
            pending.remove(first)
            self._acknowledged[key] = first
        if key in self._acknowledged:
            self._acknowledged[key].acks.append(ack)
        else:
            self.unasked_acks.append(ack)

    def _media_flushed(self, sent: SentEvent) -> None:
        """To the oldest flush with this id that has none yet, else to the latest of them."""
        flushes = self._flushes_of[sent.event.id]
        if flushes:
            next((one for one in flushes if not one.replies), flushes[-1]).replies.append(sent)
        else:
            self.unasked.append((sent, "nothing was flushed with its id"))

    def _playback(self, sent: SentEvent) -> None:
        report = Report(sent, self.sent)
        if not self.opted_in and not report.is_final:
            return
        self.reports.append(report)
        waiting = next((one for one in self.requests if one.reply is None), None)
        if waiting and not report.is_final:
            waiting.reply = sent

    def _suspended(self, sent: SentEvent) -> None:
        if self.suspended:
            self.unasked.append((sent, "media waited already"))
        else:
            self.suspensions.append(Suspension(sent))

    def _resumed(self, sent: SentEvent) -> None:
        self.going_ns = sent.time_ns
        self.continues.append(sent.time_ns)
        if self.suspended:
            self.suspensions[-1].resumed = sent
        elif self.opted_in:
            self.unasked.append((sent, "media did not wait"))

    def _media_dropped(self, sent: SentEvent) -> None:
        self.drops.append(Drop(sent, self.sent))


_COMMANDS: dict[str, Callable[[Conversation, SentCommand], None]] = {
    "MARK": Conversation._mark,
    "MARK_MEDIA": Conversation._mark_media,
    "FLUSH_MEDIA": Conversation._flush,
    "REPORT_PLAYBACK": Conversation._report_playback,
    "PAUSE_MEDIA": Conversation._pause,
    "CONTINUE_MEDIA": Conversation._continue,
    "SET_MEDIA_DIRECTION": Conversation._set_direction,
    "START_MEDIA_BUFFERING": Conversation._start_buffering,
    "STOP_MEDIA_BUFFERING": Conversation._stop_buffering,
}
_EVENTS: dict[str, Callable[[Conversation, SentEvent], None]] = {
    "MEDIA_START": Conversation._media_start,
    "MARK_PLAYED": Conversation._mark_played,
    "MARK_DISCARDED": Conversation._mark_discarded,
    "MEDIA_MARK_PROCESSED": Conversation._mark_processed,
    "MEDIA_FLUSHED": Conversation._media_flushed,
    "PLAYBACK": Conversation._playback,
    "MEDIA_DROPPED": Conversation._media_dropped,
    "PLAYBACK_SUSPENDED": Conversation._suspended,
    "PLAYBACK_RESUMED": Conversation._resumed,
}


def _needs_opt_in(event: Event) -> bool:
    """Whether a channel gets such an event only after it has opted in.

    Asterisk has an ERROR of its own; only ours names the command. The last PLAYBACK is judged by
    itself, and what acknowledges marks and flushes with these.
    """
    if event.name == "PLAYBACK":
        return not event.flag("final")
    return event.name in ("MEDIA_DROPPED", "PLAYBACK_SUSPENDED", "PLAYBACK_RESUMED") or (
        event.name == "ERROR" and "command" in event.fields
    )


# ---- media that was dropped ----------------------------------------------------------------------


@dataclass
class _Dropped:
    """What a MEDIA_DROPPED reports."""

    begin: int
    """no byte before this offset is meant"""
    end: int
    """nor one from here on: it had not been sent yet"""
    left: int
    """bytes of it that nothing has been held against so far"""
    rank: int
    """of the event"""


class DroppedMedia:
    """What the MEDIA_DROPPED events of a call report.

    An event adds up what was dropped since the one before it. So it may come after the mark that
    its bytes were before, and says only where the first of them was; the others were behind that,
    and before what had been sent when it came. Which bytes a bridge dropped Asterisk cannot know
    for sure: only how many.
    """

    def __init__(self, drops: Sequence[Drop]) -> None:
        self.total = sum(drop.bytes for drop in drops)
        """bytes of all of them"""
        self._by_bridge = [drop.bytes for drop in drops if drop.by_bridge]
        self._dropped = [
            _Dropped(
                0 if drop.by_bridge else drop.offset, drop.received, drop.bytes, drop.sent.rank
            )
            for drop in drops
        ]

    def within(self, begin: int, end: int) -> int:
        """How many of the bytes from ``begin`` to ``end`` were reported, at most."""
        return sum(one.left for one in self._between(begin, end))

    def use_up(self, begin: int, end: int, wanted: int, before: int | None = None) -> int:
        """Take up to ``wanted`` bytes of what is `within`; how many these were.

        No drop excuses more than itself: what has been taken is not there the next time. Only what
        was told ``before`` the event of that rank counts, where one is given.
        """
        taken = 0
        for one in self._between(begin, end):
            if before is not None and one.rank >= before:
                continue
            part = min(one.left, wanted - taken)
            one.left -= part
            taken += part
        return taken

    def hidden(self, frame: int) -> int:
        """How many bytes at most may have been played although they were reported as dropped.

        When a bridge ceases to mix, Asterisk cannot always see whether its last mixing interval
        still took a frame. It must not say then that it was played: it counts it as dropped with
        the reason ``bridge``. That is at most a ``frame`` each time, and never the other way round.
        """
        return sum(min(frame, count) for count in self._by_bridge)

    def _between(self, begin: int, end: int) -> list[_Dropped]:
        return [one for one in self._dropped if one.begin < end and one.end > begin]


def _is_acked_before(mark: Mark, other: Mark) -> bool:
    return mark.ack is None or other.ack is None or mark.ack.rank < other.ack.rank
