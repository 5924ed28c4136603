"""The configuration that is written for an instance of Asterisk."""

from __future__ import annotations

from pathlib import Path

import pytest

from chan_websocket.protocol import Format
from harness.asterisk.configuration import (
    Bridge,
    CallerEndpoint,
    Directories,
    Extension,
    Network,
    confbridge_conf,
    configuration_files,
    extensions_conf,
    websocket_client_conf,
)
from harness.errors import InputFault

DIRECTORIES = Directories(
    configuration=Path("/run-1/etc"),
    state=Path("/run-1/state"),
    run=Path("/short"),
    log=Path("/run-1/log"),
    modules=Path("/run-1/modules"),
    data=Path("/build/data"),
)
NETWORK = Network("127.7.8.9", sip_port=41234, http_port=42345)


def section(text: str, name: str) -> list[str]:
    """The lines below ``[name]``, up to the next section."""
    lines = text.splitlines()
    below = lines[lines.index(f"[{name}]") + 1 :]
    end = next((i for i, line in enumerate(below) if line.startswith("[")), len(below))
    return [line.strip() for line in below[:end] if line.strip()]


def test_every_directory_is_the_harness_s_own() -> None:
    lines = section(
        configuration_files(DIRECTORIES, NETWORK, "secret")["asterisk.conf"], "directories"
    )
    values = dict(line.split(" = ") for line in lines)
    assert values["astetcdir"] == "/run-1/etc"
    assert values["astrundir"] == "/short"
    assert values["astmoddir"] == "/run-1/modules"
    own = ("/run-1/", "/short", "/build/data")
    assert {key: value for key, value in values.items() if not value.startswith(own)} == {}


def test_asterisk_listens_on_the_instance_s_address_only() -> None:
    files = configuration_files(DIRECTORIES, NETWORK, "secret")
    assert "bind = 127.7.8.9:41234" in section(files["pjsip.conf"], "udp")
    assert "bindaddr = 127.7.8.9" in section(files["http.conf"], "general")
    assert "bindport = 42345" in section(files["http.conf"], "general")
    assert "0.0.0.0" not in "".join(files.values())


def test_the_ari_password_is_the_one_given() -> None:
    files = configuration_files(DIRECTORIES, NETWORK, "secret")
    assert "password = secret" in section(files["ari.conf"], "harness")


def test_a_call_with_an_outgoing_connection_dials_the_application() -> None:
    extension = Extension("a", codec="alaw", message_format=Format.JSON, options="d(in)")
    assert extension.dial_string == "WebSocket/harness/c(alaw)f(json)d(in)"
    assert "[harness]" in websocket_client_conf("ws://127.0.0.1:1/")
    assert f" same = n,Dial({extension.dial_string},,)" in extensions_conf([extension]).splitlines()


def test_a_call_with_an_incoming_connection_notes_its_id() -> None:
    text = extensions_conf([Extension("a", connection="incoming")])
    assert (
        "same = n,Dial(WebSocket/INCOMING/c(ulaw)f(plain-text),,b(harness-note-connection^s^1))"
        in section(text, "harness-calls")
    )
    noted = "GLOBAL(HARNESS_CONNECTION_${SIP_CALL_ID})=${MEDIA_WEBSOCKET_CONNECTION_ID}"
    assert f"exten = s,1,Set({noted})" in section(text, "harness-note-connection")


def test_a_conference_has_answered_before_the_application_is_dialled() -> None:
    steps = section(extensions_conf([Extension("a", bridge="conference")]), "harness-calls")
    answer = steps.index("same = n,Answer(,i)")
    assert "G(harness-conference^s^1)" in steps[answer + 1]


@pytest.mark.parametrize(
    ("codec", "interval", "profile"),
    [
        ("ulaw", 20, "harness_bridge"),
        ("ulaw", 40, "harness_bridge_40ms"),
        ("g722", 20, "harness_bridge_16000"),
        ("slin16", 80, "harness_bridge_80ms_16000"),
    ],
)
def test_a_conference_has_the_profile_of_its_interval(
    codec: str, interval: int, profile: str
) -> None:
    extension = Extension("a", codec=codec, bridge="conference", mixing_interval_ms=interval)
    steps = section(extensions_conf([extension]), "harness-calls")
    assert f"same = n,Set(__HARNESS_BRIDGE={profile})" in steps
    assert f"mixing_interval = {interval}" in section(confbridge_conf(), profile)


def test_a_stasis_call_goes_to_the_ari_application() -> None:
    steps = section(extensions_conf([Extension("a", bridge="stasis")]), "harness-calls")
    assert "same = n,Stasis(harness)" in steps


@pytest.mark.parametrize(("bridge", "option"), [("local", ""), ("local n", "/n")])
def test_a_local_channel_dials_what_the_call_is_for(bridge: Bridge, option: str) -> None:
    text = extensions_conf([Extension("a", bridge=bridge, connection="incoming")])
    assert section(text, "harness-calls")[1:4] == [
        "same = n,Set(__HARNESS_DIAL=WebSocket/INCOMING/c(ulaw)f(plain-text))",
        "same = n,Set(__HARNESS_DIAL_OPTIONS=b(harness-note-connection^s^1))",
        f"same = n,Dial(Local/s@harness-local{option})",
    ]
    inner = "same = n,Dial(${HARNESS_DIAL},,${HARNESS_DIAL_OPTIONS})"
    assert inner in section(text, "harness-local")


@pytest.mark.parametrize(("bridge", "option"), [("two locals", ""), ("two locals n", "/n")])
def test_two_local_channels_stand_in_a_row(bridge: Bridge, option: str) -> None:
    text = extensions_conf([Extension("a", bridge=bridge)])
    assert section(text, "harness-calls")[3:5] == [
        f"same = n,Set(__HARNESS_LOCAL=Local/s@harness-local{option})",
        f"same = n,Dial(Local/s@harness-two-locals{option})",
    ]
    assert "same = n,Dial(${HARNESS_LOCAL})" in section(text, "harness-two-locals")


def test_an_extension_that_calls_back_dials_the_caller() -> None:
    steps = section(extensions_conf([Extension("a", calls_back=True)]), "harness-calls")
    assert steps[:2] == ["exten = a,1,Dial(${HARNESS_CALLEE})", "same = n,Hangup()"]


def test_a_fax_gateway_is_asked_for_ahead_of_the_call() -> None:
    steps = section(extensions_conf([Extension("a", fax_gateway=True)]), "harness-calls")
    assert steps[0] == "exten = a,1,Set(FAXOPT(gateway)=yes)"


def test_dial_has_the_options_given() -> None:
    extension = Extension("a", connection="incoming", dial_options="D(ww1)")
    steps = section(extensions_conf([extension]), "harness-calls")
    assert "INCOMING/c(ulaw)f(plain-text),,D(ww1)b(harness-note-connection^s^1))" in steps[1]


def test_packets_are_as_long_as_a_caller_asks_for_only_if_he_is_the_one_who_does() -> None:
    text = configuration_files(DIRECTORIES, NETWORK, "secret")["pjsip.conf"]
    assert "use_ptime = yes" in section(text, "caller-ptime")
    assert "use_ptime" not in "".join(section(text, "caller"))
    # Both call from the same address: the one is told from the other by its user.
    assert "endpoint_identifier_order = username,ip" in section(text, "global")


@pytest.mark.parametrize(
    ("endpoint", "lines"),
    [
        (CallerEndpoint(encryption="sdes"), ["media_encryption = sdes"]),
        (CallerEndpoint(encryption="dtls"), ["media_encryption = dtls", "rtcp_mux = yes"]),
        (CallerEndpoint(digits="inband"), ["dtmf_mode = inband"]),
        (CallerEndpoint(True, "sdes"), ["use_ptime = yes", "media_encryption = sdes"]),
    ],
)
def test_each_kind_of_caller_has_an_endpoint(endpoint: CallerEndpoint, lines: list[str]) -> None:
    text = configuration_files(DIRECTORIES, NETWORK, "secret")["pjsip.conf"]
    assert set(lines) <= set(section(text, endpoint.name))
    assert not set(lines) & set(section(text, CallerEndpoint().name))


def test_an_extension_can_do_something_before_and_afterwards() -> None:
    extension = Extension("a", before=("Progress()",), afterwards=("Echo()", "Wait(1)"))
    steps = section(extensions_conf([extension]), "harness-calls")
    assert steps[0] == "exten = a,1,Progress()"
    assert steps[3:6] == ["same = n,Echo()", "same = n,Wait(1)", "same = n,Hangup()"]


def test_another_party_can_join_the_bridge_of_a_call() -> None:
    steps = section(extensions_conf([]), "harness-calls")
    assert "same = n,ConfBridge(${EXTEN:4},harness_bridge,harness_user)" in steps
    assert "same = n,Stasis(harness-${EXTEN:6})" in steps
    # A lab PBX is not asked for that.
    assert section(extensions_conf([], note_connections=False), "harness-calls") == []


def test_each_extension_has_its_own_steps() -> None:
    steps = section(
        extensions_conf([Extension("a"), Extension("b", codec="g722")]), "harness-calls"
    )
    assert [step for step in steps if step.startswith("exten")][:2] == [
        "exten = a,1,Set(__SIP_CALL_ID=${CHANNEL(pjsip,call-id)})",
        "exten = b,1,Set(__SIP_CALL_ID=${CHANNEL(pjsip,call-id)})",
    ]
    assert sum("c(g722)" in step for step in steps) == 1


def test_two_extensions_of_one_name_are_refused() -> None:
    with pytest.raises(InputFault, match="more than once: b"):
        extensions_conf([Extension("a"), Extension("b"), Extension("b", codec="alaw")])


def test_a_uri_that_is_no_websocket_is_refused() -> None:
    with pytest.raises(InputFault, match="https://somewhere"):
        websocket_client_conf("https://somewhere/")


def test_over_tls_the_application_s_certificate_is_verified() -> None:
    lines = section(websocket_client_conf("wss://127.0.0.1:1/", "/run-1/ca.pem"), "harness")
    assert {"tls_enabled = yes", "ca_list_file = /run-1/ca.pem", "verify_server_cert = yes"} <= {
        *lines
    }
    assert "tls_enabled" not in websocket_client_conf("ws://127.0.0.1:1/")


def test_media_connections_over_tls_have_a_port_of_their_own() -> None:
    network = Network("127.7.8.9", sip_port=1, http_port=2, https_port=3)
    certificate = Path("/run-1/127.7.8.9.pem")
    files = configuration_files(DIRECTORIES, network, "secret", certificate=certificate)
    assert "tlsbindaddr = 127.7.8.9:3" in section(files["http.conf"], "general")
    assert network.media_uri("abc-1") == "wss://127.7.8.9:3/media/abc-1"


def test_a_call_over_ari_goes_to_an_application_of_its_own() -> None:
    steps = section(extensions_conf([Extension("a", bridge="ari")]), "harness-calls")
    assert "same = n,Stasis(harness-${CHANNEL(pjsip,call-id)})" in steps


def test_on_a_pbx_that_is_not_ours_no_connection_is_noted() -> None:
    text = extensions_conf([Extension("a", connection="incoming")], note_connections=False)
    assert "GLOBAL" not in text
    assert "same = n,Dial(WebSocket/INCOMING/c(ulaw)f(plain-text),,)" in section(
        text, "harness-calls"
    )


def test_the_media_uri_of_an_incoming_connection() -> None:
    assert NETWORK.media_uri("abc-1") == "ws://127.7.8.9:42345/media/abc-1"
