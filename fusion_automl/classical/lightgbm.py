"""LightGBM: gradient boosting with leaf-wise trees and native categories."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.matrix import prepare
from fusion_automl.classical.outputs import Outputs, learn_outputs
from fusion_automl.classical.rounds import check_time, hold_out, prediction_threads, weights_of
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task

PATIENCE = 30


@dataclass(frozen=True, slots=True)
class FittedLightGBM:
    booster: Any
    outputs: Outputs
    rounds: int | None = None

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        if X.shape[0] == 0:
            return self.outputs.none()
        answers = self.booster.predict(prepare(X), num_threads=prediction_threads(X.shape[0]))
        if not self.outputs.present:
            return self.outputs.values(answers)
        return self.outputs.probabilities(np.column_stack([1 - answers, answers]) if answers.ndim == 1 else answers)

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps(self.outputs.to_json()))
        self.booster.save_model(folder / "model.txt")

    @classmethod
    def load(cls, folder: Path) -> Self:
        import lightgbm

        outputs = Outputs.from_json(json.loads((folder / "model.json").read_text()))
        return cls(lightgbm.Booster(model_file=folder / "model.txt"), outputs)


@dataclass(frozen=True, slots=True)
class LightGBM:
    """Stops early on rows held out of the training rows and keeps the best round; `subsample` draws rows each round."""

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ("lightgbm",)
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 2_000_000
    goes_by: ClassVar[str] = "n_estimators"

    n_estimators: int = 500
    learning_rate: float = 0.05
    num_leaves: int = 10
    min_child_samples: int = 20
    colsample_bytree: float = 0.7
    subsample: float = 0.8
    reg_lambda: float = 1.0
    extra_trees: bool = False
    early_stopping: bool = True

    def fit(
        self,
        X: Matrix,
        y: npt.NDArray[Any],
        *,
        task: Task,
        categorical: tuple[int, ...],
        seed: int,
        deadline: Deadline,
        threads: int,
        sample_weight: SampleWeight = None,
    ) -> FittedLightGBM:
        import lightgbm

        check_time(deadline)
        outputs = learn_outputs(task, y)
        labels, X = outputs.encode(y), prepare(X)
        learn, held = hold_out(
            labels, is_classification=task.is_classification, seed=seed, early_stopping=self.early_stopping
        )
        # free_raw_data: the boosters must not keep the rows alive after the fit.
        train = lightgbm.Dataset(
            X[learn],
            labels[learn],
            weight=weights_of(sample_weight, learn),
            categorical_feature=list(categorical),
            free_raw_data=True,
        )
        watched = (
            [train.create_valid(X[held], labels[held], weight=weights_of(sample_weight, held))] if len(held) else []
        )
        history: dict[str, Any] = {}
        booster = lightgbm.train(
            self._library_params(outputs, seed=seed, threads=threads),
            train,
            num_boost_round=self.n_estimators,
            valid_sets=watched,
            valid_names=["held_out"] if len(held) else [],
            callbacks=[lightgbm.record_evaluation(history), _stopper(history, deadline)],
        )
        losses = next(iter(history["held_out"].values())) if len(held) else []
        best = int(np.argmin(losses)) + 1 if losses else booster.current_iteration()
        kept = lightgbm.Booster(model_str=booster.model_to_string(num_iteration=best))
        return FittedLightGBM(kept, outputs, best)

    def _library_params(self, outputs: Outputs, *, seed: int, threads: int) -> dict[str, Any]:
        objective: dict[str, Any] = {"objective": "regression", "metric": "l2"}
        if outputs.num_present == 2:
            objective = {"objective": "binary", "metric": "binary_logloss"}
        elif outputs.present:
            objective = {"objective": "multiclass", "metric": "multi_logloss", "num_class": outputs.num_present}
        return objective | {
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_child_samples": self.min_child_samples,
            "colsample_bytree": self.colsample_bytree,
            "subsample": self.subsample,
            "subsample_freq": 1,
            "reg_lambda": self.reg_lambda,
            "extra_trees": self.extra_trees,
            "max_cat_to_onehot": 12,  # 4 by default; house prices gain 3 %
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }


def _stopper(history: dict[str, Any], deadline: Deadline) -> Any:
    """A callback that ends training at the deadline, or `PATIENCE` rounds after the best one."""
    from lightgbm.callback import EarlyStopException

    def stop(env: Any) -> None:
        losses = next(iter(history["held_out"].values())) if history else []
        stale = len(losses) - 1 - int(np.argmin(losses)) if losses else 0
        if stale >= PATIENCE or deadline.passed():
            raise EarlyStopException(env.iteration, [])

    stop.order = 30  # type: ignore[attr-defined]  # after record_evaluation, whose order is 20
    return stop
