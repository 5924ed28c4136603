"""A call's verdict as a whole: of its marks, the accounts Asterisk gave, and what its scenario
expects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from harness.judge.counters import Accounts

Result = Literal["PASS", "FAIL", "INCONCLUSIVE"]


def call_result(accounts: Accounts, unexpected: Sequence[str] | None = None) -> Result:
    """Of the marks and the accounts of a call together: the worse of the two.

    ``unexpected`` is what did not come of it as its scenario expects, which fails it. None is for a
    call without a scenario: without marks that call proves nothing, and is INCONCLUSIVE.
    """
    if unexpected:
        return "FAIL"
    if unexpected is not None and not accounts.call.marks:
        return accounts.verdict
    return worst((accounts.call.verdict, accounts.verdict))


def worst(results: Iterable[Result]) -> Result:
    """FAIL if there is one, else INCONCLUSIVE if there is one, else PASS."""
    kinds = set(results)
    if "FAIL" in kinds:
        return "FAIL"
    return "INCONCLUSIVE" if "INCONCLUSIVE" in kinds else "PASS"


def account_failures(accounts: Accounts) -> list[str]:
    """Each account that did not pass, as text that says why."""
    return [accounts.failure_text(one) for one in accounts.verdicts if one.explanation]
