"""flowc: compiles sequential-looking Python into a typed plan file.

The authoring names are loaded on first use, so that `import flowc` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowc.lang import Array, Future, Operator, Workflow, operator, workflow
    from flowc.show.notebook import draw

__all__ = ["Array", "Future", "Operator", "Workflow", "draw", "operator", "workflow"]


def __getattr__(name: str) -> Any:
    if name == "draw":
        from flowc.show.notebook import draw

        return draw
    if name in __all__:
        from flowc import lang

        return getattr(lang, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
