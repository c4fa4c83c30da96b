"""The authoring vocabulary: `@operator`, `@workflow` and what they make.

Calling an operator inside a workflow that is being traced returns a `Future`; anywhere else it simply runs
the function. So operators and workflows can be tested and debugged as the plain Python they are.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from flowc import hints as _hints
from flowc.code.fingerprint import Code, code_of, imports_of
from flowc.declaration import Declaration, Impossible, declare
from flowc.definitions import definition_of
from flowc.forms import pickled
from flowc.futures import Future
from flowc.hints import Meaningless, Static, hints_of, is_static, type_of
from flowc.plan.diagnostics import refuse
from flowc.plan.model import FailureKind, Isolation
from flowc.plan.types import Type, substitute
from flowc.spans import innermost_place

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]
else:
    Array = _hints.Array

__all__ = ["Array", "Future", "Operator", "Static", "Workflow", "operator", "workflow"]

P = ParamSpec("P")
R = TypeVar("R")


class Recorder(Protocol):
    """Takes note of operator calls while a workflow is traced."""

    def call(self, op: Operator[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Future:
        """Record a call and return the future of its result."""

    def enter(self, workflow: Workflow[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record the calls of a workflow and return its result."""


# Tracing is one thing at a time in a process, so a plain global says which trace is on.
recorder: Recorder | None = None


class Operator(Generic[P, R]):
    """A typed, reusable step. `fn` is the plain function; `takes` and `gives` are its types."""

    def __init__(self, fn: Callable[P, R], declaration: Declaration) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.declaration = declaration
        self.signature = inspect.signature(fn)
        self.name = fn.__name__
        parameters = self.signature.parameters.values()
        self._positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        self._ordinary = len(self._positional) == len(parameters)
        self._required = {p.name for p in parameters if p.default is p.empty}

    @functools.cached_property
    def reference(self) -> str:
        """How a worker finds the operator: `module:name`."""
        return f"{self.fn.__module__}:{self.fn.__qualname__}"

    @functools.cached_property
    def reached(self) -> Code:
        """The function's code and all that it reaches in the project: a hash of each part."""
        return code_of(self.fn)

    @property
    def code(self) -> str:
        """A hash of the function's code; a worker refuses to run another code than was compiled."""
        return self.reached.hash

    @functools.cached_property
    def imports(self) -> tuple[str, ...]:
        """The modules that the function's body imports."""
        return imports_of(self.fn)

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The resolved annotations of the parameters and of `return`."""
        return hints_of(self.fn)

    @functools.cached_property
    def takes(self) -> dict[str, Type]:
        """The types of the parameters; `Refused` (FC102) if one has no meaning in a plan."""
        return {name: _type_in(self.fn, name, self.hints) for name in self.signature.parameters}

    @functools.cached_property
    def gives(self) -> Type:
        """The type of the result."""
        return _type_in(self.fn, "return", self.hints)

    @functools.cached_property
    def pickles(self) -> tuple[str, ...]:
        """The classes in the result whose values have no stored form but a pickle."""
        return pickled(self.hints.get("return", Any))

    @functools.cached_property
    def is_generic(self) -> bool:
        """Whether the types of a call depend on its arguments."""
        return any("'" in str(of) or "column_of" in str(of) for of in (self.gives, *self.takes.values()))

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """The given arguments by parameter; `TypeError`, as Python would raise it, if they do not match."""
        # `Signature.bind` takes 7 us. Most calls are ordinary, and compiling a large plan is all calls.
        names = self._positional
        if not kwargs and self._ordinary and len(args) == len(names):
            return dict(zip(names, args, strict=True))
        bound = dict(zip(names, args, strict=False)) | kwargs
        fits = self._ordinary and len(args) <= len(names) and len(bound) == len(args) + len(kwargs)
        if fits and self._required <= bound.keys() and kwargs.keys() <= self.signature.parameters.keys():
            return bound
        return self.signature.bind(*args, **kwargs).arguments

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, or record the call if a workflow is being traced."""
        if recorder is None:
            if "after" in kwargs and "after" not in self.signature.parameters:
                kwargs.pop("after")  # in plain Python, that is over already
            return self.fn(*args, **kwargs)
        # The author writes as if results were there; the future stands in for one.
        return cast(R, recorder.call(self, args, kwargs))

    def __repr__(self) -> str:
        return f"<operator {self.reference}>"


class Workflow(Generic[P, R]):
    """A function that describes a DAG of operator calls. Its parameters are the inputs of a run.

    `origin` is what the author wrote: the function, or a class whose `define` it is.
    """

    def __init__(self, fn: Callable[P, R], origin: Callable[..., Any] | None = None) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.origin = origin or fn
        self.signature = inspect.signature(fn)
        self.name = fn.__name__

    @property
    def reference(self) -> str:
        """How the compiler finds the workflow: `module:name`."""
        return f"{self.fn.__module__}:{self.name}"

    @functools.cached_property
    def hints(self) -> dict[str, Any]:
        """The resolved annotations of the parameters."""
        return hints_of(self.origin)

    @functools.cached_property
    def inputs(self) -> dict[str, Type]:
        """The types of the inputs that a run gives."""
        return {name: of for name, of in self._types.items() if not is_static(self.hints.get(name))}

    @functools.cached_property
    def static(self) -> dict[str, Type]:
        """The types of the inputs that are fixed at compile time."""
        return {name: of for name, of in self._types.items() if is_static(self.hints.get(name))}

    @functools.cached_property
    def _types(self) -> dict[str, Type]:
        return {
            name: substitute(_type_in(self.origin, name, self.hints), {})
            for name in self.signature.parameters
        }

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function; inside another workflow its calls become part of that one."""
        if recorder is not None and self.static:
            self._demand_static(args, kwargs)
        return self.fn(*args, **kwargs) if recorder is None else cast(R, recorder.enter(self, args, kwargs))

    def _demand_static(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Refuse (FC027) futures for what has to be known now."""
        names = [*self.signature.parameters]
        for name, value in (dict(zip(names, args, strict=False)) | kwargs).items():
            if name in self.static and isinstance(value, Future):
                message = f"`{name}` of workflow `{self.name}` is static, but is given a future"
                hint = "give it a plain value, or declare the outer workflow's input `Static[...]`, too"
                refuse("FC027", message, innermost_place(), hint=hint)

    def __repr__(self) -> str:
        return f"<workflow {self.reference}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the plan's picture, or what is wrong with the workflow."""
        from flowc.show.notebook import html_of  # only there

        return html_of(self)


@overload
def operator(fn: Callable[P, R], /) -> Operator[P, R]: ...
@overload
def operator(
    *,
    cpus: float = ...,
    memory: int | str = ...,
    gpus: int | str = ...,
    gpu_memory: int | str = ...,
    gpu: str | Sequence[str] = ...,
    linked: bool = ...,
    uses: Mapping[str, int] = ...,
    retries: int = ...,
    backoff: float | str = ...,
    retry_on: FailureKind | Sequence[FailureKind] = ...,
    timeout: float | str = ...,
    heartbeat: float | str = ...,
    isolation: Isolation = ...,
    priority: int = ...,
    deterministic: bool = ...,
    cache: bool = ...,
    secrets: Sequence[str] = ...,
    env: Sequence[str] = ...,
    estimate: float | str = ...,
    fold: bool = ...,
) -> Callable[[Callable[P, R]], Operator[P, R]]: ...
def operator(fn: Callable[..., Any] | None = None, /, **declared: Any) -> Any:
    """Make an operator of a typed function.

    `cpus` (cores, fractions allowed), `memory` and `gpu_memory` (`"2GB"`, or megabytes; the latter shares a
    GPU with others), `gpus` (a number, or `"1-4"` for what can start with less), `gpu` (a model such as
    `"H100"`, or several, any of which will do), `linked` (its GPUs are to be joined by NVLink), `uses` (named
    things that are counted: `{"licence": 1}`), `retries` after a failure with `backoff` in between, doubled
    each time, `retry_on` (the kinds of failure that it is tried again after: `"error"`, `"crash"`,
    `"timeout"`, `"hang"`, `"memory"`; all, if left out), `timeout` (`"5m"`, or seconds), `heartbeat` (it
    hangs if neither output nor `flowc.beat()` comes for so long), and `priority` (higher goes first).
    `isolation`: `"warm"` processes run node after node, `"fork"` gives each attempt one of its own, `"fresh"`
    a new interpreter. A `deterministic` operator gives the same for the same arguments and does nothing else,
    so that equal calls can be one. With `cache=False` every run computes it, and a resumed one again.
    `secrets` and `env` name the environment variables that it reads; the values of secrets are kept from all
    other operators.
    `estimate` (`"30s"`) is about how long a call takes: what is on the longest way to the end goes first.
    With `fold`, a deterministic operator is called while compiling where all of its arguments are known by
    then.
    """
    if fn is None:
        return lambda fn: operator_of(fn, declared)
    return operator_of(fn, declared)


def operator_of(fn: Callable[..., Any], declared: dict[str, Any]) -> Operator[..., Any]:
    """Make an operator with a declaration; `Refused` (FC023, FC301) if either is impossible."""
    if not inspect.isfunction(fn) or inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn):
        name = getattr(fn, "__name__", repr(fn))
        refuse("FC023", f"`{name}` cannot be an operator: only a plain function can", definition_of(fn))
    _named(fn, "operator")
    try:
        return Operator(fn, declare(**declared))
    except Impossible as error:
        message = f"operator `{fn.__name__}`: {error}"
        refuse("FC301", message, definition_of(fn, declared=error.name), hint=error.hint)
    except TypeError:
        known = inspect.signature(declare).parameters
        unknown = next(name for name in declared if name not in known)
        message = f"operator `{fn.__name__}` declares `{unknown}`, which is not known"
        import difflib  # seldom needed, and workers wait for this module

        close = difflib.get_close_matches(unknown, known, 1)
        hint = f"did you mean `{close[0]}`?" if close else f"what can be declared: {', '.join(known)}"
        refuse("FC023", message, definition_of(fn, declared=unknown), hint=hint)


def workflow(fn: Callable[P, R]) -> Workflow[P, R]:
    """Make a workflow of a function, or of a class, whose attributes are the inputs of its `define(self)`."""
    if isinstance(fn, type):
        return Workflow(_builder_of(fn), fn)
    if not inspect.isfunction(fn) or inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn):
        name = getattr(fn, "__name__", repr(fn))
        refuse("FC024", f"`{name}` cannot be a workflow: only a plain function can", definition_of(fn))
    _named(fn, "workflow")
    return Workflow(fn)


def _builder_of(cls: type) -> Callable[..., Any]:
    """The function that fills in a workflow class's inputs and calls its `define`."""
    if not inspect.isfunction(getattr(cls, "define", None)):
        hint = "describe the workflow in a method `def define(self):`, which uses the inputs as attributes"
        refuse("FC024", f"the workflow class `{cls.__name__}` has no `define`", definition_of(cls), hint=hint)
    try:
        filled: Any = (
            cls if dataclasses.is_dataclass(cls) else dataclasses.dataclass(eq=False, repr=False)(cls)
        )
    except (TypeError, ValueError) as error:
        refuse(
            "FC024", f"the workflow class `{cls.__name__}` is declared wrongly: {error}", definition_of(cls)
        )

    def build(*args: Any, **kwargs: Any) -> Any:
        return filled(*args, **kwargs).define()

    functools.update_wrapper(build, cls, updated=())
    build.__signature__ = _signature_of(filled)  # type: ignore[attr-defined] # what `inspect` looks for
    return build


def _signature_of(cls: Any) -> inspect.Signature:
    """The signature of a dataclass, with the values that default factories make."""
    signature = inspect.signature(cls)
    made = {
        field.name: field.default_factory()
        for field in dataclasses.fields(cls)
        if field.default_factory is not dataclasses.MISSING and field.name in signature.parameters
    }
    parameters = signature.parameters.values()
    return signature.replace(
        parameters=[p.replace(default=made[p.name]) if p.name in made else p for p in parameters]
    )


def _named(fn: Callable[..., Any], what: str) -> None:
    """Refuse parameters that take whatever is left."""
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            code = "FC023" if what == "operator" else "FC024"
            message = f"{what} `{fn.__name__}` takes `{parameter}`: parameters must be named"
            hint = "take a list or a dict in a named parameter"
            refuse(code, message, definition_of(fn, parameter.name), hint=hint)


def _type_in(fn: Callable[..., Any], name: str, hints: dict[str, Any]) -> Type:
    try:
        return type_of(hints.get(name, Any))
    except Meaningless as error:
        what = "the result" if name == "return" else f"`{name}`"
        message = f"the annotation of {what} of `{fn.__name__}` is no type: `{error}`"
        refuse(
            "FC102", message, definition_of(fn, name), hint="for example `list[int]`, `str | None`, a class"
        )
