"""What SIPp is told, and how its failures are put into words."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from harness.caller import sipp
from harness.caller.sipp import CallRequest, Hold, exit_sentence, sip_failure
from harness.capture.timeline import TELEPHONE_EVENT
from harness.errors import InputFault
from harness.media.codecs import SDP_CODECS

SCENARIO = Path(sipp.__file__).with_name("caller.xml")


def test_a_call_s_keywords() -> None:
    request = CallRequest("play", "127.1.2.3", 40000, codec="opus")
    assert request.keywords == {
        "extension": "play",
        "rtp_address": "127.1.2.3",
        "rtp_port": "40000",
        "connection": "127.1.2.3",
        "direction": "sendrecv",
        "profile": "RTP/AVP",
        "security": "a=rtcp:40001",
        "payload_type": "107",
        "rtpmap": "opus/48000/2",
        "ptime": "20",
    }
    assert replace(request, ptime_ms=120).keywords["ptime"] == "120"


@pytest.mark.parametrize(
    ("held", "connection", "direction"),
    [
        ("sendonly", "127.1.2.3", "sendonly"),
        ("inactive", "127.1.2.3", "inactive"),
        ("0.0.0.0", "0.0.0.0", "sendrecv"),
    ],
)
def test_a_call_can_begin_on_hold(held: Hold, connection: str, direction: str) -> None:
    keywords = CallRequest("play", "127.1.2.3", 40000, held=held).keywords
    assert (keywords["connection"], keywords["direction"]) == (connection, direction)


def test_an_encrypted_call_says_how() -> None:
    sdes = CallRequest("play", "127.1.2.3", 40000, encryption="sdes", srtp_key=bytes(30)).keywords
    assert sdes["profile"] == "RTP/SAVP"
    assert sdes["security"] == f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{'A' * 40}"
    dtls = CallRequest("play", "127.1.2.3", 40000, encryption="dtls", fingerprint="SHA-256 01:AB")
    assert dtls.keywords["profile"] == "UDP/TLS/RTP/SAVP"
    assert "a=fingerprint:SHA-256 01:AB" in dtls.keywords["security"].split("\r\n")


def test_a_packet_time_that_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(InputFault, match="packets of 50 ms"):
        _ = CallRequest("play", "127.1.2.3", 40000, ptime_ms=50).keywords


def test_static_payload_types_are_those_of_rfc_3551() -> None:
    static = {name: codec.payload_type for name, codec in SDP_CODECS.items()}
    assert (static["ulaw"], static["gsm"], static["alaw"], static["g722"]) == (0, 3, 8, 9)
    dynamic = [static[name] for name in static if name not in ("ulaw", "gsm", "alaw", "g722")]
    assert all(96 <= payload_type <= 127 for payload_type in dynamic)
    assert TELEPHONE_EVENT not in dynamic
    assert len(set(static.values())) == len(static)


def test_an_unknown_codec_is_refused() -> None:
    with pytest.raises(InputFault, match="'mp3'"):
        _ = CallRequest("play", "127.1.2.3", 40000, codec="mp3").keywords


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0, "all calls went"),
        (1, "at least one call failed"),
        (97, "told to stop"),
        (99, "without having placed a call"),
        (254, "bind"),
        (255, "fatal"),
        (42, "does not document"),
        (-9, "signal 9"),
    ],
)
def test_exit_codes_are_sentences(code: int, words: str) -> None:
    assert words in exit_sentence(code)


def test_the_sip_response_is_what_a_failure_says() -> None:
    error_log = (
        "2026-11-22 08:22:45: Aborting call on unexpected message for Call-Id '1-a': while"
        " expecting '200' (index 5), received 'SIP/2.0 404 Not Found\r\nVia: SIP/2.0/UDP x\r\n'\n"
    ) * 2
    assert sip_failure(error_log) == "Asterisk answered: SIP/2.0 404 Not Found"


def test_the_reason_of_a_sip_response_is_told() -> None:
    error_log = "received 'SIP/2.0 404 Not Found\r\nReason: Q.850;cause=3\r\nContent-Length: 0\r\n'"
    assert (
        sip_failure(error_log) == "Asterisk answered: SIP/2.0 404 Not Found (reason Q.850;cause=3)"
    )


def test_without_a_response_the_error_log_s_end_is_what_a_failure_says() -> None:
    assert "line 9" in sip_failure("\n".join(f"line {n}" for n in range(10)))
    assert sip_failure("") == "It left no error message."


def test_the_scenario_uses_each_keyword_that_it_is_given() -> None:
    text = SCENARIO.read_text()
    keywords = [*CallRequest("a", "b", 1).keywords, "user", "field0"]
    assert [name for name in keywords if f"[{name}]" not in text] == []
    # There is no field of the injection file but the authentication.
    assert [n for n in range(10) if f"[field{n}]" in text] == [0]


def test_a_delayed_offer_has_its_sdp_in_the_ack() -> None:
    """Of all requests up to the ACK none has a body, also where the PBX wants authentication."""
    text = sipp.with_delayed_offer(SCENARIO.read_text(), 300)
    assert '<label id="answered"/>\n<pause milliseconds="300"/>' in text
    sent = [one.text or "" for one in ElementTree.fromstring(text).iter("send")]
    requests = [(one.split()[0], "m=audio [rtp_port]" in one) for one in sent]
    [up] = [n for n, (method, sdp) in enumerate(requests) if (method, sdp) == ("ACK", True)]
    assert [method for method, _ in requests[:up]] == ["INVITE", "ACK", "INVITE"]
    assert not any(sdp for _, sdp in requests[:up])
    # A re-INVITE has its own.
    assert ("INVITE", True) in requests[up:]


def test_the_scenario_logs_each_stage_that_is_waited_for() -> None:
    messages = [log.attrib["message"] for log in ElementTree.parse(SCENARIO).iter("log")]
    assert {message.split()[0] for message in messages} == {
        "dialled",
        "keyed",
        "answered",
        "reinvited",
        "refused",
        "ended",
    }
    # sipp.py reads three words a line.
    assert all(len(message.split()) == 3 for message in messages)
