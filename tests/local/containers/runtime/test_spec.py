"""What real containers find mounted where clients mount over what would be there."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tests.local.containers.support import RigCase


class MountOrderTests(RigCase):
    async def setUp(self) -> None:
        self.base = Path(tempfile.mkdtemp(prefix="dockerapi-spec-"))
        self.addCleanup(shutil.rmtree, self.base)
        await super().setUp()

    async def seen(self, script: str, bind: str) -> str:
        """Return what `script` writes."""
        return await self.rig.run("sh", "-c", script, host={"Binds": [bind]})

    async def test_own_files_are_on_top_of_a_clients_etc(self) -> None:
        etc = self.base / "etc"
        etc.mkdir()
        (etc / "own").write_text("")
        seen = await self.seen("ls /etc; cat /etc/hosts", f"{etc}:/etc")
        self.assertEqual(seen.splitlines()[:4], ["hostname", "hosts", "own", "resolv.conf"])
        self.assertIn("127.0.0.1\tlocalhost", seen)

    async def test_a_file_of_the_client_stays(self) -> None:
        hosts = self.base / "mine"
        hosts.write_text("mine")
        self.assertEqual(await self.seen("cat /etc/hosts", f"{hosts}:/etc/hosts"), "mine\n")

    async def test_nothing_of_ours_is_in_a_clients_dev(self) -> None:
        seen = await self.seen("cat /proc/mounts", "/dev:/dev")
        # The host's own may have them, as systemd makes one of message queues.
        self.assertEqual(self.of_dev(seen), self.of_dev(Path("/proc/mounts").read_text()))

    def of_dev(self, mounts: str) -> list[str]:
        names = ("/dev/mqueue", "/dev/shm", "/dev/pts")
        return sorted(line.split()[1] for line in mounts.splitlines() if line.split()[1] in names)


class CgroupMountTests(RigCase):
    def flags(self) -> str:
        mounts = Path("/proc/mounts").read_text().splitlines()
        return next((line for line in mounts if " /sys/fs/cgroup cgroup2 " in line), "")

    async def test_the_host_keeps_the_options_of_its_cgroups(self) -> None:
        """A mount of version 2 in the host's namespace sets them anew for the whole host."""
        before = self.flags()
        for mode in ("host", "private"):
            seen = await self.rig.run("ls", "/sys/fs/cgroup", host={"CgroupnsMode": mode})
            self.assertTrue(seen, mode)
        mounts = await self.rig.run("cat", "/proc/mounts", host={"CgroupnsMode": "host"})
        fields = [line.split() for line in mounts.splitlines()]
        options = [field[3].split(",") for field in fields if field[2].startswith("cgroup")]
        self.assertTrue(options and all("ro" in one for one in options), mounts)
        for asked, first in (("writable-cgroups", "rw"), ("writable-cgroups=false", "ro")):
            host = {"SecurityOpt": [asked], "Privileged": first == "ro", "CgroupnsMode": "private"}
            mounts = await self.rig.run("cat", "/proc/mounts", host=host)
            fields = [line.split() for line in mounts.splitlines()]
            options = [field[3].split(",") for field in fields if field[2].startswith("cgroup")]
            self.assertTrue(options and all(first in one for one in options), mounts)
        self.assertEqual(self.flags(), before)
