"""Which scenarios are meant: by name, by parameters, by file, by group."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from harness.asterisk.configuration import Connection
from harness.errors import InputFault
from harness.scenarios.schema import Call, Group, Scenario, load_scenarios, shipped

_NAMED = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<parameters>.*)\])?", re.DOTALL)


def choose_scenarios(
    names: Sequence[str], groups: Sequence[Group] = (), connection: Connection | None = None
) -> list[Scenario]:
    """The scenarios of these names and in these groups; all of the shipped ones if none is given.

    With ``connection`` each has its media connection made from that side, whatever its file says;
    those that only the other side can are left out.

    A name is that of a shipped scenario or the path of a file, and may be followed by parameters:
    ``matrix[codec=ulaw]`` means all of matrix that have this codec. Of names and groups both given,
    the scenarios that are in both. Raises InputFault for what does not exist.
    """
    if not names:
        scenarios = [one for path in shipped() for one in load_scenarios(path)]
    else:
        scenarios = [one for name in names for one in _named(name)]
    if groups:
        scenarios = [one for one in scenarios if set(groups) & set(one.groups)]
    if not scenarios:
        of, group = f" of {', '.join(names)}" if names else "", " or ".join(groups)
        raise InputFault(f"no scenario{of} is in the group {group}", "See: harness list")
    if connection is not None:
        scenarios = [found for one in scenarios if (found := _connected(one, connection))]
        if not scenarios:
            raise InputFault(
                f"none of these scenarios can have an {connection} connection",
                "What they ask for needs the other side to connect.",
            )
    files = {one.name: one.file for one in scenarios}
    for one in scenarios:
        if files[one.name] != one.file:
            # What a call leaves behind is in a folder of its scenario's name.
            raise InputFault(
                f"two scenarios have the same name: {one.file} and {files[one.name]}",
                "Give one of the files another name, or run one after the other.",
            )
    return list({one.full_name: one for one in scenarios}.values())


def _connected(scenario: Scenario, connection: Connection) -> Scenario | None:
    """The same with that connection; None where its call cannot have it."""
    try:
        call = Call.model_validate({**scenario.call.model_dump(), "connection": connection})
    except ValidationError:
        return None
    return replace(scenario, call=call)


def _named(text: str) -> list[Scenario]:
    parsed = _NAMED.fullmatch(text)
    if parsed is None:
        raise InputFault(f"{text!r} names no scenario", "Such as matrix or matrix[codec=ulaw].")
    scenarios = load_scenarios(_file(parsed["name"]))
    # One combination in full, as a rerun command has it: its values may have commas.
    for one in scenarios:
        if one.full_name == f"{one.name}[{parsed['parameters']}]":
            return [one]
    wanted = dict(_parameters(parsed["parameters"] or "", text))
    known = scenarios[0].parameters
    for key in wanted:
        if key not in known:
            raise InputFault(
                f"{parsed['name']} has no parameter {key!r}",
                f"It has {', '.join(known) or 'none'}.",
            )
    chosen = [one for one in scenarios if wanted.items() <= one.parameters.items()]
    if not chosen:
        values = {key: sorted({one.parameters[key] for one in scenarios}) for key in wanted}
        raise InputFault(
            f"{text} has no such combination",
            "; ".join(f"{key} is one of {', '.join(found)}" for key, found in values.items()),
        )
    return chosen


def _file(name: str) -> Path:
    path = Path(name)
    if path.suffix in (".yaml", ".yml") or "/" in name:
        return path
    known = {one.stem: one for one in shipped()}
    if name not in known:
        raise InputFault(f"there is no scenario {name!r}", _suggestion(name, known))
    return known[name]


def _suggestion(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]}?" if close else "See: harness list"


def _parameters(text: str, whole: str) -> Iterable[tuple[str, str]]:
    for part in filter(None, text.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise InputFault(
                f"in {whole} the parameter {part!r} has no value", "Such as codec=ulaw."
            )
        yield key.strip(), value
