"""Which paths of /proc and /sys a container does not see, or cannot write.

Source: dockerd's defaults. Rule: paths that the host lacks do no harm.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_MASKED = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@cache
def masked() -> tuple[str, ...]:
    """Return the paths that are covered by something empty.

    With them each processor's count of overheating, which tells what others compute.
    """
    throttling = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle")
    return (*_MASKED, *sorted(map(str, throttling)))


def readonly() -> tuple[str, ...]:
    """Return the paths that are mounted read-only over themselves."""
    return _READONLY
