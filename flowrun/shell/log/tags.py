"""Tags: what people sort their runs under."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flowc.plan.diagnostics import refuse
from flowrun.shell.clock import now_ms
from flowrun.shell.log.finding import state_of
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog

MAX_TAGS, MAX_LENGTH = 100, 1000


def tags_of(texts: Sequence[str]) -> dict[str, str]:
    """Tags from `NAME=VALUE` texts; `Refused` (FR156) if one is not."""
    tags = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            refuse("FR156", f"the tag `{text}` is not NAME=VALUE", hint="for example `team=ads`")
        if not name.isprintable() or not value.isprintable() or len(text) > MAX_LENGTH:
            message = f"the tag `{text[:40]!a}` is no line of at most {MAX_LENGTH} characters"
            refuse("FR156", message, hint="what is longer can be logged as a note: `flowc.log_note`")
        tags[name] = value
    return tags


def tag_run(folder: Path, run: str, texts: Sequence[str]) -> str:
    """Tag a run; a sentence with its tags. `Refused`: it is not there or never began (FR301), FR156."""
    tags = tags_of(texts)
    row = RunLog(Home(folder)).find(run)
    log = RunLog(Home(folder), writable=True)
    state_of(log, row.run)
    log.tag(row.run, tags, now_ms())
    known = log.facts().get(row.run, {}).get("tag", {})
    shown = ", ".join(f"{name}={value}" for name, value in sorted(known.items()))
    return f"{row.run}: {shown or 'no tags'}"
