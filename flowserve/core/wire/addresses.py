"""Where a server listens: HOST:PORT, or a Unix socket as `unix:PATH`."""

from __future__ import annotations

import msgspec

from flowc.plan.diagnostics import refuse

_EXAMPLE = "as in `127.0.0.1:8000`"
# What fits into the kernel's `sockaddr_un`, with the NUL at its end.
_PATH_BYTES_MAX = 107


class Tcp(msgspec.Struct, frozen=True):
    """A port of a host; 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        """`HOST:PORT`, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Unix(msgspec.Struct, frozen=True):
    """A socket in the file system."""

    path: str

    def __str__(self) -> str:
        """`unix:PATH`."""
        return f"unix:{self.path}"


Address = Tcp | Unix


def parse_address(text: str, code: str) -> Address:
    """Read `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`. Raises `Refused` with the code."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path or "\0" in path or len(path.encode()) > _PATH_BYTES_MAX:
            refuse(code, f"the path of a Unix socket must have 1 to {_PATH_BYTES_MAX} bytes, got `{text}`")
        return Unix(path)
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        refuse(code, f"the address must be HOST:PORT, {_EXAMPLE}, or unix:PATH, got `{text}`")
    return Tcp(host, int(port))
