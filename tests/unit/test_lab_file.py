"""Lab files of lab PBXs, and the lines they ask the PBX for."""

from __future__ import annotations

from pathlib import Path

import pytest

from chan_websocket.protocol import Format
from harness.asterisk.configuration import Extension
from harness.errors import InputFault
from harness.targets.lab import LabTarget
from harness.targets.lab_file import Lab, load_lab, number_of
from harness.targets.lab_lines import lab_lines

SIP = "sip:\n  address: 127.0.0.1\n  password_from: SIP_PASSWORD\n"
LISTEN = "listen:\n  address: 127.0.0.1\n  port: 8765\n"
CONNECT = "connect:\n  uri: ws://127.0.0.1:8088/media\n"
ARI = "ari:\n  uri: http://127.0.0.1:8088/ari\n  password_from: ARI_PASSWORD\n"
ENVIRONMENT = {"SIP_PASSWORD": "sip secret", "ARI_PASSWORD": "ari secret"}


def loaded(tmp_path: Path, text: str, environment: dict[str, str] = ENVIRONMENT) -> Lab:
    path = tmp_path / "lab.yaml"
    path.write_text("name: office\n" + text)
    return load_lab(path, environment)


def fault(tmp_path: Path, text: str, environment: dict[str, str] = ENVIRONMENT) -> str:
    with pytest.raises(InputFault) as caught:
        loaded(tmp_path, text, environment)
    return caught.value.what.replace(f"{tmp_path}/", "")


def test_every_kind_of_call_is_one_extension(tmp_path: Path) -> None:
    calls = "calls:\n  codecs: [ulaw, alaw]\n  formats: [plain]\n  bridges: [dial, ari]\n"
    lab = loaded(tmp_path, SIP + LISTEN + CONNECT + ARI + calls)
    assert {extension.name for extension in lab.file.extensions} == {
        "marks-ulaw-plain-outgoing-dial",
        "marks-ulaw-plain-incoming-dial",
        "marks-alaw-plain-outgoing-dial",
        "marks-alaw-plain-incoming-dial",
        "marks-ari",
    }


@pytest.mark.parametrize(
    ("extension", "number"),
    [
        (Extension("x"), "marks-ulaw-plain-outgoing-dial"),
        (
            Extension("x", codec="g722", message_format=Format.JSON, connection="incoming"),
            "marks-g722-json-incoming-dial",
        ),
        (
            Extension("x", bridge="conference of three", options="pd(in)"),
            "marks-ulaw-plain-outgoing-conference-of-three-pd-in",
        ),
        (Extension("x", bridge="ari of three", codec="alaw"), "marks-ari"),
    ],
)
def test_a_number_says_what_kind_of_call_it_is(extension: Extension, number: str) -> None:
    assert number_of(extension) == number


def test_without_ari_no_connection_can_come_in(tmp_path: Path) -> None:
    assert loaded(tmp_path, SIP + LISTEN + CONNECT).file.connections == ["outgoing"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SIP, "neither 'listen' (the PBX connects to us) nor 'connect'"),
        (SIP + CONNECT, "'connect' without 'listen' needs ari"),
        (SIP + LISTEN + "calls:\n  bridges: [ari]\n", "a bridge 'ari' needs ari"),
        *(
            (SIP + LISTEN + f"calls:\n  {key}: []\n", f"lab.yaml:9: calls.{key}: give one or more")
            for key in ("codecs", "formats", "bridges", "options")
        ),
        (SIP + "  originate_at: PJSIP/harness\n" + LISTEN, "sip.originate_at needs ari"),
        (SIP + "  trnsport: tcp\n" + LISTEN, "lab.yaml:5: unknown key 'trnsport' in sip; did you"),
        (SIP + "  password: hunter2\n" + LISTEN, "lab.yaml:5: unknown key 'password' in sip; did"),
        (
            SIP + LISTEN + "connect:\n  uri: http://127.0.0.1:8088/media\n",
            "lab.yaml:9: connect.uri: 'http://127.0.0.1:8088/media': give ws or wss://host:port",
        ),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in fault(tmp_path, text)


def test_a_secret_that_is_not_in_the_environment_is_named(tmp_path: Path) -> None:
    said = fault(tmp_path, SIP + LISTEN, {})
    assert said.startswith("lab.yaml:4: the environment has no variable SIP_PASSWORD")


def test_the_lines_are_for_what_the_file_names_and_hold_no_secret(tmp_path: Path) -> None:
    few = lab_lines(loaded(tmp_path, SIP + LISTEN))
    assert set(few) == {"extensions.conf", "pjsip.conf", "websocket_client.conf"}
    calls = "calls:\n  bridges: [conference]\n"
    many = lab_lines(loaded(tmp_path, SIP + LISTEN + CONNECT + ARI + calls))
    assert set(many) == {*few, "http.conf", "ari.conf", "confbridge.conf"}
    assert "secret" not in "".join([*few.values(), *many.values()])
    assert "password = <the value of SIP_PASSWORD>" in many["pjsip.conf"]
    assert "GLOBAL(" not in many["extensions.conf"]


def test_a_pbx_that_knows_us_by_our_address_needs_no_password(tmp_path: Path) -> None:
    text = lab_lines(loaded(tmp_path, "sip:\n  address: 127.0.0.1\n" + LISTEN))["pjsip.conf"]
    assert "type = identify" in text
    assert "type = auth" not in text


def test_what_a_capture_cannot_show_is_said(tmp_path: Path) -> None:
    assert LabTarget(loaded(tmp_path, SIP + LISTEN)).not_captured == ""
    elsewhere = SIP.replace("127.0.0.1", "192.0.2.1")
    assert "another machine" in LabTarget(loaded(tmp_path, elsewhere + LISTEN)).not_captured
