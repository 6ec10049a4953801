"""What every encoder of the table promises."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from fusion_automl.candidate import Spec
from fusion_automl.component import build, component_class, hyperparameters, missing_libraries
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Schema
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ENCODERS, FittedEncoder, Matrix
from fusion_automl.errors import OutOfTime

from .rows import mixed_dataset

OTHER_VALUES: dict[str, dict[str, Any]] = {
    "onehot": {"min_frequency": 16, "max_categories": 2, "scale": "quantile"},
    "ordinal": {"min_frequency": 16, "max_categories": 2},
    "tfidf": {
        "words": 10,
        "word_ngrams": 1,
        "chars": 50,
        "char_ngrams": 3,
        "min_rows": 5,
        "sublinear": False,
        "components": 4,
    },
    "pixels": {"size": 8, "components": 5, "whiten": True},
    "hog": {"size": 16, "cell": 8, "orientations": 6, "components": 5},
    "series_stats": {"bands": 4},
    "minirocket": {"kernels": 168, "max_length": 16},
    "text_embedding": {"checkpoint": "other text", "max_length": 4, "normalize": False},
    "image_embedding": {"checkpoint": "other image", "normalize": True},
}
"""For each hyperparameter a value that must change the result."""
NEEDS: dict[tuple[str, str], dict[str, Any]] = {("tfidf", "char_ngrams"): {"chars": 50}}
"""Hyperparameters that only matter where another one has this value."""
STARTS = {"text_embedding": "text", "image_embedding": "image"}
"""The tiny nets that stand for the pretrained ones."""
FOLDERS: dict[str, str] = {}
"""Where those nets are, once the suite has begun."""


@pytest.fixture(scope="module", autouse=True)
def _tiny_nets(checkpoints: dict[str, str]) -> None:
    FOLDERS.update(checkpoints)


def fit(name: str, data: Dataset, *, seed: int = 0, **params: Any) -> FittedEncoder:
    if name in STARTS:
        params["checkpoint"] = FOLDERS[params.get("checkpoint", STARTS[name])]
    encoder = build(ENCODERS, Spec.of(name, **params), where="encoders")
    fitted: FittedEncoder = encoder.fit(data, seed=seed, deadline=Deadline.never(), threads=1)
    return fitted


def dense(matrix: Matrix) -> npt.NDArray[np.float32]:
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray())


def encoded(name: str, data: Dataset, frame: pd.DataFrame, *, seed: int = 0, **params: Any) -> npt.NDArray[np.float32]:
    return dense(fit(name, data, seed=seed, **params).transform(frame))


@pytest.fixture(scope="module")
def train() -> Dataset:
    return mixed_dataset(rows=60, seed=0)


@pytest.fixture(scope="module")
def test() -> Dataset:
    return mixed_dataset(rows=25, seed=1)


@pytest.fixture(params=sorted(ENCODERS))
def name(request: pytest.FixtureRequest) -> str:
    missing = missing_libraries(component_class(ENCODERS, request.param, where="encoders"))
    if missing:
        pytest.skip(f"{request.param} needs {', '.join(missing)}, not installed here")
    return str(request.param)


def test_the_matrix_is_float32_finite_and_has_a_name_for_each_column(name: str, train: Dataset, test: Dataset) -> None:
    fitted = fit(name, train)
    matrix = fitted.transform(test.frame)
    assert matrix.dtype == np.float32
    assert matrix.shape == (25, len(fitted.names))
    assert len(set(fitted.names)) == len(fitted.names)
    assert not np.isinf(dense(matrix)).any()
    # Only ordinal passes missing numbers on as they are.
    assert np.isnan(dense(matrix)).any() == (name == "ordinal")


def test_categorical_columns_hold_codes(name: str, train: Dataset, test: Dataset) -> None:
    fitted = fit(name, train)
    codes = dense(fitted.transform(test.frame))[:, list(fitted.categorical)]
    assert (codes >= 0).all() and (codes == codes.round()).all()
    expected = ("colour", "shop") if name == "ordinal" else ()
    assert tuple(fitted.names[index] for index in fitted.categorical) == expected


def test_the_same_seed_gives_the_same_matrix(name: str, train: Dataset, test: Dataset) -> None:
    first, again = (encoded(name, train, test.frame, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_targets_are_never_looked_at(name: str, train: Dataset, test: Dataset) -> None:
    shuffled = train.with_targets(train.y[::-1])
    np.testing.assert_array_equal(encoded(name, train, test.frame), encoded(name, shuffled, test.frame))


def test_a_row_alone_equals_the_row_in_the_batch(name: str, train: Dataset, test: Dataset) -> None:
    fitted = fit(name, train)
    batch = dense(fitted.transform(test.frame))
    alone = [dense(fitted.transform(test.take(np.array([row])).frame)) for row in range(len(test))]
    np.testing.assert_allclose(np.vstack(alone), batch, rtol=1e-5, atol=1e-5)


def test_no_rows_give_an_empty_matrix_of_the_same_width(name: str, train: Dataset) -> None:
    fitted = fit(name, train)
    matrix = fitted.transform(train.frame.iloc[:0])
    assert matrix.shape == (0, len(fitted.names)) and matrix.dtype == np.float32


def test_it_fits_a_single_row(name: str, train: Dataset, test: Dataset) -> None:
    matrix = encoded(name, train.take(np.array([1])), test.frame)
    assert matrix.shape[0] == 25 and matrix.shape[1] >= 1
    assert not np.isinf(matrix).any()


@pytest.mark.parametrize(
    ("component", "parameter"), [(each, parameter) for each in sorted(ENCODERS) for parameter in OTHER_VALUES[each]]
)
def test_each_hyperparameter_reaches_the_matrix(component: str, parameter: str, train: Dataset, test: Dataset) -> None:
    base = NEEDS.get((component, parameter), {})
    usual = encoded(component, train, test.frame, **base)
    changed = encoded(component, train, test.frame, **base, **{parameter: OTHER_VALUES[component][parameter]})
    assert usual.shape != changed.shape or not np.allclose(usual, changed, equal_nan=True)


def test_each_hyperparameter_has_another_value_to_try(name: str) -> None:
    encoder = component_class(ENCODERS, name, where="encoders")
    by_the_bench = set() if getattr(encoder, "learns", True) else {"components"}
    assert set(OTHER_VALUES[name]) | by_the_bench == set(hyperparameters(encoder))


@pytest.mark.parametrize("params", ["usual", "other"])
def test_a_new_process_loads_what_was_saved(
    name: str, params: str, train: Dataset, test: Dataset, tmp_path: Path
) -> None:
    if name in STARTS and params == "usual":
        pytest.skip("a second process would import transformers for 10 s more and load the same net")
    fitted = fit(name, train, **(OTHER_VALUES[name] if params == "other" else {}))
    folder = tmp_path / "fitted"
    folder.mkdir()
    fitted.save(folder)
    np.save(tmp_path / "expected.npy", dense(fitted.transform(test.frame)))
    program = f"""
import sys
from pathlib import Path
import numpy as np
from tests.contracts.rows import mixed_dataset
from {type(fitted).__module__} import {type(fitted).__name__} as Fitted

fitted = Fitted.load(Path(sys.argv[1]) / "fitted")
matrix = fitted.transform(mixed_dataset(rows=25, seed=1).frame)
matrix = matrix if isinstance(matrix, np.ndarray) else matrix.toarray()
np.testing.assert_allclose(matrix, np.load(Path(sys.argv[1]) / "expected.npy"), rtol=1e-6, atol=1e-6)
print(repr((fitted.names, fitted.categorical)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == repr((fitted.names, fitted.categorical))


def test_missing_cells_and_unseen_values_are_survived(name: str, train: Dataset, test: Dataset) -> None:
    fitted = fit(name, train)
    usual = dense(fitted.transform(test.frame))
    odd = test.frame.copy()
    odd.loc[:9] = pd.DataFrame({column: [_missing(str(column), train.schema)] * 10 for column in odd}).astype(
        odd.dtypes
    )
    odd.loc[10:, "colour"] = "never seen"
    odd.loc[10:, "weight"] = 1e30
    odd.loc[10:, "title"] = "entirely ☃ unheard-of"
    matrix = dense(fitted.transform(odd))
    assert not np.isinf(matrix).any() and matrix.shape == usual.shape
    np.testing.assert_allclose(matrix[:10], np.repeat(matrix[:1], 10, axis=0), rtol=1e-4, atol=1e-5)
    if name == "onehot":
        assert np.abs(matrix).max() <= 3


def test_columns_without_a_single_value_are_survived(name: str, train: Dataset, test: Dataset) -> None:
    empty = {column: [_missing(str(column), train.schema)] * 60 for column in train.frame}
    data = replace(train, frame=pd.DataFrame(empty).astype(train.frame.dtypes))
    fitted = fit(name, data)
    matrix = dense(fitted.transform(test.frame))
    assert matrix.shape == (25, len(fitted.names)) and matrix.shape[1] >= 1
    assert not np.isinf(matrix).any()


def test_a_passed_deadline_ends_the_fit_at_once(name: str, train: Dataset) -> None:
    encoder = build(ENCODERS, Spec.of(name), where="encoders")
    with pytest.raises(OutOfTime, match=f"{name}: no time left"):
        encoder.fit(train, seed=0, deadline=Deadline.after(-1), threads=1)


def _missing(column: str, schema: Schema) -> Any:
    kind = next(each.kind for each in schema.columns if each.name == column)
    return {"numeric": np.nan, "boolean": np.nan, "datetime": pd.NaT}.get(kind)
