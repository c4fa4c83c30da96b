"""The run log: what happened in every run, and what is known by that."""
