"""An example on the harness's Asterisk, with a caller who interrupts: what it prints.

make build && .venv/bin/python examples/on_asterisk.py examples/asterisk_agent.py
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from chan_websocket.protocol import Format
from harness.asterisk.configuration import Extension
from harness.asterisk.instance import Instance
from harness.caller.rtp_socket import RtpSocket
from harness.caller.sipp import CallRequest, new_call_id, place_call
from harness.install.build import load_build
from harness.media.speech import interruption
from harness.targets.target import OwnTarget

ROOT = Path(__file__).parents[1]
LISTENS_PACKETS = 125
"""so much of the agent's speech, 2.5 s, has come when the caller interrupts"""
TIMEOUT_S = 60.0


async def call(target: OwnTarget, uri: str, codec: str, folder: Path) -> None:
    """Call the agent, interrupt it, and stay until it hangs up."""
    agent = Extension("agent", codec=codec, caller_codec="ulaw", message_format=Format.JSON)
    with RtpSocket(target.rtp_address) as caller:
        number = target.prepare(agent, uri)
        request = CallRequest(number, caller.address, caller.port, "ulaw")
        async with place_call(target.sip, request, folder, new_call_id()) as sip:
            await sip.answered()
            voice = caller.talk(sip.media)
            await asyncio.to_thread(caller.wait_for_packets, LISTENS_PACKETS, TIMEOUT_S)
            voice.speak(interruption(1000))
            await sip.ended(TIMEOUT_S)


def main(example: str, codec: str) -> None:
    """Run the example with one call; print what it printed."""
    with tempfile.TemporaryDirectory() as name, Instance(load_build(ROOT), Path(name)) as asterisk:
        command = [sys.executable, "-u", example, "0"]
        agent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert agent.stdout is not None
            printed = agent.stdout.readline()
            if not printed:
                sys.exit(f"{example} ended before it waited for a call")
            uri = printed.split()[-1]
            asyncio.run(call(OwnTarget(asterisk), uri, codec, Path(name)))
            printed += agent.communicate(timeout=TIMEOUT_S)[0]
        finally:
            agent.kill()
            agent.wait()
    print(printed, end="")
    if agent.returncode:
        sys.exit(f"{example} ended with {agent.returncode}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("example", help="a program that takes a port and waits for a call there")
    parser.add_argument("--codec", default="slin16", help="of the agent's audio")
    options = parser.parse_args()
    main(options.example, options.codec)
