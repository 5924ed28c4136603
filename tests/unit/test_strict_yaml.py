"""Faults in YAML files name file and line, and what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from harness.errors import InputFault
from harness.strict_yaml import StrictModel, read


class Play(StrictModel):
    do: Literal["play"]
    pieces: int = 1


class Wait(StrictModel):
    do: Literal["wait"]
    event: str


class Sip(StrictModel):
    address: str
    transport: Literal["udp", "tcp"] = "udp"
    port: Annotated[int, Field(gt=0)] = 5060


class File(StrictModel):
    sip: Sip
    codecs: tuple[str, ...] = ()
    steps: tuple[Annotated[Play | Wait, Field(discriminator="do")], ...] = ()
    named: dict[str, Sip] | None = None


def fault(tmp_path: Path, text: str) -> str:
    path = tmp_path / "lab.yaml"
    path.write_text(text)
    with pytest.raises(InputFault) as caught:
        read(path).validate(File)
    return caught.value.what.replace(f"{tmp_path}/", "")


def test_what_is_right_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("sip: {address: 127.0.0.1}\nsteps:\n- {do: wait, event: XON}\n")
    assert read(path).validate(File) == File(
        sip=Sip(address="127.0.0.1"), steps=(Wait(do="wait", event="XON"),)
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "sip:\n  address: x\n  transprot: udp\n",
            "lab.yaml:3: unknown key 'transprot' in sip; did you mean 'transport'?",
        ),
        (
            "sip:\n  address: x\n\nzzz: 1\n",
            "lab.yaml:4: unknown key 'zzz'; known are codecs, named, sip, steps",
        ),
        ("# a remark\ncodecs: []\n", "lab.yaml:1: the key 'sip' is missing"),
        ("codecs: []\nsip:\n  port: 1\n", "lab.yaml:2: the key 'address' is missing in sip"),
        (
            "sip:\n  address: x\n  transport: ucp\n",
            "lab.yaml:3: sip.transport: 'ucp': input should be 'udp' or 'tcp'; did you mean 'udp'?",
        ),
        (
            "sip:\n  address: x\n  port: 0\n",
            "lab.yaml:3: sip.port: 0: input should be greater than 0",
        ),
        (
            "sip: {address: x}\nsteps:\n- do: play\n- do: wait\n  event: XON\n  evnet: XON\n",
            "lab.yaml:6: unknown key 'evnet' in steps[1].wait; did you mean 'event'?",
        ),
        (
            "sip: {address: x}\nnamed:\n  one:\n    adress: x\n    address: x\n",
            "lab.yaml:4: unknown key 'adress' in named.one; did you mean 'address'?",
        ),
        (
            "sip: {address: x}\ncodecs: [a]\ncodecs: [b]\n",
            "lab.yaml:3: the key 'codecs' stands here twice, first in line 2",
        ),
        ("", "lab.yaml:1: the key 'sip' is missing"),
    ],
)
def test_a_fault_says_where_and_what(tmp_path: Path, text: str, expected: str) -> None:
    assert fault(tmp_path, text) == expected


def test_every_fault_is_told_in_the_order_of_the_file(tmp_path: Path) -> None:
    said = fault(tmp_path, "zzz: 1\nsip:\n  address: x\n  prt: 1\ncodecs: 5\n")
    assert [line.strip().partition(": ")[0] for line in said.splitlines()] == [
        "lab.yaml:1",
        "lab.yaml:4",
        "lab.yaml:5",
    ]


@pytest.mark.parametrize("text", ["sip: [1\nb: }", "sip: !!python/object:os.x {}\n", "\x00"])
def test_what_is_no_yaml_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    assert "this is not YAML" in fault(tmp_path, text)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputFault, match="cannot be read: No such file"):
        read(tmp_path / "none.yaml")


def test_the_line_of_a_value_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("sip: {address: x}\nsteps:\n- do: play\n- do: wait\n  event: XON\n")
    document = read(path)
    assert document.line(("steps", 1)) == 4
    assert document.line(("steps", 1, "wait", "event")) == 5
    assert document.line(("steps", 1, "absent")) == 4
    fault = document.fault(("steps", 0), "this cannot be")
    assert fault.what == f"{path}:3: this cannot be"
