"""Many calls at once, at little cost to whoever makes them, and what they cost: `harness load`."""
