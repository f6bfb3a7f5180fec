"""A network of its own for a server that is tested or measured.

Rule: the server's bridge, rules, links and mounts are in namespaces that end with it and its
containers; it finds cgroups, files and sockets where they always are.
"""

from __future__ import annotations

# sysfs shows the links of the namespace in which it is mounted, so it is mounted anew; the cgroups
# below it are carried over.
_SCRIPT = """
set -e
ip link set lo up
kept=$(mktemp -d)
mount --rbind /sys/fs/cgroup "$kept"
mount -t sysfs sysfs /sys
mount --move "$kept" /sys/fs/cgroup
rmdir "$kept"
exec "$@"
"""

#: Stands before a command that is to have a network of its own; the command keeps the process.
OWN_NETWORK = ("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "sh")
