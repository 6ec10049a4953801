"""The search as scikit-learn estimators."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fusion_automl import FusionClassifier, FusionRegressor
from fusion_automl.errors import DataError

QUICK = {"budget": "40s", "space": "fast", "max_trials": 2, "folds": 2}
RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.normal(size=120), "b": RNG.normal(size=120), "kind": RNG.choice(["x", "y"], 120)})
LABELS = np.where(X["a"] + (X["kind"] == "x") + RNG.normal(0, 0.3, 120) > 0.5, "big", "small")


@pytest.fixture(scope="module")
def fitted() -> FusionClassifier:
    return FusionClassifier(**QUICK).fit(X, LABELS)


def test_a_clone_has_the_same_parameters_and_is_not_fitted(fitted: FusionClassifier) -> None:
    copy = clone(fitted)
    assert copy.get_params() == fitted.get_params()
    assert copy.get_params()["max_trials"] == 2
    assert not hasattr(copy, "artifact_")


def test_classes_probabilities_and_score(fitted: FusionClassifier) -> None:
    assert fitted.classes_.tolist() == ["big", "small"]
    proba = fitted.predict_proba(X)
    assert proba.shape == (120, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (fitted.predict(X) == fitted.classes_[proba.argmax(axis=1)]).all()
    assert fitted.score(X, LABELS) > 0.8


def test_polars_and_arrow_tables_give_what_pandas_gives(fitted: FusionClassifier) -> None:
    expected = fitted.predict_proba(X)
    np.testing.assert_allclose(fitted.predict_proba(pl.from_pandas(X)), expected)
    np.testing.assert_allclose(fitted.predict_proba(pa.Table.from_pandas(X)), expected)


def test_a_regressor_in_a_pipeline_over_numpy() -> None:
    features = RNG.normal(size=(150, 3))
    y = 3 * features[:, 0] + RNG.normal(0, 0.3, 150)
    model = make_pipeline(StandardScaler(), FusionRegressor(**QUICK)).fit(features[:100], y[:100])
    assert model.predict(features[100:]).shape == (50,)
    assert model.score(features[100:], y[100:]) > 0.7


def test_a_preset_and_limits_reach_the_search() -> None:
    model = FusionClassifier(**QUICK, preset="fast-inference", max_size_mb=50.0).fit(X, LABELS)
    assert clone(model).get_params()["max_size_mb"] == 50.0
    assert model.result_.summary["preset"] == "fast-inference"
    assert [len(member.outputs) for member in model.artifact_.manifest.members] == [1]
    assert model.score(X, LABELS) > 0.8


def test_a_target_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="X has 120 rows and y has 5; they must be equally many"):
        FusionClassifier(**QUICK).fit(X, LABELS[:5])
