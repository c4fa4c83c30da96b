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


class Service(msgspec.Struct, frozen=True):
    """A service of a definition. `messages` has the class of every message of it, by name."""

    name: str
    """With the package, as in `inference.GRPCInferenceService`."""
    methods: dict[str, Method]
    messages: dict[str, Any]
    file: bytes
    """The definition as protobuf's compiler would write it, a `FileDescriptorProto`."""


def read_service(text: str) -> Service:
    """Make the classes that a definition with one service describes.

    They live in a pool of their own: a program that also loads somebody's generated code for messages of the
    same names keeps both.
    """
    read = _Reader(text).file()
    pool = descriptor_pool.DescriptorPool()
    pool.Add(read)
    classes = message_factory.GetMessageClassesForFiles([read.name], pool)
    file = pool.FindFileByName(read.name)
    (service,) = file.services_by_name.values()
    copy = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)  # with whole names, unlike what was read
    return Service(
        service.full_name,
        {
            of.name: Method(of.name, classes[of.input_type.full_name], classes[of.output_type.full_name])
            for of in service.methods
        },
        {name.removeprefix(f"{file.package}."): made for name, made in classes.items()},
        copy.SerializeToString(),
    )


class _Reader:
    """Recursive descent. The text is ours: what is wrong with it is a bug, and an assertion says so."""

    def __init__(self, text: str) -> None:
        self._tokens: Iterator[str] = iter([t for t in _TOKEN.findall(text) if not t.startswith("//")])
        self._enums: set[str] = set()

    def file(self) -> Any:
        file = descriptor_pb2.FileDescriptorProto(syntax="proto3")
        for token in self._tokens:
            match token:
                case "package":
                    file.package = self._take()
                    file.name = f"{file.package}.proto"
                    self._expect(";")
                case "enum":
                    self._enum(file.enum_type.add())
                case "message":
                    self._message(file.message_type.add(), file.package)
                case "service":
                    self._service(file.service.add())
                case _:
                    raise AssertionError(f"unexpected `{token}`")
        return file

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

    def _service(self, service: Any) -> None:
        service.name = self._take()
        self._expect("{")
        while self._take() != "}":  # `rpc`
            method = service.method.add(name=self._take())
            method.input_type, method.client_streaming = self._side()
            self._expect("returns")
            method.output_type, method.server_streaming = self._side()
            self._expect(";")

    def _side(self) -> tuple[str, bool]:
        self._expect("(")
        name = self._take()
        streams = name == "stream"
        if streams:
            name = self._take()
        self._expect(")")
        return name, streams
