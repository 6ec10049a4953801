"""Which rows each step of training learns from.

It imports torch at the top, so import it inside the function that needs it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fusion_automl.backbones.recipe import Recipe

SMALLEST_BATCH = 16
STEPS_PER_EPOCH = 10
"""An epoch of a small set is cut into about ten steps, which learns as well in a third of the epochs; the recipe's
batch size is the largest."""
SMALLEST_SHARE = 2
"""Rows of a batch that a process needs for batch statistics."""


def batch_size(num_rows: int, recipe: Recipe) -> int:
    """Rows that a step learns from, in all processes together."""
    return min(recipe.batch_size, max(SMALLEST_BATCH, num_rows // STEPS_PER_EPOCH))


def make_batches(num_rows: int, size: int, *, lengths: Tensor | None, smallest: int = SMALLEST_SHARE) -> list[Tensor]:
    """Shuffled row numbers in batches. A last batch of less than `smallest` rows is dropped.

    With `lengths`, batches are cut from pools of 32 batches sorted by length, so that little of a batch is padding.
    """
    order = torch.randperm(num_rows)
    if lengths is not None:
        pools = torch.split(order, 32 * size)
        order = torch.cat([pool[lengths[pool].argsort(stable=True)] for pool in pools])
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) < smallest:
        batches.pop()
    if lengths is not None:
        batches = [batches[index] for index in torch.randperm(len(batches))]
    return batches
