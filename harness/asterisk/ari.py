"""A client of Asterisk's REST interface (ARI): requests, events, and calls bridged over it.

ari = Ari(AriAccess("http://127.0.0.1:8088/ari", "harness", password))
async with ari.application("harness-1-abcd") as application:
    ...                                           # a call enters Stasis(harness-1-abcd)
    await application.bridge_caller()
    media = await application.external_media(extension)
    await application.in_bridge(media.channel)
"""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket_connect

from harness.asterisk.configuration import SILENT_PARTY, WEBSOCKET_CLIENT, Extension
from harness.errors import EnvironmentFault, Fault, HarnessFault, InputFault

REQUEST_TIMEOUT_S = 10.0
EVENT_TIMEOUT_S = 10.0
"""for a channel to come, or to be in the bridge"""
_SHOWN_CHARACTERS = 80
"""of a response that is not ARI's"""
CONNECTION_ID_VARIABLE = "MEDIA_WEBSOCKET_CONNECTION_ID"

AriEvent = dict[str, Any]
"""An event of ARI: the JSON object"""


class AriRefused(HarnessFault):
    """A request to which ARI responded with an error."""

    def __init__(self, what: str, remedy: str, status: int) -> None:
        super().__init__(what, remedy)
        self.status = status
        """of HTTP"""


@dataclass(frozen=True)
class AriAccess:
    """Where ARI is, and as whom."""

    uri: str
    """``http://host:port/ari``, or https"""
    user: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    """for https"""


@dataclass(frozen=True)
class ExternalMedia:
    """A WebSocket channel that ARI has made."""

    channel: str
    """its id"""
    connection_id: str
    """where the application is to connect, if it is to: the last part of the media URI"""


class Ari:
    """Requests to one Asterisk."""

    def __init__(self, access: AriAccess) -> None:
        self.access = access
        login = f"{access.user}:{access.password}"
        self._headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}

    def ask(self, method: str, path: str, **query: str) -> Any:
        """Make one request and return the JSON of its response, None if it has none. Blocks.

        Raises AriRefused with ARI's reason, InputFault if it does not know the user or is not ARI,
        EnvironmentFault if nothing responds.
        """
        url = f"{self.access.uri}/{path}"
        if query:
            url += f"?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, method=method, headers=self._headers)
        # Never through a proxy that the environment names: this is traffic with the PBX.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.access.tls)
        )
        refused: urllib.error.HTTPError | None = None
        try:
            try:
                answer = opener.open(request, timeout=REQUEST_TIMEOUT_S)
            except urllib.error.HTTPError as error:
                answer = refused = error
            with answer:
                text = answer.read()
        except OSError as error:
            raise self._unreachable(error) from error
        except http.client.HTTPException as error:
            raise self._not_ari(path, error) from error
        if refused is not None:
            said = text.decode(errors="replace").strip()
            what = f"ARI answered {method} {path} with {refused.code} {refused.reason}: {said}"
            if refused.code == 401:
                raise InputFault(
                    what, "Check user and password with ari.conf on the PBX."
                ) from refused
            raise AriRefused(
                what, _REMEDIES.get(refused.code, "Asterisk's log says more."), refused.code
            ) from refused
        try:
            return json.loads(text) if text else None
        except ValueError as error:
            raise self._not_ari(path, text) from error

    def version(self) -> str:
        """Asterisk's, such as 22.10.1. Blocks. Raises as `ask`."""
        answer = self.ask("GET", "asterisk/info")
        try:
            return str(answer["system"]["version"])
        except (KeyError, TypeError) as error:
            raise self._not_ari("asterisk/info", answer) from error

    def running_modules(self) -> set[str]:
        """The names of the modules that run. Blocks. Raises as `ask`."""
        answer = self.ask("GET", "asterisk/modules")
        try:
            return {module["name"] for module in answer if module["status"] == "Running"}
        except (KeyError, TypeError) as error:
            raise self._not_ari("asterisk/modules", answer) from error

    def _unreachable(self, error: Exception) -> EnvironmentFault:
        return EnvironmentFault(
            f"ARI at {self.access.uri} cannot be reached: {error}",
            "Is http.conf enabled, and is this its address? Check a firewall between.",
        )

    def _not_ari(self, path: str, answer: object) -> InputFault:
        said = repr(answer)[:_SHOWN_CHARACTERS]
        return InputFault(
            f"what is at {self.access.uri} is not Asterisk's ARI: it answered {path} with {said}",
            "Compare the URI with http.conf on the PBX: http://<bindaddr>:<bindport>/ari.",
        )

    async def request(self, method: str, path: str, **query: str) -> Any:
        """`ask`, beside an event loop."""
        return await asyncio.to_thread(self.ask, method, path, **query)

    async def originate(
        self, endpoint: str, application: str, channel_id: str = "", formats: str = "ulaw"
    ) -> str:
        """A channel that enters the application when it is answered; its id."""
        query = {"channelId": channel_id} if channel_id else {}
        answer = await self.request(
            "POST", "channels", endpoint=endpoint, app=application, formats=formats, **query
        )
        return str(answer["id"])

    async def originate_into_dialplan(
        self, endpoint: str, context: str, extension: str, formats: str
    ) -> str:
        """A channel that enters the dialplan there when it is answered; its id."""
        answer = await self.request(
            "POST",
            "channels",
            endpoint=endpoint,
            context=context,
            extension=extension,
            priority="1",
            formats=formats,
        )
        return str(answer["id"])

    @asynccontextmanager
    async def events(self, application: str) -> AsyncIterator[ClientConnection]:
        """The WebSocket on which an application gets its events; without it there is none."""
        url = self.access.uri.replace("http", "ws", 1)
        url += f"/events?{urllib.parse.urlencode({'app': application})}"
        try:
            # Without a bound on what is queued: else the end of a connection whose events nobody
            # reads any more waits behind them, for 10 s.
            connection = await websocket_connect(
                url,
                additional_headers=self._headers,
                ssl=self.access.tls,
                proxy=None,
                max_queue=None,
            )
        except (OSError, asyncio.TimeoutError) as error:
            raise self._unreachable(error) from error
        except websockets.WebSocketException as error:
            raise EnvironmentFault(
                f"no events of ARI at {self.access.uri}: {error}",
                "Check user and password with ari.conf, and whether res_ari_events.so is loaded.",
            ) from error
        try:
            yield connection
        finally:
            await connection.close()

    @asynccontextmanager
    async def application(self, name: str) -> AsyncIterator[BridgedCall]:
        """An ARI application for one call. Leaving ends all of its channels and its bridge."""
        async with self.events(name) as events:
            call = BridgedCall(self, name)
            task = asyncio.create_task(call._run(events))
            try:
                yield call
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
                await call._end()


ChannelAction = Literal["play", "moh", "silence", "mute", "hold", "remove", "park"]
"""What can be done to a channel in its bridge: a tone, music on hold or silence played to it; mute
it, hold it; take it out of its bridge; put it into a holding one"""
BridgedParty = Literal["caller", "application"]


class BridgedCall:
    """A caller, external media and perhaps a silent third party in one mixing bridge.

    When the caller or the media channel leaves, the others are sent away, as Dial does it.
    """

    def __init__(self, ari: Ari, name: str) -> None:
        self._ari = ari
        self.name = name
        """of the ARI application"""
        self._changed = asyncio.Condition()
        self._arrived: list[str] = []
        """ids of the channels that entered the application, in that order"""
        self._in_bridge: set[str] = set()
        self._bridge = ""
        self._made: list[str] = []
        """ids of the channels that we made"""
        self._holding = ""
        """id of the holding bridge, if there is one"""
        self._caller = ""
        self._media = ""
        """id of the WebSocket channel"""
        self.media_after_s = 0.0
        """how long after its channel has come the application joins the bridge"""
        self._joining: set[asyncio.Task[None]] = set()
        self._failure: Fault | None = None
        self._ending: asyncio.Task[None] | None = None

    async def bridge_caller(self, third: bool = False) -> None:
        """Wait for the caller, and make the bridge with it, and with a ``third`` that is silent."""
        await self._until(lambda: bool(self._arrived), "no call entered it")
        caller = self._caller
        bridge = await self._ari.request("POST", "bridges", type="mixing")
        self._bridge = bridge["id"]
        await self._add(caller)
        await self.in_bridge(caller)
        if third:
            silent = await self._ari.originate(SILENT_PARTY, self.name)
            self._made.append(silent)
            await self.in_bridge(silent)

    async def external_media(self, extension: Extension) -> ExternalMedia:
        """Make the WebSocket channel that the extension describes; it joins when it is answered."""
        outgoing = extension.connection == "outgoing"
        # Of our own: it may enter the application before the response is here.
        self._media = f"{self.name}-media"
        self._made.append(self._media)
        channel = await self._ari.request(
            "POST",
            "channels/externalMedia",
            channelId=self._media,
            app=self.name,
            external_host=WEBSOCKET_CLIENT if outgoing else "INCOMING",
            transport="websocket",
            encapsulation="none",
            connection_type="client" if outgoing else "server",
            format=extension.codec,
            transport_data=extension.media_options,
        )
        variables = channel.get("channelvars", {})
        return ExternalMedia(channel["id"], variables.get(CONNECTION_ID_VARIABLE, ""))

    async def apply(self, action: ChannelAction, party: BridgedParty, ms: int) -> None:
        """Do something to the channel of the caller or the application for so long, and undo it."""
        channel = self._caller if party == "caller" else self._media
        if action in ("remove", "park"):
            self._in_bridge.discard(channel)
            if action == "remove":
                await self._ari.request(
                    "POST", f"bridges/{self._bridge}/removeChannel", channel=channel
                )
            else:
                await self._park(channel)
            await asyncio.sleep(ms / 1000)
            await self._add(channel)
            await self.in_bridge(channel)
            return
        path = f"channels/{channel}/{action}"
        query = {"play": {"media": _TONE}, "mute": {"direction": "both"}}.get(action, {})
        answer = await self._ari.request("POST", path, **query)
        await asyncio.sleep(ms / 1000)
        if action == "play":
            path, query = f"playbacks/{answer['id']}", {}
        await self._unless_gone(self._ari.request("DELETE", path, **query))

    async def move(self) -> None:
        """Put caller and application into another mixing bridge, the caller first."""
        before = self._bridge
        self._bridge = (await self._ari.request("POST", "bridges", type="mixing"))["id"]
        for channel in (self._caller, self._media):
            self._in_bridge.discard(channel)
            await self._add(channel)
            await self.in_bridge(channel)
        await self._ari.request("DELETE", f"bridges/{before}")

    async def _park(self, channel: str) -> None:
        bridge = await self._ari.request("POST", "bridges", type="holding")
        self._holding = bridge["id"]
        path = f"bridges/{self._holding}/addChannel"
        await self._ari.request("POST", path, channel=channel)
        await self.in_bridge(channel)
        self._in_bridge.discard(channel)

    async def joined(self) -> None:
        """Until somebody else who has called the application is in the bridge."""

        def is_there() -> bool:
            return any(one in self._in_bridge for one in self._arrived if self._is_other(one))

        await self._until(is_there, "no other party came into the bridge")

    def _is_other(self, channel: str) -> bool:
        return channel not in (self._caller, self._media)

    async def send_digit(self, digit: str, ms: int) -> None:
        """Send the caller a digit that lasts so long. Returns when it should be over."""
        path = f"channels/{self._caller}/dtmf"
        await self._ari.request("POST", path, dtmf=digit, duration=str(ms))
        await asyncio.sleep(ms / 1000)

    async def in_bridge(self, channel: str) -> None:
        """Until a channel is in the bridge: what is sent before that is not heard."""
        await self._until(
            lambda: channel in self._in_bridge, f"the channel {channel} did not enter its bridge"
        )

    async def _until(self, condition: Callable[[], bool], failure: str) -> None:
        async def reached() -> None:
            async with self._changed:
                await self._changed.wait_for(lambda: condition() or self._failure is not None)

        try:
            await asyncio.wait_for(reached(), EVENT_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise HarnessFault(
                f"ARI application {self.name}: {failure} within {EVENT_TIMEOUT_S:g} s",
                "Asterisk's log says why the call failed.",
            ) from None
        if self._failure is not None:
            raise self._failure

    async def _run(self, events: ClientConnection) -> None:
        try:
            async for text in events:
                await self._happened(json.loads(text))
            raise HarnessFault(f"ARI closed the events of the application {self.name}")
        except Fault as fault:
            await self._fail(fault)

    async def _happened(self, event: AriEvent) -> None:
        channel = event.get("channel", {}).get("id", "")
        if event["type"] == "StasisStart":
            self._arrived.append(channel)
            self._caller = self._caller or channel
            # The caller, who is first, is put there by bridge_caller.
            if self._bridge:
                self._joining.add(asyncio.create_task(self._join(channel)))
        elif event["type"] == "ChannelEnteredBridge":
            self._in_bridge.add(channel)
        elif event["type"] in ("StasisEnd", "ChannelDestroyed") and not self._is_other(channel):
            await self._end()
        async with self._changed:
            self._changed.notify_all()

    async def _join(self, channel: str) -> None:
        """Put a channel that has come into the bridge, the application's when its time has come."""
        try:
            if channel == self._media:
                await asyncio.sleep(self.media_after_s)
            await self._add(channel)
        except Fault as fault:
            await self._fail(fault)

    async def _fail(self, fault: Fault) -> None:
        self._failure = fault
        async with self._changed:
            self._changed.notify_all()

    async def _add(self, channel: str) -> None:
        await self._unless_gone(
            self._ari.request("POST", f"bridges/{self._bridge}/addChannel", channel=channel)
        )

    async def _end(self) -> None:
        """Hang up every channel and take the bridge away, as far as they are still there.

        What has begun is brought to its end, also when who waits for it is cancelled.
        """
        self._ending = asyncio.create_task(self._end_all(self._ending))
        await asyncio.shield(self._ending)

    async def _end_all(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        for joining in self._joining:
            joining.cancel()
        channels = list(dict.fromkeys([*self._arrived, *self._made]))
        self._arrived, self._made = [], []
        for channel in channels:
            await self._unless_gone(self._ari.request("DELETE", f"channels/{channel}"))
        bridges, self._bridge, self._holding = [self._bridge, self._holding], "", ""
        for bridge in filter(None, bridges):
            await self._unless_gone(self._ari.request("DELETE", f"bridges/{bridge}"))

    @staticmethod
    async def _unless_gone(request: Awaitable[Any]) -> None:
        # 404, 409, 422: it has gone, or is just going.
        try:
            await request
        except AriRefused as refused:
            if refused.status not in (404, 409, 422):
                raise


def waits_to_be_answered(extension: Extension) -> bool:
    """Whether the application itself has to answer: option n, which is not part of another one."""
    return "n" in re.sub(r"\([^)]*\)", "", extension.options)


_TONE = "tone:ring"
"""for as long as it is not stopped"""

_REMEDIES = {
    403: "The user may only read: take read_only out of ari.conf.",
    404: "Is the module loaded that has it (res_ari_channels.so, res_ari_bridges.so)?",
}
