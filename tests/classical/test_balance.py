import numpy as np
import numpy.typing as npt
import pytest
import scipy.sparse

from fusion_automl.candidate import Spec
from fusion_automl.classical import CLASSICAL
from fusion_automl.classical.balance import BALANCES, Balanced, balance
from fusion_automl.component import build
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import Matrix
from fusion_automl.errors import FitError
from fusion_automl.metrics import METRICS
from fusion_automl.target import FittedTarget
from fusion_automl.task import Task, TaskKind

TWO = Task("binary", "fraud", ("no", "yes"))
CHANGES = [how for how in BALANCES if how != "none"]


def _rows(rows: int, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """One row in twenty is of class 1; its features lie 1.5 deviations away."""
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.05).astype(np.int64)
    return (rng.normal(size=(rows, 3)) + 1.5 * y[:, None]).astype(np.float32), y


def _balance(how: str, X: Matrix, y: npt.NDArray[np.int64], categorical: tuple[int, ...] = ()) -> Balanced:
    return balance(how, X, y, task=TWO, categorical=categorical, seed=0)


@pytest.mark.parametrize("how", CHANGES)
def test_all_classes_count_alike(how: str) -> None:
    X, y = _rows(400)
    rows = _balance(how, X, y)
    weights = np.ones(len(rows.y)) if rows.sample_weight is None else rows.sample_weight
    counted = np.bincount(rows.y, weights)
    assert counted[0] == pytest.approx(counted[1])
    assert rows.X.shape == (len(rows.y), 3) and rows.X.dtype == np.float32
    frequent, rare = np.bincount(y)
    expected = {"oversample": 2 * frequent, "smote": 2 * frequent, "undersample": 2 * rare, "weights": 400}
    assert len(rows.y) == expected[how]


@pytest.mark.parametrize("how", CHANGES)
def test_a_balanced_model_gives_the_true_shares_back(how: str) -> None:
    """Logistic regression is the true model here: what it learns from balanced rows differs by the prior alone."""
    X, y = _rows(6000)
    new, truth = _rows(6000, seed=1)
    model = build(CLASSICAL, Spec.of("logistic"), where="classical")

    def fit(rows: Balanced) -> npt.NDArray[np.float64]:
        fitted = model.fit(
            rows.X,
            rows.y,
            task=TWO,
            categorical=(),
            seed=0,
            deadline=Deadline.never(),
            threads=1,
            sample_weight=rows.sample_weight,
        )
        return np.asarray(fitted.predict(new))

    rows = _balance(how, X, y)
    balanced = fit(rows)
    corrected = rows.target.inverse(balanced)
    plain = fit(Balanced(X, y, None, FittedTarget()))
    loss = METRICS["log_loss"]
    assert balanced[:, 1].mean() > 0.15
    assert corrected[:, 1].mean() == pytest.approx(0.05, abs=0.015)
    assert loss.value(truth, corrected) < loss.value(truth, plain) + 0.005 < loss.value(truth, balanced) - 0.1


def test_the_correction_survives_its_json() -> None:
    correction = _balance("weights", *_rows(400)).target
    assert FittedTarget.from_json(correction.to_json()) == correction
    assert correction.inverse(np.array([[0.5, 0.5]]))[0, 1] == pytest.approx(_rows(400)[1].mean())


def test_words_can_be_drawn_again() -> None:
    X, y = _rows(400)
    assert _balance("oversample", scipy.sparse.csr_matrix(X), y).X.shape[0] == 2 * (y == 0).sum()


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("no meaning for words", "words"),
        ("cannot stand between two categories", "codes"),
        ("without missing numbers", "missing"),
        (r"at least 6 rows of each class, and 'yes' has 5", "few"),
    ],
)
def test_smote_says_why_it_is_not_legal(reason: str, kind: str) -> None:
    X, y = _rows(400)
    if kind == "missing":
        X[3, 1] = np.nan
    if kind == "few":
        y = (np.arange(400) < 5).astype(np.int64)
    with pytest.raises(FitError, match=reason):
        _balance("smote", scipy.sparse.csr_matrix(X) if kind == "words" else X, y, (2,) if kind == "codes" else ())


def test_values_have_no_classes_to_balance() -> None:
    kind: TaskKind = "regression"
    with pytest.raises(FitError, match="balance 'weights' needs classes, but 'price' holds values"):
        balance("weights", *_rows(400), task=Task(kind, "price"), categorical=(), seed=0)


def test_a_class_that_is_absent_stays_absent() -> None:
    X, y = _rows(400)
    rows = balance("oversample", X, y * 2, task=Task("multiclass", "t", ("a", "b", "c")), categorical=(), seed=0)
    np.testing.assert_allclose(rows.target.inverse(np.array([[0.3, 0.0, 0.7]]))[0, 1], 0)
