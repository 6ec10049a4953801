"""Who trains a net together: this process alone, or the ranks of a torch process group.

It imports torch at the top, so import it inside the function that needs it.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from fusion_automl.backbones.nets.base import Net
from fusion_automl.backbones.nets.big import exceeds_one_gpu, shard


class Learner(nn.Module):
    """A net that is called to learn as well as to predict: what averages gradients or puts weights together watches calls."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor | float]:
        return self.net.learn(*inputs) if self.training else (self.net(*inputs), 0.0)


class Group(Protocol):
    """Processes that train one net, each on its rows of every batch: row `rank`, and then every `size`th."""

    rank: int
    size: int

    def prepare(self, learner: Learner) -> nn.Module:
        """The learner with its gradients averaged over all ranks in each backward pass."""

    def first(self, values: Tensor) -> Tensor:
        """What rank 0 has. Clock and random numbers are its alone: ranks that decided differently would wait for each other
        for ever."""

    def mean(self, value: float) -> float:
        """Over all ranks, and the same to the last digit on each."""


class Alone:
    """One process, which has all rows."""

    rank, size = 0, 1

    def prepare(self, learner: Learner) -> nn.Module:
        return learner

    def first(self, values: Tensor) -> Tensor:
        return values

    def mean(self, value: float) -> float:
        return value


class Ranks:
    """The ranks of torch's default process group. A net too big for one GPU lies in parts on all; with `in_parts` any does."""

    def __init__(self, *, in_parts: bool = False) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self._in_parts = in_parts
        # Over NCCL, each number that is passed round would wait for the GPU.
        self._talk = None if distributed.get_backend() == "gloo" else distributed.new_group(backend="gloo")

    def prepare(self, learner: Learner) -> nn.Module:
        on_gpu = next(learner.parameters()).is_cuda
        if on_gpu:  # On processors, which it does not support, each rank has the batch statistics of its own rows.
            learner = nn.SyncBatchNorm.convert_sync_batchnorm(learner)  # type: ignore[no-untyped-call]  # of torch
        if self._in_parts or (on_gpu and exceeds_one_gpu(learner)):
            shard(learner)
            return learner
        return DistributedDataParallel(learner)

    def first(self, values: Tensor) -> Tensor:
        values = values.clone()
        distributed.broadcast(values, src=0, group=self._talk)
        return values

    def mean(self, value: float) -> float:
        values = [torch.zeros((), dtype=torch.float64) for _ in range(self.size)]
        distributed.all_gather(values, torch.tensor(value, dtype=torch.float64), group=self._talk)
        return float(torch.stack(values).mean())


def average_now(learner: Any, now: bool) -> None:
    """Whether the next backward pass averages gradients, or only adds them up on each rank."""
    if isinstance(learner, DistributedDataParallel):
        learner.require_backward_grad_sync = now
    elif hasattr(learner, "set_requires_gradient_sync"):  # in parts
        learner.set_requires_gradient_sync(now)
