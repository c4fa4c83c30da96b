"""Plans in the history of a git repository. Git is asked as a subprocess: no shell, nothing is changed.

What a user calls a revision is never an option to git, and goes no further than `rev-parse --verify`, which
makes a commit's hash of it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from flowc.plan.diagnostics import refuse

_PLANS = ":(top,glob)**/*.plan.jsonl"


class Moved(NamedTuple):
    """A plan's path in two states of a repository; "" where it is not there."""

    old: str
    new: str


def repository(folder: Path, problem: str = "this is no git repository") -> Path:
    """The top folder of the working tree that a folder belongs to; `Refused` (FC231) if to none."""
    done = _git(folder, "rev-parse", "--show-toplevel")
    if done.returncode == 0:
        return Path(os.fsdecode(done.stdout).removesuffix("\n"))
    said = done.stderr.decode(errors="replace").strip()
    if "not a git repository" in said:
        refuse(
            "FC231",
            problem,
            hint="to compare two files, give both: `flowc diff OLD.plan.jsonl NEW.plan.jsonl`",
        )
    refuse("FC231", "git does not open the repository here", notes=[said])


def find_commit(top: Path, revision: str) -> str:
    """The hash of the commit that a revision names, or "" if it names none."""
    done = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    return done.stdout.decode().strip() if done.returncode == 0 else ""


def commit(top: Path, revision: str) -> str:
    """The hash of the commit that a revision names; `Refused` (FC232) if it names none."""
    found = find_commit(top, revision)
    if not found:
        refuse("FC232", f"there is no revision `{revision}`", hint=missing_hint(top))
    return found


def merge_base(top: Path, one: str, other: str) -> str:
    """The best common ancestor of two commits, given by hash; `Refused` (FC232) if there is none."""
    done = _git(top, "merge-base", one, other)
    if done.returncode != 0:
        refuse("FC232", "the two revisions have no common ancestor", hint=missing_hint(top))
    return done.stdout.decode().strip()


def blob(top: Path, commit: str, path: str) -> bytes | None:
    """A file's content in a commit, by its path from the top folder; None if there is no such file."""
    done = _git(top, "cat-file", "blob", f"{commit}:{path}")
    return done.stdout if done.returncode == 0 else None


def changed_plans(top: Path, old: str, new: str) -> list[Moved]:
    """The plans (`*.plan.jsonl`) that differ between two commits, in order of path.

    Without `new`, between `old` and the working tree, with the files that git does not ignore.
    """
    options = ("--name-status", "-z", "--find-renames", "--no-ext-diff", "--no-textconv", "--no-color")
    done = _demand(top, "diff", *options, old, *([new] if new else []), "--", _PLANS)
    fields = iter(done.split("\0")[:-1])
    found = []
    for status in fields:
        path = next(fields)
        moved_to = next(fields) if status[0] in "RC" else path
        found.append(Moved("" if status == "A" else path, "" if status == "D" else moved_to))
    if not new:
        untracked = _demand(top, "ls-files", "--others", "--exclude-standard", "-z", "--", _PLANS)
        found += [Moved("", path) for path in untracked.split("\0")[:-1]]
    return sorted(found, key=lambda moved: moved.new or moved.old)


def plans(top: Path, commit: str) -> list[str]:
    """The paths of all plans (`*.plan.jsonl`) in a commit, given by hash; none if it is not there."""
    done = _git(top, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit)
    return [name for name in os.fsdecode(done.stdout).split("\0") if name.endswith(".plan.jsonl")]


def missing_hint(top: Path) -> str:
    """What to do about a missing revision. A shallow clone, as CI makes them, has no other branches."""
    done = _git(top, "rev-parse", "--is-shallow-repository")
    if done.stdout.strip() == b"true":
        return "this clone is shallow: fetch more with `git fetch --unshallow`, or `fetch-depth: 0` in CI"
    return "`git branch --all` and `git tag` list what there is"


def _demand(top: Path, *arguments: str) -> str:
    done = _git(top, *arguments)
    if done.returncode != 0:
        refuse("FC234", f"`git {arguments[0]}` failed", notes=[done.stderr.decode(errors="replace").strip()])
    return os.fsdecode(done.stdout)


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Ask git; it says what is wrong in English, asks nobody anything and takes no locks."""
    environment = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True
        )
    except FileNotFoundError:
        refuse("FC234", "git is not installed, or not on PATH", hint="install git, or compare two files")
    except OSError as error:
        refuse("FC234", f"git cannot be run: {error.strerror}")
