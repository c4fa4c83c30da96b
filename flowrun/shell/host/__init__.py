"""This host: what it has, who holds what of it, how much its processes use."""
