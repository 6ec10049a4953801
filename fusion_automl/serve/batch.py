"""Rows of concurrent requests joined into one call of the model."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]


class _Waiting(NamedTuple):
    frame: pd.DataFrame
    outputs: asyncio.Future[Floats]


class Batcher:
    """Runs `predict` in a thread, one call at a time, over the rows of all requests that came during the call before.

    A lone request starts at once, so nobody waits for a window to close, and calls grow with the load. Requests are
    never split: a call takes as many, in order, as stay within `max_rows`, and at least one.
    """

    def __init__(self, predict: Callable[[pd.DataFrame], Floats], *, max_rows: int) -> None:
        self._predict = predict
        self._max_rows = max_rows
        self._waiting: deque[_Waiting] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def submit(self, frame: pd.DataFrame) -> Floats:
        """`(rows, outputs)` for these rows. Raises what `predict` raises for them."""
        outputs: asyncio.Future[Floats] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(frame, outputs))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await outputs

    async def _work(self) -> None:
        while batch := self._next_batch():
            await self._answer(batch)
        self._worker = None

    def _next_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        num_rows = 0
        while self._waiting:
            if self._waiting[0].outputs.done():  # its client has gone
                self._waiting.popleft()
                continue
            num_rows += len(self._waiting[0].frame)
            if batch and num_rows > self._max_rows:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        frames = [waiting.frame for waiting in batch]
        try:
            outputs = await asyncio.to_thread(self._run, frames)
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0].outputs, error)
            else:  # one request's rows must not spoil the others' answers
                for waiting in batch:
                    await self._answer([waiting])
            return
        ends = np.cumsum([len(frame) for frame in frames])
        for waiting, part in zip(batch, np.split(outputs, ends[:-1]), strict=True):
            _settle(waiting.outputs, part)

    def _run(self, frames: list[pd.DataFrame]) -> Floats:
        return self._predict(frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True))


def _settle(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():  # cancelled while its rows were running
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
