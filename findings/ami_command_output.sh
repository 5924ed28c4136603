#!/usr/bin/env bash
# What AMI's action Command returns: one client keeps the last line of it, the others three forms.
#
# Since Asterisk 14 each line that a console command prints is a header of its own in the response,
# `Output: ...`, as each channel variable is a `ChanVariable: ...` in an event. A header that is
# repeated is no error in AMI, but a client that keeps headers in a dict has one value for it. So who
# reads a table over AMI, say that of a driver's channels, gets its last line, mostly a sum, or an
# event's last variable, and nothing says that there were more.
#
# Seen of the same bytes, three lines of output and two variables:
#
#   pystrix 1.3.0       the last line                 the last variable
#   asterisk-ami 0.1.7  one text, lines joined by \n  a dict of both
#   panoramisk 1.4      a list of the lines           a list of both
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    pystrix==1.3.0 asterisk-ami==0.1.7 panoramisk==1.4
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio
import queue
import re
import socket
import threading

from asterisk.ami import AMIClient, SimpleAction
from panoramisk import Manager as Panoramisk
from pystrix.ami import Manager as Pystrix
from pystrix.ami import core

LINES = ["channel  queued", "a        160", "1 channel"]
EVENT = [
    "Event: Newstate",
    "Channel: a",
    "Uniqueid: 1.1",
    "ChanVariable: queued=160",
    "ChanVariable: played=320",
]


def serve(server: socket.socket) -> None:
    """As a manager does that accepts everybody."""
    connection, _ = server.accept()

    def send(lines: list[str]) -> None:
        connection.sendall("".join(f"{line}\r\n" for line in [*lines, ""]).encode())

    with connection:
        connection.sendall(b"Asterisk Call Manager/9.0.0\r\n")
        received = ""
        while data := connection.recv(4096).decode():
            *actions, received = (received + data).split("\r\n\r\n")
            for action in actions:
                [name] = re.findall("^Action: (.*?)\r?$", action, re.M | re.I)
                number = re.findall("^ActionID: (.*?)\r?$", action, re.M | re.I)
                head = ["Response: Success", *(f"ActionID: {one}" for one in number)]
                if name.lower() == "command":
                    output = [f"Output: {line}" for line in LINES]
                    send([*head, "Message: Command output follows", *output])
                    send(EVENT)
                else:
                    send([*head, "Message: Authentication accepted"])


def port() -> int:
    """Of another such manager."""
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(server,), daemon=True).start()
    return server.getsockname()[1]


def by_pystrix() -> tuple[object, object]:
    events: queue.Queue = queue.Queue()
    manager = Pystrix()
    manager.register_callback("Newstate", lambda event, manager: events.put(event))
    manager.connect("127.0.0.1", port())
    manager.send_action(core.Login("user", "secret"))
    answer = manager.send_action(core.Command("websocket show channels"))
    event = events.get(timeout=5)
    return answer.result["Output"], event["ChanVariable"]


def by_asterisk_ami() -> tuple[object, object]:
    events: queue.Queue = queue.Queue()
    client = AMIClient(address="127.0.0.1", port=port())
    client.login(username="user", secret="secret")
    client.add_event_listener(lambda event, **_: events.put(event), white_list="Newstate")
    action = SimpleAction("Command", Command="websocket show channels")
    answer = client.send_action(action).response
    event = events.get(timeout=5)
    return answer.keys["Output"], event.keys["ChanVariable"]


async def by_panoramisk() -> tuple[object, object]:
    events: asyncio.Queue = asyncio.Queue()
    manager = Panoramisk(host="127.0.0.1", port=port(), username="user", secret="secret")
    manager.register_event("Newstate", lambda manager, event: events.put_nowait(event))
    await manager.connect()
    answer = await manager.send_action({"Action": "Command", "Command": "websocket show channels"})
    event = await asyncio.wait_for(events.get(), 5)
    manager.close()
    return dict(answer)["Output"], dict(event)["ChanVariable"]


seen = {
    "pystrix": by_pystrix(),
    "asterisk-ami": by_asterisk_ami(),
    "panoramisk": asyncio.run(by_panoramisk()),
}
for client, (output, variables) in seen.items():
    print(f"{client}: {output!r}, {variables!r}")
assert seen == {
    "pystrix": (LINES[-1], "played=320"),
    "asterisk-ami": ("\n".join(LINES), {"queued": "160", "played": "320"}),
    "panoramisk": (LINES, ["queued=160", "played=320"]),
}
PYTHON
