"""What every backbone of the table promises."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import typing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fusion_automl.backbones import BACKBONES
from fusion_automl.backbones import fitted as backbones_fitted
from fusion_automl.backbones.nets import base
from fusion_automl.backbones.nets.base import BULK_ROWS
from fusion_automl.candidate import Spec
from fusion_automl.component import component_class, hyperparameters, missing_libraries
from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.errors import OutOfTime
from fusion_automl.task import TaskKind

from .nets import Ready
from .rows import mixed_dataset

OTHER_VALUES: dict[str, dict[str, Any]] = {
    "tabm": {
        "dropout": 0.5,
        "num_members": 4,
        "num_blocks": 1,
        "block_size": 16,
        "num_bins": 4,
        "number_size": 4,
    },
    "text_cnn": {
        "dropout": 0.1,
        "word_dropout": 0.0,
        "word_size": 16,
        "num_filters": 10,
        "max_width": 3,
        "max_length": 4,
        "table": True,
    },
    "text_rnn": {
        "cell": "gru",
        "dropout": 0.1,
        "word_dropout": 0.0,
        "word_size": 16,
        "hidden_size": 8,
        "max_length": 4,
        "table": True,
    },
    "image_cnn": {"dropout": 0.5, "size": 8, "width": 8, "num_stages": 2, "shift": 0.2, "flip": False},
    "series_cnn": {"dropout": 0.5, "width": 4, "num_blocks": 1, "noise": 0.3},
    "text_lora": {
        "checkpoint": "other text",
        "max_length": 4,
        "layers": 1,
        "rank": 2,
        "dropout": 0.5,
        "table": True,
    },
    "image_lora": {"checkpoint": "other image", "layers": 1, "rank": 2, "dropout": 0.5},
}
OF_ALL: dict[str, Any] = {"learning_rate": 1e-4, "weight_decay": 10.0, "epochs": 1, "patience": 0, "batch_size": 8}
"""For each hyperparameter a value that must change the result; a patience of 0 is read as 1."""
STARTS: dict[str, dict[str, Any]] = {
    "text_lora": {"checkpoint": "text", "learning_rate": 1e-2},
    "image_lora": {"checkpoint": "image", "learning_rate": 1e-2},
}
"""The tiny nets that stand for the pretrained ones; a net that knows nothing yet has to learn faster."""
FOLDERS: dict[str, str] = {}
"""Where those nets are, once the suite has begun."""
KINDS: tuple[TaskKind, ...] = ("binary", "multiclass", "regression")


@pytest.fixture(scope="module", autouse=True)
def _tiny_nets(checkpoints: dict[str, str]) -> None:
    FOLDERS.update(checkpoints)


def fit(name: str, data: Dataset, *, deadline: Deadline | None = None, **params: Any) -> Ready:
    """Trains on the first 48 rows of 60, and holds out the rest; random weights cannot tell new rows, so they are judged by
    the rows that they learn."""
    params = STARTS.get(name, {}) | params
    if "checkpoint" in params:
        params["checkpoint"] = FOLDERS[params["checkpoint"]]
    rows, cut = np.arange(len(data)), len(data) * 4 // 5
    holdout = rows[:cut] if name in STARTS else rows[cut:]
    return Ready.fit(
        Spec.of(name, **params), data.take(rows[:cut]), data.take(holdout), deadline=deadline or Deadline.never()
    )


@pytest.fixture(scope="module", params=sorted(BACKBONES))
def name(request: pytest.FixtureRequest) -> str:
    missing = missing_libraries(component_class(BACKBONES, request.param, where="backbones"))
    if missing:
        pytest.skip(f"{request.param} needs {', '.join(missing)}, not installed here")
    return str(request.param)


@pytest.fixture(scope="module")
def train() -> Dataset:
    return mixed_dataset(rows=60, seed=0)


@pytest.fixture(scope="module")
def test() -> Dataset:
    return mixed_dataset(rows=25, seed=1)


@pytest.fixture(scope="module")
def fitted(name: str, train: Dataset) -> Ready:
    return fit(name, train, epochs=2)


@pytest.mark.parametrize("kind", KINDS)
def test_an_embedding_is_float32_and_a_prediction_float64_of_all_outputs(name: str, kind: TaskKind) -> None:
    data = mixed_dataset(kind, rows=60)
    net = fit(name, data, epochs=1)
    embedding, prediction = net.forward(data.frame)
    assert embedding.shape == (60, net.fitted.embedding_size) and embedding.dtype == np.float32
    assert prediction.shape == (60, data.task.num_outputs) and prediction.dtype == np.float64
    assert np.isfinite(embedding).all() and np.isfinite(prediction).all()
    if data.task.is_classification:
        np.testing.assert_allclose(prediction.sum(axis=1), 1.0, atol=1e-9)
        assert (prediction >= 0).all()
    else:
        assert abs(prediction.mean() - data.y.mean()) < 2 * data.y.std()


def test_it_learns_what_sixty_easy_rows_tell(name: str, train: Dataset) -> None:
    _, prediction = fit(name, train, epochs=30, patience=30).forward(train.frame)
    assert (prediction.argmax(axis=1) == train.y).mean() > 0.8


def test_a_regression_is_learned_in_the_units_of_its_target(name: str) -> None:
    data = mixed_dataset("regression", rows=60)
    data = data.with_targets(5000 + 100 * data.y)
    _, prediction = fit(name, data, epochs=30, patience=30).forward(data.frame)
    assert np.corrcoef(prediction[:, 0], data.y)[0, 1] > 0.6
    assert prediction.mean() == pytest.approx(5000, abs=60)


def test_a_class_that_no_training_row_has_keeps_its_column(name: str) -> None:
    data = mixed_dataset("multiclass", rows=60)
    some = data.take(np.flatnonzero(data.y != 1))
    _, prediction = fit(name, some, epochs=1).forward(data.frame)
    assert prediction.shape == (60, 3)


def test_the_same_seed_gives_the_same_output(name: str, train: Dataset, fitted: Ready) -> None:
    again = fit(name, train, epochs=2).forward(train.frame)
    for one, other in zip(again, fitted.forward(train.frame), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_row_alone_equals_the_row_in_a_batch(test: Dataset, fitted: Ready) -> None:
    together = fitted.forward(test.frame)
    for row in range(0, len(test), 4):
        alone = fitted.forward(test.frame.iloc[[row]])
        np.testing.assert_allclose(alone.embedding[0], together.embedding[row], atol=1e-4)
        np.testing.assert_allclose(alone.prediction[0], together.prediction[row], atol=1e-4)


def test_a_row_among_many_is_the_row_among_few_but_for_rounding(
    test: Dataset, fitted: Ready, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "multiplies_bf16", lambda device: True)
    monkeypatch.setattr(backbones_fitted, "READ_ROWS", 100)
    times = -(-BULK_ROWS // len(test))
    many = fitted.forward(pd.concat([test.frame] * times, ignore_index=True))
    few = fitted.forward(test.frame)
    for one, other in zip(many, few, strict=True):
        np.testing.assert_allclose(one, np.tile(other, (times, 1)), atol=0.03)
        assert one.dtype == other.dtype
    assert not np.array_equal(many.embedding, np.tile(few.embedding, (times, 1)))  # bfloat16


def test_no_rows_give_no_rows(test: Dataset, fitted: Ready) -> None:
    embedding, prediction = fitted.forward(test.frame.iloc[:0])
    assert embedding.shape == (0, fitted.fitted.embedding_size) and embedding.dtype == np.float32
    assert prediction.shape == (0, 2) and prediction.dtype == np.float64


def test_saved_and_loaded_in_another_process_they_say_the_same(train: Dataset, test: Dataset, tmp_path: Path) -> None:
    classes = {name: component_class(BACKBONES, name, where="backbones") for name in sorted(BACKBONES)}
    names = [name for name, backbone in classes.items() if not missing_libraries(backbone)]
    nets = {name: fit(name, train, epochs=1) for name in names}
    for name, net in nets.items():
        (tmp_path / name).mkdir()
        net.save(tmp_path / name)
    # One process for all of them: most of its time goes into importing torch.
    program = """
import sys
from pathlib import Path
import numpy as np
from tests.contracts.nets import Ready
from tests.contracts.rows import mixed_dataset
frame = mixed_dataset(rows=25, seed=1).frame
for name in sys.argv[2:]:
    folder = Path(sys.argv[1]) / name
    embedding, prediction = Ready.load(name, folder).forward(frame)
    np.savez(folder / "seen.npz", embedding=embedding, prediction=prediction)
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path), *names], check=True, cwd=Path(__file__).parents[2])
    for name, net in nets.items():
        seen, expected = np.load(tmp_path / name / "seen.npz"), net.forward(test.frame)
        np.testing.assert_allclose(seen["embedding"], expected.embedding, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(seen["prediction"], expected.prediction, atol=1e-5, err_msg=name)


def test_a_saved_net_is_safetensors_and_plain_json(fitted: Ready, tmp_path: Path) -> None:
    fitted.fitted.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "weights.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text())["outputs"]["size"] == 2


def test_loading_leaves_the_random_numbers_alone(fitted: Ready, tmp_path: Path) -> None:
    fitted.save(tmp_path)
    before = torch.get_rng_state()
    Ready.load(fitted.name, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_leaves_the_random_numbers_and_threads_alone(name: str, train: Dataset) -> None:
    threads, state, numpy_state = torch.get_num_threads(), torch.get_rng_state(), np.random.get_state(legacy=False)
    fit(name, train, epochs=1).forward(train.frame)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    np.testing.assert_array_equal(np.random.get_state(legacy=False)["state"]["key"], numpy_state["state"]["key"])


def test_every_hyperparameter_reaches_the_net_or_its_training(name: str, train: Dataset, fitted: Ready) -> None:
    others = OF_ALL | OTHER_VALUES[name]
    assert set(others) == set(hyperparameters(component_class(BACKBONES, name, where="backbones")))
    default = fit(name, train, epochs=3, batch_size=20).forward(train.frame).prediction
    for hyperparameter, value in others.items():
        if hyperparameter == "patience":
            continue  # tested on the loop, where the losses can be chosen
        settings: dict[str, Any] = {"epochs": 3, "batch_size": 20, hyperparameter: value}
        changed = fit(name, train, **settings)
        assert not np.allclose(changed.forward(train.frame).prediction, default, atol=1e-7), hyperparameter


def test_missing_and_unseen_cells_are_survived(test: Dataset, fitted: Ready) -> None:
    frame = test.frame.copy()
    for column in test.schema.columns:
        missing: Any = {"datetime": pd.NaT, "numeric": np.nan, "boolean": np.nan}.get(str(column.kind))
        cells = list(frame[column.name])
        cells[0] = missing
        if column.kind in ("category", "text"):
            cells[1] = "never seen äöü 漢字"
            cells[2] = ""
        if column.kind == "numeric":
            cells[1], cells[2] = 1e300, -1e300
        if column.kind == "series":
            cells[1], cells[2] = np.full(5, np.nan, np.float32), np.ones(1, np.float32)
            cells[3] = np.zeros(0, np.float32)
        kept = frame[column.name].dtype
        frame[column.name] = pd.Series(cells, dtype=kept)
    embedding, prediction = fitted.forward(frame)
    assert np.isfinite(embedding).all()
    np.testing.assert_allclose(prediction.sum(axis=1), 1.0, atol=1e-9)


def test_columns_that_are_missing_in_all_training_rows_are_survived(name: str, train: Dataset) -> None:
    frame = train.frame.copy()
    frame["size"] = np.nan
    for column in ("title", "photo", "right", "colour"):
        frame[column] = pd.Series([None] * len(frame), dtype=object)
    frame["sold_at"] = pd.Series([pd.NaT] * len(frame), dtype="datetime64[ns]")
    _, prediction = fit(name, replace(train, frame=frame), epochs=1).forward(train.frame)
    np.testing.assert_allclose(prediction.sum(axis=1), 1.0, atol=1e-9)


def test_a_deadline_that_has_passed_raises_out_of_time(name: str, train: Dataset) -> None:
    with pytest.raises(OutOfTime, match="deadline had passed"):
        fit(name, train, deadline=Deadline.after(-1))


def test_a_near_deadline_gives_a_result_after_fewer_epochs(name: str, train: Dataset) -> None:
    fit(name, train, epochs=1)  # imports and first calls of kernels are not part of what is timed
    fitted = fit(name, train, epochs=1_000_000, patience=1_000_000, deadline=Deadline.after(1.5))
    assert 1 <= len(fitted.fitted.history) < 1_000_000
    assert fitted.fitted.history[-1].learning_rate < 0.5 * max(epoch.learning_rate for epoch in fitted.fitted.history)
    assert np.isfinite(fitted.forward(train.frame).prediction).all()


def test_one_row_is_fast_enough_to_be_served(test: Dataset, fitted: Ready) -> None:
    row = test.frame.iloc[[0]]
    fitted.forward(row)
    started = time.process_time()
    for _ in range(5):
        fitted.forward(row)
    assert (time.process_time() - started) / 5 < 0.1


def test_fit_says_which_class_it_returns(name: str, fitted: Ready) -> None:
    fit_method = component_class(BACKBONES, name, where="backbones").fit
    assert typing.get_type_hints(fit_method)["return"] is type(fitted.fitted)
