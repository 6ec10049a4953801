"""No row on two sides of a fold, every class where it is needed, groups kept together, the future kept unseen."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Schema
from fusion_automl.data.split import Fold, choose_num_folds, folds_from_table, make_split, split_table, whole_fold
from fusion_automl.errors import DataError
from fusion_automl.task import Task


def dataset(y: Any, *, groups: Any = None, times: Any = None) -> Dataset:
    y = np.asarray(y)
    task = Task("regression", "y") if y.dtype == float else Task("multiclass", "y", tuple(range(int(y.max()) + 1)))
    return Dataset(
        frame=pd.DataFrame(index=pd.RangeIndex(len(y))),
        schema=Schema(()),
        task=task,
        y=y,
        fingerprint="",
        groups=None if groups is None else np.asarray(groups, dtype=np.int64),
        times=None if times is None else np.asarray(times),
    )


def check(folds: tuple[Fold, ...], rows: int) -> None:
    for fold in folds:
        assert len(fold.fit) and len(fold.holdout) and len(fold.valid)
        assert not set(fold.train) & set(fold.valid)
        assert sorted([*fold.fit, *fold.holdout]) == fold.train.tolist()
        for part in (fold.train, fold.valid, fold.fit, fold.holdout):
            assert part.dtype == np.int64 and (np.diff(part) > 0).all() and part.max() < rows


labels = st.lists(st.integers(2, 25), min_size=2, max_size=6).map(lambda sizes: np.repeat(np.arange(len(sizes)), sizes))


@settings(max_examples=40, deadline=None)
@given(labels, st.integers(1, 7), st.integers(0, 99))
def test_classes_are_in_every_train_fit_and_holdout(y: np.ndarray, num_folds: int, seed: int) -> None:
    y = np.random.default_rng(seed).permutation(y)
    folds = make_split(dataset(y), num_folds=num_folds, seed=seed)
    check(folds, len(y))
    for fold in folds:
        counts = np.bincount(y[fold.train])
        assert set(y[fold.train]) == set(y)
        assert set(y[fold.fit]) == set(y) or counts.max() == 1  # then the holdout must take a class's only row
        assert set(np.flatnonzero(counts >= 2)) <= set(y[fold.holdout])
    if num_folds > 1:
        assert sorted(np.concatenate([fold.valid for fold in folds])) == list(range(len(y)))
        sizes = [len(fold.valid) for fold in folds]
        assert max(sizes) - min(sizes) <= 1


def test_shares_of_classes_are_those_of_the_whole() -> None:
    y = np.repeat([0, 1], [900, 100])
    for fold in make_split(dataset(y), num_folds=5, seed=0):
        assert y[fold.valid].sum() == 20 and len(fold.valid) == 200
        assert y[fold.holdout].sum() == 11 and len(fold.holdout) == 114  # a seventh of 80 and of 800


def test_one_fold_is_an_80_20_split() -> None:
    (fold,) = make_split(dataset(np.arange(100) % 2), num_folds=1, seed=0)
    assert (len(fold.train), len(fold.valid)) == (80, 20)


def test_regression_is_stratified_by_deciles() -> None:
    y = np.random.default_rng(0).exponential(size=500)
    folds = make_split(dataset(y), num_folds=5, seed=0)
    check(folds, 500)
    deciles = np.searchsorted(np.quantile(y, np.arange(0.1, 1, 0.1)), y)
    for fold in folds:
        assert np.bincount(deciles[fold.valid]).tolist() == [10] * 10
        assert set(deciles[fold.holdout]) == set(range(10))


def test_the_seed_decides() -> None:
    data = dataset(np.arange(50) % 3)
    first, again, other = (make_split(data, num_folds=3, seed=seed)[0].valid.tolist() for seed in (1, 1, 2))
    assert first == again != other


@settings(max_examples=40, deadline=None)
@given(st.integers(3, 30), st.integers(1, 6), st.integers(0, 99))
def test_groups_are_never_on_two_sides(num_groups: int, num_folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.concatenate([np.arange(num_groups), rng.integers(0, num_groups, 60)]))
    folds = make_split(dataset(rng.integers(0, 3, len(groups)), groups=groups), num_folds=num_folds, seed=seed)
    check(folds, len(groups))
    for fold in folds:
        assert not set(groups[fold.train]) & set(groups[fold.valid])
        assert not set(groups[fold.fit]) & set(groups[fold.holdout])
    if num_folds > 1:
        assert sorted(np.concatenate([fold.valid for fold in folds])) == list(range(len(groups)))


def test_groups_are_stratified_as_far_as_they_can_be() -> None:
    groups = np.repeat(np.arange(50), 20)
    y = np.repeat(np.arange(50) % 5 == 0, 20).astype(np.int64)  # a fifth of the groups is of the rare class
    for fold in make_split(dataset(y, groups=groups), num_folds=5, seed=0):
        assert len(fold.valid) == 200 and y[fold.valid].sum() == 40


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=8, max_size=60), st.integers(1, 6))
def test_valid_is_always_later_than_train(times: list[int], num_folds: int) -> None:
    moments = np.array(times)
    if len(np.unique(moments)) < 4:
        return
    folds = make_split(dataset(np.arange(len(times)) % 2, times=moments), num_folds=num_folds, seed=0)
    check(folds, len(times))
    for fold in folds:
        assert moments[fold.train].max() < moments[fold.valid].min()
        assert moments[fold.fit].max() <= moments[fold.holdout].min()
    for earlier, later in pairwise(folds):
        assert later.train.tolist() == sorted([*earlier.train, *earlier.valid])


def test_times_are_cut_into_one_stretch_more_than_folds() -> None:
    folds = make_split(dataset(np.arange(60) % 2, times=np.arange(60)[::-1]), num_folds=5, seed=0)
    assert [len(fold.train) for fold in folds] == [10, 20, 30, 40, 50] and folds[0].valid.tolist() == list(
        range(40, 50)
    )
    (fold,) = make_split(dataset(np.arange(60) % 2, times=np.arange(60)), num_folds=1, seed=0)
    assert fold.valid.tolist() == list(range(48, 60))


@pytest.mark.parametrize(
    ("data", "num_folds", "message"),
    [
        (dataset([0, 1, 0]), 2, r"at least 4 rows with a target are needed to learn and to check, found 3"),
        (dataset([0, 1] * 4), 0, r"--folds must be at least 1, got 0"),
        (dataset([0, 1] * 4, groups=[0, 1] * 4), 5, r"--group: at least 3 groups are needed .*found 2"),
        (
            dataset([0] * 9 + [1] * 3, groups=np.arange(12) // 3),
            2,
            r"--group: a fold would learn from .* all of class 0",
        ),
        (dataset([0, 1] * 4, times=[5] * 8), 5, r"--time: at least two different moments are needed"),
    ],
)
def test_too_little_to_split_is_told(data: Dataset, num_folds: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_split(data, num_folds=num_folds, seed=0)


@pytest.mark.parametrize(
    ("rows", "seconds", "expected"),
    [(9, 600, 2), (1000, 60, 5), (1200, 60, 5), (1201, 60, 3), (24000, 60, 3), (24001, 60, 1)],
)
def test_folds_follow_from_rows_and_budget(rows: int, seconds: float, expected: int) -> None:
    assert choose_num_folds(rows, seconds) == expected


@pytest.mark.parametrize("times", [None, np.arange(30)])
def test_a_split_comes_back_from_its_table(times: Any) -> None:
    folds = make_split(dataset(np.arange(30) % 3, times=times), num_folds=3, seed=0)
    table = split_table(folds, 30)
    assert table.num_rows == 30 and table.column_names == ["fold_0", "fold_1", "fold_2"]
    again = folds_from_table(table)
    for before, after in zip(folds, again, strict=True):
        for part in ("train", "valid", "fit", "holdout"):
            found = getattr(after, part)
            assert found.dtype == np.int64 and found.tolist() == getattr(before, part).tolist()


def test_the_whole_fold_learns_from_every_row_and_holds_out_as_the_folds_do() -> None:
    y = np.repeat([0, 1], [50, 20])
    plain = whole_fold(dataset(y), seed=3)
    assert plain.train.tolist() == list(range(70))
    assert sorted([*plain.fit, *plain.holdout]) == plain.train.tolist()
    assert np.bincount(y[plain.holdout]).tolist() == [7, 3]
    groups = np.arange(70) // 5
    grouped = whole_fold(dataset(y, groups=groups), seed=3)
    assert not set(groups[grouped.fit]) & set(groups[grouped.holdout])
    times = np.arange(70)[::-1]
    in_time = whole_fold(dataset(y, times=times), seed=3)
    assert len(in_time.holdout) == 10 and times[in_time.holdout].min() > times[in_time.fit].max()
