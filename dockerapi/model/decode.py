"""Reading JSON bodies as Go's decoder does: names in any case, null as absent.

Source: Go's encoding/json; dockerd's texts for what cannot be read. Rule: members that a type does
not have are passed over; a value of the wrong kind is an error that names its member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from msgspec import inspect

from dockerapi.model.jsonsyntax import explain
from dockerapi.model.malformed import Malformed

T = TypeVar("T")

_MISMATCH = re.compile(r"Expected `([^`]+)`, got `([^`]+)`(?: - at `(?:key in )?\$([^`]*)`)?")
_GO_KINDS = {"int": "number", "float": "number", "str": "string", "null": "null"}
_GO_TYPES = {"str": "string", "int": "int64", "float": "float64", "array": "[]string"}

#: Go's int64, which is what every whole number of the API is at most.
_INT64 = 1 << 63

_Adapt = Callable[[Any], Any]


def decode_json(body: bytes, kind: type[T]) -> T:
    """Read `body` as a `kind`, a msgspec Struct.

    Raises `Malformed` in dockerd's words.
    """
    if not body.strip():
        raise Malformed("invalid JSON: EOF")
    try:
        raw = msgspec.json.decode(_in_utf8(body))
    except msgspec.DecodeError as error:
        if "trailing characters" in str(error):
            raise Malformed("unexpected content after JSON") from None
        raise Malformed(f"invalid JSON: {explain(body)}") from None
    except RecursionError:
        raise Malformed("invalid JSON: exceeded max depth") from None
    try:
        return msgspec.convert({} if raw is None else _adapter(cast(Hashable, kind))(raw), kind)
    except msgspec.ValidationError as error:
        raise Malformed(f"invalid JSON: {_in_go(str(error))}") from None


def _in_utf8(body: bytes) -> bytes:
    """Return `body` with U+FFFD in the place of what is no UTF-8, as Go reads it."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace").encode()
    return body


@cache
def _adapter(kind: Hashable) -> _Adapt:
    return _adapt_to(inspect.type_info(kind), {})


def _adapt_to(info: inspect.Type, known: dict[type[Any], _Adapt]) -> _Adapt:
    """Return what renames the members of a value of the type `info`, and leaves nulls out."""
    if isinstance(info, inspect.UnionType):
        parts = [part for part in info.types if not isinstance(part, inspect.NoneType)]
        adapters = [_adapt_to(part, known) for part in parts]
        return next((adapter for adapter in adapters if adapter is not _as_it_is), _as_it_is)
    if isinstance(info, inspect.ListType):
        item = _adapt_to(info.item_type, known)
        return _as_it_is if item is _as_it_is else lambda value: _each(value, item)
    if isinstance(info, inspect.DictType):
        item = _adapt_to(info.value_type, known)
        return _as_it_is if item is _as_it_is else lambda value: _each_value(value, item)
    if isinstance(info, inspect.StructType):
        return _struct_adapter(info, known)
    if isinstance(info, inspect.IntType):
        return _within_int64
    return _as_it_is


def _struct_adapter(info: inspect.StructType, known: dict[type[Any], _Adapt]) -> _Adapt:
    if info.cls in known:
        return known[info.cls]
    members: dict[str, tuple[str, _Adapt]] = {}

    def adapt(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        adapted = {}
        for name, item in value.items():
            member = members.get(name.lower())
            if member is not None and item is not None:
                adapted[member[0]] = member[1](item)
        return adapted

    known[info.cls] = adapt
    for field in info.fields:
        members[field.encode_name.lower()] = (field.encode_name, _adapt_to(field.type, known))
    return adapt


def _within_int64(value: Any) -> Any:
    if isinstance(value, int | float) and not -_INT64 <= value < _INT64:
        raise Malformed(
            f"invalid JSON: json: cannot unmarshal number {value} into Go value of type int64"
        )
    return value


def _as_it_is(value: Any) -> Any:
    return value


def _each(value: Any, adapt: _Adapt) -> Any:
    return [adapt(item) for item in value] if isinstance(value, list) else value


def _each_value(value: Any, adapt: _Adapt) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: item if item is None else adapt(item) for name, item in value.items()}


def _in_go(message: str) -> str:
    """Return msgspec's message in the words of Go's decoder, where it is a mismatch of kinds."""
    match = _MISMATCH.search(message)
    if match is None:
        return message
    expected = match[1].split(" | ")[0]
    kind, wanted = _GO_KINDS.get(match[2], match[2]), _GO_TYPES.get(expected, expected)
    where = f"Go struct field {match[3]}" if match[3] else "Go value"
    return f"json: cannot unmarshal {kind} into {where} of type {wanted}"
