"""One tortured call: how it is made, what is done to it, and how it ends."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from random import Random

import websockets
from websockets.asyncio.client import connect as websocket_connect

from chan_websocket.protocol import PATCHED_EVENTS, Format
from harness.application.client import ConnectionEnded
from harness.application.disturb import DisturbingSession, connect
from harness.asterisk.ami import ActionFailed
from harness.asterisk.ari import AriRefused
from harness.asterisk.configuration import WEBSOCKET_CLIENT
from harness.errors import HarnessFault
from harness.judge.invariants import broken_invariants
from harness.torture.application import RandomApplication
from harness.torture.pbx import (
    ARI_APPLICATION,
    BRIDGES,
    CONTEXT,
    PICKUP,
    PICKUP_VARIABLE,
    PLACES,
    POLL_S,
    TorturedPbx,
)

HUNG_UP_BEFORE = "hung up by another call before they were connected"

_CODECS = ("ulaw", "ulaw", "ulaw", "alaw", "slin", "slin16", "g722")
_CONNECTION_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 10.0
_HANG_UPS = 3
"""at most, for one call"""
_HANG_UP_AGAIN_S = 1.0
"""behind the last one, if it is not over"""
_BAD_REQUEST_ENDS_S = 1.0
"""for Asterisk to be done with a request that it refused: until then it refuses another one"""
_LONGEST_CALL = 150
"""actions"""
_MOVES = 0.06
"""the share of the actions that are the PBX's"""


class TorturedCall:
    """What is done is chosen by the random generator alone."""

    def __init__(self, pbx: TorturedPbx, random: Random, token: str) -> None:
        self._pbx = pbx
        self._random = random
        self.token = token
        """the id of its channel. A name would not do: it holds an address, which is used again."""
        self._session: DisturbingSession | None = None
        self._format = random.choice((Format.PLAIN, Format.JSON))
        self._incoming = random.random() < 0.5
        self._waits_for_answer = random.random() < 0.15
        self._passthrough = random.random() < 0.1
        self._tones: list[str] = []
        self._runs_on = random.random() < 0.2
        self._makers: tuple[Callable[[], Awaitable[str]], ...] = (
            self._external_media,
            self._into_application,
            self._into_dialplan,
        )
        self._moves: tuple[Callable[[], Awaitable[None]], ...] = (
            self._redirect,
            self._redirect,
            self._enter_bridge,
            self._enter_bridge,
            self._leave_bridge,
            self._continue,
            self._bridge_to_tone,
            self._bridge_to_other,
            self._pick_up,
            self._dtmf,
            self._mute,
            self._hold,
        )

    async def run(self, until: float) -> list[str]:
        """Make the call and do everything to it; the invariants that it broke.

        It is ended at the latest when the monotonic clock, in seconds, shows ``until``.
        """
        expected = None if self._incoming else self._pbx.expect(self.token)
        connection_id = await self._random.choice(self._makers)()
        async with AsyncExitStack() as stack:
            if expected is not None:
                session = await self._arrived(expected)
            else:
                session = await self._connect(stack, connection_id) if connection_id else None
            if session is None:
                return []
            self._session = session
            application = RandomApplication(session, self._random, self._random.random() < 0.85)
            with self._pbx.up(self.token, session, self._waits_for_answer):
                with suppress(ConnectionEnded):
                    await self._play(application, until)
                await self._end(session)
        self._pbx.counts.update(
            event.name for event in session.events if event.name in PATCHED_EVENTS
        )
        return broken_invariants(
            session.messages,
            passthrough=self._passthrough,
            stopped_reading=application.has_stopped_reading,
        )

    def save(self, path: Path) -> None:
        """Write down what the application sent and received, audio by its size."""
        path.parent.mkdir(parents=True, exist_ok=True)
        messages = self._session.messages if self._session else []
        path.write_text(
            "".join(
                f"{one.time_ns / 1e9:.6f} {one.sender} {one.kind}"
                f" {len(one.data) if one.kind == 'binary' else one.text}\n"
                for one in messages
                if one.kind != "binary" or one.sender == "application"
            )
        )

    # --- How it is made ---

    @property
    def _codec(self) -> str:
        return self._random.choice(_CODECS)

    def _options(self, codec: str) -> str:
        return (
            f"c({codec})f({self._format.value})"
            + ("n" if self._waits_for_answer else "")
            + ("p" if self._passthrough else "")
            + ("w(no)" if self._runs_on else "")
        )

    @property
    def _peer(self) -> str:
        return "INCOMING" if self._incoming else WEBSOCKET_CLIENT

    async def _external_media(self) -> str:
        """The id of the connection that is waited for, empty if it is Asterisk that connects."""
        codec = self._codec
        answer = await self._pbx.ari.request(
            "POST",
            "channels/externalMedia",
            app=ARI_APPLICATION,
            channelId=self.token,
            external_host=self._peer,
            transport="websocket",
            encapsulation="none",
            connection_type="server" if self._incoming else "client",
            format=codec,
            transport_data=self._options(codec),
        )
        self._pbx.counts["external media"] += 1
        return str(answer["channelvars"].get("MEDIA_WEBSOCKET_CONNECTION_ID", ""))

    async def _into_application(self) -> str:
        application, data = self._random.choice((("Wait", "600"), ("Echo", ""), ("Milliwatt", "")))
        return await self._originate(Application=application, Data=data)

    async def _into_dialplan(self) -> str:
        place = self._random.choice(PLACES)
        return await self._originate(Context=CONTEXT, Exten=place, Priority="1")

    async def _originate(self, **where: str) -> str:
        await self._pbx.ami.action(
            "Originate",
            Channel=f"WebSocket/{self._peer}/{self._options(self._codec)}",
            ChannelId=self.token,
            Async="true",
            Timeout="600000",
            **where,
        )
        self._pbx.counts["originated"] += 1
        if not self._incoming:
            return ""
        deadline = time.monotonic() + _CONNECTION_TIMEOUT_S
        while time.monotonic() < deadline:
            with suppress(ActionFailed):  # the channel is not there yet
                answer = await self._pbx.ami.action(
                    "Getvar", Channel=self.token, Variable="MEDIA_WEBSOCKET_CONNECTION_ID"
                )
                if answer.get("Value"):
                    return answer["Value"]
            await asyncio.sleep(POLL_S)
        self._pbx.counts[HUNG_UP_BEFORE] += 1
        return ""

    async def _arrived(
        self, expected: asyncio.Future[DisturbingSession]
    ) -> DisturbingSession | None:
        try:
            return await asyncio.wait_for(expected, _CONNECTION_TIMEOUT_S)
        except asyncio.TimeoutError:
            await self._must_be_gone(f"no connection within {_CONNECTION_TIMEOUT_S:g} s")
            return None

    async def _connect(self, stack: AsyncExitStack, connection_id: str) -> DisturbingSession | None:
        """Connect to Asterisk as an application may do it; None if no connection comes of it."""
        uri, tls = self._pbx.media_uri(connection_id), self._pbx.media_tls
        retry_until = 0.0
        if self._random.random() < 0.2:
            await self._bad_request(uri, tls, "another", 400)
            retry_until = time.monotonic() + _BAD_REQUEST_ENDS_S
        if self._random.random() < 0.2:
            await self._bad_request(uri[:-1], tls, "media", 404)
        hang_up = None
        if self._random.random() < 0.2:
            self._pbx.counts["hung up while connecting"] += 1
            hang_up = asyncio.create_task(self._hang_up_within(0.01))
        at_once = 2 if self._random.random() < 0.3 else 1
        while True:
            outcomes = await asyncio.gather(*(_attempt(connect(uri, tls)) for _ in range(at_once)))
            refusals = [
                str(outcome) for _, outcome in outcomes if isinstance(outcome, HarnessFault)
            ]
            conflicts = [refusal for refusal in refusals if "HTTP 409" in refusal]
            if len(conflicts) < at_once or time.monotonic() > retry_until:
                break
        if hang_up is not None:
            await hang_up
        accepted = []
        for connection, outcome in outcomes:
            if isinstance(outcome, DisturbingSession):
                stack.push_async_exit(connection)
                accepted.append(outcome)
            else:
                self._pbx.counts["connections refused"] += 1
        if len(accepted) > 1:
            raise HarnessFault(f"{len(accepted)} connections were accepted for one channel")
        if not accepted and hang_up is None:
            await self._must_be_gone(f"refused: {[outcome for _, outcome in outcomes]}")
        return accepted[0] if accepted else None

    async def _bad_request(
        self, uri: str, tls: ssl.SSLContext | None, protocol: str, status: int
    ) -> None:
        """A request that is to be refused, and to do no harm."""
        self._pbx.counts["bad requests"] += 1
        protocols = [websockets.Subprotocol(protocol)]
        try:
            async with websocket_connect(uri, ssl=tls, subprotocols=protocols, proxy=None):
                raise HarnessFault(f"a connection to {uri} was accepted ({protocol})")
        except websockets.InvalidStatus as refused:
            if refused.response.status_code != status:
                await self._must_be_gone(f"refused with {refused.response.status_code}")

    async def _must_be_gone(self, what: str) -> None:
        """Another call may have picked this one up, or taken it along, before it was connected."""
        with suppress(ActionFailed):
            await self._pbx.ami.action("Getvar", Channel=self.token, Variable="CHANNEL(state)")
            raise HarnessFault(f"{what}, but its channel is there")
        self._pbx.counts[HUNG_UP_BEFORE] += 1

    async def _hang_up_within(self, seconds: float) -> None:
        await asyncio.sleep(self._random.uniform(0, seconds))
        await self.hang_up()

    # --- What is done to it ---

    async def _play(self, application: RandomApplication, until: float) -> None:
        for _ in range(self._random.randint(1, _LONGEST_CALL)):
            if time.monotonic() > until:
                return
            if self._random.random() < _MOVES:
                with suppress(ActionFailed, AriRefused):  # it is not where it could be moved from
                    await self._random.choice(self._moves)()
            else:
                await application.act()

    async def _redirect(self) -> None:
        self._pbx.counts["redirected"] += 1
        await self._send_to(self._random.choice(PLACES))

    async def _send_to(self, place: str) -> None:
        await self._pbx.ami.action(
            "Redirect", Channel=self.token, Context=CONTEXT, Exten=place, Priority="1"
        )

    async def _enter_bridge(self) -> None:
        bridge = self._random.choice(BRIDGES)
        await self._pbx.ari.request("POST", f"bridges/{bridge}/addChannel", channel=self.token)
        self._pbx.counts["entered a bridge"] += 1

    async def _leave_bridge(self) -> None:
        bridge = self._random.choice(BRIDGES)
        await self._pbx.ari.request("POST", f"bridges/{bridge}/removeChannel", channel=self.token)
        self._pbx.counts["left a bridge"] += 1

    async def _continue(self) -> None:
        await self._pbx.ari.request(
            "POST",
            f"channels/{self.token}/continue",
            context=CONTEXT,
            extension=self._random.choice(PLACES),
            priority="1",
        )
        self._pbx.counts["continued in the dialplan"] += 1

    async def _bridge_to_tone(self) -> None:
        self._pbx.counts["bridged with a tone"] += 1
        tone = f"{self.token}-tone-{self._random.randrange(1 << 32)}"
        self._tones += [tone, f"{tone};2"]
        await self._pbx.ami.action(
            "Originate",
            Channel=f"Local/tone@{CONTEXT}",
            ChannelId=tone,
            OtherChannelId=f"{tone};2",
            Application="Wait",
            Data="600",
        )
        await self._bridge_to(tone)

    async def _bridge_to_other(self) -> None:
        if others := self._pbx.others(self.token):
            self._pbx.counts["bridged with another"] += 1
            other = self._random.choice(others)
            await self._bridge_to(str(other.media_start.fields["channel_id"]))

    async def _bridge_to(self, channel: str) -> None:
        await self._pbx.ami.action("Bridge", Channel1=self.token, Channel2=channel, Tone="no")

    async def _pick_up(self) -> None:
        if waiting := self._pbx.others(self.token, waiting=True):
            self._pbx.counts["picked up another"] += 1
            target = str(self._random.choice(waiting).media_start.fields["channel_id"])
            await self._pbx.ami.action(
                "Setvar", Channel=self.token, Variable=PICKUP_VARIABLE, Value=target
            )
            await self._send_to(PICKUP)

    async def _dtmf(self) -> None:
        self._pbx.counts["sent a digit"] += 1
        await self._pbx.ami.action("PlayDTMF", Channel=self.token, Digit="5")

    async def _mute(self) -> None:
        self._pbx.counts["muted or unmuted"] += 1
        await self._ari_switch("mute")

    async def _hold(self) -> None:
        self._pbx.counts["held or unheld"] += 1
        await self._ari_switch("hold")

    async def _ari_switch(self, what: str) -> None:
        method = self._random.choice(("POST", "DELETE"))
        await self._pbx.ari.request(method, f"channels/{self.token}/{what}")

    # --- How it ends ---

    async def _end(self, session: DisturbingSession) -> None:
        [how] = self._random.choices(
            ("HANGUP", "hung up", "closed", "broken off"), (40, 25, 20, 15)
        )
        self._pbx.counts[f"ended: {how}"] += 1
        with suppress(ConnectionEnded):  # somebody was faster
            if how == "HANGUP":
                await session.hangup()
            elif how == "hung up":
                await self._hang_up_until_closed(session)
            elif how == "closed":
                await session.close()
            else:
                await session.abort()
        await session.wait_closed(_CLOSE_TIMEOUT_S)

    async def _hang_up_until_closed(self, session: DisturbingSession) -> None:
        """Again, if nothing comes of it: in the middle of a masquerade Asterisk's core does not
        find the channel by its id, and the request of just before stays with the other one."""
        for _ in range(_HANG_UPS - 1):
            await self.hang_up()
            with suppress(HarnessFault):
                await session.wait_closed(_HANG_UP_AGAIN_S)
                return
            self._pbx.counts["hung up again"] += 1
        await self.hang_up()

    async def hang_up(self) -> None:
        """Have Asterisk hang up its channel, if it is there."""
        await self._hang_up_channel(self.token)

    async def clear(self) -> None:
        """Hang up all that is left of it: also the tones, which nobody else would end."""
        for channel in (self.token, *self._tones):
            await self._hang_up_channel(channel)

    async def _hang_up_channel(self, channel: str) -> None:
        with suppress(ActionFailed):
            await self._pbx.ami.action("Hangup", Channel=channel)


Connecting = AbstractAsyncContextManager[DisturbingSession]


async def _attempt(connection: Connecting) -> tuple[Connecting, DisturbingSession | HarnessFault]:
    """A connection, with its session or with why it was refused."""
    try:
        return connection, await connection.__aenter__()
    except HarnessFault as refused:
        return connection, refused
