"""A metric of the user's own: what it is given, where it is found, and what is said where it is wrong."""

from pathlib import Path

import numpy as np
import pytest

from fusion_automl.data.split import make_split
from fusion_automl.errors import UserError
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import check_metric, metric_for
from fusion_automl.search.problem import read_problem, write_problem
from fusion_automl.task import Task
from tests.contracts.rows import mixed_dataset

BINARY = Task("binary", "y", ("bad", "good"))
VALUES = Task("regression", "y")
Y = np.array([0, 1, 1, 0])
P = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])


def _file(folder: Path, body: str) -> str:
    (folder / "mine.py").write_text(body)
    return str(folder / "mine.py")


def test_a_function_gets_labels_and_its_sign_is_its_own(tmp_path: Path) -> None:
    body = "def cost(y_true, y_pred):\n    return sum((y_true == 'good') & (y_pred == 'bad'))\n"
    name = _file(tmp_path, body + "cost.greater_is_better = False\n") + ":cost"
    metric = metric_for(BINARY, name)
    assert metric.value(Y, P) == 1.0
    assert metric.score(Y, P) == -1.0
    assert metric.of_labels


def test_a_function_may_ask_for_probabilities(tmp_path: Path) -> None:
    body = "def sure(y_true, y_pred):\n    return y_pred[y_true == 'good', 1].mean()\nsure.needs_probabilities = True\n"
    metric = metric_for(BINARY, _file(tmp_path, body) + ":sure")
    assert metric.value(Y, P) == pytest.approx(0.45)
    assert not metric.of_labels


def test_a_regression_gets_values(tmp_path: Path) -> None:
    metric = metric_for(
        VALUES, _file(tmp_path, "def far(y_true, y_pred):\n    return abs(y_true - y_pred).max()\n") + ":far"
    )
    assert metric.value(np.array([1.0, 5.0]), np.array([[2.0], [5.0]])) == 1.0


def test_the_name_that_is_kept_works_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(tmp_path, "def one(y_true, y_pred):\n    return 1\n")
    monkeypatch.chdir(tmp_path)
    metric = metric_for(BINARY, "mine.py:one")
    assert metric.name == f"{tmp_path.resolve() / 'mine.py'}:one"
    monkeypatch.chdir("/")
    assert metric_for(BINARY, metric.name).value(Y, P) == 1.0


def test_a_function_of_an_installed_package() -> None:
    assert metric_for(VALUES, "sklearn.metrics:r2_score").value(np.arange(4.0), np.arange(4.0)[:, None]) == 1.0


@pytest.mark.parametrize(
    ("body", "function", "message"),
    [
        ("import no_such_library", "f", r"cannot be imported \(ModuleNotFoundError: No module named 'no_such_library'"),
        ("def rocket(y, p): ...", "rockte", r"unknown function 'rockte'\. Did you mean 'rocket'"),
        ("rocket = 3", "rocket", r"rocket is a int, expected a function"),
        ("def f(y): ...", "f", r"failed on 4 rows with TypeError: f\(\) takes 1 positional argument but 2 were given"),
        ("def f(y, p): return 'high'", "f", r"failed on 4 rows with ValueError: could not convert string to float"),
        ("def f(y, p): return float('nan')", "f", r"is nan for predictions of 'y'; expected a finite number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, body: str, function: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_metric(metric_for(BINARY, f"{_file(tmp_path, body)}:{function}"), BINARY, Y)


def test_a_metric_that_cannot_be_taken_of_these_targets_is_refused() -> None:
    with pytest.raises(UserError, match=r"--metric: 'rmsle' is nan for predictions of 'y'"):
        check_metric(metric_for(VALUES, "rmsle"), VALUES, np.array([-1.0, 2.0]))


def test_a_run_keeps_the_metric_for_its_other_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _file(
        tmp_path, "def loss(y_true, y_pred):\n    return abs(y_true - y_pred).mean()\nloss.greater_is_better = False\n"
    )
    monkeypatch.chdir(tmp_path)
    dataset = mixed_dataset("regression", rows=20)
    metric = metric_for(dataset.task, "mine.py:loss")
    write_problem(tmp_path / "run", Problem(dataset, make_split(dataset, num_folds=2, seed=0), metric, 0), {})
    monkeypatch.chdir("/")
    found = read_problem(tmp_path / "run")
    assert found.metric.score(dataset.y, dataset.y[:, None] + 2) == pytest.approx(-2)
