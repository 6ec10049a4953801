"""What every classical model promises, over each task it can do, and dense, CSR and joined matrices."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse

from fusion_automl.candidate import Spec
from fusion_automl.classical import CLASSICAL, FittedClassical
from fusion_automl.component import build, component_class, hyperparameters
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.metrics import metric_for
from fusion_automl.task import TaskKind
from tests.contracts.matrices import CATEGORICAL, LAYOUTS, Layout, make_rows
from tests.contracts.rows import TASKS

SAVED_LAYOUTS: tuple[Layout, ...] = ("codes", "joined")
CASES = [
    (name, kind)
    for name in CLASSICAL
    for kind in TASKS
    if kind in component_class(CLASSICAL, name, where="classical").tasks
]
LEARNERS = [name for name in CLASSICAL if name != "prior"]
"""`prior` is what remains when there is no time and nothing to learn: it never refuses."""
FEWER_ROUNDS: dict[str, dict[str, Any]] = {
    "random_forest": {"n_estimators": 50},
    "extra_trees": {"n_estimators": 50},
    "adaboost": {"n_estimators": 20},
    "hist_boosting": {"max_iter": 60},
    "catboost": {"iterations": 150},
}
"""Than by default, for the suite to take a minute."""
INTERRUPTIBLE = {
    "random_forest": {"n_estimators": 100_000},
    "extra_trees": {"n_estimators": 100_000},
    "adaboost": {"n_estimators": 100_000},
    "hist_boosting": {"max_iter": 100_000},
    "xgboost": {"n_estimators": 100_000},
    "lightgbm": {"n_estimators": 100_000},
    "catboost": {"iterations": 100_000},
    "mlp": {"max_epochs": 100_000},
}
OTHER_VALUES: dict[str, dict[str, Any]] = {
    "prior": {},
    "logistic": {"C": 0.01, "class_weight": "balanced"},
    "ridge": {"alpha": 100.0},
    "decision_tree": {"max_depth": 1, "min_samples_leaf": 5},
    "random_forest": {"n_estimators": 7, "min_samples_leaf": 10, "max_features": 1.0},
    "extra_trees": {"n_estimators": 7, "min_samples_leaf": 10, "max_features": 1.0},
    "linear_svm": {"C": 0.001},
    "kernel_svm": {"C": 0.1, "gamma": 2.0},
    "naive_bayes": {"alpha": 5.0, "var_smoothing": 1.0},
    "knn": {"n_neighbors": 3, "weights": "uniform", "metric": "manhattan"},
    "adaboost": {"n_estimators": 5, "learning_rate": 0.05, "max_depth": 1},
    "hist_boosting": {
        "learning_rate": 0.2,
        "max_iter": 3,
        "max_leaf_nodes": 3,
        "min_samples_leaf": 40,
        "l2_regularization": 30.0,
        "early_stopping": False,
    },
    "xgboost": {
        "n_estimators": 3,
        "learning_rate": 0.2,
        "max_depth": 1,
        "min_child_weight": 20.0,
        "subsample": 0.3,
        "colsample_bytree": 1.0,
        "reg_lambda": 30.0,
        "early_stopping": False,
    },
    "lightgbm": {
        "n_estimators": 3,
        "learning_rate": 0.2,
        "num_leaves": 2,
        "min_child_samples": 50,
        "colsample_bytree": 0.2,
        "subsample": 0.3,
        "reg_lambda": 30.0,
        "extra_trees": True,
        "early_stopping": False,
    },
    "catboost": {
        "iterations": 3,
        "learning_rate": 0.3,
        "depth": 2,
        "l2_leaf_reg": 30.0,
        "random_strength": 10.0,
        "early_stopping": False,
    },
    "mlp": {
        "hidden_size": 8,
        "num_layers": 2,
        "alpha": 1.0,
        "learning_rate_init": 0.03,
        "batch_size": 16,
        "max_epochs": 2,
        "early_stopping": False,
    },
}


def fit(name: str, kind: TaskKind, X: Matrix, y: npt.NDArray[Any], layout: Layout, **params: Any) -> FittedClassical:
    model = build(CLASSICAL, Spec.of(name, **params), where="classical")
    fitted: FittedClassical = model.fit(
        X, y, task=TASKS[kind], categorical=CATEGORICAL[layout], seed=0, deadline=Deadline.never(), threads=1
    )
    return fitted


@cache
def fitted_on(name: str, kind: TaskKind, layout: Layout, rows: int = 60) -> FittedClassical:
    return fit(name, kind, *make_rows(kind, layout, rows), layout, **FEWER_ROUNDS.get(name, {}))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_predictions_have_the_shape_of_the_task(name: str, kind: TaskKind, layout: Layout) -> None:
    X, _ = make_rows(kind, layout)
    predictions = fitted_on(name, kind, layout).predict(X)
    assert predictions.shape == (60, TASKS[kind].num_outputs)
    assert predictions.dtype == np.float64
    assert np.isfinite(predictions).all()
    if kind != "regression":
        assert predictions.min() >= 0 and predictions.max() <= 1
        np.testing.assert_allclose(predictions.sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "kind"), [case for case in CASES if case[0] != "prior"])
def test_new_rows_are_predicted_far_better_than_by_the_prior(name: str, kind: TaskKind, layout: Layout) -> None:
    X, y = make_rows(kind, layout, rows=200, seed=1)
    metric = metric_for(TASKS[kind], "r2" if kind == "regression" else "accuracy")
    score = metric.value(y, fitted_on(name, kind, layout, 240).predict(X))
    prior = metric.value(y, fitted_on("prior", kind, layout, 240).predict(X))
    assert score > prior + 0.15


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_the_same_seed_gives_the_same_predictions(name: str, kind: TaskKind) -> None:
    X, y = make_rows(kind, "codes")
    again = fit(name, kind, X, y, "codes", **FEWER_ROUNDS.get(name, {}))
    np.testing.assert_array_equal(again.predict(X), fitted_on(name, kind, "codes").predict(X))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_row_alone_equals_the_row_in_the_batch(name: str, kind: TaskKind, layout: Layout) -> None:
    X, _ = make_rows(kind, layout)
    fitted = fitted_on(name, kind, layout)
    batch = fitted.predict(X)
    alone = np.vstack([fitted.predict(X[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(alone, batch[:5], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CLASSICAL)
def test_no_rows_give_no_predictions(name: str, layout: Layout) -> None:
    X, _ = make_rows("binary", layout)
    assert fitted_on(name, "binary", layout).predict(X[:0]).shape == (0, 2)


@pytest.mark.parametrize("name", CLASSICAL)
def test_missing_values_and_unseen_codes_are_survived_at_predict_time(name: str) -> None:
    X, _ = make_rows("binary", "codes")
    strange = np.asarray(X[:3]).copy()
    strange[0, :] = np.nan
    strange[1, 3:] = 99
    strange[2, 1] = np.nan
    predictions = fitted_on(name, "binary", "codes").predict(strange)
    np.testing.assert_allclose(predictions.sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_class_absent_in_training_gets_probability_0(name: str) -> None:
    X, y = make_rows("multiclass", "codes")
    predictions = fit(name, "multiclass", X[y != 1], y[y != 1], "codes").predict(X)
    assert predictions.shape == (60, 3)
    assert (predictions[:, 1] == 0).all()
    assert (predictions[:, [0, 2]].max(axis=1) >= 0.5).all()


@pytest.mark.parametrize("name", CLASSICAL)
def test_a_class_with_one_row_is_survived(name: str) -> None:
    X, y = make_rows("multiclass", "codes", rows=240)
    rare = np.where(y == 2, 0, y)
    rare[7] = 2
    assert fit(name, "multiclass", X, rare, "codes").predict(X).shape == (240, 3)


@pytest.mark.parametrize("name", LEARNERS)
def test_one_class_alone_is_an_error(name: str) -> None:
    X, y = make_rows("binary", "codes")
    with pytest.raises(FitError, match="all 60 training rows are of class 'no'; at least two are needed"):
        fit(name, "binary", X, y * 0, "codes")


@pytest.mark.parametrize("name", LEARNERS)
def test_nothing_is_started_after_the_deadline(name: str) -> None:
    X, y = make_rows("binary", "codes")
    with pytest.raises(OutOfTime):
        build(CLASSICAL, Spec.of(name), where="classical").fit(
            X, y, task=TASKS["binary"], categorical=(), seed=0, deadline=Deadline.after(-1), threads=1
        )


@pytest.mark.parametrize("name", INTERRUPTIBLE)
def test_the_deadline_ends_a_fit_with_the_best_so_far(name: str) -> None:
    X, y = make_rows("regression", "codes")
    started = time.monotonic()
    fitted = build(CLASSICAL, Spec.of(name, **INTERRUPTIBLE[name]), where="classical").fit(
        X, y, task=TASKS["regression"], categorical=(3, 4), seed=0, deadline=Deadline.after(0.3), threads=1
    )
    assert time.monotonic() - started < 10  # 100,000 rounds take minutes
    assert metric_for(TASKS["regression"], "r2").value(y, fitted.predict(X)) > 0.5


@pytest.mark.parametrize(
    ("name", "param"), [(name, param) for name, params in OTHER_VALUES.items() for param in params]
)
def test_each_hyperparameter_reaches_the_library(name: str, param: str) -> None:
    layout: Layout = "words" if (name, param) == ("naive_bayes", "alpha") else "codes"
    X, y = make_rows("binary", layout, rows=240)
    new, _ = make_rows("binary", layout, seed=1)
    usual = fitted_on(name, "binary", layout, 240).predict(new)
    params = FEWER_ROUNDS.get(name, {}) | {param: OTHER_VALUES[name][param]}
    other = fit(name, "binary", X, y, layout, **params).predict(new)
    assert np.abs(usual - other).max() > 1e-6


def test_every_hyperparameter_is_tried() -> None:
    known = {name: set(hyperparameters(component_class(CLASSICAL, name, where="classical"))) for name in CLASSICAL}
    assert {name: set(values) for name, values in OTHER_VALUES.items()} == known


LOAD_AND_PREDICT = """
import importlib, json, sys
from pathlib import Path
import numpy as np, scipy.sparse
for folder in map(Path, json.loads(sys.stdin.read())):
    module, name = json.loads((folder / "type.json").read_text())
    fitted = getattr(importlib.import_module(module), name).load(folder / "model")
    X = scipy.sparse.load_npz(folder / "X.npz") if (folder / "X.npz").exists() else np.load(folder / "X.npy")
    np.save(folder / "predictions.npy", fitted.predict(X))
"""


@pytest.fixture(scope="module")
def predicted_in_a_new_process(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All models, saved here, loaded and asked in one other process."""
    home = tmp_path_factory.mktemp("saved")
    for name, kind in CASES:
        for layout in SAVED_LAYOUTS:
            folder = home / f"{name}-{kind}-{layout}"
            (folder / "model").mkdir(parents=True)
            fitted = fitted_on(name, kind, layout)
            fitted.save(folder / "model")
            (folder / "type.json").write_text(json.dumps([type(fitted).__module__, type(fitted).__qualname__]))
            X, _ = make_rows(kind, layout)
            if scipy.sparse.issparse(X):
                scipy.sparse.save_npz(folder / "X.npz", X)
            else:
                np.save(folder / "X.npy", X)
    folders = json.dumps([str(folder) for folder in home.iterdir()])
    subprocess.run([sys.executable, "-c", LOAD_AND_PREDICT], input=folders, text=True, check=True, timeout=120)
    return home


@pytest.mark.parametrize("layout", SAVED_LAYOUTS)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_a_saved_model_predicts_the_same_in_a_new_process(
    name: str, kind: TaskKind, layout: Layout, predicted_in_a_new_process: Path
) -> None:
    X, _ = make_rows(kind, layout)
    there = np.load(predicted_in_a_new_process / f"{name}-{kind}-{layout}" / "predictions.npy")
    np.testing.assert_allclose(there, fitted_on(name, kind, layout).predict(X), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_nothing_is_pickled(name: str, kind: TaskKind, predicted_in_a_new_process: Path) -> None:
    files = (predicted_in_a_new_process / f"{name}-{kind}-codes" / "model").iterdir()
    assert {file.suffix for file in files} <= {".json", ".npz", ".skops", ".txt", ".ubj", ".cbm"}
