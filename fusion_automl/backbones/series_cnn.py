"""SeriesCNN: an inception net over time (Ismail Fawaz et al., "InceptionTime", 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_automl.backbones.fitted import Design, FittedNet, Shape, fit_net
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.backbones.series_reader import SeriesReader
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net


@dataclass(frozen=True, slots=True)
class SeriesCNN:
    """`width` filters of each length in each of `num_blocks` blocks; `noise` is that of the augmentation, in deviations."""

    modality: ClassVar[Modality] = "series"
    requires: ClassVar[tuple[str, ...]] = ()

    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    epochs: int = 60
    patience: int = 20
    batch_size: int = 64
    dropout: float = 0.2
    width: int = 16
    num_blocks: int = 3
    noise: float = 0.05

    def design(self, data: Dataset) -> Design:
        from fusion_automl.backbones.nets.series import Jitter

        columns = data.schema.of_modality("series")
        return Design(
            SeriesReader.fit(data.frame, columns),
            {
                "num_channels": len(columns),
                "width": self.width,
                "num_blocks": self.num_blocks,
                "dropout": self.dropout,
            },
            Recipe(self.learning_rate, self.weight_decay, self.epochs, self.patience, self.batch_size),
            Jitter(self.noise),
        )

    def fit(self, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedSeriesCNN:
        return fit_net(FittedSeriesCNN, self.design, data, holdout, seed=seed, deadline=deadline, threads=threads)


class FittedSeriesCNN(FittedNet):
    reader_class = SeriesReader

    @staticmethod
    def build(shape: Shape) -> Net:
        from fusion_automl.backbones.nets.series import ConvolutionOverTime

        return ConvolutionOverTime(**shape)
