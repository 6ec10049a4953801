"""Rows of concurrent requests joined into one call of the model."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.conform import Columns, as_frame, num_rows
from fusion_automl.serve.limits import BUSY
from fusion_automl.serve.pace import Pace
from fusion_automl.serve.rows import Refused
from fusion_automl.serve.trace import Figures

Floats = npt.NDArray[np.float64]
MAX_WAITING_ROWS = 100_000


class _Waiting(NamedTuple):
    columns: Columns
    outputs: asyncio.Future[Floats]


class Batcher:
    """Runs `predict` in a thread, one call at a time, over the rows of all requests that came during the call before.

    A lone request starts at once, so nobody waits for a window to close, and calls grow with the load. Requests are
    never split: a call takes as many, in order, as `pace` allows for, and at least one. None is taken on while
    `max_waiting_rows` wait, so that a request of any size finds room where there is not much to do.
    """

    def __init__(
        self,
        predict: Callable[[pd.DataFrame], Floats],
        *,
        pace: Pace,
        figures: Figures,
        max_waiting_rows: int = MAX_WAITING_ROWS,
    ) -> None:
        self._predict = predict
        self._pace, self._max_waiting_rows = pace, max_waiting_rows
        self._figures = figures
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether requests wait for the call that is running."""
        return bool(self._waiting)

    async def submit(self, columns: Columns) -> Floats:
        """`(rows, outputs)` for these rows. Raises what `predict` raises for them, and Refused where too many wait."""
        if sum(num_rows(waiting.columns) for waiting in self._waiting) >= self._max_waiting_rows:
            raise Refused(503, BUSY)
        outputs: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(columns, outputs))
        self._figures.waiting.set(len(self._waiting))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await outputs

    async def _work(self) -> None:
        while batch := self._next_batch():
            await self._answer(batch)
        self._worker = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        total, max_rows = 0, self._pace.max_rows
        while self._waiting:
            if self._waiting[0].outputs.done():  # its client has gone
                self._waiting.popleft()
                continue
            total += num_rows(self._waiting[0].columns)
            if batch and total > max_rows:
                break
            batch.append(self._waiting.popleft())
        self._figures.waiting.set(len(self._waiting))
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        parts = [waiting.columns for waiting in batch]
        ends = np.cumsum([num_rows(part) for part in parts])
        self._figures.batch_rows.observe(ends[-1])
        try:
            outputs = await asyncio.to_thread(self._run, parts, int(ends[-1]))
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].outputs, error)
            else:  # one request's rows must not spoil the others' answers
                for waiting in batch:
                    await self._answer([waiting])
            return
        for waiting, part in zip(batch, np.split(outputs, ends[:-1]), strict=True):
            _settle(waiting.outputs, part)

    def _run(self, parts: list[Columns], rows: int) -> Floats:
        began = time.perf_counter()
        columns = parts[0]
        if len(parts) > 1:
            columns = {name: np.concatenate([part[name] for part in parts]) for name in columns}
        outputs = self._predict(as_frame(columns, rows))
        self._pace.add(rows, time.perf_counter() - began)
        return outputs


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # cancelled while its rows were running
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
