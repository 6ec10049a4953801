"""A small multilayer perceptron on scaled columns, trained epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fusion_automl.classical import SampleWeight
from fusion_automl.classical.matrix import fit_scaler, prepare, scale
from fusion_automl.classical.outputs import learn_outputs
from fusion_automl.classical.rounds import check_time, hold_out, weights_of
from fusion_automl.classical.sklearn_model import FittedSklearn, quiet
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.task import Task

PATIENCE = 10
ROW_LENGTH = 3.0
"""Of the scaled rows: 1 is too short for tables to be learned in few epochs, 8 overfits them."""


@dataclass(frozen=True, slots=True)
class SmallMLP:
    """Keeps the weights of the epoch with the smallest loss on rows held out of the training rows."""

    prefers: ClassVar[Literal["codes", "dense"]] = "dense"
    requires: ClassVar[tuple[str, ...]] = ()
    tasks: ClassVar[tuple[str, ...]] = ("binary", "multiclass", "regression")
    max_rows: ClassVar[int] = 200_000
    goes_by: ClassVar[str] = "max_epochs"

    hidden_size: int = 64
    num_layers: int = 1
    alpha: float = 0.03
    learning_rate_init: float = 0.003
    batch_size: int = 64
    max_epochs: int = 100
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
    ) -> FittedSklearn:
        from sklearn.neural_network import MLPClassifier, MLPRegressor

        check_time(deadline)
        outputs = learn_outputs(task, y)
        labels, X = outputs.encode(y), prepare(X)
        learn, held = hold_out(
            labels, is_classification=task.is_classification, seed=seed, early_stopping=self.early_stopping
        )
        net = (MLPClassifier if task.is_classification else MLPRegressor)(
            hidden_layer_sizes=(self.hidden_size,) * self.num_layers,
            alpha=self.alpha,
            learning_rate_init=self.learning_rate_init,
            batch_size=min(self.batch_size, len(learn)),
            # A generator, because a number would shuffle the rows alike in each epoch.
            random_state=np.random.RandomState(seed),
        )
        learn_weights, held_weights = weights_of(sample_weight, learn), weights_of(sample_weight, held)
        classes = {"classes": np.arange(outputs.num_present)} if outputs.present else {}
        best_loss, best_epoch, best_weights = np.inf, 0, None
        with quiet(threads):
            scaler = fit_scaler(X[learn], row_length=ROW_LENGTH)
            X = scale(scaler, X)
            for epoch in range(self.max_epochs):
                if epoch and (deadline.passed() or epoch - best_epoch > PATIENCE):
                    break
                net.partial_fit(X[learn], labels[learn], sample_weight=learn_weights, **classes)
                loss = (
                    _loss(net, X[held], labels[held], held_weights) if len(held) else -float(epoch)
                )  # the last is the best
                if loss < best_loss:
                    best_loss, best_epoch = loss, epoch
                    best_weights = [array.copy() for array in (*net.coefs_, *net.intercepts_)]
        if best_weights is not None:
            net.coefs_, net.intercepts_ = best_weights[: len(net.coefs_)], best_weights[len(net.coefs_) :]
        # What only further training would need does not belong into the file.
        net.set_params(random_state=seed)
        del net._optimizer, net._random_state
        return FittedSklearn(net, outputs, scaler, rounds=best_epoch + 1)


def _loss(net: Any, X: Matrix, labels: npt.NDArray[Any], weights: SampleWeight) -> float:
    """Log-loss for classes, mean squared error for values."""
    if labels.dtype == np.int64:
        chosen = net.predict_proba(X)[np.arange(len(labels)), labels]
        return float(np.average(-np.log(np.clip(chosen, 1e-7, 1.0)), weights=weights))
    return float(np.average((net.predict(X) - labels) ** 2, weights=weights))
