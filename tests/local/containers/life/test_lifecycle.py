"""Containers with a real runtime, through the engine's jobs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from dockerapi.engine.errors import Conflict, EngineError, InvalidParameter, NotFound, NotModified
from dockerapi.local.containers.runtime.runtime import StartFailed
from dockerapi.local.host.pidfd import exit_of
from dockerapi.model.malformed import Malformed
from tests.local.containers.support import RigCase


def traces(base: Path) -> list[str]:
    """Return the mounts and cgroups that carry the name of `base` or of a container."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in mounts if str(base) in line]


class LifecycleTests(RigCase):
    """What a container goes through, with the runtime that is chosen."""

    async def setUp(self) -> None:
        await super().setUp()
        self.addCleanup(self.check_traces)

    async def check_traces(self) -> None:
        identities = [one.id for one in self.rig.containers.registry]
        base = self.rig.base
        await self.rig.close()
        self.assertEqual(traces(base), [])
        for identity in identities:
            found = list(Path("/sys/fs/cgroup").glob(f"*/dockerapi/{identity}"))
            self.assertEqual(found, [])

    async def assertRaisesAsync(self, kind: type[EngineError], awaitable: Any) -> str:
        try:
            await awaitable
        except kind as error:
            return error.message
        raise self.failureException(f"{kind.__name__} was not raised")

    async def test_run(self) -> None:
        output = await self.rig.run("sh", "-c", "echo out; echo err >&2; exit 3")
        self.assertEqual(sorted(output.split()), ["err", "out"])
        self.assertEqual(self.rig.status, 3)
        self.assertEqual(self.rig.actions(), ["create", "start", "die", "destroy"])

    async def test_environment_user_and_directory(self) -> None:
        output = await self.rig.run(
            "sh",
            "-c",
            "id; env; echo $PWD; hostname",
            Env=["A=b", "FROM=client"],
            User="user",
            WorkingDir="/made/here",
            Hostname="box",
        )
        self.assertIn("uid=1000(user) gid=100(users) groups=100(users),200(extra)", output)
        self.assertIn("A=b\n", output)
        self.assertIn("FROM=client\n", output)
        self.assertIn("/made/here\nbox\n", output)

    async def test_default_security(self) -> None:
        output = await self.rig.run("cat", "/proc/self/status")
        self.assertIn("CapEff:\t00000000a80425fb", output)
        self.assertIn("CapBnd:\t00000000a80425fb", output)
        self.assertIn("Seccomp:\t2", output)
        mounts = await self.rig.run("mount")
        self.assertIn("proc on /proc/sys type proc (ro", mounts)
        self.assertIn("sysfs on /sys type sysfs (ro", mounts)

    async def test_filter_refuses(self) -> None:
        command = "busybox unshare -U true; busybox chroot / true && echo chroot"
        output = await self.rig.run("sh", "-c", command)
        self.assertIn("Operation not permitted", output)
        self.assertIn("chroot\n", output)
        # Each capability brings its calls along.
        host = {"CapAdd": ["SYS_ADMIN"], "CapDrop": ["SYS_CHROOT"]}
        output = await self.rig.run("sh", "-c", command, host=host)
        # AppArmor may forbid it, which says so in other words.
        self.assertNotRegex(output, "unshare.*: Operation not permitted")
        self.assertIn("chroot: can't change root directory", output)

    async def test_filter_holds_for_execs(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        tools = self.rig.containers.toolbox.tools
        assert tools is not None
        identity = self.rig.containers.registry.get("cx").id
        done = await tools.runtime_of(identity).call("exec", identity, "cat", "/proc/self/status")
        self.assertIn(b"Seccomp:\t2", done.stdout)
        done = await tools.runtime_of(identity).call(
            "exec", identity, "busybox", "unshare", "-U", "true"
        )
        self.assertIn(b"Operation not permitted", done.stderr)

    async def test_privileged(self) -> None:
        output = await self.rig.run("cat", "/proc/self/status", host={"Privileged": True})
        self.assertIn("Seccomp:\t0", output)

    async def test_no_new_privileges_and_capabilities(self) -> None:
        host = {"SecurityOpt": ["no-new-privileges"], "CapDrop": ["ALL"], "CapAdd": ["chown"]}
        output = await self.rig.run("cat", "/proc/self/status", host=host)
        self.assertIn("NoNewPrivs:\t1", output)
        self.assertIn("CapEff:\t0000000000000001", output)

    async def test_binds_and_tmpfs(self) -> None:
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        host = {
            "Binds": [f"{directory}:/b", f"{directory}:/r:ro", f"{directory}/new:/n"],
            "Tmpfs": {"/t": "size=1m"},
            "ReadonlyRootfs": True,
        }
        output = await self.rig.run(
            "sh",
            "-c",
            "echo hi >/b/file; cat /r/file; echo x >/r/no || echo ro; echo x >/x || echo root;"
            "echo x >/t/x && mount | busybox grep ' /t '",
            host=host,
        )
        self.assertIn("hi\n", output)
        self.assertEqual(output.count("Read-only file system"), 2)
        self.assertIn("size=1024k", output)
        self.assertIn("noexec", output)
        self.assertTrue((directory / "new").is_dir())

    async def test_limits(self) -> None:
        host = {
            "Memory": 64 << 20,
            "PidsLimit": 50,
            "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
            "ShmSize": 1 << 20,
            "OomScoreAdj": 100,
        }
        output = await self.rig.run(
            "sh", "-c", "ulimit -n; cat /proc/self/oom_score_adj; mount", host=host
        )
        self.assertIn("100\n100\n", output)
        self.assertIn("size=1024k", output)

    async def test_no_limit_of_processes(self) -> None:
        command = "cd /sys/fs/cgroup; cat pids/pids.max || cat pids.max"
        output = await self.rig.run("sh", "-c", command, host={"PidsLimit": -1})
        self.assertEqual((self.rig.status, output.splitlines()[-1]), (0, "max"))

    async def test_home_of_a_user_without_an_entry(self) -> None:
        output = await self.rig.run("sh", "-c", "echo $HOME", User="4321:4321")
        self.assertEqual(output, "/\n")
        output = await self.rig.run("sh", "-c", "echo $HOME", User="user")
        self.assertEqual(output, "/home/user\n")
        # As runc has it, and crun not.
        output = await self.rig.run("sh", "-c", "echo $HOME", User="user", Env=["HOME="])
        self.assertEqual(output, "/home/user\n")

    async def test_a_read_only_root_has_read_only_files(self) -> None:
        output = await self.rig.run("cat", "/proc/mounts", host={"ReadonlyRootfs": True})
        options = {line.split()[1]: line.split()[3].split(",")[0] for line in output.splitlines()}
        for path in ("/", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
            self.assertEqual(options[path], "ro", path)

    async def test_ipc_of_the_host(self) -> None:
        output = await self.rig.run("cat", "/proc/mounts", host={"IpcMode": "host"})
        self.assertIn(" /dev/mqueue mqueue ", output)
        self.assertEqual(self.rig.status, 0)

    async def test_a_command_that_may_not_be_run(self) -> None:
        for command in ("/etc", "/etc/passwd"):
            await self.rig.create(command, name="cx")
            starting = self.rig.job("ContainerStart", "cx")
            message = await self.assertRaisesAsync(StartFailed, starting)
            # By these words the CLI tells 126 from 125; recent runtimes say the second.
            self.assertRegex(message, "permission denied|is a directory")
            await self.rig.job("ContainerDelete", "cx")

    async def test_init(self) -> None:
        output = await self.rig.run("cat", "/proc/1/comm", host={"Init": True})
        self.assertNotEqual(output, "cat\n")

    async def test_auto_remove(self) -> None:
        identity = (await self.rig.create("false", host={"AutoRemove": True}))["Id"]
        waiting = await self.rig.wait(identity, "removed")
        await self.rig.job("ContainerStart", identity)
        self.assertEqual(await waiting, {"StatusCode": 1})
        message = await self.assertRaisesAsync(NotFound, self.rig.job("ContainerInspect", identity))
        self.assertEqual(message, f"No such container: {identity}")

    async def test_what_inspect_tells_of_what_clients_write(self) -> None:
        host = {"CapAdd": "CHOWN", "CapDrop": None, "ConsoleSize": [5]}
        body = {"Image": "busybox", "Entrypoint": "true", "StopTimeout": 0, "HostConfig": host}
        made = await self.rig.job("ContainerCreate", body={**body, "NetworkDisabled": True})
        await self.rig.job("ContainerStart", made["Id"])
        await self.rig.job("ContainerWait", made["Id"])
        document = await self.rig.job("ContainerInspect", made["Id"])
        config, host = document["Config"], document["HostConfig"]
        self.assertEqual((config["Entrypoint"], config["StopTimeout"]), (["true"], 0))
        self.assertEqual((host["CapAdd"], host["CapDrop"]), (["CHOWN"], None))
        self.assertEqual(host["ConsoleSize"], [5, 0])
        self.assertEqual(document["NetworkSettings"]["Networks"], {})

    async def test_numbers_that_have_no_sign(self) -> None:
        for host in (
            {"ConsoleSize": [-1, 2]},
            {"BlkioDeviceWriteBps": [{"Path": "/dev/null", "Rate": -1}]},
        ):
            body = {"Image": "busybox", "HostConfig": host}
            making = self.rig.make_job("ContainerCreate", body=body).run()
            error = await self.assertFailure(making, InvalidParameter)
            self.assertIn("cannot unmarshal number -1", error.message)

    async def test_what_names_no_image(self) -> None:
        for body, words in (
            ({}, "config cannot be empty in order to create a container"),
            ({"HostConfig": {}}, "config cannot be empty in order to create a container"),
            ({"Image": ""}, "no command specified"),
        ):
            making = self.rig.make_job("ContainerCreate", body=body).run()
            error = await self.assertFailure(making, InvalidParameter)
            self.assertEqual(error.message, words)

    async def test_missing_command(self) -> None:
        await self.rig.create("nosuch", name="cx")
        message = await self.assertRaisesAsync(
            InvalidParameter, self.rig.job("ContainerStart", "cx")
        )
        self.assertTrue(message.startswith("failed to create task for container: "))
        self.assertIn('exec: "nosuch": executable file not found in $PATH', message)
        state = (await self.rig.job("ContainerInspect", "cx"))["State"]
        self.assertEqual((state["Status"], state["ExitCode"]), ("created", 127))
        self.assertEqual(state["Error"], message)
        # It can be tried again, and fails again.
        await self.assertRaisesAsync(InvalidParameter, self.rig.job("ContainerStart", "cx"))

    async def test_start_again(self) -> None:
        await self.rig.create("sh", "-c", "echo x >>/seen; cat /seen", name="cx")
        for _ in range(2):
            waiting = await self.rig.wait("cx", "next-exit")
            await self.rig.job("ContainerStart", "cx")
            await waiting
            identity = self.rig.containers.registry.get("cx").id
        log = (self.rig.layout.container(identity) / "container.log").read_text()
        self.assertEqual(log.count(" x\n"), 3)

    async def test_stop_kills_what_ignores(self) -> None:
        await self.rig.create("sleep", "100", name="cx", StopSignal="SIGUSR1")
        await self.rig.job("ContainerStart", "cx")
        await self.assertRaisesAsync(NotModified, self.rig.job("ContainerStart", "cx"))
        waiting = await self.rig.wait("cx")
        await self.rig.job("ContainerStop", "cx", query="t=0")
        self.assertEqual(await waiting, {"StatusCode": 137})
        await self.assertRaisesAsync(NotModified, self.rig.job("ContainerStop", "cx"))
        events = [
            (one.action, one.attributes.get("signal"), one.attributes.get("exitCode"))
            for one in self.rig.engine.events.recent
            if one.type == "container"
        ]
        self.assertEqual(
            events[2:],
            [
                ("kill", str(int(signal.SIGUSR1)), None),
                ("kill", "9", None),
                ("die", None, "137"),
                ("stop", None, None),
            ],
        )

    async def test_kill(self) -> None:
        await self.rig.create(
            "sh", "-c", "trap 'exit 9' TERM; echo set; while :; do sleep 0.05; done", name="cx"
        )
        await self.assertRaisesAsync(Conflict, self.rig.job("ContainerKill", "cx"))
        await self.rig.job("ContainerStart", "cx")
        waiting = await self.rig.wait("cx")
        message = await self.assertRaisesAsync(
            InvalidParameter, self.rig.job("ContainerKill", "cx", query="signal=NOPE")
        )
        self.assertEqual(message, "cannot kill container: cx: invalid signal: NOPE")
        # The signal is looked at before the container.
        for number in ("99", "-3"):
            message = await self.assertRaisesAsync(
                InvalidParameter, self.rig.job("ContainerKill", "none", query=f"signal={number}")
            )
            self.assertEqual(
                message,
                f"cannot kill container: none: the linux daemon does not support signal {number}",
            )
        # Until the shell has set its trap, the signal is lost on it; and it takes only one.
        log = self.rig.containers.places.directories(self.rig.containers.registry.get("cx")).log
        while not log.exists() or b"set" not in log.read_bytes():
            await sleep(0.02)
        await self.rig.job("ContainerKill", "cx", query="signal=TERM")
        self.assertEqual(await waiting, {"StatusCode": 9})

    async def test_pause(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        await self.rig.job("ContainerPause", "cx")
        state = (await self.rig.job("ContainerInspect", "cx"))["State"]
        self.assertEqual((state["Status"], state["Running"]), ("paused", True))
        await self.assertRaisesAsync(Conflict, self.rig.job("ContainerPause", "cx"))
        await self.rig.job("ContainerUnpause", "cx")
        await self.assertRaisesAsync(EngineError, self.rig.job("ContainerUnpause", "cx"))
        await self.rig.job("ContainerPause", "cx")
        await self.rig.job("ContainerDelete", "cx", query="force=1")

    async def test_one_that_has_ended_meanwhile_is_not_paused(self) -> None:
        identity = (await self.rig.create("sleep", "100", name="cx"))["Id"]
        await self.rig.job("ContainerStart", "cx")
        container = self.rig.containers.registry.get("cx")
        ended, pid = await self.rig.wait("cx"), container.state.pid
        await container.lock.acquire()
        # It comes first when the lock is free, before the end can be written down.
        pausing = Deferred.fromCoroutine(self.rig.job("ContainerPause", "cx"))
        pidfd = os.pidfd_open(pid)
        self.addCleanup(os.close, pidfd)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await exit_of(pidfd)
        container.lock.release()
        with self.assertRaises(Conflict) as caught:
            await pausing
        self.assertEqual(caught.exception.message, f"container {identity} is not running")
        self.assertEqual((await ended)["StatusCode"], 137)

    async def test_one_that_is_being_paused_is_killed_all_the_same(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        container = self.rig.containers.registry.get("cx")
        pausing = Deferred.fromCoroutine(self.rig.job("ContainerPause", "cx"))
        self.assertTrue(container.being_frozen)
        await self.rig.job("ContainerKill", "cx")
        # Which of the two came first is not said.
        await pausing.addErrback(lambda failure: failure.trap(Conflict))
        self.assertEqual(container.state.exit_code, 137)

    async def test_one_that_is_being_killed_is_not_paused(self) -> None:
        identity = (await self.rig.create("sleep", "100", name="cx"))["Id"]
        await self.rig.job("ContainerStart", "cx")
        container = self.rig.containers.registry.get("cx")
        ended = await self.rig.wait("cx")
        await container.lock.acquire()
        killing = Deferred.fromCoroutine(self.rig.job("ContainerKill", "cx"))
        pausing = Deferred.fromCoroutine(self.rig.job("ContainerPause", "cx"))
        container.lock.release()
        with self.assertRaises(Conflict) as caught:
            await pausing
        self.assertEqual(caught.exception.message, f"container {identity} is not running")
        await killing
        self.assertEqual((await ended)["StatusCode"], 137)

    async def test_names(self) -> None:
        first = await self.rig.create("true", name="cx")
        message = await self.assertRaisesAsync(Conflict, self.rig.create("true", name="cx"))
        self.assertEqual(
            message,
            f'Conflict. The container name "/cx" is already in use by container "{first["Id"]}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
        )
        await self.rig.job("ContainerRename", "cx", query="name=cy")
        await self.rig.create("true", name="cx")
        await self.assertRaisesAsync(
            Conflict, self.rig.job("ContainerRename", "cy", query="name=cx")
        )
        self.assertEqual(self.rig.containers.registry.get(first["Id"][:10]).name, "cy")

    async def test_remove_running(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        message = await self.assertRaisesAsync(Conflict, self.rig.job("ContainerDelete", "cx"))
        self.assertIn('cannot remove container "cx": container is running', message)
        waiting = await self.rig.wait("cx", "removed")
        await self.rig.job("ContainerDelete", "cx", query="force=1")
        self.assertEqual(await waiting, {"StatusCode": 137})

    async def test_list(self) -> None:
        await self.rig.create("sleep", "100", name="runs", Labels={"a": "b"})
        await self.rig.create("true", name="new")
        await self.rig.job("ContainerStart", "runs")

        async def names(query: str) -> list[str]:
            rows = await self.rig.job("ContainerList", query=query)
            return [row["Names"][0] for row in rows]

        self.assertEqual(await names(""), ["/runs"])
        self.assertEqual(await names("all=1"), ["/new", "/runs"])
        self.assertEqual(await names("limit=1"), ["/new"])
        self.assertEqual(await names('filters={"label":["a=b"]}'), ["/runs"])
        self.assertEqual(await names('all=1&filters={"status":["created"]}'), ["/new"])
        self.assertEqual(await names('all=1&filters={"name":["ru"]}'), ["/runs"])
        self.assertEqual(await names('all=1&filters={"before":["new"]}'), ["/runs"])
        self.assertEqual(
            await names('all=1&filters={"ancestor":["busybox:latest"]}'), ["/new", "/runs"]
        )
        await self.rig.job("ContainerKill", "runs")
        self.assertEqual(await names(""), [])
        ended = 'filters={"exited":["137"]}'
        self.assertEqual(await names(f"all=1&{ended}"), ["/runs"])
        for query in (ended, 'filters={"before":["new"]}', 'filters={"since":["runs"]}'):
            self.assertEqual(await names(query), [], query)
        self.assertEqual(await names('filters={"status":["exited"]}'), ["/runs"])
        await self.rig.job("ContainerStart", "runs")
        self.assertEqual(await names(f"all=1&{ended}"), [])

    async def test_filters_that_are_none_are_told_without_containers_too(self) -> None:
        for name, value, told in (
            ("before", "nosuch", "No such container: nosuch"),
            ("since", "nosuch", "No such container: nosuch"),
            ("is-task", "x", "invalid filter 'is-task=[x]'"),
            ("exited", "x", "invalid filter 'exited=x': strconv.Atoi: parsing \"x\": invalid"),
            ("exited", "9" * 20, f'strconv.Atoi: parsing "{"9" * 20}": value out of range'),
            ("publish", "x", "error while looking up for publish x: "),
            ("expose", "9-1", "error while looking up for expose 9-1: "),
        ):
            query = f"filters={json.dumps({name: [value]})}"
            with self.assertRaises((InvalidParameter, Malformed)) as caught:
                await self.rig.job("ContainerList", query=query)
            self.assertIn(told, caught.exception.message)

    async def test_top(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        commands = ["crun"]
        while commands == ["crun"]:
            # The runtime returns a moment before its process becomes the command.
            answer = await self.rig.job("ContainerTop", "cx", query="ps_args=-o%20pid,comm")
            commands = [row[1] for row in answer["Processes"]]
        self.assertEqual(answer["Titles"], ["PID", "COMMAND"])
        self.assertEqual(commands, ["sleep"])

    async def test_prune(self) -> None:
        identity = (await self.rig.create("true", name="cx"))["Id"]
        await self.rig.create("sleep", "100", name="cy")
        await self.rig.job("ContainerStart", "cy")
        answer = await self.rig.job("ContainerPrune")
        self.assertEqual(answer["ContainersDeleted"], [identity])

    async def test_prune_keeps_what_has_a_label_that_is_excluded(self) -> None:
        await self.rig.create("true", name="kept", Labels={"keep": "1"})
        plain = (await self.rig.create("true", name="plain"))["Id"]
        for filters, gone in (
            ('{"label!":["keep"]}', [plain]),
            ('{"label!":{"keep=1":true}}', None),
            ('{"label!":["keep","other"]}', [self.rig.containers.registry.get("kept").id]),
        ):
            answer = await self.rig.job("ContainerPrune", query=f"filters={quote(filters)}")
            self.assertEqual(answer["ContainersDeleted"], gone, filters)

    async def test_workdir_below_proc(self) -> None:
        await self.assertRaisesAsync(
            InvalidParameter, self.rig.create("true", WorkingDir="/proc/self/fd/8")
        )
        (self.rig.images.layer / "link").symlink_to("/proc/self/fd/8")
        await self.rig.create("true", name="cx", WorkingDir="/link")
        message = await self.assertRaisesAsync(
            InvalidParameter, self.rig.job("ContainerStart", "cx")
        )
        self.assertIn("below /proc", message)

    async def test_workdir_stays_inside(self) -> None:
        outside = Path(tempfile.mkdtemp())
        self.addCleanup(outside.rmdir)
        (self.rig.images.layer / "out").symlink_to(outside)
        await self.rig.run("true", WorkingDir="/out/made")
        self.assertEqual(list(outside.iterdir()), [])

    async def test_hostile_passwd(self) -> None:
        passwd = self.rig.images.layer / "etc" / "passwd"
        passwd.unlink()
        os.mkfifo(passwd)
        await self.rig.create("true", name="fifo")
        message = await self.assertRaisesAsync(
            InvalidParameter, self.rig.job("ContainerStart", "fifo")
        )
        self.assertIn("not a regular file", message)
        passwd.unlink()
        outside = self.rig.base / "passwd"
        outside.write_text("user:x:4711:4711::/:/bin/sh\n")
        passwd.symlink_to(outside)
        await self.rig.create("true", name="link", User="user")
        message = await self.assertRaisesAsync(
            InvalidParameter, self.rig.job("ContainerStart", "link")
        )
        self.assertEqual(message, "unable to find user user: no matching entries in passwd file")

    async def test_wait_is_given_up(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        waiting = await self.rig.wait("cx")
        waiting.addErrback(lambda failure: None)
        waiting.cancel()
        await self.rig.job("ContainerKill", "cx")

    async def test_server_comes_back(self) -> None:
        for name, command in (("runs", "sleep 100"), ("ends", "sleep 0.2; exit 5")):
            await self.rig.create("sh", "-c", command, name=name)
            await self.rig.job("ContainerStart", name)
        await self.rig.create("sleep", "0.2", name="auto", host={"AutoRemove": True})
        await self.rig.job("ContainerStart", "auto")
        before = (await self.rig.job("ContainerInspect", "runs"))["State"]
        await self.rig.stop()
        stranger = self.rig.layout.container("f" * 64)
        stranger.mkdir()
        await sleep(0.6)
        await self.rig.start()
        self.assertEqual((await self.rig.job("ContainerInspect", "runs"))["State"], before)
        state = (await self.rig.job("ContainerInspect", "ends"))["State"]
        self.assertEqual((state["Status"], state["ExitCode"]), ("exited", 5))
        await self.assertRaisesAsync(NotFound, self.rig.job("ContainerInspect", "auto"))
        self.assertFalse(stranger.exists())
        waiting = await self.rig.wait("runs")
        await self.rig.job("ContainerStop", "runs", query="t=0")
        self.assertEqual(await waiting, {"StatusCode": 137})

    async def test_conmon_is_killed(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        container = self.rig.containers.registry.get("cx")
        watch = self.rig.containers.places.watch(container)
        os.kill(int(watch.conmon_pid_file.read_text()), signal.SIGKILL)
        await sleep(0.1)
        self.assertTrue(container.state.running)
        waiting = await self.rig.wait("cx")
        await self.rig.job("ContainerKill", "cx")
        self.assertIn((await waiting)["StatusCode"], (137, 255))

    async def test_another_default_leaves_containers_their_runtime(self) -> None:
        await self.rig.create("sleep", "100", name="cx")
        await self.rig.job("ContainerStart", "cx")
        used = self.rig.containers.runtime
        other = "runc" if used == "crun" else "crun"
        if shutil.which(other) is None:
            raise SkipTest(f"{other} is not installed")
        await self.rig.stop()
        self.rig.runtime = other
        await self.rig.start()
        identity = self.rig.containers.registry.get("cx").id
        for operation in ("ContainerPause", "ContainerUnpause", "ContainerKill", "ContainerStart"):
            await self.rig.job(operation, "cx")
        self.assertTrue((self.rig.layout.run / used / identity).exists())
        document = await self.rig.job("ContainerInspect", "cx")
        self.assertEqual(document["HostConfig"]["Runtime"], used)
        await self.rig.job("ContainerKill", "cx")

    async def test_a_runtime_of_ones_choice(self) -> None:
        for name, used in (("runc", "runc"), ("crun", "crun"), ("io.containerd.runc.v2", "runc")):
            if shutil.which(used, path=os.environ["PATH"] + ":/usr/sbin") is None:
                raise SkipTest(f"{used} is not installed")
            made = await self.rig.create("sleep", "100", name="cy", host={"Runtime": name})
            await self.rig.job("ContainerStart", "cy")
            self.assertTrue((self.rig.layout.run / used / made["Id"]).exists())
            await self.rig.job("ContainerDelete", "cy", query="force=1")
        text = await self.assertRaisesAsync(
            InvalidParameter, self.rig.create("true", host={"Runtime": "nosuch"})
        )
        self.assertEqual(text, "unknown or invalid runtime name: nosuch")

    async def test_a_runtime_where_docker_py_names_it(self) -> None:
        for beside, used in (("runc", "runc"), ("crun", "crun"), ("nosuch", None), (7, None)):
            made = await self.rig.create("true", Runtime=beside)
            shown = await self.rig.job("ContainerInspect", made["Id"])
            default = self.rig.containers.runtime
            self.assertEqual(shown["HostConfig"]["Runtime"], used or default, beside)
        made = await self.rig.create("true", Runtime="crun", host={"Runtime": "runc"})
        shown = await self.rig.job("ContainerInspect", made["Id"])
        self.assertEqual(shown["HostConfig"]["Runtime"], "runc")


class RuncTests(LifecycleTests):
    """The same with runc, which every host has."""

    runtime = "runc"


def sleep(seconds: float) -> Deferred[None]:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    return deferLater(reactor, seconds)
