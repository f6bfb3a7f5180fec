"""Loading libraries without the parts of them that this process may never use.

Rule: whoever asks later for what was left out gets it. Only who owns the process calls this, before
the libraries are loaded; what is loaded already stays as it is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Packages of which we use a few modules, while their ``__init__`` loads every one.
_PACKAGES = ("pyroute2", "werkzeug")


def load_packages_by_need() -> None:
    """Have the modules of certain packages loaded without the packages' own names.

    Those names are loaded with the first use of one. 7 MB (PSS) that are not needed here.
    """
    for name in _PACKAGES:
        _leave_out_names(name)


def load_reactor_without_tls() -> None:
    """Install Twisted's reactor as where pyOpenSSL is missing; 9 MB (PSS).

    Twisted loads it with its reactor. Left out for good are `startTLS` of TCP transports,
    `connectSSL` and `listenSSL` of the reactor, and TLS in endpoint descriptions and
    `wrapClientTLS`. `twisted.protocols.tls` works once it is imported.
    """
    with _absent("OpenSSL"):
        from twisted.internet import endpoints, reactor  # noqa: F401


def _leave_out_names(name: str) -> None:
    """Make a package whose own names are loaded with the first use of one."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    package, loader = importlib.util.module_from_spec(spec), spec.loader
    lock = threading.RLock()
    began = False

    def get(attribute: str) -> Any:
        nonlocal began
        inner = f"{name}.{attribute}"
        if importlib.util.find_spec(inner) is not None:
            return importlib.import_module(inner)
        # Another thread waits for all names; this one, in a circle of imports, sees some.
        with lock:
            if not began:
                began = True
                loader.exec_module(package)
        try:
            return vars(package)[attribute]
        except KeyError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None

    vars(package)["__getattr__"] = get
    sys.modules[name] = package


@contextmanager
def _absent(name: str) -> Iterator[None]:
    """Let imports of the package `name` fail, unless it was loaded before."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]
