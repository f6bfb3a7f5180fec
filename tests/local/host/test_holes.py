"""Known escapes of runtimes by version."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from dockerapi.local.host.holes import HOLES, known_holes

LEAKY = "CVE-2024-21626"
MASKED = "CVE-2025-31133"


def names(program: str, version: str, package: str = "") -> set[str]:
    return {name for hole in known_holes(program, version, package) for name in hole.names}


class KnownHolesTests(SynchronousTestCase):
    def test_closed_in_its_own_line(self) -> None:
        for version, has in (
            ("1.1.15", True),
            ("1.2.7", True),
            ("1.2.8", False),
            ("1.3.0", True),
            ("1.3.2", True),
            ("1.3.3", False),
            ("1.4.0-rc.2", True),
            ("1.4.0-rc.3", False),
            ("1.4.0", False),
            ("1.5.0", False),
            ("2.0.0", False),
        ):
            self.assertEqual(MASKED in names("runc", version), has, version)

    def test_candidates_come_before_the_release(self) -> None:
        self.assertIn("CVE-2019-5736", names("runc", "1.0.0-rc6"))
        self.assertNotIn("CVE-2019-5736", names("runc", "1.0.0-rc7"))
        self.assertNotIn("CVE-2021-30465", names("runc", "1.0.0"))
        self.assertIn("CVE-2021-30465", names("runc", "1.0.0~rc93"))

    def test_patched_package(self) -> None:
        self.assertIn(LEAKY, names("runc", "1.1.5"))
        self.assertIn(LEAKY, names("runc", "1.1.5+ds1", "1.1.5+ds1-1"))
        self.assertNotIn(LEAKY, names("runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1"))
        self.assertIn(MASKED, names("runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1"))

    def test_unknown(self) -> None:
        self.assertEqual(known_holes("runc", "unknown"), ())
        self.assertEqual(known_holes("other", "0.1"), ())
        self.assertEqual(len(known_holes("runc", "0.1.1")), len(HOLES["runc"]))
