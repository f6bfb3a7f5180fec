"""Where certificates lie, and that they cannot be used.

Rule: nothing of TLS is imported here, so that a server without it need not load it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from dockerapi.engine.errors import EngineError


class BadCertificate(EngineError):
    """A certificate, key or authority that cannot be used; the message names the file."""


class TlsFiles(msgspec.Struct, frozen=True):
    """Where certificates lie (PEM).

    :ivar certificate: the server's own, with what chains it to its authority behind it.
    :ivar key: its private key, unencrypted.
    :ivar authority: whose client certificates are let in; None lets everyone in (`--tls`).
    """

    certificate: Path
    key: Path
    authority: Path | None
