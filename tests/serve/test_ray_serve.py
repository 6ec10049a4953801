"""The `serve` command as users run it: a process with Ray Serve in it, asked over HTTP, ended by a signal."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from fusion_automl.data.plain import to_plain
from fusion_automl.serve.model import open_model
from tests.contracts.rows import SCHEMA, mixed_dataset

COMMAND = [sys.executable, "-c", "from fusion_automl.cli import main; main()", "serve"]
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith("RAY_") and name != "FUSION_AUTOML_TOKEN"
}
START_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Running:
    url: str
    token: str
    log: Path
    process: subprocess.Popen[bytes]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def running(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The command without a token in its environment, once it says that it is ready."""
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*COMMAND, str(run_folder), "--port", str(port)], stdout=file, stderr=file, env=ENVIRONMENT
        )
    try:
        ends = time.monotonic() + START_SECONDS
        while "Try: curl" not in log.read_text():
            assert process.poll() is None and time.monotonic() < ends, log.read_text()
            time.sleep(0.1)
        (token,) = re.findall(r"shown once: (\S+)", log.read_text())
        yield Running(f"http://127.0.0.1:{port}", token, log, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_health_needs_no_token_and_the_rest_does(running: Running) -> None:
    assert httpx.get(f"{running.url}/healthz").json() == {"status": "ok"}
    for path in ("/v1/schema", "/v1/model", "/docs", "/openapi.json", "/v1/predict"):
        answer = httpx.post(running.url + path, json={"rows": []})
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


def test_a_taken_port_is_told_before_ray_starts(running: Running, run_folder: Path) -> None:
    port = running.url.rpartition(":")[2]
    command = [*COMMAND, str(run_folder), "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        f"fusion-automl: --port: 127.0.0.1:{port} cannot be listened on (Address already in use). Choose another.\n"
    )


def test_sigterm_ends_it_cleanly(running: Running) -> None:
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(60) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/healthz")
    said = running.log.read_text().splitlines()
    assert len(said) == 3 and said[1].endswith(running.token), said
