"""What is inferred from real tables, against what their index says of them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from fusion_automl.data.infer import infer_schema
from fusion_automl.data.prepare import prepare
from fusion_automl.data.read import read_table

# The two graph datasets are left out: lists of edges are series to a table.
TABLES = [
    "adult", "ames_housing", "cifar10n", "credit_default", "fashion_mnist", "german_credit", "houses", "mfeat",
    "pneumonia_mnist", "rotten_tomatoes", "skab", "ts_basicmotions", "ts_gunpoint", "ts_italypowerdemand",
    "womens_clothing",
]  # fmt: skip
ROW_NUMBERS = {"houses": ("house",), "cifar10n": ("cifar_index",)}
CODES = {"womens_clothing": ("Clothing ID",), "houses": ("zipcode",), "ames_housing": ("MS_SubClass",)}


@pytest.mark.parametrize("name", TABLES)
def test_kinds_match_the_index(shared_data: Path, name: str) -> None:
    about = json.loads((shared_data / "INDEX.json").read_text())[name]
    schema = infer_schema(read_table(shared_data / name / "train.parquet"), exclude=[about["target"]])
    assert schema.names("text") == tuple(about.get("text", ()))
    assert schema.names("image") == tuple(about.get("image", ()))
    assert schema.names("series") == tuple(about.get("series", ()))
    assert schema.names("identifier") == ROW_NUMBERS.get(name, ())
    assert set(CODES.get(name, ())) <= set(schema.names("category"))
    assert schema.names("constant") == ()


@pytest.mark.parametrize("name", TABLES)
def test_tasks_match_the_index(shared_data: Path, name: str) -> None:
    about = json.loads((shared_data / "INDEX.json").read_text())[name]
    # A rating from 1 to 5 is classes by our rule, and an anomaly flag is a binary target.
    expected = {"womens_clothing": "multiclass", "skab": "binary"}.get(name, about["task"])
    dataset = prepare(shared_data / name / "train.parquet", target=about["target"]).dataset
    assert dataset.task.kind == expected and len(dataset) == about["train"]


def test_preparing_18_000_texts_takes_seconds_at_most(shared_data: Path) -> None:
    started = time.perf_counter()
    prepare(shared_data / "womens_clothing" / "train.parquet", target="Rating")
    assert time.perf_counter() - started < 4  # 0.4 s on an idle core
