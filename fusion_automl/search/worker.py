"""A process that runs trials: `python -m fusion_automl.search.worker RUN THREADS [URI PATIENCE]`.

It speaks JSON lines: a candidate and its seconds come in, folds and the report go out. It is a process of its own because
a fit in a C library can neither be interrupted nor trusted not to run out of memory; it can be ended. It ends by itself
when the other side closes the pipe, however that side died.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from fusion_automl.deadline import Deadline
from fusion_automl.errors import DiskFullError, FusionError
from fusion_automl.search.order import Order
from fusion_automl.store.mirror import Mirror

KILL_AFTER_SECONDS = 3.0
"""After a trial's deadline: one second more than the worker's own timer."""
START_SECONDS = 300.0
"""Loading libraries takes seconds; loading a large table from a slow disk takes longer."""


def serve(run: Path, threads: int, mirror: Mirror | None, requests: IO[str], answers: IO[str]) -> None:
    """Answers requests until there are no more."""
    import skops.io  # noqa: F401  # brings scikit-learn and torch; seconds that the first trial should not pay

    from fusion_automl.data.images import remember_images
    from fusion_automl.encoders.ngrams import remember_texts
    from fusion_automl.search.trial import TrialRunner

    def say(**values: Any) -> None:
        answers.write(json.dumps(values) + "\n")
        answers.flush()

    runner = TrialRunner(run, threads=threads, mirror=mirror)
    say(event="ready")
    inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def listen() -> None:
        for line in requests:
            inbox.put(line)
        os._exit(0)  # nobody waits for the answer any more; a trial in flight has recorded nothing

    threading.Thread(target=listen, daemon=True).start()
    with remember_images(), remember_texts():
        while (line := inbox.get()) is not None:
            request = json.loads(line)
            try:
                report = runner.run(
                    Order.from_json(request["order"]),
                    deadline=Deadline.after(request["seconds"]),
                    on_fold=lambda fold, score: say(event="fold", fold=fold, score=score),
                    may_end_process=True,
                )
            except DiskFullError as error:
                say(event="full", reason=str(error))
            else:
                say(event="report", key=report.key)


class WorkerDied(Exception):
    """The worker process ended, or was ended, before it answered."""


class Worker:
    """The near end of a worker process."""

    def __init__(self, run: Path, threads: int, mirror: Mirror | None = None) -> None:
        place = [] if mirror is None else [mirror.uri, str(mirror.bucket.patience)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
        with (run / "worker.log").open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "fusion_automl.search.worker", str(run), str(threads), *place],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the command; it decides what becomes of its worker
            )
        self._born = time.monotonic()
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _next(self, deadline: Deadline) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=max(0.01, min(deadline.seconds_left(), 1e6)))
        except queue.Empty:
            self.end()
            raise WorkerDied("ended from outside: it overran its deadline") from None
        if line is None:
            raise WorkerDied(f"the worker process died with exit code {self._process.wait()}; see worker.log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self) -> float:
        """Waits for the worker to have loaded libraries and data; the seconds since it was made.

        Raises FusionError where it cannot start.
        """
        try:
            self._next(Deadline.after(START_SECONDS))
        except WorkerDied as error:
            raise FusionError(f"the worker process did not start: {error}") from None
        return time.monotonic() - self._born

    def run(self, order: Order, deadline: Deadline, on_fold: Callable[[int, float], None]) -> None:
        """Has a candidate evaluated and recorded. Raises WorkerDied and DiskFullError."""
        assert self._process.stdin is not None
        request = {"order": order.to_json(), "seconds": min(deadline.seconds_left(), 1e9)}
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerDied("the worker process died between trials; see worker.log") from None
        patience = Deadline(deadline.at + KILL_AFTER_SECONDS)
        while (answer := self._next(patience))["event"] == "fold":
            on_fold(answer["fold"], answer["score"])
        if answer["event"] == "full":
            raise DiskFullError(answer["reason"])

    def end(self) -> None:
        """Ends the process, whatever it is doing."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._ear.join()
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # a request may still lie in the buffer
            self._process.stdin.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # What libraries print goes to the log; the pipe is for answers alone.
    pipe = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder, cores, *place = sys.argv[1:]
    mirror = Mirror(place[0], patience=float(place[1])) if place else None
    serve(Path(folder), int(cores), mirror, sys.stdin, pipe)
