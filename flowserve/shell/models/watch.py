"""Looking at a repository for what has changed, again and again: cheap while nothing has."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import thread_time, time_ns

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.catalog.operations import Refresh
from flowserve.shell.models.aliases import read_aliases
from flowserve.shell.models.repository import look_at, stamps

_Fingerprint = tuple[int, ...]
# What had changed so shortly before it was read may have changed meanwhile: clocks of file systems differ.
_UNSETTLED_NS = 60 * 10**9


class Watch:
    """What was seen of a repository. A model is read again when its folder or one of a version changed."""

    def __init__(self, repository: Path, now_ns: Callable[[], int] = time_ns) -> None:
        """`now_ns` is the clock of file systems, since 1970."""
        self._repository = repository
        self._now_ns = now_ns
        self._seen: dict[str, _Fingerprint] = {}
        self.cpu_s = 0.0
        """What the last look took. Not how long it was: others may have had the processor meanwhile."""
        self._folders: dict[str, tuple[int, ...]] = {}

    def look(self, name: str = "") -> tuple[Refresh | None, list[Diagnostic]]:
        """Return what has changed since the last look, None for nothing, and what is wrong with folders.

        The first look finds all that there is. A model whose folder is wrong stays as it was, and is told of
        once. With a name, that model is read whether it has changed or not.
        """
        began_s, settled_ns = thread_time(), self._now_ns() - _UNSETTLED_NS
        found: dict[str, dict[int, str]] = {}
        aliases: dict[str, dict[str, int]] = {}
        needs: dict[str, dict[int, tuple[str, ...]]] = {}
        problems: list[Diagnostic] = []
        for changed in [name] if name else self._changed(problems):
            try:
                folder = look_at(self._repository, changed)
                if folder is None:
                    found[changed] = {}
                    self._folders.pop(changed, None)
                    self._seen.pop(changed, None)
                    continue
                named = read_aliases(folder)
                found[changed] = stamps(folder)
                needs[changed] = folder.needs
                if self._folders.get(changed) != folder.versions:
                    self._folders[changed] = folder.versions
                    if max(fingerprint := self._fingerprint(changed), default=settled_ns) < settled_ns:
                        self._seen[changed] = fingerprint  # that of new versions, too: it is what was read
                if named is not None:
                    aliases[changed] = named
            except Refused as refused:
                problems += refused.diagnostics
            except OSError:
                continue  # on its way out: the next look sees
        self.cpu_s = thread_time() - began_s
        return (Refresh(found, aliases, needs=needs) if found else None), problems

    def _changed(self, problems: list[Diagnostic]) -> list[str]:
        try:
            with os.scandir(self._repository) as entries:
                names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
        except OSError as error:
            # Not an empty repository: a disk that is away for a moment takes no model out of service.
            message = f"the model repository `{self._repository}` cannot be read: {error.strerror}"
            problems.append(Diagnostic("FS101", message))
            return []
        there = set(names)
        changed = [name for name in self._folders if name not in there]
        for name in names:
            fingerprint = self._fingerprint(name)
            if fingerprint and self._seen.get(name) != fingerprint:
                self._seen[name] = fingerprint
                changed.append(name)
        return changed

    def _fingerprint(self, name: str) -> _Fingerprint:
        """When the folders of a model changed: files come and go in them by name.

        What counts is when a folder was put where it is, too: one that is moved keeps its time of change.
        """
        folder = f"{self._repository}/{name}"
        with suppress(OSError):
            times = [os.stat(folder).st_ctime_ns]
            for version in self._folders.get(name, ()):
                with suppress(OSError):
                    times.append(os.stat(f"{folder}/{version}").st_ctime_ns)
            return tuple(times)
        return ()
