"""Distributed AutoML that fuses deep learning with classical machine learning.

`fit` searches, `load` opens what it left; `FusionClassifier` and `FusionRegressor` are the same as scikit-learn estimators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fusion_automl.artifact.artifact import Artifact
    from fusion_automl.artifact.load import load
    from fusion_automl.estimators import FusionClassifier, FusionRegressor
    from fusion_automl.finish import Result
    from fusion_automl.fitting import fit

__all__ = ["Artifact", "FusionClassifier", "FusionRegressor", "Result", "fit", "load"]

_HOMES = {
    "Artifact": "fusion_automl.artifact.artifact",
    "FusionClassifier": "fusion_automl.estimators",
    "FusionRegressor": "fusion_automl.estimators",
    "Result": "fusion_automl.finish",
    "fit": "fusion_automl.fitting",
    "load": "fusion_automl.artifact.load",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import fusion_automl` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fusion_automl' has no attribute '{name}'")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
