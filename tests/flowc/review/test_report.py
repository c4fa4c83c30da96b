"""Differences as text and as Markdown."""

# ruff: noqa: E501

import re

import pytest

from flowc.plan.model import FORMAT, Header, Level, Node, Plan, Site, Span
from flowc.review.diff import compare
from flowc.review.markdown import MOST_CHARACTERS, as_markdown
from flowc.review.report import report
from flowc.review.text import as_text

SOURCE = """
from ops import *

@workflow
def main(path: str = "a", rate: float = 0.5):
    raw = load(path)
    parts = split(raw)
    models = [fit(parts.train, rate=rate) for i in (4, 8, 16)]
    return gather(models, {"parts": parts})
"""


@pytest.fixture
def found(project):
    """A report on a change of `SOURCE`."""
    old = project.compile(SOURCE)
    source = SOURCE.replace("raw", "rows").replace("split(rows)", "split(clean(rows))")
    source = source.replace("(4, 8, 16)", "(8, 16, 32)").replace("rate=rate", "rate=0.25")
    return report("plan.jsonl: main -> working tree", compare(old, project.compile(source)))


def plan(names, op="m:f", args=None):
    """A plan of independent nodes, each of a site of its own."""
    nodes = tuple(Node(name, args or {}) for name in names)
    level = (Level(0, len(names), tuple(names)),) if names else ()
    sites = tuple(Site(name, op, "1", dict.fromkeys(args or {}, "Any")) for name in names)
    spans = tuple(Span(name, "m.py:1:1") for name in names)
    return Plan(Header(FORMAT, "m:w"), (), sites, nodes, level, spans)


def test_the_whole_text(found):
    assert (
        as_text(found)
        == """\
plan.jsonl: main -> working tree
1 site added, 3 changed, 1 renamed; 2 nodes added, 1 removed; all 7 nodes run again

sites        operator    nodes    change
  >  rows    ops:load    1 node   was raw
  +  clean   ops:clean   1 node
  ~  parts   ops:split   1 node   data: raw -> clean
  ~  models  ops:fit     3 nodes  rate: input rate -> 0.25  in 2 nodes: models[8], models[16]
                                  new: 1 node: models[32]
                                  gone: 1 node: models[4]
  ~  gather  ops:gather  1 node   items: [models[4], models[8], models[16]] -> [models[8], models[16], models[32]]

runs again  nodes   because of
  rows      1       its new name
  clean     1       new
  parts     1       its arguments
  models    3 of 3  its arguments (2), new (1)
  gather    1       its arguments

critical path
  ~  length    4 -> 5 nodes
  +  joined    2 nodes: clean, models[8]
  -  left      1 node: models[4]

resources  all nodes  most at one level
  cpus     6 -> 7     3"""
    )


def test_colours_only_colour(found):
    plain, coloured = as_text(found), as_text(found, colours=True)
    assert "\033" not in plain
    assert re.sub(r"\033\[\d+m", "", coloured) == plain
    assert "\033[32m  +  clean" in coloured


def test_the_whole_markdown(found):
    assert (
        as_markdown([found])
        == """\
#### `plan.jsonl: main -> working tree`
1 site added, 3 changed, 1 renamed; 2 nodes added, 1 removed; all 7 nodes run again

<details><summary>sites (5)</summary>

|  | site | operator | nodes | change |
| --- | --- | --- | --- | --- |
| `>` | `rows` | `ops:load` | 1 node | was `raw` |
| `+` | `clean` | `ops:clean` | 1 node |  |
| `~` | `parts` | `ops:split` | 1 node | `data`: `raw` → `clean` |
| `~` | `models` | `ops:fit` | 3 nodes | `rate`: `input rate` → `0.25`  in 2 nodes: `models[8]`, `models[16]` |
|  |  |  |  | new: 1 node: `models[32]` |
|  |  |  |  | gone: 1 node: `models[4]` |
| `~` | `gather` | `ops:gather` | 1 node | `items`: `[models[4], models[8], models[16]]` → `[models[8], models[16], models[32]]` |

</details>

<details><summary>runs again (5)</summary>

|  | site | nodes | because of |
| --- | --- | --- | --- |
|  | `rows` | 1 | its new name |
|  | `clean` | 1 | new |
|  | `parts` | 1 | its arguments |
|  | `models` | 3 of 3 | its arguments (2), new (1) |
|  | `gather` | 1 | its arguments |

</details>

<details><summary>critical path (3)</summary>

|  |  |  |
| --- | --- | --- |
| `~` | length | 4 → 5 nodes |
| `+` | joined | 2 nodes: `clean`, `models[8]` |
| `-` | left | 1 node: `models[4]` |

</details>

<details><summary>resources (1)</summary>

|  |  | all nodes | most at one level |
| --- | --- | --- | --- |
|  | cpus | 6 → 7 | 3 |

</details>
"""
    )


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_plan_that_is_new_or_gone(count):
    many, none = plan([f"n{i}" for i in range(count)]), plan([])
    assert report("t", compare(none, none)).summary == "no change"
    if count:
        shown = report("t", compare(none, many))
        assert shown.summary.startswith("a new plan: ")
        assert len(shown.sections[0].entries) == count
        assert report("t", compare(many, none)) == (
            "t",
            shown.summary.replace("a new plan:", "no plan any more: it had"),
            [],
        )


def test_sections_are_bounded():
    old, new = plan([f"old{i}" for i in range(300)]), plan([f"new{i}" for i in range(200)], "m:g")
    text = as_text(report("t", compare(old, new)))
    assert "200 sites added, 300 removed; 200 nodes added, 300 removed; all 200 nodes run again" in text
    assert "  ... and 480 more" in text
    assert len(text.splitlines()) < 60


def test_a_long_argument_is_cut_to_where_it_differs():
    old, new = (plan(["n"], args={"x": [*range(200), last]}) for last in (1, 2))
    text = as_text(report("t", compare(old, new)))
    assert "x: ...196, 197, 198, 199, 1] -> ...196, 197, 198, 199, 2]" in text


def test_nothing_in_a_plan_steers_the_terminal():
    text = as_text(report("t\033", compare(plan([]), plan(["\033[31mred\r\n"], "m:\u202ef"))), colours=False)
    assert "\\x1b[31mred\\r\\n" in text
    assert "\\u202e" in text
    assert all(line.isprintable() for line in text.split("\n"))


NAMES = [
    "a|b",
    "a`b",
    "``",
    "\\|",
    "<b>x</b>",
    "&amp;",
    "@someone",
    "#12",
    "_x_",
    "*x*",
    "a\n| b",
    "[x](y)",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_stand_for_themselves_in_markdown(name):
    markdown = as_markdown([report("t", compare(plan([]), plan(["n"], f"m:{name}")))])
    row = next(line for line in markdown.splitlines() if line.startswith("| `+`"))
    cell = re.split(r"(?<!\\)\|", row)[3].strip()
    assert len(re.split(r"(?<!\\)\|", row)) == 7
    assert re.fullmatch(r"`m:[^`|\\]+`|<code>m:[\w .,:;()/=&#-]*</code>", cell)


@pytest.mark.parametrize(("plans", "sites"), [(1, 500), (50, 30), (5000, 1)])
def test_markdown_fits_into_a_comment(plans, sites):
    names = [f"{'`' * 70}{i}" for i in range(sites)]
    one = report("`" * 40, compare(plan([]), plan(names)))
    markdown = as_markdown([one] * plans)
    assert len(markdown) <= MOST_CHARACTERS
    assert markdown.count("####") == plans or re.search(r"\.\.\. and \d+ more plans\n$", markdown)
    assert markdown.count("<details>") == markdown.count("</details>")
