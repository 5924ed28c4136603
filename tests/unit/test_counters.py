"""The judge of Asterisk's playback counters, on timelines made by hand."""

from __future__ import annotations

import pytest
from hand_made import Call

from harness.judge.call import JudgedCall, judge_call
from harness.judge.verdicts import CounterVerdict, Verdict

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


def judged_call(call: Call) -> JudgedCall:
    timeline = call.timeline(1000)
    return judge_call(timeline)


DISCARDED = "MARK_DISCARDED id=m2 reason=flush"


def the_flush(call: Call) -> CounterVerdict:
    (found,) = (one for one in judged_call(call).counters if "MEDIA_FLUSHED" in one.name)
    return found


def test_right_accounts_pass() -> None:
    judged = judged_call(interrupted([DISCARDED, flushed()], [FINAL]))
    assert judged.counters_result == "PASS", [one.explanation for one in judged.counters]
    flush = judged.counters[0]
    assert (flush.reported_bytes, flush.captured_bytes, flush.difference_bytes) == (1760, 1760, 0)
    assert flush.since_mark_difference_ms == 0.0
    assert [one.name for one in judged.counters] == [
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
    assert judged_call(call).counters_result == "FAIL"


def test_an_answer_that_no_flush_asked_for() -> None:
    call = interrupted([DISCARDED, flushed(), flushed(id="f2")], [FINAL])
    verdicts = [one.verdict for one in judged_call(call).counters]
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


def the_final(final: list[str], closed_by: str = "asterisk") -> CounterVerdict | None:
    call = interrupted([DISCARDED, flushed()], final, closed_by)
    finals = [one for one in judged_call(call).counters if one.name == "PLAYBACK final"]
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
        ([FINAL.replace("dropped=0", "dropped=1")], Verdict.WRONG),
        (["MEDIA_DROPPED bytes=1 reason=partial offset=9", FINAL], Verdict.WRONG),
    ],
    ids=["right", "missing", "twice", "not last", "played", "received", "not told", "told"],
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

    assert judged_call(call([])).counters == ()
    kinds = {one.name: one.verdict for one in judged_call(call([FINAL])).counters}
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
    verdicts = [one for one in judged_call(call).counters if one.name == "PLAYBACK"]
    assert [one.verdict for one in verdicts] == [
        Verdict.PASS,
        Verdict.WRONG if why else Verdict.PASS,
    ]
    assert why in verdicts[1].explanation


# ---- PLAYBACK against the wire -------------------------------------------------------------------


def reported(at_ms: float, played: int, **timeline: object) -> CounterVerdict:
    """A report in a call that plays 1600 bytes from 20 ms on."""
    call = Call()
    call.send(1, 1600)
    call.play(20, 0, 1600)
    call.command(2, "REPORT_PLAYBACK interval_ms=20")
    call.event(at_ms, report(1600, played, 1600 - played))
    timed = call.timeline(**timeline)  # type: ignore[arg-type]
    (found,) = judge_call(timed).counters[:1]
    return found


@pytest.mark.parametrize(
    ("at_ms", "played", "verdict"),
    [
        (130, 880, Verdict.PASS),
        # A frame of 20 ms less or more, and 2 ms that the report was on its way
        (130, 640, Verdict.PASS),
        (130, 639, Verdict.WRONG),
        (130, 1120, Verdict.PASS),
        (130, 1121, Verdict.WRONG),
        (1000, 1600, Verdict.PASS),
        (1000, 1599, Verdict.WRONG),
        (1000, 0, Verdict.WRONG),
    ],
)
def test_what_a_report_says_was_played_is_held_against_the_wire(
    at_ms: float, played: int, verdict: Verdict
) -> None:
    assert reported(at_ms, played).verdict is verdict


def test_a_stall_around_a_report_makes_it_inconclusive() -> None:
    assert reported(130, 480).explanation == "played is 480, but it was between 640 and 1120 then"
    found = reported(130, 480, stalls_ms=[(100, 120)])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.explanation.startswith("the host stalled around it; played is 480")
    assert reported(130, 480, stalls_ms=[(900, 920)]).verdict is Verdict.WRONG


def test_the_times_of_a_report_are_those_of_its_bytes() -> None:
    call = Call()
    call.send(1, 1600)
    call.play(20, 0, 1600)
    call.command(2, "REPORT_PLAYBACK interval_ms=20")
    call.event(1000, report(1600, 1600, 0).replace("played_ms=200", "played_ms=77"))
    (found, *_) = judged_call(call).counters
    assert found.explanation == "played_ms is 77.0, but it should be 200.000"


def asked_for_reports(answered_ms: list[float], *commands: str) -> list[tuple[str, Verdict]]:
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    for command in commands:
        call.command(1, command)
    for at_ms in answered_ms:
        call.event(at_ms, report(0, 0, 0))
    call.event(900, report(0, 0, 0) + " final=1")
    call._add(901, "asterisk", "close", b"")
    return [
        (one.name, one.verdict)
        for one in judged_call(call).counters
        if one.verdict is not Verdict.PASS
    ]


@pytest.mark.parametrize(
    ("answered_ms", "commands", "found"),
    [
        ([1.2], ["REPORT_PLAYBACK"], []),
        ([22.9], ["REPORT_PLAYBACK"], []),
        ([23.1], ["REPORT_PLAYBACK"], [("PLAYBACK", Verdict.LATE)]),
        ([], ["REPORT_PLAYBACK"], [("PLAYBACK", Verdict.NEVER)]),
        ([], ['{"command":"REPORT_PLAYBACK"}'], [("PLAYBACK", Verdict.NEVER)]),
        ([1.2], ["REPORT_PLAYBACK", "REPORT_PLAYBACK"], [("PLAYBACK", Verdict.NEVER)]),
        ([], ["REPORT_PLAYBACK interval_ms=20"], []),
        ([], ["REPORT_PLAYBACK nonsense"], []),
        ([], ['{"command":"REPORT_PLAYBACK","interval_ms":20}'], []),
        ([50], ["REPORT_PLAYBACK interval_ms=20", "REPORT_PLAYBACK"], []),
    ],
)
def test_each_report_that_was_asked_for_comes(
    answered_ms: list[float], commands: list[str], found: list[tuple[str, Verdict]]
) -> None:
    assert asked_for_reports(answered_ms, *commands) == found


# ---- only those who ask --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (report(0, 0, 0), "PLAYBACK"),
        ("MEDIA_DROPPED bytes=5 reason=overflow offset=3", "MEDIA_DROPPED"),
        ("MEDIA_FLUSHED id=f", "MEDIA_FLUSHED"),
        ("ERROR channel_id:x command:MARK error_text:no", "ERROR"),
        ('{"event":"ERROR","channel_id":"x","command":"MARK","error_text":"no"}', "ERROR"),
        # Asterisk's own
        ("ERROR channel_id:x error_text:bad command:MARK", None),
        ('{"event":"ERROR","channel_id":"x","error_text":"no"}', None),
        ("QUEUE_DRAINED", None),
        ("MEDIA_MARK_PROCESSED a", None),
    ],
)
def test_an_application_that_never_asked_hears_nothing_new(event: str, name: str | None) -> None:
    def unasked(*commands: str) -> list[str]:
        call = Call()
        call.event(0, "MEDIA_START channel:x playback_marks:1")
        for command in commands:
            call.command(1, command)
        call.event(5, event)
        kinds = judged_call(call).counters
        return [one.name for one in kinds if one.verdict is Verdict.UNASKED]

    expected = [name] if name else []
    assert unasked() == expected
    assert unasked("MARK_MEDIA a", "FLUSH_MEDIA", "GET_STATUS") == expected
    if name != "MEDIA_FLUSHED":
        for command in ("MARK", "REPORT_PLAYBACK x", "FLUSH_MEDIA id=", "FLUSH_MEDIA id=f"):
            assert unasked(command) == []
        assert unasked('{"command":"FLUSH_MEDIA","id":{}}') == []


# ---- what is missing in the middle, or behind the last that left ---------------------------------


def ended(
    sent: int, played: int, final_ms: float = 2000, *others: tuple[float, str], **timeline: object
) -> str:
    """What is said of the last report of a call that plays the first of the bytes it was sent."""
    call = Call()
    call.command(1, "REPORT_PLAYBACK interval_ms=1000")
    call.send(2, sent)
    call.play(20, 0, played)
    for at_ms, text in others:
        (call.command if text.isupper() else call.event)(at_ms, text)
    lost = sum(int(text.split("bytes=")[1].split()[0]) for _, text in others if "bytes" in text)
    call.event(
        final_ms,
        f"PLAYBACK received={sent} played={played} queued=0 flushed={sent - played - lost} "
        f"dropped={lost} played_ms={played / 8} queued_ms=0 marks=0 underruns=0 paused=0 final=1",
    )
    call._add(final_ms + 0.1, "asterisk", "close", b"")
    timed = call.timeline(**timeline)  # type: ignore[arg-type]
    return judge_call(timed).counters[-1].explanation


def test_media_that_was_never_played_was_not_flushed_at_a_hang_up_long_after() -> None:
    never = "1600 bytes from 0 on were never sent, and nothing flushed or dropped them"
    assert ended(3200, 1600) == never
    assert ended(3200, 1600, 300) == ""  # the call ended while it was played
    assert ended(1759, 1600) == ""  # the beginning of a frame waits for its rest
    assert ended(3200, 1600, 2000, (100, "PAUSE_MEDIA")) == ""
    assert ended(3200, 1600, 2000, (100, "PAUSE_MEDIA"), (1900, "CONTINUE_MEDIA")) == ""
    assert ended(3200, 1600, 2000, (100, "PAUSE_MEDIA"), (200, "CONTINUE_MEDIA")) == never
    assert ended(3200, 1600, 2000, (100, "FLUSH_MEDIA")) == ""
    told = "MEDIA_DROPPED bytes=1600 reason=overflow offset=1600"
    assert ended(3200, 1600, 2000, (100, told)) == ""
    assert ended(3200, 1600, stalls_ms=[(250, 1000)]) == ""


@pytest.mark.parametrize("flushed", [True, False])
def test_bytes_lost_in_the_middle_were_not_flushed(flushed: bool) -> None:
    """Neither by a flush, which takes all that follows, nor at the end."""

    def explanations(*others: str) -> list[str]:
        call = Call()
        call.send(1, 3200)
        call.command(1, "REPORT_PLAYBACK interval_ms=1000")
        call.play(20, 0, 800)
        call.play(120, 960, 1760)
        for text in others:
            call.event(150, text)
        dropped = 160 * len(others)
        if flushed:
            call.command(219, "FLUSH_MEDIA id=f")
            call.event(
                221,
                f"MEDIA_FLUSHED id=f played=1600 flushed={1600 - dropped} played_ms=200 "
                f"flushed_ms={200 - dropped / 8}",
            )
        call.event(
            230,
            f"PLAYBACK received=3200 played=1600 queued=0 flushed={1600 - dropped} "
            f"dropped={dropped} played_ms=200 queued_ms=0 marks=0 final=1",
        )
        call._add(231, "asterisk", "close", b"")
        return [one.explanation for one in judged_call(call).counters if one.explanation]

    assert explanations() == [
        "160 bytes from 0 on were never sent, and nothing flushed or dropped them"
    ]
    assert explanations("MEDIA_DROPPED bytes=160 reason=overflow offset=800") == []


# ---- a flush in time -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at_ms", "stalls_ms", "verdict"),
    [
        # The frame in play ends at 240 ms, and one more is allowed.
        (261.9, [], Verdict.PASS),
        (262.1, [], Verdict.LATE),
        (4000, [], Verdict.LATE),
        (270, [(262, 268)], Verdict.INCONCLUSIVE),
        (270, [(500, 505)], Verdict.INCONCLUSIVE),
    ],
)
def test_a_flush_is_answered_when_what_was_handed_over_has_been_played(
    at_ms: float, stalls_ms: list[tuple[float, float]], verdict: Verdict
) -> None:
    call = Call()
    call.send(1, 3200)
    call.play(20, 0, PLAYED)
    call.command(219.9, "FLUSH_MEDIA id=f1")
    call.event(at_ms, flushed(last_mark=None, since_mark_ms=None))
    timed = call.timeline(stalls_ms=stalls_ms)
    assert judge_call(timed).counters[0].verdict is verdict


# ---- an unreliable measurement -------------------------------------------------------------------


def test_lost_rtp_makes_a_difference_inconclusive() -> None:
    call = interrupted([DISCARDED, flushed()], [FINAL])
    del call.packets[3]
    judged = judged_call(call)
    assert judged.counters_result == "INCONCLUSIVE"
    assert judged.counters[0].explanation.startswith("RTP is missing; played is 1760")


def test_the_failure_text_says_what_and_when() -> None:
    judged = judged_call(interrupted([DISCARDED, flushed(played=PLAYED + 1)], [FINAL]))
    assert judged.counter_text(judged.counters[0]) == (
        'MEDIA_FLUSHED "f1" WRONG: played is 1761, but it should be 1760\n'
        "  (came +0.221000 s; 16 packets, 0 missing)"
    )


@pytest.mark.parametrize(
    ("reason", "lost", "said", "verdict"),
    [
        ("bridge", 160, 640, Verdict.PASS),
        ("bridge", 160, 800, Verdict.PASS),
        ("bridge", 160, 801, Verdict.WRONG),
        ("bridge", 160, 639, Verdict.WRONG),
        ("bridge", 320, 639, Verdict.WRONG),
        ("bridge", 40, 759, Verdict.WRONG),
        ("overflow", 160, 640, Verdict.WRONG),
    ],
)
def test_a_frame_that_a_bridge_may_have_lost_need_not_be_counted_as_played(
    reason: str, lost: int, said: int, verdict: Verdict
) -> None:
    call = Call()
    call.send(1, 1600)
    call.command(1, "REPORT_PLAYBACK")
    call.play(20, 0, 800)
    call.event(130, f"MEDIA_DROPPED bytes={lost} reason={reason} offset=800")
    call.event(
        200,
        f"PLAYBACK received=1600 played={said} queued=0 flushed={1600 - said - lost} "
        f"dropped={lost} played_ms=0 queued_ms=0 marks=0 underruns=0 paused=0 at=1 final=1",
    )
    finals = [one for one in judged_call(call).counters if one.name == "PLAYBACK final"]
    assert [one.verdict for one in finals] == [verdict]
    assert finals[0].difference_bytes == said - 800


# ---- what could not be held against anything -----------------------------------------------------


def test_an_open_connection_may_still_carry_what_is_owed() -> None:
    call = Call()
    call.send(1, 3200)
    call.play(20, 0, 1600)
    call.command(110, "FLUSH_MEDIA id=7")
    judged = judged_call(call)
    kinds = {one.name: (one.verdict, one.time_ns) for one in judged.counters}
    assert kinds == {
        'MEDIA_FLUSHED "7"': (Verdict.INCONCLUSIVE, None),
        "PLAYBACK final": (Verdict.INCONCLUSIVE, None),
    }
    assert judged.counters_result == "INCONCLUSIVE"
    assert judged.counters[0].explanation.startswith("it did not come, but the connection was")
    assert "(came never; 10 packets, 0 missing)" in judged.counter_text(judged.counters[0])


def test_nothing_is_owed_to_an_application_that_closed() -> None:
    judged = judged_call(interrupted([DISCARDED], [], closed_by="application"))
    assert (judged.counters, judged.counters_result) == ((), "PASS")


def test_lost_rtp_excuses_nothing_that_needs_no_wire() -> None:
    def kinds(answers: list[str], final: str) -> list[Verdict]:
        call = interrupted(answers, [final])
        del call.packets[3]
        return [one.verdict for one in judged_call(call).counters if one.name != "PLAYBACK"]

    right, wrong = Verdict.INCONCLUSIVE, Verdict.WRONG
    assert kinds([DISCARDED, flushed()], FINAL) == [right, right]
    assert kinds([DISCARDED, flushed(last_mark="m2")], FINAL) == [wrong, right]
    for change in ("queued=0", "marks=0", "received=4000"):
        last = FINAL.replace(change, change + "1")
        assert kinds([DISCARDED, flushed()], last) == [right, wrong], change


def test_a_capture_that_lost_packets_may_have_lost_any_answer() -> None:
    for final in ([], [FINAL, FINAL], [FINAL, "QUEUE_DRAINED"]):
        timeline = interrupted([DISCARDED, flushed()], final).timeline(1000, dropped=1)
        assert judge_call(timeline).counters_result == "INCONCLUSIVE"


def test_a_capture_that_lost_packets_makes_a_difference_inconclusive() -> None:
    timeline = interrupted([DISCARDED, flushed(played=PLAYED + 1)], [FINAL]).timeline(
        1000, dropped=1
    )
    judged = judge_call(timeline)
    assert judged.counters_result == "INCONCLUSIVE"
    assert judged.counters[0].explanation.startswith("the capture missed packets; played is 1761")


def test_silence_that_could_be_from_elsewhere_makes_a_difference_inconclusive() -> None:
    def judged(played: int) -> JudgedCall:
        call = Call()
        call.send(1, 160)
        call.send_bytes(1, b"\xff" * 480)
        call.send(1, 320)
        call.play(20, 0, 160)
        for count in range(1, 4):
            call.packet(20 + 20 * count, b"\xff" * 160)
        call.command(95, "FLUSH_MEDIA")
        call.send(96, 480)
        call.play(100, 960, 1440)  # bytes 640 to 960 are missing: so much silence is not certain
        call.command(200, "FLUSH_MEDIA id=7")
        milliseconds = f"played_ms={played / 8} flushed_ms=0"
        call.event(201, f"MEDIA_FLUSHED id=7 played={played} flushed=0 {milliseconds}")
        return judged_call(call)

    assert judged(1120).counters[0].verdict is Verdict.PASS
    assert judged(1121).counters[0].verdict is Verdict.INCONCLUSIVE
    assert judged(1121).counters[0].explanation.startswith("packets could not be located; played")


# ---- more that can be wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("received", "received is 3999, but it should be 4000"),
        ("played", "played is 2561, but it should be 2560"),
        ("queued", "queued is 1, but it should be 0"),
        ("marks", "marks is 1, but it should be 0"),
    ],
)
def test_what_is_wrong_in_the_last_report(field: str, wrong: str) -> None:
    said = wrong.split(",")[0].rpartition(" ")[2]
    fields = [
        f"{field}={said}" if part.startswith(f"{field}=") else part for part in FINAL.split(" ")
    ]
    found = the_final([" ".join(fields)])
    assert found is not None
    assert (found.verdict, found.explanation) == (Verdict.WRONG, wrong)


@pytest.mark.parametrize(
    ("stalls_ms", "verdict"),
    [([(100.0, 299.0)], "INCONCLUSIVE"), ([(100.0, 119.0)], "WRONG"), ([(1.0, 60.0)], "WRONG")],
)
def test_what_a_stall_kept_from_leaving_until_the_call_ended_is_inconclusive(
    stalls_ms: list[tuple[float, float]], verdict: str
) -> None:
    call = Call()
    call.send(2, 3200)
    call.command(2, "MARK id=a")
    call.play(20, 0, 800)  # until 100 ms, and nothing after that
    call.event(420.5, "MARK_PLAYED id=a")
    call.event(
        500,
        "PLAYBACK received=3200 played=3200 queued=0 flushed=0 dropped=0 played_ms=400 "
        "queued_ms=0 marks=0 underruns=0 paused=0 final=1",
    )
    call._add(501, "asterisk", "close", b"")
    timeline = call.timeline(600, stalls_ms=stalls_ms)
    judged = judge_call(timeline)
    assert [mark.verdict.value for mark in judged.marks] == [verdict]
    assert judged.counters_result == ("FAIL" if verdict == "WRONG" else verdict)


def test_losses_told_and_counted_must_agree() -> None:
    def explanation(told: int, counted: int) -> str:
        call = Call()
        call.command(1, "REPORT_PLAYBACK")
        call.send(2, 1700)
        call.play(20, 0, 1600)
        if told:
            call.event(100, f"MEDIA_DROPPED bytes={told} reason=partial offset=1600")
        # Where the final report comes, all the others are over.
        call.event(
            300,
            f"PLAYBACK received=1700 played=1600 queued=0 flushed={100 - counted} "
            f"dropped={counted} played_ms=200 queued_ms=0 marks=0 underruns=0 paused=0 final=1",
        )
        call._add(301, "asterisk", "close", b"")
        return judged_call(call).counters[-1].explanation

    assert explanation(100, 100) == ""
    assert explanation(99, 100) == "dropped is 100, but MEDIA_DROPPED events reported 99"
    assert explanation(0, 100) == "dropped is 100, but MEDIA_DROPPED events reported 0"
    assert explanation(100, 99) == "dropped is 99, but MEDIA_DROPPED events reported 100"


@pytest.mark.parametrize(
    "name", ["received", "played", "flushed", "dropped", "played_ms", "underruns"]
)
def test_no_count_goes_back(name: str) -> None:
    def fields(**changes: float) -> str:
        counts: dict[str, float] = {
            "received": 3200,
            "played": 1600,
            "queued": 1000,
            "flushed": 400,
            "dropped": 200,
            "played_ms": 200.0,
            "underruns": 3,
        }
        counts.update(changes)
        return "PLAYBACK " + " ".join(f"{key}={value}" for key, value in counts.items())

    less = {"received": 3040, "played": 1440, "flushed": 240, "dropped": 40}
    less |= {"played_ms": 180, "underruns": 2}
    # What is missing in one count is in another: all adds up again.
    rest = {"received": {"queued": 840}, "played_ms": {}, "underruns": {}}.get(
        name, {"queued": 1160}
    )
    call = Call()
    call.send(1, 3200)
    call.command(1, "REPORT_PLAYBACK interval_ms=20")
    call.play(20, 0, 1600)
    call.event(220, fields())
    call.event(240, fields(**{name: less[name]}, **rest))
    first, second = (one for one in judged_call(call).counters if one.name == "PLAYBACK")
    assert (first.verdict, second.verdict) == (Verdict.PASS, Verdict.WRONG)
    assert second.explanation.startswith(f"{name} went back from")


def test_the_worst_account_is_the_verdict() -> None:
    def verdict(played: int, closed: bool) -> str:
        call = interrupted([DISCARDED, flushed(played=played)], [FINAL] if closed else [])
        if not closed:
            call._messages.pop()  # so that the final report may still come
        return judged_call(call).counters_result

    assert verdict(PLAYED, closed=True) == "PASS"
    assert verdict(PLAYED, closed=False) == "INCONCLUSIVE"
    assert verdict(PLAYED + 1, closed=False) == "FAIL"


@pytest.mark.parametrize(
    ("command", "asks"),
    [
        ("MARK id=a", True),
        ("MARK nonsense", True),
        ("REPORT_PLAYBACK", True),
        ("REPORT_PLAYBACK nonsense", True),
        ("FLUSH_MEDIA id=f", True),
        ("FLUSH_MEDIA", False),
        ("MARK_MEDIA id=a", False),
        ("NO_SUCH_COMMAND id=a", False),
    ],
)
def test_which_commands_ask_for_a_last_report(command: str, asks: bool) -> None:
    call = Call()
    call.command(1, command)
    call._add(2, "asterisk", "close", b"")
    assert ("PLAYBACK final" in [one.name for one in judged_call(call).counters]) == asks


@pytest.mark.parametrize(
    ("played", "flushed_bytes", "verdict"),
    [
        (320, 680, Verdict.PASS),
        # One frame was handed over as the call ended, and left nowhere.
        (480, 520, Verdict.PASS),
        (640, 360, Verdict.WRONG),
        (160, 840, Verdict.WRONG),
        # All had been played: then there is no such frame.
        (1000, 0, Verdict.WRONG),
    ],
)
@pytest.mark.parametrize("stage", ["", " stage=delivered", " stage=sent"])
def test_one_frame_may_go_nowhere_as_the_call_ends(
    played: int, flushed_bytes: int, verdict: Verdict, stage: str
) -> None:
    if stage == " stage=sent" and played == 480:
        verdict = Verdict.WRONG
    call = Call()
    call.event(0, "MEDIA_START channel:x")
    call.send(1, 1000)
    call.command(1, "MARK id=m1")
    call.play(20, 0, 320)
    call.event(61, "MARK_DISCARDED id=m1 reason=hangup")
    call.event(
        61,
        f"PLAYBACK received=1000 played={played} queued=0 flushed={flushed_bytes} dropped=0 "
        f"played_ms={played / 8:.3f} queued_ms=0.000 marks=0 underruns=0 paused=0{stage} at=0 "
        "final=1",
    )
    call._add(61.1, "asterisk", "close", b"\x03\xe8")
    (final,) = (one for one in judged_call(call).counters if one.name == "PLAYBACK final")
    assert final.verdict is verdict


# ---- media that waits for its listener -----------------------------------------------------------

HELD_MS, GOES_ON_MS = 110, 1500
"""when media begins to wait, half-way through the frame at 100 ms, and when it goes on"""
HEARD = 800
"""bytes that have left by then"""
SPOKEN = 2400


def suspension(name: str, at_ms: float = HELD_MS, /, **changes: object) -> dict[str, object]:
    """An event in JSON with counters that are right when media begins to wait."""
    played = 720
    fields = {"event": name, "received": SPOKEN, "played": played, "queued": SPOKEN - played}
    fields |= {"flushed": 0, "dropped": 0, "played_ms": played / 8, "queued_ms": 210.0}
    return fields | {"marks": 2, "underruns": 0, "paused": False, "at": at_ms} | changes


def held(*, reason: str = "hold", resumed: bool = True, acked_ms: float = 1600.5) -> Call:
    """Speech during which the caller holds: all behind 100 ms waits until he is back."""
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:1")
    call.send(1, 400)
    call.command(1, "MARK id=heard")
    call.send(1, SPOKEN - 400)
    call.command(1, "MARK id=late")
    call.play(20, 0, HEARD)
    call.event(70.5, "MARK_PLAYED id=heard")
    call.json_event(HELD_MS, **suspension("PLAYBACK_SUSPENDED", reason=reason))
    if resumed:
        back = {"played": HEARD, "queued": SPOKEN - HEARD, "played_ms": HEARD / 8}
        call.json_event(GOES_ON_MS, **suspension("PLAYBACK_RESUMED", GOES_ON_MS, **back))
        call._timestamp += 8 * (GOES_ON_MS - 120)
        call.play(GOES_ON_MS + 0.1, HEARD, SPOKEN)
        call.event(acked_ms + 100, "MARK_PLAYED id=late")
    return call


def waited(call: Call) -> CounterVerdict:
    (found,) = (one for one in judged_call(call).counters if one.name == "PLAYBACK_SUSPENDED")
    return found


def test_media_that_waits_for_its_listener_passes() -> None:
    judged = judge_call(held().timeline(2500))
    assert [one.verdict for one in judged.marks] == [Verdict.PASS, Verdict.PASS]
    assert [(one.name, one.verdict) for one in judged.counters if "SUSP" in one.name] == [
        ("PLAYBACK_SUSPENDED", Verdict.PASS)
    ], judged.counters


def test_media_that_leaves_while_it_waits_is_seen() -> None:
    call = held(resumed=False)
    call.play(260, HEARD, SPOKEN)
    call.json_event(1500, **suspension("PLAYBACK_RESUMED", 1500, played=SPOKEN, queued=0))
    found = waited(call)
    assert found.verdict is Verdict.WRONG
    assert f"{SPOKEN - HEARD} bytes left while Asterisk said that media waited" in found.explanation


def test_a_mark_acknowledged_while_its_media_waits_is_seen() -> None:
    early, late = held(acked_ms=400), held(resumed=False)
    late.event(500, "MARK_PLAYED id=late")
    for call, verdict in ((early, Verdict.EARLY), (late, Verdict.WRONG)):
        (mark,) = (one for one in judge_call(call.timeline(2500)).marks if one.id == "late")
        assert mark.verdict is verdict, mark


@pytest.mark.parametrize(
    ("reason", "resumed", "says"),
    [
        ("lunch", {}, "the reason is 'lunch'"),
        ("hold", {"played": SPOKEN, "queued": 0}, "played is 2400"),
        ("hold", {"queued": 1}, "the others add up to"),
    ],
    ids=["an unknown reason", "too much played", "a wrong sum"],
)
def test_a_wrong_suspension_is_seen(reason: str, resumed: dict[str, object], says: str) -> None:
    call = held(reason=reason, resumed=False)
    call.json_event(700, **suspension("PLAYBACK_RESUMED", **resumed))
    found = waited(call)
    assert found.verdict is Verdict.WRONG
    assert says in found.explanation


def test_a_suspension_that_nobody_asked_for_is_seen() -> None:
    call = Call()
    call.event(0, "MEDIA_START channel:x playback_marks:1")
    call.event(10, "PLAYBACK_SUSPENDED reason=alone")
    call.command(20, "MARK id=a")
    call.event(20.5, "MARK_PLAYED id=a")
    call.event(25, "PLAYBACK_SUSPENDED reason=hold")
    call.event(30, "PLAYBACK_RESUMED")
    call.event(40, "PLAYBACK_RESUMED")
    unasked = [
        (one.name, one.explanation)
        for one in judged_call(call).counters
        if one.verdict is Verdict.UNASKED
    ]
    assert unasked == [
        ("PLAYBACK_SUSPENDED", "the application had not opted in"),
        ("PLAYBACK_SUSPENDED", "media waited already"),
        ("PLAYBACK_RESUMED", "media did not wait"),
    ]


def test_what_waits_at_hang_up_does_not_lie_about() -> None:
    call = held(resumed=False)
    call.event(2000, "MARK_DISCARDED id=late reason=hangup")
    counts = f"received={SPOKEN} played={HEARD} queued=0 flushed={SPOKEN - HEARD} dropped=0"
    call.event(
        2000,
        f"PLAYBACK {counts} played_ms=100.000 queued_ms=0.000 marks=0 underruns=0 paused=0 "
        "at=1800000002000.000 final=1",
    )
    call._add(2000.1, "asterisk", "close", b"\x03\xe8")
    judged = judge_call(call.timeline(2500))
    assert judged.result == "PASS", (judged.marks, judged.counters)
