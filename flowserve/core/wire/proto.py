"""Message classes from a protobuf definition that stands in the source as text: no generated code.

Reads what `service.py` is written in: messages, scalar, message and enum fields, `repeated`, `map` and
`oneof`, and a service of unary and streaming calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Field = descriptor_pb2.FieldDescriptorProto

_TOKEN = re.compile(r"//[^\n]*|[\w.]+|\S")
_SCALARS: dict[str, Any] = {
    name: getattr(Field, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


class Method(msgspec.Struct, frozen=True):
    """A call of a service, with the classes of its messages."""

    name: str
    request: Any
    response: Any
    streams: bool
    """Both sides send any number of messages; else one each."""


class Service(msgspec.Struct, frozen=True):
    """A service of a definition. `messages` has the class of every message of it, by name."""

    name: str
    """With the package, as in `inference.GRPCInferenceService`."""
    methods: dict[str, Method]
    messages: dict[str, Any]


def read_service(text: str) -> Service:
    """Make the classes that a definition with one service describes.

    They live in a pool of their own: a program that also loads somebody's generated code for messages of the
    same names keeps both.
    """
    file, service, methods = _Reader(text).file()
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    classes = message_factory.GetMessageClassesForFiles([file.name], pool)
    messages = {name.removeprefix(f"{file.package}."): made for name, made in classes.items()}
    return Service(
        f"{file.package}.{service}",
        {
            name: Method(name, messages[asked], messages[given], streams)
            for name, asked, given, streams in methods
        },
        messages,
    )


class _Reader:
    """Recursive descent. The text is ours: what is wrong with it is a bug, and an assertion says so."""

    def __init__(self, text: str) -> None:
        self._tokens: Iterator[str] = iter([t for t in _TOKEN.findall(text) if not t.startswith("//")])
        self._enums: set[str] = set()

    def file(self) -> tuple[Any, str, list[tuple[str, str, str, bool]]]:
        file = descriptor_pb2.FileDescriptorProto(name="flowserve.proto", syntax="proto3")
        service, methods = "", []
        for token in self._tokens:
            match token:
                case "package":
                    file.package = self._take()
                    self._expect(";")
                case "enum":
                    self._enum(file.enum_type.add())
                case "message":
                    self._message(file.message_type.add(), file.package)
                case "service":
                    service, methods = self._take(), self._methods()
                case _:
                    raise AssertionError(f"unexpected `{token}`")
        return file, service, methods

    def _take(self) -> str:
        return next(self._tokens)

    def _expect(self, *tokens: str) -> None:
        for token in tokens:
            came = self._take()
            assert came == token, f"expected `{token}`, got `{came}`"

    def _enum(self, enum: Any) -> None:
        enum.name = self._take()
        self._enums.add(enum.name)
        self._expect("{")
        while (name := self._take()) != "}":
            self._expect("=")
            enum.value.add(name=name, number=int(self._take()))
            self._expect(";")

    def _message(self, message: Any, scope: str) -> None:
        message.name = self._take()
        scope = f"{scope}.{message.name}"
        self._expect("{")
        while (token := self._take()) != "}":
            match token:
                case "message":
                    self._message(message.nested_type.add(), scope)
                case "oneof":
                    index = len(message.oneof_decl)
                    message.oneof_decl.add(name=self._take())
                    self._expect("{")
                    while (kind := self._take()) != "}":
                        self._field(message, kind, Field.LABEL_OPTIONAL).oneof_index = index
                case "map":
                    self._map(message, scope)
                case "repeated":
                    self._field(message, self._take(), Field.LABEL_REPEATED)
                case kind:
                    self._field(message, kind, Field.LABEL_OPTIONAL)

    def _field(self, message: Any, kind: str, label: Any) -> Any:
        field = message.field.add(name=self._take(), label=label)
        self._expect("=")
        field.number = int(self._take())
        self._expect(";")
        self._set_type(field, kind)
        return field

    def _set_type(self, field: Any, kind: str) -> None:
        if kind in _SCALARS:
            field.type = _SCALARS[kind]
        else:  # a name without a leading dot is looked up from the inside out, as protoc does
            field.type = Field.TYPE_ENUM if kind in self._enums else Field.TYPE_MESSAGE
            field.type_name = kind

    def _map(self, message: Any, scope: str) -> None:
        """On the wire a map is repeated entries of key and value."""
        self._expect("<")
        key = self._take()
        self._expect(",")
        value = self._take()
        self._expect(">")
        field = self._field(message, "", Field.LABEL_REPEATED)
        entry = message.nested_type.add(name=field.name.title().replace("_", "") + "Entry")
        entry.options.map_entry = True
        for number, (name, kind) in enumerate((("key", key), ("value", value)), 1):
            self._set_type(entry.field.add(name=name, number=number, label=Field.LABEL_OPTIONAL), kind)
        field.type_name = f".{scope}.{entry.name}"

    def _methods(self) -> list[tuple[str, str, str, bool]]:
        methods = []
        self._expect("{")
        while self._take() != "}":  # `rpc`
            name = self._take()
            asked, streams = self._side()
            self._expect("returns")
            given, _ = self._side()
            self._expect(";")
            methods.append((name, asked, given, streams))
        return methods

    def _side(self) -> tuple[str, bool]:
        self._expect("(")
        name = self._take()
        streams = name == "stream"
        if streams:
            name = self._take()
        self._expect(")")
        return name, streams
