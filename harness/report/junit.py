"""A run as JUnit XML, which CI systems read: a test suite a target, a test case a scenario."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from harness.scenarios.result import Outcome, RunSummary, ScenarioResult

JUNIT_FILE = "junit.xml"

# XML 1.0 cannot hold these; ids of marks may contain them.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_SKIPPED = {
    Outcome.SKIP: "",
    Outcome.XFAIL: "expected failure: ",
    Outcome.NOT_RUN: "not run: ",
}
"""What neither passed nor failed, with the beginning of its message"""
_FAILED = (Outcome.FAIL, Outcome.XPASS)
_ERRORS = {Outcome.ERROR: "environment", Outcome.INCONCLUSIVE: "inconclusive"}
"""What did not succeed and is not the driver's fault, with the type of its <error>"""


def write_junit(path: Path, summary: RunSummary) -> None:
    """Write the file. XFAIL is a skipped test, and so is what was not run after a failure;
    INCONCLUSIVE is an error: it must not count as passed. In a run that passed all the same it is
    a skipped test."""
    skipped = dict(_SKIPPED)
    if summary.outcome is Outcome.PASS:
        skipped[Outcome.INCONCLUSIVE] = "inconclusive: "
    root = ET.Element(
        "testsuites", {"name": "playback marks", **_numbers(summary.results, skipped)}
    )
    root.set("time", f"{summary.seconds:.3f}")  # several may have run at once
    for target in dict.fromkeys(result.target for result in summary.results):
        results = tuple(result for result in summary.results if result.target == target)
        suite = ET.SubElement(
            root, "testsuite", {"name": _text(target), **_numbers(results, skipped)}
        )
        suite.set("timestamp", summary.started)
        versions = dict.fromkeys(result.version for result in results if result.version)
        _properties(suite, version=", ".join(versions), command=summary.command)
        times = Counter(result.name for result in results)
        for result in results:
            # CI systems take cases of the same name for one.
            seed = f" (seed {result.seed})" if times[result.name] > 1 else ""
            _add_case(suite, result, result.name + seed, skipped)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _add_case(
    suite: ET.Element, result: ScenarioResult, name: str, skipped: Mapping[Outcome, str]
) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        name=_text(name),
        classname=_text(f"{result.target}.{result.scenario}"),
        time=f"{result.seconds:.3f}",
    )
    _properties(case, seed=str(result.seed), attempts=str(result.attempts), rerun=result.rerun)
    first = result.failures[0].partition("\n")[0] if result.failures else ""
    message = _text(result.reason or first or result.outcome.value)
    if result.outcome in skipped:
        ET.SubElement(case, "skipped", message=skipped[result.outcome] + message)
    elif result.outcome in _FAILED:
        failure = ET.SubElement(case, "failure", message=message, type=result.outcome.value)
        failure.text = _details(result)
    elif result.outcome in _ERRORS:
        error = ET.SubElement(case, "error", message=message, type=_ERRORS[result.outcome])
        error.text = _details(result)
    if result.calls:
        lines = [result.proves, *(call.folder for call in result.calls)]
        if result.outcome is Outcome.PASS:
            # What could not be judged, if anything: elsewhere it is above.
            lines += filter(None, [result.reason, *result.failures])
        ET.SubElement(case, "system-out").text = _text("\n".join(lines))


def _details(result: ScenarioResult) -> str:
    again = f"run again: {result.rerun}" if result.rerun else ""
    return _text("\n".join(filter(None, [result.reason, *result.failures, again])))


def _properties(parent: ET.Element, **values: str) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", name=name, value=_text(value))


def _numbers(results: tuple[ScenarioResult, ...], skipped: Mapping[Outcome, str]) -> dict[str, str]:
    outcomes = [result.outcome for result in results]
    return {
        "tests": str(len(outcomes)),
        "failures": str(sum(one in _FAILED for one in outcomes)),
        "errors": str(sum(one in _ERRORS and one not in skipped for one in outcomes)),
        "skipped": str(sum(one in skipped for one in outcomes)),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
