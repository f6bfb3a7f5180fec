"""Seccomp profiles in dockerd's form, read and used."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import InvalidParameter
from dockerapi.local.containers.security.profiles import custom_profile, parse_profile
from tests.local.containers.support import RigCase

ALLOW, ERRNO = "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"


def chosen(*rules: dict[str, Any], caps: tuple[str, ...] = (), kernel: str = "6.1.0") -> list[str]:
    text = json.dumps({"defaultAction": ERRNO, "syscalls": list(rules)})
    document = custom_profile(text, caps, "x86_64", kernel)
    return [name for rule in document["syscalls"] for name in rule["names"]]


class ProfileTests(SynchronousTestCase):
    def test_what_applies(self) -> None:
        for more, caps, applies in (
            ({}, (), True),
            ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, (), False),
            ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, ("CAP_SYS_ADMIN",), True),
            ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, ("CAP_SYS_ADMIN",), False),
            ({"includes": {"arches": ["amd64", "x32"]}}, (), True),
            ({"includes": {"arches": ["s390x"]}}, (), False),
            ({"excludes": {"arches": ["amd64"]}}, (), False),
            ({"includes": {"minKernel": "4.8"}}, (), True),
            ({"includes": {"minKernel": "6.2"}}, (), False),
            ({"excludes": {"minKernel": "6.1"}}, (), False),
        ):
            rule = {"names": ["mount"], "action": ALLOW, **more}
            self.assertEqual(chosen(rule, caps=caps), ["mount"] if applies else [], more)

    def test_one_name_as_old_profiles_have_it(self) -> None:
        self.assertEqual(chosen({"name": "mount", "action": ALLOW}), ["mount"])

    def test_architectures(self) -> None:
        text = json.dumps(
            {
                "defaultAction": ERRNO,
                "defaultErrnoRet": 38,
                "archMap": [
                    {
                        "architecture": "SCMP_ARCH_X86_64",
                        "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
                    },
                    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                ],
            }
        )
        document = custom_profile(text, (), "aarch64", "6.1")
        self.assertEqual(document["architectures"], ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"])
        self.assertEqual(document["defaultErrnoRet"], 38)

    def test_what_is_no_profile(self) -> None:
        for text in (
            "",
            "x",
            "[]",
            "{}",
            '{"defaultAction": 1}',
            '{"defaultAction": "A", "architectures": ["A"], "archMap": [{"architecture": "A"}]}',
            '{"defaultAction": "A", "syscalls": [{"action": "A", "name": "a", "names": ["a"]}]}',
        ):
            self.assertRaises(InvalidParameter, parse_profile, text)

    def test_one_without_end(self) -> None:
        rule = {"names": ["open"] * 200_000, "action": ALLOW}
        text = json.dumps({"defaultAction": ERRNO, "syscalls": [rule]})
        self.assertRaises(InvalidParameter, parse_profile, text)

    @given(st.text(max_size=50))
    def test_garbage(self, text: str) -> None:
        try:
            parse_profile(text)
        except InvalidParameter:
            return


class CustomProfileTests(RigCase):
    async def test_it_is_the_one_that_counts(self) -> None:
        """A profile refuses mkdir and allows all else."""
        text = json.dumps(
            {
                "defaultAction": ALLOW,
                "syscalls": [{"names": ["mkdir", "mkdirat"], "action": ERRNO, "errnoRet": 28}],
            }
        )
        for privileged in (False, True):
            output = await self.rig.run(
                *("sh", "-c", "mkdir /new 2>&1; echo over"),
                host={"SecurityOpt": [f"seccomp={text}"], "Privileged": privileged},
            )
            self.assertIn("No space left on device", output)
            self.assertIn("over", output)
