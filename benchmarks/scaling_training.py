"""One net trained by one process and by two workers of a Ray cluster, a thread each."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusion_automl.backbones.job import Here, Job
from fusion_automl.backbones.nets.base import Net
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.deadline import Deadline
from fusion_automl.task import Task

NUM_COLUMNS = 128


class Wide(Net):
    """Two hidden layers of `width` units."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(NUM_COLUMNS, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.head = nn.Linear(width, 2)

    def embed(self, *inputs: Tensor) -> Tensor:
        return self.body(inputs[0])  # type: ignore[no-any-return]


@contextmanager
def opened(width: int) -> Iterator[Net]:
    yield Wide(width)


def make_job(width: int, batch_size: int, rows: int, epochs: int) -> Job:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows + 500, NUM_COLUMNS)).astype(np.float32)
    y = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    return Job(
        partial(opened, width),
        inputs=(x[:rows],),
        targets=y[:rows],
        holdout_inputs=(x[rows:],),
        holdout_targets=y[rows:],
        task=Task("binary", "y", ("a", "b")),
        recipe=Recipe(learning_rate=1e-3, weight_decay=0.0, epochs=epochs, patience=epochs, batch_size=batch_size),
        seed=0,
    )


def measure(width: int, batch_size: int, rows: int, epochs: int) -> dict[str, Any]:
    """Median seconds of an epoch after the first, by one process and by two workers."""
    import ray

    from fusion_automl.backbones.distributed import RayTrainer, Workers

    job = make_job(width, batch_size, rows, epochs)
    _, alone = Here().train(job, deadline=Deadline.after(600), threads=1)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)  # workers import the net from here
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    try:
        with tempfile.TemporaryDirectory() as folder:
            trainer = RayTrainer(Path(folder), Workers(2, fewest=2))
            _, together = trainer.train(job, deadline=Deadline.after(600), threads=1)
    finally:
        ray.shutdown()
    one, two = (statistics.median(epoch.seconds for epoch in found.epochs[1:]) for found in (alone, together))
    weights = sum(parameter.numel() for parameter in Wide(width).parameters())
    return {
        "width": width,
        "batch": batch_size,
        "megabytes": 4 * weights / 1e6,
        "one": one,
        "two": two,
        "speed_up": one / two,
        "loss_apart": abs(alone.epochs[-1].loss - together.epochs[-1].loss),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(measure(512, 512, 20_000, 4))
