"""The plugin's half of twistd: options and the service they make."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

from dockerapi._version import __version__
from dockerapi.configfile import read_config_file
from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.settings import MANY, Kind, Option, Settings, convert, options


class Options(usage.Options):
    """The daemon's options, made from the fields of `Settings`.

    :ivar given: what the command line gave, by field.
    """

    synopsis = "[options]"
    longdesc = "Serves the Docker Engine API. See docs/configuration.md for every option."
    optParameters = [["config-file", None, None, "Configuration file (dockerd's daemon.json)"]]

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        super().__init__()  # type: ignore[no-untyped-call]

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Parse `options` (those of the process unless given), also as Go's flags are written."""
        given = sys.argv[1:] if options is None else options
        super().parseOptions(_without_go_spellings(given))  # type: ignore[no-untyped-call]

    def opt_version(self) -> None:
        """Print the version and exit."""
        print(f"dockerapi {__version__}")
        raise SystemExit(0)

    opt_v = opt_version

    def opt_h(self) -> None:
        """Display this help and exit."""
        self.opt_help()  # type: ignore[no-untyped-call]

    def settings(self) -> Settings:
        """Return the settings that the command line and the configuration file make.

        Raises `usage.UsageError`.
        """
        try:
            values = dict(self.given)
            if self["config-file"] is not None:
                values |= read_config_file(self["config-file"], self.given)
            return Settings(**values)
        except InvalidParameter as error:
            raise usage.UsageError(error.message) from None

    def postOptions(self) -> None:
        """Check the values, so that what is wrong shows with the usage."""
        self["settings"] = self.settings()


_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")


def _without_go_spellings(arguments: Sequence[str]) -> list[str]:
    """Return `arguments` with ``--flag=true``, ``-D=true`` and ``-H=value`` as getopt wants them.

    A flag that is false is left out, or negated where it can be. Raises `usage.UsageError`.
    """
    by_name = {f"--{option.name}": option for option in options()}
    by_name |= {f"-{option.short}": option for option in options() if option.short is not None}
    plain: list[str] = []
    is_value = False
    for argument in arguments:
        name, equals, value = argument.partition("=")
        option = None if is_value else by_name.get(name)
        is_value = option is not None and not equals and option.kind is not Kind.FLAG
        if option is None or not equals:
            plain.append(argument)
        elif option.kind is Kind.FLAG:
            plain += _plain_flag(option, value)
        else:
            plain += [name, value]
    return plain


def _plain_flag(option: Option, value: str) -> list[str]:
    if value.lower() in _TRUE:
        return [f"--{option.name}"]
    if value.lower() not in _FALSE:
        raise usage.UsageError(
            f"invalid argument {value!r} for --{option.name}: want true or false"
        )
    return [f"--no-{option.name}"] if option.negation else []


def _adder(option: Option) -> Callable[[Options, str], None]:
    """Return the `opt_` method of an option with a value."""

    def add(self: Options, value: str) -> None:
        try:
            converted = convert(option, value)
        except ValueError as error:
            raise usage.UsageError(
                f"invalid argument {value!r} for --{option.name}: {error}"
            ) from None
        if option.kind in MANY:
            converted = (*self.given.get(option.field, ()), converted)
        self.given[option.field] = converted

    add.__doc__ = f"{option.help} [{option.metavar}]"
    return add


def _switch(option: Option, value: bool) -> Callable[[Options], None]:
    """Return the `opt_` method of a flag."""

    def switch(self: Options) -> None:
        self.given[option.field] = value

    switch.__doc__ = option.help if value else f"The opposite of --{option.name}"
    return switch


def _add_options() -> None:
    for option in options():
        flag = option.kind is Kind.FLAG
        method = _switch(option, True) if flag else _adder(option)
        setattr(Options, f"opt_{option.name.replace('-', '_')}", method)
        if option.short is not None:
            setattr(Options, f"opt_{option.short}", method)
        if option.negation:
            setattr(Options, f"opt_no_{option.name.replace('-', '_')}", _switch(option, False))


_add_options()


def makeService(options: Options) -> IService:
    """Make the daemon for twistd; exits with one line where an engine cannot be as asked for.

    The process is the daemon's from now on: it takes as little memory as it can.
    """
    _be_lean(options["settings"])
    from dockerapi.command import CommandService

    try:
        return CommandService(options["settings"])
    except EngineError as error:
        sys.exit(error.message)


def _be_lean(settings: Settings) -> None:
    """Load less of what comes from here on.

    Here, since twistd imports this module to list the options of all plugins.
    """
    from dockerapi.lean import load_by_need, load_reactor_without_tls, use_one_heap
    from dockerapi.terse import load_without_docstrings

    load_by_need()
    load_without_docstrings()
    use_one_heap()
    if not _serves_tls(settings):
        load_reactor_without_tls()


def _serves_tls(settings: Settings) -> bool:
    """Tell whether TLS may be needed at once; a description may be of any endpoint."""
    schemes = {host.partition("://")[0] for host in settings.listen_on}
    return settings.tls or settings.tlsverify or not schemes <= {"unix", "tcp", "fd"}
