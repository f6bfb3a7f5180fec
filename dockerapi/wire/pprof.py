"""Profiles in pprof's own format: gzipped protocol buffers, and as text.

Source: the message `perftools.profiles.Profile` of google/pprof's `profile.proto`. Strings,
functions and locations are kept once each and referred to by number. Rule: pure.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence

import msgspec

_PROFILE_SAMPLE_TYPE = 1
_PROFILE_SAMPLE = 2
_PROFILE_LOCATION = 4
_PROFILE_FUNCTION = 5
_PROFILE_STRING = 6
_PROFILE_TIME = 9
_PROFILE_DURATION = 10
_PROFILE_PERIOD_TYPE = 11
_PROFILE_PERIOD = 12


class Frame(msgspec.Struct, frozen=True):
    """One place in a stack: a function, its file, and the line that runs."""

    function: str
    file: str
    line: int


class Sample(msgspec.Struct, frozen=True):
    """A stack, innermost frame first, with one value for each of the profile's types."""

    stack: tuple[Frame, ...]
    values: tuple[int, ...]


class Profile(msgspec.Struct, frozen=True):
    """Samples and what their values mean.

    :ivar types: name and unit of each value, as in ``("cpu", "nanoseconds")``.
    :ivar period: name, unit and value of what lies between two samples, or None.
    :ivar time_ns: when it was taken, in nanoseconds since 1970.
    :ivar duration_ns: for how long.
    """

    types: Sequence[tuple[str, str]]
    samples: Sequence[Sample]
    period: tuple[str, str, int] | None = None
    time_ns: int = 0
    duration_ns: int = 0


def encode(profile: Profile) -> bytes:
    """Return `profile` as gzipped protocol buffer, which pprof's viewers open."""
    return gzip.compress(_Encoder().encode(profile), compresslevel=3, mtime=0)


def text(profile: Profile) -> str:
    """Return `profile` for people: each stack with its values, the largest first."""
    heading = ", ".join(f"{name}/{unit}" for name, unit in profile.types)
    lines = [f"{len(profile.samples)} stacks; {heading}"]
    for sample in sorted(profile.samples, key=lambda sample: sample.values, reverse=True):
        lines.append("")
        lines.append(" ".join(str(value) for value in sample.values) + " @")
        lines += [f"#\t{frame.function}\t{frame.file}:{frame.line}" for frame in sample.stack]
    return "\n".join(lines) + "\n"


def _varint(number: int) -> bytes:
    # Negative numbers are written as 64-bit two's complement.
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value) if value else b""


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _packed(field: int, values: Iterable[int]) -> bytes:
    return _bytes(field, b"".join(_varint(value) for value in values))


class _Encoder:
    """The tables of one profile while it is written."""

    def __init__(self) -> None:
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[str, str], int] = {}
        self._locations: dict[Frame, int] = {}

    def encode(self, profile: Profile) -> bytes:
        parts = [_bytes(_PROFILE_SAMPLE_TYPE, self._type(*kind)) for kind in profile.types]
        parts += [
            _bytes(
                _PROFILE_SAMPLE,
                _packed(1, [self._location(frame) for frame in sample.stack])
                + _packed(2, sample.values),
            )
            for sample in profile.samples
        ]
        parts += [
            _bytes(
                _PROFILE_LOCATION,
                _number(1, number)
                # pprof's viewers tell locations apart by address where there is no mapping.
                + _number(3, number)
                + _bytes(4, _number(1, self._function(frame)) + _number(2, frame.line)),
            )
            for frame, number in self._locations.items()
        ]
        parts += [
            _bytes(
                _PROFILE_FUNCTION,
                _number(1, number)
                + _number(2, self._string(name))
                + _number(3, self._string(name))
                + _number(4, self._string(file)),
            )
            for (name, file), number in self._functions.items()
        ]
        if profile.period is not None:
            name, unit, period = profile.period
            parts.append(_bytes(_PROFILE_PERIOD_TYPE, self._type(name, unit)))
            parts.append(_number(_PROFILE_PERIOD, period))
        parts.append(_number(_PROFILE_TIME, profile.time_ns))
        parts.append(_number(_PROFILE_DURATION, profile.duration_ns))
        parts += [
            _bytes(_PROFILE_STRING, string.encode("utf-8", "backslashreplace"))
            for string in self._strings
        ]
        return b"".join(parts)

    def _type(self, name: str, unit: str) -> bytes:
        return _number(1, self._string(name)) + _number(2, self._string(unit))

    def _string(self, string: str) -> int:
        return self._strings.setdefault(string, len(self._strings))

    def _function(self, frame: Frame) -> int:
        return self._functions.setdefault((frame.function, frame.file), len(self._functions) + 1)

    def _location(self, frame: Frame) -> int:
        self._function(frame)
        return self._locations.setdefault(frame, len(self._locations) + 1)
