"""Images as the vectors of a pretrained net (ViT, ResNet, ConvNeXt ...), which learns nothing here."""

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

        return FittedImageEmbedding(
            FrozenImage.read(pretrained.find(self.checkpoint, self.modality, deadline=deadline)),
            data.schema.names("image"),
            normalize=self.normalize,
            deadline=deadline,
            threads=threads,
        )


class FittedImageEmbedding:
    """Runs until the deadline and with the threads of its fit; once loaded, without a deadline and with torch's threads."""

    categorical: tuple[int, ...] = ()

    def __init__(
        self,
        net: FrozenImage,
        columns: tuple[str, ...],
        *,
        normalize: bool,
        deadline: Deadline | None = None,
        threads: int | None = None,
    ) -> None:
        self.net, self.columns, self.normalize = net, columns, normalize
        self.deadline, self.threads = deadline or Deadline.never(), threads
        self.size = net.size(None)[1]
        self.names = tuple(f"{column} embedding {index}" for column in columns for index in range(self.size))

    def transform(self, frame: pd.DataFrame) -> npt.NDArray[np.float32]:
        """Raises OutOfTime as soon as it is clear that the rows do not fit before the fit's deadline."""
        from fusion_automl.backbones.nets.base import torch_threads

        blocks = []
        with torch_threads(self.threads):
            for column in self.columns:
                vectors = np.zeros((len(frame), self.size), np.float32)
                for rows, batch in self.net.embed(frame[column].to_numpy(), deadline=self.deadline, where=column):
                    vectors[rows] = batch.cpu().numpy()
                blocks.append(vectors)
        if self.normalize:
            blocks = [b / np.maximum(np.linalg.norm(b, axis=1, keepdims=True), np.float32(1e-9)) for b in blocks]
        return np.hstack(blocks)

    def save(self, folder: Path) -> None:
        self.net.save(folder)
        (folder / "state.json").write_text(json.dumps({"columns": self.columns, "normalize": self.normalize}))

    @classmethod
    def load(cls, folder: Path) -> Self:
        from fusion_automl.encoders.pretrained_image import FrozenImage

        values = json.loads((folder / "state.json").read_text())
        return cls(FrozenImage.load(folder), tuple(values["columns"]), normalize=values["normalize"])
