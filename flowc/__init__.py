"""flowc: compiles sequential-looking Python into a typed plan file.

The authoring names are loaded on first use, so that `import flowc` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowc.arrays import empty
    from flowc.attempts import Attempt, attempt
    from flowc.control import finally_, on_failure, when
    from flowc.lang import Array, Future, Operator, Static, Workflow, operator, workflow
    from flowc.logbook import log_artifact, log_metric, log_note
    from flowc.loops import foreach, reduce
    from flowc.places import project
    from flowc.resuming import beat, scratch, stopping
    from flowc.show.notebook import draw

__all__ = [
    "Array",
    "Attempt",
    "Future",
    "Operator",
    "Static",
    "Workflow",
    "attempt",
    "beat",
    "draw",
    "empty",
    "finally_",
    "foreach",
    "log_artifact",
    "log_metric",
    "log_note",
    "on_failure",
    "operator",
    "project",
    "reduce",
    "scratch",
    "stopping",
    "when",
    "workflow",
]
_ELSEWHERE = {
    **dict.fromkeys(["finally_", "on_failure", "when"], "flowc.control"),
    **dict.fromkeys(["foreach", "reduce"], "flowc.loops"),
    **dict.fromkeys(["log_artifact", "log_metric", "log_note"], "flowc.logbook"),
    **dict.fromkeys(["beat", "scratch", "stopping"], "flowc.resuming"),
    "empty": "flowc.arrays",
    "project": "flowc.places",
    **dict.fromkeys(["Attempt", "attempt"], "flowc.attempts"),
    "draw": "flowc.show.notebook",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module(_ELSEWHERE.get(name, "flowc.lang")), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
