"""Trace and log settings, as Triton names and answers them (`extension_trace.md`, `extension_logging.md`).

This server writes no traces: its trace level is OFF and stays so, and is refused otherwise rather than
forgotten. Log settings have their effect on the server's log.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from flowc.plan.diagnostics import refuse
from flowserve.core.wording import cut, listed, shown

TRACE: dict[str, str | list[str]] = {
    "trace_level": ["OFF"],
    "trace_rate": "1000",
    "trace_count": "-1",
    "log_frequency": "0",
    "trace_file": "",
    "trace_mode": "triton",
}


class LogSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages the server's log gets."""

    log_file: str = ""
    log_info: bool = True
    log_warning: bool = True
    log_error: bool = True
    log_verbose_level: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    log_format: str = "default"

    def logs(self, level: int) -> bool:
        """Whether messages of this level (of Python's `logging`) are written."""
        if level >= 40:
            return self.log_error
        if level >= 30:
            return self.log_warning
        return self.log_info if level >= 20 else self.log_verbose_level > 0


def changed_trace(body: bytes) -> None:
    """Check a change of trace settings: only to what they are, or to null, which means that too.

    Raises `Refused` FS233 for others, FS201 for what is not JSON.
    """
    for name, value in json_object(body).items():
        if name not in TRACE:
            refuse("FS233", f"there is no trace setting `{cut(name)}`; there is {listed(list(TRACE))}")
        if value is not None and value not in (TRACE[name], _single(TRACE[name])):
            refuse(
                "FS233", f"`{name}` can only be {shown(_single(TRACE[name]))}: this server writes no traces"
            )


def changed_log(settings: LogSettings, body: bytes) -> LogSettings:
    """Return log settings with a change. Raises `Refused` FS233 or FS201."""
    change = json_object(body)
    try:
        changed = msgspec.convert(msgspec.to_builtins(settings) | change, LogSettings)
    except msgspec.ValidationError as error:
        refuse("FS233", f"the log settings do not fit: {error}")
    if changed.log_file != settings.log_file or changed.log_format != settings.log_format:
        refuse("FS233", "`log_file` and `log_format` cannot be changed by a request")
    return changed


def json_object(body: bytes) -> dict[str, Any]:
    """Decode a body that is a JSON object, or nothing at all. Raises `Refused` FS201."""
    try:
        return msgspec.json.decode(body or b"{}", type=dict[str, Any])
    except (ValueError, RecursionError) as error:
        refuse("FS201", f"the request must be a JSON object: {error}")


def _single(value: str | list[str]) -> str:
    return value if isinstance(value, str) else value[0]
