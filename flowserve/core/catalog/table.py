"""What a process serves: names and tags to loaded models, as one snapshot.

A `Table` never changes; a process moves from one to the next, and a request keeps the model that it got.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from flowc.plan.diagnostics import refuse
from flowserve.core.catalog.split import Split
from flowserve.core.catalog.version import Version
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.wording import cut, listed


class Table:
    """An immutable snapshot. Without a tag a name means its `default` alias, or else its highest version."""

    def __init__(
        self,
        versions: Iterable[Version],
        aliases: Mapping[str, Mapping[str, int]] | None = None,
        generation: int = 0,
        splits: Iterable[Split] = (),
        failed: Mapping[str, Mapping[int, str]] | None = None,
    ) -> None:
        """`splits` are the rollouts of aliases, `failed` why versions are not here that aliases may name."""
        self.generation = generation
        self.splits = tuple(splits)
        self._aliases = {name: dict(of) for name, of in (aliases or {}).items() if of}
        self._failed = failed or {}
        self._versions: dict[str, dict[int, Version]] = {}
        for version in sorted(versions, key=lambda version: version.key):
            self._versions.setdefault(version.key.name, {})[version.key.version] = version
        # By what a URL says: `iris` with a tag or none, and `iris@production`.
        self._found: dict[str, dict[str, Version]] = {}
        for name, of in self._versions.items():
            named = self._aliases.get(name, {})
            pointed = {alias: of[number] for alias, number in named.items() if number in of}
            numbered = {str(number): version for number, version in of.items()}
            self._found[name] = {**pointed, **numbered}
            if "default" not in named:
                self._found[name][""] = of[max(of)]
            elif "default" in pointed:
                self._found[name][""] = pointed["default"]
            for alias, version in pointed.items():
                self._found[f"{name}@{alias}"] = {"": version}
        # The same where nothing is rolled out.
        self._routes: dict[str, dict[str, Version | Split]] = dict(self._found)  # type: ignore[arg-type]
        for split in self.splits:
            found = self._routes[split.name] = self._routes[split.name] | {split.alias: split}
            if split.alias == "default":
                found[""] = split
            self._routes[f"{split.name}@{split.alias}"] = {"": split}

    def __iter__(self) -> Iterator[Version]:
        """By name, then version."""
        return (version for of in self._versions.values() for version in of.values())

    def defaults(self) -> list[Version]:
        """What every name means without a tag that means something, by name."""
        return [found[""] for name in self._versions if "" in (found := self._found[name])]

    def route(self, name: str, tag: str = "") -> Model:
        """Return the model that a request for a name and a tag is for: "", a version or an alias.

        Raises `Refused` FS202, which lists what there is, and FS103 for what failed to load; `Cold` for a
        version that is not in memory, and `Undecided` where a rollout has a say.
        """
        # Not `self.version`: a call costs as much as the look-up.
        try:
            version = self._routes[name][tag]
        except KeyError:
            version = self._find(name, tag)
        version.uses += 1
        if version.model is None:
            version.absent()
        return version.model

    def resolve(self, name: str, tag: str = "") -> Model:
        """Return the model that a name and a tag stand for, whatever is rolled out. Raises as `route`."""
        version = self.version(name, tag)
        version.uses += 1
        if version.model is None:
            version.absent()
        return version.model

    def version(self, name: str, tag: str = "") -> Version:
        """Return the version of a name and a tag, in memory or not. Raises `Refused` FS202 and FS103."""
        return self._found.get(name, {}).get(tag) or self._find(name, tag)

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model, lowest first. Raises `Refused` FS202 where there is none."""
        return [str(number) for number in self._versions[self._named(name)]]

    def keys(self, name: str = "", tag: str = "") -> list[Key]:
        """Return the versions that are meant: of all models, all of one, or one. Raises `Refused` FS202."""
        if not name:
            return [version.key for version in self]
        if tag or "@" in name:
            return [self.version(name, tag).key]
        return [version.key for version in self._versions[self._named(name)].values()]

    def aliases(self, name: str) -> dict[str, int]:
        """Return the aliases of a model. Raises `Refused` FS202 where there is none."""
        return dict(self._aliases.get(self._named(name), {}))

    def _named(self, name: str) -> str:
        bare = name.partition("@")[0]
        if bare not in self._versions:
            if failed := self._failed.get(bare):
                refuse("FS103", f"no version of model `{bare}` serves: {failed[max(failed)]}")
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
        self._refuse_failed(bare, tag)
        has = listed([str(number) for number in self._versions[bare]])
        aliases = listed(sorted(self._aliases.get(bare, {})))
        also = f", and the aliases {aliases}" if aliases else ""
        what = "version" if tag.isdigit() else "version or alias"
        refuse("FS202", f"model `{bare}` has no {what} `{cut(tag)}`; it has {has}{also}")

    def _refuse_failed(self, name: str, tag: str) -> None:
        """Raise `Refused` FS103 where a tag means a version that failed: nobody gets another in its place."""
        named = self._aliases.get(name, {}).get(tag or "default")
        for number, reason in self._failed.get(name, {}).items():
            if str(number) == tag:
                refuse("FS103", reason)
            if number == named:
                alias = tag or "default"
                message = f"`{name}@{alias}` names version {number}, which does not serve: {reason}"
                refuse("FS103", message)
