"""What `flowc diff` compares: the words on its command line as pairs of plans, in files and in revisions."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn, assert_never

from flowc.plan.codec import decode, read
from flowc.plan.diagnostics import refuse
from flowc.plan.model import Plan
from flowc.review import revisions


class File(NamedTuple):
    """A file, also one that is no regular file: `<(...)` of a shell."""

    path: Path


class Folder(NamedTuple):
    """A folder: every plan in it and below."""

    path: Path


class Revision(NamedTuple):
    """A commit, by whatever name git knows it."""

    name: str


class Range(NamedTuple):
    """`OLD..NEW`; with three dots, what NEW changed since it left OLD."""

    old: str
    new: str
    since_fork: bool


class InRevision(NamedTuple):
    """`REV:PATH`, as git has it: from the top folder, or `./PATH` from here."""

    revision: str
    path: str


Word = File | Folder | Revision | Range | InRevision  # what a word on the command line can mean


class Side(NamedTuple):
    """A plan in a revision, or in a file if that is ""; without `load`, there is none."""

    revision: str
    path: str
    load: Callable[[], Plan] | None

    @property
    def name(self) -> str:
        """As it would be given on the command line."""
        return f"{self.revision}:{self.path}" if self.revision else self.path


class Pair(NamedTuple):
    """Two sides to compare."""

    old: Side
    new: Side

    @property
    def title(self) -> str:
        """Which plan, and which two states of it."""
        if self.old.path != self.new.path:
            return f"{self.old.name} -> {self.new.name}"
        old, new = (side.revision or "working tree" for side in self)
        return f"{self.old.path}: {old} -> {new}"


def pairs(words: Sequence[str]) -> list[Pair]:
    """What is to be compared. Exits with status 2 where words do not go together."""
    since_fork = False
    match [_meaning(word) for word in words]:
        case [File() as old, File() as new]:
            return [Pair(_file(old.path), _file(new.path))]
        case [InRevision() as old]:
            return [Pair(_in_revision(old), _file(_working_file(old)))]
        case [(File() | InRevision() | Revision()) as old, InRevision() as new]:
            return [Pair(_beside(old, new), _in_revision(new))]
        case [InRevision() as old, (File() | Revision()) as new]:
            return [Pair(_in_revision(old), _beside(new, old))]
        case [(File() | Folder()) as limit, Revision() as old]:
            return [Pair(new, old) for old, new in _between(old.name, "", [limit])]
        case [Range() as span, *limits]:
            old_name, new_name, since_fork = span.old or "HEAD", span.new or "HEAD", span.since_fork
        case [Revision() as old, Revision() as new, *limits]:
            old_name, new_name = old.name, new.name
        case [Revision() as old, *limits]:
            old_name, new_name = old.name, ""
        case [] | [File() | Folder()] as limits:
            old_name, new_name = "HEAD", ""
        case _:
            _misuse(words)
    paths = [limit for limit in limits if isinstance(limit, (File, Folder))]
    if len(paths) < len(limits):
        _misuse(words)
    return _between(old_name, new_name, paths, since_fork)


def _misuse(words: Sequence[str]) -> NoReturn:
    print(f"flowc diff: cannot compare {' with '.join(words)}; see flowc diff --help", file=sys.stderr)
    sys.exit(2)


def _meaning(word: str) -> Word:
    """What a word means. What is there as a file or folder is one, whatever else it could be."""
    path = Path(word)
    if word and path.exists():
        return Folder(path) if path.is_dir() else File(path)
    if ".." in word and not word.startswith("../") and "/../" not in word and ":" not in word:
        old, dots, new = word.partition("..." if "..." in word else "..")
        return Range(old, new, len(dots) == 3)
    if ":" in word and not word.startswith(":"):
        return InRevision(*word.split(":", 1))
    top = revisions.repository(Path(), f"there is no file `{word}`, and for a revision no git repository")
    if revisions.find_commit(top, word):
        return Revision(word)
    close = difflib.get_close_matches(word, revisions.plans(top, "HEAD"), 1) if "/" in word else ()
    hint = f"did you mean `{close[0]}`?" if close else revisions.missing_hint(top)
    refuse("FC232", f"`{word}` is neither a file nor a revision", hint=hint)


def _between(old: str, new: str, limits: Sequence[File | Folder], since_fork: bool = False) -> list[Pair]:
    """Plans in two revisions, or in one and the working tree: the files of `limits`, and what changed."""
    top = revisions.repository(Path())
    commits = revisions.commit(top, old), revisions.commit(top, new) if new else ""
    if since_fork:
        commits = revisions.merge_base(top, *commits), commits[1]
        old = commits[0][:12]

    def side(path: str, which: int, is_there: bool = True) -> Side:
        name = (old, new)[which]
        if not is_there:
            return Side(name, path, None)
        return _committed(top, name, commits[which], path) if name else _file(top / path, path)

    files = [_path_in(top, limit.path) for limit in limits if isinstance(limit, File)]
    found = [Pair(side(path, 0), side(path, 1)) for path in files]
    folders = [_path_in(top, limit.path) for limit in limits if isinstance(limit, Folder)]
    if files and not folders:
        return found
    for moved in revisions.changed_plans(top, *commits):
        path = moved.new or moved.old
        if path not in files and (not folders or any(_is_below(path, folder) for folder in folders)):
            before, after = side(moved.old or path, 0, bool(moved.old)), side(path, 1, bool(moved.new))
            found.append(Pair(before, after))
    return found


def _is_below(path: str, folder: str) -> bool:
    return folder == "." or path.startswith(f"{folder}/")


def _beside(word: File | Revision | InRevision, other: InRevision) -> Side:
    """One side of two; a revision alone is of the other side's path."""
    match word:
        case File(path):
            return _file(path)
        case Revision(name):
            return _in_revision(InRevision(name, other.path))
        case InRevision():
            return _in_revision(word)
        case _:
            assert_never(word)


def _file(path: Path, shown: str = "") -> Side:
    near = os.path.relpath(path) if shown else os.fspath(path)
    return Side("", shown or near, lambda: read(near))


def _in_revision(word: InRevision) -> Side:
    top = revisions.repository(Path())
    name = word.revision or "HEAD"
    return _committed(top, name, revisions.commit(top, name), _path_of(top, word))


def _working_file(word: InRevision) -> Path:
    top = revisions.repository(Path())
    return Path(os.path.relpath(top / _path_of(top, word)))


def _path_of(top: Path, word: InRevision) -> str:
    return _path_in(top, Path(word.path)) if word.path.startswith(("./", "../")) else word.path


def _committed(top: Path, name: str, commit: str, path: str) -> Side:
    def load() -> Plan:
        data = revisions.blob(top, commit, path)
        if data is None:
            close = difflib.get_close_matches(path, revisions.plans(top, commit), 1, cutoff=0.8)
            hint = (
                f"did you mean `{name}:{close[0]}`?" if close else "without a path, new plans are told, too"
            )
            refuse("FC233", f"there is no `{path}` in `{name}`", hint=hint)
        return decode(data, f"{name}:{path}")

    return Side(name, path, load)


def _path_in(top: Path, path: Path) -> str:
    """A path from the top folder of a repository."""
    inside = os.path.relpath(path.parent.resolve() / path.name, top.resolve())
    if inside.startswith("../"):
        refuse("FC231", f"`{path}` lies outside the git repository `{top}`", hint="change to its folder")
    return inside
