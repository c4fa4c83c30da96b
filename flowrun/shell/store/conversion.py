"""Stored values as the types that annotations ask for."""

from __future__ import annotations

import functools
import sys
import types
import typing
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec

from flowc.plan.registry import definition_of_class, form_of_class
from flowrun.shell.store import forms

if TYPE_CHECKING:
    import numpy as np


def convert(value: Any, of: Any, project: str = "") -> Any:
    """A decoded value as type `of`; `msgspec.ValidationError` if it is none.

    Relative `Path`s in it are made to be below `project`, if that is given.
    """
    make = functools.partial(_below, project) if project else _check
    try:
        return msgspec.convert(value, of, dec_hook=make, from_attributes=False)
    except TypeError:
        # A union whose members msgspec cannot tell apart, as in `str | date`: the first that fits is meant.
        if typing.get_origin(of) not in (typing.Union, types.UnionType):
            raise
    failure = msgspec.ValidationError(f"Expected `{of}`")
    for member in typing.get_args(of):
        try:
            return convert(value, member, project)
        except msgspec.ValidationError as error:
            failure = error
    raise failure


def _below(project: str, of: type, value: Any) -> Any:
    made = _check(of, value)
    return of(project, made) if isinstance(made, Path) else made  # as it is, if it is absolute


def _check(of: type, value: Any) -> Any:
    """Make a value of a type that msgspec does not know."""
    if isinstance(value, of):
        return value
    if issubclass(of, PurePath) and isinstance(value, str):
        return of(value)
    if hasattr(of, "__flow_make__"):
        return of.__flow_make__(value)
    if of.__module__ == "torch" and is_array(value):
        import torch

        # Stored arrays are read-only, tensors cannot be: an author who writes to one must not hit the store.
        return torch.from_numpy(_writable(value))
    if form_of_class(of) == "arrow" and forms.form_of(value) == "arrow":
        series = ".Series" if of.__qualname__ == "Series" else ""
        return forms.as_table(value, of.__module__.partition(".")[0] + series)
    if forms.is_tensor(value) and of.__module__.partition(".")[0] in ("numpy", "flowc"):
        return value.numpy()
    definition = definition_of_class(of)
    if definition is not None:
        return definition.make(value)
    raise ValueError(f"Expected `{of.__name__}`, got `{type(value).__name__}`")


def _writable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same array, but a copy as soon as it is written to."""
    import numpy as np

    mapped = array.base
    if isinstance(mapped, np.memmap) and mapped.nbytes == array.nbytes and mapped.filename is not None:
        own: np.ndarray[Any, Any] = np.load(mapped.filename, mmap_mode="c", allow_pickle=False)
        return own.view(np.ndarray)
    return array.copy()


def is_array(value: Any) -> bool:
    """Whether it is an array of numpy."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)
