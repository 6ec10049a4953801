"""What `text_lora` and `image_lora` share: the last layers of a frozen net are tuned on the stored states of those below.

A fitted one keeps its low-rank updates and its head; the weights under them lie with the frozen layers, once for all folds.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from fusion_automl.backbones import BackboneOutput, Below
from fusion_automl.backbones.fitted import Outputs
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.sequences import Sequences
from fusion_automl.errors import OutOfTime

if TYPE_CHECKING:
    from torch import Tensor

    from fusion_automl.backbones.nets.lora import LayersOverStates, Updates
    from fusion_automl.backbones.train import Epoch

MAX_STEPS = 8192
"""Tokens or patches that are run at a time, padding included."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """`layers` are tuned with updates of `rank`; in training a share `dropout` of tokens and of the head's inputs is left
    out."""

    layers: int
    rank: int
    dropout: float
    recipe: Recipe


def fit_lora(
    tuning: Tuning, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int, below: Below
) -> FittedLora:
    """Trains on `data` until the loss on `holdout` stops falling or the deadline passes. Raises as `train` does."""
    if deadline.passed():
        raise OutOfTime("the deadline had passed before the layers were read")
    import torch
    from peft.helpers import disable_input_dtype_casting

    from fusion_automl.backbones.nets.base import isolated
    from fusion_automl.backbones.nets.lora import add_updates, merge_updates, read_updates
    from fusion_automl.backbones.train import train

    outputs = Outputs.fit(data.task, data.y)
    with isolated(seed, threads):
        plain = _build(below.folder, tuning.layers, tuning.dropout, outputs)
        net = copy.deepcopy(plain)
        add_updates(net.layers, rank=tuning.rank)
    # Sorted by length, so that little of what is evaluated is padding.
    order = np.argsort(below.holdout_states.lengths, kind="stable")
    # Autocast chooses the precision of each product; peft's own conversion to float32 and back would only cost time.
    with net.reading(below.states.values), disable_input_dtype_casting(net.layers):
        training = train(
            net,
            _inputs(below.states),
            torch.from_numpy(outputs.targets(data.y)),
            _inputs(below.holdout_states[order]),
            torch.from_numpy(outputs.targets(holdout.y[order])),
            data.task,
            tuning.recipe,
            seed=seed,
            deadline=deadline,
            threads=threads,
        )
    updates = read_updates(net.layers)
    merge_updates(plain.layers, updates)
    plain.head.load_state_dict(net.head.state_dict())
    plain.to(next(net.parameters()).device).eval()
    return FittedLora(plain, updates, tuning.layers, outputs, history=training.epochs, threads=threads)


class FittedLora:
    """The tuned layers with their updates merged in. `history` is empty once loaded."""

    def __init__(
        self,
        net: LayersOverStates,
        updates: Updates,
        layers: int,
        outputs: Outputs,
        *,
        history: tuple[Epoch, ...] = (),
        threads: int | None = None,
    ) -> None:
        self.net, self.updates, self.layers, self.outputs = net, updates, layers, outputs
        self.history, self.threads = history, threads
        self.embedding_size = net.embedding_size

    def forward(self, frame: pd.DataFrame, states: Sequences) -> BackboneOutput:
        """The rows of `frame`, of which `states` say everything."""
        import torch

        from fusion_automl.backbones.nets.base import predict, torch_threads
        from fusion_automl.encoders.pretrained_net import batches_by_length, running

        embedding = np.zeros((len(frame), self.embedding_size), np.float32)
        with torch_threads(self.threads), self.net.reading(states.values):
            for rows in batches_by_length(states.lengths, max_steps=MAX_STEPS):
                with running(len(frame)) as device:
                    batch = self.net.embed(*(values.to(device) for values in _inputs(states[rows])))
                embedding[rows] = batch.cpu().numpy()
            with torch.inference_mode():
                seen = torch.from_numpy(embedding).to(next(self.net.parameters()).device)
                prediction = predict(self.net.head(seen), is_classification=self.outputs.is_classification)
        return BackboneOutput(embedding, prediction.cpu().numpy() * self.outputs.std + self.outputs.mean)

    def save(self, folder: Path) -> None:
        """Writes `weights.safetensors` and `config.json` into an existing, empty folder."""
        from safetensors.torch import save_file

        head = {f"head.{name}": value.detach().cpu().contiguous() for name, value in self.net.head.state_dict().items()}
        save_file({**self.updates, **head}, folder / "weights.safetensors")
        (folder / "config.json").write_text(json.dumps({"layers": self.layers, "outputs": asdict(self.outputs)}))

    @classmethod
    def load(cls, folder: Path, frozen: Path) -> Self:
        """From its own folder and that of the frozen layers."""
        from safetensors.torch import load_file

        from fusion_automl.backbones.nets.base import best_device, isolated
        from fusion_automl.backbones.nets.lora import merge_updates

        config = json.loads((folder / "config.json").read_text())
        weights = load_file(folder / "weights.safetensors")
        head = {name.removeprefix("head."): weights.pop(name) for name in list(weights) if name.startswith("head.")}
        outputs = Outputs(**config["outputs"])
        with isolated(seed=0, threads=None):
            net = _build(frozen, config["layers"], 0.0, outputs)
        merge_updates(net.layers, weights)
        net.head.load_state_dict(head)
        net.to(best_device()).eval()
        return cls(net, weights, config["layers"], outputs)


def _build(frozen: Path, layers: int, dropout: float, outputs: Outputs) -> LayersOverStates:
    """The last layers of the frozen net, as they were pretrained, under a new head."""
    from fusion_automl.backbones.nets.lora import LayersOverStates
    from fusion_automl.encoders.pretrained_net import layers_of, load_net, norm_of

    net = load_net(frozen)
    config: Any = net.config
    return LayersOverStates(
        layers_of(net)[-layers:], norm_of(net), config.hidden_size, dropout=dropout, num_outputs=outputs.size
    )


def _inputs(states: Sequences) -> list[Tensor]:
    import torch

    return [torch.from_numpy(states.starts), torch.from_numpy(states.lengths)]
