"""TextLora: a pretrained text transformer whose last layers are tuned on the target by low-rank updates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fusion_automl.backbones import Below
from fusion_automl.backbones.lora import FittedLora, Tuning, fit_lora
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.candidate import Spec
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import pretrained
from fusion_automl.errors import SpaceError


@dataclass(frozen=True, slots=True)
class TextLora:
    """The last `layers` of `checkpoint` (`minilm`, a local folder, or a name on the hub) learn updates of rank `rank`;
    `max_length` cuts a row's texts, in tokens. A token's state is averaged over the row for the embedding. With `table`
    a sentence about the row's cells is read before its texts."""

    modality: ClassVar[Modality] = "text"
    requires: ClassVar[tuple[str, ...]] = ("peft",)

    checkpoint: str = pretrained.MINILM
    max_length: int = 128
    layers: int = 3
    rank: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    epochs: int = 3
    patience: int = 1
    batch_size: int = 32
    dropout: float = 0.1
    table: bool = False

    def __post_init__(self) -> None:
        if self.layers < 1 or self.rank < 1 or self.max_length < 3:
            raise SpaceError(
                "[backbones.text_lora]: layers and rank must be >= 1 and max_length >= 3, "
                f"got {self.layers}, {self.rank} and {self.max_length}."
            )

    @classmethod
    def obstacle(cls, checkpoint: str) -> str:
        return pretrained.obstacle(checkpoint, cls.modality)

    def below(self) -> Spec:
        table = {"table": True} if self.table else {}
        return Spec.of(
            "text_states",
            checkpoint=self.checkpoint,
            max_length=self.max_length,
            layers_above=self.layers,
            **table,
        )

    def fit(
        self, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int, below: Below
    ) -> FittedLora:
        recipe = Recipe(self.learning_rate, self.weight_decay, self.epochs, self.patience, self.batch_size)
        tuning = Tuning(self.layers, self.rank, self.dropout, recipe)
        return fit_lora(tuning, data, holdout, seed=seed, deadline=deadline, threads=threads, below=below)
