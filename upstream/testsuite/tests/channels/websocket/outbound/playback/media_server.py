#!/usr/bin/env python

"""A test that creates a media websocket server
   and checks the acknowledgements of its marks and of a flush.

This program is free software, distributed under the terms of
the GNU General Public License Version 2.
"""

import sys
import time
import logging
from twisted.internet import reactor

sys.path.append("lib/python")
from asterisk.test_case import TestCase
from asterisk.media_websocket import MediaWebSocketServerFactory

LOGGER = logging.getLogger(__name__)

BYTES_PER_SECOND = 8000

# What is sent, in this order: bytes of ulaw, and marks by their id. Neither
# length is a multiple of a frame's 160 bytes.
BEFORE_FLUSH = [4001, "m1", 1234, "m2", 16000, "m3"]
AFTER_FLUSH = [801, "m4"]
# When this one has been played the media server interrupts itself.
LAST_PLAYED = "m2"


class ChanWebSocketTest(TestCase):

    def __init__(self, test_path='', test_config=None):
        super().__init__(test_path, test_config)

        if test_config is None:
            test_config = {}

        self.reactor_timeout = test_config.get('reactor-timeout', 10)
        self.listen_port = test_config.get('listen-port', 56789)

        self.protocol = None
        self.first_sent = None
        self.bytes_sent = 0
        # Of each mark: how many bytes were sent before it.
        self.marks = {}
        # What came back, without what is not about playback.
        self.acknowledgements = []
        self.flushed = {}
        self.failures = []

        self.factory = MediaWebSocketServerFactory(self,
                        f"ws://localhost:{self.listen_port}/media",
                        "localhost", protocols=['media'])
        self.register_start_observer(self.on_startup)
        self.create_asterisk()

    def run(self):
        super().run()
        reactor.listenTCP(self.listen_port, self.factory,
                          self.reactor_timeout, "127.0.0.1")

    def on_startup(self, ast):
        self.ast = ast
        self.passed = False
        LOGGER.info("Originating call")
        self.ast[0].cli_exec("channel originate WebSocket/media_connection1/c(ulaw)n extension echo@default")

    def on_ws_connect(self, request):
        return "media"

    def on_ws_open(self, protocol):
        LOGGER.info("WebSocket connection opened")
        self.protocol = protocol

    def on_reactor_timeout(self):
        LOGGER.error(f"Timed out after {self.acknowledgements}")
        if self.protocol:
            self.protocol.sendClose(1000)

    def on_ws_closed(self, protocol):
        LOGGER.info("WebSocket connection closed.  Stopping reactor")
        self.stop_reactor()

    def send(self, text):
        self.protocol.sendMessage(text.encode(), isBinary=False)

    def play(self, items):
        # Media of any length. A flush ends it.
        self.send("START_MEDIA_BUFFERING")
        for item in items:
            if isinstance(item, int):
                self.protocol.sendMessage(b"\x55" * item, isBinary=True)
                self.bytes_sent += item
            else:
                self.marks[item] = self.bytes_sent
                self.send(f"MARK id={item}")

    def on_message(self, message, binary):
        if binary:
            return
        now = time.monotonic()
        msg = message.decode('utf-8')
        LOGGER.info(f"Received {msg}")
        words = msg.split()
        event = words[0]
        fields = dict(word.split("=", 1) for word in words[1:] if "=" in word)

        if event == "MEDIA_START":
            if "playback_marks:" not in msg:
                self.fail("MEDIA_START does not announce playback marks")
            self.send("ANSWER")
            self.first_sent = time.monotonic()
            self.play(BEFORE_FLUSH)
        elif event in ("MARK_PLAYED", "MARK_DISCARDED"):
            self.acknowledgements.append((event, fields["id"]))
            if event == "MARK_PLAYED":
                self.check_not_early(fields["id"], now)
            if fields["id"] == LAST_PLAYED:
                self.send("FLUSH_MEDIA id=f1")
            elif fields["id"] == AFTER_FLUSH[-1]:
                # Whatever is acknowledged twice comes before this is answered.
                self.send("GET_STATUS")
        elif event == "MEDIA_FLUSHED":
            self.acknowledgements.append((event, fields["id"]))
            self.flushed = fields
            self.check_flushed()
            self.play(AFTER_FLUSH)
        elif event == "STATUS":
            self.check_all()
            self.protocol.sendClose(1000)

    def fail(self, text):
        LOGGER.error(text)
        self.failures.append(text)

    def check_not_early(self, mark, now):
        # What was flushed has not been played.
        played = self.marks[mark] - int(self.flushed.get("flushed", 0))
        if now - self.first_sent < played / BYTES_PER_SECOND:
            self.fail(f"{mark} was acknowledged {now - self.first_sent:.4f} s "
                      f"after the first of {played} bytes was sent")

    def check_flushed(self):
        played = int(self.flushed["played"])
        if played + int(self.flushed["flushed"]) != self.bytes_sent:
            self.fail(f"{self.bytes_sent} bytes were sent, but {self.flushed}")
        if not self.marks["m2"] <= played < self.marks["m3"]:
            self.fail(f"{played} bytes were played at the flush")
        if self.flushed["last_mark"] != LAST_PLAYED:
            self.fail(f"last_mark is {self.flushed['last_mark']}")

    def check_all(self):
        expected = [("MARK_PLAYED", "m1"), ("MARK_PLAYED", "m2"),
                    ("MARK_DISCARDED", "m3"), ("MEDIA_FLUSHED", "f1"),
                    ("MARK_PLAYED", "m4")]
        if self.acknowledgements != expected:
            self.fail(f"Acknowledged: {self.acknowledgements}, expected: {expected}")
        self.passed = not self.failures
