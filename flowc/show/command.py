"""`flowc show`: from a plan file to a file or standard output."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from flowc.plan.codec import read
from flowc.plan.diagnostics import refuse
from flowc.show import BY_SUFFIX, Options, show, summary


def show_file(plan: Path, form: str | None, output: Path | None, max_nodes: int) -> None:
    """Write the picture of a plan file; `Refused` (FC2xx) if the plan is damaged or FILE not writable.

    Without a format, the name of the output decides; without either it is `levels`.
    """
    form = form or (BY_SUFFIX.get(output.suffix.lower(), "levels") if output else "levels")
    columns = 0 if output or not sys.stdout.isatty() else shutil.get_terminal_size().columns
    found = read(plan)
    text = show(found, form, Options(max_nodes, columns))
    if output is None:
        sys.stdout.write(text)
    else:
        _write(output, text)
        print(f"{output}: {form} of {summary(found)}")


def _write(output: Path, text: str) -> None:
    try:
        if output.is_file() and output.read_bytes().startswith(b'{"kind":"plan"'):
            refuse("FC225", f"`{output}` is a plan: it is not written over", hint="name another file with -o")
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        refuse("FC225", f"cannot write `{output}`: {error.strerror}")
