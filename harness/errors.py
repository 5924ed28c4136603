"""The three kinds of fault the harness keeps apart, so that nobody debugs the wrong program.

A product fault is a verdict of the judge, and an exception only where nothing is left to be judged.
"""

from __future__ import annotations


class Fault(Exception):
    """Something went wrong that is no verdict.

    ``what`` says what went wrong and where; ``remedy`` says what the reader can do about it.
    """

    kind = "fault"

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    @property
    def headline(self) -> str:
        """What went wrong, without what to do about it."""
        return f"{self.kind}: {self.what}"

    def __str__(self) -> str:
        return self.headline + (f"\n  {self.remedy}" if self.remedy else "")


class ProductFault(Fault):
    """The product under test broke: Asterisk crashed, or hangs."""

    kind = "product fault"


class HarnessFault(Fault):
    """The harness itself is wrong: a stage it should have reached was not, an invariant broke."""

    kind = "harness fault"


class EnvironmentFault(Fault):
    """The machine lacks something: a package, a privilege, disk space, an engine."""

    kind = "environment fault"


class InputFault(Fault):
    """What the user gave cannot be used: a path, an option, a scenario key."""

    kind = "input fault"
