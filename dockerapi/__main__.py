"""The command `dockerapi`, also as `python -m dockerapi`."""

from __future__ import annotations

import sys

from dockerapi.lean import load_by_need
from dockerapi.terse import load_without_docstrings


def main(argv: list[str] | None = None) -> int:
    """Serve in the foreground with the options of `argv`, or run the subcommand ``check``.

    Returns the exit status.
    """
    arguments = sys.argv[1:] if argv is None else argv
    # Both here, since this goes before Twisted.
    load_by_need()
    if arguments[:1] == ["check"]:
        from dockerapi.check import main as check

        return check(arguments[1:])
    load_without_docstrings()
    from dockerapi.foreground import serve

    return serve(arguments)


if __name__ == "__main__":
    sys.exit(main())
