"""report.html: one page that loads nothing, has everything, and stays small."""

from __future__ import annotations

import json
import random
import re
import shutil
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from hand_made import speech_call
from made_results import placed, result, speech, summary

from harness.commands.report import regenerate
from harness.judge.verdicts import Bounds, Verdict
from harness.record.verdict_files import load_call
from harness.report import html
from harness.report.html import write_report
from harness.report.labels import CHARACTER_PIXELS, place_labels
from harness.report.offsets_picture import Offsets, offset_charts
from harness.report.timeline_picture import Limits, TimelinePicture, timeline_picture
from harness.scenarios.result import Outcome, RunSummary, ScenarioResult, save_summary

_VOID = {"meta", "link", "input", "br"}
_LOADING = {"src", "srcset", "poster", "data", "action", "formaction", "background"}


class Page(HTMLParser):
    """Reads a page strictly: every element must be closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str, name: str = "") -> list[dict[str, str]]:
        return [
            found
            for one, found in self.tags
            if one == tag and (not name or name in found.get("class", "").split())
        ]

    @property
    def text(self) -> str:
        return " ".join(data for tag, data in self.texts if tag not in ("script", "style"))


def page(run: Path, *results: ScenarioResult) -> Page:
    return Page(write_report(run, summary(*results)).read_text())


# ---- the page ------------------------------------------------------------------------------------


def test_every_scenario_is_there_with_what_a_reader_needs(tmp_path: Path) -> None:
    call = speech(tmp_path, "patched/call", [0.5, 0.6, -7.25])
    shown = page(
        tmp_path,
        result(Outcome.FAIL, calls=(call,), failures=("m2 EARLY: acked too soon",)),
        result(Outcome.SKIP, scenario="opus", reason="it has no codec opus", target="stock"),
    )
    rows = shown.of("details", "row")
    assert [(row["data-outcome"], row["data-target"]) for row in rows] == [
        ("FAIL", "patched"),
        ("SKIP", "stock"),
    ]
    for text in (
        "Marks behind chunks of any size are in time.",
        "codec=ulaw",
        "m2 EARLY: acked too soon",
        "harness run --target patched 'text_to_speech[codec=ulaw,format=json]' --seed 7",
        "22.10.1",
        "it has no codec opus",
        "harness run --group smoke",
        "one packet capture of both legs",
        "2 pass",
        "1 early",
        "\u22127.25",
        "Scenario by target",
    ):
        assert text in shown.text
    assert {"href": "patched/call/timeline.txt"} in shown.of("a")


def test_it_loads_nothing(tmp_path: Path) -> None:
    call = speech(tmp_path, "call", [0.5])
    path = write_report(tmp_path, summary(result(calls=(call,))))
    text = path.read_text()
    shown = Page(text)
    for tag, attributes in shown.tags:
        assert not _LOADING & attributes.keys() or tag == "figure", (tag, attributes)
        for name in ("href", "xlink:href"):
            assert "//" not in attributes.get(name, ""), (tag, attributes)
        if tag == "link":
            assert attributes["href"] == "data:,"
    assert "http://" not in text
    assert "https://" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_nothing_that_was_measured_can_be_markup(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
    call = speech_call([500], [0.5])
    call.json_command(2, command="MARK", id=evil)
    call.json_event(90, event="MARK_PLAYED", id=evil)
    call.json_event(91, event=evil)
    shown = page(
        tmp_path,
        result(
            Outcome.FAIL,
            scenario=evil,
            parameters={evil: evil},
            proves=evil,
            target=evil,
            version=evil,
            reason=evil,
            failures=(evil,),
            rerun=evil,
            calls=(placed(tmp_path, "call", call),),
        ),
    )
    assert shown.of("img") == []
    assert len(shown.of("script")) == 2  # the picture's data, and ours
    assert shown.text.count("<img src=x onerror=alert(2)>") >= 8
    (data,) = (text for tag, text in shown.texts if tag == "script" and text.startswith("{"))
    assert evil in [mark[0] for mark in json.loads(data)["marks"]]
    assert evil in [row["data-name"].partition("[")[0] for row in shown.of("details", "row")]


def test_a_folder_cannot_be_a_script(tmp_path: Path) -> None:
    call = speech(tmp_path, "javascript:alert(1)", [0.5])
    links = [one["href"] for one in page(tmp_path, result(calls=(call,))).of("a")]
    assert not [link for link in links if link.lower().startswith("javascript:")]


@pytest.mark.parametrize(
    ("outcome", "headline"),
    [
        (Outcome.PASS, "1 of 1 scenario ran, all as expected"),
        (Outcome.FAIL, "1 failed of 1 scenario"),
        (Outcome.INCONCLUSIVE, "1 inconclusive of 1 scenario"),
        (Outcome.ERROR, "1 ended in error of 1 scenario"),
        (Outcome.XPASS, "1 passed unexpectedly of 1 scenario"),
        (Outcome.SKIP, "0 of 1 scenario ran"),
    ],
)
def test_the_headline_says_the_outcome(tmp_path: Path, outcome: Outcome, headline: str) -> None:
    shown = page(tmp_path, result(outcome))
    assert headline in " ".join(shown.text.split())
    (_, word) = next(text for text in shown.texts if text[0] == "span")
    assert word == summary(result(outcome)).outcome.value


def test_what_was_left_out_after_a_failure_is_in_the_table(tmp_path: Path) -> None:
    left_out = result(Outcome.NOT_RUN, scenario="left_out", reason="the run stopped", version="")
    shown = page(tmp_path, result(Outcome.FAIL), left_out)
    assert "1 failed of 1 scenario, 1 not run." in " ".join(shown.text.split())
    rows = [(row["data-name"], row["data-outcome"]) for row in shown.of("details", "row")]
    assert rows[1] == (left_out.name, "NOT_RUN")
    badges = [text for _, text in shown.texts if text == "NOT RUN"]
    assert len(badges) == 2  # in the legend and in the row
    assert {"class": "badge not_run", "title": "the run stopped at an earlier failure"} in (
        shown.of("span", "badge")
    )


def test_of_many_failures_the_first_and_the_last_are_shown(tmp_path: Path) -> None:
    failures = tuple(f"failure {number:03}" for number in range(100))
    text = page(tmp_path, result(Outcome.FAIL, failures=failures)).text
    shown = re.findall(r"failure (\d+)", text)
    # The first one is in the row, too, as the reason.
    assert [int(number) for number in shown[1:]] == [*range(20), *range(95, 100)]
    assert "... 75 more: see timeline.txt of the calls ..." in text


def test_where_there_is_little_to_see_it_is_open(tmp_path: Path) -> None:
    def opened(*outcomes: Outcome) -> list[bool]:
        shown = page(tmp_path, *(result(one, scenario=one.value) for one in outcomes))
        return ["open" in row for row in shown.of("details", "row")]

    assert opened(Outcome.PASS, Outcome.XFAIL) == [True, True]
    assert opened(Outcome.PASS, Outcome.XFAIL, Outcome.SKIP) == [False, False, False]


def test_it_says_what_each_verdict_means(tmp_path: Path) -> None:
    shown = page(tmp_path, result(calls=(speech(tmp_path, "call", [0.5]),)))
    for verdict in Verdict:
        assert shown.text.count(f" {verdict.value} ") >= 1
        assert html.VERDICTS[verdict] in shown.text
    assert {"href": "#key"} in shown.of("a")
    assert {"id": "key"} in shown.of("section")


def test_an_empty_run_is_a_page(tmp_path: Path) -> None:
    assert "Nothing was run." in page(tmp_path).text


def test_what_needs_a_look_comes_first(tmp_path: Path) -> None:
    shown = page(tmp_path, *(result(outcome, scenario=outcome.value) for outcome in Outcome))
    order = [row["data-outcome"] for row in shown.of("details", "row")]
    assert order == ["ERROR", "FAIL", "XPASS", "INCONCLUSIVE", "XFAIL", "PASS", "SKIP", "NOT_RUN"]
    assert [("open" in row) for row in shown.of("details", "row")][:3] == [True, True, False]


def test_a_call_whose_files_are_gone_is_shown_without_a_picture(tmp_path: Path) -> None:
    call = speech(tmp_path, "call", [0.5])
    shutil.rmtree(tmp_path / "call")
    shown = page(tmp_path, result(calls=(call,)))
    assert shown.of("figure", "timeline") == []
    assert "No picture: its files are not beside this report" in shown.text


def test_marks_judged_by_a_wider_bound_are_not_mixed_with_the_others(tmp_path: Path) -> None:
    usual = [speech(tmp_path, f"call-{number}", [0.5]) for number in range(2)]
    wide = placed(tmp_path, "wide", speech_call([500], [900.0]), Bounds(late_ns=10**9))
    shown = page(tmp_path, result(calls=(*usual, wide)))
    assert "1 mark of calls judged by another bound" in shown.text
    text = (tmp_path / "report.html").read_text()
    table = re.findall(r"<table class=\"numbers\">.*?</table>", text, re.S)[0]
    assert "900" not in table


def test_reports_are_made_again_from_the_files_alone(tmp_path: Path) -> None:
    call = speech(tmp_path, "call", [0.5, -3.0])
    run = summary(result(Outcome.FAIL, calls=(call,), failures=("m1 EARLY",)))
    save_summary(tmp_path, run)
    first = write_report(tmp_path, run).read_bytes()
    copy = tmp_path.parent / "elsewhere"
    shutil.copytree(tmp_path, copy)
    (copy / "report.html").unlink()
    junit, report = regenerate(copy)
    assert report.read_bytes() == first
    assert junit.name == "junit.xml"
    assert junit.exists()


# ---- size ----------------------------------------------------------------------------------------


def test_a_big_run_stays_small_and_says_what_it_leaves_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(html, "PICTURES_BYTES", 60_000)
    dice = random.Random(1)
    call = speech(tmp_path, "call", [dice.uniform(0.1, 0.9) for _ in range(200)])
    bad = speech(tmp_path, "bad", [-5.0])
    passed = [result(calls=(call,)) for _ in range(10)]
    path = write_report(tmp_path, summary(*passed, result(Outcome.FAIL, calls=(bad,))))
    shown = Page(path.read_text())
    drawn = shown.of("figure", "timeline")
    assert 1 < len(drawn) < 11
    assert "left out to keep this file small" in shown.text
    empty = len(write_report(tmp_path, summary(*[result()] * 11)).read_text())
    assert path.stat().st_size < empty + 60_000 + 11 * 6000
    # What failed has its picture, although it was the last to be run.
    (row, *_) = shown.of("details", "row")
    assert row["data-outcome"] == "FAIL"
    assert "-5.00" in shown.text


def drawn(run: Path, after_ms: list[float], limits: Limits) -> TimelinePicture:
    speech(run, "call", after_ms)
    return timeline_picture(load_call(run / "call"), limits)


def test_a_long_call_is_thinned_but_keeps_what_failed(tmp_path: Path) -> None:
    after = [0.5] * 300
    after[123], after[222] = -4.0, 7.0
    picture = drawn(tmp_path, after, Limits(frames=100, marks=20, messages=10))
    assert [mark[0] for mark in picture.data["marks"] if mark[7] != "PASS"] == ["m123", "m222"]
    assert len(picture.labels) == 20
    assert 0 < picture.paths["cut"].count("M") <= 130
    assert len(picture.notes) == 2
    assert "20 of its 300 marks" in picture.notes[0]
    # The size that the budget is kept with is near the true one.
    assert picture.size > len(json.dumps(picture.data))


# ---- pictures ------------------------------------------------------------------------------------


def test_a_short_call_is_drawn_completely(tmp_path: Path) -> None:
    picture = drawn(tmp_path, [0.5, -7.0], Limits())
    assert picture.notes == []
    assert picture.paths["cut"].count("M") == 7  # 1000 bytes in frames of 160
    assert picture.paths["stream"].count("M") == 1  # without a gap
    assert picture.paths["dot good"].count("M") == picture.paths["dot bad"].count("M") == 1
    assert [label.text for label in picture.labels] == ["m0 +0.50", "m1 -7.00"]
    assert picture.focus_ms == pytest.approx(145)
    assert picture.data["runs"] == [[20.0, 6, 100, 0, 160, 0], [140.0, 1, 106, 960, 40, 0]]


def test_commands_losses_and_pauses_are_drawn(tmp_path: Path) -> None:
    call = speech_call([1600], [0.5])
    call.command(300, "PAUSE_MEDIA")
    call.json_command(350, command="CONTINUE_MEDIA")
    call.send(380, 160)
    call.command(390, "MARK id=gone")
    call.command(400, "FLUSH_MEDIA id=f")
    call.event(401, "MEDIA_DROPPED bytes=160 reason=overflow offset=0")
    call.event(403, "MARK_DISCARDED id=gone reason=flush")
    del call.packets[4]
    placed(tmp_path, "call", call)
    picture = timeline_picture(load_call(tmp_path / "call"), Limits())
    assert [flag.text for flag in picture.flags] == ["pause", "continue", "flush"]
    assert picture.paths["paused"].startswith("M300 ")
    assert "missing" in picture.paths
    assert ("MEDIA_DROPPED", "bad") in [(one.text, one.kind) for one in picture.events]
    assert picture.paths["dot gone"].count("M") == 1


def test_a_call_without_anything_can_be_drawn(tmp_path: Path) -> None:
    call = speech_call([160], [0.5])
    call.packets.clear()
    placed(tmp_path, "call", call)
    assert timeline_picture(load_call(tmp_path / "call"), Limits()).width_ms > 0


def test_labels_do_not_overlap_and_important_ones_come_first() -> None:
    dice = random.Random(3)
    wanted = [(dice.uniform(0, 2000), "m" * dice.randint(2, 12), False) for _ in range(200)]
    wanted.append((wanted[0][0], "early", True))
    rows = place_labels(wanted, 2.0, 3)
    assert rows[-1] >= 0
    for row in range(3):
        spans = sorted(
            (at * 2, at * 2 + len(text) * CHARACTER_PIXELS)
            for (at, text, _), one in zip(wanted, rows, strict=True)
            if one == row
        )
        assert len(spans) > 10
        assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_targets_share_one_axis_with_the_bound_on_it() -> None:
    dice = random.Random(2)
    patched = Offsets("patched", tuple(dice.randrange(100_000, 900_000) for _ in range(500)))
    stock = Offsets("stock", tuple(dice.randrange(-19_600_000, -300_000) for _ in range(500)))
    wide, close = offset_charts([patched, stock], 2_000_000, 50_000)
    for chart in (wide, close):
        assert [row.target for row in chart.rows] == ["patched", "stock"]
        assert chart.bound[0] == chart.zero < chart.bound[1]
        of_patched, of_stock = chart.rows
        assert not any(bar.early or bar.late for bar in of_patched.bars)
        assert all(bar.early for bar in of_stock.bars)
        assert min(bar.x for bar in of_patched.bars) >= chart.zero
    assert wide.rows[1].below <= 5
    assert close.rows[1].below > 400
    assert [name for name, _ in close.rows[0].percentiles] == ["p50", "p95", "p99", "max"]


def test_one_chart_is_enough_where_all_is_in_time() -> None:
    (chart,) = offset_charts([Offsets("patched", (200_000, 300_000))], 2_000_000, 0)
    assert sum(bar.height > 0 for bar in chart.rows[0].bars) == 2
    assert offset_charts([Offsets("stock", ())], 2_000_000, 0) == []


def test_a_summary_without_calls_has_no_chart(tmp_path: Path) -> None:
    run = RunSummary("harness run", "2026-11-22T11:00:00", 1.0, (result(Outcome.SKIP),))
    shown = Page(write_report(tmp_path, run).read_text())
    assert "No mark was acknowledged whose time could be judged." in shown.text
    assert "No call was judged." in shown.text
