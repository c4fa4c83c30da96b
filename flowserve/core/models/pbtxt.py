"""A model's configuration as Triton's model_config.proto has it: written as text, given as JSON, and read.

Only what this server and a publisher need is written; of a file that someone else wrote, every field is
parsed and the few that matter here are read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec

from flowserve.core.models.model import Bound, Model
from flowserve.core.models.pipeline import Pipeline
from flowserve.core.models.settings import PRIORITIES
from flowserve.core.models.signature import Signature, TensorSpec

LABELS_FILE = "labels.txt"

Message = dict[str, list[Any]]
"""A parsed message: every field with its values in order. A value is a str, int, float, bool or `Message`."""

_TOKEN = re.compile(
    r"""(?P<blank>\s+|\#[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z0-9_.+\-/]+)
      | (?P<sign>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
_NESTING_MAX = 32


class ConfigError(Exception):
    """The text is not a protobuf text message; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        self.line = line
        super().__init__(reason)


def config_text(name: str, signature: Signature) -> str:
    """Return `config.pbtxt` for a model served by onnxruntime. An output with labels names the labels file.

    `max_batch_size` is 0: the batch stands in `dims`, as -1, like any other dimension of the ONNX graph.
    """
    lines = [f"name: {_quoted(name)}", 'backend: "onnxruntime"', "max_batch_size: 0", *_ends_text(signature)]
    return "\n".join(lines) + "\n"


def pipeline_config_text(name: str, signature: Signature, pipeline: Pipeline, versions: Sequence[int]) -> str:
    """Return `config.pbtxt` for a pipeline, an ensemble to Triton; `versions` are what its names mean now.

    Its outputs have the labels that its models give them.
    """
    outputs = [msgspec.structs.replace(spec, labels=()) for spec in signature.outputs]
    ends = _ends_text(Signature(signature.inputs, tuple(outputs)))
    lines = [f"name: {_quoted(name)}", 'platform: "ensemble"', "max_batch_size: 0", *ends]
    lines.append("ensemble_scheduling {")
    for step, version in zip(pipeline.step, versions, strict=True):
        bare, _, tag = step.model.partition("@")
        number = version if tag else -1
        lines += ["  step {", f"    model_name: {_quoted(bare)}", f"    model_version: {number}"]
        for kind, mapped in (("input_map", step.inputs), ("output_map", step.outputs)):
            lines += [
                f"    {kind} {{ key: {_quoted(own)} value: {_quoted(tensor)} }}"
                for own, tensor in mapped.items()
            ]
        lines.append("  }")
    return "\n".join([*lines, "}"]) + "\n"


def _ends_text(signature: Signature) -> list[str]:
    sides = (("input", signature.inputs), ("output", signature.outputs))
    return [
        line for kind, specs in sides for spec in specs for line in (f"{kind} {{", *_tensor_text(spec), "}")
    ]


def config_json(model: Model) -> dict[str, Any]:
    """Return the same as `config_text`, as the model configuration extension gives it, and how calls run."""
    steps = {} if model.bound is None else {"ensemble_scheduling": {"step": _steps_json(model.bound)}}
    return {
        "name": model.name,
        "platform": model.platform,
        "backend": "" if model.bound else "onnxruntime",
        "max_batch_size": 0,
        "input": [_tensor_json(spec) for spec in model.signature.inputs],
        "output": [_tensor_json(spec) for spec in model.signature.outputs],
        **_settings_json(model),
        **steps,
    }


def _steps_json(bound: Bound) -> list[dict[str, Any]]:
    return [
        {
            "model_name": member.name,
            "model_version": member.version,
            "input_map": dict(step.inputs),
            "output_map": dict(step.outputs),
        }
        for step, member in zip(bound.pipeline.step, bound.members, strict=True)
    ]


def _settings_json(model: Model) -> dict[str, Any]:
    """What Triton has a field for stands there, and the rest among the parameters."""
    settings = model.settings
    said: dict[str, Any] = {}
    if settings.concurrency:
        group: dict[str, Any] = {"count": settings.concurrency, "kind": "KIND_CPU"}
        if model.seat.on_gpu:
            group |= {"kind": "KIND_GPU", "gpus": [model.seat.number]}
        said["instance_group"] = [group]
    if settings.batching == "on":
        said["dynamic_batching"] = {
            "preferred_batch_size": [settings.preferred_rows] if settings.preferred_rows else [],
            "max_queue_delay_microseconds": round(settings.delay_ms * 1e3),
            "priority_levels": PRIORITIES,
            "default_priority_level": settings.priority,
            "default_queue_policy": {
                "timeout_action": "REJECT",
                "default_timeout_microseconds": round(settings.timeout_ms * 1e3),
                "allow_timeout_override": True,
                "max_queue_size": settings.queue,
            },
        }
    if settings.cache_mb:
        said["response_cache"] = {"enable": True}
    # `max_batch_size` cannot say it: it would take the first of `dims` away.
    parameters: dict[str, object] = {"tier": settings.tier}
    if model.bound is None:
        parameters |= {"intra_op_thread_count": settings.threads, "weights": settings.weights}
    if model.seat.on_gpu:
        parameters |= {"providers": settings.providers, "gpu_memory_bytes": model.seat.bytes}
    if settings.max_rows:
        parameters["max_rows"] = settings.max_rows
    said["parameters"] = {name: {"string_value": str(value)} for name, value in parameters.items()}
    return said


def parse_config(text: str) -> Message:
    """Read the protobuf text format. Raises `ConfigError`."""
    return _Reader(text).message("", 0)


def label_files(config: Message) -> dict[str, str]:
    """Return the labels file of every output that has one, by the output's name."""
    outputs = [output for output in config.get("output", []) if isinstance(output, dict)]
    return {str(_last(o, "name", "")): str(o["label_filename"][-1]) for o in outputs if "label_filename" in o}


def config_field(config: Message, name: str) -> str:
    """Return a text field, "" where it is not set."""
    return str(_last(config, name, ""))


def _last(message: Message, name: str, default: Any) -> Any:
    return message.get(name, [default])[-1]


def _tensor_text(spec: TensorSpec) -> list[str]:
    # Triton demands at least one dimension of every tensor: a scalar is declared as [1] and reshaped.
    dims = ", ".join(map(str, spec.shape or (1,)))
    lines = [f"  name: {_quoted(spec.name)}", f"  data_type: {spec.datatype.config}", f"  dims: [ {dims} ]"]
    if not spec.shape:
        lines.append("  reshape { shape: [ ] }")
    if spec.labels:
        lines.append(f"  label_filename: {_quoted(LABELS_FILE)}")
    return lines


def _tensor_json(spec: TensorSpec) -> dict[str, Any]:
    tensor = {"name": spec.name, "data_type": spec.datatype.config, "dims": list(spec.shape)}
    return tensor | ({"label_filename": LABELS_FILE} if spec.labels else {})


def _quoted(text: str) -> str:
    # JSON's escapes are all the text format's too, once nothing beyond ASCII is escaped as surrogates.
    return json.dumps(text, ensure_ascii=False)


class _Reader:
    """Recursive descent over tokens of the text format."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0

    def message(self, closing: str, depth: int) -> Message:
        if depth > _NESTING_MAX:
            self._fail("messages are nested too deeply")
        found: Message = {}
        while (name := self._take())[1] != closing or name[0] == "string":
            if name[0] != "word":
                self._fail(f"expected a field's name, got `{name[1] or 'the end'}`")
            values = found.setdefault(name[1], [])
            values += self._values(depth)
            if self._peek() in (",", ";"):
                self._take()
        return found

    def _values(self, depth: int) -> list[Any]:
        if self._peek() == ":":
            self._take()
        elif self._peek() not in ("[", *_CLOSING):  # messages, alone or listed, need no colon
            self._fail(f"expected `:`, got `{self._peek() or 'the end'}`")
        if self._peek() != "[":
            return [self._value(depth)]
        self._take()
        values: list[Any] = []
        while self._peek() != "]":
            values.append(self._value(depth))
            if self._peek() == ",":
                self._take()
        self._take()
        return values

    def _value(self, depth: int) -> Any:
        kind, text, _ = self._take()
        if kind == "sign" and text in _CLOSING:
            return self.message(_CLOSING[text], depth + 1)
        if kind == "string":
            while self._at < len(self._tokens) and self._tokens[self._at][0] == "string":
                text += self._take()[1]
            return text
        if kind != "word":
            self._fail(f"expected a value, got `{text or 'the end'}`")
        return _scalar(text)

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._tokens[self._at][0] == "sign" else ""

    def _take(self) -> tuple[str, str, int]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)  # the end stays
        return token

    def _fail(self, reason: str) -> NoReturn:
        raise ConfigError(_line(self._text, self._tokens[max(0, self._at - 1)][2]), reason)


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """The kind of each token, what it says and where it begins, with one of the kind "end" after the last."""
    tokens, at = [], 0
    for found in _TOKEN.finditer(text):
        if found.start() != at:
            break
        at = found.end()
        kind = found.lastgroup
        if kind != "blank":
            token = found.group()
            tokens.append((str(kind), _unquoted(token[1:-1]) if kind == "string" else token, found.start()))
    if at < len(text):
        raise ConfigError(_line(text, at), f"unexpected `{text[at]}`")
    return [*tokens, ("end", "", at)]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))")
_SHORT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}


def _unquoted(text: str) -> str:
    def meaning(escape: re.Match[str]) -> str:
        wide, narrow, octal, short = escape.groups()
        if wide or narrow:
            return chr(int(wide or narrow, 16))
        return chr(int(octal, 8)) if octal else _SHORT.get(short, short)

    return _ESCAPE.sub(meaning, text) if "\\" in text else text


def _scalar(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
