"""What has been played of an utterance: pure arithmetic on offsets in the stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Range = tuple[int, int]
"""first offset, and the one behind the last"""


@dataclass(frozen=True)
class Played:
    """How far playback of an utterance got, once that is settled."""

    position_ms: float
    """into the utterance's audio: of the last of it that was played"""
    text: str
    """of the utterance: those pieces of its text whose audio was played to their end"""
    interrupted: bool = False
    """whether it was cut off, by `Call.interrupt` or the end of the call"""
    reason: str = ""
    """``flush`` or ``hangup`` if it was cut off; otherwise why the last of its audio was lost, as
    MARK_DISCARDED says it, and mostly empty"""
    lost_ms: float = 0.0
    """audio before that position that Asterisk could not send: the caller held, a digit was sent"""
    exact: bool = True
    """whether Asterisk has said so; without the patched driver it is an estimate"""


def overlap(begin: int, end: int, lost: Iterable[Range]) -> int:
    """How much of [begin, end) was lost."""
    return sum(max(0, min(end, behind) - max(begin, first)) for first, behind in lost)


def cut_at(end: int, flushed: int, lost: Sequence[Range]) -> int:
    """Where a flush cut the stream off that removed the last ``flushed`` bytes before ``end``.

    What had been lost of it was not there to be flushed.
    """
    for first, behind in sorted(lost, reverse=True):
        kept = max(0, end - behind)
        if flushed <= kept:
            break
        if first < end:
            flushed -= kept
            end = first
    return end - flushed


def last_played(cut: int, lost: Sequence[Range]) -> int:
    """The offset behind the last byte before ``cut`` that was not lost."""
    for first, behind in sorted(lost, reverse=True):
        if first < cut <= behind:
            cut = first
    return cut


def heard_text(pieces: Sequence[tuple[int, str]], begin: int, cut: int, lost: list[Range]) -> str:
    """Of an utterance that begins at ``begin`` the text whose audio was played to its end.

    ``pieces`` are the offsets at which each piece of text has been spoken, in that order. A piece
    of which the most was lost was not heard.
    """
    heard = []
    for offset, text in pieces:
        if offset > cut:
            break
        if 2 * overlap(begin, offset, lost) <= offset - begin:
            heard.append(text)
        begin = offset
    return "".join(heard)
