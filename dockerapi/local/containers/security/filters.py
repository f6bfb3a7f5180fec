"""System call filters compiled ahead, for runtimes that take them as they are.

Source: seccomp(3) of libseccomp, crun(1)'s annotation ``run.oci.seccomp_bpf_data``. Rule: compiled
from the same profile that the runtime would compile, once for each set of capabilities; where
libseccomp is missing or too old, the runtime does it as ever.
"""

from __future__ import annotations

import base64
import ctypes
import errno
import os
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import msgspec

#: The annotation by which crun takes a filter.
ANNOTATION = "run.oci.seccomp_bpf_data"

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_UNKNOWN_CALL = -1
#: The attribute ``SCMP_FLTATR_CTL_OPTIMIZE``, and its value for a binary tree.
_OPTIMIZE = 8
_TREE = 2


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("value", ctypes.c_uint64),
        ("value_two", ctypes.c_uint64),
    )


def compiled(profile: Mapping[str, Any]) -> str | None:
    """Return the filter of an OCI ``linux.seccomp``, in base64; None where it cannot be made here.

    Takes about 20 ms the first time; blocks, and lets go of the interpreter's lock.
    """
    return _compiled(msgspec.json.encode(profile))


@lru_cache(maxsize=32)
def _compiled(profile: bytes) -> str | None:
    library = _library()
    if library is None:
        return None
    try:
        return base64.b64encode(_compile(library, msgspec.json.decode(profile))).decode()
    except (OSError, KeyError):
        return None


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    return library


def _compile(library: ctypes.CDLL, profile: Mapping[str, Any]) -> bytes:
    default = ctypes.c_uint32(_ERRNO | profile["defaultErrnoRet"])
    context = ctypes.c_void_p(library.seccomp_init(default))
    if not context:
        raise OSError(errno.ENOMEM, "seccomp_init")
    try:
        for name in profile.get("architectures", ()):
            token = library.seccomp_arch_resolve_name(
                name.removeprefix("SCMP_ARCH_").lower().encode()
            )
            _check(library.seccomp_arch_add(context, ctypes.c_uint32(token)), -errno.EEXIST)
        for rule in profile["syscalls"]:
            _add(library, context, rule)
        # The kernel tries a new filter on each call's number: a tree is installed in a third of the
        # time that a list takes. A libseccomp before 2.5 refuses, and makes a list.
        library.seccomp_attr_set(context, _OPTIMIZE, ctypes.c_uint32(_TREE))
        return _export(library, context)
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: ctypes.c_void_p, rule: Mapping[str, Any]) -> None:
    allow = rule["action"] == "SCMP_ACT_ALLOW"
    action = ctypes.c_uint32(_ALLOW if allow else _ERRNO | rule["errnoRet"])
    arguments = rule.get("args", ())
    comparisons = (_Comparison * len(arguments))(
        *(
            _Comparison(one["index"], _OPERATORS[one["op"]], one["value"], one["valueTwo"])
            for one in arguments
        )
    )
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        # One that this libseccomp does not know stays refused.
        if number != _UNKNOWN_CALL:
            _check(
                library.seccomp_rule_add_array(
                    context, action, number, ctypes.c_uint(len(arguments)), comparisons
                )
            )


def _export(library: ctypes.CDLL, context: ctypes.c_void_p) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        _check(library.seccomp_export_bpf(context, descriptor))
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)


def _check(result: int, *harmless: int) -> None:
    if result < 0 and result not in harmless:
        raise OSError(-result, os.strerror(-result))
