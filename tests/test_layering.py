"""The picture in the design: who may import whom. Read from the sources, so that nothing needs to run."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("flowc", "flowrun", "flowserve", "stdlib")
AUTHORING = {
    *("Array", "Attempt", "Future", "Operator", "Workflow"),
    *("attempt", "operator", "project", "types", "workflow"),
}
# A core decides on what it is given: no clock, chance, file, process, network, thread or environment.
WORLD = {
    *("asyncio", "concurrent", "ctypes", "fcntl", "glob", "http", "io", "logging", "mmap", "multiprocessing"),
    *("os", "pathlib", "platform", "psutil", "pynvml", "random", "secrets", "select", "selectors", "shutil"),
    *("signal", "socket", "socketserver", "ssl", "subprocess", "sys", "tempfile", "threading", "time"),
    *("uuid", "urllib.request", "uvloop", "httptools", "onnx", "onnxruntime", "torch", "typer", "rich"),
}  # fmt: skip


def modules():
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path):
    """Every module or name that a file imports anywhere, as dotted names, with the line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide what a module needs"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


IMPORTS = [
    (module, name, f"{path.relative_to(ROOT)}:{line}: {module} imports {name}")
    for module, path in modules()
    for name, line in imported(path)
]


def within(name, *packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def offending(user, *used, but=()):
    return [
        said
        for module, name, said in IMPORTS
        if within(module, user) and within(name, *used) and not within(name, *but)
    ]


def test_the_plan_is_a_leaf():
    assert offending("flowc.plan", *OURS, but=("flowc.plan",)) == []


def test_the_plan_needs_only_python_and_msgspec():
    roots = {name.partition(".")[0] for module, name, _ in IMPORTS if within(module, "flowc.plan")}
    of_other_pythons = {"_sha2", "_sha256"}
    assert roots - set(sys.stdlib_module_names) - of_other_pythons == {"flowc", "msgspec"}


def test_the_compiler_needs_only_itself():
    assert offending("flowc", *OURS, but=("flowc",)) == []


@pytest.mark.parametrize("user", ["flowrun", "flowserve"])
def test_runner_and_server_know_only_the_plan(user):
    assert offending(user, *OURS, but=("flowc.plan", user)) == []


def test_the_operators_know_the_authoring_names_and_the_model_repository():
    assert offending("stdlib", "flowc", but=[f"flowc.{name}" for name in AUTHORING]) == []
    assert offending("stdlib", "flowrun") == []
    assert offending("stdlib", "flowserve", but=("flowserve.shell.models.repository",)) == []


@pytest.mark.parametrize("package", ["flowrun", "flowserve"])
def test_a_core_does_not_know_its_shell_nor_a_shell_the_command(package):
    assert offending(f"{package}.core", f"{package}.shell", f"{package}.service", f"{package}.cli") == []
    assert offending(f"{package}.shell", f"{package}.cli", f"{package}.service") == []
    command = f"{package}.cli"
    assert [said for user, name, said in IMPORTS if within(name, command) and not within(user, command)] == []


def test_nothing_of_the_compiler_knows_its_command():
    assert offending("flowc", "flowc.cli") == []


@pytest.mark.parametrize("core", ["flowrun.core", "flowserve.core"])
def test_a_core_is_pure(core):
    assert offending(core, *WORLD) == []
    clocks = ("datetime.datetime.now", "flowc.plan.diagnostics.print_refusal", "flowc.plan.codec.read")
    assert offending(core, *clocks) == []


def test_the_plans_functions_on_values_are_pure():
    for module in ("model", "types", "graph", "edges", "codes"):
        assert offending(f"flowc.plan.{module}", *WORLD) == []


@pytest.mark.parametrize("package", ["flowc", "flowrun", "flowserve", "stdlib"])
def test_imports_of_modules_have_no_circles(package):
    """At import time: an import inside a function is how a circle is cut where it cannot be avoided."""
    import graphlib

    sources = dict(modules())
    graph = {}
    for module, path in sources.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        graph[module] = {
            known
            for node in tree.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            )
            for known in [name]
            if known in sources and known != module and within(known, package)
        }
    graphlib.TopologicalSorter(graph).prepare()


def test_every_package_is_looked_at():
    found = {module.partition(".")[0] for module, _, _ in IMPORTS}
    assert found == set(OURS)


# The folders and modules of a package's half, from the ground up: each uses only those below it.
FLOORS = {
    "flowrun.shell": [
        {"amounts", "clock", "lookout", "readiness", "saying", "teams"},
        {"host", "store"},
        {"log", "workers"},
        {"values", "reasons", "preparing", "execution", "loop"},
        {"chart", "showing"},
        {"exporting", "keeping"},
        {"again", "cancelling", "conducting", "demands", "launch", "presenting", "repair"},
        {"simulating"},
    ],
    "flowserve.core": [
        {"arrays", "datatypes", "histogram", "toml", "wording"},
        {"models"},
        {"memory"},
        {"rollout"},
        {"catalog"},
        {"engine"},
        {"wire"},
        {"observe"},
        {"bench"},
        {"config", "places"},
    ],
    "flowserve.shell": [
        {"engine"},
        {"observe"},
        {"models"},
        {"rollout"},
        {"wire"},
        {"bench"},
        {"processes"},
    ],
}


@pytest.mark.parametrize("half", FLOORS)
def test_a_half_stands_on_its_floors(half):
    height = {name: floor for floor, names in enumerate(FLOORS[half]) for name in names}
    wrong = []
    for module, name, said in IMPORTS:
        if module.startswith(f"{half}.") and name.startswith(f"{half}."):
            user, used = (dotted.removeprefix(f"{half}.").split(".")[0] for dotted in (module, name))
            if user != used and height[used] > height[user]:
                wrong.append(said)
    assert wrong == []


@pytest.mark.parametrize("half", FLOORS)
def test_every_part_of_a_half_has_its_floor(half):
    parts = {module.split(".")[2] for module, _ in modules() if module.startswith(f"{half}.")}
    assert parts == set().union(*FLOORS[half])
