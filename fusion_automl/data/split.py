"""Which rows a candidate learns from and which it is judged on; the same for all candidates of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fusion_automl.data.dataset import Dataset
from fusion_automl.errors import DataError

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

MIN_ROWS = 4
"""With fewer, a fold's train part could not be divided into fit and holdout."""
NUM_HOLDOUT_PARTS = 7
"""One part in seven (14 %) of a fold's train rows is its holdout."""
NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class Fold:
    """Sorted row numbers: `train` and `valid` of the fold, and `train` divided again into `fit` and `holdout`.

    The holdout is for early stopping and for weighing inside a candidate; `valid` only for judging it.
    """

    train: Rows
    valid: Rows
    fit: Rows
    holdout: Rows


def choose_num_folds(rows: int, budget_seconds: float) -> int:
    """5 folds up to 20 rows per second of budget, 3 up to 400, else one 80/20 split; 2 where rows are under 10."""
    if rows < 10:
        return 2
    work = rows / budget_seconds
    return 5 if work <= 20 else 3 if work <= 400 else 1


def make_split(dataset: Dataset, *, num_folds: int, seed: int) -> tuple[Fold, ...]:
    """Folds that are stratified (by class, or by decile of a regression's target), grouped, or ordered in time.

    With groups, no group is on both sides of a fold or of its holdout, times are not looked at, and 2 folds become 3.
    With times alone, the table is cut into `num_folds` + 1 stretches; each but the first is predicted from all before
    it, so the first is never in a `valid`; the holdout is the latest part of train. `num_folds=1` is one 80/20 split.
    There are fewer folds than asked for where rows, groups or moments do not suffice. Raises DataError where not even
    one can be made.
    """
    if num_folds < 1:
        raise DataError(f"--folds must be at least 1, got {num_folds}.")
    if len(dataset) < MIN_ROWS:
        raise DataError(
            f"at least {MIN_ROWS} rows with a target are needed to learn and to check, found {len(dataset)}."
        )
    rng = np.random.default_rng([seed, 1])
    if dataset.groups is not None:
        return _both_classes(dataset, _grouped(dataset.groups, _strata(dataset), num_folds, rng))
    if dataset.times is not None:
        return _in_time(dataset.times, num_folds)
    return _stratified(_strata(dataset), num_folds, rng)


def whole_fold(dataset: Dataset, *, seed: int) -> Fold:
    """A fold that learns from every row, for a candidate that is chosen already.

    Its holdout is drawn as in `make_split`; `valid` is that holdout, so nothing can be judged on it.
    """
    rng = np.random.default_rng([seed, 2])
    if dataset.groups is not None:
        held = _hold_groups(dataset.groups, _strata(dataset), rng)
    elif dataset.times is not None:
        held = np.zeros(len(dataset), dtype=bool)
        held[np.argsort(dataset.times, kind="stable")[-max(1, round(len(dataset) / NUM_HOLDOUT_PARTS)) :]] = True
    else:
        held = _share_of_each(_strata(dataset), rng)
    rows = np.arange(len(dataset))
    return Fold(train=rows, valid=rows[held], fit=rows[~held], holdout=rows[held])


def _both_classes(dataset: Dataset, folds: tuple[Fold, ...]) -> tuple[Fold, ...]:
    """The folds as they are. Raises DataError where one would have to learn from rows of a single class."""
    if dataset.task.is_classification:
        for fold in folds:
            present = np.unique(dataset.y[fold.fit])
            if len(present) < 2:
                raise DataError(
                    f"--group: a fold would learn from {len(fold.fit)} rows that are all of class "
                    f"{dataset.task.classes[int(present[0])]!r}, because the other classes lie together in too few groups. "
                    "Leave --group out, or bring more groups with those classes."
                )
    return folds


def _strata(dataset: Dataset) -> Rows:
    """`(rows,)`: class codes, or the decile in which a regression's target lies."""
    if dataset.task.is_classification:
        return dataset.y.astype(np.int64)
    rank = np.argsort(np.argsort(dataset.y, kind="stable"), kind="stable")
    num_bins = max(1, min(NUM_BINS, len(dataset) // 4))
    return (rank * num_bins // len(dataset)).astype(np.int64)


def _stratified(strata: Rows, num_folds: int, rng: np.random.Generator) -> tuple[Fold, ...]:
    rows = np.arange(len(strata))
    parts = min(num_folds if num_folds > 1 else 5, len(strata) // 2)
    part_of = _deal(strata, parts, rng)

    def divide(train: Rows) -> Mask:
        return _share_of_each(strata[train], rng)

    numbers = range(parts if num_folds > 1 else 1)
    return tuple(_fold(rows[part_of != part], rows[part_of == part], divide) for part in numbers)


def _deal(strata: Rows, parts: int, rng: np.random.Generator) -> Rows:
    """Deals the rows like cards, stratum after stratum, so that the two rows of a small class never share a part."""
    order = np.lexsort((rng.random(len(strata)), strata))
    part_of = np.empty(len(strata), dtype=np.int64)
    part_of[order] = rng.permutation(parts)[np.arange(len(strata)) % parts]
    return part_of


def _share_of_each(strata: Rows, rng: np.random.Generator) -> Mask:
    """True for a seventh of each stratum, at least one row of each that has two; never for all rows, never for none."""
    order = np.lexsort((rng.random(len(strata)), strata))
    _, starts, counts = np.unique(strata[order], return_index=True, return_counts=True)
    held = np.zeros(len(strata), dtype=bool)
    for start, count in zip(starts, counts, strict=True):
        num_held = max(1, round(count / NUM_HOLDOUT_PARTS)) if count > 1 else 0
        held[order[start : start + num_held]] = True
    if not held.any():
        held[order[0]] = True
    return held


def _fold(train: Rows, valid: Rows, divide: Callable[[Rows], Mask]) -> Fold:
    held = divide(train)
    return Fold(train=train, valid=valid, fit=train[~held], holdout=train[held])


def _grouped(groups: npt.NDArray[np.int64], strata: Rows, num_folds: int, rng: np.random.Generator) -> tuple[Fold, ...]:
    rows = np.arange(len(groups))
    num_groups = len(np.unique(groups))
    if num_groups < 3:
        raise DataError(f"--group: at least 3 groups are needed (to fit, to hold out, to check), found {num_groups}.")
    # Three parts at least, so that train always has two groups, one of them for the holdout.
    parts = min(max(num_folds, 3) if num_folds > 1 else 5, num_groups)
    part_of = _deal_groups(groups, strata, parts, rng)

    def divide(train: Rows) -> Mask:
        return _hold_groups(groups[train], strata[train], rng)

    numbers = range(parts if num_folds > 1 else 1)
    return tuple(_fold(rows[part_of != part], rows[part_of == part], divide) for part in numbers)


def _hold_groups(groups: npt.NDArray[np.int64], strata: Rows, rng: np.random.Generator) -> Mask:
    """True for the rows of about a seventh, in whole groups."""
    return _deal_groups(groups, strata, min(NUM_HOLDOUT_PARTS, len(np.unique(groups))), rng) == 0


def _deal_groups(groups: npt.NDArray[np.int64], strata: Rows, parts: int, rng: np.random.Generator) -> Rows:
    """Puts whole groups, the largest first, where they keep the parts' sizes and shares of each stratum most even."""
    _, group_of = np.unique(groups, return_inverse=True)
    _, stratum_of = np.unique(strata, return_inverse=True)
    counts = np.zeros((group_of.max() + 1, stratum_of.max() + 2))
    np.add.at(counts, (group_of, stratum_of), 1.0)
    counts[:, -1] = counts.sum(axis=1)
    shares = counts / counts.sum(axis=0)
    part_of_group = np.empty(len(counts), dtype=np.int64)
    loads = np.zeros((parts, counts.shape[1]))
    num_free = parts
    for position, group in enumerate(np.lexsort((rng.random(len(counts)), -counts[:, -1]))):
        cost = loads @ shares[group]
        num_left = len(counts) - position
        if num_left <= num_free:  # every part gets a group
            cost = np.where(loads[:, -1] > 0, np.inf, cost)
        part = int(np.argmin(cost))
        num_free -= loads[part, -1] == 0
        part_of_group[group] = part
        loads[part] += shares[group]
    return rng.permutation(parts)[part_of_group][group_of]


def _in_time(times: npt.NDArray[np.int64] | npt.NDArray[np.float64], num_folds: int) -> tuple[Fold, ...]:
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    rows = len(times)
    wanted = [rows * 0.8] if num_folds == 1 else [rows * part / (num_folds + 1) for part in range(1, num_folds + 1)]
    # A cut stands where the moment changes, else rows of one moment would be on both sides.
    changes = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    changes = changes[changes >= 2]
    if not len(changes):
        raise DataError("--time: at least two different moments are needed, with two rows before the last of them.")
    cuts = np.unique([changes[np.argmin(np.abs(changes - cut))] for cut in wanted]).tolist()
    folds = []
    for cut, end in zip(cuts, [*cuts[1:], rows], strict=True):
        num_held = max(1, round(cut / NUM_HOLDOUT_PARTS))
        fit, holdout = order[: cut - num_held], order[cut - num_held : cut]
        folds.append(Fold(np.sort(order[:cut]), np.sort(order[cut:end]), np.sort(fit), np.sort(holdout)))
    return tuple(folds)


def split_table(folds: Sequence[Fold], rows: int) -> pa.Table:
    """One line a row, one column a fold: `fit`, `holdout`, `valid`, or null where the fold does not use the row."""
    columns = {}
    for number, fold in enumerate(folds):
        part = np.full(rows, None, dtype=object)
        part[fold.fit], part[fold.holdout], part[fold.valid] = "fit", "holdout", "valid"
        columns[f"fold_{number}"] = pa.array(part, pa.string())
    return pa.table(columns)


def folds_from_table(table: pa.Table) -> tuple[Fold, ...]:
    """The folds that `split_table` wrote down."""
    folds = []
    for column in table.columns:
        part = column.to_numpy()
        fit, holdout, valid = (np.flatnonzero(part == name) for name in ("fit", "holdout", "valid"))
        folds.append(Fold(train=np.sort(np.concatenate([fit, holdout])), valid=valid, fit=fit, holdout=holdout))
    return tuple(folds)
