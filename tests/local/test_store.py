"""The store: transactions, migrations, and what it refuses."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from dockerapi.engine.errors import EngineError, Unavailable
from dockerapi.local.store import Store


class StoreTests(TestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.store = Store.open(self.path)
        self.addCleanup(self.store.close)

    async def _table(self) -> None:
        await self.store.write(lambda db: db.execute("CREATE TABLE t (x INTEGER UNIQUE)"))

    async def _values(self) -> list[int]:
        rows = await self.store.read(lambda db: db.execute("SELECT x FROM t ORDER BY x").fetchall())
        return [x for (x,) in rows]

    async def test_a_change_is_kept(self) -> None:
        await self._table()
        await self.store.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
        self.store.close()
        with sqlite3.connect(self.path) as again:
            self.assertEqual(again.execute("SELECT x FROM t").fetchall(), [(1,)])

    async def test_an_error_undoes_the_whole_change(self) -> None:
        await self._table()

        def change(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO t VALUES (1)")
            db.execute("INSERT INTO t VALUES (1)")

        with self.assertRaises(sqlite3.IntegrityError):
            await self.store.write(change)
        self.assertEqual(await self._values(), [])

    async def test_who_gives_up_waiting_does_not_undo(self) -> None:
        await self._table()
        waiting = Deferred.fromCoroutine(
            self.store.write(lambda db: db.execute("INSERT INTO t VALUES (7)"))
        )
        waiting.cancel()
        with self.assertRaises(CancelledError):
            await waiting
        self.assertEqual(await self._values(), [7])

    async def test_a_closed_store_refuses(self) -> None:
        self.store.close()
        with self.assertRaises(Unavailable):
            await self._values()

    def test_a_newer_schema_is_refused(self) -> None:
        path = Path(self.mktemp())
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 9999")
        connection.close()
        error = self.assertRaises(EngineError, Store.open, path)
        self.assertIn("newer", error.message)
        self.assertIn(str(path), error.message)

    def test_what_is_no_database_is_refused(self) -> None:
        path = Path(self.mktemp())
        path.write_bytes(b"no database" * 1000)
        error = self.assertRaises(EngineError, Store.open, path)
        self.assertIn(str(path), error.message)

    def test_opening_again_runs_no_migration_twice(self) -> None:
        self.store.close()
        Store.open(self.path).close()
