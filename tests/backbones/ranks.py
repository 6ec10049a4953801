"""One rank of a few small trainings: `python -m tests.backbones.ranks RANK SIZE MEETING OUT`; what came out is JSON in OUT.

Size 1 trains alone, without a process group.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, distributed, nn

from fusion_automl.backbones.group import Alone, Group, Ranks
from fusion_automl.backbones.job import Arrays
from fusion_automl.backbones.nets.base import Net, isolated
from fusion_automl.backbones.progress import Progress
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.backbones.train import train
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FusionError
from fusion_automl.task import Task

RECIPE = Recipe(learning_rate=0.05, weight_decay=0.01, epochs=4, patience=4, batch_size=32)


class Layered(Net):
    """Layers in a list, the first of them frozen."""

    def __init__(self, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(3))
        self.layers[0].requires_grad_(False)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(8, 2))
        self.embedding_size = 8
        self.evaluation_rows = 16

    def embed(self, *inputs: Tensor) -> Tensor:
        (states,) = inputs
        for layer in self.layers:
            states = layer(states)
        return states


class CutOff(Exception):
    """Stands for the end of the process."""


@dataclass
class Kept:
    """Checkpoints in memory; training is cut off when it has offered `cut_at` epochs."""

    cut_at: int = 0
    progress: Progress | None = None

    def last(self) -> Progress | None:
        return self.progress

    def offer(self, progress: Callable[[], Progress]) -> None:
        self.progress = progress()
        if len(self.progress.epochs) == self.cut_at:
            raise CutOff


def run(
    group: Group, recipe: Recipe = RECIPE, *, dropout: float = 0.0, broken: bool = False, **others: Any
) -> dict[str, Any]:
    """Trains on 207 rows; with `broken`, the last of them is not finite."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(268, 8)).astype(np.float32))
    y = (x[:, 0] + x[:, 1] > 0).long()
    x[206] = torch.nan if broken else x[206]
    with isolated(0, 1):
        net = Layered(dropout=dropout)
    settings = {"seed": 0, "deadline": Deadline.never(), "threads": 1, "group": group} | others
    try:
        found = train(
            net, (x[:207],), y[:207], (x[207:],), y[207:], Task("binary", "y", ("a", "b")), recipe, **settings
        )
    except FusionError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "losses": [epoch.loss for epoch in found.epochs],
        "holdout": [epoch.holdout_loss for epoch in found.epochs],
        "weights": {name: values.tolist() for name, values in found.state.items()},
    }


def fed(epoch: int, limit: int) -> tuple[Arrays, npt.NDArray[Any]] | None:
    """A feed: in each epoch after the first, 199 other rows."""
    if not epoch:
        return None
    assert limit == 207
    x = np.random.default_rng(epoch).normal(size=(199, 8)).astype(np.float32)
    return (x,), (x[:, 0] + x[:, 1] > 0).astype(np.int64)


def main(rank: int, size: int, meeting: str, out: Path) -> None:
    parts: Group
    group: Group
    if size > 1:
        distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size)
        group, parts = Ranks(), Ranks(in_parts=True)
    else:
        group = parts = Alone()
    found = {
        "plain": run(group),
        "in pieces": run(group, replace(RECIPE, rows_at_once=5, recompute=True)),
        "parts": run(parts),
        "parts, in pieces": run(parts, replace(RECIPE, rows_at_once=5, recompute=True)),
        "fed": run(group, feed=fed),
        "fed, in parts": run(parts, feed=fed),
        "noisy": run(group, dropout=0.2),
        "cut off": cut_off(group),
        "fed, noisy": run(group, dropout=0.2, feed=fed),
        "fed, cut off": cut_off(group, feed=fed),
        "parts, noisy": run(parts, dropout=0.2),
        "parts, cut off": cut_off(parts),
        "late": run(group, deadline=Deadline.after(-1.0 if rank == 0 else 1e6)),
        "diverging": run(group, broken=True),
    }
    out.write_text(json.dumps(found))
    if size > 1:
        distributed.destroy_process_group()


def cut_off(group: Group, **others: Any) -> dict[str, Any]:
    """Training that begins anew after its second epoch, with what was kept on files."""
    kept = Kept(cut_at=2)
    with suppress(CutOff):
        run(group, dropout=0.2, checkpoints=kept, **others)
    assert kept.progress
    with TemporaryDirectory() as folder:
        kept.progress.save(Path(folder))
        return run(group, dropout=0.2, checkpoints=Kept(progress=Progress.load(Path(folder))), **others)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
