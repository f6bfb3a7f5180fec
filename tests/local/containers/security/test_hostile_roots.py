"""Images and containers whose root file system attacks its host, with each runtime.

Rule: nothing outside the root is read, made, changed or mounted over, and nobody waits for ever.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.runtime.users import FILE_LIMIT
from tests.local.containers.support import RigCase


class HostileCase(RigCase):
    """A rig whose image is ruined by each test; beside it a directory that stays as it is."""

    async def setUp(self) -> None:
        await super().setUp()
        self.root = self.rig.images.layer
        self.outside = self.rig.base / "outside"
        self.outside.mkdir()
        (self.outside / "victim").write_text("evil:x:4711:4711::/:\n")
        (self.outside / "group").write_text("evil:x:4711:\n")
        self.up = "../" * 12

    def replace(self, path: str, target: str | os.PathLike[str]) -> None:
        """Put a link in the place of a file or directory of the image."""
        place = self.root / path
        if not place.is_symlink() and place.is_dir():
            shutil.rmtree(place)
        place.unlink(missing_ok=True)
        place.parent.mkdir(exist_ok=True)
        place.symlink_to(target)

    async def refused(self, *command: str, **config: Any) -> str:
        """Start what must not start, and return why."""
        identity = (await self.rig.create(*command, **config))["Id"]
        try:
            await self.rig.job("ContainerStart", identity)
        except EngineError as error:
            return error.message
        finally:
            await self.rig.job("ContainerDelete", identity, query="force=1")
        raise self.failureException("it started")

    async def run_or_refuse(self, *command: str, **config: Any) -> str:
        """Return the output of a container, or why it was not started."""
        identity = (await self.rig.create(*command, **config))["Id"]
        try:
            waiting = await self.rig.wait(identity, "next-exit")
            try:
                await self.rig.job("ContainerStart", identity)
            except EngineError as error:
                waiting.addErrback(lambda _: None)
                waiting.cancel()
                return f"refused: {error.message}"
            await waiting
            return (self.rig.layout.container(identity) / "container.log").read_text()
        finally:
            await self.rig.job("ContainerDelete", identity, query="force=1")

    def assertUntouched(self, what: object) -> None:
        """Check that nothing outside the root was made, changed or mounted over."""
        found = sorted(path.name for path in self.outside.iterdir())
        self.assertEqual(found, ["group", "victim"], what)
        self.assertTrue((self.outside / "victim").read_text().startswith("evil:"), what)
        self.assertNotIn(str(self.outside), Path("/proc/self/mountinfo").read_text())


class DepthTests(HostileCase):
    """Trees deeper than programs like."""

    async def test_a_tree_deeper_than_paths_can_be_is_removed(self) -> None:
        made = "i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 7; i=$((i+1)); done; echo $i"
        self.assertEqual(await self.rig.run("sh", "-c", f"cd /tmp; {made}"), "1500\n")
        homes = self.rig.layout.containers
        for _ in range(1200):
            if not os.listdir(homes):
                break
            await deferLater(reactor, 0.05)
        self.assertEqual(os.listdir(homes), [])


class ProcMountTests(HostileCase):
    """Mounts over what confines a container."""

    runtime = "crun"

    async def test_nothing_is_mounted_in_proc(self) -> None:
        self.replace("link", "/proc")
        self.replace("deep", "link/sys/kernel")
        self.replace("proc/self", "/tmp")
        (self.rig.base / "tree").mkdir()
        (self.rig.base / "tree" / "inner").symlink_to("../../proc/self")
        source, tree = self.outside, self.rig.base / "tree"
        for host, where in (
            ({"Binds": [f"{source}:/proc//sys"]}, "/proc/sys"),
            ({"Binds": [f"{source}/victim:/proc/self/attr/exec"]}, "/proc/self/attr/exec"),
            ({"Binds": [f"{source}:/link/sys"]}, "/proc/sys"),
            ({"Binds": [f"{source}/victim:/deep/core_pattern"]}, "/proc/sys/kernel/core_pattern"),
            ({"Binds": [f"{tree}:/mnt/tree", f"{source}:/mnt/tree/inner/x"]}, "/proc/self/x"),
            ({"Tmpfs": {"/proc/bus": ""}}, "/proc/bus"),
            ({"Mounts": [{"Type": "volume", "Target": "/proc/fs"}]}, "/proc/fs"),
        ):
            reason = await self.refused("true", host=host)
            self.assertIn(f'"{where}" cannot be mounted because it is inside /proc', reason)
        self.assertUntouched("proc")

    async def test_proc_itself_stays_a_proc(self) -> None:
        for host in ({"Binds": [f"{self.outside}:/proc"]}, {"Tmpfs": {"/proc": ""}}):
            reason = await self.refused("true", host=host)
            self.assertIn('"/proc" cannot be mounted because it is not of type proc', reason)
        seen = await self.rig.run("cat", "/proc/uptime", host={"Binds": ["/proc:/proc"]})
        self.assertEqual(len(seen.split()), 2)

    async def test_what_tools_replace(self) -> None:
        bind = f"{self.outside}/victim:/proc/cpuinfo"
        seen = await self.rig.run("cat", "/proc/cpuinfo", host={"Binds": [bind]})
        self.assertTrue(seen.startswith("evil:"), seen)


class UserFileTests(HostileCase):
    """/etc/passwd and /etc/group."""

    async def test_links_lead_to_the_files_of_no_host(self) -> None:
        for target in (
            self.outside / "victim",
            self.up + str(self.outside / "victim"),
            "/proc/self/root" + str(self.outside / "victim"),
            "/proc/self/fd/3",
        ):
            self.replace("etc/passwd", target)
            reason = await self.refused("id", User="evil")
            self.assertIn("unable to find user evil", reason)

    async def test_a_link_in_the_place_of_etc(self) -> None:
        for target in ("/proc/1/root/etc", self.up + "etc"):
            self.replace("etc", target)
            await self.refused("id", User="daemon")

    async def test_groups_of_the_host(self) -> None:
        self.replace("etc/group", self.up + str(self.outside / "group"))
        reason = await self.refused("id", User="user:evil")
        self.assertIn("unable to find group evil", reason)

    async def test_what_is_no_file(self) -> None:
        for name in ("passwd", "group"):
            place = self.root / "etc" / name
            kept = place.read_text()
            for make in (
                lambda path: os.mkfifo(path),
                lambda path: os.mknod(path, 0o20666, os.makedev(1, 5)),
                lambda path: path.mkdir(),
            ):
                place.unlink()
                make(place)
                reason = await self.refused("id", User="user")
                self.assertIn(f"cannot read /etc/{name} of the container", reason)
                if place.is_dir():
                    place.rmdir()
                    place.touch()
            place.write_text(kept)

    async def test_pipes_that_are_bound(self) -> None:
        # runc reads both in the container, and would wait for a writer with the container's lock.
        source = self.rig.base / "etc"
        source.mkdir()
        for name in ("passwd", "group"):
            os.mkfifo(source / name)
            for bind in (f"{source}:/etc", f"{source}/{name}:/etc/{name}"):
                reason = await self.refused("id", host={"Binds": [bind]})
                self.assertIn(f"cannot read /etc/{name}", reason)
            (source / name).unlink()

    async def test_a_file_without_end(self) -> None:
        with (self.root / "etc/passwd").open("ab") as file:
            file.truncate(10 * 2**30)
        self.assertIn("longer than", await self.refused("id", User="user"))

    async def test_junk_and_many_lines(self) -> None:
        # Names that only look like others, lines without end, what is no text.
        junk = b"\xff\xfe:x:0:0::/:\n" + b":" * 50_000 + b"\nuser\0:x:1:1::/:\n" + os.urandom(5000)
        last = b"\nuser:x:1000:100::/home/user:/bin/sh\n"
        lines = b"u:x:5:5:::\n" * ((FILE_LIMIT - len(junk) - len(last)) // 11)
        (self.root / "etc/passwd").write_bytes(junk + b"\n" + lines + last)
        output = await self.rig.run("cat", "/proc/self/status", User="user")
        self.assertIn("Uid:\t1000\t1000", output)

    async def test_odd_users(self) -> None:
        for user in ("2147483648", "4294967296", "4294967295", "9" * 5000, "0:4294967296", "-1"):
            self.assertIn("range 0-2147483647", await self.refused("id", User=user))
        for user in ("+0", " 0", "0x0", "1e3", "\uff10", "r\noot", "\x1b[31m"):
            self.assertIn("unable to find user", await self.refused("id", User=user))


class WorkdirTests(HostileCase):
    """Working directories, at start and of execs."""

    async def test_below_proc(self) -> None:
        for workdir in ("/proc/self/fd/7", "//proc/self/fd/7", "/a/../proc/1/root", "/proc/./self"):
            with self.assertRaises(InvalidParameter) as caught:
                await self.rig.create("id", WorkingDir=workdir)
            self.assertIn("it is below /proc", caught.exception.message)

    async def test_below_proc_by_a_link(self) -> None:
        for target in ("/proc/self/fd/7", "../../proc/self/fd/8", "/proc/self", "proc/1/root"):
            self.replace("w", target)
            for workdir in ("/w", "/w/x"):
                self.assertIn("it is below /proc", await self.refused("id", WorkingDir=workdir))

    async def test_out_of_the_root(self) -> None:
        for target in (self.outside, self.up + str(self.outside)):
            self.replace("w", target)
            output = await self.rig.run("sh", "-c", "pwd", WorkingDir="/w/made")
            self.assertEqual(output, f"{self.outside}/made\n")
            self.assertUntouched(target)

    async def test_links_to_descriptors_in_a_mount(self) -> None:
        source = self.rig.base / "source"
        source.mkdir()
        for number in range(3, 16):
            (source / str(number)).symlink_to(f"/proc/self/fd/{number}")
        host = {"Binds": [f"{source}:/m"]}
        for number in range(3, 16):
            said = await self.run_or_refuse(
                "sh",
                "-c",
                f"ls -a . ../../../../..{self.outside}",
                WorkingDir=f"/m/{number}",
                host=host,
            )
            self.assertNotIn("victim", said)


class DestinationTests(HostileCase):
    """What is mounted in places that are links."""

    async def test_binds_and_tmpfs(self) -> None:
        source = self.rig.base / "source"
        source.mkdir()
        (source / "file").write_text("content of the source")
        for target in (self.outside, self.up + str(self.outside), str(self.outside / "new/dir")):
            self.replace("t", target)
            for host, seen in (
                ({"Binds": [f"{source}:/t"]}, "/t/file"),
                ({"Binds": [f"{source}:/t/sub/dir"]}, "/t/sub/dir/file"),
                ({"Binds": [f"{source}/file:/t/victim"]}, "/t/victim"),
                ({"Tmpfs": {"/t": ""}}, "/t"),
                ({"Binds": ["/t/volume"]}, "/t/volume"),
            ):
                await self.rig.run("sh", "-c", f"ls {seen}", host=host)
                self.assertEqual(self.rig.status, 0, (target, host))
                self.assertUntouched((target, host))

    async def test_files_of_the_engine(self) -> None:
        places = ("etc/hosts", "sbin/docker-init", "dev/shm")
        targets = (
            self.outside / "victim",
            self.up + str(self.outside / "victim"),
            self.outside / "new",
            "../../../..",
            "/proc/self/fd/7",
        )
        for place in places:
            kept = shutil.copytree(self.root, self.rig.base / "kept", symlinks=True)
            for target in targets:
                self.replace(place, target)
                await self.run_or_refuse("true", host={"Init": True})
                self.assertUntouched((place, target))
            shutil.rmtree(self.root)
            kept.rename(self.root)

    async def test_directories_of_the_system(self) -> None:
        for place in ("proc", "sys", "dev"):
            for target in (self.outside, self.up + str(self.outside), "/tmp", "nowhere"):
                self.replace(place, target)
                output = await self.rig.run("sh", "-c", f"ls /{place} /tmp; echo {place}")
                self.assertIn(f"{place}\n", output)
                self.assertUntouched((place, target))
            (self.root / place).unlink()
            (self.root / place).mkdir()

    async def test_devices(self) -> None:
        for target in (self.outside, self.up + str(self.outside)):
            self.replace("t", target)
            device = {"PathOnHost": "/dev/null", "PathInContainer": "/t/null"}
            await self.run_or_refuse("true", host={"Devices": [device]})
            self.assertUntouched(target)

    async def test_a_pipe_in_the_place_of_hosts(self) -> None:
        os.mkfifo(self.root / "etc/hosts")
        output = await self.rig.run("cat", "/etc/hosts")
        self.assertIn("localhost", output)

    async def test_a_source_that_is_swapped_for_a_link(self) -> None:
        # Whoever may write beside a source can have it lead elsewhere, as under dockerd; what must
        # not be is that anything is made there.
        (self.rig.base / "links").symlink_to(self.outside / "no/such")
        host = {"Binds": [f"{self.rig.base}/links:/t"]}
        reason = await self.refused("true", host=host)
        self.assertIn("error while creating mount source path", reason)
        self.assertUntouched("a source")


class RuncUserFileTests(UserFileTests):
    """With runc."""

    runtime = "runc"


class RuncWorkdirTests(WorkdirTests):
    """With runc."""

    runtime = "runc"


class RuncDestinationTests(DestinationTests):
    """With runc."""

    runtime = "runc"
