"""What can go wrong, by meaning; `dockerapi.api.errors` alone knows the HTTP statuses.

Rule: raise by meaning with a text for the client, in dockerd's words where it has some.
"""

from __future__ import annotations


class EngineError(Exception):
    """The base of every error that a handler may raise; `message` is the text for the client.

    Raised as itself it means a failure of the engine or the host (the API's 500).
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidParameter(EngineError):
    """The request is malformed, or asks for what can never be."""


class NotFound(EngineError):
    """There is no such object."""


class Conflict(EngineError):
    """The request clashes with the state of an object, or with a name in use."""


class NotModified(EngineError):
    """The object already is as the request wants it."""


class Unauthorized(EngineError):
    """Credentials are missing or wrong."""


class Forbidden(EngineError):
    """Whoever asks may not do this."""


class Unavailable(EngineError):
    """The engine cannot do this now: it is starting, ending, or not part of a swarm."""


class NotSupported(EngineError):
    """No engine here does this."""


class Cancelled(EngineError):
    """The run was given up: its client left, or the server ends."""


class UnknownJob(NotSupported):
    """No handler is registered for a job of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is not supported by this engine")
        self.name = name


class AlreadyRegistered(EngineError):
    """A second handler for a name that has one."""

    def __init__(self, name: str) -> None:
        super().__init__(f"a handler for the job {name} is already registered")


class AlreadyRun(EngineError):
    """A second run of a job."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the job {name} was run already")
