"""A measurement that was unreliable is made again, then with the host to itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

from harness.host_lock import HOST, HostLock

ATTEMPTS = 3

T = TypeVar("T")


def until_reliable(
    name: str,
    measure: Callable[[str], T],
    unreliable: Callable[[T], bool | str],
    alone: bool = False,
    host: HostLock = HOST,
    late: Callable[[T], bool] = lambda measured: False,
) -> T:
    """What ``measure`` returns; called again, up to three times, while that is unreliable.

    ``late`` says whether nothing is wrong with what it returned but that something came late. A
    thread can be kept waiting by more than a host stall shows: a page that is read from the disk, a
    lock that somebody holds who waits for one. What is late by chance is not late twice: the first
    time it is measured again, the second time that is the result.

    It is given ``name``, with a number from the second attempt on. ``unreliable`` says of what it
    returned whether it tells nothing, as does what the last attempt returned then. With ``alone``
    also the first attempt has the host to itself: one that makes it busy would spoil the others'.
    """
    was_late = False
    for attempt in itertools.count(1):
        with host.alone() if alone or attempt > 1 else nullcontext():
            measured = measure(name if attempt == 1 else f"{name}-again-{attempt}")
        if late(measured) and not was_late:
            was_late = True
        elif attempt >= ATTEMPTS or not unreliable(measured):
            break
    return measured
