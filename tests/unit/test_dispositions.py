"""The list of dispositions: as many marks and interruptions as were asked for."""

from __future__ import annotations

import pytest

from harness.dispositions import DISPOSITIONS, INTERRUPTIONS, MARKS, calls_planned, planned
from harness.errors import InputFault


@pytest.mark.parametrize("marks", [MARKS, 30_000])
def test_as_many_marks_as_asked_for(marks: int) -> None:
    total = sum(one.calls * count for one, count in planned(marks))
    assert marks <= total < marks * 1.02


def test_few_marks_leave_every_disposition_its_own() -> None:
    counts = {one.name: count for one, count in planned(1)}
    assert all(counts[one.name] == one.marks for one in DISPOSITIONS)


def test_names_tell_dispositions_apart() -> None:
    names = [one.name for one in DISPOSITIONS]
    assert len(set(names)) == len(names)


def test_five_interruptions_a_call_make_fifty() -> None:
    assert sum(5 * one.calls for one in DISPOSITIONS if one.interrupts) == INTERRUPTIONS


def test_only_some() -> None:
    assert calls_planned(MARKS, ["queue overflow", "same id"]) == 2


def test_a_text_in_no_name_is_an_error() -> None:
    with pytest.raises(InputFault, match="no disposition has nonsense in its name"):
        calls_planned(MARKS, ["nonsense"])
