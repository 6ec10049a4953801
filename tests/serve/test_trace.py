"""What is known of requests afterwards."""

from __future__ import annotations

import json
import re

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from fusion_automl.data.plain import to_plain
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import Model
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.conftest import Listen, serving

HEADERS = {"Authorization": "Bearer sesame"}


@pytest.fixture
def client(model: Model) -> TestClient:
    return TestClient(make_app(serving(shirts=model), Tokens([digest("sesame")])), headers=HEADERS)


@pytest.mark.parametrize(("given", "kept"), [("order-7.b_2", True), ("a b", False), ("x" * 65, False), ("", False)])
def test_each_answer_carries_an_id(client: TestClient, given: str, kept: bool) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}):
        answered = client.get("/v1/schema", headers={**headers, "X-Request-ID": given}).headers["X-Request-ID"]
        assert (answered == given) if kept else re.fullmatch("[0-9a-f]{32}", answered)


def test_the_log_has_a_line_of_json_a_request(client: TestClient, listen: Listen) -> None:
    said = listen("fusion_automl.serve.trace")
    client.get("/healthz")  # every few seconds, by each proxy: not a line each
    client.get("/v1/model", headers={"X-Request-ID": "friend"})
    client.get("/secret", headers={"X-Request-ID": "thief", "Authorization": "Bearer wrong"})
    first, second = (json.loads(record.getMessage()) for record in said.records)
    assert (first["request_id"], first["method"], first["path"], first["status"]) == ("friend", "GET", "/v1/model", 200)
    assert first["ms"] > 0
    assert (second["request_id"], second["path"], second["status"]) == ("thief", "other", 401)


def test_figures_count_requests_rows_and_refusals(client: TestClient, model: Model) -> None:
    row = model.artifact.manifest.example
    client.post("/v1/predict", json={"rows": [row, row]})
    client.post("/v1/predict", json={"rows": [row, {}, {"x": 1}]})
    client.get("/wp-admin")
    client.get("/v1/model", headers={"Authorization": "Bearer wrong"})
    answer = client.get("/metrics")
    found = {
        (sample.name, sample.labels.get("path"), sample.labels.get("status")): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if (sample.labels["model"], sample.labels["version"]) in (("shirts", model.version), ("", ""))
    }
    assert found["fusion_automl_requests_total", "/v1/predict", "200"] == 1
    assert found["fusion_automl_requests_total", "/v1/predict", "422"] == 1
    assert found["fusion_automl_requests_total", "other", "404"] == 1
    assert found["fusion_automl_requests_total", "/v1/model", "401"] == 1
    assert found["fusion_automl_request_seconds_count", "/v1/predict", None] == 2
    assert found["fusion_automl_rows_total", None, None] == 2
    assert found["fusion_automl_refused_rows_total", None, None] == 2
    assert found["fusion_automl_batch_rows_sum", None, None] == 2


def test_rows_unlike_those_of_training_are_told_by_column(client: TestClient, model: Model) -> None:
    def drift() -> dict[tuple[str, str | None], float]:
        families = text_string_to_metric_families(client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples if "input" in sample.name]
        return {
            (sample.name.removeprefix("fusion_automl_input_"), sample.labels.get("column")): sample.value
            for sample in samples
        }

    frame = mixed_dataset("binary", rows=300, seed=5).frame
    client.post("/v1/predict", json={"rows": to_plain(frame.head(100), SCHEMA)})
    assert drift() == {("rows", None): 100}  # too few to say more
    client.post("/v1/predict", json={"rows": to_plain(frame.tail(200), SCHEMA)})
    before = drift()
    assert before["rows", None] == pytest.approx(300, rel=0.02)
    strange = frame.assign(size=frame["size"] + 1000, colour="ultraviolet", photo=None)
    client.post("/v1/predict", json={"rows": to_plain(strange, SCHEMA)})
    after = drift()
    assert after["psi", "size"] > 0.25 > before["psi", "size"]
    assert after["unseen", "colour"] == pytest.approx(0.5, abs=0.02) and before["unseen", "colour"] == 0
    assert after["missing", "photo"] > 0.5 + before["missing", "photo"] / 3
    assert after["psi", "weight"] == pytest.approx(before["psi", "weight"], abs=0.02)


def test_figures_need_the_token_and_probes_do_not(client: TestClient) -> None:
    nobody = {"Authorization": ""}
    assert client.get("/metrics", headers=nobody).status_code == 401
    assert client.get("/readyz", headers=nobody).json() == {"status": "ok"}
