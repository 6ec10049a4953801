"""The optimiser of every backbone, and its state as tensors with names.

It imports torch at the top, so import it inside the function that needs it.
"""

from __future__ import annotations

import torch
from torch import nn

from fusion_automl.backbones.nets.big import divided_like, whole
from fusion_automl.backbones.progress import State
from fusion_automl.backbones.recipe import Recipe


def make_optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW that decays matrices and kernels, and leaves biases, scales and shifts alone."""
    matrices = [weight for weight in net.parameters() if weight.ndim >= 2]
    vectors = [weight for weight in net.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.learning_rate, fused=True)


def moments(optimizer: torch.optim.Optimizer) -> State:
    """The optimiser's state, named by the place of the weight and the word for the moment."""
    state = optimizer.state_dict()["state"]
    return {f"{place}.{word}": whole(values) for place in state for word, values in state[place].items()}


def set_moments(optimizer: torch.optim.Optimizer, state: State) -> None:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    found: dict[int, State] = {}
    for name, values in state.items():
        place, _, word = name.partition(".")
        found.setdefault(int(place), {})[word] = divided_like(values, weights[int(place)])
    optimizer.load_state_dict({**optimizer.state_dict(), "state": found})
