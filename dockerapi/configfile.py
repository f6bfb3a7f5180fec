"""The configuration file: dockerd's daemon.json, for the options that exist here.

Rule: what cannot be honoured is refused by name, in dockerd's words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dockerapi.engine.errors import InvalidParameter
from dockerapi.settings import Kind, Option, convert, options


class _Limit(msgspec.Struct, forbid_unknown_fields=True, rename="pascal"):
    soft: int
    hard: int
    name: str = ""


class _Program(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """A runtime; tools write empty lists of arguments beside its path."""

    path: str
    runtime_args: list[str] = []
    args: list[str] = []


_TYPES: Mapping[Kind, type] = {
    Kind.FLAG: bool,
    Kind.TEXT: str,
    Kind.LIST: list[str],
    Kind.PAIRS: dict[str, str],
    Kind.PROGRAMS: dict[str, _Program],
    Kind.LIMITS: dict[str, _Limit],
    Kind.NUMBER: int,
    Kind.SECONDS: float,
    Kind.VERSION: str,
}


def read_config_file(path: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in the file at `path`, by field.

    :param given: what the command line gave, by field; the file may not give it too.

    Raises `InvalidParameter`.
    """
    try:
        return _read(Path(path), given)
    except InvalidParameter as error:
        raise InvalidParameter(
            f"unable to configure the Docker daemon with file {path}: {error.message}"
        ) from None


def _read(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    values = _load(path)
    by_key = {option.key: option for option in options() if option.key is not None}
    unknown = [key for key in values if key not in by_key]
    if unknown:
        raise InvalidParameter(
            f"the following directives don't match any configuration option: {_join(unknown)}"
        )
    found = {key: _convert(by_key[key], value) for key, value in values.items()}
    twice = [
        f"{key}: (from flag: {_shown(given[by_key[key].field])}, from file: {_shown(value)})"
        for key, value in found.items()
        if by_key[key].field in given
    ]
    if twice:
        raise InvalidParameter(
            "the following directives are specified both as a flag and in the configuration "
            f"file: {_join(twice)}"
        )
    return {by_key[key].field: value for key, value in found.items()}


def _load(path: Path) -> dict[str, Any]:
    """Read the file's object, without the members that are null (unset, as for dockerd)."""
    try:
        text = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidParameter(f"open {path}: {reason}") from None
    if not text.strip():
        return {}
    try:
        values = msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidParameter(str(error)) from None
    return {key: value for key, value in values.items() if value is not None}


def _convert(option: Option, value: Any) -> Any:
    try:
        checked: Any = msgspec.convert(value, _TYPES[option.kind])
        if option.kind is Kind.PROGRAMS:
            if any(program.runtime_args or program.args for program in checked.values()):
                raise ValueError("arguments of runtimes are not supported: name a script")
            return tuple(f"{name}={program.path}" for name, program in checked.items())
        if option.kind is Kind.LIMITS:
            return tuple(f"{name}={one.soft}:{one.hard}" for name, one in checked.items())
        if option.kind is Kind.PAIRS:
            return tuple(f"{name}={text}" for name, text in checked.items())
        return convert(option, checked) if option.kind is Kind.VERSION else checked
    except (msgspec.ValidationError, ValueError) as error:
        raise InvalidParameter(f"{option.key}: {error}") from None


def _join(parts: Iterable[str]) -> str:
    return ", ".join(sorted(parts))


def _shown(value: Any) -> str:
    """Write a value as Go's %v does."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return f"[{' '.join(str(item) for item in value)}]"
    return str(value)
