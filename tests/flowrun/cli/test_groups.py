"""The commands are declared where the headings say."""

import ast
import importlib.util
from pathlib import Path

import pytest

from flowrun.cli import app


def declared(module):
    """The names of a module's commands, in order."""
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for call in node.decorator_list:
                names = [word.value.value for word in call.keywords if word.arg == "name"]
                yield (names or [node.name])[0]


@pytest.mark.parametrize("group", app.groups, ids=lambda group: group.heading)
def test_a_group_has_the_commands_of_its_module(group):
    assert tuple(declared(group.module)) == group.commands


def test_every_command_is_in_one_group():
    names = [name for group in app.groups for name in group.commands]
    assert len(names) == len(set(names))
