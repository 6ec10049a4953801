"""Fusion networks: a backbone for each modality as a trunk, all trained as one net.

Such a network is designed, trained, run and saved like any backbone: its reader reads for all trunks, and its shape
holds theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from fusion_automl.backbones import BACKBONES
from fusion_automl.backbones.fitted import Arrays, Design, FittedNet, Reader, Shape, fit_net
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.candidate import Spec
from fusion_automl.component import build, fitted_class, unknown
from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.errors import SpaceError

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net

NETWORKS = {"network": "fusion_automl.backbones.network:Network"}
HOW = ("concat", "sum", "product", "gated", "attention", "cross_attention", "low_rank_tensor")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every fusion network can be told: tokens and last layer have `size` units; in training a modality is hidden
    with probability `modality_dropout`; `alignment` weighs the pull of a row's tokens towards each other. Of the trunks'
    own hyperparameters those of the net count, and how the whole is trained is said here."""

    size: int = 64
    dropout: float = 0.2
    modality_dropout: float = 0.1
    alignment: float = 0.0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    epochs: int = 10
    patience: int = 4
    batch_size: int = 64


@dataclass(frozen=True, slots=True)
class Network(Settings):
    """`how` the trunks' tokens are fused; `rank` is that of the tensor in `low_rank_tensor`."""

    how: str = "gated"
    rank: int = 4

    def __post_init__(self) -> None:
        if self.how not in HOW:
            raise SpaceError(f"[networks]: {unknown('way to fuse', self.how, list(HOW))}")

    @property
    def spec(self) -> Spec:
        """The same for equal networks, however they came to be: all hyperparameters are in it."""
        return Spec.of("network", **asdict(self))

    def design(self, parts: Sequence[Spec], data: Dataset) -> Design:
        from fusion_automl.backbones.nets.fusion import AugmentEach

        backbones = [build(BACKBONES, part, where="backbones") for part in parts]
        for part, backbone in zip(parts, backbones, strict=True):
            if not hasattr(backbone, "design"):
                raise SpaceError(f"{part.name} cannot be trained inside a network. Use another backbone in its place.")
        designs: list[Design] = [backbone.design(data) for backbone in backbones]
        names = [part.name for part in parts]
        columns = [data.schema.of_modality(backbone.modality) for backbone in backbones]
        num_inputs = [len(design.reader.read(data.frame.iloc[:1])) for design in designs]
        shape = {
            "trunks": [
                {"backbone": name, "shape": dict(design.shape), "num_inputs": count}
                for name, design, count in zip(names, designs, num_inputs, strict=True)
            ],
            "how": self.how,
            "size": self.size,
            "dropout": self.dropout,
            "modality_dropout": self.modality_dropout,
            "alignment": self.alignment,
            "rank": self.rank,
        }
        return Design(
            NetworkReader(tuple(names), tuple(columns), tuple(design.reader for design in designs)),
            shape,
            Recipe(self.learning_rate, self.weight_decay, self.epochs, self.patience, self.batch_size),
            AugmentEach([design.augment for design in designs], num_inputs),
        )

    def fit(
        self,
        parts: Sequence[Spec],
        data: Dataset,
        holdout: Dataset,
        *,
        seed: int,
        deadline: Deadline,
        threads: int,
    ) -> FittedNetwork:
        """Trains the backbones that `parts` name, one for each modality. Raises what a backbone's `fit` raises, and
        SpaceError for a backbone that is not one net from columns to output."""
        design = partial(self.design, parts)
        return fit_net(FittedNetwork, design, data, holdout, seed=seed, deadline=deadline, threads=threads)


@dataclass(frozen=True, slots=True)
class NetworkReader:
    """Reads `(rows, modalities)` bool, whether any column of the modality has a value, and then each trunk's arrays."""

    backbones: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    readers: tuple[Reader, ...]

    def read(self, frame: pd.DataFrame) -> Arrays:
        present = [frame[list(names)].notna().to_numpy().any(axis=1) for names in self.columns]
        return (np.stack(present, axis=1), *(array for reader in self.readers for array in reader.read(frame)))

    def to_json(self) -> dict[str, Any]:
        return {
            "backbones": self.backbones,
            "columns": self.columns,
            "readers": [reader.to_json() for reader in self.readers],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        readers = [
            _trunk(name).reader_class.from_json(state)
            for name, state in zip(value["backbones"], value["readers"], strict=True)
        ]
        return cls(tuple(value["backbones"]), tuple(map(tuple, value["columns"])), tuple(readers))


class FittedNetwork(FittedNet):
    reader_class = NetworkReader

    @staticmethod
    def build(shape: Shape) -> Net:
        from fusion_automl.backbones.nets.fusion import FusionNet

        trunks = [
            _trunk(trunk["backbone"]).build({**trunk["shape"], "num_outputs": shape["size"]})
            for trunk in shape["trunks"]
        ]
        own = {name: value for name, value in shape.items() if name != "trunks"}
        return FusionNet(trunks, [trunk["num_inputs"] for trunk in shape["trunks"]], **own)


def _trunk(backbone: str) -> type[FittedNet]:
    return fitted_class(BACKBONES, backbone, where="backbones")
