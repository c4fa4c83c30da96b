"""When two answers say the same, and in what ours may differ from Triton's: each difference with its reason.

The rule: where the protocol's specification is silent, as Triton does, except for its faults.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.differential.talking import Asked, Said


class Difference(NamedTuple):
    """`fits` tells whether two answers to a request differ so and no more."""

    reason: str
    fits: Callable[[Asked, Said, Said], bool]


DEAD = "Triton dies of it"


def difference(asked: Asked, theirs: Said | None, ours: Said) -> str:
    """The name of the difference that is allowed, "" where there is none, "?" for one that is not allowed."""
    assert ours.status != 500, f"{asked}\nours:   {ours}\nTriton: {theirs}"
    if theirs is None:
        return DEAD
    if same(theirs, ours):
        return ""
    found = (name for name, known in DIFFERENCES.items() if known.fits(asked, theirs, ours))
    return next(found, f"? Triton: {theirs}, ours: {ours}")


def same(theirs: Said, ours: Said) -> bool:
    """Whether the answers say the same; of refusals that they are such, and ours that it has a code."""
    if theirs.status != ours.status:
        return False
    if theirs.status >= 400:
        return ours.value is None or _code(ours) != ""
    if (theirs.value is None) != (ours.value is None):
        return False
    types_agree = theirs.value is None or theirs.content_type == ours.content_type
    return types_agree and _plain(theirs) == _plain(ours)


def _plain(said: Said) -> Any:
    """What an answer says, with the bytes of raw outputs in their places."""
    if not isinstance(said.value, dict) or "outputs" not in said.value or "model_name" not in said.value:
        return alike(said.value)
    tail, outputs = said.tail, []
    for output in said.value["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size", 0)
        outputs.append(output | {"raw": tail[:size]})
        tail = tail[size:]
    return alike(said.value | {"outputs": outputs}), tail


def alike(value: Any) -> Any:
    """An answer without what differs by itself: order that has no meaning, counts, what is of the server."""
    match value:
        case {"model_stats": stats}:
            return [_counted(of) for of in stats]
        case {"config": config}:
            return _config(config)
        case {"input": _, "output": _}:
            return _config(value)
        case {"extensions": _}:
            return sorted(value)
        case {"models": models}:
            return alike(models)
        case {"model_name": _, "outputs": outputs}:
            raw = value.get("raw_output_contents", [])
            named = [output | {"bytes": raw[i]} if raw else output for i, output in enumerate(outputs)]
            return value | {"outputs": sorted(named, key=str), "raw_output_contents": len(raw)}
        case dict():
            return {name: of for name, of in value.items() if name != "platform"}
        case list():
            return sorted(value, key=str)
        case _:
            return value


def _counted(stats: Any) -> Any:
    """The names of what is counted, without the numbers; of lists the first entry alone."""
    match stats:
        case dict():
            return {name: _counted(of) for name, of in stats.items()}
        case list():
            return [_counted(of) for of in stats[:1]]
        case int():
            return 0
        case str() if stats.isdecimal():  # as messages have large numbers in JSON
            return 0
        case _:
            return stats


def _config(config: dict[str, Any]) -> Any:
    """Of a configuration what both have something to say about: names, types and dimensions."""
    batch = [-1] if config.get("max_batch_size", 0) else []

    def end(of: dict[str, Any]) -> Any:
        dims = batch + [int(size) for size in of["dims"]]
        return of["name"], of["data_type"], dims, of.get("label_filename", "")

    return config["name"], [end(of) for of in config["input"]], [end(of) for of in config["output"]]


def _code(said: Said) -> str:
    """The code of our refusal, "" where it is none."""
    found = re.match(r"\[(FS\d+)\] ", _error(said))
    return found[1] if found else ""


def _error(said: Said) -> str:
    return said.value.get("error", "") if isinstance(said.value, dict) else ""


def _statuses(theirs: int, ours: int, code: str = "", text: str = "") -> Callable[[Asked, Said, Said], bool]:
    """Differs by status; our refusal has a code and says something."""

    def fits(asked: Asked, t: Said, o: Said) -> bool:
        return (
            (t.status, o.status) == (theirs, ours)
            and code in ("", _code(o))
            and bool(re.search(text, _error(o)))
        )

    return fits


def _fault(asked: Asked, theirs: Said, ours: Said) -> bool:
    # What is wrong with a model, or with its process, is a 500 by right.
    healthy = "not healthy" not in str(theirs.value) and "failed" not in str(ours.value)
    return theirs.status == 500 and 400 <= ours.status < 500 and healthy and _code(ours) != ""


def _null(asked: Asked, theirs: Said, ours: Said) -> bool:
    def finite(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        if isinstance(value, dict):
            return {name: finite(of) for name, of in value.items()}
        return [finite(of) for of in value] if isinstance(value, list) else value

    return same(theirs._replace(value=finite(theirs.value)), ours)


def _nul(asked: Asked, theirs: Said, ours: Said) -> bool:
    id_ = ours.value.get("id", "") if isinstance(ours.value, dict) else ""
    return "\0" in id_ and same(theirs, ours._replace(value=ours.value | {"id": id_.partition("\0")[0]}))


def _all_binary(asked: Asked, theirs: Said, ours: Said) -> bool:
    named = b'"binary_data_output": true' in asked.body and b'"outputs": [{' in asked.body
    return theirs.status == ours.status == 200 and named


def _where(asked: Asked, theirs: Said, ours: Said) -> bool:
    if ours.status != 200 or not isinstance(ours.value, dict):
        return False
    outputs = [dict(output) for output in ours.value.get("outputs", [])]
    told = [output.pop("parameters", {}).get("shared_memory_byte_size") for output in outputs]
    return None not in told and same(theirs, ours._replace(value=ours.value | {"outputs": outputs}))


def _in_half(asked: Asked, theirs: Said, ours: Said) -> bool:
    return (theirs.status, ours.status) == (400, 200) and b'"FP16"' in asked.body


def _rows(asked: Asked, theirs: Said, ours: Said) -> bool:
    return (theirs.status, ours.status) == (400, 200) and "/rows/" in asked.path


def _ranked(asked: Asked, theirs: Said, ours: Said) -> bool:
    return theirs.status == ours.status == 200 and b"classification" in asked.body


def _twice(asked: Asked, theirs: Said, ours: Said) -> bool:
    found = []

    def look(pairs: list[tuple[str, Any]]) -> None:
        found.append(len(pairs) > len(dict(pairs)))

    with contextlib.suppress(ValueError):
        json.JSONDecoder(object_pairs_hook=look).raw_decode(asked.body.decode("latin-1"))
    return theirs.status == 200 and any(found)


def _digits(asked: Asked, theirs: Said, ours: Said) -> bool:
    def close(a: Any, b: Any) -> bool:
        match a, b:
            case float(), float():
                return math.isclose(a, b, rel_tol=1e-15)
            case dict(), dict():
                return a.keys() == b.keys() and all(close(a[name], b[name]) for name in a)
            case ((list() | tuple()), (list() | tuple())):
                return len(a) == len(b) and all(map(close, a, b))
            case _:
                return bool(a == b)

    return theirs.status == ours.status == 200 and close(_plain(theirs), _plain(ours))


def _empty(asked: Asked, theirs: Said, ours: Said) -> bool:
    return (theirs.status, ours.status) == (500, 200) and (
        not asked.body or b'"trace_level": "OFF"' in asked.body
    )


DIFFERENCES = {
    "fault": Difference(
        "Triton says 500 to what the client did wrong; ours is a 4xx that names the field", _fault
    ),
    "number": Difference(
        "Triton makes 1e39 an infinity and lets integers overflow; ours must be within the datatype",
        _statuses(200, 400, "FS206", r"must be a (whole )?number"),
    ),
    "no JSON": Difference(
        "Triton takes a bare NaN or Infinity, text that is not UTF-8, and a byte-order mark; none is JSON",
        _statuses(200, 400, "", "is not JSON|cannot be read"),
    ),
    "null": Difference("Triton writes a bare NaN, which is no JSON: ours is null", _null),
    "digits": Difference(
        "Triton reads numbers of many digits a little wrong, and not the nearest FP64", _digits
    ),
    "nesting": Difference(
        "Triton flattens whatever is nested; ours must be flat or nested as its shape",
        _statuses(200, 400, "FS206", "must be an array of"),
    ),
    "UTF-8": Difference(
        "ONNX's strings are UTF-8; Triton writes any bytes into its JSON",
        _statuses(200, 400, "FS206", "must be UTF-8"),
    ),
    "parameters": Difference(
        "Triton forgets parameters of tensors that are no object, or no value; ours must be",
        _statuses(200, 400, "FS201", r"parameters(\[...\])?` is malformed"),
    ),
    "twice": Difference("of a name that stands twice in JSON, Triton takes the first, ours the last", _twice),
    "NUL": Difference("Triton's ids end at the character NUL", _nul),
    "all binary": Difference(
        "`binary_data_output` is for all outputs; Triton forgets it where outputs are named", _all_binary
    ),
    "where": Difference(
        "an output in shared memory says where it is, and how many bytes it has; Triton does not", _where
    ),
    "FP16": Difference("Triton has no FP16 in JSON", _in_half),
    "classes": Difference(
        "Triton ranks an output without a batch axis as a whole, ours each row of it", _ranked
    ),
    "rows": Difference("a batch axis is one like others here: it may be 0, and has no largest size", _rows),
    "not there": Difference(
        "what is not there is 404; Triton's ready, statistics and trace settings say 400",
        _statuses(400, 404, "FS202"),
    ),
    "version 01": Difference(
        "a version has one name; Triton reads numbers", _statuses(200, 404, "FS202", "`01`")
    ),
    "routes": Difference(
        "ours decodes %xx, ends with or without a slash, and has pages", _statuses(404, 200)
    ),
    "HEAD": Difference("ours answers HEAD where it answers GET, as HTTP has it", _statuses(405, 200)),
    "generate": Difference("the generate extension is for language models", _statuses(405, 404, "FS209")),
    "coding": Difference("415 is what HTTP has for a coding that is not known", _statuses(501, 415)),
    "settings": Difference(
        "a setting that has no effect is refused, rather than forgotten",
        lambda *of: (
            _statuses(200, 400, "FS233")(*of)
            or _statuses(501, 400, "FS233")(*of)
            or _statuses(503, 400, "FS233")(*of)
        ),
    ),
    "nothing": Difference("no body is no change of settings, and one trace level needs no list", _empty),
    "sequences": Difference(
        "sequences have no meaning here, and parameters without one are let through", _statuses(500, 200)
    ),
    "no object": Difference(
        "Triton takes any JSON where it expects an object",
        _statuses(200, 400, "FS201", "must be a JSON object"),
    ),
    "CUDA": Difference("CUDA memory is refused whatever is asked of it", _statuses(404, 400, "FS231")),
    "unload": Difference(
        "Triton unloads what it has never heard of; a name that is wrong is told",
        _statuses(200, 400, "FS107"),
    ),
}
