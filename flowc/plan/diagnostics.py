"""What a person is told when something is wrong, as a value and as text.

A `Diagnostic` names a registered code, says what is wrong in one sentence, points at places in files, and
offers a way out. `Refused` carries one or more of them up to the command line. Rendering follows rustc:
source excerpt, carets, hint.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Literal, NoReturn, Self

import msgspec

from flowc.plan.codes import CODES

Severity = Literal["error", "warning"]


class Place(msgspec.Struct, frozen=True, order=True):
    """A stretch of one line of a file. Lines and columns count from 1; 0 means "not known"."""

    file: str
    line: int = 0
    column: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        """`file`, `file:line` or `file:line:column`."""
        return ":".join([self.file, *(str(n) for n in (self.line, self.column) if n)])

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read back what `str` wrote."""
        file, *numbers = text.rsplit(":", 2) if text.count(":") >= 2 else text.split(":")
        return cls(file, *(int(n) for n in numbers))


class Label(msgspec.Struct, frozen=True):
    """A place and what is to be said of it."""

    place: Place
    text: str = ""


class Diagnostic(msgspec.Struct, frozen=True):
    """One independent thing that is wrong.

    `labels[0]` is where it is wrong; further labels say where its cause lies. `notes` are facts printed as
    they are (a log's tail, a list of nodes). `hint` is set only when following it would work. A `warning`
    does not stop what is being done.
    """

    code: str
    message: str
    labels: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    hint: str = ""
    severity: Severity = "error"

    def __post_init__(self) -> None:
        """Every code is registered; an unknown one is our bug."""
        assert self.code in CODES, self.code


class Refused(Exception):
    """The author's or the caller's mistake; carries every diagnostic found."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        self.diagnostics = diagnostics
        super().__init__("; ".join(f"[{d.code}] {d.message}" for d in diagnostics))

    def bare(self) -> Self:
        """Forget where it was raised, and return it: those frames would keep alive what they hold."""
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self


def refuse(
    code: str, message: str, *places: Place | Label, notes: Iterable[str] = (), hint: str = ""
) -> NoReturn:
    """Raise `Refused` with a single diagnostic."""
    labels = tuple(p if isinstance(p, Label) else Label(p) for p in places)
    raise Refused(Diagnostic(code, message, labels, tuple(notes), hint))


def in_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sorted by place, then code, each once."""
    unique = dict.fromkeys(diagnostics)
    return sorted(unique, key=lambda d: (d.labels[0].place if d.labels else Place(""), d.code, d.message))


def _read_line(file: str, line: int) -> str:
    import linecache  # brings tokenize along, which whoever has nothing to complain of does without

    return linecache.getline(file, line)


def render(diagnostic: Diagnostic, read_line: Callable[[str, int], str] = _read_line) -> str:
    """Return the text of a diagnostic; `read_line(file, line)` supplies source lines ("" if unknown)."""
    lines = [f"{diagnostic.severity}[{diagnostic.code}]: {diagnostic.message}"]
    for label in diagnostic.labels:
        lines += _excerpt(label, read_line)
    lines += [f"  {line}" for note in diagnostic.notes for line in note.splitlines()]
    if diagnostic.hint:
        lines.append(f"hint: {diagnostic.hint}")
    lines.append(f"      `flowc explain {diagnostic.code}`")
    return "\n".join(lines)


def print_refusal(refusal: Refused) -> None:
    """Print every diagnostic of a refusal on standard error."""
    print_diagnostics(refusal.diagnostics)


def print_diagnostics(diagnostics: Iterable[Diagnostic]) -> None:
    """Print diagnostics on standard error, in order of place."""
    texts = [render(diagnostic) for diagnostic in in_order(diagnostics)]
    print("\n\n".join(texts), file=sys.stderr)


def _excerpt(label: Label, read_line: Callable[[str, int], str]) -> list[str]:
    place = label.place
    head = f"  --> {place}"
    source = read_line(place.file, place.line).rstrip() if place.line else ""
    if not source.strip() or len(source) > 400:  # a plan's row can be very long: the place alone is kinder
        return [f"{head}: {label.text}" if label.text else head]
    gutter = str(place.line)
    if not place.column:
        return [
            head,
            f"{gutter} | {source}",
            *([f"{' ' * len(gutter)} | {label.text}"] if label.text else []),
        ]
    width = max(1, min(place.end_column, len(source) + 1) - place.column)
    indent = "".join("\t" if c == "\t" else " " for c in source[: place.column - 1])
    underline = indent + "^" * width
    return [head, f"{gutter} | {source}", f"{' ' * len(gutter)} | {underline} {label.text}".rstrip()]
