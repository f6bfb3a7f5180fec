"""What every typed request of the model offers: to be made from an envelope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self

from dockerapi.model.envelope import Envelope
from dockerapi.model.versions import Version


class TypedRequest(Protocol):
    """A request of one operation, with its syntax checked."""

    @classmethod
    async def decode(cls, envelope: Envelope, args: Sequence[str], version: Version) -> Self:
        """Read the request; `args` are the path's names, decoded, in order.

        Raises `Malformed` with a text for the client that names the field.
        """
        ...
