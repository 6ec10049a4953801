"""One driver at a time for a run in a bucket, and its progress there while it works.

S3 has no lock that all its kinds know. Who drives a run writes `driver.json` every few seconds, and who finds one by somebody
else waits whether it changes: no clocks are compared.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from fusion_automl.candidate import Candidate
from fusion_automl.errors import BucketError, RunError
from fusion_automl.search.ledger import EVENTS, Report
from fusion_automl.search.plan import Listener
from fusion_automl.search.problem import pull_settings
from fusion_automl.store.mirror import Mirror

DRIVER = "driver.json"
BEAT_SECONDS = 3.0
GONE_AFTER_SECONDS = 12.0
"""A driver that was not heard of for four beats is gone."""


class Lease:
    """Holds a run in a bucket for this process, as a context manager, and pushes its events as they come.

    On entry the working copy has the run.json and the events of the bucket, or is empty. Raises RunError where another machine
    is at work, BucketError where the bucket cannot be read and written.
    """

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._me = {"host": socket.gethostname(), "copy": str(mirror.folder), "id": secrets.token_hex(4)}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beats, daemon=True)
        self._events_size = -1

    def __enter__(self) -> Self:
        self._wait_for_other()
        self._beat(0)
        if pull_settings(self._mirror, alone=True):
            self._mirror.pull_file(EVENTS)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(BEAT_SECONDS)  # it may be waiting for a bucket that does not answer
        self._mirror.close()
        if self._mirror.bucket.lost is None:
            with suppress(BucketError):  # the work is done, and a driver that is gone is noticed
                self._push_events()
                self._mirror.bucket.remove([DRIVER])

    def _wait_for_other(self) -> None:
        seen = self._mirror.bucket.read(DRIVER)
        if seen is None:
            return
        other = json.loads(seen)
        if (other["host"], other["copy"]) == (self._me["host"], self._me["copy"]):
            return  # its lock on the working copy, which is ours now, would still be held
        until = time.monotonic() + GONE_AFTER_SECONDS
        while time.monotonic() < until:
            time.sleep(1.0)
            now = self._mirror.bucket.read(DRIVER)
            if now is None:
                return
            if now != seen:
                raise RunError(
                    f"{self._mirror.uri}: another fit is at work there, on {other['host']}. "
                    "Wait for it, or name another place with --out."
                )

    def _beats(self) -> None:
        beat = 0
        while not self._over.wait(BEAT_SECONDS):
            beat += 1
            with suppress(BucketError):  # the bucket knows that it is lost, and `watch` ends the search for it
                self._push_events()
                self._beat(beat)

    def _beat(self, number: int) -> None:
        self._mirror.bucket.write(DRIVER, json.dumps({**self._me, "beat": number}).encode())

    def _push_events(self) -> None:
        path = self._mirror.folder / EVENTS
        size = path.stat().st_size if path.exists() else 0
        if size != self._events_size and size:
            self._mirror.push_files(EVENTS)
            self._events_size = size

    def watch(self, listener: Listener) -> Listener:
        """A listener that passes on what it hears, and ends the search when the bucket is lost."""
        return _Watch(self._mirror, listener)


class _Watch:
    def __init__(self, mirror: Mirror, listener: Listener) -> None:
        self._mirror = mirror
        self._listener = listener
        self.started = listener.started
        self.fold_done = listener.fold_done

    def finished(self, candidate: Candidate, report: Report) -> None:
        self._listener.finished(candidate, report)
        if self._mirror.bucket.lost is not None:
            raise self._mirror.bucket.lost
