"""What the code of a function depends on: a hash of it, and the names that it takes from elsewhere.

Read from `CodeType`, not from source: it holds all that matters to a trace, the places of calls within the
function included, and nothing has to be parsed.
"""

from __future__ import annotations

import functools
import hashlib
import opcode
from collections.abc import Iterator
from types import CodeType

import msgspec

NEWEST = (3, 13)  # the last Python whose instructions are known here

_EXTENDED = opcode.opmap["EXTENDED_ARG"]
_CACHE = opcode.opmap["CACHE"]
_CONSTANT = opcode.opmap["LOAD_CONST"]
_CONTAINS = opcode.opmap["CONTAINS_OP"]
_IMPORT = opcode.opmap["IMPORT_NAME"]
_SUPER = opcode.opmap.get("LOAD_SUPER_ATTR")


def _shifts(**shifts: int) -> dict[int, int]:
    """By instruction, as far as this Python has it: by how much the index of its name is shifted."""
    return {opcode.opmap[name]: shift for name, shift in shifts.items() if name in opcode.opmap}


_GLOBALS = _shifts(LOAD_GLOBAL=1, LOAD_NAME=0, LOAD_FROM_DICT_OR_GLOBALS=0)
_ATTRIBUTES = _shifts(
    LOAD_ATTR=1 if "LOAD_METHOD" not in opcode.opmap or opcode.opmap["LOAD_METHOD"] > 255 else 0,
    LOAD_METHOD=0,
    LOAD_SUPER_ATTR=2,
    STORE_ATTR=0,
    DELETE_ATTR=0,
    IMPORT_FROM=0,
)
_SETS = {opcode.opmap[name] for name in ("BUILD_SET", "SET_ADD", "SET_UPDATE")}
_MATCHES = opcode.opmap["MATCH_CLASS"]


class Uses(msgspec.Struct, frozen=True, eq=False):
    """What code takes from elsewhere, functions within it included.

    `chains` are globals with the attributes that are taken of them at once: `numpy.linalg.norm` is a chain of
    three. `attributes` are all names of attributes, of whatever. `sets`: it makes sets, whose order may be
    another in another process.
    """

    chains: frozenset[tuple[str, ...]]
    attributes: frozenset[str]
    imports: frozenset[str]
    sets: bool


@functools.lru_cache(maxsize=4096)
def uses_of(code: CodeType) -> Uses:
    """What code takes from elsewhere."""
    chains: set[tuple[str, ...]] = set()
    attributes: set[str] = set()
    imports: set[str] = set()
    sets = False
    chain: tuple[str, ...] = ()
    for operation, argument in _instructions(code):
        if operation in _ATTRIBUTES:
            name = code.co_names[argument >> _ATTRIBUTES[operation]]
            attributes.add(name)
            if chain and operation != _SUPER:  # that is one of its result, not of its last argument
                chain = (*chain, name)
                continue
        if chain:
            chains.add(chain)
            chain = ()
        if operation in _GLOBALS:
            chain = (code.co_names[argument >> _GLOBALS[operation]],)
        elif operation == _IMPORT:
            imports.add(code.co_names[argument])
        elif operation in _SETS:
            sets = True
        elif operation == _MATCHES:  # names of attributes are in a constant, whichever
            for constant in code.co_consts:
                attributes |= set(constant) if isinstance(constant, tuple) else set()
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = uses_of(constant)
            chains |= inner.chains
            attributes |= inner.attributes
            imports |= inner.imports
            sets |= inner.sets
    return Uses(frozenset(chains), frozenset(attributes), frozenset(imports), sets)


def digest_of(code: CodeType, base: int) -> str:
    """A hash of code, by places relative to line `base`."""
    found = hashlib.blake2b(code.co_code, digest_size=16)
    found.update(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode())
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    found.update(repr((code.co_firstlineno - base, *counts)).encode())
    found.update(code.co_linetable + code.co_exceptiontable)
    ordered = _ordered_sets(code)
    for number, constant in enumerate(code.co_consts):
        if isinstance(constant, CodeType):
            inner = digest_of(constant, base)
        elif isinstance(constant, frozenset):
            inner = repr(list(constant) if number in ordered else sorted(constant, key=repr))
        else:
            inner = repr(constant)
        found.update(f"{type(constant).__name__} {inner}\n".encode(errors="surrogatepass"))
    return found.hexdigest()


def _ordered_sets(code: CodeType) -> set[int]:
    """The constants whose order may matter: sets that are used for more than to ask what is in them."""
    if not any(isinstance(constant, frozenset) for constant in code.co_consts):
        return set()
    found, last = set(), -1
    for operation, argument in _instructions(code):
        if last >= 0 and operation != _CONTAINS:
            found.add(last)
        last = argument if operation == _CONSTANT else -1
    return found


def _instructions(code: CodeType) -> Iterator[tuple[int, int]]:
    argument = 0
    for operation, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument = argument << 8 | low
        if operation == _EXTENDED:
            continue
        if operation != _CACHE:
            yield operation, argument
        argument = 0
