"""What `text_lora` and `image_lora` share: the last layers of a frozen net are tuned on the stored states of those below.

A fitted one keeps its low-rank updates and its head; the weights under them lie with the frozen layers, once for all folds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.backbones import BackboneOutput, Below
from fusion_automl.backbones.fitted import Outputs
from fusion_automl.backbones.job import Arrays, Job, train_job
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.sequences import Sequences
from fusion_automl.errors import OutOfTime

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net
    from fusion_automl.backbones.nets.lora import LayersOverStates, Updates
    from fusion_automl.backbones.progress import Epoch, State

MAX_STEPS = 8192
"""Tokens or patches that are run at a time, padding included."""
BYTES_KEPT = 34
"""By a transformer's layer for the backward pass, of 16 bits, for each token and unit of its state, without attention maps
(Korthikanti et al., "Reducing activation recomputation", MLSys 2023)."""
ROOM = 4e9
"""Bytes that all layers may keep."""


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
    outputs = Outputs.fit(data.task, data.y)
    # Sorted by length, so that little of what is evaluated is padding.
    order = np.argsort(below.holdout_states.lengths, kind="stable")
    job = Job(
        partial(_opened, tuning, below.folder, outputs),
        _places(below.states),
        outputs.targets(data.y),
        _places(below.holdout_states[order]),
        outputs.targets(holdout.y[order]),
        data.task,
        fitting_memory(tuning.recipe, below.states, layers=tuning.layers),
        seed,
        beside=(below.states.values,),
    )
    net, training = train_job(job, deadline=deadline, threads=threads)

    from fusion_automl.backbones.nets.lora import LayersOverStates, read_updates

    assert isinstance(net, LayersOverStates)
    updates, head = read_updates(net.layers), net.head.state_dict()
    return FittedLora.merged(
        updates, head, tuning.layers, outputs, below.folder, history=training.epochs, threads=threads
    )


def fitting_memory(recipe: Recipe, states: Sequences, *, layers: int) -> Recipe:
    """A recipe for layers that would keep more than there is room for: one layer at a time keeps what fits."""
    row = BYTES_KEPT * states.shape[1] * int(states.lengths.max(initial=1))
    if row * recipe.batch_size * layers <= ROOM:
        return recipe
    return replace(recipe, recompute=True, rows_at_once=min(recipe.batch_size, max(1, int(ROOM / row))))


@contextmanager
def _opened(tuning: Tuning, frozen: Path, outputs: Outputs, states: npt.NDArray[np.float16]) -> Iterator[Net]:
    """The layers with their updates, reading in `states`."""
    from peft.helpers import disable_input_dtype_casting

    from fusion_automl.backbones.nets.lora import add_updates

    net = _build(frozen, tuning.layers, tuning.dropout, outputs, learning=True)
    add_updates(net.layers, rank=tuning.rank)
    # Autocast chooses the precision of each product; peft's own conversion to float32 and back would only cost time.
    with net.reading(states), disable_input_dtype_casting(net.layers):
        yield net


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

        from fusion_automl.backbones.nets.base import predict, running, torch_threads
        from fusion_automl.encoders.pretrained_net import batches_by_length

        embedding = np.zeros((len(frame), self.embedding_size), np.float32)
        with torch_threads(self.threads), self.net.reading(states.values):
            for rows in batches_by_length(states.lengths, max_steps=MAX_STEPS):
                with running(len(frame)) as device:
                    batch = self.net.embed(*(torch.from_numpy(places).to(device) for places in _places(states[rows])))
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
    def merged(
        cls,
        updates: Updates,
        head: State,
        layers: int,
        outputs: Outputs,
        frozen: Path,
        *,
        history: tuple[Epoch, ...] = (),
        threads: int | None = None,
    ) -> Self:
        """What was learned, on the layers as they lie in the folder `frozen`."""
        from fusion_automl.backbones.nets.base import best_device, isolated
        from fusion_automl.backbones.nets.lora import merge_updates

        with isolated(seed=0, threads=None):  # Building draws random weights, which are replaced at once.
            net = _build(frozen, layers, 0.0, outputs)
        merge_updates(net.layers, updates)
        net.head.load_state_dict(head)
        net.to(best_device()).eval()
        return cls(net, updates, layers, outputs, history=history, threads=threads)

    @classmethod
    def load(cls, folder: Path, frozen: Path) -> Self:
        """From its own folder and that of the frozen layers."""
        from safetensors.torch import load_file

        config = json.loads((folder / "config.json").read_text())
        weights = load_file(folder / "weights.safetensors")
        head = {name.removeprefix("head."): weights.pop(name) for name in list(weights) if name.startswith("head.")}
        return cls.merged(weights, head, config["layers"], Outputs(**config["outputs"]), frozen)


def _build(frozen: Path, layers: int, dropout: float, outputs: Outputs, *, learning: bool = False) -> LayersOverStates:
    """The last layers of the frozen net, as they were pretrained, under a new head."""
    from fusion_automl.backbones.nets.lora import LayersOverStates
    from fusion_automl.encoders.pretrained_net import layers_of, load_net, norm_of

    net = load_net(frozen, learning=learning)
    config: Any = net.config
    return LayersOverStates(
        layers_of(net)[-layers:], norm_of(net), config.hidden_size, dropout=dropout, num_outputs=outputs.size
    )


def _places(states: Sequences) -> Arrays:
    """What the net is told of each row: where its states begin, and how many there are."""
    return states.starts, states.lengths
