"""Sockets to listen on. Light, since the supervisor makes them and hands them on."""

from __future__ import annotations

import socket

from flowc.plan.diagnostics import refuse
from flowserve.core.wording import cut


def bind(host: str, port: int) -> socket.socket:
    """Reserve an address, without listening yet. Port 0 takes a free one. Raises `Refused` FS104."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        refuse("FS104", f"the server cannot listen on `{cut(host)}:{port}`: {reason(error)}")
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        hint = "`--http 127.0.0.1:0` takes a free port"
        refuse("FS104", f"the server cannot listen on `{host}:{port}`: {reason(error)}", hint=hint)
    return listener


def reason(error: OSError | UnicodeError) -> str:
    """What the system says is wrong."""
    return (getattr(error, "strerror", None) or str(error)).lower()
