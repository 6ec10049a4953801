"""ImageCNN: a small residual net (He et al., "Deep residual learning for image recognition", 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_automl.backbones.fitted import Design, FittedNet, Shape, fit_net
from fusion_automl.backbones.image_reader import ImageReader
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net


@dataclass(frozen=True, slots=True)
class ImageCNN:
    """`size` is the side to which images are shrunk (smaller ones are not blown up); `width` filters in the first of
    `num_stages` stages, twice as many in each that follows. `shift` (a share of the side) and `flip` are augmentations."""

    modality: ClassVar[Modality] = "image"
    requires: ClassVar[tuple[str, ...]] = ()

    learning_rate: float = 6e-3
    weight_decay: float = 5e-2
    epochs: int = 22
    patience: int = 6
    batch_size: int = 128
    dropout: float = 0.1
    size: int = 32
    width: int = 32
    num_stages: int = 3
    shift: float = 0.04
    flip: bool = True

    def design(self, data: Dataset) -> Design:
        from fusion_automl.backbones.nets.image import ShiftAndFlip

        reader = ImageReader.fit(data.frame, data.schema.of_modality("image"), max_size=self.size)
        return Design(
            reader,
            {
                "num_columns": len(reader.columns),
                "channels": reader.channels,
                "means": list(reader.means),
                "stds": list(reader.stds),
                "width": self.width,
                "num_stages": self.num_stages,
                "dropout": self.dropout,
            },
            Recipe(self.learning_rate, self.weight_decay, self.epochs, self.patience, self.batch_size),
            ShiftAndFlip(shift=self.shift, flip=self.flip),
        )

    def fit(self, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedImageCNN:
        return fit_net(FittedImageCNN, self.design, data, holdout, seed=seed, deadline=deadline, threads=threads)


class FittedImageCNN(FittedNet):
    reader_class = ImageReader

    @staticmethod
    def build(shape: Shape) -> Net:
        from fusion_automl.backbones.nets.image import ConvolutionOverImages

        return ConvolutionOverImages(**shape)
