"""New projects: `flowc/template` with the project's name filled in.

In the template `PROJECT` stands for the name, in paths and in texts, and `dot-` for the dot of a hidden file,
which would mean something to git here.
"""

from __future__ import annotations

import keyword
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from flowc.plan.diagnostics import refuse
from flowc.plan.text import counted

_TEMPLATE = Path(__file__).parent / "template"
# Imported as a package from its folder, a project of such a name would hide something, or be hidden.
_TAKEN = {"flowc", "flowrun", "flowserve", "stdlib", "tests", "plans", "models", "pytest"}
_MOST_SHOWN = 10


def lay_out(folder: Path) -> str:
    """Write a new project into a folder, which may exist; says what was done.

    `Refused` if its name is no name for a package, or it cannot be written (FC245), or files are in the way
    (FC246); then nothing is written.
    """
    name = _name_of(folder)
    files = {folder / path: text for path, text in _files(name)}
    in_the_way = list(dict.fromkeys(found for path in files for found in _in_the_way(path, folder)))
    if in_the_way:
        shown = [str(path) for path in in_the_way[:_MOST_SHOWN]]
        shown += [f"... {len(in_the_way) - len(shown)} more"] if len(in_the_way) > len(shown) else []
        message = f"`{folder}` holds {counted(len(in_the_way), 'path')} that a new project would write over"
        refuse("FC246", message, notes=shown, hint="name another folder, or move them away")
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        refuse("FC245", f"cannot write `{error.filename}`: {error.strerror}")
    lines = [f"{name}: a new project", *(f"  {path}" for path in sorted(map(str, files)))]
    way = "" if folder.resolve() == Path.cwd() else f"cd {folder} && "
    return "\n".join([*lines, f"next: {way}make"])


def _name_of(folder: Path) -> str:
    """The project's name: that of its folder."""
    name = folder.resolve().name
    if name.isidentifier() and name.isascii() and not keyword.iskeyword(name) and not _is_taken(name):
        return name
    proposed = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    proposed = f"my_{proposed}" if not proposed[:1].isalpha() or _is_taken(proposed) else proposed
    reason = (
        "Python knows it as something else" if _is_taken(name) else "a package's name is a Python identifier"
    )
    refuse(
        "FC245", f"a project cannot be named `{name}`: {reason}", hint=f"for example `flowc init {proposed}`"
    )


def _is_taken(name: str) -> bool:
    return name in _TAKEN or name in sys.stdlib_module_names or keyword.iskeyword(name)


def _files(name: str) -> Iterator[tuple[str, str]]:
    """Path and text of each file of a project."""
    for file in sorted(_TEMPLATE.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            parts = file.relative_to(_TEMPLATE).parts
            path = "/".join(re.sub("^dot-", ".", part) for part in parts)
            yield path.replace("PROJECT", name), file.read_text(encoding="utf-8").replace("PROJECT", name)


def _in_the_way(path: Path, folder: Path) -> Iterator[Path]:
    """What is there already where a file is to be made, or where one of its folders is."""
    if os.path.lexists(path):
        yield path
    for above in path.parents:
        if above.is_relative_to(folder) and os.path.lexists(above) and not above.is_dir():
            yield above
