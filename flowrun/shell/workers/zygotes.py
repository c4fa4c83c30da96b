"""Which zygote forks a worker: one for each set of modules that operators import, and each made of another.

A new one is forked from the one that has most of what it needs, with all else that this has imported by then;
so torch is loaded once, as a rule. Whoever is ready to run does not wait for what others import: meanwhile
zygotes that have done their imports go on to serve.
"""

from __future__ import annotations

from collections.abc import Callable

from flowrun.shell.workers.processes import Stream, Worker

MOST = 16  # zygotes; what needs a further one has its workers import the rest


class Zygote:
    """A zygote: what it has imported or is about to, who forked it, and workers that it has forked ahead."""

    def __init__(self, number: int, has: frozenset[str], parent: Zygote | None) -> None:
        self.number = number
        self.has = has
        self.parent = parent
        self.pid = 0  # as soon as it is known
        self.is_loaded = False
        self.untold: dict[str, int] = {}  # what importing took, until that is told
        self.spares: list[Worker] = []
        self.stream: Stream

    def is_below(self, other: Zygote) -> bool:
        """Whether this is the other one, or came of it."""
        return self is other or (self.parent is not None and self.parent.is_below(other))

    def tell(self) -> dict[str, int]:
        """What importing took for it and for those it came of, told once."""
        told = self.parent.tell() if self.parent is not None else {}
        told, self.untold = {**told, **self.untold}, {}
        return told


class Zygotes:
    """All that there are. `branch` has a zygote fork another that imports modules, and returns that."""

    def __init__(self, first: Zygote, branch: Callable[[Zygote, tuple[str, ...]], Zygote]) -> None:
        self.first = first
        self.all = [first]
        self._branch = branch
        self._foreseen: list[tuple[str, ...]] = []

    def get(self, imports: tuple[str, ...]) -> Zygote:
        """The one to fork a worker of that needs these modules now."""
        return self._find(imports) or self._make(imports)

    def foresee(self, imports: tuple[str, ...]) -> Zygote | None:
        """The one to fork a worker of that will need these modules; none if that is not known yet.

        One after the other, so that what they have in common is imported once.
        """
        if found := self._find(imports):
            return found
        if all(zygote.is_loaded for zygote in self.all):
            return self._make(imports)
        self._foreseen.append(imports)
        return None

    def loaded(self, zygote: Zygote, has: frozenset[str], imports: dict[str, int]) -> list[Zygote]:
        """A zygote has done its imports: those that can be forked of by now, of what was foreseen."""
        zygote.is_loaded, zygote.has, zygote.untold = True, has, imports
        foreseen, self._foreseen = self._foreseen, []
        return [found for imports in foreseen if (found := self.foresee(imports)) is not None]

    def remove(self, lost: Zygote) -> None:
        """A zygote is gone, and all that came of it."""
        for zygote in self.all:
            if zygote.is_below(lost):
                zygote.stream.close()
        self.all = [zygote for zygote in self.all if not zygote.is_below(lost)]

    def _find(self, imports: tuple[str, ...]) -> Zygote | None:
        if not imports:
            return self.first
        fit = [zygote for zygote in self.all if zygote.has.issuperset(imports)]
        # The newest: it has most, maybe also what operators import without saying so.
        return max(fit, key=lambda zygote: (zygote.is_loaded, zygote.number), default=None)

    def _make(self, imports: tuple[str, ...]) -> Zygote:
        wanted = frozenset(imports)

        def merit(zygote: Zygote) -> tuple[int, int]:
            return (len(zygote.has & wanted), zygote.number)

        # To wait for modules that are needed anyway costs nothing.
        nearest = max((z for z in self.all if z.is_loaded or z.has <= wanted), key=merit, default=self.first)
        if len(self.all) >= MOST:
            return nearest
        made = self._branch(nearest, tuple(name for name in imports if name not in nearest.has))
        self.all.append(made)
        return made
