"""The loop that trains every backbone: AdamW, warm-up and cosine, early stopping on holdout rows, and the deadline.

It imports torch at the top, so import it inside the function that needs it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fusion_automl.backbones.nets.base import (
    Inputs,
    Net,
    batch_loss,
    best_device,
    holdout_loss,
    isolated,
    multiplies_bf16,
    predict,
    rows_of,
)
from fusion_automl.backbones.recipe import Recipe, learning_rate_factor, plan_epochs
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.task import Task

Augment = Callable[[Inputs], Inputs]
Report = Callable[[int, float, float], None]

PROBE_STEPS = 10
"""Steps of the first epoch after which its length is foretold."""
SMALLEST_BATCH = 16
STEPS_PER_EPOCH = 10
"""An epoch of a small set is cut into about ten steps, which learns as well in a third of the epochs; the recipe's
batch size is the largest."""


@dataclass(frozen=True, slots=True)
class Epoch:
    loss: float
    holdout_loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Training:
    """The weights of the epoch with the lowest holdout loss, and what happened in each epoch."""

    state: dict[str, Tensor]
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
) -> Training:
    """Trains `net` in place and leaves it in `eval` mode with the best epoch's weights.

    `targets` are int64 class codes or float32 standardised values. `augment`
    changes a training batch; `report` is called with the epoch, its loss and its holdout loss. When fewer epochs fit
    before the deadline than the recipe wants, the schedule shrinks to those. Without holdout rows the training loss
    decides. Raises OutOfTime when not one epoch was finished, FitError when a loss is not finite.
    """
    if deadline.passed():
        raise OutOfTime("the deadline had passed before the first step of training")
    with isolated(seed, threads):
        device = best_device()
        net.to(device)
        loop = _Loop(net, _to(inputs, device), targets.to(device), recipe, deadline, augment)
        held_out, held_out_targets = _to(holdout_inputs, device), holdout_targets.to(device)
        history: list[Epoch] = []
        best: dict[str, Tensor] = {}
        best_epoch, lowest = -1, math.inf
        while len(history) < loop.planned_epochs and len(history) - 1 - best_epoch < max(1, recipe.patience):
            started = time.monotonic()
            loss = loop.run_epoch(len(history))
            if loss is None:
                break
            score = _evaluate(net, held_out, held_out_targets, task) if len(held_out_targets) else loss
            if not (math.isfinite(loss) and math.isfinite(score)):
                raise FitError(
                    f"training diverged in epoch {len(history) + 1}: loss {loss}, holdout loss {score}, at learning rate "
                    f"{loop.learning_rate:.2g}. Try a smaller learning_rate."
                )
            seconds = time.monotonic() - started
            history.append(Epoch(loss, score, loop.learning_rate, seconds))
            if score < lowest:
                best = {name: values.detach().clone() for name, values in net.state_dict().items()}
                best_epoch, lowest = len(history) - 1, score
            if report:
                report(len(history) - 1, loss, score)
            loop.plan(len(history), seconds)
        if not history:
            raise OutOfTime(
                f"the deadline passed in the first epoch, after {loop.steps_done} of {loop.num_batches} steps"
            )
        net.load_state_dict(best)
        net.eval()
    return Training(best, best_epoch, tuple(history))


class _Loop:
    """The state of training between steps: optimiser, position in the schedule, and the plan that fits the deadline."""

    def __init__(
        self,
        net: Net,
        inputs: Inputs,
        targets: Tensor,
        recipe: Recipe,
        deadline: Deadline,
        augment: Augment | None,
    ) -> None:
        self.net, self.inputs, self.targets = net, inputs, targets
        self.recipe, self.deadline, self.augment = recipe, deadline, augment
        self.lengths = net.lengths(*inputs)
        self.bf16 = multiplies_bf16(targets.device)
        self.optimizer = make_optimizer(net, recipe)
        self.batch_size = min(recipe.batch_size, max(SMALLEST_BATCH, len(targets) // STEPS_PER_EPOCH))
        self.num_batches = len(make_batches(len(targets), self.batch_size, lengths=None))
        self.planned_epochs = recipe.epochs
        self.steps_done = 0
        self.learning_rate = 0.0

    def plan(self, done: int, seconds_per_epoch: float) -> None:
        self.planned_epochs = plan_epochs(
            done,
            wanted=self.recipe.epochs,
            seconds_per_epoch=seconds_per_epoch,
            seconds_left=self.deadline.seconds_left(),
        )

    def run_epoch(self, epoch: int) -> float | None:
        """The mean training loss, or None when the deadline passed on the way."""
        self.net.train()
        losses: list[Tensor] = []
        started = time.monotonic()
        for rows in make_batches(len(self.targets), self.batch_size, lengths=self.lengths):
            if self.deadline.passed():
                return None
            losses.append(self._step(rows))
            if epoch == 0:
                if len(losses) == 1:  # The first step also allocates and picks kernels: it tells nothing of the others.
                    started = time.monotonic()
                elif len(losses) in (4, PROBE_STEPS):
                    self._foretell((time.monotonic() - started) / (len(losses) - 1), len(losses))
        return float(torch.stack(losses).mean())

    def _foretell(self, seconds_per_step: float, steps: int) -> None:
        """Shrinks the plan early in the first epoch. Raises OutOfTime when even that one is hopeless."""
        seconds_per_epoch = seconds_per_step * self.num_batches
        left = self.deadline.seconds_left() + seconds_per_step * steps
        if steps == PROBE_STEPS and seconds_per_epoch > 2 * left:
            raise OutOfTime(f"one epoch takes about {seconds_per_epoch:.0f} s and {left:.0f} s are left")
        self.planned_epochs = max(
            1, plan_epochs(0, wanted=self.recipe.epochs, seconds_per_epoch=seconds_per_epoch, seconds_left=left)
        )

    def _step(self, rows: Tensor) -> Tensor:
        factor = learning_rate_factor(self.steps_done, self.planned_epochs * self.num_batches, self.recipe.warmup)
        self.learning_rate = self.recipe.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
        rows = rows.to(self.targets.device)
        batch = rows_of(self.inputs, rows)
        if self.augment:
            batch = self.augment(batch)
        with torch.autocast(self.targets.device.type, torch.bfloat16, enabled=self.bf16):
            outputs, added = self.net.learn(*batch)
        loss = batch_loss(outputs, self.targets[rows], label_smoothing=self.recipe.label_smoothing) + added
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.steps_done += 1
        return loss.detach()


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW that decays matrices and kernels, and leaves biases, scales and shifts alone."""
    matrices = [weight for weight in net.parameters() if weight.ndim >= 2]
    vectors = [weight for weight in net.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.learning_rate, fused=True)


def make_batches(num_rows: int, size: int, *, lengths: Tensor | None) -> list[Tensor]:
    """Shuffled row numbers in batches. A last batch of one row is dropped, because batch statistics need two.

    With `lengths`, batches are cut from pools of 32 batches sorted by length, so that little of a batch is padding.
    """
    order = torch.randperm(num_rows)
    if lengths is not None:
        pools = torch.split(order, 32 * size)
        order = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools])
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches.pop()
    if lengths is not None:
        batches = [batches[index] for index in torch.randperm(len(batches))]
    return batches


def _evaluate(net: Net, inputs: Inputs, targets: Tensor, task: Task) -> float:
    net.eval()
    predictions = []
    with torch.inference_mode(), torch.autocast(targets.device.type, torch.bfloat16, multiplies_bf16(targets.device)):
        for start in range(0, len(targets), net.evaluation_rows):
            outputs = net(*rows_of(inputs, slice(start, start + net.evaluation_rows)))
            predictions.append(predict(outputs, is_classification=task.is_classification))
    return holdout_loss(torch.cat(predictions), targets)


def _to(inputs: Sequence[Tensor], device: torch.device) -> Inputs:
    return tuple(values.to(device) for values in inputs)
