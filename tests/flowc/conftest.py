"""A project folder to compile in, within this process: milliseconds a workflow."""

import linecache
import sys
import textwrap
from pathlib import Path

import pytest

from flowc import spans
from flowc.code import fingerprint
from flowc.compiler import compile_workflow
from flowc.plan.codec import encode
from flowc.plan.diagnostics import Diagnostic, Refused, in_order
from flowc.plan.model import Plan
from flowc.source import load

# The operators that most tests build their workflows from.
OPERATORS = """
from dataclasses import dataclass
from typing import Any
from flowc import operator, workflow

@dataclass
class Parts:
    train: list[int]
    test: list[int]

@operator
def load(path: str = "") -> list[int]:
    return [1, 2, 3]

@operator
def clean(data: list[int]) -> list[int]:
    return data

@operator
def split(data: list[int]) -> Parts:
    return Parts(data, data)

@operator
def fit(data: list[int], rate: float = 0.1) -> float:
    return rate

@operator
def gather(items: Any = None, more: Any = None) -> Any:
    return items
"""
HEAD = "from ops import *\n\n@workflow\n"


class Project:
    """A folder with workflow code. `ops.py` holds `OPERATORS`; `flow.py` is what the tests compile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("ops.py", OPERATORS)

    def write(self, name: str, source: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
        self.forget()
        return path

    def forget(self) -> None:
        """Let the next compilation see the files as they are now, as a new process would."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
            if file.startswith(str(self.folder)):
                del sys.modules[name]
        linecache.clearcache()
        sys.path_importer_cache.clear()
        fingerprint.forget()
        spans._calls.clear()
        for function in (spans._positions, spans._syntax, spans.display_path):
            function.cache_clear()

    def compile(self, source: str, reference: str = "flow.py:main") -> Plan:
        """The plan of `main` in a source text, which is put into `flow.py`."""
        self.write("flow.py", source)
        return self.plan(reference)

    def plan(self, reference: str) -> Plan:
        self.forget()
        found = load(reference)
        return compile_workflow(found.workflow, found.root)

    def main(self, body: str, parameters: str = "") -> Plan:
        """The plan of a workflow with this body, which may use the operators of `ops`."""
        return self.compile(_main(body, parameters))

    def ids(self, body: str, parameters: str = "") -> list[str]:
        """The ids of the nodes of such a workflow."""
        return [node.id for node in self.main(body, parameters).nodes]

    def refused(self, source: str, reference: str = "flow.py:main") -> tuple[Diagnostic, ...]:
        """The diagnostics of a source text, which must not compile."""
        with pytest.raises(Refused) as refusal:
            self.compile(source, reference)
        return tuple(in_order(refusal.value.diagnostics))

    def wrong(self, body: str, parameters: str = "") -> list[str]:
        """What is wrong with the body of a workflow: `CODE underlined text`, in order.

        The lines that are complained of must be exactly those that end in `# !`.
        """
        source = _main(body, parameters)
        found = self.refused(source)
        lines = source.splitlines()
        places = [d.labels[0].place for d in found]
        assert {p.file for p in places} == {"flow.py"}
        marked = {i for i, line in enumerate(lines, 1) if line.endswith("# !")}
        assert {p.line for p in places} == marked
        return [
            f"{d.code} {lines[p.line - 1][p.column - 1 : p.end_column - 1]}"
            for d, p in zip(found, places, strict=True)
        ]


def _main(body: str, parameters: str) -> str:
    return f"{HEAD}def main({parameters}):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A fresh folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # files change faster than a .pyc can tell
    found = Project(tmp_path)
    yield found
    found.forget()


@pytest.fixture
def sites(project):
    """The site ids of a workflow body."""

    def sites(body: str, parameters: str = "") -> list[str]:
        return [site.site for site in project.main(body, parameters).sites]

    return sites


@pytest.fixture
def plan_bytes(project):
    """The canonical bytes of a plan with a bit of everything."""
    return encode(
        project.main(
            """
            data = [clean(load(name)) for name in ("a", "b")]
            parts = split(data[0])
            model = fit(parts.train, rate=rate)
            return {"model": model, "all": gather([parts.test, *data], {"k": model})}
            """,
            "rate: float = 0.5",
        )
    )
