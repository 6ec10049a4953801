"""XGBoost: gradient boosting with depth-wise trees and native categories."""

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
class FittedXGBoost:
    booster: Any
    outputs: Outputs
    rounds: int | None = None

    def predict(self, X: Matrix) -> npt.NDArray[np.float64]:
        if X.shape[0] == 0:
            return self.outputs.none()
        self.booster.set_param({"nthread": prediction_threads(X.shape[0])})
        answers = self.booster.inplace_predict(prepare(X))
        if not self.outputs.present:
            return self.outputs.values(answers)
        return self.outputs.probabilities(np.column_stack([1 - answers, answers]) if answers.ndim == 1 else answers)

    def save(self, folder: Path) -> None:
        (folder / "model.json").write_text(json.dumps(self.outputs.to_json()))
        self.booster.save_model(folder / "model.ubj")

    @classmethod
    def load(cls, folder: Path) -> Self:
        import xgboost

        outputs = Outputs.from_json(json.loads((folder / "model.json").read_text()))
        return cls(xgboost.Booster(model_file=folder / "model.ubj"), outputs)


@dataclass(frozen=True, slots=True)
class XGBoost:
    """Stops early on rows held out of the training rows and keeps the best round; entries absent in CSR are missing."""

    prefers: ClassVar[Literal["codes", "dense"]] = "codes"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 2_000_000
    goes_by: ClassVar[str] = "n_estimators"

    n_estimators: int = 500
    learning_rate: float = 0.05
    max_depth: int = 4
    min_child_weight: float = 2.0
    subsample: float = 0.8
    colsample_bytree: float = 0.5
    reg_lambda: float = 1.0
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
    ) -> FittedXGBoost:
        import xgboost

        check_time(deadline)
        outputs = learn_outputs(task, y)
        labels, X = outputs.encode(y), prepare(X)
        learn, held = hold_out(
            labels, is_classification=task.is_classification, seed=seed, early_stopping=self.early_stopping
        )
        kinds = ["c" if column in set(categorical) else "q" for column in range(X.shape[1])]

        def matrix(rows: npt.NDArray[np.int64]) -> Any:
            return xgboost.DMatrix(
                X[rows],
                labels[rows],
                weight=weights_of(sample_weight, rows),
                feature_types=kinds,
                enable_categorical=True,
                nthread=threads,
            )

        history: dict[str, Any] = {}
        booster = xgboost.train(
            self._library_params(outputs, seed=seed, threads=threads),
            matrix(learn),
            num_boost_round=self.n_estimators,
            evals=[(matrix(held), "held_out")] if len(held) else [],
            evals_result=history,
            verbose_eval=False,
            callbacks=[_stopper(deadline)],
        )
        losses = next(iter(history["held_out"].values())) if len(held) else []
        kept = booster[: int(np.argmin(losses)) + 1] if losses else booster
        return FittedXGBoost(kept, outputs, kept.num_boosted_rounds())

    def _library_params(self, outputs: Outputs, *, seed: int, threads: int) -> dict[str, Any]:
        objective: dict[str, Any] = {"objective": "reg:squarederror"}
        if outputs.num_present == 2:
            objective = {"objective": "binary:logistic"}
        elif outputs.present:
            objective = {"objective": "multi:softprob", "num_class": outputs.num_present}
        return objective | {
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "min_child_weight": self.min_child_weight,
            "subsample": self.subsample,
            "colsample_bytree": self.colsample_bytree,
            "reg_lambda": self.reg_lambda,
            "tree_method": "hist",
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
        }


def _stopper(deadline: Deadline) -> Any:
    """A callback that ends training at the deadline, or `PATIENCE` rounds after the best one."""
    from xgboost.callback import TrainingCallback

    class Stopper(TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: dict[str, Any]) -> bool:
            losses = next(iter(evals_log["held_out"].values())) if evals_log else []
            stale = len(losses) - 1 - int(np.argmin(losses)) if losses else 0
            return stale >= PATIENCE or deadline.passed()

    return Stopper()
