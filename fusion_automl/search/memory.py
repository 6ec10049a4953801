"""Memory of this process and of the machine, as Linux tells it."""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


def forget_peak() -> None:
    """Lets `peak_bytes` count from now on, where the kernel allows it."""
    with suppress(OSError):
        (PROC / "self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory that this process had in use since `forget_peak`, or ever where that is not known."""
    with suppress(OSError, KeyError):
        return _table(PROC / "self/status")["VmHWM"] * 1024
    ever = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return ever if sys.platform == "darwin" else ever * 1024


def resident_bytes(pid: int) -> int:
    """What a process has in use now; 0 where there is no such process, or nobody says."""
    with suppress(OSError, KeyError):
        return _table(PROC / str(pid) / "status")["VmRSS"] * 1024
    return 0


def available_bytes() -> float:
    """What can be had without swapping, on this machine and within this process's limits; inf where nobody says."""
    return min([math.inf, *_machine(), *_group()])


def _machine() -> Iterator[int]:
    with suppress(OSError, KeyError):
        yield _table(PROC / "meminfo")["MemAvailable"] * 1024


def _group() -> Iterator[int]:
    """What control groups (containers, Slurm) leave: versions 2 and 1 keep it in files of other names."""
    with suppress(OSError):
        for line in (PROC / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            for folder in (CGROUPS / controllers / path.lstrip("/"), CGROUPS / controllers):
                yield from _left(folder / "memory.max", folder / "memory.current", folder, "inactive_file")
                yield from _left(
                    folder / "memory.limit_in_bytes", folder / "memory.usage_in_bytes", folder, "total_inactive_file"
                )


def _left(limit: Path, usage: Path, folder: Path, reclaimable: str) -> Iterator[int]:
    """Nothing where there is no such group or no limit: version 2 then says "max"."""
    with suppress(OSError, ValueError):
        # Pages of files that nobody reads count as used and are given up on demand.
        yield int(limit.read_text()) - int(usage.read_text()) + _table(folder / "memory.stat").get(reclaimable, 0)


def _table(path: Path) -> dict[str, int]:
    """Lines such as `VmHWM: 1024 kB` or `inactive_file 4096`; those without a number are left out."""
    found: dict[str, int] = {}
    for line in path.read_text().splitlines():
        name, *values = line.replace(":", " ").split()
        if values and values[0].isdigit():
            found[name] = int(values[0])
    return found
