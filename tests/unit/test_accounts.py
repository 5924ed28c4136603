"""The judge of Asterisk's accounts, on timelines made by hand."""

from __future__ import annotations

import pytest
from hand_made import Call

from harness.judge.accounts import Accounts, AccountVerdict, judge_accounts
from harness.judge.judge import Verdict, judge

PLAYED = 1760
"""bytes that leave before and around the flush: 11 frames"""
FLUSHED = 1440
AFTER = 800
FIRST_MARK = 1000

FINAL = (
    f"PLAYBACK received={PLAYED + FLUSHED + AFTER} played={PLAYED + AFTER} queued=0 "
    f"flushed={FLUSHED} dropped=0 played_ms=320.000 queued_ms=0.000 marks=0 underruns=0 paused=0 "
    "at=1800000000000.000 final=1"
)


def flushed(**changes: object) -> str:
    fields: dict[str, object] = {
        "id": "f1",
        "played": PLAYED,
        "flushed": FLUSHED,
        "played_ms": "220.000",
        "flushed_ms": "180.000",
        "last_mark": "m1",
        "since_mark_ms": "95.000",
    }
    fields.update(changes)
    said = " ".join(f"{name}={value}" for name, value in fields.items() if value is not None)
    return f"MEDIA_FLUSHED {said}"


def interrupted(answers: list[str], final: list[str], closed_by: str = "asterisk") -> Call:
    """Speech that is flushed at 230 ms, while the packet at 220 ms is in play, and more after."""
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    call.send(1, FIRST_MARK)
    call.command(1, "MARK id=m1")
    call.send(1, PLAYED + FLUSHED - FIRST_MARK)
    call.command(1, "MARK id=m2")
    call.play(20, 0, PLAYED)
    call.event(146, "MARK_PLAYED id=m1")
    # One packet was being handed over: it is seen after the command.
    call.command(219.9, "FLUSH_MEDIA id=f1")
    for text in answers:
        call.event(221, text)
    call.send(300, AFTER)
    call.play(320, PLAYED + FLUSHED, PLAYED + FLUSHED + AFTER)
    for text in final:
        call.event(600, text)
    call._add(600.1, closed_by, "close", b"\x03\xe8")  # type: ignore[arg-type]
    return call


def accounts(call: Call) -> Accounts:
    timeline = call.timeline(1000)
    return judge_accounts(timeline, judge(timeline))


DISCARDED = "MARK_DISCARDED id=m2 reason=flush"


def the_flush(call: Call) -> AccountVerdict:
    (found,) = (one for one in accounts(call).verdicts if "MEDIA_FLUSHED" in one.name)
    return found


def test_right_accounts_pass() -> None:
    judged = accounts(interrupted([DISCARDED, flushed()], [FINAL]))
    assert judged.verdict == "PASS", [one.explanation for one in judged.verdicts]
    flush = judged.verdicts[0]
    assert (flush.reported_bytes, flush.captured_bytes, flush.difference_bytes) == (1760, 1760, 0)
    assert flush.since_mark_difference_ms == 0.0
    assert [one.name for one in judged.verdicts] == [
        'MEDIA_FLUSHED "f1"',
        "PLAYBACK",
        "PLAYBACK final",
    ]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"played": PLAYED + 1}, "played is 1761, but it should be 1760"),
        ({"played": PLAYED - 1}, "played is 1759, but it should be 1760"),
        ({"flushed": FLUSHED - 1}, "flushed is 1439, but it should be 1440"),
        ({"played_ms": "220.126"}, "played_ms is 220.126, but it should be 220.000"),
        ({"flushed_ms": "179.874"}, "flushed_ms is 179.874, but it should be 180.000"),
        ({"since_mark_ms": "95.126"}, "since_mark_ms is 95.126, but it should be 95.000"),
        ({"since_mark_ms": None}, "since_mark_ms is None, but it should be 95.000"),
        ({"last_mark": "m2"}, "last_mark is 'm2', but the last one played is 'm1'"),
        ({"last_mark": None}, "last_mark is None, but the last one played is 'm1'"),
    ],
)
def test_a_wrong_count_of_a_flush_is_seen(changes: dict[str, object], wrong: str) -> None:
    flush = the_flush(interrupted([DISCARDED, flushed(**changes)], [FINAL]))
    assert flush.verdict is Verdict.WRONG
    assert wrong in flush.explanation


def test_a_sample_more_or_less_is_no_fault() -> None:
    call = interrupted([DISCARDED, flushed(since_mark_ms="95.125", played_ms="219.875")], [FINAL])
    assert the_flush(call).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([DISCARDED], Verdict.NEVER),
        ([DISCARDED, flushed(), flushed()], Verdict.TWICE),
        ([flushed(), DISCARDED], Verdict.EARLY),
        ([flushed()], Verdict.EARLY),
    ],
    ids=["missing", "twice", "before the discards", "without the discards"],
)
def test_a_flush_is_answered_once_and_last(answers: list[str], verdict: Verdict) -> None:
    call = interrupted(answers, [FINAL])
    assert the_flush(call).verdict is verdict
    assert accounts(call).verdict == "FAIL"


def test_an_answer_that_no_flush_asked_for() -> None:
    call = interrupted([DISCARDED, flushed(), flushed(id="f2")], [FINAL])
    verdicts = [one.verdict for one in accounts(call).verdicts]
    assert verdicts == [Verdict.PASS, Verdict.UNASKED, Verdict.PASS, Verdict.PASS]


def test_a_flush_before_any_mark_names_none() -> None:
    def call(text: str) -> Call:
        call = Call()
        call.send(1, 3200)
        call.play(20, 0, 800)
        call.command(110, "FLUSH_MEDIA id=7")
        call.event(111, f"MEDIA_FLUSHED id=7 played=800 flushed=2400 played_ms=100 {text}")
        return call

    assert the_flush(call("flushed_ms=300")).verdict is Verdict.PASS
    wrong = the_flush(call("flushed_ms=300 last_mark=x since_mark_ms=0"))
    assert wrong.explanation == "it names a mark, but none had been played"


def test_what_was_dropped_was_not_flushed() -> None:
    call = Call()
    call.send(1, 3200)
    call.play(20, 0, 800)
    call.command(110, "FLUSH_MEDIA id=7")
    call.event(111, "MEDIA_DROPPED bytes=160 reason=overflow offset=3040")
    call.event(
        111, "MEDIA_FLUSHED id=7 played=800 flushed=2240 played_ms=100.000 flushed_ms=280.000"
    )
    assert the_flush(call).verdict is Verdict.PASS


def test_ids_in_json_keep_their_type() -> None:
    def call(last_mark: object) -> Call:
        call = Call()
        call.send(1, 800)
        call.json_command(1, command="MARK", id=1)
        call.send(1, 2400)
        call.play(20, 0, 1600)
        call.json_event(120.5, event="MARK_PLAYED", id=1, offset=800)
        call.json_command(210, command="FLUSH_MEDIA", id="f")
        call.json_event(
            211,
            event="MEDIA_FLUSHED",
            id="f",
            played=1600,
            flushed=1600,
            played_ms=200.0,
            flushed_ms=200.0,
            last_mark=last_mark,
            since_mark_ms=100.0,
        )
        return call

    assert the_flush(call(1)).verdict is Verdict.PASS
    assert the_flush(call("1")).verdict is Verdict.WRONG


# ---- PLAYBACK ------------------------------------------------------------------------------------


def the_final(final: list[str], closed_by: str = "asterisk") -> AccountVerdict | None:
    call = interrupted([DISCARDED, flushed()], final, closed_by)
    finals = [one for one in accounts(call).verdicts if one.name == "PLAYBACK final"]
    return finals[0] if finals else None


@pytest.mark.parametrize(
    ("final", "verdict"),
    [
        ([FINAL], Verdict.PASS),
        ([], Verdict.NEVER),
        ([FINAL, FINAL], Verdict.TWICE),
        ([FINAL, "QUEUE_DRAINED"], Verdict.WRONG),
        ([FINAL.replace("played=2560", "played=2559")], Verdict.WRONG),
        ([FINAL.replace("received=4000", "received=3999")], Verdict.WRONG),
        ([FINAL.replace("dropped=0", "dropped=1")], Verdict.PASS),
        (["MEDIA_DROPPED bytes=1 reason=partial offset=9", FINAL], Verdict.WRONG),
    ],
    ids=["right", "missing", "twice", "not last", "played", "received", "before asked", "told"],
)
def test_the_last_report(final: list[str], verdict: Verdict) -> None:
    found = the_final(final)
    assert found is not None
    assert found.verdict is verdict


def test_an_application_that_closed_is_told_nothing_more() -> None:
    assert the_final([], closed_by="application") is None


def test_a_channel_that_never_asked_gets_no_last_report() -> None:
    def call(final: list[str]) -> Call:
        call = Call()
        call.send(1, 1600)
        call.command(1, "MARK_MEDIA a")
        call.play(20, 0, 1600)
        call.event(220.5, "MEDIA_MARK_PROCESSED a")
        for text in final:
            call.event(300, text)
        call._add(301, "asterisk", "close", b"")
        return call

    assert accounts(call([])).verdicts == ()
    kinds = {one.name: one.verdict for one in accounts(call([FINAL])).verdicts}
    assert kinds["PLAYBACK final"] is Verdict.UNASKED


def report(received: int, played: int, queued: int, flushed: int = 0, dropped: int = 0) -> str:
    return (
        f"PLAYBACK received={received} played={played} queued={queued} flushed={flushed} "
        f"dropped={dropped} played_ms={played / 8} queued_ms=0 marks=0 underruns=0 paused=0 at=1"
    )


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (report(3200, 800, 2400), report(3200, 1600, 1600), ""),
        (report(3200, 800, 2400), report(3200, 1600, 1599), "but the others add up to 3199"),
        (report(3200, 800, 2400), report(3200, 799, 2401), "played went back from 800 to 799"),
        (report(3200, 800, 2400), report(3201, 801, 2400), "but 3200 bytes had been sent"),
        (report(3200, 800, 2400), "PLAYBACK received=3200", "counts are missing"),
    ],
    ids=["right", "sum", "back", "too much", "missing"],
)
def test_a_report_is_whole_and_never_goes_back(first: str, second: str, why: str) -> None:
    call = Call()
    call.send(1, 3200)
    call.play(20, 0, 1600)
    call.command(100, "REPORT_PLAYBACK interval_ms=20")
    call.event(120, first)
    call.event(220, second)
    verdicts = [one for one in accounts(call).verdicts if one.name == "PLAYBACK"]
    assert [one.verdict for one in verdicts] == [
        Verdict.PASS,
        Verdict.WRONG if why else Verdict.PASS,
    ]
    assert why in verdicts[1].explanation


# ---- a bent ruler --------------------------------------------------------------------------------


def test_lost_rtp_makes_a_difference_inconclusive() -> None:
    call = interrupted([DISCARDED, flushed()], [FINAL])
    del call.packets[3]
    judged = accounts(call)
    assert judged.verdict == "INCONCLUSIVE"
    assert judged.verdicts[0].explanation.startswith("packets were lost; played is 1760")


def test_the_failure_text_says_what_and_when() -> None:
    judged = accounts(interrupted([DISCARDED, flushed(played=PLAYED + 1)], [FINAL]))
    assert judged.failure_text(judged.verdicts[0]) == (
        'MEDIA_FLUSHED "f1" WRONG: played is 1761, but it should be 1760\n'
        "  (came +0.221000 s; 16 packets, 0 lost)"
    )
