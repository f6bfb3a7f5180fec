"""The store: transactions, migrations, and what it refuses."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest, TestCase

from dockerapi.engine.errors import EngineError, Unavailable
from dockerapi.local.store import Store, StoreError, StoreFull


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
        await self.store.close()
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

    async def test_who_leaves_too_late_has_what_was_written(self) -> None:
        await self._table()
        waiting = Deferred.fromCoroutine(
            self.store.write(lambda db: db.execute("INSERT INTO t VALUES (7)"))
        )
        waiting.cancel()
        await waiting
        self.assertEqual(await self._values(), [7])

    async def test_a_closed_store_refuses(self) -> None:
        await self.store.close()
        with self.assertRaises(Unavailable):
            await self._values()

    async def test_a_full_disk_is_told_and_undone(self) -> None:
        await self._table()
        pages = await self.store.read(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await self.store.read(lambda db: db.execute(f"PRAGMA max_page_count = {pages}"))
        with self.assertRaises(StoreFull) as raised:
            await self.store.write(
                lambda db: db.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(10**4)))
            )
        self.assertIn("no space left on device", raised.exception.message)
        self.assertEqual(await self._values(), [])
        await self.store.write(lambda db: db.execute("INSERT INTO t VALUES (1)"))
        self.assertEqual(await self._values(), [1])

    async def test_damage_is_told_by_the_file_that_has_it(self) -> None:
        await self._table()

        def fill(db: sqlite3.Connection) -> None:
            # A cursor that somebody holds keeps the database open beyond its end.
            db.executemany("INSERT INTO t VALUES (?)", ((n,) for n in range(10**5))).close()

        await self.store.write(fill)
        await self.store.close()
        with self.path.open("r+b") as file:
            file.seek(4096 * 50)
            file.write(b"\xff" * 4096 * 300)
        self.store.start()
        with self.assertRaises(StoreError) as raised:
            await self._values()
        self.assertIn(str(self.path), raised.exception.message)

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

    async def test_opening_again_runs_no_migration_twice(self) -> None:
        await self.store.close()
        await Store.open(self.path).close()


class FullDiskTests(TestCase):
    """A database on a file system of its own, of four megabytes."""

    def setUp(self) -> None:
        if os.geteuid() != 0:
            raise SkipTest("mounting needs root")
        self.root = Path(self.mktemp())
        self.root.mkdir()
        subprocess.run(("mount", "-t", "tmpfs", "-o", "size=4m", "none", self.root), check=True)
        self.addCleanup(subprocess.run, ("umount", "-l", self.root), check=True)
        self.store = Store.open(self.root / "state.db")
        self.addCleanup(lambda: self.store.close())

    async def _change(self, statement: str, *, essential: bool = False) -> None:
        def change(db: sqlite3.Connection) -> None:
            db.execute(statement).close()

        await self.store.write(change, essential=essential)

    async def _fill(self) -> None:
        await self._change("CREATE TABLE t (x INTEGER, y BLOB)")
        for number in range(100):
            await self._change(f"INSERT INTO t VALUES ({number}, zeroblob(5000))")
        _fill(self.root / "ballast")
        with self.assertRaises(StoreFull):
            while True:
                await self._change("INSERT INTO t VALUES (0, zeroblob(5000))")

    async def test_removals_find_room_and_growth_does_not(self) -> None:
        await self._fill()
        for number in range(100):
            await self._change(f"DELETE FROM t WHERE x = {number}", essential=True)
            if number > 1:
                with self.assertRaises(StoreFull):
                    await self._change("INSERT INTO t VALUES (7, zeroblob(5000))")

    async def test_space_makes_it_whole_again(self) -> None:
        await self._fill()
        await self._change("DELETE FROM t WHERE x = 1", essential=True)
        (self.root / "ballast").unlink()
        await self._change("INSERT INTO t VALUES (7, zeroblob(5000))")
        self.assertEqual((self.root / "state.db-reserve").stat().st_size, 1024 * 1024)

    async def test_a_start_on_a_full_disk(self) -> None:
        await self._fill()
        await self.store.close()
        _fill(self.root / "more")
        self.store.start()
        await self._change("DELETE FROM t WHERE x = 2", essential=True)
        await self.store.close()
        _fill(self.root / "yet more")
        error = self.assertRaises(StoreFull, self.store.start)
        self.assertIn("no space left on device", error.message)


def _fill(path: Path) -> None:
    """Fill the file system of `path`."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
