"""Where playback probably is on a driver without playback acknowledgements.

The queue is thought to play in real time since it last had nothing to play. Whatever holds playback
up (the caller holds, no bridge yet) is not seen, and MEDIA_MARK_PROCESSED, which corrects the
estimate, comes up to a frame before the audio has ended. Pure: times are arguments, in seconds of
any one clock.
"""

from __future__ import annotations

FRAME_S = 0.02
"""MEDIA_MARK_PROCESSED is early by up to so much, and the first tick late by up to as much"""


class Estimate:
    """The estimated position in one call's stream, in bytes."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._sent = 0
        self._offset = 0
        """was, or will be, reached"""
        self._at = 0.0
        """at this time"""
        self._paused = False

    def on_sent(self, count: int, now: float) -> None:
        """So much audio is sent."""
        if self.position(now) >= self._sent:
            self._anchor(self._sent, now + FRAME_S)
        self._sent += count

    def on_acknowledged(self, offset: int, now: float) -> None:
        """MEDIA_MARK_PROCESSED has come for a mark at this offset."""
        self._anchor(offset - int(FRAME_S * self._bytes_per_s), now)

    def on_flushed(self, now: float) -> None:
        """The queue is thrown away."""
        self._anchor(self._sent, now)

    def on_paused(self, now: float) -> None:
        """Playback stops."""
        self._anchor(self.position(now), now)
        self._paused = True

    def on_continued(self, now: float) -> None:
        """Playback goes on."""
        self._paused = False
        self._at = now

    def position(self, now: float) -> int:
        """The offset behind what has been played."""
        if self._paused or now <= self._at:
            return min(self._offset, self._sent)
        return min(self._sent, self._offset + int((now - self._at) * self._bytes_per_s))

    def time_of(self, offset: int) -> float:
        """When this offset is reached, if playback goes on and there is audio; maybe long ago."""
        # A byte later than exact, so that `position` has got there.
        return self._at + (offset - self._offset + 1) / self._bytes_per_s

    def _anchor(self, offset: int, at: float) -> None:
        self._offset, self._at = offset, at
