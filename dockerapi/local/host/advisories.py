"""Security advisories on container runtimes, and whether a version has them mended.

Source: the advisories named by their CVE numbers. Distributions mend old versions: their package's
revision decides, where it is known. Rule: pure; a version that cannot be read has them all.
"""

from __future__ import annotations

import re

import msgspec


class Advisory(msgspec.Struct, frozen=True):
    """A published hole of `program`, and `what` it lets whom do.

    :ivar mended: the first version without it, of upstream's branches; newest branch first.
    :ivar packages: what the names of distribution packages that have it mended begin with, and
        the first such revision, which follows.
    """

    cve: str
    what: str
    program: str
    mended: tuple[tuple[int, ...], ...]
    packages: tuple[tuple[str, int], ...] = ()


_CANDIDATE = re.compile(r"[-~](?:rc|alpha|beta)")

ADVISORIES = (
    Advisory(
        "CVE-2024-21626",
        "a container can reach the host's files through a leaked descriptor",
        "runc",
        ((1, 1, 12),),
        (("1.1.5+ds1-1+deb12u", 1),),
    ),
    Advisory(
        "CVE-2024-45310",
        "a container can make empty files and directories on the host",
        "runc",
        ((1, 2, 0), (1, 1, 14)),
    ),
    Advisory(
        "CVE-2025-31133",
        "a container can write to masked files of the host",
        "runc",
        ((1, 4, 0), (1, 3, 3), (1, 2, 8)),
    ),
    Advisory(
        "CVE-2025-52565",
        "a container can write to files of the host through /dev/console",
        "runc",
        ((1, 4, 0), (1, 3, 3), (1, 2, 8)),
    ),
    Advisory(
        "CVE-2025-52881",
        "a container can redirect the runtime's writes to /proc",
        "runc",
        ((1, 4, 0), (1, 3, 3), (1, 2, 8)),
    ),
    Advisory(
        "CVE-2022-27650",
        "containers run with inheritable capabilities",
        "crun",
        ((1, 4, 4),),
    ),
    Advisory(
        "CVE-2025-24965",
        "an image with the krun handler can write to the host",
        "crun",
        ((1, 20),),
    ),
)


def known_advisories(program: str, version: str, commit: str = "") -> list[Advisory]:
    """Return the advisories on `program` in `version`; `commit` may name its package.

    A version that cannot be read has them all.
    """
    numbers: tuple[float, ...] = tuple(
        int(part) for part in re.findall(r"\d+", re.split(r"[-+~]", version)[0])
    )
    if _CANDIDATE.search(version):
        # Before the release of that number; which of the candidates has what is not told.
        numbers = (*numbers[:-1], numbers[-1] - 0.5) if numbers else numbers
    return [
        advisory
        for advisory in ADVISORIES
        if advisory.program == program
        and not _is_mended(numbers, advisory)
        and not any(_is_package(commit, *package) for package in advisory.packages)
    ]


def _is_package(commit: str, begin: str, first: int) -> bool:
    revision = re.match(r"\d+", commit.removeprefix(begin)) if commit.startswith(begin) else None
    return revision is not None and int(revision[0]) >= first


def _is_mended(numbers: tuple[float, ...], advisory: Advisory) -> bool:
    newest, *branches = advisory.mended
    if numbers >= newest:
        return True
    return any(numbers[:2] == branch[:2] and numbers >= branch for branch in branches)
