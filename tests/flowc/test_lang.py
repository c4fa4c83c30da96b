"""The decorators: what they make, and what they refuse to make."""

import inspect

import pytest

from flowc import Array, operator, workflow
from flowc.plan.diagnostics import Refused
from flowc.plan.types import Type


@operator
def double(x: int, y: "float" = 0.5) -> int:
    """Twice."""
    return 2 * x


@workflow
def flow(n: int, label="x"):
    return double(n)


def refused(make):
    with pytest.raises(Refused) as refusal:
        make()
    (diagnostic,) = refusal.value.diagnostics
    return diagnostic


def test_an_operator_is_still_its_function():
    assert double(3) == 6
    assert double.fn(3) == 6
    assert (double.__name__, double.__doc__, double.__wrapped__) == ("double", "Twice.", double.fn)
    assert inspect.signature(double) == inspect.signature(double.fn)
    assert repr(double) == f"<operator {__name__}:double>"


def test_an_operator_knows_its_types():
    assert double.reference == f"{__name__}:double"
    assert double.takes == {"x": Type("int"), "y": Type("float")}
    assert double.gives == Type("int")


def test_a_workflow_is_still_its_function():
    assert flow(3) == 6
    assert flow.inputs == {"n": Type("int"), "label": Type("Any")}
    assert repr(flow) == f"<workflow {__name__}:flow>"


def test_declaring_keeps_the_function():
    @operator(cpus=2, retries=1)
    def made():
        return 1

    assert made() == 1
    assert made.declaration.needs.cpus == 2
    assert made.takes == {}
    assert made.gives == Type("Any")


def test_isinstance_with_array_finds_numpys():
    import numpy as np

    assert isinstance(np.zeros(1), Array)
    assert not isinstance([0], Array)


async def coroutine(): ...


def generator():
    yield 1


def star(*args): ...


def stars(**named): ...


@pytest.mark.parametrize("fn", [coroutine, generator, star, stars, len, int, 3, "text", object()])
@pytest.mark.parametrize(
    ("decorator", "code"), [(operator, "FC023"), (operator(cpus=1), "FC023"), (workflow, "FC024")]
)
def test_only_a_plain_function_with_named_parameters_can_be_one(decorator, code, fn):
    found = refused(lambda: decorator(fn))
    assert found.code == code
    if inspect.isfunction(fn):
        place = found.labels[0].place
        assert place.file.endswith("test_lang.py")
        assert place.line == fn.__code__.co_firstlineno


def test_a_method_in_a_class_body_and_a_lambda_can_be_decorated_but_not_found_by_a_worker():
    assert operator(lambda x: x)(3) == 3


def test_an_unknown_declaration_names_a_near_one():
    found = refused(lambda: operator(cpu=1)(double.fn))
    assert (found.code, "`cpu`" in found.message, "`cpus`" in found.hint) == ("FC023", True, True)
    assert "gpu_memory" in refused(lambda: operator(colour=1)(double.fn)).hint


def test_an_impossible_declaration():
    found = refused(lambda: operator(memory="lots")(double.fn))
    assert found.code == "FC301"
    assert "`double`" in found.message
    assert "`memory`" in found.message


def test_an_annotation_that_is_no_type():
    def odd(a: 3, b: int) -> [int]: ...

    assert operator(odd).declaration is not None
    found = refused(lambda: operator(odd).takes)
    assert found.code == "FC102"
    assert "`a`" in found.message
    assert refused(lambda: operator(odd).gives).code == "FC102"
    assert refused(lambda: workflow(odd).inputs).code == "FC102"


def test_names_are_loaded_when_they_are_asked_for():
    import flowc

    assert flowc.operator is operator
    for name in flowc.__all__:
        assert getattr(flowc, name).__module__.startswith(("flowc.", "typing")), name
    with pytest.raises(AttributeError, match="no attribute 'compile'"):
        flowc.compile  # noqa: B018


class TestWorkflowClasses:
    SOURCE = """
    from dataclasses import field
    from typing import ClassVar
    from flowc import Static
    from ops import *

    @workflow
    class main:
        path: str
        rate: float = 0.5
        names: list[str] = field(default_factory=lambda: ["a"])
        folds: Static[int] = 2
        unit: ClassVar[str] = "cm"

        def define(self):
            data = self.prepared()
            return [fit(data, self.rate) for fold in range(self.folds)]

        def prepared(self):
            return clean(load(self.path))
    """

    def test_attributes_are_the_inputs_of_define(self, project):
        plan = project.compile(self.SOURCE)
        inputs = {name: (of.type, of.required or of.default) for name, of in plan.header.inputs.items()}
        assert inputs == {"path": ("str", True), "rate": ("float", 0.5), "names": ("list[str]", ["a"])}
        assert plan.header.static == {"folds": 2}
        assert plan.header.workflow == "flow:main"
        assert [node.id for node in plan.nodes] == ["data/load", "data/clean", "fit[0]", "fit[1]"]

    def test_one_within_another_workflow_is_called_with_its_inputs(self, project):
        source = self.SOURCE.replace("class main", "class Fit") + (
            "\n    @workflow\n    def main(rate: float):\n        return Fit('p', rate=rate, folds=1)\n"
        )
        plan = project.compile(source)
        assert [node.id for node in plan.nodes] == ["Fit/data/load", "Fit/data/clean", "Fit/fit[0]"]
        assert plan.nodes[2].args["rate"] == {"input": "rate"}

    def test_outside_of_a_trace_it_simply_runs(self):
        @workflow
        class Doubled:
            n: int

            def define(self):
                return double(self.n)

        assert Doubled(4) == 8

    def test_without_define(self):
        class Empty:
            n: int

        found = refused(lambda: workflow(Empty))
        assert (found.code, "has no `define`" in found.message) == ("FC024", True)

    def test_declared_wrongly(self):
        class Wrong:
            names: list = []  # noqa: RUF012 - that is the mistake

            def define(self):
                return 1

        found = refused(lambda: workflow(Wrong))
        assert found.code == "FC024"
        assert "default_factory" in found.message
