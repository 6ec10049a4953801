"""Runs a command as a child and measures what a user would see: wall seconds, and the peak memory of all its processes.

Reads /proc, so Linux only.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SAMPLE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Run:
    """How a command ended: its exit code (negative: the signal that ended it), and what it cost."""

    code: int
    seconds: float
    peak_bytes: int
    timed_out: bool


def measure(command: list[str], *, log: Path, limit_seconds: float, **options: Any) -> Run:
    """Runs `command` to its end with its output in `log`, or ends all its processes after `limit_seconds`."""
    began = time.monotonic()
    peak, timed_out = 0, False
    seen: set[int] = set()
    with log.open("wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True, **options)
        try:
            while child.poll() is None and not timed_out:
                family = tree(child.pid)
                seen |= family
                peak = max(peak, sum(map(own_bytes, family)))
                timed_out = time.monotonic() - began > limit_seconds
                try:
                    child.wait(SAMPLE_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            seconds = time.monotonic() - began
            _end(child, seen | tree(child.pid))
    return Run(child.wait(), seconds, peak, timed_out)


def tree(root: int) -> set[int]:
    """The process and all its descendants that are alive."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(entry)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = {root}, [root]
    while waiting:
        born = children.get(waiting.pop(), [])
        found.update(born)
        waiting.extend(born)
    return found


def own_bytes(pid: int) -> int:
    """Memory of one process, pages shared by several divided among them (PSS): forks would else be counted twice."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return 1024 * int(line.split()[1])
    except OSError:  # it has ended
        pass
    return 0


def _parent(entry: Path) -> int | None:
    try:
        # The name stands in brackets and may hold anything; the parent is the second field behind it.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _end(child: subprocess.Popen[bytes], seen: set[int]) -> None:
    """Ends what a command left running, so that the next one has the machine to itself."""
    if child.poll() is None:
        child.kill()
    for pid in seen - {child.pid}:
        try:
            if os.getsid(pid) == child.pid:  # the number may belong to another by now
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
