"""What a create request may ask for, before anything is made."""

from __future__ import annotations

from msgspec import convert
from twisted.trial.unittest import SynchronousTestCase

from dockerapi.engine.errors import EngineError, InvalidParameter
from dockerapi.local.containers.creation.creation import check_body, merge_config
from dockerapi.local.containers.mounts.parsing import parse_mounts
from dockerapi.local.containers.runtime.resources import adapt_resources, cgroup_support
from dockerapi.local.containers.security.devices import device_rules
from dockerapi.model.containers import ContainerConfig, CreateBody, Healthcheck, HostConfig


class ModeTests(SynchronousTestCase):
    def test_modes_that_there_are_and_others(self) -> None:
        for mode in ("IpcMode", "PidMode"):
            check_body(ContainerConfig(), convert({mode: "container:other"}, HostConfig))
        for mode in ("IpcMode", "PidMode", "UTSMode", "UsernsMode", "CgroupnsMode"):
            check_body(ContainerConfig(), convert({mode: "host"}, HostConfig))
            with self.assertRaises(InvalidParameter, msg=mode):
                check_body(ContainerConfig(), convert({mode: "other"}, HostConfig))


class WordsTests(SynchronousTestCase):
    def test_times_of_health_checks_that_are_too_short(self) -> None:
        for title in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
            health = convert({title: 999_999}, Healthcheck)
            error = self.assertRaises(
                InvalidParameter, check_body, ContainerConfig(healthcheck=health), HostConfig()
            )
            self.assertEqual(error.message, f"{title} in Healthcheck cannot be less than 1ms")

    def test_what_cannot_be_in_dockerd_s_words(self) -> None:
        empty = "invalid Annotations: the empty string is not permitted as an annotation key"
        for host, words in (
            (HostConfig(cgroupns_mode="x"), "invalid cgroup namespace mode: x"),
            (HostConfig(pid_mode="container"), "invalid PID mode: container"),
            (HostConfig(cap_add=["nope"]), 'invalid CapAdd: unknown capability: "CAP_NOPE"'),
            (HostConfig(cap_drop=["Cap_x"]), 'invalid CapDrop: unknown capability: "CAP_X"'),
            (HostConfig(security_opt=["seccomp"]), 'invalid --security-opt 1: "seccomp"'),
            (HostConfig(security_opt=["x=y"]), 'invalid --security-opt 2: "x=y"'),
            (HostConfig(annotations={"": "x"}), empty),
        ):
            refused = self.assertRaises(InvalidParameter, check_body, ContainerConfig(), host)
            self.assertEqual(refused.message, words)
        check_body(ContainerConfig(), HostConfig(security_opt=["no-new-privileges"]))


class WhatClientsWriteTests(SynchronousTestCase):
    def test_numbers_that_say_nothing_are_not_kept(self) -> None:
        for limit in (0, -1):
            host, warnings = adapt_resources(
                HostConfig(pids_limit=limit, memory_swappiness=-1), cgroup_support()
            )
            self.assertEqual((host.pids_limit, host.memory_swappiness), (None, None))
            self.assertEqual(warnings, [])

    def test_memory_without_end_and_without_a_killer(self) -> None:
        _, warnings = adapt_resources(HostConfig(oom_kill_disable=True), cgroup_support())
        self.assertEqual(len(warnings), 1)

    def test_no_environment_is_none(self) -> None:
        self.assertIsNone(merge_config(CreateBody(env=[]), {}).env)
        image = {"config": {"Env": ["A=1", "B=2"]}}
        self.assertEqual(merge_config(CreateBody(env=["B=3"]), image).env, ["B=3", "A=1"])

    def test_an_entrypoint_of_no_words_takes_the_image_s_away(self) -> None:
        image = {"config": {"Entrypoint": ["env"], "Cmd": ["of", "image"]}}
        for entrypoint, command, words in (
            (None, None, ["env", "of", "image"]),
            (None, ["own"], ["env", "own"]),
            ([], ["own"], ["own"]),
            ([], None, ["of", "image"]),
            ([""], ["own"], ["own"]),
            (["sh"], None, ["sh"]),
        ):
            body = CreateBody(entrypoint=entrypoint, cmd=command)
            self.assertEqual(merge_config(body, image).words(), words)
        self.assertEqual(merge_config(CreateBody(entrypoint=[]), image).entrypoint, [])
        self.assertIsNone(merge_config(CreateBody(entrypoint=[""]), image).entrypoint)

    def test_a_working_directory_is_kept_in_its_shortest_form(self) -> None:
        for given, kept in (("", ""), ("/tmp/", "/tmp"), ("//a/./b/../c", "/a/c")):
            self.assertEqual(merge_config(CreateBody(working_dir=given), {}).working_dir, kept)


class DeviceRuleTests(SynchronousTestCase):
    def test_a_star_is_left_out_as_the_runtimes_want_it(self) -> None:
        every = device_rules((), ["c 42:* rmw", "b *:7 r"], privileged=False)[-2:]
        self.assertEqual(every[0], {"allow": True, "type": "c", "access": "rmw", "major": 42})
        self.assertEqual(every[1], {"allow": True, "type": "b", "access": "r", "minor": 7})


class NameTests(SynchronousTestCase):
    def test_names_that_would_be_lines_of_their_own(self) -> None:
        for title in ("Hostname", "Domainname"):
            for text in ("a\n1.2.3.4 evil", "a b", "tab\t", "bell\x07"):
                with self.assertRaises(InvalidParameter, msg=text):
                    check_body(convert({title: text}, ContainerConfig), HostConfig())
            check_body(convert({title: "box-1.example"}, ContainerConfig), HostConfig())


class BindsTests(SynchronousTestCase):
    def test_volumes_with_a_name_and_without(self) -> None:
        binds = ["/anonymous", "name:/named", "/host:/bind"]
        points = [one.point for one in parse_mounts(HostConfig(binds=binds))]
        self.assertEqual([one.type for one in points], ["volume", "volume", "bind"])
        self.assertEqual([one.anonymous for one in points], [True, False, False])
        self.assertEqual([one.destination for one in points], ["/anonymous", "/named", "/bind"])

    def test_what_is_no_bind(self) -> None:
        refused = ("", ":/x", "/a:", "a:b:c:d", "relative", "/", "/a:/", "/a:/b:zz")
        for text in (*refused, "/zero\0byte", "/a:/zero\0byte", "/a:/b:ro,rw", "/a:/b:z,Z"):
            with self.assertRaises(EngineError, msg=text):
                parse_mounts(HostConfig(binds=[text]))
