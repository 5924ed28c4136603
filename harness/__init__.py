"""Proves, on real calls, when Asterisk has played what a voice agent sent over chan_websocket."""
