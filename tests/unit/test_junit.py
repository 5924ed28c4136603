"""junit.xml, read back as a CI system does."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from made_results import result, speech, summary

from harness.report.junit import write_junit
from harness.scenarios.result import Outcome, ScenarioResult


def read(folder: Path, *results: ScenarioResult) -> ET.Element:
    write_junit(folder / "junit.xml", summary(*results))
    return ET.parse(folder / "junit.xml").getroot()


def case(root: ET.Element) -> ET.Element:
    (only,) = root.iter("testcase")
    return only


@pytest.mark.parametrize(
    ("outcome", "tag", "kind"),
    [
        (Outcome.FAIL, "failure", "FAIL"),
        (Outcome.XPASS, "failure", "XPASS"),
        (Outcome.INCONCLUSIVE, "error", "inconclusive"),
        (Outcome.ERROR, "error", "environment"),
        (Outcome.SKIP, "skipped", None),
        (Outcome.XFAIL, "skipped", None),
        (Outcome.NOT_RUN, "skipped", None),
    ],
)
def test_what_is_not_a_pass_says_so(
    tmp_path: Path, outcome: Outcome, tag: str, kind: str | None
) -> None:
    root = read(tmp_path, result(outcome, reason="because", failures=("m1 EARLY", "m2 EARLY")))
    (said,) = (one for one in case(root) if one.tag in ("failure", "error", "skipped"))
    assert (said.tag, said.get("type")) == (tag, kind)
    assert "because" in (said.get("message") or "")
    counts = {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")}
    wanted = {"failure": "failures", "error": "errors", "skipped": "skipped"}[tag]
    assert counts == {"tests": "1", "failures": "0", "errors": "0", "skipped": "0", wanted: "1"}
    if tag != "skipped":
        assert "m2 EARLY" in (said.text or "")
        assert "harness run --target patched" in (said.text or "")


def test_an_expected_failure_is_skipped_with_its_reason(tmp_path: Path) -> None:
    root = read(tmp_path, result(Outcome.XFAIL, reason="acks on the tick"))
    skipped = case(root).find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "expected failure: acks on the tick"


def test_what_was_left_out_after_a_failure_is_skipped_with_its_reason(tmp_path: Path) -> None:
    root = read(tmp_path, result(Outcome.NOT_RUN, reason="the run stopped", attempts=0))
    skipped = case(root).find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "not run: the run stopped"


def test_repeated_scenarios_are_told_apart_by_their_seeds(tmp_path: Path) -> None:
    root = read(
        tmp_path,
        result(),
        result(seed=8),
        result(scenario="once"),
        result(target="stock"),
    )
    names = [one.get("name") for one in root.iter("testcase")]
    tts = result().name
    assert names == [
        f"{tts} (seed 7)",
        f"{tts} (seed 8)",
        "once[codec=ulaw,format=json]",
        tts,
    ]


def test_a_pass_has_its_seed_and_how_to_run_it_again(tmp_path: Path) -> None:
    passed = case(read(tmp_path, result(calls=(speech(tmp_path, "call", [0.5]),))))
    assert passed.get("name") == "text_to_speech[codec=ulaw,format=json]"
    assert passed.get("classname") == "patched.text_to_speech"
    assert passed.get("time") == "2.500"
    values = {one.get("name"): one.get("value") for one in passed.iter("property")}
    assert values["seed"] == "7"
    assert values["rerun"] == result().rerun
    assert {one.tag for one in passed} == {"properties", "system-out"}


def test_one_suite_a_target(tmp_path: Path) -> None:
    root = read(
        tmp_path, result(), result(Outcome.FAIL, target="stock", version="22.9.0"), result(seed=8)
    )
    suites = [(one.get("name"), one.get("tests"), one.get("failures")) for one in root]
    assert suites == [("patched", "2", "0"), ("stock", "1", "1")]
    versions = [one.get("value") for one in root.iter("property") if one.get("name") == "version"]
    assert versions == ["22.10.1", "22.9.0"]


def test_any_text_makes_readable_xml(tmp_path: Path) -> None:
    odd = 'mark "a\x00\x1b\ud800<&]]>\U0001f600" EARLY'
    root = read(tmp_path, result(Outcome.FAIL, failures=(odd,), scenario="<&\x01>"))
    failure = case(root).find("failure")
    assert failure is not None
    assert 'mark "a\ufffd\ufffd\ufffd<&]]>\U0001f600" EARLY' in (failure.text or "")


def test_what_could_not_be_judged_is_told_of_a_pass(tmp_path: Path) -> None:
    call = speech(tmp_path, "a/b", [0.5])
    root = read(tmp_path, result(reason="1 of 48", failures=("m1 INCONCLUSIVE",), calls=(call,)))
    said = case(root).findtext("system-out") or ""
    assert "1 of 48" in said and "m1 INCONCLUSIVE" in said
    assert [one.tag for one in case(root)] == ["properties", "system-out"]


def test_what_is_inconclusive_in_a_run_that_passed_is_skipped(tmp_path: Path) -> None:
    results = [result(seed=seed) for seed in range(19)]
    inconclusive = result(Outcome.INCONCLUSIVE, reason="stalled")
    run = replace(summary(*results, inconclusive), max_inconclusive=5.0)
    write_junit(tmp_path / "junit.xml", run)
    root = ET.parse(tmp_path / "junit.xml").getroot()
    [skipped] = root.iter("skipped")
    assert skipped.get("message") == "inconclusive: stalled"
    assert (root.get("errors"), root.get("skipped")) == ("0", "1")
