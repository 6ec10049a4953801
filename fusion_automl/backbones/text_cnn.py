"""TextCNN: filters over neighbouring words (Kim, "Convolutional neural networks for sentence classification", 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fusion_automl.backbones.fitted import Design, FittedNet, Shape, fit_net
from fusion_automl.backbones.recipe import Recipe
from fusion_automl.backbones.table_words import TableWords
from fusion_automl.backbones.vocabulary import TextReader
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline

if TYPE_CHECKING:
    from fusion_automl.backbones.nets.base import Net


@dataclass(frozen=True, slots=True)
class TextCNN:
    """`max_width` is the widest window in words (windows start at 2); `max_length` cuts texts, in words. With `table` the
    cells of the table are read as words before them."""

    modality: ClassVar[Modality] = "text"
    requires: ClassVar[tuple[str, ...]] = ()

    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    epochs: int = 8
    patience: int = 3
    batch_size: int = 64
    dropout: float = 0.5
    word_dropout: float = 0.25
    word_size: int = 128
    num_filters: int = 100
    max_width: int = 5
    max_length: int = 200
    table: bool = False

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
                "num_filters": self.num_filters,
                "max_width": self.max_width,
                "dropout": self.dropout,
            },
            Recipe(self.learning_rate, self.weight_decay, self.epochs, self.patience, self.batch_size),
            WordDropout(self.word_dropout),
        )

    def fit(self, data: Dataset, holdout: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedTextCNN:
        return fit_net(FittedTextCNN, self.design, data, holdout, seed=seed, deadline=deadline, threads=threads)


class FittedTextCNN(FittedNet):
    reader_class = TextReader

    @staticmethod
    def build(shape: Shape) -> Net:
        from fusion_automl.backbones.nets.text import ConvolutionOverWords

        return ConvolutionOverWords(**shape)
