"""Rollouts in a process: who answers a request, and what is run beside it to compare."""
