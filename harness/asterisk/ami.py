"""Asterisk's manager interface (AMI): actions on a running instance, and their answers."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Literal

from harness.asterisk.own_asterisk import OwnAsterisk
from harness.errors import HarnessFault

ACTION_TIMEOUT_S = 30.0
MuteDirection = Literal["in", "out", "all"]
"""Of MuteAudio: what comes into Asterisk on a channel, what goes out, both"""
_USER = "harness"
_LARGEST_ANSWER = 1 << 24
"""in bytes: that of a console command may be long"""


class ActionFailed(HarnessFault):
    """Asterisk answered an action with an error: no such channel, for one."""


class Ami:
    """A session with AMI that is sent no events. Made by `manager`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._ids = itertools.count()
        self._waiting: dict[str, asyncio.Future[dict[str, str]]] = {}
        self._failure: HarnessFault | None = None
        self._task = asyncio.create_task(self._read())

    async def action(self, name: str, **fields: str) -> dict[str, str]:
        """The answer to an action, field by field; of fields that come twice the last.

        Raises ActionFailed where it is an error, HarnessFault when none comes.
        """
        if self._failure:
            raise self._failure
        action_id = str(next(self._ids))
        answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()
        self._waiting[action_id] = answer
        lines = {"Action": name, "ActionID": action_id, **fields}
        self._writer.write(
            "".join(f"{key}: {value}\r\n" for key, value in lines.items()).encode() + b"\r\n"
        )
        try:
            found: dict[str, str] = await asyncio.wait_for(answer, ACTION_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"AMI did not answer {name} {fields} within {ACTION_TIMEOUT_S:g} s"
            ) from None
        finally:
            del self._waiting[action_id]
        if found.get("Response") == "Error":
            raise ActionFailed(f"AMI refused {name} {fields}: {found.get('Message', '')}")
        return found

    async def close(self) -> None:
        """End the session."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._writer.close()

    async def _read(self) -> None:
        try:
            await self._reader.readline()  # the banner
            while True:
                text = (await self._reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
                parts = (line.partition(":") for line in text.splitlines() if line)
                answer = {key: value.strip() for key, _, value in parts}
                waiting = self._waiting.get(answer.get("ActionID", ""))
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        except (asyncio.IncompleteReadError, OSError) as error:
            self._failure = HarnessFault(f"AMI closed the session: {error}")
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(self._failure)


@asynccontextmanager
async def manager(asterisk: OwnAsterisk) -> AsyncIterator[Ami]:
    """Open AMI of one of the harness's own, which has none otherwise, and log in."""
    address, password = asterisk.network.address, secrets.token_hex(16)
    with socket.socket() as probe:
        probe.bind((address, 0))
        port = probe.getsockname()[1]
    (asterisk.directories.configuration / "manager.conf").write_text(
        f"[general]\nenabled = yes\nbindaddr = {address}\nport = {port}\n\n"
        f"[{_USER}]\nsecret = {password}\nread = all\nwrite = all\n"
    )
    await asyncio.to_thread(asterisk.console.run, "manager reload")
    ami = Ami(*await asyncio.open_connection(address, port, limit=_LARGEST_ANSWER))
    try:
        await ami.action("Login", Username=_USER, Secret=password, Events="off")
        yield ami
    finally:
        await ami.close()
