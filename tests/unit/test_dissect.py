"""Captures to timelines: hand-made files for what loopback never does, then a real capture."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import wrpcap
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from harness.caller.rtp_socket import RtpSocket
from harness.capture.dissect import Capture, read_capture
from harness.capture.rtp import parse_rtp
from harness.capture.tcpdump import Tcpdump, capture_possible
from harness.capture.timeline import ULAW, Message, Sender
from harness.errors import InputFault
from harness.record.capture_files import (
    CAPTURE_FILE,
    CapturedCall,
    load_timeline,
    save_captured_call,
)

SERVER_PORT = 8088
UPGRADE = (
    b"GET /media/x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
ACCEPT = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
MS = 1_000_000


def frame(opcode: Opcode, data: bytes, *, client: bool, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=client)


class Conversation:
    """Writes the packets of one TCP connection; a packet is made each millisecond."""

    def __init__(self, client_port: int = 40000, client_isn: int = 1000) -> None:
        self.packets: list[Packet] = []
        self._ports = (client_port, SERVER_PORT)
        self._next = [client_isn, 77]
        self.add(client=True, flags="S")
        self.add(client=False, flags="SA")

    def add(self, data: bytes = b"", *, client: bool, flags: str = "PA") -> Packet:
        side = 0 if client else 1
        packet = self.segment(data, self._next[side], client=client, flags=flags)
        self._next[side] = (self._next[side] + len(data) + ("S" in flags)) % 2**32
        self.packets.append(packet)
        return packet

    def upgrade(self) -> None:
        self.add(UPGRADE, client=True)
        self.add(ACCEPT, client=False)

    def segment(self, data: bytes, sequence: int, *, client: bool, flags: str = "PA") -> Packet:
        source, destination = self._ports if client else self._ports[::-1]
        return (
            Ether(dst="00:00:00:00:00:00", src="00:00:00:00:00:00")
            / IP(src="127.0.0.1", dst="127.0.0.1")
            / TCP(sport=source, dport=destination, seq=sequence, flags=flags)
            / data
        )


def capture_of(folder: Path, packets: list[Packet]) -> Capture:
    for index, packet in enumerate(packets):
        packet.time = index / 1000
    path = folder / "hand-made.pcap"
    wrpcap(str(path), packets, nano=True, linktype=1)
    return read_capture(path)


def messages_of(capture: Capture, *, application_is_server: bool = True) -> tuple[Message, ...]:
    return capture.timeline(
        ULAW,
        rtp_port=9000,
        websocket_port=SERVER_PORT,
        application_is_server=application_is_server,
        uncertainty_ns=0,
    ).messages


def test_messages_have_sender_kind_content_and_the_completing_segments_time(tmp_path: Path) -> None:
    talk = Conversation()
    talk.upgrade()
    media = frame(Opcode.BINARY, bytes(range(200)), client=False)
    talk.add(media[:50], client=False)
    talk.add(frame(Opcode.TEXT, b"MEDIA_START x", client=True), client=True)
    talk.add(media[50:] + frame(Opcode.TEXT, b"MARK id=a", client=False), client=False)
    messages = messages_of(capture_of(tmp_path, talk.packets))
    assert messages == (
        Message(5 * MS, "asterisk", "text", b"MEDIA_START x"),
        Message(6 * MS, "application", "binary", bytes(range(200))),
        Message(6 * MS, "application", "text", b"MARK id=a"),
    )


def test_a_segment_as_large_as_ip_allows_is_read_whole(tmp_path: Path) -> None:
    """With its headers it is longer than scapy's iteration gives of a packet."""
    talk = Conversation()
    talk.upgrade()
    media = bytes(range(256)) * 255 + bytes(range(211))
    segment = talk.add(frame(Opcode.BINARY, media, client=False), client=False)
    assert len(segment) == 14 + 65535
    talk.add(frame(Opcode.TEXT, b"MARK id=a", client=False), client=False)
    messages = messages_of(capture_of(tmp_path, talk.packets))
    assert [message.data for message in messages] == [media, b"MARK id=a"]


def test_when_the_application_connects_the_senders_are_the_other_way_round(tmp_path: Path) -> None:
    talk = Conversation()
    talk.upgrade()
    talk.add(frame(Opcode.TEXT, b"MARK id=a", client=True), client=True)
    capture = capture_of(tmp_path, talk.packets)
    assert messages_of(capture, application_is_server=False)[0].sender == "application"
    assert capture.connections[0].path == "/media/x"


def test_segments_in_wrong_order_repeated_and_overlapping_across_the_sequence_wrap(
    tmp_path: Path,
) -> None:
    # 0xFFFFFFF0 is 16 bytes before the wrap, which then falls into the upgrade request.
    talk = Conversation(client_isn=0xFFFFFFF0)
    talk.upgrade()
    start = (0xFFFFFFF0 + 1 + len(UPGRADE)) % 2**32
    stream = frame(Opcode.TEXT, b"one", client=True) + frame(Opcode.TEXT, b"two", client=True)
    for begin, end in [(6, 12), (0, 4), (0, 4), (2, 9), (12, len(stream)), (3, 8)]:
        talk.packets.append(talk.segment(stream[begin:end], start + begin, client=True))
    capture = capture_of(tmp_path, talk.packets)
    # "one" (9 bytes) is complete with the fourth segment, "two" with the fifth.
    assert [(m.time_ns, m.data) for m in messages_of(capture)] == [
        (7 * MS, b"one"),
        (8 * MS, b"two"),
    ]
    assert capture.connections[0].damage == ""


def test_a_fragmented_message_is_one_message_and_control_frames_may_come_between(
    tmp_path: Path,
) -> None:
    talk = Conversation()
    talk.upgrade()
    talk.add(frame(Opcode.BINARY, b"abc", client=True, fin=False), client=True)
    talk.add(frame(Opcode.PING, b"?", client=True), client=True)
    talk.add(frame(Opcode.CONT, b"def", client=True), client=True)
    messages = messages_of(capture_of(tmp_path, talk.packets))
    assert [(m.kind, m.data) for m in messages] == [("ping", b"?"), ("binary", b"abcdef")]


def test_a_segment_of_almost_64_kib_is_read_whole(tmp_path: Path) -> None:
    talk = Conversation()
    talk.upgrade()
    media = bytes(65_480)
    talk.add(frame(Opcode.BINARY, media, client=False), client=False)
    assert messages_of(capture_of(tmp_path, talk.packets))[0].data == media


def test_a_hole_in_the_stream_counts_as_a_loss(tmp_path: Path) -> None:
    talk = Conversation()
    talk.upgrade()
    talk.add(frame(Opcode.TEXT, b"seen", client=True), client=True)
    talk.add(frame(Opcode.TEXT, b"lost", client=True), client=True)
    talk.packets.pop()
    talk.add(frame(Opcode.TEXT, b"late", client=True), client=True)
    timeline = capture_of(tmp_path, talk.packets).timeline(
        ULAW,
        rtp_port=9000,
        websocket_port=SERVER_PORT,
        application_is_server=True,
        uncertainty_ns=5,
    )
    assert [message.data for message in timeline.messages] == [b"seen"]
    assert timeline.measurement.capture_drops == 1


@pytest.mark.parametrize("flags", ["FA", "R", "RA"])
@pytest.mark.parametrize("client", [True, False])
def test_a_side_that_ends_its_tcp_without_a_close_frame_closes(
    tmp_path: Path, client: bool, flags: str
) -> None:
    talk = Conversation()
    talk.upgrade()
    talk.add(frame(Opcode.TEXT, b"last", client=client), client=client)
    talk.add(client=client, flags=flags)
    talk.add(client=client, flags="R")  # once is enough
    sender: Sender = "asterisk" if client else "application"
    assert messages_of(capture_of(tmp_path, talk.packets)) == (
        Message(4 * MS, sender, "text", b"last"),
        Message(5 * MS, sender, "close", b""),
    )


def test_a_close_frame_is_the_close_whatever_ends_the_tcp_connection(tmp_path: Path) -> None:
    talk = Conversation()
    talk.upgrade()
    talk.add(frame(Opcode.CLOSE, b"\x03\xe8", client=True), client=True)
    talk.add(frame(Opcode.CLOSE, b"\x03\xe8", client=False), client=False, flags="FPA")
    talk.add(client=True, flags="FA")
    messages = messages_of(capture_of(tmp_path, talk.packets))
    assert [(m.sender, m.kind, m.data) for m in messages] == [
        ("asterisk", "close", b"\x03\xe8"),
        ("application", "close", b"\x03\xe8"),
    ]


def test_a_fin_counts_when_all_before_it_has_come(tmp_path: Path) -> None:
    talk = Conversation()
    talk.upgrade()
    talk.add(frame(Opcode.TEXT, b"last", client=True), client=True)
    talk.add(client=True, flags="FA")
    last, fin = talk.packets[-2:]
    talk.packets[-2:] = [fin, last]
    messages = messages_of(capture_of(tmp_path, talk.packets))
    assert [(m.time_ns, m.kind) for m in messages] == [(5 * MS, "text"), (5 * MS, "close")]


def test_of_several_connections_one_is_chosen_by_media_start(tmp_path: Path) -> None:
    talks = [Conversation(40000), Conversation(40002), Conversation(40004)]
    for number, talk in enumerate(talks[:2]):
        talk.upgrade()
        start = f"MEDIA_START channel:call-{number}".encode()
        talk.add(frame(Opcode.TEXT, start, client=True), client=True)
    # The third is ordinary HTTP on the same port, such as ARI's.
    talks[2].add(UPGRADE, client=True)
    talks[2].add(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", client=False)
    capture = capture_of(tmp_path, [packet for talk in talks for packet in talk.packets])

    def chosen(media_start: str | None = None) -> str:
        timeline = capture.timeline(
            ULAW,
            rtp_port=9000,
            websocket_port=SERVER_PORT,
            application_is_server=True,
            uncertainty_ns=0,
            media_start=media_start,
        )
        return timeline.messages[0].text

    assert chosen(media_start="call-1") == "MEDIA_START channel:call-1"
    assert chosen(media_start="call-0") == "MEDIA_START channel:call-0"
    with pytest.raises(InputFault, match="2 WebSocket connections"):
        chosen()


def test_a_connection_that_uses_the_same_ports_again_is_another_one(tmp_path: Path) -> None:
    talks = [Conversation(40000, client_isn=1), Conversation(40000, client_isn=900_000)]
    for talk in talks:
        talk.upgrade()
        talk.add(frame(Opcode.TEXT, b"hello", client=True), client=True)
    capture = capture_of(tmp_path, talks[0].packets + talks[1].packets)
    assert [len(connection.messages) for connection in capture.connections] == [1, 1]


def rtp(sequence: int, payload: bytes) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, sequence, sequence * 160, 7) + payload


def test_rtp_is_taken_by_port_and_rtcp_left_out(tmp_path: Path) -> None:
    ip = Ether(dst="00:00:00:00:00:00", src="00:00:00:00:00:00") / IP(dst="127.0.0.1")
    packets = [
        ip / UDP(sport=1, dport=9000) / rtp(1, b"a"),
        ip / UDP(sport=1, dport=9002) / rtp(2, b"b"),
        ip / UDP(sport=1, dport=9000) / struct.pack("!BBHII", 0x80, 200, 6, 0, 0),
        ip / UDP(sport=9000, dport=1) / rtp(3, b"c"),
    ]
    received = capture_of(tmp_path, packets).rtp_to(9000)
    assert [(packet.time_ns, packet.sequence, packet.payload) for packet in received] == [
        (0, 1, b"a")
    ]


def test_rtp_with_sources_extension_and_padding() -> None:
    header = struct.pack("!BBHII", 0x80 | 0x20 | 0x10 | 2, 0x80 | 8, 65535, 2**32 - 1, 9)
    datagram = header + bytes(8) + b"\xbe\xde\x00\x01" + bytes(4) + b"media" + b"\x00\x00\x03"
    packet = parse_rtp(1, datagram)
    assert packet is not None
    assert (packet.payload, packet.payload_type, packet.sequence) == (b"media", 8, 65535)
    assert packet.timestamp == 2**32 - 1


@pytest.mark.parametrize("datagram", [b"", b"\x80" * 11, b"\x40" + bytes(20), b"\x8f" + bytes(20)])
def test_what_is_no_rtp_is_none(datagram: bytes) -> None:
    assert parse_rtp(0, datagram) is None


def test_a_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("this is not a capture, but it is long enough for one")
    with pytest.raises(InputFault, match="capture"):
        read_capture(path)
    with pytest.raises(InputFault, match="capture"):
        read_capture(tmp_path / "missing")


# ---- a real capture ------------------------------------------------------------------------------

LARGE = bytes(range(256)) * 1200


async def talk_over_loopback(server: socket.socket, rtp_port: int, received: list[str]) -> int:
    """Asterisk's part (client) and the application's (server); the client's TCP port."""

    async def application(connection: ServerConnection) -> None:
        received.append(str(await connection.recv()))
        for number in range(50):
            await connection.send(LARGE[: 100 + number * 37])
            await connection.send(f"MARK id=m{number}")
        await connection.send(LARGE)
        await connection.send([b"in ", b"fragments"])
        with contextlib.suppress(Exception):
            async for message in connection:
                received.append(str(message))

    async with serve(application, sock=server, compression=None):
        uri = f"ws://127.0.0.1:{server.getsockname()[1]}/media"
        async with connect(uri, compression=None) as asterisk:
            port: int = asterisk.local_address[1]
            await asterisk.send("MEDIA_START channel:real")
            for _ in range(102):
                await asterisk.recv()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for number in range(200):
                    sender.sendto(rtp(number, bytes(160)), ("127.0.0.1", rtp_port))
            await asterisk.send("MARK_PLAYED id=m0")
        return port


@pytest.mark.skipif(capture_possible() is not None, reason=f"{capture_possible()}")
def test_a_real_capture_holds_all_that_was_sent_on_the_clock_it_was_sent_by(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    received: list[str] = []
    with (
        RtpSocket() as sink,
        Tcpdump(tmp_path / CAPTURE_FILE, [sink.port], [port]) as capture,
    ):
        began_ns = time.time_ns()
        asyncio.run(talk_over_loopback(server, sink.port, received))
        capture.flush()
        ended_ns = time.time_ns()
        flushed = read_capture(tmp_path / CAPTURE_FILE)
        summary = capture.stop()
        assert sink.wait_for_packets(200, timeout_s=5)
    timeline = read_capture(summary.path).timeline(
        ULAW,
        rtp_port=sink.port,
        websocket_port=port,
        application_is_server=True,
        uncertainty_ns=summary.uncertainty_ns,
        capture_drops=summary.dropped,
        media_start="channel:real",
    )
    assert summary.dropped == sink.dropped == 0
    assert 0 < summary.uncertainty_ns < 5 * MS
    assert len(flushed.rtp_to(sink.port)) == 200  # flush alone suffices to have all of it
    assert [packet.sequence for packet in timeline.rtp] == list(range(200))
    assert all(began_ns - MS < packet.time_ns < ended_ns + MS for packet in timeline.rtp)

    sent = [message for message in timeline.messages if message.sender == "application"]
    media = [message.data for message in sent if message.kind == "binary"]
    assert media == [LARGE[: 100 + number * 37] for number in range(50)] + [LARGE, b"in fragments"]
    marks = [message.text for message in sent if message.kind == "text"]
    assert marks == [f"MARK id=m{number}" for number in range(50)]
    answered = [m for m in timeline.messages if m.sender == "asterisk" and m.kind == "text"]
    assert [message.text for message in answered] == received
    # The last RTP packet left before the acknowledgement that was sent after it.
    assert timeline.rtp[-1].time_ns <= answered[-1].time_ns
    assert answered[-1].time_ns <= timeline.end_ns

    # Saved, it gives the same timeline again.
    call = CapturedCall(
        ULAW,
        rtp_port=sink.port,
        websocket_port=port,
        application_is_server=True,
        uncertainty_ns=summary.uncertainty_ns,
        capture_drops=summary.dropped,
        media_start="channel:real",
    )
    save_captured_call(tmp_path, call)
    assert load_timeline(tmp_path) == timeline

    # Both measurements saw the same packets, at almost the same time.
    assert [packet.sequence for packet in sink.packets] == list(range(200))
    pairs = zip(sink.packets, timeline.rtp, strict=True)
    assert max(abs(one.time_ns - other.time_ns) for one, other in pairs) < 5 * MS
