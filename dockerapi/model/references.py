"""Image references: the grammar of names, tags and digests, their full and familiar forms.

Source: the package `reference` of the distribution project, whose texts for errors these are.
Rule: a `Reference` is always in its full form; what users see is its familiar form.
"""

from __future__ import annotations

import re
from typing import Self

import msgspec
from msgspec import structs

from dockerapi.model.malformed import Malformed

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"

_OFFICIAL = "library/"
_LONGEST_NAME = 255

_DOMAIN_NAME = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_DOMAIN_NAME}(?:\.{_DOMAIN_NAME})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(rf"({_DOMAIN})/({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
_TAG_ALONE = re.compile(_TAG)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")
#: Lengths of the digests that the grammar's users know, in hexadecimal digits.
_ALGORITHMS = {"sha256": 64, "sha384": 96, "sha512": 128}


class Reference(msgspec.Struct, frozen=True, order=True):
    """A name with perhaps a tag and a digest.

    :ivar domain: the registry's host, as in ``docker.io`` or ``localhost:5000``.
    :ivar path: the repository at that registry, as in ``library/busybox``.
    :ivar tag: empty for none, and `digest` (``sha256:HEX``) likewise.
    """

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference in its full or familiar form.

        Raises `Malformed` in the words of the distribution project.
        """
        if _IDENTIFIER.fullmatch(text):
            raise Malformed(
                f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )
        domain, remainder = _split(text)
        name = remainder.partition("@")[0].partition(":")[0]
        if name.lower() != name:
            raise Malformed(f"invalid reference format: repository name ({name}) must be lowercase")
        match = _REFERENCE.fullmatch(f"{domain}/{remainder}")
        if match is None:
            raise Malformed("invalid reference format")
        if len(match[1]) + 1 + len(match[2]) > _LONGEST_NAME:
            raise Malformed(f"repository name must not be more than {_LONGEST_NAME} characters")
        if match[4]:
            check_digest(match[4])
        return cls(match[1], match[2], match[3] or "", match[4] or "")

    @property
    def name(self) -> str:
        """The full name, as in ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as users write it, as in ``busybox``."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in short else short

    @property
    def familiar(self) -> str:
        """The reference as users write it, as in ``busybox:latest``."""
        return self.familiar_name + self._suffix()

    @property
    def is_bare(self) -> bool:
        """Whether it is a name alone, with neither tag nor digest."""
        return not self.tag and not self.digest

    def with_default_tag(self) -> Self:
        """Return it with the tag ``latest`` where it is a name alone."""
        return structs.replace(self, tag=DEFAULT_TAG) if self.is_bare else self

    def with_tag(self, tag: str) -> Self:
        """Return the name with `tag` and no digest; raise `Malformed` for what is no tag."""
        if _TAG_ALONE.fullmatch(tag) is None:
            raise Malformed("invalid tag format")
        return structs.replace(self, tag=tag, digest="")

    def with_digest(self, digest: str) -> Self:
        """Return the name with `digest` and no tag; raise `Malformed` for what is none."""
        check_digest(digest)
        return structs.replace(self, tag="", digest=digest)

    def __str__(self) -> str:
        return self.name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{tag}@{self.digest}" if self.digest else tag


def is_digest(text: str) -> bool:
    """Tell whether `text` is a digest of the one kind that contents have here (sha256)."""
    return _SHA256.fullmatch(text) is not None


def is_identifier(text: str) -> bool:
    """Tell whether `text` is the 64 hexadecimal digits of an id."""
    return _IDENTIFIER.fullmatch(text) is not None


def check_digest(text: str) -> None:
    """Check that `text` is a digest; raise `Malformed` otherwise."""
    algorithm, _, encoded = text.partition(":")
    if re.fullmatch(_DIGEST, text) is None and not encoded:
        raise Malformed("invalid checksum digest format")
    length = _ALGORITHMS.get(algorithm)
    if length is None:
        raise Malformed("unsupported digest algorithm")
    if len(encoded) != length:
        raise Malformed("invalid checksum digest length")
    if re.fullmatch(r"[a-f0-9]+", encoded) is None:
        raise Malformed("invalid checksum digest format")


def _split(text: str) -> tuple[str, str]:
    """Split a reference into its registry's host and the rest, with defaults filled in."""
    first, slash, rest = text.partition("/")
    is_domain = bool(slash) and (
        first == "localhost" or "." in first or ":" in first or first.lower() != first
    )
    domain, remainder = (first, rest) if is_domain else (DEFAULT_DOMAIN, text)
    if domain == "index.docker.io":
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder
