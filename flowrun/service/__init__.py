"""The daemon, in which many runs of many teams share a host, and the commands that talk to it."""
