"""A net to be trained, as a value that any process can take up, and who trains it: this process, unless somebody else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from fusion_automl.backbones.recipe import Recipe
from fusion_automl.deadline import Deadline
from fusion_automl.task import Task

if TYPE_CHECKING:
    from fusion_automl.backbones.group import Group
    from fusion_automl.backbones.nets.base import Net
    from fusion_automl.backbones.progress import Checkpoints
    from fusion_automl.backbones.train import Augment, Feed, Training

Arrays = tuple[npt.NDArray[Any], ...]


@dataclass(frozen=True, slots=True)
class Job:
    """`open` is given the arrays `beside`, and makes the net with random weights for as long as its context lasts. The other
    arrays have an entry a row. All but the arrays can be sent to another process: functions stand in modules, and what `feed`
    reads is seen by all."""

    open: Callable[..., AbstractContextManager[Net]]
    inputs: Arrays
    targets: npt.NDArray[Any]
    holdout_inputs: Arrays
    holdout_targets: npt.NDArray[Any]
    task: Task
    recipe: Recipe
    seed: int
    augment: Augment | None = None
    beside: Arrays = ()
    feed: Feed | None = None


class Trainer(Protocol):
    def train(self, job: Job, *, deadline: Deadline, threads: int) -> tuple[Net, Training]:
        """The net with the weights of its best epoch, in `eval` mode. Raises OutOfTime and FitError as `train` does."""


class Here:
    """Trains in this process, with the other processes of `group` if there are any."""

    def train(
        self,
        job: Job,
        *,
        deadline: Deadline,
        threads: int,
        group: Group | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> tuple[Net, Training]:
        import torch

        from fusion_automl.backbones.nets.base import isolated
        from fusion_automl.backbones.train import train

        with ExitStack() as stack:
            with isolated(job.seed, threads):
                net = stack.enter_context(job.open(*job.beside))
            training = train(
                net,
                [torch.from_numpy(values) for values in job.inputs],
                torch.from_numpy(job.targets),
                [torch.from_numpy(values) for values in job.holdout_inputs],
                torch.from_numpy(job.holdout_targets),
                job.task,
                job.recipe,
                seed=job.seed,
                deadline=deadline,
                threads=threads,
                augment=job.augment,
                group=group,
                checkpoints=checkpoints,
                feed=job.feed,
            )
        return net, training


_trainer: ContextVar[Trainer | None] = ContextVar("trainer", default=None)


@contextmanager
def trained_by(trainer: Trainer) -> Iterator[None]:
    """Inside, nets are trained by `trainer`. Where that happens is no matter of the candidate: its fit knows nothing of it,
    and what is found is the same up to rounding."""
    token = _trainer.set(trainer)
    try:
        yield
    finally:
        _trainer.reset(token)


def train_job(job: Job, *, deadline: Deadline, threads: int) -> tuple[Net, Training]:
    """Has the net trained by whoever trains nets in this process; see `Trainer`."""
    return (_trainer.get() or Here()).train(job, deadline=deadline, threads=threads)
