import json
import os
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.ensemble.interval import Interval, fit_interval


def _rows(seed: int, rows: int, noise: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, their spread, and targets with errors that are even, grow with the prediction, or with the spread."""
    rng = np.random.default_rng(seed)
    values, spread = rng.uniform(1, 10, rows), rng.uniform(0.1, 3, rows)
    scale = {"even": np.ones(rows), "prediction": values / 3, "spread": spread}[noise]
    return values, spread, values + scale * rng.normal(size=rows)


@pytest.mark.parametrize(("noise", "by"), [("even", "nothing"), ("prediction", "prediction"), ("spread", "spread")])
def test_nine_of_ten_new_targets_lie_inside_and_the_width_follows_the_errors(noise: str, by: str) -> None:
    found = fit_interval(*_rows(0, 2000, noise))
    assert noise == "even" or found.by == by
    values, spread, y = _rows(1, 5000, noise)
    ends = found.ends(values, spread)
    inside = (ends[:, 0] <= y) & (y <= ends[:, 1])
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    assert found.width == pytest.approx((ends[:, 1] - ends[:, 0]).mean(), rel=0.05)
    wide = ends[:, 1] - ends[:, 0] > np.median(ends[:, 1] - ends[:, 0])
    if noise != "even":
        assert inside[wide].mean() == pytest.approx(inside[~wide].mean(), abs=0.04)


@pytest.mark.parametrize("rows", [2, 5, 12, 60])
def test_few_rows_get_an_interval_as_well(rows: int) -> None:
    values, spread, y = _rows(0, rows, "even")
    found = fit_interval(values, 0 * spread, y)
    ends = found.ends(values, 0 * spread)
    assert np.isfinite(ends).all() and (ends[:, 0] <= values).all() and (values <= ends[:, 1]).all()
    assert ((ends[:, 0] <= y) & (y <= ends[:, 1])).mean() >= 0.8


def test_perfect_predictions_have_no_width() -> None:
    values = np.arange(100.0)
    assert fit_interval(values, np.zeros(100), values).width == pytest.approx(0, abs=1e-9)


def test_it_survives_json() -> None:
    found = fit_interval(*_rows(0, 300, "prediction"))
    assert Interval.from_json(json.loads(json.dumps(found.to_json()))) == found


DATA = Path(os.environ.get("FUSION_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.skipif(not (DATA / "ames_housing").exists(), reason="needs the dataset ames_housing in $FUSION_DATA")
def test_coverage_on_test_rows_of_real_houses() -> None:
    """A forest and a ridge regression, blended half and half, on 586 houses that neither they nor the interval saw."""
    import pandas as pd
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import KFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, test = (pd.read_parquet(DATA / "ames_housing" / f"{name}.parquet") for name in ("train", "test"))
    x, new = (frame.drop(columns="SalePrice").select_dtypes("number").fillna(0).to_numpy() for frame in (train, test))
    y, truth = (frame["SalePrice"].to_numpy(dtype=float) for frame in (train, test))
    models = [
        ExtraTreesRegressor(40, min_samples_leaf=2, random_state=0),
        make_pipeline(StandardScaler(), Ridge(30.0)),
    ]
    out_of_fold, fresh = np.zeros((2, len(y))), []
    for fit, valid in KFold(3, shuffle=True, random_state=0).split(x):
        for member, model in enumerate(models):
            model.fit(x[fit], y[fit])
            out_of_fold[member, valid] = model.predict(x[valid])
        fresh.append([model.predict(new) for model in models])
    found = fit_interval(out_of_fold.mean(axis=0), out_of_fold.std(axis=0), y)
    by_fold = np.array(fresh)  # (folds, members, rows)
    ends = found.ends(by_fold.mean(axis=(0, 1)), by_fold.std(axis=1).mean(axis=0))
    coverage = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    assert coverage == pytest.approx(0.9, abs=0.03)
    assert found.by != "nothing"
