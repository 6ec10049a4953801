"""Every classical model honours weights of rows, or says that it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from fusion_automl.candidate import Spec
from fusion_automl.classical import CLASSICAL
from fusion_automl.component import build
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError
from tests.contracts.matrices import CATEGORICAL, make_rows
from tests.contracts.rows import TASKS
from tests.contracts.test_classical import FEWER_ROUNDS


@pytest.mark.parametrize("rows", [60, 240])
@pytest.mark.parametrize("name", [name for name in CLASSICAL if name != "knn"])
def test_a_class_whose_rows_weigh_more_is_predicted_more_often(name: str, rows: int) -> None:
    """With 60 rows nothing is held out for early stopping, with 240 the rows held out are weighted too."""
    X, y = make_rows("binary", "codes", rows=rows)
    y = np.where(np.random.default_rng(0).random(rows) < 0.3, 1 - y, y)  # classes that overlap
    model = build(CLASSICAL, Spec.of(name, **FEWER_ROUNDS.get(name, {})), where="classical")
    shares = []
    for weight in (1.0, 4.0):
        fitted = model.fit(
            X,
            y,
            task=TASKS["binary"],
            categorical=CATEGORICAL["codes"],
            seed=0,
            deadline=Deadline.never(),
            threads=1,
            sample_weight=np.where(y == 1, weight, 1.0),
        )
        shares.append(fitted.predict(X)[:, 1].mean())
    assert shares[1] > shares[0] + 0.05


def test_neighbours_refuse_weights() -> None:
    X, y = make_rows("binary", "codes")
    with pytest.raises(FitError, match="knn has no use for weights of rows"):
        build(CLASSICAL, Spec.of("knn"), where="classical").fit(
            X,
            y,
            task=TASKS["binary"],
            categorical=(),
            seed=0,
            deadline=Deadline.never(),
            threads=1,
            sample_weight=np.ones(60),
        )
