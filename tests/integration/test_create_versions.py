"""What a real server honours of requests at several versions of the API."""

from __future__ import annotations

from typing import Any

from tests.integration.test_versions import VersionsCase

_CONTRADICTION = "can't create 'AutoRemove' container with restart policy"


class CreateVersionsTests(VersionsCase):
    def created(self, version: str, body: dict[str, Any], name: str = "") -> dict[str, Any]:
        """Return what inspect tells of a container that `body` makes at `version`."""
        query = f"?name={name}" if name else ""
        body = {"Image": "busybox", "Cmd": ["sleep", "60"], **body}
        status, answer, _ = self.ask(version, f"/containers/create{query}", body)
        self.assertEqual(status, 201, answer)
        return dict(self.get("1.55", f"/containers/{answer['Id']}/json"))

    def test_what_a_version_does_not_know_is_ignored(self) -> None:
        body: dict[str, Any] = {
            "Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 2_000_000_000},
            "HostConfig": {
                "Annotations": {"a": "b"},
                "AutoRemove": True,
                "RestartPolicy": {"Name": "always"},
                "Mounts": [
                    {
                        "Type": "tmpfs",
                        "Target": "/t",
                        "TmpfsOptions": {"SizeBytes": 65536, "Options": [["exec"]]},
                    }
                ],
            },
        }
        found = self.created("1.24", body)
        self.assertEqual(found["Config"]["Healthcheck"], {"Test": ["CMD", "true"]})
        host = found["HostConfig"]
        self.assertEqual((host["AutoRemove"], host["IpcMode"]), (False, "shareable"))
        self.assertNotIn("Annotations", host)
        self.assertEqual(host["Mounts"][0]["TmpfsOptions"], {"SizeBytes": 65536})

        status, answer, _ = self.ask("1.25", "/containers/create", {"Image": "busybox", **body})
        self.assertEqual((status, answer["message"]), (400, _CONTRADICTION))
        body["HostConfig"]["RestartPolicy"]["Name"] = "no"
        for version, annotated, start_interval, options in (
            ("1.42", False, False, False),
            ("1.43", True, False, False),
            ("1.44", True, True, False),
            ("1.45", True, True, False),
            ("1.46", True, True, True),
        ):
            found = self.created(version, body)
            host = found["HostConfig"]
            told = "StartInterval" in found["Config"]["Healthcheck"]
            self.assertEqual(told, start_interval, version)
            self.assertEqual("Annotations" in host, annotated, version)
            told = "Options" in host["Mounts"][0]["TmpfsOptions"]
            self.assertEqual(told, options, version)
            self.assertEqual(host["IpcMode"], "private")

    def test_mounts_that_would_be_others_at_an_older_version_are_refused(self) -> None:
        volume = {"Type": "volume", "Source": "vol", "Target": "/v"}
        bind = {"Type": "bind", "Source": "/etc", "Target": "/v", "ReadOnly": True}
        force = {"ReadOnlyForceRecursive": True, "Propagation": "rprivate"}
        for mount, known, needs in (
            ({**volume, "VolumeOptions": {"Subpath": "x"}}, 45, "VolumeOptions.Subpath"),
            ({**bind, "BindOptions": force}, 44, "BindOptions.ReadOnlyForceRecursive"),
            ({"Type": "image", "Source": "busybox", "Target": "/v"}, 48, 'Mount type "Image"'),
        ):
            body = {"HostConfig": {"Mounts": [mount]}}
            self.created(f"1.{known}", body)
            older = f"1.{known - 1}"
            status, answer, _ = self.ask(older, "/containers/create", {"Image": "busybox", **body})
            told = f"{needs} needs API v1.{known} or newer"
            self.assertEqual((status, answer["message"]), (400, told))

    def test_what_a_client_of_its_time_finds_where_it_says_nothing(self) -> None:
        for version, mode, size in (("1.39", "shareable", [0, 0]), ("1.42", "private", [5, 6])):
            self.assertEqual(self.created(version, {})["HostConfig"]["IpcMode"], mode)
            found = self.created(version, {"HostConfig": {"ConsoleSize": [5, 6]}})
            self.assertEqual(found["HostConfig"]["ConsoleSize"], size)

    def test_a_driver_of_volumes_that_mounts_do_not_have_is_warned_of_since_1_48(self) -> None:
        volume = {"Type": "volume", "Source": "vol", "Target": "/v"}
        own = {**volume, "VolumeOptions": {"DriverConfig": {"Name": "local"}}}
        for version, mount, warned in (("1.47", volume, 0), ("1.48", volume, 1), ("1.48", own, 0)):
            host = {"VolumeDriver": "local", "Mounts": [mount]}
            body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": host}
            status, answer, _ = self.ask(version, "/containers/create", body)
            self.assertEqual((status, len(answer["Warnings"])), (201, warned))

    def test_a_mountpoint_is_made_since_1_42(self) -> None:
        source = str(self.server.directory / "made")
        options = {"CreateMountpoint": True}
        mount = {"Type": "bind", "Source": source, "Target": "/t", "BindOptions": options}
        body = {"Image": "busybox", "HostConfig": {"Mounts": [mount]}, "Cmd": ["true"]}
        status, answer, _ = self.ask("1.41", "/containers/create", body)
        self.assertEqual(status, 400)
        self.assertIn("bind source path does not exist", answer["message"])
        self.assertEqual(self.ask("1.42", "/containers/create", body)[0], 201)

    def test_a_platform_is_asked_for_since_1_41(self) -> None:
        body = {"Image": "busybox", "Cmd": ["true"]}
        path = "/containers/create?platform=plan9/mips"
        self.assertEqual(self.ask("1.40", path, body)[0], 201)
        self.assertEqual(self.ask("1.41", path, body)[0], 404)

    def test_a_mac_address_of_the_container_itself(self) -> None:
        address = "02:42:ac:11:00:99"
        body = {"Image": "busybox", "Cmd": ["true"], "MacAddress": address}
        for version, warned, kept in (("1.43", 0, True), ("1.44", 1, True), ("1.52", 0, False)):
            status, answer, _ = self.ask(version, "/containers/create", body)
            self.assertEqual((status, len(answer["Warnings"])), (201, warned), version)
            found = self.get("1.55", f"/containers/{answer['Id']}/json")
            self.assertEqual(found["Config"].get("MacAddress"), address if kept else None, version)

    def test_a_limit_of_processes_is_updated_since_1_40(self) -> None:
        self.ok("run", "-d", "--name", "c1", "--pids-limit", "50", "busybox", "sleep", "60")
        for version, limit in (("1.39", 50), ("1.40", 20)):
            status, answer, _ = self.ask(version, "/containers/c1/update", {"PidsLimit": 20})
            self.assertEqual(status, 200, answer)
            found = self.get("1.55", "/containers/c1/json")
            self.assertEqual(found["HostConfig"]["PidsLimit"], limit, version)
