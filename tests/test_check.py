"""`dockerapi check`: remedies for what is missing, and the exit status."""

from __future__ import annotations

import subprocess
import sys

from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.check import MISSING, OK, WARNING, findings, render
from dockerapi.local.host.advisories import known_advisories
from dockerapi.local.host.probe import PROGRAMS, HostFacts, Tool

LIMITS = dict.fromkeys(("MemoryLimit", "SwapLimit", "CPUShares", "PidsLimit"), True)
HOST = HostFacts(
    kernel="6.1.0-18-amd64",
    operating_system="Debian GNU/Linux 12 (bookworm)",
    os_version="12",
    machine="x86_64",
    architecture="amd64",
    cpus=2,
    memory=2**31,
    cgroup_mode="v2",
    filesystem="extfs",
    seccomp=True,
    overlay=True,
    limits=LIMITS,
    tools={name: Tool(name, f"/usr/bin/{name}", "99.0") for name in PROGRAMS},
    warnings=(),
)


def without(*names: str) -> HostFacts:
    tools = {**HOST.tools, **{name: Tool(name) for name in names}}
    return structs.replace(HOST, tools=tools)


class FindingTests(SynchronousTestCase):
    def states(self, host: HostFacts) -> dict[str, str]:
        return {one.what: one.state for one in findings(host) if one.what != "user"}

    def test_a_host_that_has_everything(self) -> None:
        self.assertEqual(set(self.states(HOST).values()), {OK})

    def test_what_is_missing_has_a_remedy(self) -> None:
        for host, what, word in [
            (without("runc", "crun"), "runtime", "runc"),
            (without("conmon"), "conmon", "conmon"),
            (without("nft", "iptables"), "firewall", "nftables"),
            (structs.replace(HOST, overlay=False), "overlay file system", "overlay"),
            (structs.replace(HOST, filesystem="overlay"), "overlay file system", "--data-root"),
            (structs.replace(HOST, kernel="4.19.0"), "kernel", "5.10"),
        ]:
            (found,) = (one for one in findings(host) if one.what == what)
            self.assertEqual(found.state, MISSING)
            self.assertIn(word, found.remedy)
            self.assertIn("1 missing", render([found]))

    def test_one_of_two_is_enough(self) -> None:
        self.assertNotIn(MISSING, self.states(without("crun", "nft", "tini")).values())
        self.assertEqual(self.states(without("tini", "catatonit"))["init (--init)"], WARNING)


class HoleTests(SynchronousTestCase):
    def cves(self, program: str, version: str, commit: str = "") -> set[str]:
        return {hole.cve for hole in known_advisories(program, version, commit)}

    def test_old_versions_have_them(self) -> None:
        self.assertIn("CVE-2024-21626", self.cves("runc", "1.1.11"))
        self.assertNotIn("CVE-2024-21626", self.cves("runc", "1.1.12"))
        self.assertIn("CVE-2025-31133", self.cves("runc", "1.3.2"))

    def test_branches_were_mended_one_by_one(self) -> None:
        for version in ("1.2.8", "1.3.3", "1.4.0", "2.0"):
            self.assertEqual(self.cves("runc", version), set(), version)

    def test_a_distribution_mends_old_versions(self) -> None:
        debian = self.cves("runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1")
        self.assertNotIn("CVE-2024-21626", debian)
        self.assertIn("CVE-2025-31133", debian)

    def test_later_revisions_keep_it_mended(self) -> None:
        for revision, mended in (("u1", True), ("u2", True), ("u10", True), ("u0", False)):
            cves = self.cves("runc", "1.1.5+ds1", f"1.1.5+ds1-1+deb12{revision}")
            self.assertEqual("CVE-2024-21626" not in cves, mended, revision)

    def test_candidates_come_before_their_release(self) -> None:
        self.assertIn("CVE-2025-31133", self.cves("runc", "1.4.0-rc.2"))
        self.assertIn("CVE-2024-45310", self.cves("runc", "1.2.0~rc1"))
        self.assertIn("CVE-2024-45310", self.cves("runc", "1.1.13"))
        self.assertNotIn("CVE-2024-45310", self.cves("runc", "1.1.14"))

    def test_what_a_distribution_may_have_mended(self) -> None:
        for path, packaged in (("/usr/sbin/runc", True), ("/usr/local/sbin/runc", False)):
            tool = Tool("runc", path, "1.1.5+ds1", "1.1.5+ds1-1+deb12u1")
            host = structs.replace(HOST, tools={**HOST.tools, "runc": tool})
            (found,) = (one for one in findings(host) if one.what == "runc")
            self.assertEqual(found.state, WARNING)
            self.assertEqual("unless your distribution" in found.remedy, packaged, path)

    def test_a_version_that_cannot_be_read_has_them(self) -> None:
        self.assertTrue(self.cves("runc", "unknown"))


class CommandTests(SynchronousTestCase):
    def test_the_command_ends_with_the_status_of_the_host(self) -> None:
        done = subprocess.run(
            (sys.executable, "-m", "dockerapi", "check"),
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertIn(done.returncode, (0, 1), done.stderr)
        self.assertEqual(done.returncode == 0, "ready for containers" in done.stdout)
        self.assertIn("conmon", done.stdout)

    def test_other_arguments_are_refused(self) -> None:
        done = subprocess.run(
            (sys.executable, "-m", "dockerapi", "check", "--nope"),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.assertEqual(done.returncode, 2)
        self.assertIn("usage", done.stdout)
