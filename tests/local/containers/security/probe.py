"""What a process in a container tries against its host; runs inside, prints what succeeded.

Rule: each attempt is harmless where it succeeds: nothing is written, no argument can take effect.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import sys
from collections.abc import Callable

#: Calls of x86-64 that a default container is refused: number and arguments.
REFUSED = {
    "unshare user": (272, 0x10000000),
    "unshare mount": (272, 0x20000),
    "clone user": (56, 0x10000011),
    "setns": (308, -1, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "umount2": (166, 0, 0),
    "pivot_root": (155, 0, 0),
    "fsopen": (430, 0, 0),
    "open_tree": (428, -1, 0, 0),
    "move_mount": (429, -1, 0, -1, 0, 0),
    "mount_setattr": (442, -1, 0, 0, 0, 0),
    "keyctl": (250, 0, -3, 0),
    "add_key": (248, 0, 0, 0, 0, 0),
    "request_key": (249, 0, 0, 0, 0),
    "bpf": (321, -1, 0, 0),
    "perf_event_open": (298, 0, 0, -1, -1, 0),
    "userfaultfd": (323, -1),
    "io_uring_setup": (425, 0, 0),
    "open_by_handle_at": (304, -1, 0, 0),
    "init_module": (175, 0, 0, 0),
    "finit_module": (313, -1, 0, 0),
    "kexec_load": (246, 0, -1, 0, 0),
    "reboot": (169, 0, 0, 0, 0),
    "swapon": (167, 0, 0),
    "acct": (163, 1),
    "iopl": (172, 3),
    "ioperm": (173, 0, 1, 1),
    "quotactl": (179, -1, 0, 0, 0),
    "syslog": (103, -1, 0, 0),
    "sethostname": (170, 0, -1),
    "settimeofday": (164, 1, 1),
    "kcmp": (312, 1, 1, -1, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "process_madvise": (440, -1, 0, 0, 0, 0),
    "personality": (135, 0x0400000),
    "socket AF_ALG": (41, 38, 5, 0),
    "socket AF_VSOCK": (41, 40, 1, 0),
    # The kernel looks at the lower half of this argument alone.
    "socket with an upper half": (41, 2**32 + 40, 1, 0),
    "mbind": (237, 0, 0, 0, 0, 0, 0),
}
#: The same of i386, called by int 0x80.
REFUSED_32 = {"unshare": (310, 0x10000000), "keyctl": (288, 0), "mount": (21, 0), "bpf": (357, 99)}
#: pushes rbx; eax, ebx = edi, esi; clears ecx, edx; int 0x80; pops rbx; returns.
_CODE = bytes.fromhex("53 89f8 89f3 31c9 31d2 cd80 5b 4898 c3")


def call(*arguments: int) -> int:
    """Make a system call and return its error; 0 where it succeeded."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(*(ctypes.c_long(argument) for argument in arguments))
    if arguments[0] == 56 and result == 0:
        os._exit(0)  # A child that should not be.
    return ctypes.get_errno() if result == -1 else 0


def calls() -> list[str]:
    """Return the calls that were not refused as they should be."""
    found = [name for name, what in REFUSED.items() if call(*what) != errno.EPERM]
    if call(435, 0, 0) != errno.ENOSYS:
        found.append("clone3")
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(_CODE)
    kind = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_uint, ctypes.c_uint)
    by_interrupt = kind(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    for name, (number, argument) in REFUSED_32.items():
        if by_interrupt(number, argument) not in (-errno.EPERM, -errno.ENOSYS):
            found.append(f"{name} of i386")
    return found


def masked(paths: list[str]) -> list[str]:
    """Return those of `paths` that show something."""
    found = []
    for path in paths:
        try:
            if os.path.isdir(path):
                shown: object = os.listdir(path)
            else:
                with open(path, "rb") as file:
                    shown = file.read(16)
        except OSError:  # It is not there, or AppArmor refuses it.
            continue
        if shown:
            found.append(path)
    return found


def writable(paths: list[str]) -> list[str]:
    """Return those of `paths` that can be opened for writing, or made in; nothing is written."""
    found = []
    for path in paths:
        try:
            if os.path.isdir(path):
                os.mkdir(f"{path}/attack")
                os.rmdir(f"{path}/attack")
            else:
                os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            continue
        found.append(path)
    return found


def cgroup_files() -> list[str]:
    """Return the files and directories of cgroups that would give power over the host."""
    names = ("cgroup.procs", "release_agent", "notify_on_release", "devices.allow", "memory.max")
    found = []
    for folder, _, files in os.walk("/sys/fs/cgroup"):
        # Above the hierarchies of version 1 lies a directory of the container's own.
        if "cgroup.procs" in files:
            found.append(folder)
        found += [f"{folder}/{name}" for name in names if name in files]
    return found


def devices(numbers: list[tuple[str, int, int]]) -> list[str]:
    """Return those devices that can be made and opened; nothing is read."""
    found = []
    for number, (kind, major, minor) in enumerate(numbers):
        path = f"/tmp/device{number}"
        try:
            os.mknod(path, (0o060600 if kind == "b" else 0o020600), os.makedev(major, minor))
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError as error:
            # Of what is not there the device cgroup has nothing to say.
            if error.errno in (errno.EPERM, errno.EACCES):
                continue
            if error.errno not in (errno.ENXIO, errno.ENODEV):
                raise
            continue
        found.append(f"{kind} {major}:{minor}")
    return found


def broken_out() -> list[str]:
    """Return what is seen at the root after the classical way out of a chroot."""
    os.makedirs("/tmp/jail", exist_ok=True)
    handle = os.open("/", os.O_RDONLY)
    os.chroot("/tmp/jail")
    os.fchdir(handle)
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    return sorted(os.listdir("/"))


def namespaces() -> dict[str, str]:
    """Return the names of this process's namespaces."""
    kinds = ("ipc", "uts", "pid", "mnt", "net", "cgroup", "user")
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in kinds}


def main() -> None:
    """Print the answers to the questions that standard arguments ask, as JSON."""
    questions = json.loads(sys.argv[1])
    known: dict[str, Callable[..., object]] = {
        "calls": calls,
        "masked": masked,
        "writable": writable,
        "cgroups": lambda: writable(cgroup_files()),
        "devices": devices,
        "namespaces": namespaces,
        "processes": lambda: [name for name in os.listdir("/proc") if name.isdigit()],
        "root": broken_out,
    }
    print(json.dumps({name: known[name](*given) for name, given in questions.items()}))


if __name__ == "__main__":
    main()
