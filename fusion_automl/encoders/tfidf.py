"""Texts as weighted counts of words and character n-grams, sparse or as latent semantic axes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.ngrams import Counts, Grams, count
from fusion_automl.encoders.remembered import of_frame
from fusion_automl.encoders.state import load_state, save_state
from fusion_automl.errors import OutOfTime, SpaceError

if TYPE_CHECKING:
    from fusion_automl.encoders import Matrix

Floats = npt.NDArray[np.float32]

STATISTICS = ("characters", "words", "capitals", "digits", "exclamations", "questions")
LARGEST_SCALED = 10.0


@dataclass(frozen=True, slots=True)
class TfIdf:
    """TF-IDF of each text column with a vocabulary of its own, CSR: a word weighs otherwise in a title than in a body.

    `words` and `chars` bound the vocabularies (0: none), which hold n-grams of 1 to `word_ngrams` words and of 3 to
    `char_ngrams` characters that occur in `min_rows` rows. With `components` > 0 the result is dense: that many axes of
    a truncated SVD, a row's length being the root of their number, and standardised statistics of each text.
    """

    modality: ClassVar[Modality] = "text"
    requires: ClassVar[tuple[str, ...]] = ()

    words: int = 30_000
    word_ngrams: int = 2
    chars: int = 0
    char_ngrams: int = 5
    min_rows: int = 2
    sublinear: bool = True
    components: int = 0

    def __post_init__(self) -> None:
        if min(self.words, self.chars, self.components) < 0 or self.words + self.chars == 0:
            raise SpaceError(
                "[encoders.tfidf]: words, chars and components must be >= 0, and words or chars positive, "
                f"got words {self.words}, chars {self.chars}, components {self.components}."
            )
        if self.word_ngrams < 1 or self.char_ngrams < 3 or self.min_rows < 1:
            raise SpaceError(
                "[encoders.tfidf]: word_ngrams and min_rows must be >= 1 and char_ngrams >= 3, "
                f"got {self.word_ngrams}, {self.min_rows} and {self.char_ngrams}."
            )

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedTfIdf:
        if deadline.passed():
            raise OutOfTime("tfidf: no time left to start.")
        columns = data.schema.names("text")
        parts, blocks = [], []
        for column in columns:
            texts = _texts(data.frame[column])
            for analyzer, size in (("word", self.words), ("char_wb", self.chars)):
                if size == 0:
                    continue
                counts = count(texts, self.grams(analyzer))
                part = Part.fit(column, analyzer, counts, size=size, min_rows=self.min_rows)
                if part.terms:  # else the texts have no words, or none of them in `min_rows` rows
                    parts.append(part)
                    blocks.append(part.weigh(counts, sublinear=self.sublinear))
        axes = None
        if self.components:
            axes = DenseAxes.fit(
                _joined(blocks, len(data)),
                _statistics(data.frame, columns),
                self.components,
                seed=seed,
                threads=threads,
            )
        return FittedTfIdf(self, columns, parts, axes)

    def grams(self, analyzer: str) -> Grams:
        return Grams(analyzer, 1, self.word_ngrams) if analyzer == "word" else Grams(analyzer, 3, self.char_ngrams)


@dataclass(frozen=True, slots=True)
class Part:
    """One column's vocabulary of words or of characters: the column of each term, in alphabetical order, and its weight."""

    column: str
    analyzer: str
    terms: dict[str, int]
    idf: Floats

    @classmethod
    def fit(cls, column: str, analyzer: str, counts: Counts, *, size: int, min_rows: int) -> Part:
        """Keeps the `size` terms that occur most often, of those which occur in `min_rows` rows."""
        num_rows, num_terms = counts.matrix.shape
        rows_with = np.bincount(counts.matrix.indices, minlength=num_terms)
        occurrences = np.bincount(counts.matrix.indices, weights=counts.matrix.data, minlength=num_terms)
        known = sorted(np.flatnonzero(rows_with >= min_rows).tolist(), key=counts.terms.__getitem__)
        order = np.array(known, dtype=np.int64)
        order = order[np.sort(np.argsort(-occurrences[order], kind="stable")[:size])]
        idf = np.log((1 + num_rows) / (1 + rows_with[order])) + 1
        names = {counts.terms[term]: place for place, term in enumerate(order.tolist())}
        return cls(column, analyzer, names, idf.astype(np.float32))

    def names(self) -> list[str]:
        return [f"{self.column} {self.analyzer} {term}" for term in self.terms]

    def weigh(self, counts: Counts, *, sublinear: bool) -> scipy.sparse.csr_matrix:
        """`(texts, terms)` with rows of length 1, or 0 where a text has no term of this vocabulary."""
        found = counts.matrix
        place = np.fromiter((self.terms.get(term, -1) for term in counts.terms), np.int32, len(counts.terms))
        columns = place[found.indices]
        inside = columns >= 0
        columns, data = columns[inside], found.data[inside]
        starts = np.concatenate([[0], np.cumsum(inside)])[found.indptr]
        data = (np.log(data) + 1 if sublinear else data) * self.idf[columns]
        row = np.repeat(np.arange(found.shape[0]), np.diff(starts))
        lengths = np.sqrt(np.bincount(row, weights=data.astype(np.float64) ** 2, minlength=found.shape[0]))
        data = (data / lengths[row]).astype(np.float32)
        weighed = scipy.sparse.csr_matrix((data, columns, starts), shape=(found.shape[0], len(self.terms)))
        weighed.sort_indices()  # sums over a row then do not depend on which texts were seen before
        return weighed


@dataclass(frozen=True, slots=True)
class DenseAxes:
    """`axes` is `(terms, components)`; `center` and `spread` standardise the statistics of the texts."""

    axes: Floats
    center: Floats
    spread: Floats

    @classmethod
    def fit(
        cls, X: scipy.sparse.csr_matrix, statistics: Floats, components: int, *, seed: int, threads: int
    ) -> DenseAxes:
        from sklearn.utils.extmath import randomized_svd
        from threadpoolctl import threadpool_limits

        with threadpool_limits(threads):
            # 2 power iterations: 4 gained 0.004 AUC on womens_clothing and 0.015 accuracy on rotten_tomatoes, at more cost.
            _, _, axes = randomized_svd(X, min(components, *X.shape), n_iter=2, random_state=seed)
        spread = statistics.std(axis=0)
        return cls(axes.T.astype(np.float32), statistics.mean(axis=0), np.where(spread > 1e-6, spread, np.float32(1)))

    def apply(self, X: scipy.sparse.csr_matrix, statistics: Floats) -> Floats:
        latent = np.asarray(X @ self.axes)
        length = np.sqrt((latent**2).sum(axis=1, keepdims=True))
        latent = latent / np.maximum(length, np.float32(1e-6)) * np.float32(np.sqrt(latent.shape[1]))
        scaled = np.clip((statistics - self.center) / self.spread, -LARGEST_SCALED, LARGEST_SCALED)
        return np.hstack([latent, scaled])


class FittedTfIdf:
    categorical: tuple[int, ...] = ()

    def __init__(self, settings: TfIdf, columns: tuple[str, ...], parts: list[Part], axes: DenseAxes | None) -> None:
        self.settings, self.columns, self.parts, self.axes = settings, columns, parts, axes
        if axes:
            latent = [f"text component {index}" for index in range(axes.axes.shape[1])]
            self.names = (*latent, *(f"{column} {name}" for column in columns for name in STATISTICS))
        else:
            self.names = tuple(name for part in parts for name in part.names()) or ("no words",)

    def transform(self, frame: pd.DataFrame) -> Matrix:
        blocks = []
        for part in self.parts:
            counts = count(_texts(frame[part.column]), self.settings.grams(part.analyzer))
            blocks.append(part.weigh(counts, sublinear=self.settings.sublinear))
        X = _joined(blocks, len(frame))
        if self.axes is None:
            return X
        statistics = of_frame(frame, ("text statistics", self.columns), lambda: _statistics(frame, self.columns))
        return self.axes.apply(X, statistics)

    def save(self, folder: Path) -> None:
        values = {
            "settings": {field: getattr(self.settings, field) for field in TfIdf.__slots__},
            "columns": self.columns,
            "parts": [[part.column, part.analyzer, list(part.terms)] for part in self.parts],
        }
        arrays = {f"idf_{index}": part.idf for index, part in enumerate(self.parts)}
        if self.axes:
            arrays |= {field: getattr(self.axes, field) for field in DenseAxes.__slots__}
        save_state(folder, values, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        values, arrays = load_state(folder)
        settings = TfIdf(**values["settings"])
        parts = []
        for index, (column, analyzer, terms) in enumerate(values["parts"]):
            places = {term: place for place, term in enumerate(terms)}
            parts.append(Part(column, analyzer, places, arrays[f"idf_{index}"]))
        axes = DenseAxes(**{field: arrays[field] for field in DenseAxes.__slots__}) if settings.components else None
        return cls(settings, tuple(values["columns"]), parts, axes)


def _texts(column: pd.Series) -> list[str]:
    return [cell or "" for cell in column.to_numpy()]


def _joined(blocks: list[scipy.sparse.csr_matrix], num_rows: int) -> scipy.sparse.csr_matrix:
    """The blocks side by side; one column of zeros where there are none, since no model takes a width of zero."""
    if not blocks:
        return scipy.sparse.csr_matrix((num_rows, 1), dtype=np.float32)
    return scipy.sparse.csr_matrix(scipy.sparse.hstack(blocks, format="csr"))


def _statistics(frame: pd.DataFrame, columns: tuple[str, ...]) -> Floats:
    """`(rows, columns x STATISTICS)`: counts as log(1 + count), capitals and digits as shares of the characters."""
    values = np.zeros((len(frame), len(columns), len(STATISTICS)), dtype=np.float32)
    for index, column in enumerate(columns):
        for row, text in enumerate(_texts(frame[column])):
            if text:
                counts = np.log1p([len(text), len(text.split()), text.count("!"), text.count("?")])
                shares = sum(map(str.isupper, text)) / len(text), sum(map(str.isdigit, text)) / len(text)
                values[row, index] = (*counts[:2], *shares, *counts[2:])
    return values.reshape(len(frame), -1)
