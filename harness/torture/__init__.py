"""Calls that everything is done to at random: `harness torture`."""
