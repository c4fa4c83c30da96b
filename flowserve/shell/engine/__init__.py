"""Runs calls: inline on the event loop, or on threads."""
