"""Joining requests: who runs with whom, and that nobody gets another's answer."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from fusion_automl.data.conform import Columns
from fusion_automl.serve.batch import Batcher
from fusion_automl.serve.pace import Pace
from fusion_automl.serve.rows import Refused
from fusion_automl.serve.trace import Figures, Metrics

Floats = npt.NDArray[np.float64]


def frame(*values: float) -> Columns:
    return {"x": np.array(values, dtype=np.float64)}


class Bound(Pace):
    """Allows for the same number of rows whatever the time."""

    def __init__(self, max_rows: int) -> None:
        super().__init__()
        self.bound = max_rows

    @property
    def max_rows(self) -> int:
        return self.bound


class Doubling:
    """Doubles `x`; notes the rows of each call, fails on negative numbers, and holds its first call until `go`."""

    def __init__(self) -> None:
        self.calls: list[list[float]] = []
        self.go = threading.Event()

    def __call__(self, rows: pd.DataFrame) -> Floats:
        self.calls.append(rows["x"].tolist())
        assert self.go.wait(10)
        if (rows["x"] < 0).any():
            raise ValueError(f"negative among {rows['x'].tolist()}")
        return rows[["x"]].to_numpy() * 2


async def submit_all(predict: Doubling, requests: Iterable[Columns], *, max_rows: int = 100) -> list[object]:
    """Answers to these requests, or what they raised; all but the first come while the first is running."""
    batcher = Batcher(predict, pace=Bound(max_rows), figures=Figures(Metrics(), "m", "1"))
    tasks = [asyncio.create_task(batcher.submit(request)) for request in requests]
    await asyncio.sleep(0.05)
    predict.go.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    return [answer[:, 0].tolist() if isinstance(answer, np.ndarray) else answer for answer in answers]


def test_requests_that_come_together_run_together_and_each_gets_its_own_rows() -> None:
    predict = Doubling()
    answers = asyncio.run(submit_all(predict, [frame(1), frame(2, 3), frame(), frame(4)]))
    assert answers == [[2], [4, 6], [], [8]]
    assert predict.calls == [[1, 2, 3, 4]]


def test_what_comes_during_a_call_makes_up_the_next() -> None:
    async def run(predict: Doubling) -> list[float]:
        batcher = Batcher(predict, pace=Bound(100), figures=Figures(Metrics(), "m", "1"))
        first = asyncio.create_task(batcher.submit(frame(1)))
        await asyncio.sleep(0.05)
        rest = [asyncio.create_task(batcher.submit(frame(number))) for number in (2, 3)]
        await asyncio.sleep(0.05)
        predict.go.set()
        return [(await task)[0, 0] for task in (first, *rest)]

    predict = Doubling()
    assert asyncio.run(run(predict)) == [2, 4, 6]
    assert predict.calls == [[1], [2, 3]]


def test_a_call_is_bounded_and_a_big_request_runs_alone() -> None:
    predict = Doubling()
    requests = [frame(1, 2), frame(3), frame(4), frame(*range(10, 16)), frame(5)]
    answers = asyncio.run(submit_all(predict, requests, max_rows=4))
    assert predict.calls == [[1, 2, 3, 4], [10, 11, 12, 13, 14, 15], [5]]
    assert answers[3] == [20, 22, 24, 26, 28, 30]


def test_a_request_that_fails_does_not_spoil_its_neighbours() -> None:
    answers = asyncio.run(submit_all(Doubling(), [frame(1), frame(-1), frame(2)]))
    assert answers[0] == [2] and answers[2] == [4]
    assert isinstance(answers[1], ValueError) and str(answers[1]) == "negative among [-1.0]"


def test_a_client_that_left_is_passed_over_and_the_batcher_goes_on() -> None:
    async def run(predict: Doubling) -> float:
        batcher = Batcher(predict, pace=Bound(100), figures=Figures(Metrics(), "m", "1"))
        running = asyncio.create_task(batcher.submit(frame(1)))
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(batcher.submit(frame(2)))
        await asyncio.sleep(0.05)
        running.cancel()
        waiting.cancel()
        predict.go.set()
        return float((await batcher.submit(frame(3)))[0, 0])

    predict = Doubling()
    assert asyncio.run(run(predict)) == 6
    assert predict.calls == [[1], [3]]


def test_no_more_rows_wait_than_may_and_one_request_of_any_size_always_may() -> None:
    async def run(predict: Doubling) -> list[object]:
        batcher = Batcher(predict, pace=Bound(100), figures=Figures(Metrics(), "m", "1"), max_waiting_rows=3)
        running = asyncio.create_task(batcher.submit(frame(1)))
        await asyncio.sleep(0.05)
        tasks = [asyncio.create_task(batcher.submit(frame(*range(size)))) for size in (2, 9, 1, 0)]
        await asyncio.sleep(0.05)
        predict.go.set()
        return [await running, *(await asyncio.gather(*tasks, return_exceptions=True)), await batcher.submit(frame(1))]

    first, two, nine, *refused, after = asyncio.run(run(Doubling()))
    assert [len(answer) for answer in (first, two, nine, after)] == [1, 2, 9, 1]  # type: ignore[arg-type]
    assert all(isinstance(error, Refused) and error.status == 503 for error in refused) and len(refused) == 2


def test_the_event_loop_is_free_while_the_model_runs() -> None:
    async def run(predict: Doubling) -> int:
        answer = asyncio.create_task(
            Batcher(predict, pace=Bound(100), figures=Figures(Metrics(), "m", "1")).submit(frame(1))
        )
        ticks = 0
        while not predict.calls or ticks < 3:
            await asyncio.sleep(0.001)
            ticks += 1
        assert not answer.done()
        predict.go.set()
        await answer
        return ticks

    assert asyncio.run(run(Doubling())) >= 3


@pytest.mark.parametrize("waves", [3])
def test_an_idle_batcher_starts_again(waves: int) -> None:
    async def run(predict: Doubling) -> list[float]:
        batcher = Batcher(predict, pace=Bound(100), figures=Figures(Metrics(), "m", "1"))
        return [float((await batcher.submit(frame(number)))[0, 0]) for number in range(waves)]

    predict = Doubling()
    predict.go.set()
    assert asyncio.run(run(predict)) == [0, 2, 4]
