"""Scenario files: what they may say, which are meant, what becomes of them."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from harness.errors import InputFault
from harness.media.codecs import CODECS, CodecName
from harness.scenarios.choose import choose_scenarios
from harness.scenarios.result import CallResult, Outcome
from harness.scenarios.run_one import EXPECTATION, Attempt, outcome, rerun_command, why_not
from harness.scenarios.schema import ExpectedFailure, Scenario, load_scenarios, shipped
from harness.targets.capabilities import Capabilities
from harness.targets.target import is_decoded

GOOD = """\
proves: something
groups: [full]
matrix:
  codec: [ulaw, alaw]
  n: [1, 2]
exclude:
  - {codec: alaw, n: 2}
call: {codec: $codec}
steps:
  - play: {ms: 100, times: $n}
  - repeat:
      times: 3
      steps:
        - mark: m-$codec
        - pause
        - continue
  - wait: {acknowledged: all}
expect:
  marks: {m-$codec: played}
stock:
  fails: [EARLY]
  because: of the tick
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text)
    return path


def fault_of(folder: Path, text: str) -> str:
    with pytest.raises(InputFault) as caught:
        load_scenarios(write(folder, text))
    return str(caught.value)


def names(scenarios: list[Scenario]) -> list[str]:
    return [one.full_name for one in scenarios]


def test_matrix_makes_a_scenario_of_each_combination(tmp_path: Path) -> None:
    scenarios = load_scenarios(write(tmp_path, GOOD))
    assert names(scenarios) == [
        "mine[codec=ulaw,n=1]",
        "mine[codec=ulaw,n=2]",
        "mine[codec=alaw,n=1]",
    ]
    last = scenarios[-1]
    assert last.call.codec == "alaw"
    assert last.steps[0].play is not None and last.steps[0].play.times == (1, 1)
    assert last.expect.marks == {"m-alaw": "played"}


def test_a_step_knows_its_line_also_inside_another(tmp_path: Path) -> None:
    [scenario, *_] = load_scenarios(write(tmp_path, GOOD))
    repeat = scenario.steps[1].repeat
    assert repeat is not None
    assert scenario.where(scenario.steps[0]) == "mine.yaml:10"
    assert [scenario.where(step) for step in repeat.steps] == [
        "mine.yaml:14",
        "mine.yaml:15",
        "mine.yaml:16",
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "ms: 100",
            "msec: 100",
            "mine.yaml:10: unknown key 'msec' in steps[0].play; did you mean 'ms'",
        ),
        ("- pause", "- pawse", "mine.yaml:15: unknown key 'pawse'"),
        ("ms: 100", "ms: 100, bytes: 3", "mine.yaml:10: steps[0].play: give its size as one of"),
        ("times: 3", "times: [3, 2]", "mine.yaml:12: steps[1].repeat.times: give the lowest"),
        ("fails: [EARLY]", "fails: [ERALY]", "mine.yaml:21: stock.fails[0]: 'ERALY': input"),
        (
            "call: {codec: $codec}",
            "call: {codec: $codec, connection: incoming, websocket_delay_ms: 5}",
            "mine.yaml:8: call: with_handshake and websocket_delay_ms need connection: outgoing",
        ),
        ("codec: $codec", "codec: $kodec", "$kodec is not in the matrix"),
        (
            "codec: $codec}",
            "codec: $codec, ptime_ms: 50}",
            "mine.yaml:8: call.ptime_ms: 50: packets can have 10, 20, 30, 40, 60, 80, 120 ms",
        ),
        (
            "codec: $codec}",
            "codec: $codec, bridge_after_ms: 50}",
            "mine.yaml:8: call: bridge_after_ms needs bridge: ari",
        ),
        (
            "codec: $codec}",
            "codec: $codec, mixing_interval_ms: 40}",
            "mine.yaml:8: call: mixing_interval_ms needs bridge: conference",
        ),
        (
            "codec: $codec}",
            "codec: $codec, rings_ms: 40, bridge: ari}",
            "mine.yaml:8: call: rings_ms needs bridge: dial and connection: outgoing",
        ),
        ("- pause", "- hold: sendonley", "mine.yaml:15: steps[1].repeat.steps[1].hold"),
        ("- pause", "- hold: sendonley", "did you mean 'sendonly'"),
        ("- pause", "- digit: {ms: 100}", "give one of from: caller and to: caller"),
        ("- pause", "- digit: {to: caller, digit: x}", "steps[1].repeat.steps[1].digit.digit"),
        (
            "- pause",
            "- digit: {to: caller}",
            "the steps 'ari', 'move' and 'digit: {to: caller}' need call: {bridge: ari}",
        ),
        ("- pause", "- ari: {do: mute, ms: 5}", "need call: {bridge: ari}"),
        ("- pause", "- move", "need call: {bridge: ari}"),
        ("- pause", "- optimize: 40", "the step 'optimize' needs call: {bridge: local n}"),
        ("- pause", "- handshake", "the step 'handshake' belongs to call: {encryption: dtls}"),
        ("codec: $codec}", "codec: $codec, encryption: dtls}", "the step 'handshake' belongs to"),
        ("codec: $codec}", "codec: $codec, encryption: srtp}", "call.encryption: 'srtp': input"),
        (
            "codec: $codec}",
            "codec: $codec, other: {ptime_ms: 40}}",
            "mine.yaml:8: call: other needs bridge: conference or ari",
        ),
        (
            "codec: $codec}",
            "codec: $codec, rings_ms: 40, held: inactive}",
            "mine.yaml:8: call: encryption and held are for a caller who calls",
        ),
        ("- pause", "- ari: {do: mutte, ms: 5}", "did you mean 'mute'"),
        ("times: $n", "times: 2", "the matrix has n, which nothing uses"),
        (
            "acknowledged: all",
            "acknowledged: all, event: ERROR",
            "mine.yaml:17: steps[2].wait: wait for one of",
        ),
        (
            "codec: [ulaw, alaw]",
            "codec: [ulwa, alaw]",
            "mine.yaml:8: call.codec: 'ulwa': input should be",
        ),
        ("codec: [ulaw, alaw]", "codec: [ulwa, alaw]", "did you mean 'ulaw'"),
        (
            "codec: $codec",
            "codec: $codec, caller_codec: g729",
            "mine.yaml:8: call.caller_codec",
        ),
        (
            "{codec: alaw, n: 2}",
            "{kodec: alaw, n: 2}",
            "mine.yaml:7: 'kodec' is not in the matrix; there is: codec, n",
        ),
        (
            "{codec: alaw, n: 2}",
            "{codec: alwa}",
            "mine.yaml:7: 'codec' is never 'alwa'; it is one of: ulaw, alaw",
        ),
        (
            "expect:\n",
            "expect:\n  events: {MEDIA_DROPED: 0}\n",
            "mine.yaml:19: expect.events.MEDIA_DROPED",
        ),
        ("expect:\n", "expect:\n  events: {MEDIA_DROPED: 0}\n", "did you mean 'MEDIA_DROPPED'"),
        ("acknowledged: all", "event: QUEUE_DRAIND", "did you mean 'QUEUE_DRAINED'"),
        ("- pause", "- flush:", "mine.yaml:15: the key 'flush' has no value"),
        ("mark: m-$codec", "mark:", "mine.yaml:14: the key 'mark' has no value"),
        (
            "mark: m-$codec",
            "mark: {offset: 1, ahead: 2}",
            "mark: give its place as one of offset, back and ahead",
        ),
        ("- pause", "- report:", "mine.yaml:15: the key 'report' has no value"),
        ("- pause", "- report: {interval_ms: }", "mine.yaml:15: the key 'interval_ms' has no"),
        ("- pause", "-", "mine.yaml:15: this item has no value"),
        ("- pause", "- elapse: long", "'long': give a whole number, or [lowest, highest]"),
        ("- pause", "- elapse: [1, 2, 3]", "give a whole number, or [lowest, highest]"),
        ("- pause", "- elapse: 1.5", "1.5: give a whole number, or [lowest, highest]"),
        (
            "expect:\n",
            "expect:\n  because: x\n  late_ms: .inf\n",
            "mine.yaml:20: 'late_ms' is not a finite number",
        ),
        (
            "acknowledged: all",
            "acknowledged: all, within_s: .nan",
            "mine.yaml:17: 'within_s' is not a finite",
        ),
        ("groups: [full]", "groups: [ful]", "mine.yaml:2: groups[0]: 'ful': input should be"),
        (
            "  because: of the tick\n",
            "",
            "mine.yaml:20: stock: give either cannot, or fails and because",
        ),
        ("expect:\n", "expect:\n  late_ms: 3\n", "late_ms and because go together"),
        (
            "proves:",
            "proofs: x\nproves:",
            "mine.yaml:1: unknown key 'proofs'; did you mean 'proves'",
        ),
    ],
)
def test_what_a_file_may_not_say(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in GOOD
    assert said in fault_of(tmp_path, GOOD.replace(old, new))


def test_what_is_wrong_in_one_step_is_all_that_is_told(tmp_path: Path) -> None:
    assert fault_of(tmp_path, "proves: x\nsteps:\n  - pawse\n").count("\n") == 0
    assert "give at least one step" in fault_of(tmp_path, "proves: x\nsteps: []\n")


def test_the_names_of_codecs_are_those_that_can_be_judged() -> None:
    assert get_args(CodecName) == tuple(CODECS)


def test_files_of_the_same_name_are_not_run_together(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    first, second = write(tmp_path, GOOD), write(tmp_path / "other", GOOD)
    with pytest.raises(InputFault, match="two scenarios have the same name"):
        choose_scenarios([str(first), str(second)])
    assert len(choose_scenarios([str(first), f"{first}[codec=alaw]"])) == 3


def test_every_shipped_scenario_can_be_read_and_says_what_it_proves() -> None:
    scenarios = [one for path in shipped() for one in load_scenarios(path)]
    assert len({one.full_name for one in scenarios}) == len(scenarios)
    for one in scenarios:
        assert one.proves.endswith("."), one.full_name
        assert one.groups, one.full_name


def test_a_scenario_is_chosen_by_name_and_parameters() -> None:
    assert names(choose_scenarios(["text_to_speech"])) == [
        "text_to_speech[format=plain]",
        "text_to_speech[format=json]",
    ]
    assert names(choose_scenarios(["text_to_speech[format=json]"])) == [
        "text_to_speech[format=json]"
    ]
    chosen = choose_scenarios(["matrix[codec=alaw,bridge=ari]"])
    assert {one.parameters["codec"] for one in chosen} == {"alaw"}
    assert len(chosen) == 8


def test_either_side_may_connect_unless_the_call_needs_the_other(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD)
    chosen = choose_scenarios([str(file)], connection="incoming")
    assert names(chosen) == names(choose_scenarios([str(file)]))
    assert {one.call.connection for one in chosen} == {"incoming"}
    assert chosen[0].call.extension().connection == "incoming"
    delayed = tmp_path / "delayed.yaml"
    delayed.write_text("proves: x.\ncall: {websocket_delay_ms: 1}\nsteps: [{mark: {id: m}}]\n")
    assert len(choose_scenarios([str(file), str(delayed)], connection="incoming")) == 3
    with pytest.raises(InputFault, match="none of these scenarios can have an incoming"):
        choose_scenarios([str(delayed)], connection="incoming")


def test_a_rerun_command_names_one_scenario_whatever_its_parameters_are(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        'proves: x\nmatrix: {text: ["a,b", "a,b=c", "[x]", a, "two\\nlines"], n: [1, 2]}\n'
        "steps: [{mark: {id: $text, count: $n}}]\n",
    )
    scenarios = load_scenarios(file)
    assert len(scenarios) == 10
    for scenario in scenarios:
        given = shlex.split(rerun_command("harness run", scenario, 7))[2]
        assert names(choose_scenarios([given])) == [scenario.full_name]


def test_a_scenario_is_chosen_by_its_file(tmp_path: Path) -> None:
    assert len(choose_scenarios([str(write(tmp_path, GOOD))])) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("text_to_speach", "Did you mean text_to_speech?"),
        ("text_to_speech[formt=json]", "has no parameter 'formt'"),
        ("text_to_speech[format=xml]", "format is one of json, plain"),
        ("text_to_speech[format]", "has no value"),
        ("nowhere.yaml", "nowhere.yaml cannot be read"),
    ],
)
def test_a_name_that_is_none_is_told(name: str, said: str) -> None:
    with pytest.raises(InputFault) as caught:
        choose_scenarios([name])
    assert said in str(caught.value)


CALL = CallResult("folder", "PASS", {"PASS": 3}, (1,), 10, 0, "capture", 1, 0, 2_000_000)
GOOD_ATTEMPT = Attempt(CALL, frozenset(), False, (), "")
KNOWN = ExpectedFailure(fails=("EARLY", "NEVER"), because="of the tick")


@pytest.mark.parametrize(
    ("kinds", "inconclusive", "known", "expected"),
    [
        ([], False, None, Outcome.PASS),
        (["EARLY"], False, None, Outcome.FAIL),
        ([], True, None, Outcome.INCONCLUSIVE),
        (["EARLY"], True, None, Outcome.FAIL),
        (["EARLY"], False, KNOWN, Outcome.XFAIL),
        (["EARLY", "NEVER"], False, KNOWN, Outcome.XFAIL),
        (["EARLY", "TWICE"], False, KNOWN, Outcome.FAIL),
        ([EXPECTATION], False, KNOWN, Outcome.FAIL),
        ([], False, KNOWN, Outcome.XPASS),
        ([], True, KNOWN, Outcome.INCONCLUSIVE),
    ],
)
def test_outcome(
    kinds: list[str], inconclusive: bool, known: ExpectedFailure | None, expected: Outcome
) -> None:
    attempt = replace(GOOD_ATTEMPT, kinds=frozenset(kinds), inconclusive=inconclusive)
    assert outcome(attempt, known)[0] is expected


def test_what_could_not_be_judged_is_told_of_a_pass() -> None:
    attempt = replace(GOOD_ATTEMPT, not_judged="1 of 48 could not be judged")
    assert outcome(attempt, None) == (Outcome.PASS, "1 of 48 could not be judged")
    lax = ExpectedFailure(fails=KNOWN.fails, because=KNOWN.because, strict=False)
    assert outcome(attempt, lax) == (Outcome.PASS, "1 of 48 could not be judged")
    # It may be just what was to fail.
    assert outcome(attempt, KNOWN)[0] is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("version", "has_it"),
    [
        ("20.18.2", False),
        ("22.8.2", False),
        ("23.2.2", False),
        ("certified-22.8-cert4", False),
        ("20.19.0", True),
        ("22.10.1~dfsg+~cs6.17", True),
        ("23.3.0-rc1", True),
        ("unknown", True),
    ],
)
def test_a_scenario_is_skipped_where_the_driver_has_no_media_direction(
    version: str, has_it: bool
) -> None:
    [scenario] = choose_scenarios(["direction_in"])
    needed = (frozenset({scenario.call.codec}), frozenset({"outgoing"}), frozenset({"dial"}))
    why = why_not(scenario, False, Capabilities(version, True, *needed, own=True))
    assert why == ("" if has_it else f"the driver of Asterisk {version} has no media direction")


@pytest.mark.parametrize("has_it", [True, False])
def test_a_scenario_is_skipped_where_asterisk_is_no_fax_gateway(has_it: bool) -> None:
    scenario = choose_scenarios(["wire_t38_accepted"])[0]
    needed = (frozenset({scenario.call.codec}), frozenset({"outgoing"}), frozenset({"dial"}))
    able = Capabilities("22.10.1", True, *needed, own=True, fax_gateway=has_it)
    assert ("T.38 gateway" in why_not(scenario, False, able)) == (not has_it)


def test_what_asterisk_can_decode_is_told_by_its_paths() -> None:
    title = '--- Translation paths SRC Codec "{0}" sample rate 8000 ---\n'
    gsm = title + "\tgsm:8000         To slin:8000       : (gsm@8000)->(slin@8000)\n"
    speex = title + "\tspeex:8000       To slin:8000       : No Translation Path\n"
    assert is_decoded("gsm", gsm)
    assert not is_decoded("speex", speex)
    assert is_decoded("slin16", title)
