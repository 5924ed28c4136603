"""`harness agents`: what counts of what a framework said and believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hand_made import MS, START_NS, speech_call

from harness.agents.conversation import Compared, Ending
from harness.agents.measure import Figures, figures
from harness.judge.call import judge_call

WORDS = 8
ENDINGS = 20
EACH_MS = 1000


def said(over_ms: float, off_ms: float = 0.0, number: int = 0) -> Compared:
    """Something that was said to its end, and said to be over so long after that."""
    end_ns = START_NS + (number + 1) * EACH_MS * MS
    acked_ns, over_ns = end_ns + MS // 5, end_ns + round(over_ms * MS)
    ending = Ending(0, end_ns, acked_ns, acked_ns + MS // 2, over_ns)
    return Compared(WORDS, WORDS, False, ending, off_ms)


def cut(claimed: int, heard: int, off_ms: float | None = 0.0) -> Compared:
    """Something that was interrupted."""
    return Compared(claimed, heard, True, None, off_ms)


def found(compared: Sequence[Compared], stalls_ms: Sequence[tuple[float, float]] = ()) -> Figures:
    judged = judge_call(speech_call([800], [0.3]).timeline())
    stalls = [(START_NS + round(a * MS), START_NS + round(b * MS)) for a, b in stalls_ms]
    return figures(judged, compared, stalls)


def all_said(*late_ms: float) -> list[Compared]:
    """Twenty things, of which the first ones were over so late."""
    times = [*late_ms, *[1.0] * (ENDINGS - len(late_ms))]
    return [said(over_ms, number=number) for number, over_ms in enumerate(times)]


def test_what_is_said_within_3_ms_and_words_that_were_heard_pass() -> None:
    got = found([*all_said(2.9), cut(3, 3), cut(0, 0)])
    assert got.result == "PASS" and not got.failures
    assert (got.right, got.interruptions, got.too_many, got.left_out) == (2, 2, 0, 0)
    assert got.over is not None and got.over.max_ns == round(2.9 * MS)
    names = [name for name, _ in got.parts]
    medians = [times.median_ns for _, times in got.parts]
    assert names == ["acknowledged", "read", "said"]
    assert medians == pytest.approx([MS // 5, MS // 2, 3 * MS // 10], abs=1)


def test_late_without_a_reason_fails() -> None:
    got = found(all_said(3.5))
    assert got.result == "FAIL" and got.only_late
    assert "ending 0 LATE: +3.5 ms" in got.failures[0]


def test_what_the_host_made_late_is_left_out() -> None:
    got = found(all_said(9.0), [(EACH_MS + 1, EACH_MS + 8)])
    assert got.result == "PASS" and got.left_out == 1
    assert got.over is not None and got.over.max_ns == MS


def test_if_that_is_much_nothing_is_shown() -> None:
    late = [(EACH_MS * (number + 1) + 1, EACH_MS * (number + 1) + 8) for number in range(2)]
    assert found(all_said(9.0, 9.0), late).result == "INCONCLUSIVE"
    assert found([]).result == "INCONCLUSIVE"


@pytest.mark.parametrize(
    "wrong",
    [said(-1.0), cut(4, 3), cut(3, 4), cut(3, 3, 1.5), replace(said(1.0), claimed=WORDS - 1)],
    ids=["early", "too many words", "too few", "position", "a word of what was not cut off"],
)
def test_what_is_untrue_fails(wrong: Compared) -> None:
    got = found([*all_said(), wrong])
    assert got.result == "FAIL" and not got.only_late and got.failures


def test_a_framework_that_claims_no_position_has_none() -> None:
    assert found([cut(3, 3, None)]).off_ms is None
