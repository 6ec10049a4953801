"""From a source to a dataset: what is used, what is dropped, what is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_automl.data.prepare import prepare, prepare_rows
from fusion_automl.errors import DataError

FRAME = pd.DataFrame(
    {
        "id": range(8),
        "size": [1.5, 2.5, np.inf, 4, 5, 6, 7, 8],
        "colour": ["red", None] * 4,
        "who": ["a", "a", "b", "b", "c", "c", "d", "d"],
        "day": pd.date_range("2024-01-01", periods=8),
        "y": ["no", "yes"] * 3 + [None, ""],
    }
)


def test_a_dataset_is_made_and_what_was_decided_is_told() -> None:
    prepared = prepare(FRAME, target="y", ignore=["day"], group="who")
    dataset = prepared.dataset
    assert list(dataset.frame.columns) == ["size"] and dataset.schema.names("identifier") == ("id",)
    assert dataset.y.tolist() == [0, 1, 0, 1, 0, 1] and dataset.task.classes == ("no", "yes")
    assert dataset.groups is not None and dataset.groups.tolist() == [0, 0, 1, 1, 2, 2] and dataset.times is None
    assert np.isnan(dataset.frame["size"].iloc[2])
    assert prepared.notes == (
        "2 of 8 rows have no value in the target 'y' and are left out.",
        "Not used, because identifier: id.",
        "Not used, because constant: colour.",
    )


@pytest.mark.parametrize("values", [FRAME["day"], FRAME["day"].astype(str), FRAME["id"]])
def test_times_keep_their_order(values: pd.Series) -> None:
    times = prepare(FRAME.assign(when=values[::-1].to_numpy()), target="y", time="when").dataset.times
    assert times is not None and (np.diff(times) < 0).all()


def test_overrides_go_first(tmp_path: Path) -> None:
    path = tmp_path / "columns.toml"
    path.write_text('[columns]\nid = "category"\ny = "category"\n[target]\ntask = "regression"\n')
    dataset = prepare(FRAME.assign(y=range(8)), target="y", overrides=path).dataset
    assert dataset.task.kind == "regression" and dataset.frame["id"].tolist()[:2] == ["0", "1"]


def test_the_fingerprint_is_that_of_the_content() -> None:
    def fingerprint(**changes: Any) -> str:
        return prepare(FRAME.assign(**changes), target="y").dataset.fingerprint

    base = fingerprint()
    assert base == fingerprint() and len(base) == 16
    changed = [
        fingerprint(size=[*FRAME["size"][:-3], 6.5, 7, 8]),
        fingerprint(y=FRAME["y"].iloc[[1, 0, 2, 3, 4, 5, 6, 7]].to_numpy()),
        fingerprint(who=["a", "a", "b", "b", "c", "cc", "d", "d"]),
        fingerprint(curve=[[1.0, 2.0], [3.0], *[[0.5]] * 6]),
        fingerprint(curve=[[1.0], [2.0, 3.0], *[[0.5]] * 6]),
    ]
    assert len({base, *changed}) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "yy"}, r"^DATA: unknown target column 'yy'\. Did you mean 'y'"),
        ({"target": "y", "ignore": ["colur"]}, r"^--ignore: unknown column 'colur'\. Did you mean 'colour'"),
        ({"target": "y", "group": "whom"}, r"^--group: unknown column 'whom'\. Did you mean 'who'"),
        ({"target": "y", "time": "dya"}, r"^--time: unknown column 'dya'\. Did you mean 'day'"),
        ({"target": "y", "group": "y"}, r"^--group: 'y' is the target"),
        ({"target": "y", "group": "colour"}, r"^--group: column 'colour' names no group in row 1"),
        ({"target": "y", "time": "colour"}, r"^--time: column 'colour' must hold a number or an ISO date"),
        (
            {"target": "y", "ignore": ["size", "who", "day"]},
            r"no column to learn from is left\. Found: 'id' is identifier",
        ),
        ({"target": "y", "ignore": ["id", "size", "colour", "who", "day"]}, r"There is none besides the target"),
        (
            {"target": "y", "overrides": {"who": "numeric"}},
            r"column 'who', row 0 and 5 more rows.*expected a number, found 'a'",
        ),
        ({"target": "y", "overrides": {"whom": "numeric"}}, r"^\[columns\]: unknown column 'whom'"),
    ],
)
def test_wrong_arguments_are_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(FRAME, **arguments)


def test_rows_to_predict_on_need_no_target() -> None:
    dataset = prepare(FRAME, target="y").dataset
    new = FRAME.drop(columns=["y", "id"])
    frame, y = prepare_rows(new, dataset.schema, dataset.task, where="NEW")
    assert y is None and list(frame.columns) == list(dataset.frame.columns) and len(frame) == 8
    assert len(prepare_rows(new.iloc[:0], dataset.schema, dataset.task, where="NEW")[0]) == 0
    assert len(prepare_rows(new.iloc[:1], dataset.schema, dataset.task, where="NEW")[0]) == 1


def test_rows_to_evaluate_on_bring_targets_which_training_had() -> None:
    dataset = prepare(FRAME, target="y").dataset
    _, y = prepare_rows(FRAME.iloc[:2], dataset.schema, dataset.task, where="NEW")
    assert y is not None and y.tolist() == [0, 1]
    unseen = FRAME.iloc[:2].assign(y=["no", "maybe"])
    with pytest.raises(DataError, match=r"^NEW: target 'y' holds 'maybe', which training did not have"):
        prepare_rows(unseen, dataset.schema, dataset.task, where="NEW")
    assert prepare_rows(unseen, dataset.schema, dataset.task, where="NEW", with_target=False)[1] is None


def test_a_column_missing_in_new_rows_is_named() -> None:
    dataset = prepare(FRAME, target="y").dataset
    with pytest.raises(DataError, match=r"^NEW: a column is missing: unknown column 'size'"):
        prepare_rows(FRAME.iloc[:2].drop(columns="size"), dataset.schema, dataset.task, where="NEW")
