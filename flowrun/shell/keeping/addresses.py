"""Addresses of artifacts, `RUN/NODE/OUTPUT/HASH`: what nodes of a run made or logged, and where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowrun.core.logged import Kept, gather
from flowrun.core.model import Artifact
from flowrun.core.state import State
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.store import forms
from flowrun.shell.store.artifacts import Damaged, Store

WHOLE = "result"  # the name of an output that is all that a node gives
_MANIFEST = "msgpack"
_NAMES = {code: name for name, code in forms.FORMS.items()}


class Stored(msgspec.Struct, frozen=True):
    """An output of a node: all of it, or a part with a file of its own. Without `path` it is in the log."""

    address: str
    form: str
    bytes: int
    path: str = ""


def outputs(
    run: str, state: State, store: Store, node: str = "", logged: Sequence[Kept] = ()
) -> Iterator[Stored]:
    """What nodes of a run made, or one of them, and after that what they logged."""
    for made_by, name, artifact in _made(state, logged):
        if node in ("", made_by):
            yield from _outputs(f"{run}/{made_by}", name, artifact, store)


def _made(state: State, logged: Sequence[Kept]) -> Iterator[tuple[str, str, Artifact]]:
    """Nodes and artifacts, and their names: none for a result."""
    for task in state.tasks:
        if task.artifact is not None:
            yield task.node.id, "", task.artifact
    for kept in logged:
        yield kept.node, _below("", kept.name), kept.artifact


def _outputs(prefix: str, called: str, artifact: Artifact, store: Store) -> Iterator[Stored]:
    path = "" if artifact.data else str(store.path(artifact.hash))
    whole = Stored(f"{prefix}/{called or WHOLE}/{artifact.hash}", _MANIFEST, artifact.bytes, path)
    try:
        outline = store.outline(artifact.source)
    except Damaged:
        yield whole
        return
    if not isinstance(outline, msgspec.msgpack.Ext):  # else that file is all there is to it
        yield whole
    for name, part in _parts(outline, called):
        data = bytes(part.data)
        digest, note = data[:32].hex(), data[32:].decode()
        file = store.path(digest)
        size = file.stat().st_size if file.exists() else 0
        form = note if note == "onnx" else _NAMES.get(part.code, "")
        yield Stored(f"{prefix}/{name or WHOLE}/{digest}", form, size, str(file))


def _parts(outline: Any, name: str) -> Iterator[tuple[str, msgspec.msgpack.Ext]]:
    """The parts of a value that have files, by the way to them: `model.weights`, `folds.0`."""
    match outline:
        case msgspec.msgpack.Ext():
            yield name, outline
        case dict():
            for key, part in outline.items():
                yield from _parts(part, _below(name, str(key)))
        case list():
            for i, part in enumerate(outline):
                yield from _parts(part, _below(name, str(i)))


def _below(name: str, step: str) -> str:
    return f"{name}.{step}".strip(".").replace("/", "%")


def get(log: RunLog, address: str, target: Path | None) -> Any:
    """What is at an address: written to a file as it lies in the store, or as far as it can be shown.

    `RUN/NODE` is the node's whole result, `RUN/NODE/NAME` a part of it or what it logged under that name, and
    the hash may be left out or cut. `Refused` with FR162 if the
    address is of nothing, FR307 if what is there is damaged, FR163 if the file cannot be written.
    """
    found, data = _find(log, address)
    store, digest = log.home.store, found.address.rpartition("/")[2]
    try:
        if target is None:
            return store.preview(data or digest if found.form == _MANIFEST else _standing_for(found, digest))
        content = data or store.content.read(digest)
    except Damaged as error:
        refuse("FR307", str(error), hint=f"`flowrun retry {address.partition('/')[0]}` makes it again")
    try:
        target.write_bytes(content)
    except OSError as error:
        refuse("FR163", f"the file cannot be written: {error.strerror}", Place(str(target)))
    return None


def _standing_for(found: Stored, digest: str) -> bytes:
    """A manifest of nothing but a file."""
    code, note = (forms.BYTES, b"onnx") if found.form == "onnx" else (forms.FORMS[found.form], b"")
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(code, bytes.fromhex(digest) + note))


def _find(log: RunLog, address: str) -> tuple[Stored, bytes]:
    """What an address means, and its content if that is in the log."""
    row = log.find(address.partition("/")[0])
    state, logged = log.state_of(row.run), gather(log.changes(row.run)).artifacts
    for made_by, name, artifact in _made(state, logged) if state is not None else ():
        node = f"{row.run}/{made_by}"
        if not f"{address}/".startswith(f"{node}/"):
            continue
        for stored in _outputs(node, name, artifact, log.home.store):
            # The hash may be cut anywhere, names may not.
            in_hash = len(address) > stored.address.rindex("/")
            if stored.address.startswith(address) and (in_hash or stored.address[len(address)] == "/"):
                return stored, artifact.data if stored.address.endswith(artifact.hash) else b""
    refuse(
        "FR162", f"there is nothing at `{address}`", hint=f"`flowrun artifacts {row.run}` lists what there is"
    )
