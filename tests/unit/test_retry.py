"""A measurement that was unreliable is made again, and who shares the host with it meanwhile."""

from __future__ import annotations

import asyncio
import fcntl
from pathlib import Path

import pytest

from harness.host_lock import HostLock, _locked
from harness.retry import ATTEMPTS, until_reliable

# Each object stands for the process that it belongs to: a lock is a file's that was opened.


async def begins(other: HostLock) -> asyncio.Task[None]:
    """A call of another process; it is over already if nothing keeps it from beginning."""

    async def call() -> None:
        async with other.shared():
            pass

    task = asyncio.create_task(call())
    await asyncio.sleep(0)
    return task


async def somebody_waits(folder: Path) -> None:
    """Until a process waits for its turn."""
    with (folder / "waiting").open() as file:
        while _locked(file.fileno(), fcntl.LOCK_SH):
            fcntl.flock(file, fcntl.LOCK_UN)
            await asyncio.sleep(0.001)


def test_calls_of_several_processes_are_up_at_once(tmp_path: Path) -> None:
    async def both() -> None:
        async with HostLock(tmp_path).shared(), HostLock(tmp_path).shared():
            pass

    asyncio.run(asyncio.wait_for(both(), 5))


def test_no_call_begins_while_another_process_has_the_host_alone(tmp_path: Path) -> None:
    one, other = HostLock(tmp_path), HostLock(tmp_path)

    async def run() -> None:
        with one.alone():
            waits = await begins(other)
            assert not waits.done()
            async with one.shared(), one.shared():
                pass
            assert not waits.done()
        await asyncio.wait_for(waits, 5)

    asyncio.run(run())


def test_who_needs_the_host_alone_waits_for_calls_and_keeps_others_from_beginning(
    tmp_path: Path,
) -> None:
    one, other, third = (HostLock(tmp_path) for _ in range(3))
    order: list[str] = []

    def alone() -> None:
        with other.alone():
            order.append("alone")

    async def later() -> None:
        async with third.shared():
            order.append("later")

    async def run() -> None:
        async with one.shared():
            waits = asyncio.create_task(asyncio.to_thread(alone))
            await asyncio.wait_for(somebody_waits(tmp_path), 5)
            begun_later = asyncio.create_task(later())
            await asyncio.sleep(0)
            # Of a process that has calls up another may begin: one may wait for the other.
            async with one.shared():
                order.append("beside it")
        await asyncio.wait_for(asyncio.gather(waits, begun_later), 5)

    asyncio.run(run())
    assert order == ["beside it", "alone", "later"]


def test_a_call_that_was_given_up_while_it_waited_keeps_nothing(tmp_path: Path) -> None:
    one, other = HostLock(tmp_path), HostLock(tmp_path)

    async def run() -> None:
        with one.alone():
            waits = await begins(other)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
        with one.alone():
            pass

    asyncio.run(asyncio.wait_for(run(), 5))


def test_a_process_that_hangs_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    async def run() -> None:
        async with HostLock(tmp_path).shared():
            with HostLock(tmp_path, longest_wait_s=0.1).alone():
                pass

    asyncio.run(run())


@pytest.mark.parametrize(
    ("unreliable", "names"),
    [
        ([False], ["a"]),
        ([True, False], ["a", "a-again-2"]),
        ([True, True, True], ["a", "a-again-2", "a-again-3"]),
    ],
)
def test_it_is_made_again_until_it_tells_something(
    tmp_path: Path, unreliable: list[bool], names: list[str]
) -> None:
    made: list[str] = []

    def measure(name: str) -> int:
        made.append(name)
        return len(made)

    last = until_reliable(
        "a", measure, lambda number: unreliable[number - 1], host=HostLock(tmp_path)
    )
    assert (made, last) == (names, len(names))
    assert len(names) <= ATTEMPTS


@pytest.mark.parametrize(
    ("found", "count"),
    [
        (["late", "right"], 2),
        (["late", "late"], 2),
        (["unreliable", "late", "right"], 3),
        (["late", "unreliable", "late"], 3),
        (["unreliable", "unreliable", "late", "unreliable"], 4),
        (["late", "unreliable", "unreliable"], 3),
    ],
)
def test_what_is_late_by_chance_is_not_late_twice(
    tmp_path: Path, found: list[str], count: int
) -> None:
    rest = iter(found)
    made: list[str] = []

    def measure(name: str) -> str:
        made.append(name)
        return next(rest)

    last = until_reliable(
        "a",
        measure,
        lambda one: one == "unreliable",
        host=HostLock(tmp_path),
        late=lambda one: one == "late",
    )
    assert (last, len(made)) == (found[count - 1], count)


@pytest.mark.parametrize(("alone", "expected"), [(False, [False, True]), (True, [True, True])])
def test_it_is_made_again_with_the_host_to_itself(
    tmp_path: Path, alone: bool, expected: list[bool]
) -> None:
    host = HostLock(tmp_path)
    was_alone: list[bool] = []

    def measure(name: str) -> None:
        async def other_can_begin() -> bool:
            return (await begins(HostLock(tmp_path))).done()

        was_alone.append(not asyncio.run(other_can_begin()))

    until_reliable("a", measure, lambda _: len(was_alone) < 2, alone, host)
    assert was_alone == expected
