"""A small net as a job that any process can take up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fusion_automl.backbones.job import Arrays, Job
from fusion_automl.backbones.nets.base import Net
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.task import Task
from tests.backbones.ranks import Layered

RECIPE = Recipe(learning_rate=0.05, weight_decay=0.01, epochs=4, patience=4, batch_size=32)


class Slow(Layered):
    """Each call takes `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def embed(self, *inputs: Tensor) -> Tensor:
        time.sleep(self.seconds)
        return super().embed(*inputs)


@contextmanager
def opened(seconds: float) -> Iterator[Net]:
    yield Slow(seconds)


def fresh(epoch: int, limit: int) -> tuple[Arrays, npt.NDArray[Any]] | None:
    """A feed: as many other points in each epoch after the first."""
    x = np.random.default_rng([epoch, 7]).normal(size=(limit, 8)).astype(np.float32)
    return ((x,), (x[:, 0] + x[:, 1] > 0).astype(np.int64)) if epoch else None


def job(*, seed: int = 0, seconds: float = 0.0, recipe: Recipe = RECIPE, **others: Any) -> Job:
    """400 points of two classes."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 8)).astype(np.float32)
    y = (x[:, 0] + x[:, 1] > 0).astype(np.int64)
    settings: dict[str, Any] = {
        "inputs": (x[:340],),
        "targets": y[:340],
        "holdout_inputs": (x[340:],),
        "holdout_targets": y[340:],
    }
    return Job(
        partial(opened, seconds), task=Task("binary", "y", ("a", "b")), recipe=recipe, seed=seed, **settings | others
    )
