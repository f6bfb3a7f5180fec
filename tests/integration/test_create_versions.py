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
        body = {
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
