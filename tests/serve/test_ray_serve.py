"""The `serve` command as users run it: a process with Ray Serve in it, asked over HTTPS, ended by a signal."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from fusion_automl.data.plain import to_plain
from fusion_automl.serve.arrow import MAX_ARROW_ROWS
from fusion_automl.serve.model import open_model
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.command import COMMAND, ENVIRONMENT, Running, started


@pytest.fixture(scope="module")
def running(run_folder: Path, regression_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The command with two models, a certificate and without a token in its environment."""
    with started([run_folder, f"shop={regression_run}"], tmp_path_factory.mktemp("serve"), tls=True) as service:
        yield service


def test_health_needs_no_token_and_the_rest_does(running: Running) -> None:
    assert httpx.get(f"{running.url}/healthz", verify=running.trust).json() == {"status": "ok"}
    for path in ("/v1/schema", "/v1/model", "/docs", "/openapi.json", "/v1/predict"):
        answer = httpx.post(running.url + path, json={"rows": []}, verify=running.trust)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_concurrent_clients_get_the_predictions_of_their_own_rows(running: Running, run_folder: Path) -> None:
    frame = mixed_dataset("binary", rows=64, seed=7).frame
    rows = to_plain(frame, SCHEMA)
    expected = open_model(run_folder).artifact.predict_proba(frame).to_numpy()

    def ask(first: int) -> list[list[float]]:
        """Four requests of one client, one row each."""
        with running.client() as client:
            answers = [client.post("/v1/predict", json={"rows": [row]}).json() for row in rows[first : first + 4]]
        return [list(answer["predictions"][0]["probabilities"].values()) for answer in answers]

    with ThreadPoolExecutor(16) as pool:
        found = np.concatenate(list(pool.map(ask, range(0, 64, 4))))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_refusals_come_through_and_the_service_lives_on(running: Running) -> None:
    with running.client() as client:
        example = client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
        row = example["application/json"]["example"]["rows"][0]
        answer = client.post("/v1/predict", json={"rows": [{**row, "photo": "file:///etc/passwd"}]})
        assert (answer.status_code, answer.json()["detail"][0]["column"]) == (422, "photo")
        assert client.post("/v1/predict", content=b" " * (33 * 2**20)).status_code == 413
        assert client.post("/v1/predict", content=b"{").status_code == 400
        assert client.post("/v1/predict", json={"rows": [row]}).status_code == 200


def test_both_models_answer_under_their_names(running: Running, regression_run: Path) -> None:
    manifest = open_model(regression_run).artifact.manifest
    with running.client() as client:
        assert [one["model"] for one in client.get("/v1/models").json()["models"]] == ["shirts", "shop"]
        answer = client.post("/v1/models/shop/predict", json={"rows": [manifest.example]}).json()
        assert answer["model"] == "shop" and answer["predictions"][0].keys() == {"prediction", "interval"}
        assert client.get("/v1/models/hop/schema").status_code == 404


def test_a_taken_port_is_told_before_ray_starts(running: Running, run_folder: Path) -> None:
    port = running.url.rpartition(":")[2]
    command = [*COMMAND, str(run_folder), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"fusion-automl: --port: 127.0.0.1:{port} cannot be listened on (Address already in use). Choose another.\n"
    )


def test_nobody_is_spoken_to_without_tls_or_under_a_certificate_that_nobody_signed(running: Running) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{running.url}/healthz")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{running.url.replace('https', 'http')}/healthz")


def test_what_nobody_waits_for_any_more_is_not_predicted_and_probes_are_answered(running: Running) -> None:
    example = running_example(running)
    began = running.num_rows_in_batches()
    with running.busy() as big:
        with running.client() as client:
            with pytest.raises(httpx.ReadTimeout):  # the connection is closed over it
                client.post("/v1/predict", json={"rows": [example] * 7}, timeout=0.3)
            late = client.post("/v1/predict", json={"rows": [example] * 11}, headers={"X-Request-Timeout": "0.2"})
            assert (late.status_code, late.json()["detail"][:30]) == (504, "There was no answer within 0.2")
            assert client.get("/healthz").status_code == 200
        assert not big.done()
        assert big.result().status_code == 200
    with running.client() as client:
        assert client.post("/v1/predict", json={"rows": [example]}).status_code == 200
    assert running.num_rows_in_batches() - began == MAX_ARROW_ROWS + 1


def running_example(running: Running) -> dict[str, object]:
    with running.client() as client:
        return {column["name"]: column["example"] for column in client.get("/v1/schema").json()["columns"]}


def test_sigterm_lets_requests_end_and_then_all_of_it(running: Running) -> None:
    with running.busy() as big:
        running.process.send_signal(signal.SIGTERM)
        assert big.result().status_code == 200
    assert running.process.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/healthz")
    said = running.log.read_text().splitlines()
    assert len(said) == 4 and said[1].endswith(running.token), said
