"""The AppArmor profile: its language, who gets it, and how it is loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from dockerapi.local.containers.runtime.spec import process_spec
from dockerapi.local.containers.runtime.users import User
from dockerapi.local.containers.security import apparmor
from dockerapi.model.containers import HostConfig
from tests.local.containers.support import RigCase


class ProfileTests(SynchronousTestCase):
    def parse(self, text: str) -> subprocess.CompletedProcess[str]:
        parser = shutil.which("apparmor_parser", path=f"{os.environ['PATH']}:/sbin:/usr/sbin")
        if parser is None:
            raise SkipTest("apparmor_parser is not installed")
        # It compiles, and leaves the kernel alone.
        command = [parser, "--skip-kernel-load", "--skip-cache", "--names"]
        return subprocess.run(command, input=text, capture_output=True, text=True, check=False)

    def test_it_can_be_compiled(self) -> None:
        done = self.parse(apparmor.profile_text())
        self.assertEqual((done.returncode, done.stdout), (0, "docker-default\n"), done.stderr)
        self.assertNotEqual(self.parse(apparmor.profile_text() + "{").returncode, 0)

    def test_without_files_of_the_distribution(self) -> None:
        self.patch(apparmor, "_POLICY", Path("/nosuch"))
        text = apparmor.profile_text("other")
        self.assertNotIn("#include", text)
        self.assertEqual(self.parse(text).returncode, 0)

    def test_who_gets_it(self) -> None:
        user = User(0, 0, (0,))
        for enabled, host, profile in (
            (False, HostConfig(), None),
            (False, HostConfig(security_opt=["apparmor=mine"]), None),
            (True, HostConfig(), "docker-default"),
            (True, HostConfig(privileged=True), "unconfined"),
            (True, HostConfig(security_opt=["apparmor=mine"]), "mine"),
            (True, HostConfig(security_opt=["apparmor:unconfined"]), "unconfined"),
            (True, HostConfig(privileged=True, security_opt=["apparmor=mine"]), "mine"),
        ):
            self.patch(apparmor, "is_enabled", lambda enabled=enabled: enabled)
            process = process_spec(host, user, ["true"], [], "/", ())
            self.assertEqual(process.get("apparmorProfile"), profile, (enabled, host))

    def test_what_is_told(self) -> None:
        mine, none = HostConfig(security_opt=["apparmor=mine"]), HostConfig()
        for enabled, host, started, profile in (
            (False, none, False, ""),
            (False, mine, False, "mine"),
            (False, mine, True, ""),
            (True, none, False, "docker-default"),
            (True, mine, True, "mine"),
        ):
            self.patch(apparmor, "is_enabled", lambda enabled=enabled: enabled)
            self.assertEqual(apparmor.shown_profile(host, started=started), profile)


class LoadTests(TestCase):
    """Loading, with a parser that tells what it was given: no kernel here need have AppArmor."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.switch = self.directory / "enabled"
        self.switch.write_text("Y\n")
        self.patch(apparmor, "_SWITCH", self.switch)
        self.patch(apparmor, "_KERNEL", self.directory)
        self.patch(apparmor, "_LOADED", self.directory / "profiles")
        environment = {name: value for name, value in os.environ.items() if name != "container"}
        self.patch(os, "environ", environment | {"PATH": f"{self.directory}:{os.environ['PATH']}"})
        apparmor.is_enabled.cache_clear()
        self.addCleanup(apparmor.is_enabled.cache_clear)

    def parser(self, status: int) -> None:
        program = self.directory / "apparmor_parser"
        program.write_text(
            f'#!/bin/sh\necho "$@" > {self.directory}/arguments\n'
            f"cat > {self.directory}/given\necho 'a reason' >&2\nexit {status}\n"
        )
        program.chmod(0o755)

    async def test_it_is_loaded_once(self) -> None:
        self.parser(0)
        self.assertEqual(await apparmor.load(), "")
        self.assertEqual((self.directory / "given").read_text(), apparmor.profile_text())
        self.assertIn("--replace", (self.directory / "arguments").read_text())
        (self.directory / "given").unlink()
        (self.directory / "profiles").write_text("other (enforce)\ndocker-default (enforce)\n")
        self.assertEqual(await apparmor.load(), "")
        self.assertFalse((self.directory / "given").exists())

    async def test_what_is_wrong_is_told(self) -> None:
        self.parser(1)
        self.assertIn("cannot be loaded: a reason", await apparmor.load())

    async def test_nothing_is_done_without_apparmor(self) -> None:
        self.parser(1)
        self.switch.write_text("N\n")
        self.assertEqual(await apparmor.load(), "")
        self.assertFalse(apparmor.is_enabled())
        self.assertFalse((self.directory / "given").exists())

    async def test_nothing_is_done_inside_a_container(self) -> None:
        # Its kernel's switch shows there, too.
        self.parser(1)
        for there, variables in ((False, {}), (True, {"container": "lxc"})):
            self.patch(apparmor, "_KERNEL", self.directory / ("" if there else "nosuch"))
            self.patch(os, "environ", os.environ | variables)
            self.assertEqual(await apparmor.load(), "")
            self.assertFalse(apparmor.is_enabled())
        self.assertFalse((self.directory / "given").exists())

    async def test_containers_start_without_a_parser(self) -> None:
        self.patch(apparmor, "_PARSER", "no-such-parser")
        self.assertIn("no-such-parser is not installed", await apparmor.load())
        self.assertFalse(apparmor.is_enabled())
        self.assertEqual(apparmor.profile_of(HostConfig()), "")


class ConfinedTests(RigCase):
    """Real containers, where the kernel has AppArmor (Debian's own has)."""

    async def setUp(self) -> None:
        if not apparmor.is_enabled():
            raise SkipTest("AppArmor is not on")
        await super().setUp()

    async def test_profiles(self) -> None:
        for host, profile in (
            ({}, "docker-default (enforce)"),
            ({"SecurityOpt": ["apparmor=unconfined"]}, "unconfined"),
            ({"Privileged": True}, "unconfined"),
        ):
            output = await self.rig.run("cat", "/proc/self/attr/current", host=host)
            self.assertEqual(output.strip(), profile)

    async def test_it_denies_mounts(self) -> None:
        command = ("sh", "-c", "mount -t tmpfs x /tmp && echo mounted")
        host = {"CapAdd": ["SYS_ADMIN"]}
        self.assertNotIn("mounted\n", await self.rig.run(*command, host=host))
        host["SecurityOpt"] = ["apparmor=unconfined"]
        self.assertEqual(await self.rig.run(*command, host=host), "mounted\n")
