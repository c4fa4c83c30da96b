"""Decisions: pure functions and plain state. No clock, no randomness, no I/O, no environment."""
