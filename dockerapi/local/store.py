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

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.python.failure import Failure

from dockerapi.engine.errors import EngineError, Unavailable

T = TypeVar("T")

_Work = Callable[[], None]

#: How much of the database and of its log is kept ready for changes on a disk that is full, in
#: bytes: what a removal writes must always fit.
_RESERVE = 512 * 1024


class StoreError(EngineError):
    """The database cannot be read or written; nothing was changed."""


class StoreFull(StoreError):
    """There is no space left for a change of the database; nothing was changed."""


class Store:
    """The database; nothing is opened before `start`."""

    def __init__(self, path: Path, reactor: IReactorFromThreads | None = None) -> None:
        self._path = path
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
            # It holds environments; SQLite gives its other files the mode of this one.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._path.chmod(0o600)
            connection = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
            try:
                for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"):
                    connection.execute(f"PRAGMA {pragma}")
                _migrate(connection, self._path)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise EngineError(f"the database {self._path} cannot be used: {error}") from error
        self._connection = connection
        self._reactor = self._given_reactor if self._given_reactor is not None else _reactor()
        self._thread = Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run `change` as one transaction in the store's thread; return its result.

        What it raises undoes the transaction and is raised here: `StoreFull` and `StoreError` for
        what is wrong with the disk. It may be run twice, on a disk that is full.
        """

        def transaction() -> T:
            try:
                return self._transaction(change)
            except sqlite3.OperationalError as error:
                if not _is_full(error):
                    raise
            # The log can begin again when what is in it is where it belongs.
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")
            return self._transaction(change)

        return await self._submit(transaction)

    async def reserve(self) -> None:
        """Make room in the database's files for a time when the disk is full."""
        await self._submit(lambda: _reserve(self._connection, self._path))

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` in the store's thread and return its result; raise `StoreError`."""
        return await self._submit(lambda: query(self._connection))

    def close(self) -> None:
        """Let what is under way end, and close the database."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
            self._connection.close()

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
            return StoreFull(
                f"no space left on device: the database {self._path} cannot be written; "
                "free some space, or remove containers or images"
            )
        if getattr(error, "sqlite_errorname", "").startswith(_DISK):
            return StoreError(f"the database {self._path} cannot be used: {error}")
        return error

    def _submit(self, function: Callable[[], T]) -> Deferred[T]:
        if self._thread is None:
            raise Unavailable("the database is closed")
        # Who gives up waiting does not undo: a transaction that was asked for is carried out.
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


#: What SQLite calls errors that are the disk's, or the file's on it.
_DISK = ("SQLITE_IOERR", "SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY", "SQLITE_CANTOPEN")


def _is_full(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"


def _reserve(connection: sqlite3.Connection, path: Path) -> None:
    """Grow the database and its log to where they hold `_RESERVE` bytes that are not in use."""
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    log = path.with_name(path.name + "-wal")
    if free * size >= _RESERVE // 2 and log.exists() and log.stat().st_size >= _RESERVE // 2:
        return
    connection.executescript(
        "BEGIN IMMEDIATE;"
        "CREATE TABLE reserve (bytes BLOB);"
        f"INSERT INTO reserve VALUES (zeroblob({_RESERVE}));"
        "DROP TABLE reserve;"
        "COMMIT;"
        "PRAGMA wal_checkpoint(PASSIVE);"
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
