"""A difference as a report: a summary and a few short tables, for the renderers to write out.

Bounded: however large the plans, a section has some twenty rows, and a cell some hundred characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from msgspec import UNSET

from flowc.plan.text import counted
from flowc.review.diff import Both, Difference, Edit, Rewrite, SiteDifference, Size
from flowc.review.expressions import written

MOST_ROWS = 20  # of a section
_MOST_LINES = 4  # of one site
_MOST_NODES = 3  # as examples
_WIDTH = 60  # characters of one side of a change

Sign = Literal["+", "-", "~", ">", ""]  # added, removed, changed, renamed; none


class Code(str):
    """Text out of a plan, in contrast to our own words."""


Cell = tuple[str, ...]  # one after the other; the parts that are `Code` come from the plan


class Entry(NamedTuple):
    """A row of a table. Without a sign, and with nothing in its first cell, it goes on with the one above."""

    sign: Sign
    cells: tuple[Cell, ...]


class Section(NamedTuple):
    """A table. `more` counts what was left out, in terms of `noun`."""

    title: str
    columns: tuple[str, ...]
    entries: list[Entry]
    more: int = 0


class Report(NamedTuple):
    """A difference for people: whose it is, one line, and the tables that have something to tell."""

    title: str
    summary: str
    sections: list[Section]


def report(title: str, difference: Difference) -> Report:
    """The report on a difference. Of a plan that is new or gone, its size says what there is to say."""
    size = difference.size
    if not size.old.levels and size.new.levels:
        return Report(title, f"a new plan: {_size(size.new)}", [_sites(difference)])
    if not size.new.levels and size.old.levels:
        return Report(title, f"no plan any more: it had {_size(size.old)}", [])
    found = [
        _edits("workflow", difference.header),
        _edits("inputs", difference.inputs),
        _edits("outputs", difference.outputs),
        _edits("types", difference.types),
        _sites(difference),
        _runs_again(difference),
        _critical_path(difference),
        _resources(difference),
    ]
    return Report(title, _summary(difference), [section for section in found if section.entries])


def _summary(difference: Difference) -> str:
    """The difference in one line."""
    if difference.same:
        moved = f"; {counted(difference.moved, 'call')} moved in the source" if difference.moved else ""
        return f"no change{moved}"
    parts = [
        _counts("site", Counter(site.status for site in difference.sites)),
        _counts(
            "node",
            {
                "added": sum(len(site.added) for site in difference.sites),
                "removed": sum(len(site.removed) for site in difference.sites),
            },
        ),
        *(
            f"{counted(len(edits), noun)} changed"
            for noun, edits in (
                ("input", difference.inputs),
                ("output", difference.outputs),
                ("type member", difference.types),
            )
            if edits
        ),
        *(f"another {edit.what}" for edit in difference.header),
        _run_again(difference),
    ]
    return "; ".join(part for part in parts if part)


def _size(found: Size) -> str:
    """How large a plan is, in words."""
    shown = ((found.nodes, "node"), (found.sites, "site"), (found.levels, "level"))
    return ", ".join(counted(count, noun) for count, noun in shown)


def _sites(difference: Difference) -> Section:
    """The table of sites."""
    entries: list[Entry] = []
    left_out = 0
    for site in difference.sites:
        lines = list(_site_lines(site)) or [()]
        if left_out or len(entries) + min(len(lines), _MOST_LINES) > MOST_ROWS:
            left_out += 1
            continue
        if len(lines) > _MOST_LINES:
            lines[_MOST_LINES - 1 :] = [(f"... {len(lines) - _MOST_LINES + 1} more changes",)]
        count = counted(site.nodes.new or site.nodes.old, "node")
        if site.status in ("changed", "renamed") and site.nodes.old != site.nodes.new:
            count = f"{site.nodes.old} -> {counted(site.nodes.new, 'node')}"
        head = ((Code(_cut(site.site)),), (Code(_cut(site.op)),), (count,))
        for i, line in enumerate(lines):
            entries.append(
                Entry(_SIGNS[site.status], (*head, line)) if i == 0 else Entry("", ((), (), (), line))
            )
    return Section("sites", ("site", "operator", "nodes", "change"), entries, left_out)


_SIGNS: dict[str, Sign] = {"added": "+", "removed": "-", "changed": "~", "renamed": ">"}


def _counts(noun: str, counts: dict[Any, int]) -> str:
    """`2 nodes added, 1 removed`."""
    shown = [(count, what) for what, count in sorted(counts.items()) if count]
    if not shown:
        return ""
    (count, what), *others = shown
    return ", ".join([f"{counted(count, noun)} {what}", *(f"{count} {what}" for count, what in others)])


def _run_again(difference: Difference) -> str:
    again, of = sum(rerun.nodes for rerun in difference.runs_again), difference.size.new.nodes
    if not again:
        return "nothing runs again"
    if again == of:
        return f"all {counted(of, 'node')} run again" if of > 1 else "its only node runs again"
    share = f"{min(99, max(1, round(100 * again / of)))} %"
    return f"{again} of {counted(of, 'node')} {'runs' if again == 1 else 'run'} again ({share})"


def _edits(title: str, edits: Sequence[Edit]) -> Section:
    entries = [
        Entry(
            "+" if edit.old is UNSET else "-" if edit.new is UNSET else "~",
            ((Code(edit.what),), _change(edit)),
        )
        for edit in edits[:MOST_ROWS]
    ]
    return Section(title, ("", ""), entries, max(0, len(edits) - MOST_ROWS))


def _site_lines(site: SiteDifference) -> Iterator[Cell]:
    if site.was:
        yield ("was ", Code(_cut(site.was)))
    for edit in site.edits:
        # Hashes mean nothing to a person.
        yield ("the operator's code",) if edit.what == "code" else (Code(edit.what), ": ", *_change(edit))
    for rewrite in site.arguments:
        yield _rewrite(rewrite)
    if site.status in ("changed", "renamed"):
        for verb, nodes in (("new", site.added), ("gone", site.removed)):
            if nodes:
                yield (f"{verb}: ", *_examples(nodes))


def _rewrite(rewrite: Rewrite) -> Cell:
    what = ("waits for ",) if rewrite.order else (Code(_cut(rewrite.parameter)), ": ")
    where = (
        (" and alike" if rewrite.alike else "", "  in ", *_examples(rewrite.nodes))
        if len(rewrite.nodes) > 1 or "[" in rewrite.nodes[0]
        else ()
    )
    return (*what, *_change(rewrite), *where)


def _change(edit: Edit | Rewrite) -> Cell:
    if edit.new is UNSET:
        return ("was ", Code(_cut(written(edit.old))))
    if edit.old is UNSET:
        return ("now ", Code(_cut(written(edit.new))))
    was, now = _around(written(edit.old), written(edit.new))
    return (Code(was), " -> ", Code(now))


def _around(old: str, new: str) -> tuple[str, str]:
    """Two texts, cut to where they differ if they are long."""
    if max(len(old), len(new)) <= _WIDTH:
        return old, new
    same = next(
        (i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new))
    )
    start = max(0, same - _WIDTH // 3)
    return tuple(_cut(f"...{text[start:]}" if start else text) for text in (old, new))  # type: ignore[return-value]


def _cut(text: str) -> str:
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _examples(nodes: Sequence[str]) -> Cell:
    """`3 nodes: a, b, c`, or the first of many."""
    shown: list[str] = [f"{counted(len(nodes), 'node')}: "]
    for node in nodes[:_MOST_NODES]:
        shown += [Code(_cut(node)), ", "]
    shown[-1:] = [", ..."] if len(nodes) > _MOST_NODES else []
    return tuple(shown)


def _runs_again(difference: Difference) -> Section:
    entries = []
    for rerun in difference.runs_again[:MOST_ROWS]:
        share = f"{rerun.nodes} of {rerun.of}" if rerun.of > 1 else "1"
        reasons = sorted(rerun.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        why = ", ".join(_REASONS[why] + (f" ({n})" if len(reasons) > 1 else "") for why, n in reasons)
        entries.append(Entry("", ((Code(_cut(rerun.site)),), (share,), (why,))))
    more = max(0, len(difference.runs_again) - MOST_ROWS)
    return Section("runs again", ("site", "nodes", "because of"), entries, more)


_REASONS = {
    "new": "new",
    "renamed": "its new name",
    "code": "its operator's code",
    "arguments": "its arguments",
    "inputs": "an input's default",
    "upstream": "what it depends on",
}


def _critical_path(difference: Difference) -> Section:
    path = difference.critical_path
    entries = []
    if path.old.length != path.new.length:
        change = f"{path.old.length:g} -> {path.new.length:g} {path.unit}"
        entries.append(Entry("~", (("length",), (change,))))
    if path.joined:
        entries.append(Entry("+", (("joined",), _examples(path.joined))))
    if path.left:
        entries.append(Entry("-", (("left",), _examples(path.left))))
    return Section("critical path", ("", ""), entries)


def _resources(difference: Difference) -> Section:
    entries = [
        Entry(
            "",
            (
                (name,),
                (_amounts(Both(both.old.total, both.new.total)),),
                (_amounts(Both(both.old.peak, both.new.peak)),),
            ),
        )
        for name, both in difference.needs.items()
        if both.old != both.new
    ]
    return Section("resources", ("", "all nodes", "most at one level"), entries)


def _amounts(amounts: Both[float]) -> str:
    return f"{amounts.old:,g}" if amounts.old == amounts.new else f"{amounts.old:,g} -> {amounts.new:,g}"
