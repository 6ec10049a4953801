"""Training between two epochs, as files: safetensors and JSON.

It imports torch at the top, so import it inside the function that needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fusion_automl.backbones.nets.big import divided_like, whole

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Epoch:
    loss: float
    holdout_loss: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Progress:
    """All that training needs to go on: what the net has learned so far and in its best epoch, the optimiser's moments, the
    state of rank 0's random numbers, and what happened in each epoch."""

    weights: State
    best: State
    moments: State
    random: State
    epochs: tuple[Epoch, ...]
    best_epoch: int
    steps_done: int

    def save(self, folder: Path) -> None:
        """Writes into an existing folder."""
        for name in ("weights", "best", "moments", "random"):
            values = {key: value.detach().cpu().contiguous() for key, value in getattr(self, name).items()}
            save_file(values, folder / f"{name}.safetensors")
        epochs = [asdict(epoch) for epoch in self.epochs]
        rest = {"epochs": epochs, "best_epoch": self.best_epoch, "steps_done": self.steps_done}
        (folder / "progress.json").write_text(json.dumps(rest))

    @classmethod
    def load(cls, folder: Path) -> Self:
        rest = json.loads((folder / "progress.json").read_text())
        return cls(
            **{name: load_file(folder / f"{name}.safetensors") for name in ("weights", "best", "moments", "random")},
            epochs=tuple(Epoch(**epoch) for epoch in rest["epochs"]),
            best_epoch=rest["best_epoch"],
            steps_done=rest["steps_done"],
        )


class Checkpoints(Protocol):
    """Where training that may be cut off leaves its progress."""

    def last(self) -> Progress | None: ...

    def offer(self, progress: Callable[[], Progress]) -> None:
        """Called by every rank after each epoch; keeps the progress when it is time for it. Ranks must agree on that: they
        put the weights together for it."""


def learned(net: nn.Module) -> State:
    """Names and values of what training changes: all but frozen weights."""
    frozen = {name for name, weight in net.named_parameters() if not weight.requires_grad}
    return {name: values.detach() for name, values in net.state_dict().items() if name not in frozen}


def wholes(state: State) -> State:
    return {name: whole(values) for name, values in state.items()}


def parts(state: State, net: nn.Module) -> State:
    """Values as this rank keeps them in `net`."""
    mine = net.state_dict()
    return {name: divided_like(values, mine[name]) for name, values in state.items()}


def random_state(device: torch.device) -> State:
    """Of torch's random numbers in this process."""
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def set_random_state(state: State, device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
