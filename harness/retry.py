"""A measurement that was unreliable is made again, then with the host to itself."""

from __future__ import annotations

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
) -> T:
    """What ``measure`` returns; called again, up to three times, while that is unreliable.

    It is given ``name``, with a number from the second attempt on. ``unreliable`` says of what it
    returned whether it tells nothing, as does what the last attempt returned then. With ``alone``
    also the first attempt has the host to itself: one that makes it busy would spoil the others'.
    """
    for attempt in range(1, ATTEMPTS + 1):
        with host.alone() if alone or attempt > 1 else nullcontext():
            measured = measure(name if attempt == 1 else f"{name}-again-{attempt}")
        if not unreliable(measured):
            break
    return measured
