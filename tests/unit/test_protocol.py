"""Commands and events of chan_websocket as text, in both control message formats."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chan_websocket import protocol
from chan_websocket.protocol import (
    UNPARSEABLE,
    Command,
    Event,
    Format,
    parse_command,
    parse_event,
)

PLAIN_IDS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64)
JSON_IDS = st.text(min_size=1, max_size=16) | st.integers(-(2**62), 2**62)

# --- Commands ---


@pytest.mark.parametrize(
    ("plain", "as_json", "make"),
    [
        (
            "START_MEDIA_BUFFERING",
            {"command": "START_MEDIA_BUFFERING"},
            lambda f: protocol.command_simple(f, "START_MEDIA_BUFFERING"),
        ),
        (
            "STOP_MEDIA_BUFFERING b1",
            {"command": "STOP_MEDIA_BUFFERING", "correlation_id": "b1"},
            lambda f: protocol.command_stop_buffering(f, "b1"),
        ),
        (
            "STOP_MEDIA_BUFFERING",
            {"command": "STOP_MEDIA_BUFFERING"},
            lambda f: protocol.command_stop_buffering(f),
        ),
        (
            "MARK_MEDIA a b",
            {"command": "MARK_MEDIA", "correlation_id": "a b"},
            lambda f: protocol.command_mark_media(f, "a b"),
        ),
        (
            "MARK id=m1",
            {"command": "MARK", "id": "m1"},
            lambda f: protocol.command_mark(f, "m1"),
        ),
        ("MARK id=7", {"command": "MARK", "id": 7}, lambda f: protocol.command_mark(f, 7)),
        (
            "MARK id=m1 offset=0",
            {"command": "MARK", "id": "m1", "offset": 0},
            lambda f: protocol.command_mark(f, "m1", 0),
        ),
        ("FLUSH_MEDIA", {"command": "FLUSH_MEDIA"}, lambda f: protocol.command_flush(f)),
        (
            "FLUSH_MEDIA id=f1",
            {"command": "FLUSH_MEDIA", "id": "f1"},
            lambda f: protocol.command_flush(f, "f1"),
        ),
        (
            "REPORT_PLAYBACK",
            {"command": "REPORT_PLAYBACK"},
            lambda f: protocol.command_report_playback(f),
        ),
        (
            "REPORT_PLAYBACK interval_ms=0",
            {"command": "REPORT_PLAYBACK", "interval_ms": 0},
            lambda f: protocol.command_report_playback(f, 0),
        ),
    ],
)
def test_command(plain: str, as_json: dict[str, Any], make: Any) -> None:
    assert make(Format.PLAIN) == plain
    assert json.loads(make(Format.JSON)) == as_json


@pytest.mark.parametrize("mark_id", ["", "a b", "\n", "ä", "x" * 65])
def test_an_id_that_plain_text_cannot_carry_is_refused(mark_id: str) -> None:
    with pytest.raises(ValueError, match="id"):
        protocol.command_mark(Format.PLAIN, mark_id)


@pytest.mark.parametrize("offset", [-1, 2**53])
def test_an_offset_that_the_driver_does_not_take_is_refused(offset: int) -> None:
    protocol.command_mark(Format.PLAIN, "m", 2**53 - 1)
    with pytest.raises(ValueError, match="offset"):
        protocol.command_mark(Format.PLAIN, "m", offset)


def test_an_id_is_measured_in_bytes() -> None:
    protocol.command_mark(Format.JSON, "ä" * 32)
    with pytest.raises(ValueError, match="66 bytes"):
        protocol.command_mark(Format.JSON, "ä" * 33)


# --- Events as the stock driver formats them (channels/chan_websocket.c) ---


def test_media_start_plain() -> None:
    event = parse_event(
        "MEDIA_START connection_id:app channel:WebSocket/app/0x7fe3bc004cd0"
        " channel_id:1795335672.1 format:ulaw optimal_frame_size:160 ptime:20 playback_marks:2"
    )
    assert event.name == "MEDIA_START"
    assert event.fields["channel"] == "WebSocket/app/0x7fe3bc004cd0"
    assert event.fields["channel_id"] == "1795335672.1"
    assert event.number("optimal_frame_size") == 160
    assert event.playback_marks > 0


def test_media_start_json() -> None:
    event = parse_event(
        '{"event":"MEDIA_START","channel_id":"1.1","optimal_frame_size":160,'
        '"channel_variables":{"A":"b"}}'
    )
    assert event.name == "MEDIA_START"
    assert event.number("optimal_frame_size") == 160
    assert event.fields["channel_variables"] == {"A": "b"}
    assert not event.playback_marks > 0


def test_error_text_runs_to_the_end() -> None:
    event = parse_event(
        "ERROR channel_id:1.2 command:MARK error_text:no such: error_text:thing a=b\n"
    )
    assert event.fields == {
        "channel_id": "1.2",
        "command": "MARK",
        "error_text": "no such: error_text:thing a=b",
    }


def test_status_and_dtmf() -> None:
    status = parse_event("STATUS channel_id:1.2 queue_length:3 queue_full:false media_paused:true")
    assert (status.number("queue_length"), status.flag("media_paused")) == (3, True)
    assert not status.flag("queue_full")
    assert parse_event("DTMF_END digit:# channel_id:1.2").fields["digit"] == "#"


@pytest.mark.parametrize("name", ["QUEUE_DRAINED", "MEDIA_XON", "MEDIA_XOFF"])
def test_an_event_without_fields(name: str) -> None:
    assert parse_event(name) == Event(name, {}, name)
    assert parse_event(f'{{"event":"{name}","channel_id":"1"}}').name == name


@given(st.sampled_from(["MEDIA_MARK_PROCESSED", "MEDIA_BUFFERING_COMPLETED"]), PLAIN_IDS, PLAIN_IDS)
def test_a_stock_id_is_read_with_its_spaces(name: str, first: str, second: str) -> None:
    assert parse_event(f"{name} {first} {second}").fields == {"correlation_id": f"{first} {second}"}


def test_a_stock_mark_without_an_id_is_the_same_in_both_formats() -> None:
    plain = parse_event("MEDIA_MARK_PROCESSED")
    as_json = parse_event('{"event":"MEDIA_MARK_PROCESSED","correlation_id":""}')
    assert plain.fields == as_json.fields == {"correlation_id": ""}


# --- Events of the playback marks ---


@given(PLAIN_IDS)
def test_a_plain_id_comes_back_as_it_was_sent(mark_id: str) -> None:
    command = protocol.command_mark(Format.PLAIN, mark_id)
    event = parse_event(command.replace("MARK", "MARK_PLAYED", 1))
    assert event.matches("MARK_PLAYED", {"id": mark_id})
    assert event.fields == {"id": mark_id}


@given(JSON_IDS)
def test_a_json_id_comes_back_with_its_type(mark_id: str | int) -> None:
    event = parse_event(json.dumps({"event": "MARK_PLAYED", "id": mark_id}))
    assert event.matches("MARK_PLAYED", {"id": mark_id})


@given(
    st.dictionaries(
        st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1), PLAIN_IDS | st.just(""), max_size=8
    ),
    st.sampled_from("=:"),
)
def test_tokens_of_any_event(fields: dict[str, str], delimiter: str) -> None:
    text = " ".join(["PLAYBACK", *(f"{key}{delimiter}{value}" for key, value in fields.items())])
    assert parse_event(text).fields == fields


def test_media_flushed() -> None:
    event = parse_event("MEDIA_FLUSHED id=f:1=x played=640 flushed=12 played_ms=80.125 last_mark=")
    assert event.fields["id"] == "f:1=x"
    assert event.number("played") == 640
    assert event.number("played_ms") == 80.125
    assert event.fields["last_mark"] == ""


def test_numbers_beyond_32_bits_are_exact() -> None:
    assert parse_event(f"PLAYBACK received={2**62 + 1}").number("received") == 2**62 + 1


@pytest.mark.parametrize("value", ["", "ulaw", None, True, []])
def test_a_number_that_is_none_is_said_so(value: Any) -> None:
    with pytest.raises(ValueError, match="no number 'n'"):
        Event("PLAYBACK", {"n": value}).number("n")


# --- What nobody knows ---


def test_an_unknown_event_is_kept() -> None:
    event = parse_event("SOMETHING_NEW a:1 bare b=2")
    assert event == Event("SOMETHING_NEW", {"a": "1", "b": "2"}, "SOMETHING_NEW a:1 bare b=2")


@pytest.mark.parametrize("text", ["", " ", "hello", "{", "{}", '{"event":1}', "MÄRK", "1 2"])
def test_what_is_no_event_is_kept_as_unparseable(text: str) -> None:
    assert parse_event(text) == Event(UNPARSEABLE, {}, text)


@given(st.text())
def test_nothing_is_fatal(text: str) -> None:
    assert parse_event(text).raw == text


@given(st.from_regex(r"\{.*\}", fullmatch=True))
def test_no_json_is_fatal(text: str) -> None:
    assert parse_event(text).raw == text


def test_matching_looks_at_types_and_at_what_is_there() -> None:
    event = Event("MARK_PLAYED", {"id": 1})
    assert event.matches("MARK_PLAYED", {"id": 1})
    assert not event.matches("MARK_PLAYED", {"id": "1"})
    assert not event.matches("MARK_PLAYED", {"id": True})
    assert not event.matches("MARK_PLAYED", {"missing": None})
    assert not event.matches("MARK_DISCARDED", {"id": 1})


# --- Texts on which the client and the judge once disagreed, decided by what the driver sends ---


@pytest.mark.parametrize(
    ("text", "name", "fields"),
    [
        # %s%s%s: the id of STOP_MEDIA_BUFFERING or MARK_MEDIA as it came, spaces included.
        (
            "MEDIA_BUFFERING_COMPLETED x y",
            "MEDIA_BUFFERING_COMPLETED",
            {"correlation_id": "x y"},
        ),
        ("MEDIA_BUFFERING_COMPLETED x", "MEDIA_BUFFERING_COMPLETED", {"correlation_id": "x"}),
        ("MEDIA_BUFFERING_COMPLETED a=b", "MEDIA_BUFFERING_COMPLETED", {"correlation_id": "a=b"}),
        # No id and an empty one are the same: JSON has an empty string for both.
        ("MEDIA_BUFFERING_COMPLETED", "MEDIA_BUFFERING_COMPLETED", {"correlation_id": ""}),
        ("MEDIA_MARK_PROCESSED", "MEDIA_MARK_PROCESSED", {"correlation_id": ""}),
        # The driver strips the command, so an id ends with no blank; nothing is stripped here.
        ("MEDIA_MARK_PROCESSED a ", "MEDIA_MARK_PROCESSED", {"correlation_id": "a "}),
        ("MEDIA_MARK_PROCESSED  a", "MEDIA_MARK_PROCESSED", {"correlation_id": " a"}),
        # error_text is always the last field, so what looks like a field in it is none.
        (
            "ERROR error_text:x=1 command:MARK",
            "ERROR",
            {"error_text": "x=1 command:MARK"},
        ),
        (
            "ERROR channel_id:1.2 error_text:'in' is no command:MARK\n",
            "ERROR",
            {"channel_id": "1.2", "error_text": "'in' is no command:MARK"},
        ),
        (
            "ERROR channel_id:1.2 command:MARK error_text:MARK needs id=<1 to 64 bytes>",
            "ERROR",
            {
                "channel_id": "1.2",
                "command": "MARK",
                "error_text": "MARK needs id=<1 to 64 bytes>",
            },
        ),
        # The driver's own events have colons, those of the marks equals signs.
        ("STATUS queue_length:3", "STATUS", {"queue_length": "3"}),
        (
            "MEDIA_START channel:WebSocket/a=b/0x1 ptime:20",
            "MEDIA_START",
            {"channel": "WebSocket/a=b/0x1", "ptime": "20"},
        ),
        ("DTMF_END digit:# channel_id:1.2", "DTMF_END", {"digit": "#", "channel_id": "1.2"}),
        ("MARK_PLAYED id=a:b=c", "MARK_PLAYED", {"id": "a:b=c"}),
        ("MEDIA_XON", "MEDIA_XON", {}),
        # Neither format, as no driver sends it
        ("hello", UNPARSEABLE, {}),
        ('{"event":7}', UNPARSEABLE, {}),
    ],
)
def test_an_event_is_read_as_the_driver_writes_it(
    text: str, name: str, fields: dict[str, Any]
) -> None:
    assert parse_event(text) == Event(name, fields, text)


# --- Commands as the driver reads them ---


@pytest.mark.parametrize(
    ("text", "name", "fields"),
    [
        # ast_strip() takes blanks off both ends; the name ends at the first space.
        (" MARK id=a\r\n", "MARK", {"id": "a"}),
        ("MARK", "MARK", {}),
        ("MARK a", "MARK", {}),
        # The id is all that follows "id=", and so is not a valid one.
        ("MARK id=a b", "MARK", {"id": "a b"}),
        ("MARK id=a offset=5", "MARK", {"id": "a", "offset": "5"}),
        ("FLUSH_MEDIA id=a offset=5", "FLUSH_MEDIA", {"id": "a offset=5"}),
        ("FLUSH_MEDIA now", "FLUSH_MEDIA", {}),
        ("MARK_MEDIA a b ", "MARK_MEDIA", {"correlation_id": "a b"}),
        ("MARK_MEDIA", "MARK_MEDIA", {"correlation_id": ""}),
        ("STOP_MEDIA_BUFFERING x", "STOP_MEDIA_BUFFERING", {"correlation_id": "x"}),
        ("REPORT_PLAYBACK", "REPORT_PLAYBACK", {}),
        ("REPORT_PLAYBACK interval_ms=20", "REPORT_PLAYBACK", {"interval_ms": "20"}),
        ("REPORT_PLAYBACK often", "REPORT_PLAYBACK", {"interval_ms": "often"}),
        ("HANGUP", "HANGUP", {}),
        ('{"command":"MARK","id":7}', "MARK", {"id": 7}),
        ('{"command":7}', UNPARSEABLE, {}),
        ("{", UNPARSEABLE, {}),
        ("", UNPARSEABLE, {}),
    ],
)
def test_a_command_is_read_as_the_driver_reads_it(
    text: str, name: str, fields: dict[str, Any]
) -> None:
    assert parse_command(text) == Command(name, fields, text)


@pytest.mark.parametrize(
    ("text", "mark_id"),
    [
        ("MARK id=a", "a"),
        ("MARK id=a b", None),
        ("MARK id=", None),
        ("MARK id=" + "x" * 65, None),
        ("MARK", None),
        ('{"command":"MARK","id":"a b"}', "a b"),
        ('{"command":"MARK","id":7}', 7),
        ('{"command":"MARK","id":""}', None),
        ('{"command":"MARK","id":true}', None),
        ('{"command":"MARK","id":1.5}', None),
        ('{"command":"MARK","id":"\\ud800"}', "\ud800"),
    ],
)
def test_only_an_id_that_the_driver_takes_is_one(text: str, mark_id: object) -> None:
    found = parse_command(text).id
    assert found == mark_id
    assert type(found) is type(mark_id)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        # as asterisk-module/tests/test_arguments.c has them; "" is for a mark without one
        ("MARK id=a", ""),
        ("MARK id=a offset=0", 0),
        ("MARK id=a offset=00017", 17),
        ("MARK id=a offset=9007199254740991", 2**53 - 1),
        ("MARK id=offset=5 offset=6", 6),
        ("MARK id=a offset=9007199254740992", None),
        ("MARK id=a offset=" + "9" * 480, None),
        ("MARK id=a offset=" + "9" * 5000, None),
        ("MARK id=a offset=", None),
        ("MARK id=a offset=-1", None),
        ("MARK id=a offset=+1", None),
        ("MARK id=a offset=1.0", None),
        ("MARK id=a offset=1 offset=1", None),
        ("MARK id=a offset=1 id=a", None),
        ("MARK id=a offset=\u0661", None),
        ("MARK id=a id=a", None),
        ("MARK id=a  offset=1", None),
        ("MARK id= offset=1", None),
        ("MARK offset=1 id=a", None),
        ("MARK offset=1", None),
        ("FLUSH_MEDIA id=a offset=1", None),
        ('{"command":"MARK","id":"a"}', ""),
        ('{"command":"MARK","id":"a","offset":7}', 7),
        ('{"command":"MARK","id":"a","offset":8,"offset":9}', 9),
        ('{"command":"MARK","id":"a","offset":-1}', None),
        ('{"command":"MARK","id":"a","offset":9007199254740992}', None),
        ('{"command":"MARK","id":"a","offset":1.0}', None),
        ('{"command":"MARK","id":"a","offset":"1"}', None),
        ('{"command":"MARK","id":"a","offset":null}', None),
        ('{"command":"MARK","id":"a","offset":true}', None),
        ('{"command":"MARK","offset":1}', None),
    ],
)
def test_only_a_mark_that_the_driver_takes_is_one(text: str, offset: object) -> None:
    """None: it is an ERROR."""
    found = parse_command(text)
    assert found.sets_mark is (offset is not None)
    if found.sets_mark:
        assert found.has_offset is (offset != "")
        assert found.offset == (None if offset == "" else offset)


@pytest.mark.parametrize(
    ("text", "opts_in"),
    [
        ("MARK id=a", True),
        ("MARK", True),  # it gets an ERROR of ours
        ("FLUSH_MEDIA", False),
        ("FLUSH_MEDIA now", False),  # the stock driver's clients may send anything there
        ("FLUSH_MEDIA id=", True),
        ("REPORT_PLAYBACK often", True),
        ("MARK_MEDIA id=a", False),
        ('{"command":"FLUSH_MEDIA"}', False),
        ('{"command":"FLUSH_MEDIA","id":null}', True),
        ('{"command":"REPORT_PLAYBACK"}', True),
    ],
)
def test_a_command_of_ours_opts_in_even_if_it_is_not_valid(text: str, opts_in: bool) -> None:
    assert parse_command(text).opts_in is opts_in


@given(JSON_IDS)
def test_a_command_written_is_read_the_same(mark_id: str | int) -> None:
    for message_format in Format:
        try:
            text = protocol.command_mark(message_format, mark_id)
        except ValueError:
            continue  # this format cannot carry it
        found = parse_command(text)
        assert found.name == "MARK"
        assert found.id == (mark_id if message_format is Format.JSON else str(mark_id))


@pytest.mark.parametrize(
    ("value", "count", "decimal"),
    [
        ("12", 12, 12.0),
        (12, 12, 12.0),
        ("1.5", None, 1.5),
        (1.5, None, 1.5),
        ("", None, None),
        ("inf", None, None),
        (None, None, None),
        ([1], None, None),
    ],
)
def test_a_number_that_need_not_be_there(value: Any, count: int | None, decimal: float) -> None:
    event = Event("PLAYBACK", {"n": value})
    assert (event.count("n"), event.decimal("n")) == (count, decimal)


@given(st.text())
def test_no_command_is_fatal(text: str) -> None:
    assert parse_command(text).raw == text
