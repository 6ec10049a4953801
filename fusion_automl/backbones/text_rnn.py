"""TextRNN: a bidirectional LSTM or GRU with attention (Yang et al., "Hierarchical attention networks", 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_automl.backbones.fitted import Design, FittedNet, Shape, fit_net
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.backbones.table_words import TableWords
from fusion_automl.backbones.vocabulary import TextReader
from fusion_automl.component import unknown
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.errors import SpaceError

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net

CELLS = ("lstm", "gru")


@dataclass(frozen=True, slots=True)
class TextRNN:
    """`cell` is `lstm` or `gru`; `max_length` cuts texts, in words. With `table` the cells of the table are read as words
    before them."""

    modality: ClassVar[Modality] = "text"
    requires: ClassVar[tuple[str, ...]] = ()

    cell: str = "lstm"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    epochs: int = 7
    patience: int = 3
    batch_size: int = 64
    dropout: float = 0.5
    word_dropout: float = 0.5
    word_size: int = 100
    hidden_size: int = 64
    max_length: int = 150
    table: bool = False

    def __post_init__(self) -> None:
        if self.cell not in CELLS:
            raise SpaceError(f"[backbones.text_rnn]: {unknown('cell', self.cell, list(CELLS))}")

    def design(self, data: Dataset) -> Design:
        from fusion_automl.backbones.nets.text import WordDropout

        table = TableWords.fit(data) if self.table else None
        columns = data.schema.of_modality("text")
        reader = TextReader.fit(data.frame, columns, max_length=self.max_length, table=table)
        return Design(
            reader,
            {
                "num_words": reader.num_words,
                "word_size": self.word_size,
                "cell": self.cell,
                "hidden_size": self.hidden_size,
                "dropout": self.dropout,
            },
            Recipe(self.learning_rate, self.weight_decay, self.epochs, self.patience, self.batch_size),
            WordDropout(self.word_dropout),
        )

    def fit(self, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedTextRNN:
        return fit_net(FittedTextRNN, self.design, data, holdout, seed=seed, deadline=deadline, threads=threads)


class FittedTextRNN(FittedNet):
    reader_class = TextReader

    @staticmethod
    def build(shape: Shape) -> Net:
        from fusion_automl.backbones.nets.text import RecurrentOverWords

        return RecurrentOverWords(**shape)
