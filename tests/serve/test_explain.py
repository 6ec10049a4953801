"""Shapley values against the definition, against functions whose values are known, and over a real artifact."""

from __future__ import annotations

import itertools
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from fastapi.testclient import TestClient

from fusion_automl.artifact import load
from fusion_automl.data.plain import to_plain
from fusion_automl.explain import EXACT_COLUMNS, SETS_PER_ROW, coalitions_of, explain
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import open_model
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.conftest import serving


def names(count: int) -> tuple[str, ...]:
    return tuple(f"column {number}" for number in range(count))


def test_few_columns_have_the_values_of_the_definition() -> None:
    asked = coalitions_of(names(4))
    game = np.random.default_rng(0).normal(size=(16, 1))  # any function of the set
    found = asked.values(game)[0, :, 0]
    at = {tuple(np.flatnonzero(told)): value for told, value in zip(asked.told, game[:, 0], strict=True)}
    orders = list(itertools.permutations(range(4)))
    for column in range(4):
        gains = []
        for order in orders:
            before = order[: order.index(column)]
            gains.append(at[tuple(sorted((*before, column)))] - at[tuple(sorted(before))])
        assert found[column] == pytest.approx(np.mean(gains))


@pytest.mark.parametrize("count", [1, 2, EXACT_COLUMNS, EXACT_COLUMNS + 1, 30, 300])
def test_values_of_a_sum_are_its_terms_and_always_add_up(count: int) -> None:
    asked = coalitions_of(names(count))
    rng = np.random.default_rng(1)
    terms = rng.normal(size=(2, count))
    told = np.tile(asked.told, (2, 1))
    plain = (told * np.repeat(terms, len(asked.told), axis=0)).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(asked.values(plain)[:, :, 0], terms, atol=1e-9)
    tangled = np.sin(3 * plain) + plain**2  # every column acts through all the others
    gain = tangled.reshape(2, -1)[:, -1] - tangled.reshape(2, -1)[:, 0]
    np.testing.assert_allclose(asked.values(tangled)[:, :, 0].sum(axis=1), gain, atol=1e-9)
    assert not asked.told[0].any() and asked.told[-1].all()
    assert len(asked.told) <= max(SETS_PER_ROW, 2 * count)


def test_a_sample_of_orders_comes_near_and_is_the_same_each_time() -> None:
    columns = EXACT_COLUMNS + 2
    asked = coalitions_of(names(columns))
    pairs = asked.told[:, :1] * asked.told[:, 1:2] * 1.0  # two columns that count together only, and share it equally
    found = asked.values(pairs)[0, :, 0]
    assert found[:2] == pytest.approx([0.5, 0.5], abs=1e-9)  # each order's reverse has them the other way round
    assert found[2:] == pytest.approx(np.zeros(columns - 2), abs=1e-12)
    again = coalitions_of(names(columns))
    assert (asked.told == again.told).all() and (asked.weights == again.weights).all()


def test_an_artifact_s_predictions_are_taken_apart_and_sum_up(run_folder: Path) -> None:
    artifact = load(run_folder)
    frame = mixed_dataset("binary", rows=5, seed=5).frame
    found = explain(artifact, frame)
    table = artifact.predict_proba(frame)
    nothing = artifact.run(frame.iloc[:1].assign(**{name: _missing(frame[name]) for name in frame}))[0]
    for row, one in enumerate(found):
        assert one.prediction == table.iloc[row].idxmax()
        assert one.value == pytest.approx(table.iloc[row][one.prediction], abs=1e-6)
        assert one.base == pytest.approx(nothing[list(table).index(one.prediction)], abs=1e-6)
        assert one.base + sum(one.contributions.values()) == pytest.approx(one.value, abs=1e-9)
        assert list(one.contributions) == list(frame)
    # No member reads a text, and the images, series and numbers count.
    assert all(abs(one.contributions["title"]) < 1e-12 for one in found)
    assert all(max(abs(one.contributions[name]) for one in found) > 1e-4 for name in ("photo", "left", "size"))


def test_a_missing_cell_adds_nothing_and_rows_do_not_touch_each_other(run_folder: Path) -> None:
    artifact = load(run_folder)
    frame = mixed_dataset("binary", rows=4, seed=7).frame
    frame.loc[1, "photo"] = None
    together = explain(artifact, frame)
    assert abs(together[1].contributions["photo"]) < 1e-12
    (alone,) = explain(artifact, frame.iloc[[2]])
    assert alone.contributions == pytest.approx(together[2].contributions, abs=1e-6)
    assert explain(artifact, frame.iloc[:0]) == []


def test_values_are_explained_in_the_target_s_own_unit(regression_run: Path) -> None:
    artifact = load(regression_run)
    frame = mixed_dataset("regression", rows=3, seed=5).frame
    for one, value in zip(explain(artifact, frame), artifact.predict(frame), strict=True):
        assert one.value == pytest.approx(value, abs=1e-6) and one.prediction == one.value
        assert one.base + sum(one.contributions.values()) == pytest.approx(one.value, abs=1e-9)


@pytest.fixture(scope="module")
def client(run_folder: Path) -> TestClient:
    app = make_app(serving(shirts=open_model(run_folder)), Tokens([digest("sesame")]))
    return TestClient(app, headers={"Authorization": "Bearer sesame"})


def test_the_service_explains_what_it_predicts(client: TestClient, run_folder: Path) -> None:
    artifact = load(run_folder)
    frame = mixed_dataset("binary", rows=5, seed=5).frame
    body = {"rows": to_plain(frame, SCHEMA)}
    answer = client.post("/v1/explain", json=body).json()
    assert answer == client.post("/v1/models/shirts/explain", json=body).json()
    assert (answer["model"], answer["baseline"]) == ("shirts", "every column missing")
    assert answer["unit"] == "the probability of the predicted 'target'"
    assert answer["method"] == "Shapley values over 22 sampled orders of the columns"
    predictions = client.post("/v1/predict", json=body).json()["predictions"]
    expected = explain(artifact, frame)
    for one, predicted, other in zip(answer["explanations"], predictions, expected, strict=True):
        assert one["prediction"] == predicted["prediction"]
        assert one["value"] == pytest.approx(predicted["probabilities"][one["prediction"]], abs=1e-6)
        assert one["base"] + sum(one["contributions"].values()) == pytest.approx(one["value"], abs=1e-9)
        assert one["contributions"] == pytest.approx(other.contributions, abs=1e-6)
    nothing = client.post("/v1/predict", json={"rows": [dict.fromkeys(SCHEMA.used)]}).json()["predictions"][0]
    first = answer["explanations"][0]
    assert first["base"] == pytest.approx(nothing["probabilities"][first["prediction"]], abs=1e-6)


def test_an_explanation_refuses_what_a_prediction_does(client: TestClient) -> None:
    (row,) = to_plain(mixed_dataset("binary", rows=1).frame, SCHEMA)
    bad = client.post("/v1/explain", json={"rows": [row, {**row, "size": "large"}]})
    assert bad.status_code == 422 and [(one["row"], one["column"]) for one in bad.json()["detail"]] == [(1, "size")]
    partial = client.post("/v1/explain", json={"rows": [{}, row], "partial": True}).json()
    assert partial["explanations"][0] is None and partial["explanations"][1]["contributions"].keys() == row.keys()
    assert {one["row"] for one in partial["errors"]} == {0}
    many = client.post("/v1/explain", json={"rows": [row] * 65})
    assert many.status_code == 413 and "at most 64 are explained" in many.json()["detail"]
    assert client.post("/v1/explain", json={"rows": []}).json()["explanations"] == []
    assert client.post("/v1/explain", json={"rows": [row]}, headers={"Authorization": ""}).status_code == 401


def test_values_are_explained_by_the_service_without_their_interval(regression_run: Path) -> None:
    app = make_app(serving(prices=open_model(regression_run)), Tokens([digest("sesame")]))
    client = TestClient(app, headers={"Authorization": "Bearer sesame"})
    body = {"rows": to_plain(mixed_dataset("regression", rows=2, seed=5).frame, SCHEMA)}
    answer = client.post("/v1/explain", json=body).json()
    values = [one["prediction"] for one in client.post("/v1/predict", json=body).json()["predictions"]]
    assert answer["unit"] == "'target'"
    assert [one["prediction"] for one in answer["explanations"]] == pytest.approx(values, abs=1e-6)
    assert [one["value"] for one in answer["explanations"]] == pytest.approx(values, abs=1e-6)


def test_the_documentation_of_an_explanation_holds(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/v1/explain"]["post"]
    example = described["requestBody"]["content"]["application/json"]["example"]
    answer = client.post("/v1/explain", json=example)
    jsonschema.validate(answer.json(), described["responses"]["200"]["content"]["application/json"]["schema"])
    assert described["requestBody"]["content"]["application/json"]["schema"]["properties"]["rows"]["maxItems"] == 64


def _missing(cells: pd.Series) -> object:
    return np.nan if cells.dtype == float else pd.NaT if cells.dtype.kind == "M" else None
