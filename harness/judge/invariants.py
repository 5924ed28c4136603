"""What holds in every call, whatever was done to it: for calls that are disturbed at random.

All that is needed is the application's own record of a connection. So nothing is said of when audio
left, as the judge of marks does it, but much of calls that cannot be judged there: calls that are
moved from bridge to bridge, masqueraded, hung up at any moment, broken off by the application.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from chan_websocket.protocol import (
    PATCHED_EVENTS,
    STOCK_EVENTS,
    SUSPENSION_REASONS,
    Command,
    Event,
    Id,
    parse_command,
    parse_event,
)
from harness.capture.timeline import Message

ACKS = ("MARK_PLAYED", "MARK_DISCARDED")
COUNTERS = ("received", "played", "queued", "flushed", "dropped")
_RESET_NS = 1_000_000_000
"""An application that sent something so shortly before may have been met by a TCP reset."""
_BURST_MS = 250.0
"""A channel that was not served for so long gets the frames of that time at once, and the media
clock follows the earliest frames. Besides, the last frame counts as played at hang-up."""
_ANSWERED_BY = {
    "STOP_MEDIA_BUFFERING": "MEDIA_BUFFERING_COMPLETED",
    "MARK_MEDIA": "MEDIA_MARK_PROCESSED",
}


def broken_invariants(
    messages: Sequence[Message], *, passthrough: bool = False, stopped_reading: bool = False
) -> list[str]:
    """What is wrong with a connection that has ended, a sentence each; empty if nothing is.

    ``messages`` are all of both directions in the order in which the application sent or received
    them, its close and Asterisk's among them (a connection that broke has an empty close). Where
    the application once ``stopped_reading`` Asterisk may have given it up, and then owes it
    nothing. Nor does it to one that was sending when Asterisk closed: that ends with a TCP reset,
    which may take along what was on its way. The id of a mark by position must be its own.
    """
    connection = _Connection(passthrough)
    for message in messages:
        connection.add(message)
    connection.end(stopped_reading)
    return connection.faults


@dataclass
class _Pending:
    """A MARK or a FLUSH_MEDIA that has not been answered yet."""

    command: Command
    number: int
    """counts these commands"""
    sent: int
    """bytes of media sent before it"""

    @cached_property
    def offset(self) -> int:
        """Where it stands."""
        return self.sent if self.command.offset is None else self.command.offset

    def __str__(self) -> str:
        return f"{self.command.name} {self.command.id!r} at {self.offset}"


class _Connection:
    """The state of one connection, told message after message."""

    def __init__(self, passthrough: bool) -> None:
        self._passthrough = passthrough
        self.faults: list[str] = []
        self._pending: dict[int, _Pending] = {}
        """by their numbers, in their order: thousands may be pending"""
        self._numbers_of: defaultdict[_Asked, dict[int, None]] = defaultdict(dict)
        """the pending ones that have an id, in their order"""
        self._asked = 0
        """the number of commands that have been in it"""
        self._read = -1
        """the latest of them that was answered: Asterisk had read all up to it by then"""
        self._refused: defaultdict[_Asked, list[_Pending]] = defaultdict(list)
        """those an answer was taken for that may be another one's with the same id"""
        self._correlated: list[tuple[str, Id]] = []
        """events that the stock driver's commands are answered by, unless they are flushed"""
        self._start: Event | None = None
        self._last_sent_ns = 0
        self._sent_bytes = 0
        self._first_media_ns: int | None = None
        self._opted_in = False
        self._opted_in_for_sure = False
        self._single_reports = 0
        self._periodic_reports = False
        self._played_up_to = 0
        """the offset of the latest mark that was played"""
        self._dropped = self._flushed = 0
        """bytes that MEDIA_DROPPED and MEDIA_FLUSHED told of"""
        self._last: Event | None = None
        """the latest event with playback counters"""
        self._final: Event | None = None
        self._suspended: Event | None = None
        """the latest PLAYBACK_SUSPENDED, while media waits"""
        self._not_waiting: list[str] = []
        """what contradicts that media waits"""
        self._close: Message | None = None

    def add(self, message: Message) -> None:
        if message.kind == "close":
            self._close = self._close or message
        elif message.sender == "application":
            self._application_sent(message)
        elif message.kind == "text":
            self._asterisk_sent(parse_event(message.text), message.time_ns)

    def end(self, stopped_reading: bool) -> None:
        if not stopped_reading:
            # Who does not read is told the latest of it only.
            self.faults += self._not_waiting
        if self._close is None:
            self._fault("the connection was never closed")
        elif self._close.sender == "asterisk":
            if self._close.data:
                self._asterisk_hung_up()
            elif not stopped_reading and self._close.time_ns - self._last_sent_ns > _RESET_NS:
                self._fault("Asterisk broke the connection off without closing it")

    # --- The application ---

    def _application_sent(self, message: Message) -> None:
        self._last_sent_ns = message.time_ns
        if message.kind == "binary":
            if self._first_media_ns is None:
                self._first_media_ns = message.time_ns
            self._sent_bytes += len(message.data)
            return
        if message.kind != "text":
            return
        command = parse_command(message.text)
        self._opted_in |= command.opts_in
        flushes = command.name == "FLUSH_MEDIA" and command.id is not None
        if command.sets_mark or flushes:
            self._pending[self._asked] = _Pending(command, self._asked, self._sent_bytes)
            self._numbers_of[_asked(command.name == "MARK", command.id)][self._asked] = None
            self._asked += 1
        elif command.name in _ANSWERED_BY:
            self._correlated.append((_ANSWERED_BY[command.name], command.correlation_id))
        elif command.name == "REPORT_PLAYBACK":
            if "interval_ms" in command.fields:
                self._periodic_reports |= command.fields["interval_ms"] not in (0, "0")
            else:
                self._single_reports += 1

    # --- Asterisk ---

    def _asterisk_sent(self, event: Event, time_ns: int) -> None:
        if self._start is None:
            if event.name != "MEDIA_START":
                self._fault(f"the first event is not MEDIA_START: {event}")
            self._start = event
            return
        if event.name not in PATCHED_EVENTS | STOCK_EVENTS:
            self._fault(f"unknown event: {event}")
        if self._final is not None:
            self._fault(f"after the final report came {event}")
        if event.is_json and event.fields.get("channel_id") != self._start.fields["channel_id"]:
            self._fault(f"the channel id is another one: {event}")
        if event.name in PATCHED_EVENTS or (event.name == "ERROR" and "command" in event.fields):
            self._opted_in_for_sure = True
            if not self._opted_in:
                self._fault(f"the application has not opted in, and got {event}")
        if event.name in (*ACKS, "MEDIA_FLUSHED"):
            self._answered(event, time_ns)
        elif event.name in _ANSWERED_BY.values():
            self._answered_as_in_stock(event)
        elif event.name == "MEDIA_DROPPED":
            self._dropped += event.count("bytes") or 0
        elif event.name == "PLAYBACK":
            self._reported(event, time_ns)
        elif event.name in ("PLAYBACK_SUSPENDED", "PLAYBACK_RESUMED"):
            self._waits(event, time_ns)
        if event is not self._suspended:
            self._moves_not(event)

    def _answered(self, event: Event, time_ns: int) -> None:
        # A mark that cannot be kept is answered at once; all others wait for their turn.
        refused = event.fields.get("reason") == "limit"
        answered = self._refused_by(event) if refused else self._in_turn(event)
        if answered is None:
            self._fault(f"nothing is pending that this answers: {event}")
            return
        overtaken = None if refused else self._overtaken_by(answered)
        if overtaken is not None:
            self._fault(f"{overtaken} was to be answered before this: {event}")
        del self._pending[answered.number]
        del self._with_id_of(event)[answered.number]
        offset = event.count("offset")
        if refused and offset is None:
            self._refused[_asked(True, event.id)].append(answered)
        if offset is not None and offset != answered.offset:
            self._fault(f"the offset is {answered.offset}: {event}")
        if event.name == "MARK_PLAYED":
            self._played_up_to = max(self._played_up_to, answered.offset)
            self._not_early(event, time_ns)
        elif event.name == "MEDIA_FLUSHED":
            self._flushed += event.count("flushed") or 0

    def _with_id_of(self, event: Event) -> dict[int, None]:
        """The numbers of those that are pending and that it may answer, in their order."""
        return self._numbers_of[_asked(event.name in ACKS, event.id)]

    def _in_turn(self, event: Event) -> _Pending | None:
        return next((self._pending[number] for number in self._with_id_of(event)), None)

    def _refused_by(self, event: Event) -> _Pending | None:
        """Of several with its id it is the one whose offset it says, or the latest."""
        matching = [self._pending[number] for number in reversed(self._with_id_of(event))]
        said = event.count("offset")
        at_offset = [one for one in matching if one.offset == said]
        return next(iter(at_offset + matching), None)

    def _overtaken_by(self, answered: _Pending) -> _Pending | None:
        """What stands before it and is still pending, if anything does.

        What was asked later need not have reached Asterisk yet, unless something was answered that
        was asked later still.
        """
        place = (answered.offset, answered.number)
        read, self._read = self._read, max(self._read, answered.number)
        for one in self._pending.values():
            if one.number > max(read, answered.number):
                return None
            if (one.offset, one.number) < place:
                return one
        return None

    def _answered_as_in_stock(self, event: Event) -> None:
        for index, (name, id_) in enumerate(self._correlated):
            if name == event.name and str(id_) == str(event.correlation_id):
                # What was before it has been flushed, and stays unanswered.
                del self._correlated[: index + 1]
                return
        self._fault(f"nothing is pending that this answers: {event}")

    def _waits(self, event: Event, time_ns: int) -> None:
        """Media waits for a listener, or goes on."""
        reason = event.fields.get("reason")
        if event.name == "PLAYBACK_RESUMED":
            if self._suspended is None:
                self._fault(f"media did not wait: {event}")
            self._suspended = None
        else:
            if reason not in SUSPENSION_REASONS:
                self._fault(f"unknown reason: {event}")
            if self._suspended is not None:
                self._fault(f"media waited already: {event}")
            self._suspended = event
        if event.is_json:
            self._counted(event, time_ns)

    def _moves_not(self, event: Event) -> None:
        """While media waits nothing is played but what was on its way, and nothing is missed.

        In passthrough mode a message of any length may have been on its way.
        """
        since = self._suspended
        if since is None or not since.is_json:
            return
        played_ms, underruns = event.decimal("played_ms"), event.count("underruns")
        most_ms = math.inf if self._passthrough else since.number("played_ms") + _BURST_MS
        if played_ms is not None and played_ms > most_ms:
            self._not_waiting.append(f"media waits since {since}, but went on: {event}")
        if underruns is not None and underruns > since.number("underruns"):
            self._not_waiting.append(f"media waits since {since}, it is no underrun: {event}")

    def _reported(self, event: Event, time_ns: int) -> None:
        if not self._counted(event, time_ns):
            return
        if event.flag("final"):
            self._final = event
            if event.count("queued") or event.count("marks"):
                self._fault(f"something is left at the end: {event}")
        elif not self._periodic_reports:
            self._single_reports -= 1
            if self._single_reports < 0:
                self._fault(f"nobody asked for this report: {event}")

    def _counted(self, event: Event, time_ns: int) -> bool:
        """Whether all counters are there; each is held against the others, and those before."""
        values = {name: event.count(name) for name in (*COUNTERS, "marks")}
        if None in values.values():
            self._fault(f"a counter is missing: {event}")
            return False
        received, played, queued, flushed, dropped, marks = (
            value or 0 for value in values.values()
        )
        if received != played + queued + flushed + dropped:
            self._fault(f"received is not played + queued + flushed + dropped: {event}")
        if min(played, queued, flushed, dropped) < 0 or received > self._sent_bytes:
            self._fault(f"{self._sent_bytes} bytes were sent: {event}")
        # Half a 16-bit sample before a mark waits for its other half.
        if played + flushed + dropped < self._played_up_to - 1:
            self._fault(
                f"the mark at {self._played_up_to} was acknowledged, its media is queued: {event}"
            )
        if marks > len(self._pending):
            self._fault(f"it counts more marks than are pending: {event}")
        for name in ("received", "played", "flushed", "dropped", "played_ms", "underruns"):
            if self._last is not None and event.number(name) < self._last.number(name):
                self._fault(f"{name} went back: {self._last}, then {event}")
        self._not_early(event, time_ns)
        self._last = event
        return True

    def _not_early(self, event: Event, time_ns: int) -> None:
        """No more can have been played than time has passed since media was first sent.

        In passthrough mode each message takes a tick, whatever its codec says how long it lasts.
        """
        played_ms = event.decimal("played_ms")
        if played_ms is None or self._first_media_ns is None or self._passthrough:
            return
        passed_ms = (time_ns - self._first_media_ns) / 1e6
        if played_ms > passed_ms + _BURST_MS:
            self._fault(f"only {passed_ms:.3f} ms have passed since media was first sent: {event}")

    def _asterisk_hung_up(self) -> None:
        final = self._final
        if final is None:
            if self._opted_in_for_sure:
                self._fault("there was no final report")
            return
        # Media that was sent behind a command has been received, so the command has been, too.
        received = final.count("received") or 0
        for pending in self._pending.values():
            if pending.sent < received and not self._answered_for_another(pending, received):
                self._fault(f"{pending} was not answered")
        if self._dropped != final.count("dropped"):
            self._fault(f"{self._dropped} bytes were reported as dropped: {final}")
        if self._flushed > (final.count("flushed") or 0):
            self._fault(f"{self._flushed} bytes were reported as flushed: {final}")

    def _answered_for_another(self, pending: _Pending, received: int) -> bool:
        """Whether its answer was taken for that of a later one, which need not have been read."""
        refused = self._refused[_asked(pending.command.name == "MARK", pending.command.id)]
        for one in refused:
            if one.number > pending.number and one.sent >= received:
                refused.remove(one)
                return True
        return False

    def _fault(self, text: str) -> None:
        self.faults.append(text)


_Asked = tuple[bool, type, Id | None]


def _asked(mark: bool, id_: Id | None) -> _Asked:
    """A mark's id or a flush's. JSON's 1 is not its "1"."""
    return mark, type(id_), id_
