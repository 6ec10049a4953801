"""TabM as a net of the shared loop. Shapes: B rows, K ensemble members, D block size."""

from __future__ import annotations

import warnings

import torch
from rtdl_num_embeddings import PiecewiseLinearEmbeddings
from tabm import LinearEnsemble, TabM
from torch import Tensor

from fusion_automl.backbones.nets.base import Net


class EnsembleOverTable(Net):
    """K multilayer perceptrons that share most weights, over piecewise-linear embeddings of the numbers; `bins` holds
    the edges for each number, `cardinalities` how many values each code has."""

    def __init__(
        self,
        *,
        bins: list[list[float]],
        cardinalities: list[int],
        number_size: int,
        num_members: int,
        num_blocks: int,
        block_size: int,
        dropout: float,
        num_outputs: int,
    ) -> None:
        super().__init__()
        with warnings.catch_warnings():
            # A boolean has two edges and so one bin, of which the library says that it is just min-max scaling.
            warnings.filterwarnings("ignore", message=".*just two bin edges.*")
            edges = [torch.tensor(feature) for feature in bins]
            embeddings = PiecewiseLinearEmbeddings(edges, number_size, activation=False, version="B") if bins else None
        self.members = TabM.make(
            n_num_features=len(bins),
            cat_cardinalities=cardinalities,
            num_embeddings=embeddings,
            d_out=None,
            n_blocks=num_blocks,
            d_block=block_size,
            dropout=dropout,
            k=num_members,
        )
        self.embedding_size = block_size
        self.head = LinearEnsemble(block_size, num_outputs, k=num_members)

    def embed(self, *inputs: Tensor) -> Tensor:
        numbers, codes = inputs
        states_BKD: Tensor = self.members(numbers if numbers.shape[1] else None, codes if codes.shape[1] else None)
        return states_BKD
