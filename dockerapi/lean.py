"""Less memory: libraries without what this process may never use, and one heap for all threads.

Rule: whoever asks later for what was left out gets it. Only who owns the process calls this, before
the libraries are loaded; what is loaded already stays as it is.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

#: Modules that others import and this server hardly ever uses: for a debugger, Windows, cookies.
#: Of packages only their own names are left out, which most often stand for all of their modules.
_BY_NEED = (
    "asyncio",
    "difflib",
    "http.cookiejar",
    "klein",
    "pdb",
    "pyroute2",
    "urllib.request",
    "werkzeug",
)
#: From malloc.h of glibc, see mallopt(3).
_M_ARENA_MAX = -8
#: Which module of a package has the names that Twisted and pyroute2 take from the package.
_HOMES: Mapping[str, Mapping[str, str]] = {
    "asyncio": {
        "AbstractEventLoop": "events",
        "Future": "futures",
        "Protocol": "protocols",
        "iscoroutine": "coroutines",
    },
    "klein": {"Klein": "app"},
}


def load_by_need() -> None:
    """Have certain modules loaded with the first use of one of their names.

    Without them the server takes 10 MB (PSS) less, and starts sooner.
    """
    for name in _BY_NEED:
        if name not in sys.modules:
            _leave_out_names(name, _HOMES.get(name, {}))


def load_reactor_without_tls() -> None:
    """Install Twisted's reactor as where pyOpenSSL is missing, unless one is there: 9 MB (PSS).

    Twisted loads it with its reactor. Left out for good are `startTLS` of TCP transports,
    `connectSSL` and `listenSSL` of the reactor, and TLS in endpoint descriptions and
    `wrapClientTLS`. `twisted.protocols.tls` works once it is imported.
    """
    if "twisted.internet.reactor" in sys.modules:
        return
    with _absent("OpenSSL"):
        from twisted.internet import endpoints, reactor  # noqa: F401


def use_one_heap() -> None:
    """Have all threads share the C library's one heap; call it before there are threads.

    A heap for each keeps what a burst of work took: 4 MB. Threads that hold the interpreter's lock
    do not wait for each other there. Nothing happens where the C library has no such option.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def _leave_out_names(name: str, homes: Mapping[str, str]) -> None:
    """Make the module `name`, which is executed when it is asked for a name.

    The names in `homes` are those of modules in it, and can be had without.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    module, loader = importlib.util.module_from_spec(spec), spec.loader
    is_package = spec.submodule_search_locations is not None
    lock = threading.RLock()
    began = False

    def get(attribute: str) -> Any:
        nonlocal began
        if attribute in homes:
            return getattr(importlib.import_module(f"{name}.{homes[attribute]}"), attribute)
        if is_package and (part := _part(f"{name}.{attribute}")) is not None:
            return part
        # Another thread waits for all names; this one, in a circle of imports, sees some.
        with lock:
            if not began:
                began = True
                try:
                    loader.exec_module(module)
                except BaseException:
                    began = False
                    raise
        try:
            return vars(module)[attribute]
        except KeyError:
            raise AttributeError(f"module {name!r} has no attribute {attribute!r}") from None

    vars(module)["__getattr__"] = get
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)


def _part(name: str) -> ModuleType | None:
    """Return the module `name` of a package, None where there is none."""
    return None if importlib.util.find_spec(name) is None else importlib.import_module(name)


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
