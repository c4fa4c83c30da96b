"""What a caller is told whose call is not run."""

from __future__ import annotations

import math

from flowc.plan.diagnostics import Diagnostic
from flowserve.core.engine.batching import Reason, Refusal
from flowserve.core.engine.calls import Overloaded

_RETRY_S_MAX = 60
_TOLD = {
    Reason.FULL: ("FS220", "model `{name}` has as many requests waiting as it may: try again in {s} s"),
    Reason.BUSY: ("FS221", "model `{name}` could not answer in time: it would take {wait} until it begins"),
    Reason.EXPIRED: ("FS222", "the deadline passed before model `{name}` could begin"),
}


def explained(name: str, refusal: Refusal) -> Overloaded:
    """The refusal of a call to the model `name`, with a time after which to try again, in whole seconds."""
    code, text = _TOLD[refusal.reason]
    wait_ms = refusal.retry_after_ms
    retry_after_s = max(1, min(_RETRY_S_MAX, math.ceil(wait_ms / 1e3)))
    wait = f"{wait_ms / 1e3:.1f} s" if wait_ms >= 1000 else f"{math.ceil(wait_ms)} ms"
    message = text.format(name=name, s=retry_after_s, wait=wait)
    return Overloaded(Diagnostic(code, message), retry_after_s)
