"""Platforms that images are for: an operating system, an architecture and its variant.

Source: the package `platforms` of containerd, whose grammar, aliases and texts for errors these
are. Rule: names are Go's, in lower case, whatever a client wrote.
"""

from __future__ import annotations

import platform
import re
from typing import Self

import msgspec

from dockerapi.model.decode import decode_json
from dockerapi.model.malformed import Malformed

_OS = re.compile(r"([A-Za-z0-9_-]+)(?:\([A-Za-z0-9_.%-]*(?:\+[A-Za-z0-9_.%-]+)*\))?")
_OS_PATTERN = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_PART_PATTERN = "^[A-Za-z0-9_.-]+$"
_SYSTEMS = (
    *("aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux"),
    *("nacl", "netbsd", "openbsd", "plan9", "solaris", "windows", "zos"),
)
_ARCHITECTURES = (
    *("386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle"),
    *("mips64", "mips64le", "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv"),
    *("riscv64", "s390", "s390x", "sparc", "sparc64", "wasm"),
)
#: Architectures by other names, with the variant that such a name implies.
_ALIASES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
}
#: The variants that each architecture has where none is named.
_DEFAULT_VARIANTS = {"amd64": "v1", "arm64": "v8"}
#: Of arm; 64-bit machines run the later ones too, if there is nothing better.
VARIANT_ORDER = ("v8", "v7", "v6", "v5")
#: What `platform.machine` says beside the aliases.
_MACHINES = {"i686": ("386", ""), "armv7l": ("arm", "v7"), "armv6l": ("arm", "v6")}


class _Members(msgspec.Struct):
    """The members of the specification's platform that are looked at."""

    os: str = ""
    architecture: str = ""
    variant: str = ""


class Platform(msgspec.Struct, frozen=True):
    """An operating system and a processor's architecture, in Go's words; empty for any."""

    os: str = ""
    architecture: str = ""
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``os``, ``arch`` or ``os/arch[/variant]``; raise `Malformed`."""
        if "*" in text:
            raise _refused(text, "wildcards not yet supported")
        parts = text.split("/")
        for place, part in enumerate(parts):
            kind, expected, pattern = (
                ("platform specifier", _PART, _PART_PATTERN)
                if place
                else ("OSAndVersion specifier", _OS, _OS_PATTERN)
            )
            if expected.fullmatch(part) is None:
                what = "component" if place else "OS component"
                raise _refused(
                    part,
                    f"is an invalid {what} of {_quoted(text)}: {kind} component must match "
                    f"{_quoted(pattern)}",
                    colon="",
                )
        if len(parts) > 3:
            raise _refused(text, "cannot parse platform specifier")
        first = parts[0].partition("(")[0].lower()
        if len(parts) == 1:
            return cls._of_one(first, text)
        return cls.normal(first, *[*parts[1:], ""][:2])

    @classmethod
    def _of_one(cls, word: str, text: str) -> Self:
        """Return what one word alone means; the rest is as of this host."""
        host = host_platform()
        system = _system(word)
        if system in _SYSTEMS:
            return cls(system, host.architecture, host.variant)
        architecture, variant = _architecture(word, "")
        if architecture not in _ARCHITECTURES:
            raise _refused(text, "unknown operating system or architecture")
        implied = architecture == "arm" and variant == "v7"
        return cls(host.os, architecture, "" if implied else variant)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the object that queries give; raise `Malformed` in dockerd's words."""
        try:
            given = decode_json(text.encode(), _Members)
        except Malformed as malformed:
            why = malformed.message.removeprefix("invalid JSON: ")
            # So Go says it of a text, and not of a stream.
            why = why.replace("unexpected EOF", "unexpected end of JSON input")
            raise Malformed(f"failed to parse platform: {why}") from None
        if not given.os or not given.architecture:
            raise Malformed("both OS and Architecture must be provided")
        return cls.normal(given.os, given.architecture, given.variant)

    @classmethod
    def normal(cls, os: str, architecture: str, variant: str) -> Self:
        """Return the platform that these words mean, whatever names they have in them."""
        return cls(_system(os.lower()), *_architecture(architecture.lower(), variant.lower()))

    def fits(self, wanted: Self) -> bool:
        """Tell whether what is for this platform runs on another; variants go downwards."""
        return (
            self.os == wanted.os
            and self.architecture == wanted.architecture
            and _variant_fits(self.variant, wanted.variant)
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def host_platform() -> Platform:
    """Return the platform of this host."""
    machine = platform.machine()
    return Platform("linux", *_MACHINES.get(machine, _ALIASES.get(machine, (machine, ""))))


def _variant_fits(offered: str, wanted: str) -> bool:
    if not offered or not wanted or offered == wanted:
        return True
    if offered not in VARIANT_ORDER or wanted not in VARIANT_ORDER:
        return False
    return VARIANT_ORDER.index(offered) >= VARIANT_ORDER.index(wanted)


def _system(name: str) -> str:
    return "darwin" if name == "macos" else name


def _architecture(name: str, variant: str) -> tuple[str, str]:
    """Return an architecture and variant in Go's words; the usual variant goes without saying."""
    known, implied = _ALIASES.get(name, (name, ""))
    variant = variant or implied
    if known in ("arm", "arm64") and variant.isdecimal():
        variant = f"v{variant}"
    return known, "" if variant == _DEFAULT_VARIANTS.get(known) else variant


def _quoted(text: str) -> str:
    """Return `text` as Go quotes it."""
    return msgspec.json.encode(text).decode()


def _refused(text: str, why: str, *, colon: str = ":") -> Malformed:
    return Malformed(f"{_quoted(text)}{colon} {why}: invalid argument")
