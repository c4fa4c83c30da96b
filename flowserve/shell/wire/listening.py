"""Sockets to listen on. Light, since who makes them may hand them on to another process."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from ipaddress import ip_address
from typing import assert_never

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.addresses import Address, Tcp, Unix
from flowserve.core.wording import cut

BACKLOG = 1024
# The owner and the group: a Unix socket's permissions say who may ask.
_UMASK = 0o117


def reserve(address: Address, option: str = "--http") -> socket.socket:
    """Bind a socket to an address, without listening yet. Raises `Refused` FS104."""
    match address:
        case Tcp(host, port):
            return bind(host, port, option)
        case Unix(path):
            return _bind_unix(path)
        case _:
            assert_never(address)


def bind(host: str, port: int, option: str = "--http") -> socket.socket:
    """Reserve a port, without listening yet. Port 0 takes a free one. Raises `Refused` FS104."""
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
        hint = f"`{option} 127.0.0.1:0` takes a free port"
        refuse("FS104", f"the server cannot listen on `{host}:{port}`: {reason(error)}", hint=hint)
    return listener


def address_of(listener: socket.socket) -> Address:
    """Return where a socket is bound."""
    name = listener.getsockname()
    return Unix(name) if listener.family == socket.AF_UNIX else Tcp(name[0], name[1])


def url_of(listener: socket.socket, scheme: str, tls: bool) -> str:
    """Return where a socket is bound, as in `https://127.0.0.1:8000` or `http+unix:/run/flowserve`."""
    address = address_of(listener)
    if isinstance(address, Unix):
        return f"{scheme}+{address}"
    return f"{scheme}s://{address}" if tls else f"{scheme}://{address}"


def only_this_host(listener: socket.socket) -> bool:
    """Whether only processes of this host reach it."""
    address = address_of(listener)
    return isinstance(address, Unix) or ip_address(address.host.partition("%")[0]).is_loopback


def inode_of(listener: socket.socket) -> int:
    """Return which file a Unix socket is, 0 for a port."""
    address = address_of(listener)
    return os.stat(address.path).st_ino if isinstance(address, Unix) else 0


def remove_unix(address: Address, inode: int) -> None:
    """Remove a Unix socket from the file system, unless another server has put its own there since."""
    if isinstance(address, Unix):
        with contextlib.suppress(OSError):
            if os.stat(address.path).st_ino == inode:
                os.unlink(address.path)


def reason(error: OSError | UnicodeError) -> str:
    """What the system says is wrong."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def _bind_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(_UMASK)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        refuse("FS104", f"the server cannot listen on `unix:{path}`: {reason(error)}")
    return listener


def _remove_stale(path: str) -> None:
    """Remove a socket on which nobody listens any more, as a killed server leaves it. Raises `OSError`."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return  # `bind` says what is wrong
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
