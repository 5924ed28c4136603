"""Reads YAML files that people write by hand, against a pydantic model, and says where it is wrong.

Every fault names file and line, and a misspelt key what was probably meant::

    lab.yaml:7: unknown key 'transprot' in sip; did you mean 'transport'?

What the model lets pass is its own affair: give it ``extra="forbid"`` (see `StrictModel`).
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import InputFault

Model = TypeVar("Model", bound=BaseModel)
KeyPath = Sequence[str | int]
"""Keys and indexes from the top of a document down to a value, as pydantic's ``loc``"""


class StrictModel(BaseModel):
    """A part of a file in which every key must be known; immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Document:
    """A YAML file that has been read but not yet validated."""

    def __init__(self, path: Path, text: str) -> None:
        """Raises InputFault, with the line, when ``text`` is not YAML or has a key twice."""
        self.path = path
        self._root: yaml.Node | None
        self._data: object
        try:
            loader = yaml.SafeLoader(text)
            self._root = loader.get_single_node()
            if self._root is not None:
                self._refuse_double_keys(self._root)
            self._data = None if self._root is None else loader.construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            raise InputFault(f"{path}:{line}: this is not YAML: {error.problem}") from error
        except yaml.YAMLError as error:
            raise InputFault(f"{path}: this is not YAML: {error}") from error

    def line(self, location: KeyPath) -> int:
        """The line, from 1, of the value there; for a key that is missing, of what should have it.

        Names that are in no file, such as the tags pydantic puts into the ``loc`` of a union, are
        passed over.
        """
        node, line = self._root, 1
        for step in location:
            if isinstance(node, yaml.MappingNode):
                found = next(
                    (pair for pair in node.value if self._scalar(pair[0]) == str(step)), None
                )
                if found is not None:
                    node, line = found[1], found[0].start_mark.line + 1
            elif (
                isinstance(node, yaml.SequenceNode)
                and isinstance(step, int)
                and step < len(node.value)
            ):
                node = node.value[step]
                line = node.start_mark.line + 1
        return line

    def validate(self, model: type[Model], data: object = None) -> Model:
        """The file's content as ``model``; InputFault with a line for each thing that is wrong.

        ``data`` instead of it has the same shape, such as the content with its variables replaced.
        """
        content = self._data if data is None else data
        try:
            return model.model_validate({} if content is None else content)
        except ValidationError as error:
            faults = sorted(
                {(self.line(e["loc"]), self._sentence(e, model)) for e in error.errors()}
            )
            lines = [f"{self.path}:{line}: {sentence}" for line, sentence in faults]
            raise InputFault("\n  ".join(lines)) from None

    def fault(self, location: KeyPath, sentence: str) -> InputFault:
        """A fault found by somebody else in the value there, to be raised."""
        return InputFault(f"{self.path}:{self.line(location)}: {sentence}")

    def _sentence(self, error: ErrorDetails, model: type[BaseModel]) -> str:
        *parents, name = error["loc"] or ("the file",)
        where = f" in {_dotted(parents)}" if parents else ""
        if error["type"] == "extra_forbidden":
            known = _known_keys(model, parents)
            guess = _did_you_mean(str(name), known)
            return f"unknown key '{name}'{where}{guess or _one_of(known)}"
        if error["type"] == "missing":
            return f"the key '{name}' is missing{where}"
        message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if error["type"] == "literal_error":
            expected = str(error["ctx"]["expected"])
            message += _did_you_mean(str(error["input"]), expected.split("'")[1::2])
        if not error["loc"]:
            return message
        shown = "" if isinstance(error["input"], (dict, list)) else f": {error['input']!r}"
        return f"{_dotted(error['loc'])}{shown}: {message[:1].lower()}{message[1:]}"

    def _refuse_double_keys(self, node: yaml.Node) -> None:
        # PyYAML would let the last one win without a word.
        if isinstance(node, yaml.MappingNode):
            seen: dict[str, int] = {}
            for key, value in node.value:
                name, line = self._scalar(key), key.start_mark.line + 1
                if name in seen:
                    raise InputFault(
                        f"{self.path}:{line}: the key '{name}' stands here twice, first in line"
                        f" {seen[name]}"
                    )
                seen[name] = line
                self._refuse_double_keys(value)
        elif isinstance(node, yaml.SequenceNode):
            for value in node.value:
                self._refuse_double_keys(value)

    @staticmethod
    def _scalar(key: yaml.Node) -> str:
        return str(key.value)


def read(path: Path) -> Document:
    """The YAML file ``path``. Raises InputFault when it cannot be read or is not YAML."""
    try:
        return Document(path, path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputFault(f"{path} cannot be read: {reason}") from error


def _dotted(location: KeyPath) -> str:
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def _one_of(known: Iterable[str]) -> str:
    names = ", ".join(sorted(known))
    return f"; known are {names}" if names else ""


def _known_keys(model: type[BaseModel], location: KeyPath) -> set[str]:
    """The keys that may stand at ``location`` of a document of ``model``."""
    here: set[Hashable] = {model}
    for step in location:
        # A step that leads nowhere is the tag of a union's member: what was reached stays.
        here = {deeper for kind in here for deeper in _below(kind, step)} or here
    return {
        field.alias or name
        for kind in here
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    }


def _below(kind: Hashable, step: str | int) -> set[Hashable]:
    """The types that the value ``step`` of a value of the type ``kind`` can have."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if step == (field.alias or name):
                return _alternatives(field.annotation)
        # pydantic names a member of a union by its class.
        return {kind} if step == kind.__name__ else set()
    arguments = get_args(kind)
    if isinstance(step, int):
        return {one for argument in arguments for one in _alternatives(argument)}
    return _alternatives(arguments[1]) if get_origin(kind) is dict else set()


def _alternatives(annotation: Any) -> set[Hashable]:
    """The types that ``annotation`` admits, out of Annotated, Optional and unions."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return {one for member in get_args(annotation) for one in _alternatives(member)}
    return {annotation}
