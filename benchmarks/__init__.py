"""Measurements, side by side with what a user would pick instead. Each is `python -m benchmarks.NAME`."""
