"""Media in pieces of random size, the same for the same seed."""

from __future__ import annotations

from harness.application.marks import coded_pieces, random_sizes
from harness.commands.measure import MeasurePlan
from harness.media.position_code import encode


def test_the_sizes_are_those_of_the_seed() -> None:
    # Written out: a measurement that is named by its seed must stay the same measurement.
    assert random_sizes(1, 5) == [551, 2332, 259, 1045, 483]
    assert random_sizes(1, 5) == random_sizes(1, 9)[:5]
    assert random_sizes(1, 5) != random_sizes(2, 5)


def test_the_sizes_are_within_their_bounds() -> None:
    sizes = random_sizes(3, 2000, 1, 12)
    assert set(sizes) == set(range(1, 13))


def test_the_pieces_are_one_stream() -> None:
    pieces = coded_pieces([1, 160, 0, 37], offset=1000)
    assert [len(piece) for piece in pieces] == [1, 160, 0, 37]
    assert b"".join(pieces) == encode(1000, 198)


def test_a_plans_marks_are_shared_out_whole() -> None:
    shares = list(MeasurePlan(marks=1003, calls=5, seed=40).shares())
    assert [seed for seed, _ in shares] == [40, 41, 42, 43, 44]
    assert sum(marks for _, marks in shares) == 1003
    assert {marks for _, marks in shares} == {200, 201}
