"""TabM: an ensemble of perceptrons in one net (Gorishniy et al., "TabM", ICLR 2025)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from fusion_automl.backbones.fitted import Design, FittedNet, Shape, fit_net
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.backbones.table_reader import TableReader
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net


@dataclass(frozen=True, slots=True)
class TabM:
    """`num_members` perceptrons share `num_blocks` layers of `block_size` units; each number is cut into `num_bins` bins
    and embedded in `number_size` dimensions."""

    modality: ClassVar[Modality] = "tabular"
    requires: ClassVar[tuple[str, ...]] = ("tabm", "rtdl_num_embeddings")

    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    epochs: int = 60
    patience: int = 12
    batch_size: int = 256
    dropout: float = 0.1
    num_members: int = 16
    num_blocks: int = 2
    block_size: int = 128
    num_bins: int = 32
    number_size: int = 12

    def design(self, data: Dataset) -> Design:
        reader = TableReader.fit(data)
        if not (reader.scales or reader.cardinalities):
            raise FitError("tabm: no column of the table varies in the training rows")
        numbers, _ = reader.read(data.frame)
        return Design(
            reader,
            {
                "bins": bin_edges(numbers, self.num_bins),
                "cardinalities": reader.cardinalities,
                "number_size": self.number_size,
                "num_members": self.num_members,
                "num_blocks": self.num_blocks,
                "block_size": self.block_size,
                "dropout": self.dropout,
            },
            Recipe(self.learning_rate, self.weight_decay, self.epochs, self.patience, self.batch_size),
        )

    def fit(self, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedTabM:
        return fit_net(FittedTabM, self.design, data, holdout, seed=seed, deadline=deadline, threads=threads)


class FittedTabM(FittedNet):
    reader_class = TableReader

    @staticmethod
    def build(shape: Shape) -> Net:
        from fusion_automl.backbones.nets.table import EnsembleOverTable

        return EnsembleOverTable(**shape)


def bin_edges(numbers: npt.NDArray[np.float32], num_bins: int) -> list[list[float]]:
    """Edges between quantiles of each column of `(rows, numbers)`, increasing, two at the least."""
    import torch
    from rtdl_num_embeddings import compute_bins

    if not numbers.shape[1]:
        return []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*just two bin edges.*")  # as for any boolean
        bins: list[Any] = compute_bins(torch.from_numpy(numbers), n_bins=min(num_bins, len(numbers) - 1))
    return [edges.tolist() for edges in bins]
