"""What each column of a row added to its prediction: Shapley values, with a missing cell where a column is left out.

`v(S)` is what the model predicts when it is told the columns in S alone and every other cell is missing, which it can
predict on as any service of it does. A column's value is the mean, over orders of the columns, of what `v` gains when the
column joins those before it; the values and `v(no columns)` add up to the prediction. All orders are taken where there are
at most `EXACT_COLUMNS` columns; beyond that a fixed sample of them, each with its reverse (Štrumbelj and Kononenko 2014,
"Explaining prediction models and individual predictions with feature contributions"; Mitchell et al. 2022, "Sampling
permutations for Shapley value estimation"). No training row is kept for it. The price: where a value was never missing in
training, what a model makes of a missing one is its own habit.

The library `shap` fills in numbers from other rows, needs a masker of one's own for columns of text, images and series, and
brings numba; what is left of it to use is the few lines below.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.artifact import Artifact
from fusion_automl.data.conform import Columns, as_frame, conform_columns, num_rows
from fusion_automl.data.plain import from_plain
from fusion_automl.data.schema import Schema

EXACT_COLUMNS = 7
"""Of so many there are 5,040 orders but only 128 sets, and the sets are what the model is asked for."""
SETS_PER_ROW = 256
"""About how many the orders of a sample may have together."""
METHOD_EXACT = "Shapley values over all orders of the columns"
METHOD_SAMPLED = "Shapley values over {count} sampled orders of the columns"
BASELINE = "every column missing"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coalitions:
    """The sets of columns that a model has to be asked for, the same for every row; the first has none, the last has all.

    `told` is `(sets, columns)`; `weights` `(columns, sets)` turns what the model said of the sets into each column's value.
    """

    columns: tuple[str, ...]
    method: str
    told: npt.NDArray[np.bool_]
    weights: Floats

    def rows(self, columns: Columns, schema: Schema) -> Columns:
        """Each row of conformed `columns` once for each set, cells missing that the set does not have."""
        missing = conform_columns(from_plain([dict.fromkeys(self.columns)], schema), schema, where="baseline")
        count = num_rows(columns)
        own = np.repeat(np.arange(count), len(self.told))
        asked = {}
        for position, name in enumerate(self.columns):
            cells = np.concatenate([columns[name], missing[name]])
            asked[name] = cells[np.where(np.tile(self.told[:, position], count), own, count)]
        return asked

    def values(self, outputs: Floats) -> Floats:
        """`(rows, columns, outputs)` from what the model said of `rows`, which is `(rows x sets, outputs)`."""
        by_set = outputs.reshape(-1, len(self.told), outputs.shape[1])
        return np.einsum("cs,rso->rco", self.weights, by_set)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Of one row: its prediction; the number that is explained, which is the probability of that class or the value itself;
    what that number is when every column is missing; and what each column added, which sums to the difference."""

    prediction: str | int | float | bool
    value: float
    base: float
    contributions: dict[str, float]


def explain(artifact: Artifact, frame: pd.DataFrame) -> list[Explanation]:
    """An explanation of each row of a conformed `frame`."""
    schema = artifact.manifest.schema
    asked = coalitions_of(schema.used)
    rows = asked.rows({name: frame[name].to_numpy() for name in schema.used}, schema)
    return explanations(artifact, asked, artifact.run(as_frame(rows, num_rows(rows))))


def explanations(artifact: Artifact, asked: Coalitions, outputs: Floats) -> list[Explanation]:
    """The same from what the model said of `asked.rows`."""
    outputs = outputs[:, : artifact.manifest.task.num_outputs]  # without the ends of an interval
    by_set = outputs.reshape(-1, len(asked.told), outputs.shape[1])
    values = asked.values(outputs)
    found = []
    for row, label in enumerate(artifact.labels(by_set[:, -1])):
        at = artifact.manifest.task.classes.index(label) if artifact.manifest.task.is_classification else 0
        added = dict(zip(asked.columns, values[row, :, at].tolist(), strict=True))
        found.append(Explanation(label, float(by_set[row, -1, at]), float(by_set[row, 0, at]), added))
    return found


def coalitions_of(columns: tuple[str, ...]) -> Coalitions:
    """Which sets of columns to ask for, and how to weigh the answers; the same for the same columns."""
    orders = _orders(len(columns))
    # A set is the number whose bits are its columns, so that of all sorted the empty one is first and the full one last.
    paths = [(order, [0, *itertools.accumulate(1 << column for column in order)]) for order in orders]
    sets = sorted({told for _, path in paths for told in path})
    at = {told: position for position, told in enumerate(sets)}
    weights = np.zeros((len(columns), len(sets)))
    for order, path in paths:
        for column, (before, after) in zip(order, itertools.pairwise(path), strict=True):
            weights[column, at[after]] += 1
            weights[column, at[before]] -= 1
    weights /= len(orders)
    told = np.array([[bool(one >> column & 1) for column in range(len(columns))] for one in sets])
    exact = len(columns) <= EXACT_COLUMNS
    return Coalitions(columns, METHOD_EXACT if exact else METHOD_SAMPLED.format(count=len(orders)), told, weights)


def _orders(num_columns: int) -> list[tuple[int, ...]]:
    if num_columns <= EXACT_COLUMNS:
        return list(itertools.permutations(range(num_columns)))
    rng = np.random.default_rng([0, num_columns])
    drawn = [tuple(rng.permutation(num_columns).tolist()) for _ in range(max(1, SETS_PER_ROW // (2 * num_columns)))]
    return [order for one in drawn for order in (one, one[::-1])]
