"""Requests to ARI where something else answers, or nothing: what is said of it."""

from __future__ import annotations

import asyncio
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from websockets.asyncio.server import ServerConnection, serve

from harness.asterisk.ari import Ari, AriAccess, AriRefused
from harness.errors import EnvironmentFault, Fault, InputFault

Ask = Callable[[Ari], object]


class Server:
    """A web server on a free port of the loopback: its answer to everything."""

    status = 200
    body = b""
    missing = 0
    """bytes of the answer that are announced, and never sent"""

    def __init__(self) -> None:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.body) + server.missing))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.ari = ari_at(self.http.server_port)


def ari_at(port: int) -> Ari:
    return Ari(AriAccess(f"http://127.0.0.1:{port}/ari", "harness", "secret"))


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    with server.http:
        thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.http.shutdown()
        thread.join()


def test_what_ari_says(server: Server) -> None:
    server.body = b'{"system": {"version": "22.10.1"}}'
    assert server.ari.version() == "22.10.1"
    server.body = b'[{"name": "a.so", "status": "Running"}, {"name": "b.so", "status": "No"}]'
    assert server.ari.running_modules() == {"a.so"}
    server.body = b""
    assert server.ari.ask("GET", "anything") is None


@pytest.mark.parametrize("ask", [Ari.version, Ari.running_modules])
@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff\xfe", b'"text"', b"17", b"{}x", b"[1]"])
def test_something_else_answers(server: Server, ask: Ask, body: bytes) -> None:
    server.body = body
    with pytest.raises(InputFault, match=r"is not Asterisk's ARI: it answered asterisk/"):
        ask(server.ari)


def test_no_web_server_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(InputFault, match="is not Asterisk's ARI"):
            ari_at(listener.getsockname()[1]).version()
        thread.join()


@pytest.mark.parametrize(
    ("status", "kind", "remedy"),
    [(401, InputFault, "user and password"), (403, AriRefused, "read_only")],
)
def test_ari_refuses(server: Server, status: int, kind: type[Fault], remedy: str) -> None:
    server.status = status
    with pytest.raises(kind) as caught:
        server.ari.version()
    assert remedy in caught.value.remedy


def test_a_refusal_breaks_off(server: Server) -> None:
    server.status, server.missing = 409, 1
    with pytest.raises(InputFault, match="is not Asterisk's ARI"):
        server.ari.version()


def test_nothing_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EnvironmentFault, match="cannot be reached"):
        ari_at(port).version()


def test_events_that_nobody_reads_do_not_hold_up_the_end() -> None:
    """An application stops reading when its call is over; others still leave the bridge then."""
    many = 100

    async def run() -> float:
        sent = asyncio.Event()

        async def send(connection: ServerConnection) -> None:
            for _ in range(many):
                await connection.send("{}")
            sent.set()
            await connection.wait_closed()

        async with serve(send, "127.0.0.1", 0) as server:
            [listener] = server.sockets
            async with ari_at(listener.getsockname()[1]).events("any"):
                await sent.wait()
                begin = time.monotonic()
            return time.monotonic() - begin

    assert asyncio.run(run()) < 5.0
