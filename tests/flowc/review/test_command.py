"""`flowc diff` in a real repository: what a command line means, and what git shows."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowc.cli import main
from flowc.plan.codec import encode

PLAN = "plans/main.plan.jsonl"


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Ask git; without the user's settings, and with one author."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def git(*arguments):
        return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout

    return git


@pytest.fixture
def plan(project):
    """Write the plan of a workflow body."""

    def plan(body, path=PLAN):
        data = encode(project.main(body))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(data)

    return plan


@pytest.fixture
def history(git, plan):
    """A repository with two commits: `first` has one node, `main` two; the working tree three."""
    git("init", "-q", "-b", "main")
    for body in ("return load()", "return clean(load())"):
        plan(body)
        git("add", ".")
        git("commit", "-q", "-m", body)
    git("tag", "first", "HEAD~1")
    plan("return clean(clean(load()))")


@pytest.fixture
def diff(monkeypatch, capsys):
    """Run `flowc diff`; its exit status, standard output and standard error."""

    def diff(*arguments):
        monkeypatch.setattr(sys, "argv", ["flowc", "diff", *map(str, arguments)])
        status = 0
        try:
            main()
        except SystemExit as ended:
            status = ended.code
        return (status, *capsys.readouterr())

    return diff


@pytest.fixture
def titles(diff):
    """The titles of what a command line compares."""

    def titles(*arguments):
        status, out, err = diff("--format", "json", *arguments)
        assert (status, err) == (0, "")
        return [
            (
                row["old"],
                row["new"],
                row["difference"]["size"]["old"]["nodes"],
                row["difference"]["size"]["new"]["nodes"],
            )
            for row in json.loads(out)["plans"]
        ]

    return titles


@pytest.mark.parametrize(
    ("words", "compared"),
    [
        ([], ("HEAD:{}", "{}", 2, 3)),
        (["first"], ("first:{}", "{}", 1, 3)),
        (["HEAD~1"], ("HEAD~1:{}", "{}", 1, 3)),
        (["first", "main"], ("first:{}", "main:{}", 1, 2)),
        (["main", "first"], ("main:{}", "first:{}", 2, 1)),
        (["first..main"], ("first:{}", "main:{}", 1, 2)),
        (["first.."], ("first:{}", "HEAD:{}", 1, 2)),
        (["..first"], ("HEAD:{}", "first:{}", 2, 1)),
        ([PLAN], ("HEAD:{}", "{}", 2, 3)),
        (["plans"], ("HEAD:{}", "{}", 2, 3)),
        (["."], ("HEAD:{}", "{}", 2, 3)),
        (["first", PLAN], ("first:{}", "{}", 1, 3)),
        (["first", "plans/"], ("first:{}", "{}", 1, 3)),
        (["first", "--", PLAN], ("first:{}", "{}", 1, 3)),
        ([PLAN, "first"], ("{}", "first:{}", 3, 1)),
        (["first", "main", PLAN], ("first:{}", "main:{}", 1, 2)),
        (["first..main", "plans"], ("first:{}", "main:{}", 1, 2)),
        ([f"first:{PLAN}"], ("first:{}", "{}", 1, 3)),
        ([f"first:./{PLAN}"], ("first:{}", "{}", 1, 3)),
        ([f"first:{PLAN}", PLAN], ("first:{}", "{}", 1, 3)),
        ([PLAN, f"first:{PLAN}"], ("{}", "first:{}", 3, 1)),
        ([f"first:{PLAN}", f"main:{PLAN}"], ("first:{}", "main:{}", 1, 2)),
        ([f"first:{PLAN}", "main"], ("first:{}", "main:{}", 1, 2)),
        (["first", f"main:{PLAN}"], ("first:{}", "main:{}", 1, 2)),
    ],
)
def test_what_a_command_line_means(history, titles, words, compared):
    old, new, *nodes = compared
    assert titles(*words) == [(old.format(PLAN), new.format(PLAN), *nodes)]


def test_three_dots_leave_out_what_the_other_branch_did(history, git, plan, titles):
    git("checkout", "-q", "-f", "-b", "mine", "first")
    plan("return fit([])", "plans/mine.plan.jsonl")
    git("add", ".")
    git("commit", "-q", "-m", "mine")
    assert len(titles("main..mine")) == 2
    (row,) = titles("main...mine")
    assert row == (None, "mine:plans/mine.plan.jsonl", 0, 1)


def test_two_files_need_no_repository(plan, titles, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    plan("return load()", "a.jsonl")
    plan("return clean(load())", "b.jsonl")
    assert titles("a.jsonl", "b.jsonl") == [("a.jsonl", "b.jsonl", 1, 2)]


def test_plans_that_come_go_and_move(history, git, plan, titles, diff):
    plan("a = load()\nb = clean(a)\nreturn fit(b)", "plans/moved.plan.jsonl")
    plan("return [split([]), split([]), fit([])]", "plans/gone.plan.jsonl")
    plan("return load()", "plans/staged.plan.jsonl")
    git("add", "plans/moved.plan.jsonl", "plans/gone.plan.jsonl")
    git("commit", "-q", "-m", "more", "plans/moved.plan.jsonl", "plans/gone.plan.jsonl")
    git("mv", "plans/moved.plan.jsonl", "plans/there.plan.jsonl")
    git("rm", "-q", "plans/gone.plan.jsonl")
    git("add", ".")
    plan("return 1", "plans/no_nodes.plan.jsonl")
    plan("return fit([])", "plans/new file.plan.jsonl")
    assert titles() == [
        ("HEAD:plans/gone.plan.jsonl", None, 3, 0),
        (f"HEAD:{PLAN}", PLAN, 2, 3),
        (None, "plans/new file.plan.jsonl", 0, 1),
        (None, "plans/no_nodes.plan.jsonl", 0, 0),
        (None, "plans/staged.plan.jsonl", 0, 1),
        ("HEAD:plans/moved.plan.jsonl", "plans/there.plan.jsonl", 3, 3),
    ]
    out = diff()[1]
    assert (
        "plans/gone.plan.jsonl: HEAD -> working tree\nno plan any more: it had 3 nodes, 3 sites, 1 level\n"
        in out
    )
    assert "plans/new file.plan.jsonl: HEAD -> working tree\na new plan: 1 node" in out
    assert "HEAD:plans/moved.plan.jsonl -> plans/there.plan.jsonl\nno change\n" in out + "\n"


def test_ignored_and_other_files_are_left_alone(history, git, plan, titles):
    plan("return load()", "ignored.plan.jsonl")
    plan("return load()", "other.jsonl")
    Path(".gitignore").write_text("ignored.plan.jsonl\n")
    assert [new for _, new, *_ in titles()] == [PLAN]


def test_from_a_folder_below(history, titles, monkeypatch):
    monkeypatch.chdir("plans")
    name = "main.plan.jsonl"
    everything = [(f"HEAD:{PLAN}", PLAN, 2, 3)]
    assert titles() == titles(".") == titles(name) == titles("HEAD", name) == everything
    assert titles(f"HEAD:./{name}") == titles(f"HEAD:{PLAN}") == [(f"HEAD:{PLAN}", name, 2, 3)]


def test_exit_status(history, diff):
    assert diff()[0] == 0
    assert diff("--exit-code")[0] == 1
    assert diff("--exit-code", "main", "main")[:2] == (0, "no plan changed\n")
    assert diff("--exit-code", PLAN, PLAN)[0] == 0


def test_formats(history, diff):
    assert diff()[1].startswith(
        f"{PLAN}: HEAD -> working tree\n1 site added; 1 node added; 1 output changed; 1 of 3 nodes runs"
    )
    assert diff("--format", "markdown")[1].startswith(f"#### `{PLAN}: HEAD -> working tree`\n1 site added")
    assert diff("--format", "markdown", "main", "main")[1] == "no plan changed\n"
    assert json.loads(diff("--format", "json", "main", "main")[1]) == {"plans": []}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nope"], "FC232", "`nope` is neither a file nor a revision"),
        (["first", "nope"], "FC232", "`nope` is neither a file nor a revision"),
        (["first..nope"], "FC232", "there is no revision `nope`"),
        ([f"nope:{PLAN}"], "FC232", "there is no revision `nope`"),
        (["", "first"], "FC232", "`` is neither a file nor a revision"),
        (["plans/mian.plan.jsonl"], "FC232", f"did you mean `{PLAN}`?"),
        (["--", "--output=x"], "FC232", "`--output=x` is neither"),
        (["--", "-h"], "FC232", "`-h` is neither"),
        (["..--output=x"], "FC232", "there is no revision `--output=x`"),
        (["--", "--help:x"], "FC232", "there is no revision `--help`"),
        ([":(top)"], "FC232", "`:(top)` is neither"),
        (["first:plans/mian.plan.jsonl"], "FC233", f"did you mean `first:{PLAN}`?"),
        (["first:plans"], "FC233", "there is no `plans` in `first`"),
        (["first", "new.plan.jsonl"], "FC233", "there is no `new.plan.jsonl` in `first`"),
        (["first", os.devnull], "FC231", f"`{os.devnull}` lies outside the git repository"),
        (["main", "flow.py"], "FC202", "`main:flow.py` is not a plan"),
    ],
)  # fmt: skip
def test_refusals(history, diff, plan, words, code, said):
    plan("return load()", "new.plan.jsonl")
    status, out, err = diff(*words)
    assert (status, out) == (1, "")
    assert err.startswith(f"error[{code}]: ")
    assert said in err
    assert not Path("x").exists()


@pytest.mark.parametrize(
    "words", [["a:b", "c:d", "e:f"], ["main", "first", "main"], ["plans", "plans"], ["main..first", "main"]]
)
def test_wrong_usage(history, diff, words):
    status, out, err = diff(*words)
    assert (status, out) == (2, "")
    assert "--help" in err


def test_a_plan_that_cannot_be_read_does_not_hide_the_others(history, diff):
    Path("plans/bad.plan.jsonl").write_text("{}\n")
    status, out, err = diff()
    assert status == 1
    assert out.startswith(f"{PLAN}: HEAD -> working tree\n")
    assert err.startswith("error[FC202]: `plans/bad.plan.jsonl` is not a plan\n")


def test_outside_of_a_repository(git, diff, plan):
    plan("return load()", "a.jsonl")
    for words in ([], ["main"], ["a.jsonl"], ["main:a.jsonl"], ["a.jsonl", "b.jsonl"]):
        status, out, err = diff(*words)
        assert (status, out) == (1, "")
        assert err.startswith("error[FC231]: ")


def test_a_repository_without_commits(git, diff, plan):
    git("init", "-q")
    plan("return load()")
    assert diff()[2].startswith("error[FC232]: there is no revision `HEAD`\n")
    assert diff("plans/nope")[2].startswith("error[FC232]: `plans/nope` is neither a file nor a revision\n")


def test_without_git(history, diff, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert diff()[2].startswith("error[FC234]: git is not installed, or not on PATH\n")


def test_a_shallow_clone_is_told_to_fetch_more(history, git, diff, monkeypatch, tmp_path):
    git("clone", "-q", "--depth", "1", f"file://{tmp_path}", "shallow")
    monkeypatch.chdir("shallow")
    assert "fetch-depth: 0" in diff("first...HEAD")[2]


def test_git_shows_plans_as_lines(history, git):
    Path(".gitattributes").write_text("*.plan.jsonl diff=flowc\n")
    git("config", "diff.flowc.textconv", "flowc diff --textconv")
    shown = [
        line for line in git("diff", "--", "plans").splitlines() if line[0] in "+-" and line[1] not in "+-"
    ]
    assert [line.partition(" code")[0] for line in shown] == [
        "-result clean",
        "+result clean~2",
        "+site clean~2: ops:clean(data: list[int]) -> list[int]",
        "+node clean~2(data=clean)",
    ]
    assert "+node clean(data=load)" in git("log", "-p", "-1")
