"""What of the server must not reach others: its descriptors, its environment, its files.

Rule: the runtime is a wrapper that tells what it was given, and then is the real one.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from dockerapi.local.host.spawn import find_program
from tests.local.containers.support import RigCase

SECRET = "4711-do-not-tell"


class LeakTests(RigCase):
    """With runc, through a wrapper."""

    runtime = "runc"

    async def setUp(self) -> None:
        self.told = Path(self.mktemp()).absolute()
        self.told.mkdir()
        self.addCleanup(shutil.rmtree, self.told)
        programs = self.told / "bin"
        programs.mkdir()
        wrapper = programs / self.runtime
        real, told = shlex.quote(find_program(self.runtime)), shlex.quote(str(self.told))
        wrapper.write_text(
            f'#!/bin/sh\nlist=$(ls -l /proc/$$/fd)\necho "$list" > {told}/$$.fds\n'
            f"tr '\\0' '\\n' < /proc/$$/environ > {told}/$$.env\nexec {real} \"$@\"\n"
        )
        wrapper.chmod(0o755)
        self.patch(os, "environ", {**os.environ, "SECRET": SECRET, "LISTEN_FDS": "3"})
        os.environ["PATH"] = f"{programs}:{os.environ['PATH']}"
        os.environ["NOTIFY_SOCKET"] = f"{self.told}/notify"
        await super().setUp()
        for path in self.told.glob("*.*"):
            path.unlink()
        # One that everything would inherit, if anything did.
        self.inherited = os.open("/etc", os.O_RDONLY)
        self.addCleanup(os.close, self.inherited)

    def open_files(self, listing: str) -> dict[int, str]:
        """Return what descriptors are, from the output of ``ls -l``."""
        found = {}
        for line in listing.splitlines():
            left, arrow, target = line.partition(" -> ")
            if arrow:
                found[int(left.split()[-1])] = target
        return found

    async def test_the_runtime_gets_its_streams_alone(self) -> None:
        await self.rig.run("true")
        lists = [path.read_text() for path in self.told.glob("*.fds")]
        self.assertTrue(lists)
        for text in lists:
            files = self.open_files(text)
            # The shell that lists reads its own script, maybe from memory.
            script = (self.runtime, f"/memfd:{self.runtime} (deleted)")
            others = {n: f for n, f in files.items() if n > 2 and not f.endswith(script)}
            unexpected = [f for f in others.values() if f.startswith("/") and f != "/dev/null"]
            self.assertEqual(unexpected, [], text)

    async def test_no_variable_of_the_server_goes_out(self) -> None:
        environments = [await self.rig.run("env")]
        await self.rig.create("sleep", "60", name="monitored")
        await self.rig.job("ContainerStart", "monitored")
        container = self.rig.containers.registry.get("monitored")
        directory = self.rig.layout.container_run(container.id)
        conmon = (directory / "conmon.pid").read_text()
        environments.append(Path(f"/proc/{conmon}/environ").read_text())
        environments.append(Path(f"/proc/{conmon}/cmdline").read_text())
        environments += [path.read_text() for path in self.told.glob("*.env")]
        self.assertGreater(len(environments), 3)
        for text in environments:
            for word in (SECRET, "NOTIFY_SOCKET", "LISTEN_FDS"):
                self.assertNotIn(word, text)

    async def test_no_variable_of_the_container_is_seen_by_ps(self) -> None:
        await self.rig.create("sleep", "60", name="monitored", Env=[f"TOKEN={SECRET}"])
        await self.rig.job("ContainerStart", "monitored")
        container = self.rig.containers.registry.get("monitored")
        conmon = (self.rig.layout.container_run(container.id) / "conmon.pid").read_text()
        for pid in (conmon, str(container.state.pid)):
            self.assertNotIn(SECRET, Path(f"/proc/{pid}/cmdline").read_text())

    async def test_a_container_has_its_streams_alone(self) -> None:
        listing = await self.rig.run("sh", "-c", "ls -l /proc/$$/fd; ls -l /proc/1/fd")
        for number, target in self.open_files(listing).items():
            self.assertLess(number, 3, target)

    async def test_other_users_reach_nothing(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.rig.base.chmod(0o755)
        await self.rig.create("sleep", "60", name="private", Env=[f"TOKEN={SECRET}"])
        await self.rig.job("ContainerStart", "private")
        container = self.rig.containers.registry.get("private")
        layout = self.rig.layout
        for root in (layout.root, layout.run):
            self.assertEqual(root.stat().st_mode & 0o007, 0)
        for private in (
            layout.database,
            layout.container(container.id),
            layout.container_run(container.id),
            layout.container(container.id) / "container.log",
        ):
            self.assertEqual(private.stat().st_mode & 0o007, 0, private)
        self.assertEqual(layout.database.stat().st_mode & 0o077, 0)
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            tried = [layout.container(container.id) / "merged/bin/busybox", layout.database]
            os._exit(sum(os.access(path, os.R_OK) or os.access(path, os.X_OK) for path in tried))
        self.assertEqual(os.waitpid(pid, 0)[1], 0)


class CrunLeakTests(LeakTests):
    """With crun."""

    runtime = "crun"
