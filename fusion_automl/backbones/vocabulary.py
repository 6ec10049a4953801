"""Texts as word numbers: the tokeniser and the vocabulary of the text nets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.backbones.table_words import TableWords

PADDING, UNKNOWN, COLUMN = 0, 1, 2
"""Numbers that are no words: after the end, a word that training never saw, and the start of a text column."""
NUM_RESERVED = 3
MIN_COUNT = 2
MAX_WORDS = 20_000

_WORD = re.compile(r"\w+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Lower-case words and single punctuation marks."""
    return _WORD.findall(text.lower())


@dataclass(frozen=True, slots=True)
class TextReader:
    """Reads text columns, joined in table order, as `(rows, max_length)` int32 word numbers, padded at the end.

    Each column begins with its own mark, also where its text is missing, so that no row is empty. The cells of a `table`
    stand before the texts, where no cut of `max_length` reaches them.
    """

    columns: tuple[str, ...]
    numbers: dict[str, int]
    max_length: int
    table: TableWords | None = None

    @property
    def num_words(self) -> int:
        return NUM_RESERVED + len(self.numbers)

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, columns: tuple[str, ...], *, max_length: int, table: TableWords | None = None
    ) -> Self:
        """Learns the words seen at least twice, and cuts texts at the 95 % quantile of their lengths or `max_length`."""
        rows = _rows(frame, columns, table)
        counts = Counter(word for row in rows for word in row if word is not None)
        frequent = [word for word, count in counts.most_common(MAX_WORDS) if count >= MIN_COUNT]
        usual = int(np.quantile([len(row) for row in rows], 0.95))
        numbers = {word: NUM_RESERVED + index for index, word in enumerate(frequent)}
        return cls(columns, numbers, max(1, min(max_length + (len(table) if table else 0), usual)), table)

    def read(self, frame: pd.DataFrame) -> tuple[npt.NDArray[np.int32]]:
        tokens = np.full((len(frame), self.max_length), PADDING, dtype=np.int32)
        for row, words in enumerate(_rows(frame, self.columns, self.table)):
            kept = words[: self.max_length]
            tokens[row, : len(kept)] = [COLUMN if w is None else self.numbers.get(w, UNKNOWN) for w in kept]
        return (tokens,)

    def to_json(self) -> dict[str, Any]:
        value = {"columns": list(self.columns), "words": list(self.numbers), "max_length": self.max_length}
        return value | ({"table": self.table.to_json()} if self.table else {})

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        numbers = {word: NUM_RESERVED + index for index, word in enumerate(value["words"])}
        table = TableWords.from_json(value["table"]) if "table" in value else None
        return cls(tuple(value["columns"]), numbers, value["max_length"], table)


def _rows(frame: pd.DataFrame, columns: tuple[str, ...], table: TableWords | None) -> list[list[str | None]]:
    texts = [_words(row) for row in zip(*(frame[name] for name in columns), strict=True)]
    return [[*cells, *words] for cells, words in zip(table.read(frame), texts, strict=True)] if table else texts


def _words(texts: tuple[str | None, ...]) -> list[str | None]:
    """The words of a row's columns; `None` marks where a column begins."""
    words: list[str | None] = []
    for text in texts:
        words.append(None)
        if isinstance(text, str):  # A missing text is None in a conformed frame, and nan where pandas made it so.
            words += words_of(text)
    return words
