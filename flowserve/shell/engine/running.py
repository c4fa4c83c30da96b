"""Runs models, one call or several together, and says how long that took. Any thread may."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.arrays import Array
from flowserve.core.engine.calls import Call
from flowserve.core.engine.joining import joined, parted
from flowserve.core.models.model import Model

_log = logging.getLogger("flowserve")

Result = list[Array] | Refused


class Ran(msgspec.Struct, frozen=True):
    """What each call of a batch got, and how long the model ran for all of them."""

    results: Sequence[Result]
    ms: float
    joined: bool = True
    apart: bool = False
    """The model gave another number of rows than it was given: calls cannot run together."""


def run(model: Model, feed: dict[str, Array], outputs: tuple[str, ...]) -> Result:
    """Run a model; what it raises is a refusal, and our bugs are logged."""
    try:
        return model.run(feed, outputs)
    except Refused as refused:
        return refused.bare()  # its frames would keep the session
    except Exception:
        _log.exception("a request to model %s, version %s, failed", model.name, model.version)
        return Refused(Diagnostic("FS210", "the server failed while answering; its log has the reason"))


def run_batch(calls: Sequence[Call], clock: Callable[[], float]) -> Ran:
    """Run calls of one model and one key, together if there are several.

    If that fails each runs by itself, so that those at fault are refused alone. `clock` gives seconds.
    """
    began = clock()
    first = calls[0]
    if len(calls) == 1:
        result = run(first.model, first.feed, first.outputs)
        return Ran([result], (clock() - began) * 1e3)
    whole = run(first.model, joined([call.feed for call in calls]), first.outputs)
    parts = None if isinstance(whole, Refused) else parted(whole, [call.rows for call in calls])
    if parts is not None:
        return Ran(parts, (clock() - began) * 1e3)
    began = clock()
    results = [run(call.model, call.feed, call.outputs) for call in calls]
    return Ran(results, (clock() - began) * 1e3, joined=False, apart=not isinstance(whole, Refused))
