"""The examples of `docs/workflows.md` compile."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "workflows.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
# What the shorter examples leave out.
OPERATORS = """
from dataclasses import dataclass
from flowc import Static, operator, workflow

@dataclass
class Region:
    name: str

@operator
def rent() -> str: ...
@operator
def give_back(machine: str) -> None: ...
@operator
def regions(path: str) -> list[Region]: ...
@operator
def count(region: Region, path: str) -> int: ...
@operator
def add(a: int, b: int) -> int: ...
@operator
def exceeds(total: int, limit: int) -> bool: ...
@operator
def publish(total: int) -> str: ...
@operator
def alert(text: str) -> None: ...
@operator
def take(path: str, fold: int) -> list[int]: ...
@operator
def fit(part: list[int]) -> float: ...
"""


@pytest.mark.parametrize(
    ("named", "nodes"), [("def means(", 4), ("class Validate", 10), ("def main(", 10)], ids=lambda of: str(of)
)
def test_an_example_compiles(project, named, nodes):
    (block,) = [block for block in BLOCKS if named in block]
    project.write("flow.py", ("" if "import operator" in block else OPERATORS) + block)
    name = re.search(r"\w+", named.split()[1])[0]
    assert len(project.plan(f"flow.py:{name}").nodes) == nodes
