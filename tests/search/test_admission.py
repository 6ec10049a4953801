"""Memory that is promised to one trial is not there for another."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fusion_automl.deadline import Deadline
from fusion_automl.search.admission import Admission
from fusion_automl.search.memory import resident_bytes

GB = 1e9


@pytest.fixture
def admission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Admission:
    """On a machine with 10 GB free."""
    monkeypatch.setattr("fusion_automl.search.admission.available_bytes", lambda: 10 * GB)
    return Admission(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs a trial of this run, was promised 8 GB, and has taken none of them."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    time.sleep(0.5)  # until it has what an idle process has
    file = tmp_path / "admitted" / socket.gethostname() / str(process.pid)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{8 * GB:.0f} {resident_bytes(process.pid)}")
    yield process
    process.kill()
    process.wait()


def test_what_is_free_is_had_at_once_and_kept_as_long_as_the_trial_runs(admission: Admission, tmp_path: Path) -> None:
    file = tmp_path / "admitted" / socket.gethostname() / str(os.getpid())
    with admission.admitted(6 * GB, Deadline.after(60)) as free:
        assert free == 10 * GB
        assert float(file.read_text().split()[0]) == 6 * GB
    assert not file.exists()


def test_it_waits_for_a_trial_that_holds_what_it_needs(admission: Admission, other: subprocess.Popen[bytes]) -> None:
    with admission.admitted(1 * GB, Deadline.after(60)) as free:
        assert free == pytest.approx(2 * GB, rel=0.01)  # what the other was promised is as good as gone
    with admission.admitted(6 * GB, Deadline.after(1)) as free:
        assert free == pytest.approx(2 * GB, rel=0.01)  # in vain
    other.kill()
    other.wait()
    with admission.admitted(6 * GB, Deadline.after(60)) as free:
        assert free == 10 * GB


def test_nobody_is_waited_for_where_nobody_runs(admission: Admission) -> None:
    began = time.monotonic()
    with admission.admitted(11 * GB, Deadline.after(600)) as free:
        assert free == 10 * GB
    assert time.monotonic() - began < 60
