import numpy as np
import pytest
from sklearn import metrics as sk

from fusion_automl.errors import UserError
from fusion_automl.metrics import METRICS, all_values, default_metric, metric_for
from fusion_automl.task import Task

BINARY = Task("binary", "y", ("no", "yes"))
MULTI = Task("multiclass", "y", ("a", "b", "c"))
VALUES = Task("regression", "y")


def _case(classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(classes)
    y = rng.integers(0, classes, 200)
    p = rng.dirichlet(np.ones(classes), 200)
    p[:40] = p[0]  # ties
    return y, p


def test_binary_metrics_equal_scikit_learns() -> None:
    y, p = _case(2)
    found = all_values(BINARY, y, p, p)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p[:, 1]))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, p.argmax(1)))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(y, p.argmax(1)))
    assert found["f1"] == pytest.approx(sk.f1_score(y, p.argmax(1)))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p))
    assert found["brier"] == pytest.approx(sk.brier_score_loss(y, p[:, 1]))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(y, p[:, 1]))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(y, p.argmax(1)))


def test_multiclass_metrics_equal_scikit_learns() -> None:
    y, p = _case(3)
    found = all_values(MULTI, y, p, p)
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(y, p, multi_class="ovr"))
    assert found["f1_macro"] == pytest.approx(sk.f1_score(y, p.argmax(1), average="macro"))
    assert found["log_loss"] == pytest.approx(sk.log_loss(y, p))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(np.eye(3)[y], p))
    assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(y, p.argmax(1)))
    assert found["quadratic_kappa"] == pytest.approx(sk.cohen_kappa_score(y, p.argmax(1), weights="quadratic"))


def test_metrics_of_labels_look_at_what_was_decided_and_the_others_at_probabilities() -> None:
    y, p = _case(3)
    decided = p * np.array([1.0, 2.0, 4.0])
    found, plain = all_values(MULTI, y, p, decided), all_values(MULTI, y, p, p)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(y, decided.argmax(1)))
    assert found["accuracy"] != plain["accuracy"]
    assert (found["log_loss"], found["roc_auc"]) == (plain["log_loss"], plain["roc_auc"])


def test_regression_metrics_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(5, 2, 100)
    p = y[:, None] + rng.normal(0, 1, (100, 1))
    found = all_values(VALUES, y, p, p)
    assert found["rmse"] == pytest.approx(sk.root_mean_squared_error(y, p[:, 0]))
    assert found["mae"] == pytest.approx(sk.mean_absolute_error(y, p[:, 0]))
    assert found["r2"] == pytest.approx(sk.r2_score(y, p[:, 0]))
    assert found["mape"] == pytest.approx(sk.mean_absolute_percentage_error(y, p[:, 0]))
    assert found["rmsle"] == pytest.approx(sk.root_mean_squared_log_error(y, p[:, 0]))
    assert found["median_ae"] == pytest.approx(sk.median_absolute_error(y, p[:, 0]))


def test_a_score_is_turned_so_that_higher_is_better_and_a_value_is_not() -> None:
    y, p = np.array([1.0, 2.0]), np.array([[1.0], [4.0]])
    assert METRICS["mae"].value(y, p) == 1.0
    assert METRICS["mae"].score(y, p) == -1.0
    assert METRICS["r2"].score(y, p) == METRICS["r2"].value(y, p)


def test_a_metric_that_does_not_fit_the_task_is_refused_with_those_that_do() -> None:
    with pytest.raises(UserError, match=r"--metric: 'rmse' does not fit a binary target. Choose one of roc_auc"):
        metric_for(BINARY, "rmse")
    with pytest.raises(UserError, match=r"unknown metric 'acuracy'. Did you mean 'accuracy'"):
        metric_for(BINARY, "acuracy")
    assert metric_for(VALUES, "rmse").name == "rmse"


def test_a_heavy_tailed_target_is_judged_by_mae_and_says_why() -> None:
    rng = np.random.default_rng(0)
    assert default_metric(VALUES, rng.normal(size=1000)) == ("rmse", "")
    name, why = default_metric(VALUES, np.exp(rng.normal(size=1000)))
    assert name == "mae" and "1 % of the rows hold" in why
    assert default_metric(BINARY, rng.integers(0, 2, 100))[0] == "roc_auc"
    assert default_metric(VALUES, np.ones(10)) == ("rmse", "")
