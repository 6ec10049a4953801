"""Spaces as users write them: what is read, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion_automl.candidate import Spec
from fusion_automl.classical.lightgbm import LightGBM
from fusion_automl.errors import SpaceError
from fusion_automl.search.read import read_space
from fusion_automl.search.values import Choice, Fixed, FloatRange, IntRange
from tests.search.spaces import small_space, write


def test_values_are_read_in_the_type_of_the_default(tmp_path: Path) -> None:
    space = small_space(tmp_path)
    assert space.tables["classical"]["lightgbm"] == {
        "num_leaves": IntRange(4, 64, log=True),
        "learning_rate": FloatRange(0.01, 0.3, log=True),
        "extra_trees": Choice((False, True)),
        "n_estimators": Fixed(100),
    }
    alpha = space.tables["classical"]["ridge"]["alpha"]
    assert isinstance(alpha, FloatRange) and type(alpha.high) is float
    assert space.tables["encoder"]["series_stats"] == {}


def test_a_portfolio_line_gets_the_defaults_of_all_that_is_searched(tmp_path: Path) -> None:
    first = small_space(tmp_path).entries[0].candidate
    assert first.classical == Spec.of(
        "lightgbm",
        num_leaves=31,
        learning_rate=LightGBM().learning_rate,
        extra_trees=LightGBM().extra_trees,
        n_estimators=100,
    )
    assert [spec.name for spec in first.encoders] == ["ordinal", "pixels", "series_stats", "minirocket"]


MISTAKES = [
    (
        "num_leaves = {int = [4, 64], log = true}",
        "num_leavs = 3",
        "[classical.lightgbm]: unknown hyperparameter 'num_leavs'. Did you mean 'num_leaves'? Known: colsample_bytree,",
    ),
    ("[classical.ridge]", "[classical.rigde]", "[classical.rigde]: unknown name 'rigde'. Did you mean 'ridge'?"),
    ("[fusion.average]", "[fusions.average]", "unknown table 'fusions'. Did you mean 'fusion'?"),
    (
        "{int = [4, 64], log = true}",
        "{int = [64, 4]}",
        "[classical.lightgbm] num_leaves: int needs [low, high] with low < high, got [64, 4].",
    ),
    ("{int = [4, 64], log = true}", "{int = [0, 64], log = true}", "true only where low > 0"),
    ("{int = [4, 64], log = true}", "{float = [4, 64]}", "so float is not a range of it, got {'float': [4, 64]}."),
    (
        "{int = [4, 64], log = true}",
        "{int = [4.5, 64]}",
        f"num_leaves: expected int like {LightGBM().num_leaves}, got 4.5.",
    ),
    ("{int = [4, 64], log = true}", "{choice = [31, 31]}", "a choice needs different values"),
    ("{int = [4, 64], log = true}", "{choise = [31]}", "unknown key 'choise'. Did you mean 'choice'?"),
    (
        "n_estimators = 100",
        'n_estimators = "100"',
        f"n_estimators: expected int like {LightGBM().n_estimators}, got '100'.",
    ),
    (
        "n_estimators = 100",
        "n_estimators = true",
        f"n_estimators: expected int like {LightGBM().n_estimators}, got True.",
    ),
    (
        "num_leaves = 31",
        "num_leaves = 65",
        "[[portfolio]] 1 classical: lightgbm.num_leaves: 65 is not in [classical.lightgbm]: 4 .. 64 (log).",
    ),
    (
        "{float = [0.01, 0.3], log = true}",
        "{float = [0.8, 0.9]}",
        "[[portfolio]] 1 classical: lightgbm.learning_rate: the default "
        f"{LightGBM().learning_rate} is not in [classical.lightgbm]: 0.8 .. 0.9.",
    ),
    (
        "num_leaves = 31",
        "subsample = 0.5",
        "[[portfolio]] 1 classical: unknown hyperparameter in [classical.lightgbm] 'subsample'.",
    ),
    ('classical = "logistic"', 'classical = "knn"', "here [classical.knn]."),
    ('tabular = "ordinal"', 'text = "ordinal"', "encoders text: ordinal is for tabular, not for text."),
    ('tabular = "ordinal"', 'table = "ordinal"', "encoders: unknown modality 'table'."),
    ('target = "log"', 'target = "lgo"', "[[portfolio]] 3 target: unknown target 'lgo'. Did you mean 'log'?"),
    ('"binary", "multiclass"]', '"binry"]', "[[portfolio]] 5 tasks: unknown task 'binry'. Did you mean 'binary'?"),
    ("max_rows = 5000", "max_rows = 0", "[[portfolio]] 7: max_rows must be a whole number above 0, got 0."),
    (
        'fusion = "backbone"',
        'fusion = "deep_features"',
        "[[portfolio]] 4 (deep_features): classical is missing. "
        "Allowed: backbones, balance, classical, encoders, fusion, target.",
    ),
    (
        'fusion = "concat"',
        'fusion = "backbone"',
        "[[portfolio]] 1 (backbone): backbones is missing.",
    ),
    (
        'encoders = {series = "minirocket"}, classical = "lightgbm"',
        'encoders = {series = "minirocket"}, classical = "ridge"',
        "members must differ in fusion or model, got concat ridge, concat ridge, backbone text_cnn.",
    ),
    ('name = "small"', "name = 3", "name must be a text, got 3."),
    ('name = "small"', "name = ", "expected a TOML file, but Invalid value"),
]


@pytest.mark.parametrize(("found", "written", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_a_mistake_is_named_with_its_place(tmp_path: Path, found: str, written: str, message: str) -> None:
    path = write(tmp_path, replace=(found, written))
    with pytest.raises(SpaceError) as caught:
        read_space(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


def test_unknown_names_and_missing_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SpaceError, match=r"--space: unknown space 'defalt'\. Did you mean 'default'\?"):
        read_space("defalt")
    with pytest.raises(SpaceError, match=r"gone\.toml: the search space cannot be read \(No such file or directory\)"):
        read_space(tmp_path / "gone.toml")
