"""When to check again; nothing is waited for. For the command see `test_check_paths.py`."""

import os

import pytest

from flowc.checks import watch as watching
from flowc.checks.watch import snapshot, watch


class Enough(Exception):
    """Ends the watching."""


@pytest.fixture
def rounds(project, monkeypatch):
    """Watch while a list of actions is done, the first in the first check, each other once nothing changes.

    Gives the number of checks that had been begun when each action was done.
    """

    def rounds(paths, *actions, also=()):
        begun, done, left = 0, [], list(actions)

        def act():
            if not left:
                raise Enough
            done.append(begun)
            left.pop(0)()

        def check():
            nonlocal begun
            begun += 1
            if begun == 1:
                act()
            return also

        monkeypatch.setattr(watching.time, "sleep", lambda _: act())
        with pytest.raises(Enough):
            watch(check, paths)
        return [*done, begun]

    return rounds


def write(project, name, text=""):
    return lambda: project.write(name, text)


def nothing():
    pass


def test_nothing_changes(project, rounds):
    project.write("flow.py", "")
    assert rounds(["."], nothing, nothing, nothing) == [1, 1, 1, 1]


def test_a_change_while_it_is_being_checked(project, rounds):
    project.write("flow.py", "")
    assert rounds(["flow.py"], write(project, "flow.py", "new")) == [1, 2]
    assert rounds(["flow.py"], write(project, "steps.py", "new")) == [1, 2]


def test_files_that_are_changed_made_and_removed(project, rounds):
    project.write("flow.py", "")
    change, make = write(project, "flow.py", "new"), write(project, "team/steps.py")
    assert rounds(["."], nothing, change, make, lambda: os.unlink("flow.py"), nothing) == [1, 1, 2, 3, 4, 4]


def test_a_plan(project, rounds):
    assert rounds(["plans"], nothing, write(project, "plans/main.plan.jsonl"), nothing) == [1, 1, 2, 2]


def test_other_files_are_no_reason(project, rounds):
    project.write("flow.py", "")
    others = [write(project, name) for name in ("notes.txt", ".hidden/x.py", "__pycache__/flow.pyc")]
    assert rounds(["."], nothing, *others) == [1, 1, 1, 1, 1]


def test_what_was_imported_and_lies_elsewhere(project, rounds):
    project.write("flow.py", "")
    steps = project.write("lib/steps.py", "")
    edit = write(project, "lib/steps.py", "new")
    assert rounds(["flow.py"], nothing, edit, also=[str(steps)]) == [1, 1, 2]
    assert rounds(["flow.py"], nothing, edit) == [1, 1, 1]


def test_a_snapshot_of_what_is_not_there(project):
    os.symlink("nowhere", "link.py")
    assert snapshot(["gone.py", "gone/flow.py"], ["/gone/x.py"]) == {
        str(project.folder): snapshot(["."], ())[str(project.folder)],
        str(project.folder / "gone"): {},
        "/gone": {},
    }
