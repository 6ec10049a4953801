"""Texts as the mean of the token vectors of a pretrained transformer, which learns nothing here (Reimers and Gurevych,
"Sentence-BERT", 2019)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained
from fusion_automl.errors import OutOfTime, SpaceError

if TYPE_CHECKING:
    from fusion_automl.encoders.pretrained_text import FrozenText


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """The embedding of each text column, side by side; zeros for a missing text, else of length 1 if `normalize`.

    `checkpoint` is `minilm`, a local folder, or a name on the hub; `max_length` cuts texts, in tokens;
    `components` > 0 is for the bench, which projects the whole on so many principal components.
    """

    modality: ClassVar[Modality] = "text"
    requires: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False

    checkpoint: str = pretrained.MINILM
    max_length: int = 128
    normalize: bool = True
    components: int = 0

    def __post_init__(self) -> None:
        if self.max_length < 3 or self.components < 0:
            raise SpaceError(
                "[encoders.text_embedding]: max_length must be >= 3 and components >= 0, "
                f"got {self.max_length} and {self.components}."
            )

    @classmethod
    def obstacle(cls, checkpoint: str) -> str:
        return pretrained.obstacle(checkpoint, cls.modality)

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedTextEmbedding:
        if deadline.passed():
            raise OutOfTime("text_embedding: no time left to start.")
        from fusion_automl.encoders.pretrained_text import FrozenText

        folder = pretrained.find(self.checkpoint, self.modality, deadline=deadline)
        return FittedTextEmbedding(
            FrozenText.read(folder, max_length=self.max_length),
            data.schema.names("text"),
            normalize=self.normalize,
            deadline=deadline,
            threads=threads,
        )


class FittedTextEmbedding:
    """Runs until the deadline and with the threads of its fit; once loaded, without a deadline and with torch's threads."""

    categorical: tuple[int, ...] = ()

    def __init__(
        self,
        net: FrozenText,
        columns: tuple[str, ...],
        *,
        normalize: bool,
        deadline: Deadline | None = None,
        threads: int | None = None,
    ) -> None:
        self.net, self.columns, self.normalize = net, columns, normalize
        self.deadline, self.threads = deadline or Deadline.never(), threads
        self.names = tuple(f"{column} embedding {index}" for column in columns for index in range(net.size))

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Raises OutOfTime as soon as it is clear that the rows do not fit before the fit's deadline."""
        from fusion_automl.backbones.nets.base import torch_threads
        from fusion_automl.encoders.pretrained_net import mean_over_steps

        rows = len(frame)
        # All columns in one go, so that the first batches tell how long all of them take.
        texts = [text if isinstance(text, str) else None for column in self.columns for text in frame[column]]
        vectors = np.zeros((len(texts), self.net.size), np.float32)
        with torch_threads(self.threads):
            tokens = self.net.tokenize(texts)
            for batch, states, inside in self.net.run(tokens, skip=0, deadline=self.deadline, name="text_embedding"):
                vectors[batch] = mean_over_steps(states, inside).cpu().numpy()
        if self.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-9))
        columns = [vectors[start : start + rows] for start in range(0, len(texts), rows or 1)]
        return np.hstack(columns) if rows else np.zeros((0, len(self.names)), np.float32)

    def save(self, folder: Path) -> None:
        self.net.save(folder)
        values = {"columns": self.columns, "normalize": self.normalize, "max_length": self.net.max_length}
        (folder / "state.json").write_text(json.dumps(values))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from fusion_automl.encoders.pretrained_text import FrozenText

        values = json.loads((folder / "state.json").read_text())
        net = FrozenText.load(folder, max_length=values["max_length"])
        return cls(net, tuple(values["columns"]), normalize=values["normalize"])
