"""What a net needs that is too big to be trained as it is: layers that run twice, and weights that no GPU holds alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fusion_automl.backbones.nets.base import Net

BYTES_PER_LEARNED_WEIGHT = 16
"""Of float32: itself, its gradient, and the two moments of AdamW."""
SHARE_FOR_WEIGHTS = 0.5
"""Of a GPU's memory; activations need the rest."""


def layers_in_lists(net: nn.Module) -> list[nn.Module]:
    """The layers that stand in lists, as those of a transformer do, innermost first; not the trunks of a fusion network,
    which are asked for embeddings and never called."""
    lists = [module for module in net.modules() if isinstance(module, nn.ModuleList)]
    return [layer for layers in reversed(lists) for layer in layers if not isinstance(layer, Net)]


@contextmanager
def recomputing(net: nn.Module, *, on: bool) -> Iterator[None]:
    """Inside, layers in lists keep no activations but their inputs and run again in the backward pass (Chen et al.,
    "Training deep nets with sublinear memory cost", 2016): a third more time, for the memory of one layer."""
    with ExitStack() as stack:
        for layer in layers_in_lists(net) if on else ():
            # An attribute of the instance hides the method; wrapping modules would change the names of their weights.
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
            stack.callback(delattr, layer, "forward")
        yield


def exceeds_one_gpu(net: nn.Module) -> bool:
    """Whether the weights, with all that training keeps beside them, would take more than their share of this GPU."""
    weights = list(net.parameters())
    learned = sum(weight.numel() for weight in weights if weight.requires_grad)
    frozen = sum(weight.numel() * weight.element_size() for weight in weights if not weight.requires_grad)
    memory = torch.cuda.get_device_properties(weights[0].device).total_memory
    return learned * BYTES_PER_LEARNED_WEIGHT + frozen > SHARE_FOR_WEIGHTS * memory


def shard(net: nn.Module) -> None:
    """Leaves on each rank its part of every weight; a layer is put together when it runs (FSDP; Zhao et al., VLDB 2023)."""
    from torch.distributed.fsdp import fully_shard

    for layer in layers_in_lists(net):
        fully_shard(layer)
    fully_shard(net)


# Tensors in parts are told by what they can, because importing their class takes half a second.


def whole(values: Any) -> Tensor:
    """A tensor with all its parts. Every rank has to ask for it."""
    found: Tensor = values.full_tensor() if hasattr(values, "full_tensor") else values
    return found


def divided_like(values: Tensor, other: Any) -> Tensor:
    """This rank's part of a tensor that all ranks have, where `other` is in parts."""
    if not hasattr(other, "placements") or not values.ndim:
        return values
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(values.to(other.device), other.device_mesh, other.placements)
