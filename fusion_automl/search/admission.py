"""Who may have this machine's memory: a trial says what it expects to need, and waits while others hold it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from fusion_automl.deadline import Deadline
from fusion_automl.search.memory import available_bytes, resident_bytes

WAITING_SHARE = 0.5
"""Of a trial's time; what is left must be enough to do something with the memory."""
LOOK_SECONDS = 0.5


class Admission:
    """The trials of a run on this machine: a file a process, which holds what it was promised and what it had before."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "admitted" / socket.gethostname()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._folder / ".lock")

    @contextmanager
    def admitted(self, needs: float, deadline: Deadline) -> Iterator[float]:
        """Waits for `needs` bytes, keeps them from other trials inside, and yields what is free. That is less than `needs`
        where no trial runs that could give back what is missing, or none does so in time; then nothing is kept."""
        patience = deadline.within(WAITING_SHARE * deadline.seconds_left())
        mine = self._folder / str(os.getpid())
        try:
            while True:
                with self._lock:
                    others = self._promised()
                    free = available_bytes() - sum(others)
                    if needs <= free:
                        mine.write_text(f"{needs:.0f} {resident_bytes(os.getpid())}")
                        break
                if not others or patience.passed():
                    break
                time.sleep(LOOK_SECONDS)
            yield free
        finally:
            mine.unlink(missing_ok=True)

    def _promised(self) -> list[float]:
        """For each trial that runs, what it was promised and has not taken yet."""
        found = []
        for path in self._folder.glob("[0-9]*"):
            now = resident_bytes(int(path.name))
            if now == 0:  # its process was killed
                path.unlink(missing_ok=True)
                continue
            with suppress(OSError, ValueError):  # it has just ended
                needs, before = map(float, path.read_text().split())
                found.append(max(0.0, needs - max(0.0, now - before)))
        return found
