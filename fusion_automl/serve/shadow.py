"""Copies of requests for a version that nobody is answered by: what it says is compared, counted and thrown away."""

from __future__ import annotations

import asyncio
import logging
import time

import numpy as np

from fusion_automl.serve.intake import Reader
from fusion_automl.serve.rows import Refused
from fusion_automl.serve.served import Predicted, Served
from fusion_automl.serve.trace import Metrics
from fusion_automl.task import Label

logger = logging.getLogger(__name__)
AT_ONCE = 4
"""Copies that a replica holds; more would take memory and cores from requests that somebody waits for."""
NEAR = 0.05
"""Values that differ by no more than this share of the larger one are the same for these figures."""


class Shadow:
    """Of one replica. Copies are dropped while requests wait, or `AT_ONCE` of them are being predicted."""

    def __init__(self, metrics: Metrics) -> None:
        self._rows = metrics.shadow_rows
        self._seconds = metrics.shadow_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, read: Reader, *, current: Served, answered: Predicted, tried: Served) -> None:
        """Returns at once."""
        if len(self._tasks) >= AT_ONCE or current.batcher.is_busy or tried.batcher.is_busy:
            self._count(tried, "dropped", len(answered.rows.kept))
            return
        task = asyncio.create_task(self._compare(read, current, answered, tried))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, read: Reader, current: Served, answered: Predicted, tried: Served) -> None:
        began = time.perf_counter()
        try:
            found = await tried.predict(read)
        except Exception as error:
            self._count(tried, "unanswered", len(answered.rows.kept))
            if not isinstance(error, Refused):
                tried.figures.trial_failures.inc()
                logger.warning("%s: the version on trial failed on a copy", tried.model.name, exc_info=error)
            return
        self._seconds.labels(*tried.figures.names).observe(time.perf_counter() - began)
        ours, theirs = await asyncio.to_thread(lambda: (_by_row(current, answered), _by_row(tried, found)))
        same = sum(row in theirs and _alike(label, theirs[row]) for row, label in ours.items())
        unanswered = len(ours.keys() - theirs.keys())
        self._count(tried, "same", same)
        self._count(tried, "unanswered", unanswered)
        self._count(tried, "different", len(ours) - same - unanswered)

    def _count(self, tried: Served, outcome: str, rows: int) -> None:
        self._rows.labels(*tried.figures.names, outcome).inc(rows)


def _by_row(served: Served, predicted: Predicted) -> dict[int, Label]:
    labels = served.model.artifact.labels(predicted.outputs)
    return dict(zip(predicted.rows.kept, labels, strict=True))


def _alike(one: Label, other: Label) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=NEAR, atol=0))
    return one == other
