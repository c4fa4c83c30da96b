"""Runs for other tools: traces, metrics, events, reports."""
