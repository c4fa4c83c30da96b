"""What a server bears from its clients, and from its own processes."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Count = Annotated[int, msgspec.Meta(gt=0)]
_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds of HTTP and gRPC. Times are in seconds."""

    body_bytes: _Count = 64 * 2**20
    """Of a request, or a message, also after it is unpacked."""
    head_bytes: _Count = 64 * 2**10
    held_bytes: _Count = 512 * 2**20
    """Of HTTP bodies that are arriving or wait to be answered, of all connections together."""
    connections: _Count = 1024
    streams: _Count = 128
    """Of one HTTP/2 connection at once."""
    head_s: _Seconds = 10.0
    """From the first byte of a request to the end of its head."""
    body_s: _Seconds = 30.0
    body_bytes_per_s: _Count = 256 * 2**10
    """A body may take `body_s` and as long as it needs at this rate."""
    idle_s: _Seconds = 300.0
    """Between requests. Long: clients keep pools of connections and do not expect them to end."""
    write_s: _Seconds = 30.0
    """For a client to read some of its answer."""
    linger_s: _Seconds = 5.0
    """After a refusal, for a client that is still sending to see it."""
    look_out_s: Annotated[float, msgspec.Meta(ge=0, le=0.01)] = 0.0002
    """After a request that came as soon after another, before sleeping; 0 sleeps at once."""
    drain_s: _Seconds = 10.0
    """After SIGTERM, for requests that were begun."""
    silent_s: _Seconds = 30.0
    """For a process of the server to give a sign of life; it is killed after, and another is started."""
