"""The `flowc` command."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

from flowc.plan.command import App, argument

# Those of `flowc.checks.reports.FORMATS`, which a start of the command does not load.
OUTPUT_FORMATS = ("text", "json", "github", "sarif", "junit")

app = App("flowc", "Compile workflows written in Python into typed plan files.")


def main() -> None:
    """Entry point."""
    # A plan is made of many objects that all stay; looking among them for garbage takes a fifth of the time.
    gc.disable()
    try:
        app()
    finally:
        gc.freeze()  # nor do they have to be looked through when Python ends


def _seconds(text: str) -> float:
    """A time limit; `ValueError` makes the command line a wrong one."""
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds"  # as argparse calls it


@app.command(
    argument("workflow", metavar="WORKFLOW", help="MODULE:WORKFLOW or PATH.py:WORKFLOW"),
    argument("-o", "--output", type=Path, metavar="FILE", help="where to write the plan"),
    argument(
        "--check",
        action="store_true",
        help="write nothing; fail if the plan is out of date, whatever versions of packages it tells of",
    ),
    argument(
        "--static",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix a static input; with --check, those of the committed plan hold unless given",
    ),
    argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="times of earlier runs (`flowrun history -o FILE`); with --check, as in the plan unless given",
    ),
    argument(
        "--devices",
        default="",
        metavar="HOST",
        help="refuse what a host could never run: a TOML file, or `2xH100-80GB, 8 cores, 64 GiB`",
    ),
    argument("--no-optimize", dest="optimize", action="store_false", help="leave every call in the plan"),
    argument("--strict", action="store_true", help="take warnings for errors"),
    argument("--timings", action="store_true", help="print how long each pass took"),
    argument(
        "--time-limit",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="give up after so long, and say where",
    ),
    argument("-v", "--verbose", action="store_true", help="tell each node that was simplified away"),
    argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="compile from scratch, also what has not changed since",
    ),
)
def compile(workflow: str, **options: Any) -> None:  # noqa: A001 - the command's name
    """Compile a workflow to plans/WORKFLOW.plan.jsonl."""
    from flowc.build import Request, build

    build(Request(workflow, **options))


def _count(text: str) -> int:
    """A number from 1 up."""
    from argparse import ArgumentTypeError

    if not (text.isascii() and text.isdigit() and int(text)):
        raise ArgumentTypeError(f"must be a whole number from 1 up, not `{text}`")
    return int(text)


@app.command(
    argument("plan", type=Path, metavar="PLAN", help="a plan file"),
    argument("-f", "--format", dest="form", choices=("levels", "tree", "mermaid", "dot", "svg", "html"),
             help="default: what the name of FILE says, otherwise levels"),
    argument("-o", "--output", type=Path, metavar="FILE", help="where to write, instead of standard output"),
    argument("--max-nodes", type=_count, default=300, metavar="N",
             help="draw larger plans by site, scope or level (default: 300)"),
)  # fmt: skip
def show(plan: Path, form: str | None, output: Path | None, max_nodes: int) -> None:
    """Show a plan: as a table of levels, a tree, text for Mermaid or Graphviz, an SVG drawing, a web page."""
    from flowc.show.command import show_file

    show_file(plan, form, output, max_nodes)


@app.command(
    argument("format", choices=["wfformat"], help="wfformat: a recorded workflow of wfcommons.org, as JSON"),
    argument("file", type=Path, metavar="FILE", help="the file to import, .json or .json.gz"),
    argument("-o", "--output", type=Path, metavar="PLAN", help="where to write the plan"),
    name="import",
)
def import_(format: str, file: Path, output: Path | None) -> None:  # noqa: A002 - the argument's name
    """Make a plan of a recorded workflow, which replays what each task took."""
    from flowc.build import write_plan
    from flowc.plan.codec import encode
    from flowc.show import summary
    from flowc.wfformat import import_workflow

    plan = import_workflow(file)
    path = output or Path("plans") / f"{plan.header.name}.plan.jsonl"
    write_plan(path, encode(plan))
    print(f"{path}: {summary(plan)}")


@app.command(
    argument("folder", type=Path, metavar="FOLDER", nargs="?", default=Path(), help="default: this folder")
)
def init(folder: Path) -> None:
    """Lay out a new project that compiles, tests and runs."""
    from flowc.skeleton import lay_out

    print(lay_out(folder))


@app.command(
    argument("before", type=Path, metavar="OLD", help="a plan file"),
    argument("after", type=Path, metavar="NEW", help="a plan file of the same workflow, compiled later"),
    argument("node", metavar="NODE", help="the id of a node"),
    argument("--json", dest="as_json", action="store_true", help="print one JSON object"),
    argument(
        "--exit-code", action="store_true", help="exit with 1 if the node has to run again; else with 0"
    ),
)
def why(before: Path, after: Path, node: str, as_json: bool, exit_code: bool) -> None:
    """Say why a node of one plan has to run again after another plan's run, or why not."""
    import msgspec

    from flowc.plan.codec import read
    from flowc.review.why import as_text
    from flowc.review.why import why as why_of

    found = why_of(read(before), read(after), node)
    print(msgspec.json.encode(found).decode() if as_json else as_text(found))
    sys.exit(1 if exit_code and found.runs_again else 0)


@app.command(argument("--json", dest="as_json", action="store_true", help="as JSON"))
def types(as_json: bool) -> None:
    """List the types that inputs and operators can have, those of installed packages too."""
    from flowc.catalogue import rows, table

    print(_json(rows()) if as_json else table())


@app.command(argument("plan", metavar="PLAN", help="a plan file, or MODULE:WORKFLOW or PATH.py:WORKFLOW"))
def schema(plan: str) -> None:
    """Print the JSON Schema of a workflow's inputs."""
    from flowc.plan.schema import inputs_schema

    if ":" not in plan or Path(plan).is_file():
        from flowc.plan.codec import read

        found = read(plan)
    else:
        from flowc.compiler import compile_workflow
        from flowc.source import load

        source = load(plan)
        found = compile_workflow(source.workflow, source.root)
    print(_json(inputs_schema(found)))


@app.command(
    argument("paths", nargs="*", default=["."], metavar="PATH", help="files and folders (default: .)"),
    argument("--output-format", choices=OUTPUT_FORMATS, default="text", help="default: text"),
    argument("--no-plans", dest="with_plans", action="store_false", help="do not compare with plans/"),
    argument(
        "--timeout",
        dest="timeout_s",
        type=_seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long a module or a workflow may take (default: 60)",
    ),
    argument("--strict", action="store_true", help="take warnings for errors"),
    argument("--watch", action="store_true", help="check again whenever a file changes, until Ctrl-C"),
)
def check(
    paths: list[str], output_format: str, with_plans: bool, timeout_s: float, strict: bool, watch: bool
) -> None:
    """Find and check every workflow and plan in files and folders.

    Exits: 0 if nothing is wrong, or no more than warnings, 1 if something is, 2 for wrong usage, 130 when it
    is cancelled.
    """
    from flowc.checks.paths import run

    sys.exit(run(paths, output_format, with_plans, timeout_s, watch, strict))


@app.command(
    argument(
        "sides",
        nargs="*",
        metavar="OLD NEW",
        help="each a plan file, REV:PATH or a git revision, which is of the other one's path",
    ),
    argument("--format", dest="style", choices=("text", "markdown", "json"), default="text"),
    argument("--exit-code", action="store_true", help="exit with 1 if the plans differ, as `git diff` does"),
    argument(
        "--textconv", metavar="FILE", help="for git: write a plan a line a site or node, to be compared"
    ),
)
def diff(sides: list[str], style: str, exit_code: bool, textconv: str | None) -> None:
    """Tell what differs between two plans, what runs again, and what changes in cost.

    flowc diff                     every plan that changed since the last commit
    flowc diff main                every plan that changed between main and the working tree
    flowc diff v1 v2               every plan that changed between two revisions
    flowc diff main...HEAD         what this branch changed since it left main, as a pull request shows it
    flowc diff main plans/         the same of a folder, or of the plans that are named
    flowc diff main plans/iris.plan.jsonl
    flowc diff main:plans/a.plan.jsonl plans/b.plan.jsonl
    flowc diff old.plan.jsonl new.plan.jsonl       two files, without git

    Where a file has the name of a revision, the file is meant: write refs/heads/NAME.
    """
    if textconv is not None:
        from flowc.review.lines import write_lines

        write_lines(textconv)
        return
    from flowc.review.command import diff as print_difference

    differ = print_difference(sides, style)
    if differ and exit_code:
        sys.exit(1)


@app.command(
    argument("code", nargs="?", metavar="CODE", help="for example FC101; without it, all are listed")
)
def explain(code: str | None) -> None:
    """Explain a diagnostic code, with an example and its mend."""
    from flowc.explain import explanation, listing, similar

    if code is None:
        print(listing())
    elif text := explanation(code):
        print(text)
    else:
        print(f"there is no code `{code}`; {similar(code)}", file=sys.stderr)
        sys.exit(2)


def _json(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)
