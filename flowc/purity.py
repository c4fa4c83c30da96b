"""What a trace may meet with: what is the project's own, what is pure, which names lead too far."""

from __future__ import annotations

import abc
import os
import sys
from functools import cached_property
from pathlib import Path, PurePath
from types import FunctionType
from typing import Any

from flowc.lang import Operator, Workflow


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Libraries whose functions give the same for the same, and keep nothing.
PURE = _words("""
    abc bisect builtins collections copy dataclasses enum flowc fractions functools heapq itertools json math
    msgspec numbers operator re string textwrap types typing typing_extensions
    """)
IMPURE = _words("""
    __import__ attrgetter breakpoint builtins compile delattr dir eval exec getattr globals hash id input
    locals methodcaller open setattr vars
    """)
# Attributes that lead into operators and functions, and of those that Python makes the harmless ones.
INNER = _words("fn code imports signature hints")
HARMLESS = _words("""
    __init__ __new__ __post_init__ __init_subclass__ __name__ __qualname__ __class__ __members__ __enter__
    __exit__ __iter__ __next__ __len__ __contains__ __getitem__ __setitem__ __setattr__ __eq__ __str__
    __repr__ __call__ __add__
    """)
# What can be asked of paths and dates that is not in them.
WORLDLY = frozenset({*dir(Path)} - {*dir(PurePath)}) | _words(
    "astimezone fromtimestamp now strftime timestamp today utcfromtimestamp utcnow"
)
# What Python adds to a class on its own.
MADE = _words("""
    __module__ __qualname__ __doc__ __dict__ __weakref__ __annotations__ __dataclass_fields__ __match_args__
    __dataclass_params__ __parameters__ __orig_bases__ __abstractmethods__ _abc_impl __static_attributes__
    __firstlineno__ __type_params__ __hash__ _field_defaults _fields __slots__
    """)
# What operators and workflows have, of their own and by `functools.update_wrapper`.
# What operators and workflows have: set when they are made, worked out when it is asked for, or taken over.
ATTRIBUTES = _words("""
    fn origin declaration signature name _positional _ordinary _required __wrapped__ __module__ __name__
    __qualname__ __doc__ __annotations__ __type_params__
    """) | {
    name
    for cls in (Operator, Workflow)
    for name, value in vars(cls).items()
    if isinstance(value, cached_property)
}
# Methods that Python may write for a class with fields.
GENERATED = _words("""
    __init__ __new__ __repr__ __eq__ __lt__ __le__ __gt__ __ge__ __hash__ __setattr__ __delattr__ __replace__
    """)


def is_untouched(value: Operator[..., Any] | Workflow[..., Any]) -> bool:
    """Whether it has the attributes that all of its kind have, and no more."""
    return vars(value).keys() <= ATTRIBUTES


def is_generated(value: Any) -> bool:
    """Whether a method follows from the fields of its class."""
    fn = value.__func__ if isinstance(value, staticmethod) else value
    if isinstance(fn, FunctionType) and fn.__globals__.get("__name__") == "reprlib":  # since Python 3.13
        fn = getattr(fn, "__wrapped__", None)
    if not isinstance(fn, FunctionType):
        return False
    return fn.__code__.co_filename.startswith("<") or fn.__globals__.get("__name__") == "dataclasses"


def is_plain(kind: type) -> bool:
    """Whether all that is in an object of the project's own is in its attributes."""
    own = [cls for cls in kind.__mro__ if cls not in (object, abc.ABC)]
    return type(kind) in (type, abc.ABCMeta) and all(
        is_own(cls.__module__) and not vars(cls).get("__slots__") for cls in own
    )


def is_sunder(name: str) -> bool:
    """Whether a name is of an enumeration's machinery."""
    return name.startswith("_") and name.endswith("_")


def is_pure(value: Any) -> bool:
    """Whether a function or a class of a library gives the same for the same, and keeps nothing."""
    name = getattr(value, "__name__", "")
    return is_pure_module(getattr(value, "__module__", None) or "builtins") and name not in IMPURE


def is_pure_module(name: str) -> bool:
    """Whether that can be said of a library."""
    return name.partition(".")[0].lstrip("_") in PURE and not is_own(name)


_LIBRARY = os.path.dirname(os.__file__) + os.sep
_PACKAGE = os.path.dirname(__file__) + os.sep


def is_own(name: str) -> bool:
    """Whether a module is of the project, and not installed."""
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    installed = "site-packages" in file or "dist-packages" in file
    return bool(file) and not installed and not file.startswith((_LIBRARY, _PACKAGE))
