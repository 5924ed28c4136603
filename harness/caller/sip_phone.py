"""A telephone that holds many calls, and transfers them: what SIPp, which plays the other callers,
does not do, or not without a process for each."""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
from dataclasses import dataclass
from urllib.parse import quote

from harness.caller.sip_peer import SipPeer, local_address_towards

ANSWER_TIMEOUT_S = 10.0


@dataclass
class Dialog:
    """A call that has been answered (RFC 3261, 12)."""

    call_id: str
    extension: str
    local_tag: str
    remote_tag: str


class SipPhone(asyncio.DatagramProtocol):
    """Calls a PBX, hears nothing, and answers all requests with 200. An async context manager."""

    def __init__(self, peer: SipPeer, rtp_port: int) -> None:
        self._peer = peer
        self._rtp_port = rtp_port
        self._cseq = itertools.count(1)
        self._ended: dict[str, asyncio.Event] = {}
        """by Call-ID; set when the PBX has hung up"""
        self._answers: dict[tuple[str, str], asyncio.Future[str]] = {}

    async def __aenter__(self) -> SipPhone:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: self,
            local_addr=(local_address_towards(self._peer), 0),
            remote_addr=(self._peer.address, self._peer.port),
        )
        self._address, self._port = self._transport.get_extra_info("sockname")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._transport.close()

    async def call(self, extension: str) -> Dialog:
        """Place a call and wait until it is answered."""
        dialog = Dialog(secrets.token_hex(8), extension, secrets.token_hex(4), "")
        sdp = (
            f"v=0\r\no=- 1 1 IN IP4 {self._address}\r\ns=-\r\nc=IN IP4 {self._address}\r\n"
            f"t=0 0\r\nm=audio {self._rtp_port} RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
        )
        cseq, answer = self._send(dialog, "INVITE", "Content-Type: application/sdp\r\n", sdp)
        found = re.search(r"^To:.*;tag=(\S+)", await self._final(answer), re.MULTILINE)
        assert found is not None
        dialog.remote_tag = found[1]
        self._ended[dialog.call_id] = asyncio.Event()
        self._send(dialog, "ACK", cseq=cseq)
        return dialog

    async def transfer(self, dialog: Dialog, to: Dialog) -> None:
        """An attended transfer (RFC 5589): who is in the one call takes our place in the other."""
        replaces = f"{to.call_id};to-tag={to.remote_tag};from-tag={to.local_tag}"
        target = f"<sip:{to.extension}@{self._peer.authority}?Replaces={quote(replaces)}>"
        headers = f"Refer-To: {target}\r\nReferred-By: <sip:{self._peer.user}@{self._address}>\r\n"
        _, answer = self._send(dialog, "REFER", headers)
        status = (await self._final(answer)).split()[1]
        assert status == "202", f"the transfer was refused: {status}"

    async def hang_up(self, dialog: Dialog) -> None:
        """End a call."""
        await self._final(self._send(dialog, "BYE")[1])

    async def ended(self, dialog: Dialog) -> None:
        """Until the PBX has hung up a call."""
        await asyncio.wait_for(self._ended[dialog.call_id].wait(), ANSWER_TIMEOUT_S)

    async def _final(self, answer: asyncio.Future[str]) -> str:
        return await asyncio.wait_for(answer, ANSWER_TIMEOUT_S)

    def _send(
        self, dialog: Dialog, method: str, headers: str = "", body: str = "", cseq: int = 0
    ) -> tuple[int, asyncio.Future[str]]:
        """Send a request; its number, and where its final answer will be."""
        cseq = cseq or next(self._cseq)
        own = f"<sip:{self._peer.user}@{self._address}:{self._port}>"
        remote = f"<sip:{dialog.extension}@{self._peer.authority}>"
        tag = f";tag={dialog.remote_tag}" if dialog.remote_tag else ""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[dialog.call_id, f"{cseq} {method}"] = answer
        self._transport.sendto(
            (
                f"{method} sip:{dialog.extension}@{self._peer.authority} SIP/2.0\r\n"
                f"Via: SIP/2.0/UDP {self._address}:{self._port};rport"
                f";branch=z9hG4bK-{secrets.token_hex(8)}\r\n"
                f"From: {own};tag={dialog.local_tag}\r\n"
                f"To: {remote}{tag}\r\n"
                f"Call-ID: {dialog.call_id}\r\n"
                f"CSeq: {cseq} {method}\r\n"
                f"Contact: {own}\r\n"
                "Max-Forwards: 70\r\n"
                f"{headers}Content-Length: {len(body)}\r\n\r\n{body}"
            ).encode()
        )
        return cseq, answer

    def datagram_received(self, data: bytes, address: object) -> None:
        text = data.decode(errors="replace")
        call_id, cseq = (
            found[1].strip() if (found := re.search(rf"^{name}:(.*)$", text, re.MULTILINE)) else ""
            for name in ("Call-ID", "CSeq")
        )
        if not text.startswith("SIP/2.0"):
            kept = re.findall(r"^(?:Via|From|To|Call-ID|CSeq):.*\r$", text, re.MULTILINE)
            lines = "\n".join(kept)
            reply = f"SIP/2.0 200 OK\r\n{lines}\nContent-Length: 0\r\n\r\n"
            if " ACK" not in cseq:
                self._transport.sendto(reply.encode())
            if " BYE" in cseq and call_id in self._ended:
                self._ended[call_id].set()
            return
        answer = self._answers.get((call_id, cseq))
        if text.split()[1] >= "200" and answer is not None and not answer.done():
            answer.set_result(text)
