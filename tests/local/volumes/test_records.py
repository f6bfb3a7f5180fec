"""What the store has of volumes, with rows that are damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.trial.unittest import TestCase

from dockerapi.local.store import Store
from dockerapi.local.volumes import records
from dockerapi.local.volumes.volume import Volume


class DamageTests(TestCase):
    async def test_what_is_damaged_is_left_out(self) -> None:
        path = Path(self.mktemp())
        await Store.open(path).close()
        connection = sqlite3.connect(path)
        self.addCleanup(connection.close)
        whole = Volume("whole", 1, {"a": "b"}, {}, "local")
        with connection:
            for name in ("labels", "options"):
                records.insert(connection, Volume(name, 1, {"a": "b"}, {}, "local"))
                connection.execute(f"UPDATE volumes SET {name} = '{{no' WHERE name = '{name}'")
            records.insert(connection, Volume("../x", 1, None, {}, "local"))
            records.insert(connection, whole)
        self.assertEqual(
            records.load(connection),
            [
                Volume("labels", 1, None, {}, "local"),
                Volume("options", 1, {"a": "b"}, None, "local"),
                whole,
            ],
        )
