"""Texts as the mean of the token vectors of a pretrained transformer, which learns nothing here (Reimers and Gurevych,
"Sentence-BERT", 2019)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained
from fusion_automl.encoders.frozen_embedding import FittedEmbedding, Vectors
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
        net = FrozenText.read(folder, max_length=self.max_length)
        return FittedTextEmbedding(
            net,
            data.schema.names("text"),
            net.size,
            normalize=self.normalize,
            deadline=deadline,
            threads=threads,
        )


class FittedTextEmbedding(FittedEmbedding):
    net: FrozenText

    def embed(self, frame: pd.DataFrame) -> list[Vectors]:
        from fusion_automl.encoders.pretrained_net import mean_over_steps

        # All columns in one go, so that the first batches tell how long all of them take.
        texts = [text if isinstance(text, str) else None for column in self.columns for text in frame[column]]
        vectors = np.zeros((len(texts), self.size), np.float32)
        tokens = self.net.tokenize(texts)
        for batch, states, inside in self.net.run(tokens, skip=0, deadline=self.deadline, name="text_embedding"):
            vectors[batch] = mean_over_steps(states, inside).cpu().numpy()
        return np.split(vectors, len(self.columns))

    def settings(self) -> dict[str, Any]:
        return {"max_length": self.net.max_length}

    @classmethod
    def load(cls, folder: Path) -> Self:
        from fusion_automl.encoders.pretrained_text import FrozenText

        values = json.loads((folder / "state.json").read_text())
        net = FrozenText.load(folder, max_length=values["max_length"])
        return cls(net, tuple(values["columns"]), net.size, normalize=values["normalize"])
