"""How a net is trained, as plain values: the recipe, the learning rate at each step, and how many epochs fit in time."""

from __future__ import annotations

import math
from dataclasses import dataclass

SPARE = 0.95
"""Share of the time left that a plan may fill: epochs differ by a few percent, and the best weights are copied back."""


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
