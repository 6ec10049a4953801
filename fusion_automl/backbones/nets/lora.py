"""The last layers of a pretrained transformer, tuned by low-rank updates over the stored states of the layers below
(Hu et al., "LoRA", ICLR 2022). Shapes: B rows, T tokens or patches, D state size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fusion_automl.backbones.nets.base import Net, best_device, multiplies_bf16
from fusion_automl.encoders.pretrained_net import mean_over_steps, through

SCALE = 2.0
"""What an update is multiplied by, whatever its rank: `lora_alpha` is twice the rank."""
Updates = dict[str, Tensor]
"""For each tuned weight its factors, under its name and `.A` or `.B`: the update is SCALE * B @ A."""


class LayersOverStates(Net):
    """The inputs are where a row's states begin in the open `Sequences`, and how many there are.

    In training, `dropout` is the share of a row's tokens that are left out, and that of the head's inputs. The layers' own
    dropout is off: drawing its masks took 45 % of a step on a processor.
    """

    def __init__(self, layers: nn.ModuleList, norm: nn.Module, size: int, *, dropout: float, num_outputs: int) -> None:
        super().__init__()
        self.layers, self.norm = layers, norm
        self.embedding_size = size
        self.dropout = dropout
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(size, num_outputs))
        self._values = torch.empty(0)

    @contextmanager
    def reading(self, values: npt.NDArray[np.float16]) -> Iterator[None]:
        """Inside, rows are looked up in these states, which stay where they are: mostly in a file."""
        self._values = torch.from_numpy(values)
        try:
            yield
        finally:
            self._values = torch.empty(0)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.layers.eval()
        return self

    def lengths(self, *inputs: Tensor) -> Tensor:
        return inputs[1]

    def embed(self, *inputs: Tensor) -> Tensor:
        starts_B, lengths_B = inputs
        steps_T = torch.arange(max(1, int(lengths_B.max())), device=starts_B.device)
        inside_BT = steps_T < lengths_B[:, None]
        places_BT = torch.where(inside_BT, starts_B[:, None] + steps_T, 0)
        states_BTD = self._values[places_BT.to(self._values.device)].to(starts_B.device).float()
        if self.training:
            inside_BT = inside_BT & (torch.rand(inside_BT.shape, device=inside_BT.device) >= self.dropout)
        states_BTD = self.norm(through(self.layers, states_BTD, inside_BT))
        return mean_over_steps(states_BTD, inside_BT)


def add_updates(layers: nn.ModuleList, *, rank: int) -> None:
    """Puts a low-rank update beside every linear layer; nothing else in `layers` is trained.

    Where the hardware multiplies bfloat16, the weights under the updates are kept in it: turning them anew in each step
    took a fifth of it.
    """
    from peft import LoraConfig, inject_adapter_in_model

    linear = [name for name, module in layers.named_modules() if isinstance(module, nn.Linear)]
    settings = LoraConfig(r=rank, lora_alpha=round(SCALE * rank), target_modules=linear)
    inject_adapter_in_model(settings, layers)
    if multiplies_bf16(best_device()):
        for module in layers.modules():
            if isinstance(module, nn.Linear) and not module.weight.requires_grad:
                module.bfloat16()


def read_updates(layers: nn.ModuleList) -> Updates:
    """The factors that training found."""
    found: Updates = {}
    for name, weight in layers.named_parameters():
        for factor in ("A", "B"):
            owner, _, rest = name.partition(f".lora_{factor}.")
            if rest:
                found[f"{owner}.weight.{factor}"] = weight.detach().cpu().clone()
    return found


def merge_updates(layers: nn.ModuleList, updates: Updates) -> None:
    """Adds the updates to the weights themselves, so that prediction costs nothing more and needs no peft."""
    with torch.no_grad():
        for name, weight in layers.named_parameters():
            if f"{name}.A" in updates:
                update = SCALE * updates[f"{name}.B"] @ updates[f"{name}.A"]
                weight.add_(update.to(weight.device))
