"""Which models there are: a server's catalog, the operations on it, and a process's table of what serves."""
