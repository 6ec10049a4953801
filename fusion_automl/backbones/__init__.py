"""The table of backbones: deep nets trained on the target, which give an embedding and predictions of their own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.sequences import Sequences


class BackboneOutput(NamedTuple):
    """`embedding` is `(rows, embedding_size)` float32, what the last layer sees; `prediction` is `(rows, outputs)` float64."""

    embedding: npt.NDArray[np.float32]
    prediction: npt.NDArray[np.float64]


class FittedBackbone(Protocol):
    embedding_size: int

    def forward(self, frame: pd.DataFrame) -> BackboneOutput:
        """Runs a conformed frame of any number of rows (0 and 1 included); a row's result does not depend on the others."""

    def save(self, folder: Path) -> None:
        """Writes safetensors and JSON into an existing, empty folder."""

    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Below(NamedTuple):
    """What frozen layers make of the rows to learn from and of the holdout rows, and the folder of their state."""

    states: Sequences
    holdout_states: Sequences
    folder: Path


class Backbone(Protocol):
    """A frozen dataclass whose fields are hyperparameters with defaults (`str`, `int`, `float` or `bool`).

    One that has a method `below() -> Spec` learns from the states of frozen layers, a line of the table `STATES`: its
    `fit` takes `below` (`Below`), and what it fits takes the states as `forward(frame, states)` and the folder of the
    frozen layers as `load(folder, frozen)`.
    """

    modality: ClassVar[Modality]
    requires: ClassVar[tuple[str, ...]]

    def fit(self, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedBackbone:
        """Trains on `data` until the metric on `holdout` stops improving or the deadline passes; keeps the best epoch.

        Regression targets are standardised inside. Raises OutOfTime when not one epoch could be finished, and FitError
        when the loss diverges.
        """


BACKBONES: dict[str, str] = {
    "tabm": "fusion_automl.backbones.tabm:TabM",
    "text_cnn": "fusion_automl.backbones.text_cnn:TextCNN",
    "text_rnn": "fusion_automl.backbones.text_rnn:TextRNN",
    "image_cnn": "fusion_automl.backbones.image_cnn:ImageCNN",
    "series_cnn": "fusion_automl.backbones.series_cnn:SeriesCNN",
    "text_lora": "fusion_automl.backbones.text_lora:TextLora",
    "image_lora": "fusion_automl.backbones.image_lora:ImageLora",
}
