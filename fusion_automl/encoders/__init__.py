"""The table of encoders: columns of one modality -> a float32 matrix, learned without the target."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline

Matrix: TypeAlias = npt.NDArray[np.float32] | scipy.sparse.csr_matrix
"""`(rows, features)` float32, dense or CSR."""


class FittedEncoder(Protocol):
    """`names` has one entry per output column; `categorical` holds the indices of output columns that are category codes
    (non-negative whole numbers, 0 for missing, rare and unseen), which boosting libraries treat natively."""

    names: tuple[str, ...]
    categorical: tuple[int, ...]

    def transform(self, frame: pd.DataFrame) -> Matrix:
        """Encodes a conformed frame of any number of rows (0 and 1 included); each row's result depends on that row alone."""

    def save(self, folder: Path) -> None:
        """Writes the state into an existing, empty folder, without pickle."""

    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Encoder(Protocol):
    """A frozen dataclass whose fields are hyperparameters with defaults (`str`, `int`, `float` or `bool`)."""

    modality: ClassVar[Modality]
    requires: ClassVar[tuple[str, ...]]
    learns: ClassVar[bool] = True
    """False where it is the same whatever the rows: then it is fitted once a dataset instead of once a fold. Such an encoder
    has a field `components`: above 0, each fold learns so many principal components of its matrix."""

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedEncoder:
        """Learns from the training rows in `data` (never from `data.y`)."""


ENCODERS: dict[str, str] = {
    "onehot": "fusion_automl.encoders.onehot:OneHot",
    "ordinal": "fusion_automl.encoders.ordinal:Ordinal",
    "tfidf": "fusion_automl.encoders.tfidf:TfIdf",
    "pixels": "fusion_automl.encoders.pixels:Pixels",
    "hog": "fusion_automl.encoders.hog:Hog",
    "series_stats": "fusion_automl.encoders.series_stats:SeriesStats",
    "minirocket": "fusion_automl.encoders.minirocket:MiniRocket",
    "text_embedding": "fusion_automl.encoders.text_embedding:TextEmbedding",
    "image_embedding": "fusion_automl.encoders.image_embedding:ImageEmbedding",
}

STATES: dict[str, str] = {
    "text_states": "fusion_automl.encoders.text_states:TextStates",
    "image_states": "fusion_automl.encoders.image_states:ImageStates",
}
"""Frozen layers that feed a backbone with rows of vectors (`Sequences`). A space cannot name them: backbones do."""
