"""What backbones have in common: a design is trained, and what was trained runs a frame, saves and loads.

A fitted backbone is a reader (frame -> arrays), a shape (the net's arguments, as JSON) and the net's weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.backbones import BackboneOutput
from fusion_automl.backbones.job import Arrays as Arrays
from fusion_automl.backbones.job import Job, train_job
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.images import unremembered_images
from fusion_automl.data.shards import Shards
from fusion_automl.deadline import Deadline
from fusion_automl.errors import OutOfTime
from fusion_automl.task import Task

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net
    from fusion_automl.backbones.progress import Epoch
    from fusion_automl.backbones.train import Augment

Shape = Mapping[str, Any]
READ_ROWS = 1024
"""Rows that are read at a time, so that decoded images of a big frame do not fill the memory."""


class Reader(Protocol):
    """Turns conformed frames into a net's inputs, with what it learned from training rows. Its state is JSON."""

    def read(self, frame: pd.DataFrame) -> Arrays:
        """Arrays with one entry a row; a row's entries depend on that row alone."""

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self: ...


@dataclass(frozen=True, slots=True)
class Design:
    """A net before training, fitted to the training rows: `shape` holds its arguments but for the number of outputs."""

    reader: Reader
    shape: Shape
    recipe: Recipe
    augment: Augment | None = None


@dataclass(frozen=True, slots=True)
class Outputs:
    """What comes out of the net: class probabilities, or values that were standardised with `mean` and `std`."""

    is_classification: bool
    size: int
    mean: float = 0.0
    std: float = 1.0

    @classmethod
    def fit(cls, task: Task, y: npt.NDArray[Any]) -> Outputs:
        if task.is_classification:
            return cls(True, task.num_outputs)
        return cls(False, 1, float(np.mean(y)), float(np.std(y)) or 1.0)

    def targets(self, y: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What the net learns: int64 class codes, or float32 standardised values."""
        return y.astype(np.int64) if self.is_classification else ((y - self.mean) / self.std).astype(np.float32)


class FittedNet:
    """A trained backbone. Subclasses name the reader's class and build the net from its shape. `history` is empty once
    loaded."""

    reader_class: ClassVar[type[Any]]

    def __init__(
        self,
        reader: Reader,
        shape: Shape,
        outputs: Outputs,
        net: Net,
        *,
        history: tuple[Epoch, ...] = (),
        threads: int | None = None,
    ) -> None:
        self.reader, self.shape, self.outputs, self.net = reader, shape, outputs, net
        self.history = history
        self.threads = threads
        self.embedding_size = net.embedding_size

    @staticmethod
    def build(shape: Shape) -> Net:
        raise NotImplementedError

    def forward(self, frame: pd.DataFrame) -> BackboneOutput:
        """Runs a conformed frame of any number of rows, with the threads of its fit, or with torch's own once loaded."""
        import torch

        from fusion_automl.backbones.nets.base import in_batches, predict, rows_of, running, torch_threads

        embeddings = np.empty((len(frame), self.embedding_size), np.float32)
        predictions = np.empty((len(frame), self.outputs.size), np.float64)
        with torch.inference_mode(), torch_threads(self.threads):
            device = next(self.net.parameters()).device
            for start in range(0, len(frame), READ_ROWS):
                read = self.reader.read(frame.iloc[start : start + READ_ROWS])
                arrays = tuple(torch.from_numpy(array).to(device) for array in read)
                for rows in in_batches(self.net, arrays, torch.arange(len(arrays[0]), device=device)):
                    with running(len(frame)):
                        embedding = self.net.embed(*rows_of(arrays, rows)).float()
                    # The head's scores keep their digits: with 8 bits of them many rows would tie.
                    prediction = predict(self.net.head(embedding), is_classification=self.outputs.is_classification)
                    places = start + rows.cpu().numpy()
                    embeddings[places] = (embedding.mean(1) if embedding.ndim == 3 else embedding).cpu().numpy()
                    predictions[places] = prediction.cpu().numpy()
        return BackboneOutput(embeddings, predictions * self.outputs.std + self.outputs.mean)

    def save(self, folder: Path) -> None:
        """Writes `weights.safetensors` and `config.json` into an existing, empty folder."""
        from safetensors.torch import save_file

        config = {
            "reader": self.reader.to_json(),
            "shape": dict(self.shape),
            "outputs": {name: getattr(self.outputs, name) for name in Outputs.__slots__},
        }
        (folder / "config.json").write_text(json.dumps(config))
        weights = {name: values.detach().cpu().contiguous() for name, values in self.net.state_dict().items()}
        save_file(weights, folder / "weights.safetensors")

    @classmethod
    def load(cls, folder: Path) -> Self:
        from safetensors.torch import load_file

        from fusion_automl.backbones.nets.base import best_device, isolated

        config = json.loads((folder / "config.json").read_text())
        with isolated(seed=0, threads=None):  # Building draws random weights, which are replaced at once.
            net = cls.build(config["shape"])
        net.load_state_dict(load_file(folder / "weights.safetensors"))
        net.to(best_device()).eval()
        reader = cls.reader_class.from_json(config["reader"])
        return cls(reader, config["shape"], Outputs(**config["outputs"]), net)


F = TypeVar("F", bound=FittedNet)


def fit_net(
    fitted_class: type[F],
    design_for: Callable[[Dataset], Design],
    data: Dataset,
    holdout: Dataset,
    *,
    seed: int,
    deadline: Deadline,
    threads: int,
) -> F:
    """Designs the net and trains it on `data` until the loss on `holdout` stops falling or the deadline passes.

    From the second epoch on it learns from rows beyond `data` where there are any, from as many as `data` has. Raises OutOfTime
    and FitError as `train` does.
    """
    if deadline.passed():
        raise OutOfTime("the deadline had passed before the rows were read")
    design = design_for(data)
    outputs = Outputs.fit(data.task, data.y)
    shape = {**design.shape, "num_outputs": outputs.size}
    job = Job(
        partial(_built, fitted_class, shape),
        design.reader.read(data.frame),
        outputs.targets(data.y),
        design.reader.read(holdout.frame),
        outputs.targets(holdout.y),
        data.task,
        design.recipe,
        seed,
        augment=design.augment,
        feed=partial(fresh_rows, data.beyond, design.reader, outputs) if data.beyond else None,
    )
    net, training = train_job(job, deadline=deadline, threads=threads)
    return fitted_class(design.reader, shape, outputs, net, history=training.epochs, threads=threads)


def fresh_rows(
    shards: Shards, reader: Reader, outputs: Outputs, epoch: int, limit: int
) -> tuple[Arrays, npt.NDArray[Any]] | None:
    """What a net learns from in this epoch: in the first its own rows, then shard by shard, and so again; see `Feed`."""
    number = epoch % (1 + len(shards)) - 1
    if number < 0:
        return None
    frame, y = shards.read(number, limit=limit, seed=epoch)
    with unremembered_images():
        return reader.read(frame), outputs.targets(y)


@contextmanager
def _built(fitted_class: type[FittedNet], shape: Shape) -> Iterator[Net]:
    yield fitted_class.build(shape)
