"""flowc: compiles sequential-looking Python into a typed plan file.

The authoring names are loaded on first use, so that `import flowc` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowc.control import finally_, foreach, on_failure, reduce, when
    from flowc.lang import Array, Future, Operator, Static, Workflow, operator, workflow

__all__ = [
    "Array",
    "Future",
    "Operator",
    "Static",
    "Workflow",
    "finally_",
    "foreach",
    "on_failure",
    "operator",
    "reduce",
    "when",
    "workflow",
]
_CONTROL = {"finally_", "foreach", "on_failure", "reduce", "when"}


def __getattr__(name: str) -> Any:
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("flowc.control" if name in _CONTROL else "flowc.lang"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
