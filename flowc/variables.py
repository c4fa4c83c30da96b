"""What the variables of a running function hold."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Mapping
from inspect import CO_OPTIMIZED
from operator import attrgetter
from types import FrameType
from typing import Any

# By name; a copy each time it is asked for, or a view.
variables_of: Callable[[FrameType], Mapping[str, Any]] = attrgetter("f_locals")

if (3, 13, 0) <= sys.version_info < (3, 13, 3):
    # There `f_locals` crashes within a comprehension whose variable has the name of one that a closure around
    # it uses: https://github.com/python/cpython/issues/128396
    import ctypes

    _variable = ctypes.pythonapi.PyFrame_GetVar
    _variable.argtypes = [ctypes.py_object, ctypes.py_object]
    _variable.restype = ctypes.py_object

    def _one_by_one(frame: FrameType) -> Mapping[str, Any]:
        seen, code = frame.f_locals, frame.f_code
        cells = (*code.co_cellvars, *code.co_freevars)
        if not cells or not code.co_flags & CO_OPTIMIZED:  # the body of a class has a dictionary
            return seen
        found = {name: seen[name] for name in code.co_varnames if name not in cells and name in seen}
        for name in cells:
            with contextlib.suppress(NameError):  # not bound yet
                found[name] = _variable(frame, name)
        return found

    variables_of = _one_by_one
