"""The loop that trains every backbone: AdamW, warm-up and cosine, early stopping on holdout rows, and the deadline.

It imports torch at the top, so import it inside the function that needs it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion_automl.backbones.batches import SMALLEST_SHARE, batch_size, make_batches
from fusion_automl.backbones.group import Alone, Group, Learner, average_now
from fusion_automl.backbones.job import Arrays
from fusion_automl.backbones.nets.base import (
    Inputs,
    Net,
    batch_loss,
    best_device,
    holdout_loss,
    in_batches,
    isolated,
    multiplies_bf16,
    predict,
    rows_of,
)
from fusion_automl.backbones.nets.big import recomputing
from fusion_automl.backbones.optimizer import make_optimizer, moments, set_moments
from fusion_automl.backbones.progress import (
    Checkpoints,
    Epoch,
    Progress,
    State,
    learned,
    parts,
    random_state,
    set_random_state,
    wholes,
)
from fusion_automl.backbones.recipe import (
    SMALLEST_PART,
    Recipe,
    learning_rate_factor,
    plan_epochs,
    plan_first_epochs,
)
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.task import Task

Augment = Callable[[Inputs], Inputs]
Feed = Callable[[int, int], tuple[Arrays, npt.NDArray[Any]] | None]
"""Other rows for the epoch of that number, so many at the most, and their targets; None for those at hand."""
Report = Callable[[int, float, float], None]

PROBE_STEPS = 10
"""Steps of the first epoch after which its length is foretold, and again after as many more."""
ROOM_ON_GPU = 0.25
"""Share of a GPU's memory that the rows may take; of more rows, each batch is sent by itself."""


@dataclass(frozen=True, slots=True)
class Training:
    """What the net had learned in the epoch with the lowest holdout loss, and what happened in each epoch."""

    state: State
    best_epoch: int
    epochs: tuple[Epoch, ...]


def train(
    net: Net,
    inputs: Sequence[Tensor],
    targets: Tensor,
    holdout_inputs: Sequence[Tensor],
    holdout_targets: Tensor,
    task: Task,
    recipe: Recipe,
    *,
    seed: int,
    deadline: Deadline,
    threads: int,
    augment: Augment | None = None,
    report: Report | None = None,
    group: Group | None = None,
    checkpoints: Checkpoints | None = None,
    feed: Feed | None = None,
) -> Training:
    """Trains `net` in place and leaves it in `eval` mode with the best epoch's weights.

    `targets` are int64 class codes or float32 standardised values. `augment` changes a training batch; `report` is called
    with the epoch, its loss and its holdout loss. When fewer epochs fit before the deadline than the recipe wants, the
    schedule shrinks to those, or to a part of one. Without holdout rows the training loss decides. Raises OutOfTime when
    there is no time for a quarter of an epoch, FitError when a loss is not finite.

    With a `group` of several processes each calls this with the same arguments, and each returns or raises the same: batches
    and schedule are those of one process, each runs its share of the rows, and the clock is that of the first. What
    `checkpoints` kept is gone on from.

    With a `feed` an epoch learns from other rows, of which one epoch's are in memory beside `inputs`.
    """
    with isolated(seed, threads), recomputing(net, on=recipe.recompute):
        device = best_device()
        net.to(device)
        placed, group = (_place(inputs, device), targets.to(device)), group or Alone()
        loop = _Loop(net, placed, recipe, deadline, augment, group, seed, feed)
        held_out, held_out_targets = _place(holdout_inputs, device), holdout_targets.to(device)
        if checkpoints and (progress := checkpoints.last()):
            loop.go_on(progress)
        while loop.goes_on():
            started = time.monotonic()
            loss = loop.run_epoch()
            if loss is None:
                break
            score = loop.evaluate(held_out, held_out_targets, task) if len(held_out_targets) else loss
            if not (math.isfinite(loss) and math.isfinite(score)):
                raise FitError(
                    f"training diverged in epoch {len(loop.epochs) + 1}: loss {loss}, holdout loss {score}, at learning "
                    f"rate {loop.learning_rate:.2g}. Try a smaller learning_rate."
                )
            loop.close_epoch(loss, score, started)
            if report:
                report(len(loop.epochs) - 1, loss, score)
            if checkpoints:
                checkpoints.offer(loop.progress)
        if not loop.epochs:
            raise OutOfTime(
                f"the deadline passed in the first epoch, after {loop.steps_done} of {loop.num_batches} steps"
            )
        net.load_state_dict(loop.best, strict=False)
        net.eval()
        return Training(wholes(loop.best), loop.best_epoch, tuple(loop.epochs))


class _Loop:
    """The state of training between steps: net, optimiser, position in the schedule, and the plan that fits the deadline."""

    def __init__(
        self,
        net: Net,
        rows: tuple[Inputs, Tensor],
        recipe: Recipe,
        deadline: Deadline,
        augment: Augment | None,
        group: Group,
        seed: int,
        feed: Feed | None,
    ) -> None:
        self.net, self.at_hand, self.feed = net, rows, feed
        self.recipe, self.deadline, self.augment, self.group, self.seed = recipe, deadline, augment, group, seed
        self.inputs, self.targets = rows
        self.device = self.targets.device
        self.lengths = net.lengths(*self.inputs)
        self.bf16 = multiplies_bf16(self.device)
        self.learner = group.prepare(Learner(net))
        self.optimizer = make_optimizer(net, recipe)
        size, smallest = batch_size(len(self.targets), recipe), SMALLEST_SHARE * group.size
        self.make_batches = partial(make_batches, size=size, smallest=smallest)
        self.num_batches = len(self.make_batches(len(self.targets), lengths=None))
        self.planned_steps = recipe.epochs * self.num_batches
        self.steps_done = 0
        self.learning_rate = 0.0
        self.epochs: list[Epoch] = []
        self.best: State = {}
        self.best_epoch = -1

    def goes_on(self) -> bool:
        without_better = len(self.epochs) - 1 - self.best_epoch
        return len(self.epochs) * self.num_batches < self.planned_steps and without_better < max(
            1, self.recipe.patience
        )

    def run_epoch(self) -> float | None:
        """The mean training loss, or None when the deadline passed on the way."""
        self._take_rows()
        self.learner.train()
        losses: list[Tensor] = []
        started = time.monotonic()
        for rows in self._draw_batches():
            if self.steps_done >= self.planned_steps:
                break  # a first epoch that is cut short
            if self._seconds_left() <= 0:
                if self.epochs or self.steps_done < SMALLEST_PART * self.num_batches:
                    return None
                break
            losses.append(self._step(rows))
            if not self.epochs:
                if len(losses) == 1:  # The first step also allocates and picks kernels: it tells nothing of the others.
                    started = time.monotonic()
                elif len(losses) == 4 or len(losses) % PROBE_STEPS == 0:
                    self._foretell(self._seconds_since(started) / (len(losses) - 1), len(losses))
        return self.group.mean(float(torch.stack(losses).mean()))

    def _take_rows(self) -> None:
        """An epoch of a few rows less counts in the schedule as a whole one."""
        self.steps_done = len(self.epochs) * self.num_batches
        if self.feed:
            self.inputs, self.targets = self.at_hand  # so that the last epoch's rows go before others come
            fresh = self.feed(len(self.epochs), len(self.targets))
            if fresh:
                inputs, targets = fresh
                self.inputs = _place([torch.from_numpy(values) for values in inputs], self.device)
                self.targets = torch.from_numpy(targets).to(self.device)
            self.lengths = self.net.lengths(*self.inputs)

    def _draw_batches(self) -> list[Tensor]:
        """The same on each rank; what else a rank draws in the epoch is its own, so that each hides other inputs and units."""
        if self.group.size > 1:
            torch.set_rng_state(self.group.first(torch.get_rng_state()))
        batches = self.make_batches(len(self.targets), lengths=self.lengths)
        if self.group.rank:
            sequence = np.random.SeedSequence([self.seed, self.group.rank, len(self.epochs)])
            torch.manual_seed(int(sequence.generate_state(1)[0]))
        return batches

    def _step(self, rows: Tensor) -> Tensor:
        """This rank's part of the batch's mean loss, times the number of ranks: the mean over ranks is that of the batch."""
        factor = learning_rate_factor(self.steps_done, self.planned_steps, self.recipe.warmup)
        self.learning_rate = self.recipe.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        self.optimizer.zero_grad()
        pieces = self._pieces(rows)
        total = torch.zeros((), device=self.device)
        for number, piece in enumerate(pieces, start=1):
            average_now(self.learner, number == len(pieces))
            loss = self._loss(piece) * (len(piece) * self.group.size / len(rows))
            torch.autograd.backward(loss)
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.steps_done += 1
        return total

    def _pieces(self, rows: Tensor) -> Sequence[Tensor]:
        """This rank's rows of a batch, as many at a time as may run; as many pieces on each rank."""
        share = rows[self.group.rank :: self.group.size]
        at_once = self.recipe.rows_at_once or len(rows)
        return share.tensor_split(math.ceil(math.ceil(len(rows) / self.group.size) / at_once))

    def _loss(self, rows: Tensor) -> Tensor:
        batch = self._send(rows_of(self.inputs, rows.to(self.inputs[0].device)))
        if self.augment:
            batch = self.augment(batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs, added = self.learner(*batch)
        targets = self.targets[rows.to(self.device)]
        return batch_loss(outputs, targets, label_smoothing=self.recipe.label_smoothing) + added

    def evaluate(self, inputs: Inputs, targets: Tensor, task: Task) -> float:
        """The loss on all these rows, of which each rank runs its share."""
        self.learner.eval()
        rank, size = self.group.rank, self.group.size
        rows = torch.arange(min(rank, len(targets) - 1), len(targets), size)
        # Ranks put weights together at each call, so a rank with one row less runs its last one twice.
        called = torch.cat([rows, rows[-1:]])[: math.ceil(len(targets) / size)]
        batches = in_batches(self.net, inputs, called.to(inputs[0].device))
        predictions = []
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            for batch in batches:
                outputs, _ = self.learner(*self._send(rows_of(inputs, batch)))
                predictions.append(predict(outputs, is_classification=task.is_classification))
        in_order = torch.cat(predictions)[torch.cat(batches).argsort(stable=True).to(self.device)]
        loss = holdout_loss(in_order[: len(rows)], targets[rows.to(self.device)])
        return self.group.mean(loss * (len(rows) * size / len(targets)))

    def _send(self, batch: Inputs) -> Inputs:
        return tuple(values.to(self.device, non_blocking=True) for values in batch)

    def close_epoch(self, loss: float, score: float, started: float) -> None:
        seconds = self._seconds_since(started)
        if not self.epochs or score < self.epochs[self.best_epoch].holdout_loss:
            self.best = {name: values.clone() for name, values in learned(self.net).items()}
            self.best_epoch = len(self.epochs)
        self.epochs.append(Epoch(loss, score, self.learning_rate, seconds))
        if self.planned_steps >= self.num_batches:
            self._plan()

    def _plan(self) -> None:
        self.planned_steps = self.num_batches * plan_epochs(
            len(self.epochs),
            wanted=self.recipe.epochs,
            seconds_per_epoch=self.epochs[-1].seconds,
            seconds_left=self._seconds_left(),
        )

    def _foretell(self, seconds_per_step: float, steps: int) -> None:
        """Shrinks the plan in the first epoch. Raises OutOfTime early in it when even that one is hopeless."""
        left = self._seconds_left() + seconds_per_step * steps
        planned = plan_first_epochs(
            self.num_batches, wanted=self.recipe.epochs, seconds_per_step=seconds_per_step, seconds_left=left
        )
        if steps == PROBE_STEPS and not planned:
            seconds_per_epoch = seconds_per_step * self.num_batches
            raise OutOfTime(f"one epoch takes about {seconds_per_epoch:.0f} s and {left:.0f} s are left")
        self.planned_steps = planned or math.ceil(SMALLEST_PART * self.num_batches)

    def _seconds_left(self) -> float:
        return self._first(self.deadline.seconds_left())

    def _seconds_since(self, started: float) -> float:
        return self._first(time.monotonic() - started)

    def _first(self, seconds: float) -> float:
        return float(self.group.first(torch.tensor(seconds, dtype=torch.float64)))

    def progress(self) -> Progress:
        """To be asked for by every rank, between epochs."""
        return Progress(
            weights=wholes(learned(self.net)),
            best=wholes(self.best),
            moments=moments(self.optimizer),
            random=random_state(self.device),
            epochs=tuple(self.epochs),
            best_epoch=self.best_epoch,
            steps_done=self.steps_done,
        )

    def go_on(self, progress: Progress) -> None:
        """Takes up the training where `progress` was made."""
        self.net.load_state_dict(parts(progress.weights, self.net), strict=False)
        set_moments(self.optimizer, progress.moments)
        self.best = {name: values.to(self.device) for name, values in parts(progress.best, self.net).items()}
        self.epochs, self.best_epoch = list(progress.epochs), progress.best_epoch
        self.steps_done = progress.steps_done
        set_random_state(progress.random, self.device)
        self._plan()


def _place(inputs: Sequence[Tensor], device: torch.device) -> Inputs:
    """On the device, where there is room for them."""
    if device.type == "cuda":
        room = ROOM_ON_GPU * torch.cuda.get_device_properties(device).total_memory
        if sum(values.nbytes for values in inputs) > room:
            return tuple(inputs)
    return tuple(values.to(device) for values in inputs)
