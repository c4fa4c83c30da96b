"""What a process serves: names and tags to loaded models, as one snapshot.

A `Table` never changes; a process moves from one to the next, and a request keeps the model that it got. A
`Version` is one published version as this process knows it: the same one stands in every table that has it,
and its model may come and go where models are loaded when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.wording import cut, listed


class Version:
    """A version and, while it is loaded, its model. `uses` counts what was resolved to it.

    `members` are those that the steps of a pipeline run, or why there are none.
    """

    __slots__ = ("key", "members", "model", "tier", "uses")

    def __init__(self, key: Key, model: Model | None = None, tier: int = 1) -> None:
        self.key = key
        self.model = model
        self.tier = tier
        self.uses = 0
        self.members: tuple[Version, ...] | Refused = ()


class Cold(Exception):
    """A version that is served but not in memory: whoever asked for it has to have it loaded."""

    def __init__(self, version: Version) -> None:
        self.version = version
        super().__init__(str(version.key))


class Table:
    """An immutable snapshot. Without a tag a name means its `default` alias, or else its highest version."""

    def __init__(
        self,
        versions: Iterable[Version],
        aliases: Mapping[str, Mapping[str, int]] | None = None,
        generation: int = 0,
    ) -> None:
        self.generation = generation
        self._aliases = {name: dict(of) for name, of in (aliases or {}).items() if of}
        self._versions: dict[str, dict[int, Version]] = {}
        for version in sorted(versions, key=lambda version: version.key):
            self._versions.setdefault(version.key.name, {})[version.key.version] = version
        # By what a URL says: `iris` with a tag or none, and `iris@production`.
        self._found: dict[str, dict[str, Version]] = {}
        for name, of in self._versions.items():
            pointed = {alias: of[number] for alias, number in self._aliases.get(name, {}).items()}
            latest = of[max(of)]
            numbered = {str(number): version for number, version in of.items()}
            self._found[name] = {"": pointed.get("default", latest), **pointed, **numbered}
            for alias, version in pointed.items():
                self._found[f"{name}@{alias}"] = {"": version}

    def __iter__(self) -> Iterator[Version]:
        """By name, then version."""
        return (version for of in self._versions.values() for version in of.values())

    def defaults(self) -> list[Version]:
        """What every name means without a tag, by name."""
        return [self._found[name][""] for name in self._versions]

    def resolve(self, name: str, tag: str = "") -> Model:
        """Return the model of a name and a tag: "", a version or an alias.

        Raises `Refused` FS202, which lists what there is, and `Cold` for a version that is not in memory.
        """
        # Not `self.version`: a call costs as much as the look-up.
        try:
            version = self._found[name][tag]
        except KeyError:
            version = self._find(name, tag)
        version.uses += 1
        if version.model is None:
            raise Cold(version)
        return version.model

    def version(self, name: str, tag: str = "") -> Version:
        """Return the version of a name and a tag, in memory or not. Raises `Refused` FS202."""
        return self._found.get(name, {}).get(tag) or self._find(name, tag)

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, lowest first. Raises `Refused` FS202 where there is none."""
        return [str(number) for number in self._versions[self._named(name)]]

    def aliases(self, name: str) -> dict[str, int]:
        """Return the aliases of a model. Raises `Refused` FS202 where there is none."""
        return dict(self._aliases.get(self._named(name), {}))

    def _named(self, name: str) -> str:
        bare = name.partition("@")[0]
        if bare not in self._versions:
            has = listed(list(self._versions)) or "none"
            refuse("FS202", f"there is no model `{cut(bare)}`; the server has {has}")
        return bare

    def _find(self, name: str, tag: str) -> Version:
        """The slow way: `iris@7`, and everything that is not there."""
        bare = self._named(name)
        said = name[len(bare) + 1 :]
        if said and tag:
            refuse("FS202", f"`{cut(name)}` names a version already, and `{cut(tag)}` is another")
        tag = tag or said
        if tag and (found := self._found[bare].get(tag)):
            return found
        has = listed([str(number) for number in self._versions[bare]])
        aliases = listed(sorted(self._aliases.get(bare, {})))
        also = f", and the aliases {aliases}" if aliases else ""
        refuse("FS202", f"model `{bare}` has no version `{cut(tag)}`; it has {has}{also}")
