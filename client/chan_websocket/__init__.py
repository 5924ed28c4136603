"""The agent's side of Asterisk's WebSocket channel, chan_websocket.

Asterisk connects to the agent::

    async with serve("127.0.0.1", 8765) as server:
        async for call in server:
            ...

or the agent to Asterisk (``Dial(WebSocket/INCOMING/...)``)::

    async with connect("ws://127.0.0.1:8088/media/<connection id>") as call:
        ...

and either way::

        greeting = call.utterance()
        await greeting.write(audio, "Good morning. ")
        await greeting.end()
        async for audio in call.audio():
            if speech(audio):
                for cut in await call.interrupt():
                    print("heard:", cut.result.text)
"""

from chan_websocket.call import Call, Mark, Utterance
from chan_websocket.codecs import Codec
from chan_websocket.errors import CallEnded, CallError, ConnectFailed
from chan_websocket.playback import Played
from chan_websocket.protocol import Event
from chan_websocket.server import MediaServer, connect, serve

__all__ = [
    "Call",
    "CallEnded",
    "CallError",
    "Codec",
    "ConnectFailed",
    "Event",
    "Mark",
    "MediaServer",
    "Played",
    "Utterance",
    "connect",
    "serve",
]
