"""`flowrun gc`: what no kept run refers to is removed, beside runs that go on.

Whoever comes to refer to content (a worker that stores it again, a run that is resumed or reuses a result)
has touched it before that can be seen in the log. So nothing is removed that was touched since the oldest of
the running executions began, and what they refer to from before is in the log.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowc.plan.text import counted
from flowrun.core.changes import AnyChange, Opened
from flowrun.core.logged import gather
from flowrun.core.model import Artifact
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.runlog import RunLog, RunRow
from flowrun.shell.store.artifacts import Store
from flowrun.shell.store.content import Damaged
from flowrun.shell.store.files import PARTIAL, remove_left

_CLOCKS_MS = 1000  # that of a file system ticks slowly
_MARGIN_MS = 10 * 60 * 1000  # while something runs: a clock may have been set since it began
_COLLECTED = "collected"  # a file in a run's folder: how long its log was when it was given up
_DAY_MS = 24 * 60 * 60 * 1000


class Retention(msgspec.Struct, frozen=True):
    """Which runs are kept: those of so many days, and so many of each workflow; all, if neither is said."""

    days: float | None = None
    runs: int | None = None

    def kept(self, rows: Sequence[RunRow], now_ms: int) -> set[str]:
        """The names of the runs that are kept. What runs is."""
        if self.days is None and self.runs is None:
            return {row.run for row in rows}
        found = {row.run for row in rows if row.status == "running"}
        if self.days is not None:
            since_ms = now_ms - self.days * _DAY_MS
            found |= {row.run for row in rows if max(row.created_ms, row.ended_ms) >= since_ms}
        of: dict[str, int] = {}
        for row in reversed(rows if self.runs is not None else ()):
            of[row.workflow] = of.get(row.workflow, 0) + 1
            if of[row.workflow] <= (self.runs or 0):
                found.add(row.run)
        return found


class Collected(msgspec.Struct):
    """What was removed, or would be: files and their bytes, what crashes left, and whose results are gone."""

    files: int = 0
    bytes: int = 0
    partial: int = 0
    dropped: list[str] = []
    kept_files: int = 0
    kept_bytes: int = 0


def collect(log: RunLog, retention: Retention, now_ms: int, dry_run: bool = False) -> Collected:
    """Remove what nothing that is kept refers to; `Refused` (FR161) without a log, which alone can tell."""
    home = log.home
    if not (home.folder / "runs.db").is_file():
        hint = "name the folder of the project's runs with --state"
        refuse("FR161", f"there is no run log in `{home.folder}`: what is needed cannot be told", hint=hint)
    rows = log.runs()
    before_ns = _untouched_since_ms(log, rows, now_ms) * 1_000_000
    kept = retention.kept(rows, now_ms)
    holders = [row.run for row in rows if not is_collected(log, row.run)]
    live = {digest for run in holders if run in kept for digest in _needed(log, run)}
    found = Collected(dropped=[run for run in holders if run not in kept])
    if not dry_run:
        found.dropped = [run for run in found.dropped if _drop(log, run)]
    for path in stored(home.store):
        digest, length = path.parent.name + path.name, path.stat().st_size
        if digest not in live and _remove(home.store, digest, before_ns, dry_run):
            found.files, found.bytes = found.files + 1, found.bytes + length
        else:
            found.kept_files, found.kept_bytes = found.kept_files + 1, found.kept_bytes + length
    found.partial = sum(remove_left(path, dry_run) for path in home.store.folder.glob(f"{PARTIAL}*"))
    return found


def is_collected(log: RunLog, run: str) -> bool:
    """Whether what a run made was given up, and it did not go on since."""
    try:
        return (log.home.run_folder(run) / _COLLECTED).read_text() == str(log.length(run))
    except OSError:
        return False


def _untouched_since_ms(log: RunLog, rows: Sequence[RunRow], now_ms: int) -> int:
    """What was not touched since then is of no execution that goes on, or stands in the log."""
    since_ms = now_ms - _CLOCKS_MS
    for row in rows:
        if row.status == "running":
            opened = log.opened(row.run)
            began_ms = opened.at_ms if opened is not None else row.created_ms
            since_ms = min(since_ms, began_ms - _MARGIN_MS)
    return since_ms


def told(found: Collected, dry_run: bool) -> str:
    """What was collected, as text."""
    removed, gave_up = ("would remove", "would give up") if dry_run else ("removed", "gave up")
    lines = [f"{removed} {counted(found.files, 'file')}, {size(found.bytes)}"]
    if found.partial:
        lines[0] += f", and {counted(found.partial, 'file')} that crashes left half written"
    if found.dropped:
        runs = ", ".join(found.dropped[:10]) + (", ..." if len(found.dropped) > 10 else "")
        lines.append(f"{gave_up} {counted(len(found.dropped), 'run')}: {runs}")
    lines.append(f"kept {counted(found.kept_files, 'file')}, {size(found.kept_bytes)}")
    return "\n".join(lines)


def size(amount: int) -> str:
    """Bytes for people."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024  # type: ignore[assignment]
    return f"{amount:.1f} {unit}" if unit != "bytes" else f"{amount} bytes"


def stored(store: Store) -> Iterator[Path]:
    """The files of a store that have their name."""
    for folder in sorted(store.folder.glob("[0-9a-f][0-9a-f]")):
        for path in sorted(folder.iterdir()):
            if len(path.name) == 62:
                yield path


def artifacts_of(changes: Sequence[AnyChange]) -> Iterator[tuple[str, Artifact]]:
    """What nodes made, by name, in the last execution that some changes tell of, and what that kept."""
    openings = [i for i, change in enumerate(changes) if isinstance(change, Opened)]
    for change in changes[openings[-1] :] if openings else ():
        if isinstance(change, Opened):
            for node, was in change.earlier.items():
                if was.artifact is not None:
                    yield node, was.artifact
        artifact = getattr(change, "artifact", None)
        if isinstance(artifact, Artifact):
            yield change.node, artifact  # type: ignore[union-attr] # whatever has an artifact is of a node


def logged_in(changes: Sequence[AnyChange]) -> Iterator[tuple[str, Artifact]]:
    """What nodes logged while they ran, by name, in any execution: the last of each name."""
    for kept in gather(changes).artifacts:
        yield kept.node, kept.artifact


def _needed(log: RunLog, run: str) -> Iterator[str]:
    changes = log.changes(run)
    for _, artifact in (*artifacts_of(changes), *logged_in(changes)):
        with contextlib.suppress(Damaged):  # of what is, nobody can tell what it was made of
            yield from log.home.store.digests(artifact)


def _remove(store: Store, digest: str, before_ns: int, dry_run: bool) -> bool:
    if dry_run:
        return store.path(digest).stat().st_ctime_ns < before_ns
    return store.content.remove(digest, before_ns)


def _drop(log: RunLog, run: str) -> bool:
    """Note that nothing of a run is kept, and remove what it printed; not if somebody goes on with it now."""
    folder = log.home.run_folder(run)
    try:
        lock = RunLock(log.home, run)
    except Refused:
        return False
    (folder / _COLLECTED).write_text(str(log.length(run)))
    for name in ("logs", "scratch"):
        shutil.rmtree(folder / name, ignore_errors=True)
    lock.release()
    return True
