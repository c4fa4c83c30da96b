"""The queue: what waits for a place, in which order it gets one, and why it waits."""
