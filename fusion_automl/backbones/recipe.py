"""How a net is trained, as plain values: the recipe, the learning rate at each step, and how many epochs fit in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

SPARE = 0.95
"""Share of the time left that a plan may fill: epochs differ by a few percent, and the best weights are copied back."""
SMALLEST_PART = 0.25
"""Of an epoch: a net that has no time for so much of its first one is not trained."""
APPLYING = 0.5
"""Epochs for which there must be time beside a first one that may be cut short. What was learned then runs on all rows, with
three folds 1.75 times those of an epoch: 0.9 of one for a convolution net over reviews, 0.5 for a recurrent one. For 0.18 of
the time to learn there is room anyway."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Settings of the shared loop. `patience` counts epochs without a better holdout loss; `label_smoothing` is for
    classes only; `warmup` is the share of all steps in which the learning rate climbs.

    For nets that are big: `rows_at_once` is how many rows of a batch run at a time, 0 stands for all (gradients add up
    over the pieces); with `recompute` layers run again in the backward pass instead of keeping their activations."""

    learning_rate: float
    weight_decay: float
    epochs: int
    patience: int
    batch_size: int
    label_smoothing: float = 0.0
    warmup: float = 0.1
    rows_at_once: int = 0
    recompute: bool = False


def learning_rate_factor(step: int, total_steps: int, warmup: float) -> float:
    """What the peak learning rate is multiplied by at `step` (from 0): a linear climb, then half a cosine down to 0."""
    climb = max(1, round(warmup * total_steps))
    if step < climb:
        return (step + 1) / climb
    progress = (step - climb) / max(1, total_steps - climb)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def plan_epochs(done: int, *, wanted: int, seconds_per_epoch: float, seconds_left: float) -> int:
    """How many epochs training should last in all, so that the learning rate has come down when the time is up."""
    fitting = SPARE * seconds_left / max(seconds_per_epoch, 1e-9)
    return min(wanted, done + math.floor(min(fitting, wanted)))


def plan_first_epochs(num_batches: int, *, wanted: int, seconds_per_step: float, seconds_left: float) -> int:
    """How many steps training should last in all, as its first ones tell: those of some epochs, or a part of one.

    A net that cannot see each row once learns from as many as it can, with a whole schedule (budgeted training: Li, Yumer and
    Ramanan, ICLR 2020); 0 where that would be less than SMALLEST_PART.
    """
    fitting = SPARE * seconds_left / max(num_batches * seconds_per_step, 1e-9) - APPLYING
    if fitting >= 1:
        return num_batches * math.floor(min(fitting, wanted))
    return math.floor(fitting * num_batches) if fitting >= SMALLEST_PART else 0
