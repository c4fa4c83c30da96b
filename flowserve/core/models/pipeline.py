"""Pipelines: models whose outputs are other models' inputs, served as one. docs/pipelines.md is for users.

What a `pipeline.toml` says is checked by itself when it is read (`read_pipeline`, FS262), and against the
signatures of its models when it is loaded (`fit`, FS263).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.toml import Toml
from flowserve.core.wording import cut, listed

PIPELINE_FILE = "pipeline.toml"
STEPS_MAX = 64

_MODEL = re.compile(r"[^@/\s]+(@[^@/\s]+)?")
_Tensors = Mapping[str, tuple[int, ...]]


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A run of a model. Both mappings go from the model's own names to the pipeline's names of tensors."""

    model: str
    """A name, or NAME@VERSION or NAME@ALIAS."""
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Steps in any order. `inputs` and `outputs` are tensors that the whole takes and gives."""

    inputs: list[str]
    outputs: list[str]
    step: list[Step]


class Document(msgspec.Struct, frozen=True):
    """A pipeline and where its parts stand."""

    pipeline: Pipeline
    toml: Toml

    def place(self, *at: str | int) -> Place:
        """Where something stands."""
        return self.toml.place(at)

    def said(self, index: int) -> str:
        """A step, as messages name it."""
        return said(self.pipeline, index)

    def problem(self, code: str, message: str, *at: str | int, hint: str = "") -> Diagnostic:
        """What is wrong there."""
        return Diagnostic(code, message, (Label(self.place(*at)),), hint=hint)


class Stage(msgspec.Struct, frozen=True):
    """A step of a request. `takes` and `gives` are pairs of the model's name and the pipeline's."""

    step: int
    takes: tuple[tuple[str, str], ...]
    gives: tuple[tuple[str, str], ...]
    waits: int
    """For so many stages before it."""
    then: tuple[int, ...]
    """The stages that wait for it, by their places in the route."""


def said(pipeline: Pipeline, index: int) -> str:
    """A step, as messages name it."""
    return f"step {index + 1} (`{cut(pipeline.step[index].model)}`)"


def read_pipeline(text: str, file: str) -> Document:
    """Read a `pipeline.toml`. Raises `Refused` FS262 with everything that is wrong with it by itself."""
    toml = Toml(text, file, "the pipeline", "FS262")
    document = Document(toml.convert(toml.values, Pipeline), toml)
    if problems := list(_problems(document)):
        raise Refused(*problems)
    return document


def fit(document: Document, members: Sequence[Signature]) -> Signature:
    """Return the signature of a pipeline whose steps run models of these.

    Raises `Refused` FS263 with everything that does not fit together.
    """
    pipeline = document.pipeline
    if problems := [p for i, member in enumerate(members) for p in _unmapped(document, i, member)]:
        raise Refused(*problems)
    specs: dict[str, TensorSpec] = {}
    made_by: dict[str, int] = {}
    for index, (step, member) in enumerate(zip(pipeline.step, members, strict=True)):
        for spec in member.outputs:
            if tensor := step.outputs.get(spec.name):
                specs[tensor] = _renamed(spec, tensor)
                made_by[tensor] = index
    for index, (step, member) in enumerate(zip(pipeline.step, members, strict=True)):
        for spec in member.inputs:
            tensor = step.inputs[spec.name]
            known = specs.get(tensor)
            if known is None:
                specs[tensor] = _renamed(spec, tensor)
            elif reason := _disagreement(known, spec):
                by = made_by.get(tensor)
                other = "another step takes it" if by is None else f"{document.said(by)} gives it"
                message = (
                    f"{document.said(index)} takes `{tensor}` as {_kind(spec)}, but {other} as {_kind(known)}"
                )
                at = ("step", index, "inputs", spec.name)
                problems.append(document.problem("FS263", f"{message}: {reason}", *at))
            elif tensor not in made_by:
                specs[tensor] = _narrowed(known, spec)
    if problems:
        raise Refused(*problems)
    inputs, outputs = ([specs[tensor] for tensor in of] for of in (pipeline.inputs, pipeline.outputs))
    plain = [msgspec.structs.replace(spec, labels=()) for spec in inputs]
    return Signature(tuple(plain), tuple(outputs))


def route(pipeline: Pipeline, outputs: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages that are needed for these outputs, each after those that it waits for."""
    made_by = {t: i for i, step in enumerate(pipeline.step) for t in step.outputs.values()}
    order: list[int] = []

    def visit(index: int) -> None:
        if index not in order:
            for before in sorted(_before(pipeline.step[index], made_by)):
                visit(before)
            order.append(index)

    for output in outputs:
        visit(made_by[output])
    wanted = {*outputs, *(tensor for index in order for tensor in pipeline.step[index].inputs.values())}
    befores = [_before(pipeline.step[index], made_by) for index in order]
    return tuple(
        Stage(
            index,
            tuple(pipeline.step[index].inputs.items()),
            tuple((own, tensor) for own, tensor in pipeline.step[index].outputs.items() if tensor in wanted),
            len(befores[at]),
            tuple(later for later, before in enumerate(befores) if index in before),
        )
        for at, index in enumerate(order)
    )


def _before(step: Step, made_by: Mapping[str, int]) -> set[int]:
    return {made_by[tensor] for tensor in step.inputs.values() if tensor in made_by}


# By itself


def _problems(document: Document) -> Iterator[Diagnostic]:
    pipeline, problem = document.pipeline, partial(document.problem, "FS262")
    if not 1 <= len(pipeline.step) <= STEPS_MAX:
        yield problem(f"a pipeline must have 1 to {STEPS_MAX} steps, got {len(pipeline.step)}", "step")
    if not pipeline.outputs:
        yield problem("a pipeline must have outputs", "outputs")
    for name, tensors in (("inputs", pipeline.inputs), ("outputs", pipeline.outputs)):
        for tensor in sorted({tensor for tensor in tensors if tensors.count(tensor) > 1}):
            yield problem(f"`{tensor}` must stand only once in `{name}`", name)
    makers = _makers(pipeline)
    for tensor, made in sorted(makers.items()):
        if len(made) + (tensor in pipeline.inputs) > 1:
            places = ["the pipeline's inputs"] if tensor in pipeline.inputs else []
            places += [document.said(index) for index in made]
            message = f"`{tensor}` must come from one place, but comes from {' and '.join(places)}"
            outputs = pipeline.step[made[-1]].outputs
            own = next(own for own in reversed(outputs) if outputs[own] == tensor)
            yield problem(message, "step", made[-1], "outputs", own)
    read = {tensor for step in pipeline.step for tensor in step.inputs.values()}
    for index, step in enumerate(pipeline.step):
        if not _MODEL.fullmatch(step.model):
            message = f"a step's model must be NAME, NAME@VERSION or NAME@ALIAS, got `{cut(step.model)}`"
            yield problem(message, "step", index, "model")
        for own, tensor in step.inputs.items():
            if tensor not in makers and tensor not in pipeline.inputs:
                has = listed(sorted({*makers, *pipeline.inputs}))
                message = f"{document.said(index)} takes `{tensor}`, which nothing gives; there are {has}"
                yield problem(message, "step", index, "inputs", own)
        useful = {*read, *pipeline.outputs}
        if useful <= {*makers, *pipeline.inputs} and not useful & {*step.outputs.values()}:
            message = f"{document.said(index)} is for nothing: none of its outputs is used"
            yield problem(message, "step", index)
    for tensor in pipeline.inputs:
        if tensor not in read:
            yield problem(f"no step takes the input `{tensor}`", "inputs")
    for tensor in pipeline.outputs:
        if tensor not in makers:
            has = listed(sorted(makers)) or "none"
            yield problem(f"no step gives the output `{tensor}`; they give {has}", "outputs")
    if circle := _circle(pipeline, {tensor: made[0] for tensor, made in makers.items()}):
        steps = " -> ".join(document.said(index) for index in [*circle, circle[0]])
        yield problem(f"steps wait for each other in a circle: {steps}", "step", circle[0])


def _makers(pipeline: Pipeline) -> _Tensors:
    makers: dict[str, tuple[int, ...]] = {}
    for index, step in enumerate(pipeline.step):
        for tensor in step.outputs.values():
            makers[tensor] = (*makers.get(tensor, ()), index)
    return makers


def _circle(pipeline: Pipeline, made_by: Mapping[str, int]) -> list[int]:
    """Steps of which each gives something to the next and the last to the first; none where there is none."""
    done: set[int] = set()

    def walk(index: int, path: list[int]) -> list[int]:
        if index in path:
            circle = path[path.index(index) :][::-1]
            first = circle.index(min(circle))
            return circle[first:] + circle[:first]
        if index not in done:
            for before in sorted(_before(pipeline.step[index], made_by)):
                if circle := walk(before, [*path, index]):
                    return circle
            done.add(index)
        return []

    return next((circle for index in range(len(pipeline.step)) if (circle := walk(index, []))), [])


# Against the members


def _unmapped(document: Document, index: int, member: Signature) -> Iterator[Diagnostic]:
    step, who = document.pipeline.step[index], f"the model of {document.said(index)}"
    sides = (("inputs", step.inputs, member.inputs), ("outputs", step.outputs, member.outputs))
    for kind, mapped, specs in sides:
        names = [spec.name for spec in specs]
        for own in mapped:
            if own not in names:
                message = f"{who} has no {kind[:-1]} `{cut(own)}`; it has {listed(names)}"
                yield document.problem("FS263", message, "step", index, kind, own)
        if kind == "inputs" and (missing := [name for name in names if name not in mapped]):
            yield document.problem("FS263", f"{who} also takes {listed(missing)}", "step", index, kind)


def _disagreement(a: TensorSpec, b: TensorSpec) -> str:
    """Why no tensor can be both; "" where one can."""
    if a.datatype != b.datatype:
        return "the datatypes differ"
    if len(a.shape) != len(b.shape):
        return "the numbers of dimensions differ"
    for at, (of_a, of_b) in enumerate(zip(a.shape, b.shape, strict=True)):
        if -1 not in (of_a, of_b) and of_a != of_b:
            return f"dimension {at} differs"
    return ""


def _narrowed(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    """What fits both."""
    shape = tuple(y if x == -1 else x for x, y in zip(a.shape, b.shape, strict=True))
    return msgspec.structs.replace(a, shape=shape)


def _renamed(spec: TensorSpec, name: str) -> TensorSpec:
    return msgspec.structs.replace(spec, name=name)


def _kind(spec: TensorSpec) -> str:
    return f"{spec.datatype.name}{list(spec.shape)}"
