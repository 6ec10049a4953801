"""A skops file may hold what our models need and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.tree import DecisionTreeClassifier

from fusion_automl.classical.outputs import Outputs
from fusion_automl.classical.sklearn_model import FittedSklearn, load
from fusion_automl.errors import ArtifactError


class Intruder:
    """A type that no model of ours needs."""

    def __init__(self) -> None:
        self.payload = "anything"


def test_a_foreign_type_is_refused_by_name(tmp_path: Path) -> None:
    skops.io.dump({"estimator": Intruder(), "scaler": None}, tmp_path / "model.skops")
    with pytest.raises(ArtifactError, match=r"model\.skops: holds the type .*Intruder.* nothing was loaded from it"):
        load(tmp_path / "model.skops")


def test_a_function_of_the_standard_library_is_refused(tmp_path: Path) -> None:
    skops.io.dump({"estimator": Path, "scaler": None}, tmp_path / "model.skops")
    with pytest.raises(ArtifactError, match="Path"):
        load(tmp_path / "model.skops")


def test_a_fitted_tree_is_trusted(tmp_path: Path) -> None:
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0, 0, 1])
    FittedSklearn(DecisionTreeClassifier().fit(X, y), Outputs(2, (0, 1))).save(tmp_path)
    np.testing.assert_array_equal(FittedSklearn.load(tmp_path).predict(X), [[1, 0], [1, 0], [0, 1]])
