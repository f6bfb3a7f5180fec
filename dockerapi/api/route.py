"""One row of the API: a method and a path, the job that answers, and its status."""

from __future__ import annotations

import attrs


@attrs.frozen
class Route:
    """A row of the route table.

    :ivar path: without its version; ``{id}`` is one segment, ``{id:.*}`` any number of them,
        as in Docker's own tables: names of images have slashes.
    :ivar operation: the operationId, which is the job's name.
    :ivar status: the status of a plain answer.
    """

    method: str
    path: str
    operation: str
    status: int = 200
