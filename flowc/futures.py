"""Futures: what an operator call returns while a workflow is traced.

A future is a name for a value that a run will compute. It can be passed on, and its fields can be taken;
whatever would need the value now is refused with the place, the reason and what to write instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from flowc.plan.diagnostics import Diagnostic, Label, Refused
from flowc.plan.model import InputRef, Ref, as_tree
from flowc.plan.types import Type
from flowc.spans import innermost_place

if TYPE_CHECKING:
    from flowc.recording import Trace


class Future:
    """The result of a node or a workflow input, or a field of one."""

    __slots__ = ("_ref", "_trace", "_tree", "_type")

    _ref: Ref | InputRef
    _tree: dict[str, Any]
    _trace: Trace
    _type: Type

    def __init__(self, trace: Trace, ref: Ref | InputRef, of: Type) -> None:
        _set_trace(self, trace)
        _set_ref(self, ref)
        _set_type(self, of)
        _set_tree(self, as_tree(ref))  # made once, and shared by all that refer to it

    def __getattr__(self, name: str) -> Future:
        """The future of a field."""
        if name.startswith("__"):  # Python asking what the object can do, not the author for a field
            raise AttributeError(name)
        return self._trace.select(self, name)

    def __repr__(self) -> str:
        return f"<future {describe(self._ref)}: {self._type.short()}>"

    __hash__ = object.__hash__


# A future refuses to be changed, by the author. (There is one for each node: `object.__setattr__` is slower.)
_set_trace = vars(Future)["_trace"].__set__
_set_ref = vars(Future)["_ref"].__set__
_set_type = vars(Future)["_type"].__set__
_set_tree = vars(Future)["_tree"].__set__


def describe(ref: Ref | InputRef) -> str:
    """How a diagnostic calls a future."""
    path = "".join(f".{name}" for name in ref.at)
    return f"`{ref.source}{path}`" if isinstance(ref, Ref) else f"input `{ref.input}{path}`"


# (code, what the author did, what to do instead), and the methods that Python calls for it.
_REFUSALS: list[tuple[str, str, str, str]] = [
    (
        "FC010",
        "is used as a condition",
        "its value is known only when the workflow runs: decide inside an operator",
        "__bool__",
    ),
    (
        "FC011",
        "is iterated, unpacked or measured",
        "how many items it has is known only when the workflow runs: pass it to an operator whole, "
        "or have its operator return a dataclass or a NamedTuple, and take its fields by name",
        "__iter__ __len__ __contains__ __reversed__ __next__",
    ),
    (
        "FC012",
        "is compared",
        "its value is known only when the workflow runs: compare inside an operator",
        "__eq__ __ne__ __lt__ __le__ __gt__ __ge__",
    ),
    (
        "FC013",
        "is used as a plain value",
        "its value is known only when the workflow runs: compute with it inside an operator",
        "__int__ __float__ __complex__ __index__ __str__ __format__ __bytes__ __call__ __neg__ __pos__ "
        "__abs__ __invert__ __round__ __add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __matmul__ "
        "__rmatmul__ __truediv__ __rtruediv__ __floordiv__ __rfloordiv__ __mod__ __rmod__ __divmod__ "
        "__rdivmod__ __pow__ __rpow__ __lshift__ __rlshift__ __rshift__ __rrshift__ __and__ __rand__ "
        "__or__ __ror__ __xor__ __rxor__ __enter__ __exit__ __await__ __fspath__ "
        "__copy__ __deepcopy__ __reduce_ex__",
    ),
    (
        "FC014",
        "is changed",
        "results are immutable: return a changed copy from an operator",
        "__setattr__ __delattr__ __setitem__ __delitem__ __iadd__ __isub__ __imul__ __itruediv__ "
        "__ior__ __iand__",
    ),
    (
        "FC015",
        "is subscripted",
        "take a field by its name, as in `parts.train`, or pick the item inside an operator",
        "__getitem__",
    ),
]


def _refusing(code: str, what: str, hint: str) -> Any:
    def method(self: Future, *args: Any, **kwargs: Any) -> NoReturn:
        name, of = describe(self._ref), self._type.short()
        labels = [Label(innermost_place(), f"{name} is a future, of type `{of}`")]
        origin = self._trace.origin(self._ref)
        if origin is not None and origin != labels[0].place:
            labels.append(Label(origin, "made here"))
        subject = name if isinstance(self._ref, InputRef) else f"the future {name}"
        diagnostic = Diagnostic(code, f"{subject} {what}", tuple(labels), hint=hint)
        # Reported as well as raised: a broad `except` in the workflow must not swallow it.
        self._trace.report(diagnostic)
        raise Refused(diagnostic)

    return method


for _code, _what, _hint, _methods in _REFUSALS:
    for _method in _methods.split():
        setattr(Future, _method, _refusing(_code, _what, _hint))
