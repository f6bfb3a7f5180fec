"""Serving in a process of our own, in the foreground.

Rule: of Twisted's command `twistd` it keeps the runner; there is one service, and no plugin.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.service import Application
from twisted.python import usage
from twisted.scripts._twistd_unix import ServerOptions, UnixApplicationRunner

from dockerapi.tap import Options, makeService


class _Runner(UnixApplicationRunner):
    """twistd's runner for one service, without a look for plugins."""

    def __init__(self, config: ServerOptions, options: Options) -> None:
        super().__init__(config)  # type: ignore[no-untyped-call]
        self._options = options

    def createOrGetApplication(self) -> Any:
        """Make the application."""
        application = Application("dockerapi")
        makeService(self._options).setServiceParent(application)
        return application


def serve(arguments: Sequence[str]) -> int:
    """Serve with the options `arguments` until a signal; return the exit status."""
    options = Options()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as error:
        print(f"dockerapi: {error}\nSee 'dockerapi --help'.", file=sys.stderr)
        return 1
    config = ServerOptions()
    config.parseOptions(["--nodaemon", "--pidfile=", "--no_save"])
    _Runner(config, options).run()  # type: ignore[no-untyped-call]
    return 0
