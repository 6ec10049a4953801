"""Images as the vectors of a pretrained net (ViT, ResNet, ConvNeXt ...), which learns nothing here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained
from fusion_automl.encoders.frozen_embedding import FittedEmbedding, Vectors
from fusion_automl.errors import OutOfTime

if TYPE_CHECKING:
    from fusion_automl.encoders.pretrained_image import FrozenImage


@dataclass(frozen=True, slots=True)
class ImageEmbedding:
    """The embedding of each image column, side by side; zeros for a missing image, else of length 1 if `normalize`.

    `checkpoint` is a local folder or a name on the hub; `components` > 0 is for the bench, which projects the whole on so
    many principal components.
    """

    modality: ClassVar[Modality] = "image"
    requires: ClassVar[tuple[str, ...]] = ()
    learns: ClassVar[bool] = False

    checkpoint: str = "microsoft/resnet-18"
    normalize: bool = False
    components: int = 0

    @classmethod
    def obstacle(cls, checkpoint: str) -> str:
        return pretrained.obstacle(checkpoint, cls.modality)

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedImageEmbedding:
        if deadline.passed():
            raise OutOfTime("image_embedding: no time left to start.")
        from fusion_automl.encoders.pretrained_image import FrozenImage

        net = FrozenImage.read(pretrained.find(self.checkpoint, self.modality, deadline=deadline))
        return FittedImageEmbedding(
            net,
            data.schema.names("image"),
            net.size(None)[1],
            normalize=self.normalize,
            deadline=deadline,
            threads=threads,
        )


class FittedImageEmbedding(FittedEmbedding):
    net: FrozenImage

    def embed(self, frame: pd.DataFrame) -> list[Vectors]:
        blocks = []
        for column in self.columns:
            vectors = np.zeros((len(frame), self.size), np.float32)
            for rows, batch in self.net.embed(frame[column].to_numpy(), deadline=self.deadline, where=column):
                vectors[rows] = batch.cpu().numpy()
            blocks.append(vectors)
        return blocks

    @classmethod
    def load(cls, folder: Path) -> Self:
        from fusion_automl.encoders.pretrained_image import FrozenImage

        values = json.loads((folder / "state.json").read_text())
        net = FrozenImage.load(folder)
        return cls(net, tuple(values["columns"]), net.size(None)[1], normalize=values["normalize"])
