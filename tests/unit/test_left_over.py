"""Which channels somebody serves, by what Asterisk's console says of them."""

from __future__ import annotations

from collections import Counter

import pytest

from harness.torture.pbx import LeftOver, is_served, what_is_left


@pytest.mark.parametrize(
    ("line", "served"),
    [
        ("Surrogate/WebSocket/harness/0x7f!default!s!1!Down!(None)!!!!!3!174!!630.1", False),
        # The one that took its place may be left over, too.
        ("WebSocket/INCOMING/0x55!torture!tone!3!Up!(None)!!!!!3!20!!18-123", False),
        ("WebSocket/INCOMING/0x55!torture!tone!2!Up!Milliwatt!!!!!3!20!!18-123", True),
        ("WebSocket/INCOMING/0x55!torture!tone!2!Up!(None)!!!!!3!20!a1b2!18-123", True),
        ("Local/tone@torture-1;1!torture!tone!1!Up!Stasis!torture,a!b!!!!3!20!!1.2", True),
    ],
)
def test_a_channel_without_application_and_bridge_is_served_by_nobody(
    line: str, served: bool
) -> None:
    assert is_served(line) == served


LET_GO = "Channel  Received\n0 WebSocket channels"
STASIS = "WebSocket/INCOMING/0x7f!default!s!1!Up!Stasis!torture!!!!3!38!!6-1068"
TONE = "Local/tone@torture-1;1!torture!tone!1!Up!Stasis!torture!!!!3!20!!1.2"


def test_a_channel_that_the_driver_let_go_of_is_left_over_by_the_core() -> None:
    assert what_is_left([STASIS], LET_GO, 2) == LeftOver("", 2)


def test_a_channel_that_the_driver_has_is_no_left_over() -> None:
    driver = "Channel  Received\nWebSocket/INCOMING/0x7f  0\n1 WebSocket channels"
    assert what_is_left([STASIS], driver, 1).text == f"{STASIS}\n{driver}"


def test_a_channel_of_another_technology_is_no_left_over() -> None:
    assert what_is_left([STASIS, TONE], LET_GO, 2).text == f"{TONE}\n{LET_GO}"


TIMER, ALERT_PIPE, SOCKET = "anon_inode:[timerfd]", "anon_inode:[eventfd]", "socket"


@pytest.mark.parametrize(
    ("more", "explained"),
    [
        ({}, True),
        ({TIMER: 2, ALERT_PIPE: 1}, True),
        ({TIMER: 3}, False),
        ({SOCKET: 1}, False),
    ],
)
def test_two_channels_left_over_have_timers_and_alert_pipes(
    more: dict[str, int], explained: bool
) -> None:
    assert LeftOver("", 2).explains(Counter(more)) == explained
