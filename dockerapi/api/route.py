"""One row of the API: a method and a path, the job that answers, and its status."""

from __future__ import annotations

import msgspec

from dockerapi.model.versions import Version


class Route(msgspec.Struct, frozen=True):
    """A row of the route table.

    :ivar path: without its version; ``{id}`` is one segment, ``{id:.*}`` any number of them,
        as in Docker's own tables: names of images have slashes.
    :ivar operation: the operationId, which is the job's name.
    :ivar status: the status of a plain answer.
    :ivar until: the first version that does not have it; None where the newest has.
    """

    method: str
    path: str
    operation: str
    status: int = 200
    until: Version | None = None
