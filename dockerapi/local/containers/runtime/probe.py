"""Choosing the OCI runtime by trying which one works on this host.

Rule: a runtime counts as working when it has made a container up to its missing command: its
namespaces, mounts, cgroups and seccomp filter work then.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from dockerapi.engine.errors import EngineError
from dockerapi.local.containers.runtime.cgroups import cgroup_path
from dockerapi.local.containers.runtime.conmon import RuntimeFailed, Watch, launch
from dockerapi.local.containers.runtime.resources import cgroup_support
from dockerapi.local.containers.runtime.runtime import Runtime, plain
from dockerapi.local.containers.security.seccomp import default_profile
from dockerapi.local.host.spawn import MissingProgram, Spawner, find_program, run, spawn
from dockerapi.local.host.threads import in_thread
from dockerapi.local.layout import Layout

_log = Logger()


async def choose_runtime(
    layout: Layout, conmon: str, candidates: Mapping[str, str], spawner: Spawner = spawn
) -> Runtime:
    """Return the first of `candidates`, programs by name, that works.

    `spawner` starts those children that need the host's cgroups arranged for them. Raises
    `EngineError` that says what each one said, and what to install.
    """
    reasons = []
    for name, wanted in candidates.items():
        try:
            program = find_program(wanted)
        except MissingProgram as missing:
            reasons.append(missing.message)
            continue
        version = await _version(program)
        reason = "it was not tried"
        for start in (spawn,) if spawner is spawn else (spawn, spawner):
            runtime = Runtime(name, program, version, layout.run / name, start)
            reason = await try_runtime(runtime, layout, conmon)
            if not reason:
                return runtime
        _log.info("{name} does not work here: {reason}", name=name, reason=reason)
        reasons.append(f"{name} does not work here: {reason}")
    raise EngineError("no OCI runtime works (install runc or crun): " + "; ".join(reasons))


async def try_runtime(runtime: Runtime, layout: Layout, conmon: str) -> str:
    """Return why `runtime` does not work; empty where it does."""
    identity = secrets.token_hex(32)
    bundle = layout.container_run(identity)

    def write() -> None:
        (bundle / "rootfs").mkdir(parents=True)
        (bundle / "config.json").write_text(json.dumps(_configuration(identity)))

    await in_thread(write)
    watch = Watch(identity, "probe", bundle, bundle)
    try:
        await launch(watch, conmon, runtime)
    except RuntimeFailed as failed:
        words = plain(failed.message)
        missing = ("executable file not found", "no such file")
        return "" if any(text in words.lower() for text in missing) else words
    except OSError as error:
        return str(error)
    finally:
        await runtime.delete(identity, cgroup_path(identity), by_hand=False)
        await in_thread(shutil.rmtree, bundle, ignore_errors=True)
    return "it made a container without a command"


def _configuration(identity: str) -> dict[str, Any]:
    kinds = ["mount", "network", "uts", "pid", "ipc"]
    if cgroup_support().unified:
        # A mount of version 2 in the host's namespace would change its options for all.
        kinds.append("cgroup")
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": ["/dockerapi-probe"],
            "env": ["PATH=/"],
            "cwd": "/",
            "capabilities": {"bounding": ["CAP_CHOWN"]},
        },
        "root": {"path": "rootfs"},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            # runc opens /dev/null anew: where the bundle is, devices need not work (/run: nodev).
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]},
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": ["ro"],
            },
        ],
        "linux": {
            "namespaces": [{"type": kind} for kind in kinds],
            "cgroupsPath": f"/{cgroup_path(identity)}",
            "resources": {"devices": [{"allow": False, "access": "rwm"}]},
            "seccomp": default_profile(()),
        },
    }


async def _version(program: str) -> str:
    done = await run([program, "--version"], timeout=10)
    first = done.stdout.decode("utf-8", "replace").partition("\n")[0]
    return first.rpartition(" ")[2]


def find_init(wanted: str = "") -> str | None:
    """Return the init program for `Init`; a static one, since roots need not have libraries."""
    for name in (wanted,) if wanted else ("docker-init", "tini-static", "catatonit"):
        try:
            return str(Path(find_program(name)).resolve())
        except MissingProgram:
            continue
    return None
