"""Start-up matters to everybody, every day: what commands load before they do anything.

Loaded modules are counted, not milliseconds, so that a busy machine does not matter.
"""

import json
import os
import subprocess
import sys

import pytest

HEAVY = {"numpy", "torch", "onnx", "onnxruntime", "onnxscript", "sklearn", "scipy", "pandas", "ray", "uvloop",
         "httptools", "pynvml", "psutil", "pydantic", "asyncio", "multiprocessing", "blake3",
         "grpc", "google"}  # fmt: skip
# Runs a statement and prints every module that is then loaded, whatever it prints or exits with.
PROBE = """
import contextlib, io, json, sys
sys.argv = {argv!r}
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    {statement}
print(json.dumps(sorted(sys.modules)))
"""


def loaded(statement, argv=("python",), folder="."):
    """The modules that a fresh Python has loaded after a statement."""
    code = PROBE.format(argv=list(argv), statement=statement)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def roots(modules):
    return {name.partition(".")[0] for name in modules}


@pytest.fixture(scope="module")
def nothing():
    """What Python itself and its `site` load."""
    return loaded("pass")


@pytest.mark.parametrize("command", ["flowc", "flowrun", "flowserve"])
def test_help_loads_little_beyond_python(command, nothing):
    modules = loaded(f"import {command}.cli; {command}.cli.main()", [command, "--help"])
    extra = {name for name in roots(modules - nothing) if name not in sys.stdlib_module_names}
    assert extra == {command, "flowc"}
    assert roots(modules).isdisjoint({"asyncio", "inspect", "subprocess"})


@pytest.mark.parametrize("command", ["flowc", "flowrun", "flowserve"])
def test_a_wrong_option_is_no_reason_to_load_more(command, nothing):
    modules = loaded(f"import {command}.cli; {command}.cli.main()", [command, "--no-such-option"])
    assert roots(modules - nothing).isdisjoint(HEAVY)


def test_importing_flowc_loads_next_to_nothing(nothing):
    modules = loaded("import flowc") - nothing
    assert {name for name in roots(modules) if name not in sys.stdlib_module_names} == {"flowc"}
    assert len(modules) < 10


def test_the_authoring_names_load_msgspec_only(nothing):
    modules = loaded("from flowc import operator, workflow, Future, Operator, Workflow, Array") - nothing
    ours = {name for name in roots(modules) if name not in sys.stdlib_module_names}
    assert ours - {"typing_extensions"} == {"flowc", "msgspec"}  # msgspec takes the former where it is there


@pytest.mark.parametrize("workflow", ["iris", "digits"])
def test_compiling_a_workflow_loads_nothing_that_only_its_run_needs(workflow, tmp_path, nothing):
    arguments = [
        "flowc",
        "compile",
        f"stdlib.workflows.{workflow}:{workflow}",
        "-o",
        str(tmp_path / "plan.jsonl"),
    ]
    modules = loaded("import flowc.cli; flowc.cli.main()", arguments)
    assert (tmp_path / "plan.jsonl").stat().st_size > 0
    assert roots(modules - nothing).isdisjoint(HEAVY | {"rich", "flowserve", "flowrun"})


def test_showing_a_plan_loads_no_code_of_its_operators(tmp_path, nothing):
    modules = loaded("import flowc.cli; flowc.cli.main()", ["flowc", "show", "plans/iris.plan.jsonl"])
    assert roots(modules - nothing).isdisjoint(HEAVY | {"stdlib", "rich"})


def test_comparing_plans_loads_no_code_of_their_operators(nothing):
    plans = ["plans/iris.plan.jsonl", "plans/digits.plan.jsonl"]
    modules = loaded("import flowc.cli; flowc.cli.main()", ["flowc", "diff", *plans])
    assert roots(modules - nothing).isdisjoint(HEAVY | {"stdlib", "rich", "flowrun"})
