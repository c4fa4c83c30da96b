"""Which versions of packages are installed, found without importing them.

The folder of an installed distribution's metadata is called after its name and version. Only where a package
is called otherwise than its distribution (`sklearn` is in scikit-learn) are the lists of files looked into.
"""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_METADATA = r"(.+?)-([^-]+)(-py[\d.]+)?\.(dist|egg)-info"


def installed(packages: Iterable[str]) -> dict[str, str]:
    """The versions of top-level modules by name, sorted; of those that come with a distribution.

    A module that several distributions share has the versions of all: `google-auth 2.0, protobuf 5.1`.
    """
    wanted = sorted(set(packages))
    if not wanted:
        return {}
    found = list(_distributions())
    by_name = {one.name: one.version for one in reversed(found)}  # what stands first on the path counts
    versions = {}
    for package in wanted:
        version = by_name.get(_normal(package)) or _version_of_owners(package, found)
        if version:
            versions[package] = version
    return versions


class _Distribution(NamedTuple):
    folder: str
    name: str
    version: str
    metadata: str


def _distributions() -> Iterator[_Distribution]:
    """Everything that is installed on the import path."""
    for folder in dict.fromkeys(sys.path):
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            continue
        for name in names:
            fits = re.fullmatch(_METADATA, name)
            if fits is not None:
                yield _Distribution(folder, _normal(fits[1]), fits[2], name)


def _version_of_owners(package: str, distributions: list[_Distribution]) -> str:
    """The version of the distribution that installed a module of another name; of all if several did."""
    for folder in dict.fromkeys(one.folder for one in distributions):
        alone = os.path.isfile(os.path.join(folder, package, "__init__.py"))
        if alone:
            beginnings = [f"{package}/__init__.py,"]
        elif os.path.isdir(os.path.join(folder, package)):  # distributions may share it
            beginnings = [f"{package}/"]
        elif any(name.startswith(f"{package}.") for name in os.listdir(folder or ".")):
            beginnings = [f"{package}.py,", f"{package}.cpython-", f"{package}.abi3.so,"]
        else:
            continue
        # Most distributions are called after what they install. It is among the others, or has company.
        here = [one for one in distributions if one.folder == folder]
        here.sort(key=lambda one: os.path.isdir(os.path.join(folder, one.name.replace("-", "_"))))
        owners: Iterator[_Distribution] = (one for one in here if _has_file(one, beginnings))
        if alone:
            owners = itertools.islice(owners, 1)  # the rest of the lists need not be read
        named = sorted((one.name, one.version) for one in owners)
        if named:
            return named[0][1] if len(named) == 1 else ", ".join(map(" ".join, named))
    return ""


def _has_file(distribution: _Distribution, beginnings: list[str]) -> bool:
    """Whether a distribution installed a file whose entry begins so."""
    path = os.path.join(distribution.folder, distribution.metadata, "RECORD")
    try:
        with open(path, "rb") as file:
            record = b"\n" + file.read()
    except OSError:
        return False
    return any(f"\n{beginning}".encode() in record for beginning in beginnings)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
