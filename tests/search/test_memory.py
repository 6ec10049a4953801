"""What the machine has and what a process took, from the kernel's files."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

from fusion_automl.search import memory

GIB = 1024**3


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    return tmp_path / "proc", tmp_path / "cgroup"


def test_what_is_available_is_the_least_of_machine_and_limits(roots: tuple[Path, Path]) -> None:
    proc, cgroup = roots
    assert memory.available_bytes() == math.inf
    put(proc / "meminfo", f"MemTotal: {9 * 1024**2} kB\nMemAvailable: {8 * 1024**2} kB\n")
    assert memory.available_bytes() == 8 * GIB
    put(proc / "self/cgroup", "0::/pod/box\n")
    put(cgroup / "pod/box/memory.max", "max\n")
    assert memory.available_bytes() == 8 * GIB
    put(cgroup / "pod/box/memory.max", f"{4 * GIB}\n")
    put(cgroup / "pod/box/memory.current", f"{3 * GIB}\n")
    put(cgroup / "pod/box/memory.stat", f"anon 5\ninactive_file {GIB}\n")
    assert memory.available_bytes() == 2 * GIB


def test_the_first_version_of_control_groups_is_read_too(roots: tuple[Path, Path]) -> None:
    proc, cgroup = roots
    put(proc / "self/cgroup", "9:cpu:/\n4:memory:/docker/abc\n")
    put(cgroup / "memory/memory.limit_in_bytes", str(2 * GIB))  # a container sees its own group as the root
    put(cgroup / "memory/memory.usage_in_bytes", str(GIB))
    put(cgroup / "memory/memory.stat", "total_inactive_file 0\n")
    assert memory.available_bytes() == GIB


def test_the_peak_is_that_since_it_was_forgotten() -> None:
    script = """
from fusion_automl.search.memory import forget_peak, peak_bytes
held = bytearray(200 * 1024**2); del held
first = peak_bytes()
forget_peak()
print((first - peak_bytes()) // 1024**2)
"""
    printed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    assert 150 <= int(printed) <= 250
