"""From what went wrong to a status and its text: the only place that knows both.

Rule: the class decides, never the text.
"""

from __future__ import annotations

import errno
import os

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure

from dockerapi.api.json import to_json
from dockerapi.api.versions import JSON_ERRORS, VersionRefused
from dockerapi.engine import errors
from dockerapi.http.interfaces import HeaderList
from dockerapi.model.malformed import Malformed
from dockerapi.model.versions import Version
from dockerapi.wire.duplex import StreamAborted

_log = Logger()

#: Subclasses stand before their bases.
_STATUSES: tuple[tuple[type[BaseException], int], ...] = (
    (errors.InvalidParameter, 400),
    (Malformed, 400),
    (errors.Unauthorized, 401),
    (errors.Forbidden, 403),
    (errors.NotFound, 404),
    (errors.Conflict, 409),
    (errors.NotModified, 304),
    (errors.NotSupported, 501),
    (errors.Unavailable, 503),
    (errors.Cancelled, 503),
    (CancelledError, 503),
    (errors.EngineError, 500),
)

#: Errors of the host's that are no defect of ours, wherever they are met.
_HOST = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE})

#: What a client gets of an error that is a defect of ours.
_DEFECT = "internal server error: the log of the server says more"

_JSON: HeaderList = ((b"Content-Type", b"application/json"),)
_TEXT: HeaderList = (
    (b"Content-Type", b"text/plain; charset=utf-8"),
    (b"X-Content-Type-Options", b"nosniff"),
)
#: The operations whose errors look like their streams, as in dockerd.
_RAW_ERRORS = frozenset({"ContainerAttach"})
_RAW: HeaderList = ((b"Content-Type", b"application/vnd.docker.raw-stream"),)


def status_and_message(failure: Failure) -> tuple[int, str]:
    """Return the status and the text for the client; a defect is logged with its traceback."""
    error = failure.value
    if isinstance(error, VersionRefused):
        return error.status, error.message
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status, getattr(error, "message", "") or str(error)
    if isinstance(error, StreamAborted):
        return 400, f"the request broke off: {error}"
    if isinstance(error, OSError) and error.errno in _HOST:
        _log.error("the host failed: {error}", error=error)
        where = f": {error.filename}" if error.filename else ""
        return 500, f"{os.strerror(error.errno).lower()}{where}"
    _log.failure("a handler failed", failure=failure)
    return 500, _DEFECT


def body(message: str, version: Version, operation: str = "") -> tuple[HeaderList, bytes]:
    """Return the headers and the body of an error of `operation`.

    It is plain text for versions before 1.24, and for an attach that fails, at all versions.
    """
    if operation in _RAW_ERRORS:
        return _RAW, message.encode("utf-8", "backslashreplace") + b"\r\n"
    if version < JSON_ERRORS:
        return _TEXT, message.encode("utf-8", "backslashreplace") + b"\n"
    return _JSON, to_json({"message": message})
