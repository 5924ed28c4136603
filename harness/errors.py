"""The kinds of fault the harness keeps apart, so that nobody debugs the wrong program.

    Fault
      ProductFault          the product under test broke, and nothing is left to be judged
        AsteriskCrashed       it was ended by a signal such as SIGSEGV
        AsteriskHangs         it runs, and its console is silent
      HarnessFault          the harness did not do what it should have done
        AsteriskEnded         Asterisk ended by itself or was stopped
        CallFailed            a SIP call was refused, or went another way than planned
        AriRefused            ARI responded with an error
        NotAnswered           a console command got no response in time
        ConnectionEnded       the media connection had ended when it was needed
      EnvironmentFault      the machine lacks something
        NoContainers          there is no container engine, or no image to build upon
      InputFault            what the user gave cannot be used

A wrong acknowledgement is none of these: it is a verdict of the judge.
"""

from __future__ import annotations

import errno
import traceback

_REFUSED_BY_THE_MACHINE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    # Something else is where a file or folder is to be.
    *(errno.EEXIST, errno.EISDIR, errno.ENOTDIR),
)
"""of OSError; the others (a file that is not there, a time-out) the harness should have foreseen"""


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


def as_fault(problem: Exception) -> Fault:
    """What ended a command, as a fault: itself, the machine's, or an unexpected error.

    Of the last the traceback is printed to standard error: who mends it needs that.
    """
    if isinstance(problem, Fault):
        return problem
    if isinstance(problem, OSError) and problem.errno in _REFUSED_BY_THE_MACHINE:
        where = f"{problem.filename}: " if problem.filename is not None else ""
        remedy = "Does it belong to another user, such as root? Then be that user, or take it over."
        denied = isinstance(problem, PermissionError)
        return EnvironmentFault(f"{where}{problem.strerror}", remedy if denied else "")
    traceback.print_exception(problem)
    return HarnessFault(
        f"{type(problem).__name__}: {problem}",
        "Unexpected error. Please report it with the lines above.",
    )
