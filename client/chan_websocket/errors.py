"""What can go wrong with a call, for those who write an agent.

A wrong argument is a ValueError, and what does not come in time a TimeoutError, as ever.
"""

from __future__ import annotations


class CallError(Exception):
    """Base class of the errors of a call."""


class CallEnded(CallError):
    """Something was to be sent on a connection that has ended, by whichever side."""


class ConnectFailed(CallError):
    """There is no media connection: nobody took it, or it did not begin with MEDIA_START."""
