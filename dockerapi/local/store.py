"""The engine's state: one SQLite database, in a thread of its own.

Rule: one transaction for each change; who awaits `write` knows that its change outlives kill -9.
WAL with synchronous=NORMAL loses nothing of that, and only a crash of the host the latest changes.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from dockerapi.engine.errors import EngineError, Unavailable
from dockerapi.local.host.threads import finished
from dockerapi.local.reserve import Reserve

T = TypeVar("T")

_Work = Callable[[], None]

#: What is asked for most is remembered elsewhere: a page cache of 256 KiB, not of 2 MiB.
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "cache_size=-256")


class StoreError(EngineError):
    """The database cannot be read or written; nothing was changed."""


class StoreFull(StoreError):
    """There is no space left for a change of the database; nothing was changed."""


class Store:
    """The database; nothing is opened before `start`."""

    def __init__(self, path: Path, reactor: IReactorFromThreads | None = None) -> None:
        self._path = path
        self._reserve = Reserve(path.with_name(f"{path.name}-reserve"))
        self._given_reactor = reactor
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()
        self._thread: Thread | None = None

    @classmethod
    def open(cls, path: Path, reactor: IReactorFromThreads | None = None) -> Store:
        """Return the store of the database at `path`, started (see `start`)."""
        store = cls(path, reactor)
        store.start()
        return store

    def start(self) -> None:
        """Open the database and bring it to the newest schema.

        Raises `EngineError` for a database of a newer schema, and for one that is broken.
        """
        try:
            try:
                connection = self._open()
            except sqlite3.OperationalError:
                # SQLite needs some files of its own, which a full disk may have no room for.
                self._reserve.spend()
                connection = self._open()
        except (sqlite3.Error, OSError) as error:
            if _room(self._path) < _NEEDED:
                raise _full(self._path) from error
            raise EngineError(f"the database {self._path} cannot be used: {error}") from error
        self._connection = connection
        self._reactor = self._given_reactor if self._given_reactor is not None else _reactor()
        self._thread = Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    def _open(self) -> sqlite3.Connection:
        # It holds environments; SQLite gives its other files the mode of this one.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path.chmod(0o600)
        connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        try:
            for pragma in (
                "journal_mode=WAL",
                "synchronous=NORMAL",
                "foreign_keys=ON",
                "cache_size=-256",
            ):
                connection.execute(f"PRAGMA {pragma}")
            _migrate(connection, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    async def write(
        self, change: Callable[[sqlite3.Connection], T], *, essential: bool = False
    ) -> T:
        """Run `change` as one transaction in the store's thread; return its result.

        What it raises undoes the transaction and is raised here: `StoreFull` and `StoreError` for
        what is wrong with the disk. One that is `essential` (it removes, or writes down what has
        happened) finds room on a disk that is full, too; it may be run twice for that.

        What was asked for is carried out: who is cancelled meanwhile has the result all the same,
        and the cancellation is raised only where nothing has changed.
        """
        perform = self._essential if essential else self._ordinary
        outcome: list[T] = []

        def note(result: T) -> T:
            outcome.append(result)
            return result

        try:
            return await finished(self._submit(lambda: perform(change)).addCallback(note))
        except CancelledError:
            if not outcome:
                raise
            return outcome[0]

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` in the store's thread and return its result; raise `StoreError`."""
        return await self._submit(lambda: query(self._connection))

    async def close(self) -> None:
        """Let what was asked for end, and close the database; return when it is closed."""
        if self._thread is not None:
            closed = self._submit(self._connection.close)
            self._thread = None
            self._queue.put(None)
            await finished(closed)

    def _ordinary(self, change: Callable[[sqlite3.Connection], T]) -> T:
        if not self._reserve.hold():
            raise _full(self._path)
        return self._transaction(change)

    def _essential(self, change: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._transaction(change)
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise
        self._reserve.spend()
        # The log can begin again when what is in it is where it belongs.
        self._connection.execute("PRAGMA wal_checkpoint(RESTART)").close()
        return self._transaction(change)

    def _transaction(self, change: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = change(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return result

    def _error(self, error: sqlite3.DatabaseError) -> Exception:
        """Return what is raised for an error of the database: one by meaning where it is the disk.

        A violated constraint is its change's own matter, and a wrong statement a defect.
        """
        if _is_full(error):
            return _full(self._path)
        if getattr(error, "sqlite_errorname", "").startswith(_DISK):
            return StoreError(f"the database {self._path} cannot be used: {error}")
        return error

    def _submit(self, function: Callable[[], T]) -> Deferred[T]:
        if self._thread is None:
            raise Unavailable("the database is closed")
        waiter: Deferred[T] = Deferred()

        def work() -> None:
            try:
                result = function()
            except sqlite3.DatabaseError as error:
                self._reactor.callFromThread(_settle, waiter, Failure(self._error(error)))
            except BaseException:
                self._reactor.callFromThread(_settle, waiter, Failure())
            else:
                self._reactor.callFromThread(_settle, waiter, result)

        self._queue.put(work)
        return waiter

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


def _settle(waiter: Deferred[Any], result: Any) -> None:
    # Someone who was cancelled meanwhile no longer waits.
    if not waiter.called:
        waiter.callback(result)


#: What SQLite needs of the disk when it opens a database, in bytes.
_NEEDED = 256 * 1024


def _room(path: Path) -> int:
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize


#: What SQLite calls errors that are the disk's, or the file's on it.
_DISK = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_CANTOPEN")


def _is_full(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"


def _full(path: Path) -> StoreFull:
    return StoreFull(
        f"no space left on device: the database {path} cannot be written; "
        "free some space, or remove containers or images"
    )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Run the migrations that `path` lacks, each in a transaction of its own."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    steps = _migrations()
    if found > max(steps, default=0):
        raise EngineError(
            f"the database {path} has the schema {found}, which is newer than this server's "
            f"{max(steps, default=0)}: run a newer dockerapi, or use another data root"
        )
    for number in sorted(steps):
        if number > found:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{steps[number]}\nPRAGMA user_version = {number};\nCOMMIT;"
            )


def _migrations() -> dict[int, str]:
    """Return the text of each migration by its number."""
    steps: dict[int, str] = {}
    for entry in resources.files("dockerapi.local.migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            steps[int(match[1])] = entry.read_text()
    return steps


def _reactor() -> IReactorFromThreads:
    from twisted.internet import reactor

    return IReactorFromThreads(reactor)
