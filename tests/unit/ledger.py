"""The module's ledger, compiled from asterisk-module/playback_ledger.c, callable from Python."""

from __future__ import annotations

import ctypes
import subprocess
from enum import IntEnum
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEVER = 2**63 - 1
"""a time that never comes"""


class Outcome(IntEnum):
    """enum playback_outcome"""

    WAITING = 0
    PLAYED = 1
    FLUSHED = 2
    HUNGUP = 3
    LIMIT = 4
    DIRECTION = 5
    DROPPED = 6
    ORDERED_EVENT = 7


class Drop(IntEnum):
    """enum playback_drop_reason"""

    OVERFLOW = 0
    PARTIAL = 1
    DIRECTION = 2
    BRIDGE = 3
    UNSENT = 4


class Stage(IntEnum):
    """enum playback_stage"""

    DELIVERED = 0
    MIXED = 1
    SENT = 2


class Queue(IntEnum):
    """What `Ledger.pending` gives."""

    MARKS = 0
    EVENTS = 1
    AHEAD = 2
    """marks whose media has not been received yet"""


@cache
def _library() -> ctypes.CDLL:
    module = ROOT / "asterisk-module"
    subprocess.run(["make", "--silent", "-C", str(module), "lib"], check=True)
    library = ctypes.CDLL(str(ROOT / "build/asterisk-module/libledger.so"))
    library.shim_new.restype = ctypes.c_void_p
    library.shim_flush.restype = ctypes.c_uint64
    library.playback_ledger_wants_silence.restype = ctypes.c_int64
    library.shim_hangup.restype = ctypes.c_uint64
    return library


@cache
def _names(variable: str) -> tuple[str, ...]:
    """The names of what the shim writes into an array."""
    # The size does not matter: the text ends with a NUL.
    text = ctypes.c_char.in_dll(_library(), variable)
    return tuple(ctypes.string_at(ctypes.addressof(text)).decode().split())


def _named(names: tuple[str, ...], values: ctypes.Array[ctypes.c_uint64]) -> dict[str, int]:
    """Times are signed, counts are not."""
    return {
        name: value - 2**64 if name.endswith("_ns") and value >= 2**63 else value
        for name, value in zip(names, values, strict=True)
    }


class Ledger:
    """One struct playback_ledger; the methods are the functions of playback_ledger.h.

    Marks and queued events are known by their numbers. Their memory is the shim's: the ledger
    allocates nothing.
    """

    def __init__(self, tick_ns: int, sample_bytes: int) -> None:
        self._handle = ctypes.c_void_p(
            _library().shim_new(_time(tick_ns), ctypes.c_uint(sample_bytes))
        )

    def close(self) -> None:
        """Free it."""
        _library().shim_free(self._handle)

    def received(self, count: int, ns: int, now: int) -> None:
        _library().shim_received(self._handle, _count(count), _time(ns), _time(now))

    def dropped(self, count: int, ns: int, reason: Drop, now: int, behind: int = 0) -> None:
        _library().shim_dropped(
            self._handle, _count(count), _time(ns), _count(behind), int(reason), _time(now)
        )

    def delivered(self, count: int, ns: int, frame_ns: int, now: int) -> None:
        _library().shim_delivered(
            self._handle, _count(count), _time(ns), _time(frame_ns), _time(now)
        )

    def starved(self) -> None:
        _library().playback_ledger_starved(self._handle)

    def mixing(self, mixing: bool, now: int) -> None:
        _library().playback_ledger_mixing(self._handle, int(mixing), _time(now))

    def mixed(self, interval_ns: int, now: int) -> None:
        _library().playback_ledger_mixed(self._handle, _time(interval_ns), _time(now))

    def mixer_began(self, held_ns: int, now: int) -> None:
        _library().playback_ledger_mixer_began(self._handle, _time(held_ns), _time(now))

    def mixer_writes(self, interval_ns: int, held_ns: int, now: int) -> None:
        _library().playback_ledger_mixer_writes(
            self._handle, _time(interval_ns), _time(held_ns), _time(now)
        )

    def mixer_holds(self, held_ns: int, now: int) -> None:
        _library().playback_ledger_mixer_holds(self._handle, _time(held_ns), _time(now))

    def listener_resampled(self, resampled_ns: int, anew: bool, now: int) -> None:
        _library().playback_ledger_listener_resampled(
            self._handle, _time(resampled_ns), int(anew), _time(now)
        )

    def watching(self, watching: bool, packet_ns: int, now: int) -> None:
        _library().playback_ledger_watching(
            self._handle, int(watching), _time(packet_ns), _time(now)
        )

    def looked(self, packets: int, done: bool, now: int) -> bool:
        """Whether the packets have been entered."""
        return bool(_library().playback_ledger_looked(self._handle, packets, int(done), _time(now)))

    def shut(self, shut: bool, now: int) -> None:
        _library().playback_ledger_shut(self._handle, int(shut), _time(now))

    def unheard(self, now: int) -> None:
        _library().playback_ledger_unheard(self._handle, _time(now))

    def wants_silence(self, now: int) -> int:
        """In ns."""
        return int(_library().playback_ledger_wants_silence(self._handle, _time(now)))

    def flush(self, now: int) -> int:
        """The number of bytes flushed."""
        return int(_library().shim_flush(self._handle, _time(now)))

    def hangup(self, now: int) -> int:
        """The number of bytes flushed."""
        return int(_library().shim_hangup(self._handle, _time(now)))

    def half_sample(self, count: int, ns: int) -> None:
        _library().shim_half_sample(self._handle, _count(count), _time(ns))

    def mark(self, number: int, outcome: Outcome, now: int) -> None:
        _library().shim_mark(self._handle, _count(number), int(outcome), _time(now))

    def mark_at(self, number: int, offset: int, outcome: Outcome, now: int) -> bool:
        """Whether it was taken."""
        refused: int = _library().shim_mark_at(
            self._handle, _count(number), _count(offset), int(outcome), _time(now)
        )
        return not refused

    def event_queued(self) -> None:
        _library().playback_ledger_event_queued(self._handle)

    def event_dequeued(self, number: int, ahead: int, now: int) -> None:
        _library().shim_event_dequeued(self._handle, _count(number), _count(ahead), _time(now))

    def pop(self, now: int) -> dict[str, int] | None:
        """The fields of the mark or queued event that is due."""
        names = _names("shim_mark_fields")
        values = (ctypes.c_uint64 * len(names))()
        if not _library().shim_pop(self._handle, _time(now), values):
            return None
        return _named(names, values)

    def pending(self, which: Queue) -> list[dict[str, int]]:
        """The fields of all that are pending, in the order of the stream."""
        names = _names("shim_mark_fields")
        values = (ctypes.c_uint64 * len(names))()
        found: list[dict[str, int]] = []
        while _library().shim_pending(self._handle, int(which), len(found), values):
            found.append(_named(names, values))
        return found

    def pop_drop(self, now: int) -> tuple[int, int, int] | None:
        """Reason, bytes and offset."""
        values = (ctypes.c_uint64 * 3)()
        if not _library().shim_pop_drop(self._handle, _time(now), values):
            return None
        reason, count, offset = values
        return int(reason), int(count), int(offset)

    def wants_partial(self, partial: int) -> bool:
        return bool(
            _library().playback_ledger_wants_partial(self._handle, ctypes.c_size_t(partial))
        )

    def state(self, now: int) -> dict[str, int]:
        """All counts and times there are, by name: see shim_state_fields."""
        names = _names("shim_state_fields")
        values = (ctypes.c_uint64 * len(names))()
        _library().shim_state(self._handle, _time(now), values)
        return _named(names, values)


def _count(value: int) -> ctypes.c_uint64:
    return ctypes.c_uint64(value)


def _time(value: int) -> ctypes.c_int64:
    return ctypes.c_int64(value)
