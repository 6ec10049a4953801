"""The task that a target asks for, its codes, and targets from which nothing can be learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_automl.data.target import encode_target, infer_task, missing_targets
from fusion_automl.errors import DataError
from fusion_automl.task import Task


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        (["no", "yes"] * 3, "binary", ("no", "yes")),
        ([True, False] * 3, "binary", (False, True)),
        (pd.Series([True, False, None] * 3, dtype=object), "binary", (False, True)),
        ([1, 0] * 3, "binary", (0, 1)),
        ([1.0, 0.0, np.nan] * 3, "binary", (0, 1)),
        ([0.5, 1.5] * 3, "binary", (0.5, 1.5)),
        ([5, 1, 2, 4, 3] * 2, "multiclass", (1, 2, 3, 4, 5)),
        (["2", "10", "1"] * 2, "multiclass", ("1", "10", "2")),
        (pd.Categorical(["b", "a", "c"] * 2), "multiclass", ("a", "b", "c")),
        ([1, 2, 3, 3, 2], "regression", ()),  # 1 occurs once
        (list(range(21)) * 2, "regression", ()),
        ([0.1, 0.2, 0.7] * 2, "regression", ()),
        ([str(i / 7) for i in range(30)], "regression", ()),
    ],
)
def test_the_task_follows_from_the_values(values: Any, kind: str, classes: tuple[Any, ...]) -> None:
    task = infer_task(pd.Series(values), "y")
    assert (task.kind, task.classes) == (kind, classes)
    assert [type(label) for label in task.classes] == [type(label) for label in classes]


def test_the_kind_overrules() -> None:
    assert infer_task(pd.Series([1, 2, 3] * 5), "y", kind="regression").kind == "regression"
    assert infer_task(pd.Series(list(range(30)) * 2), "y", kind="multiclass").num_outputs == 30


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([None, None], None, r"target 'y': all 2 values are missing"),
        (["", " "], None, r"target 'y': all 2 values are missing"),
        ([3, 3, 3], None, r"every row has the same value 3; there is nothing to predict"),
        (["a", "a", "b"], None, r"only 1 row for 'b'\. Drop these rows, merge the classes"),
        (
            [f"name {i}" for i in range(30)],
            None,
            r"30 of its 30 classes have a single row, as in a column of identifiers",
        ),
        ([1.5, np.inf, 2.5], None, r"expected a finite number, found (np\.float64\()?inf\)? in row 1"),
        ([0.0, np.inf], None, r"expected a finite number"),
        (["a", "b"] * 2, "regression", r"expected a finite number, found 'a' in row 0"),
        ([1, 2, 3] * 2, "binary", r"expected 2 classes for a binary task, found 3"),
        ([1, 2], "regresion", r"unknown task 'regresion'\. Did you mean 'regression'"),
        (pd.date_range("2024", periods=4), None, r"dates cannot be predicted"),
        ([[1], [2]], None, r"expected a class or a number in each row, found \[1\] in row 0"),
    ],
)
def test_a_target_that_teaches_nothing_is_told(values: Any, kind: str | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        infer_task(pd.Series(values), "y", kind=kind)


def test_one_class_has_one_code_however_it_is_spelled() -> None:
    task = Task("multiclass", "y", (1, 2, 3))
    for values in ([3, 1], [3.0, 1.0], ["3", " 1"], pd.Categorical([3, 1])):
        codes = encode_target(pd.Series(values), task, where="NEW")
        assert codes.dtype == np.int64 and codes.tolist() == [2, 0]
    assert encode_target(
        pd.Series(["False", True], dtype=object), Task("binary", "y", (False, True)), where="NEW"
    ).tolist() == [0, 1]


def test_values_of_a_regression_are_float64() -> None:
    y = encode_target(pd.Series(["1.5", "2"]), Task("regression", "y"), where="NEW")
    assert y.dtype == np.float64 and y.tolist() == [1.5, 2.0]


def test_unseen_classes_and_missing_targets_are_named() -> None:
    task = Task("binary", "y", ("a", "b"))
    with pytest.raises(
        DataError, match=r"^NEW: target 'y' holds 'c', which training did not have\. Known classes: 'a', 'b'"
    ):
        encode_target(pd.Series(["a", "c"]), task, where="NEW")
    with pytest.raises(DataError, match=r"^NEW: target 'y' is missing in row 1"):
        encode_target(pd.Series(["a", None]), task, where="NEW")


def test_blank_words_are_missing() -> None:
    assert missing_targets(pd.Series(["a", " ", None])).tolist() == [False, True, True]
