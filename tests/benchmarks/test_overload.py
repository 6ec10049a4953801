"""A service with room for four, asked by twenty at once."""

from __future__ import annotations

import json
from pathlib import Path

from load import TOKEN, busy

from fusion_automl.client import Client
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.limits import Limits
from fusion_automl.serve.model import open_model
from tests.contracts.rows import mixed_dataset
from tests.serve.conftest import REGRESSION, make_run, serving
from tests.serve.listening import listening


def test_five_times_what_there_is_room_for_gets_answers_or_clean_refusals(tmp_path: Path) -> None:
    model = open_model(make_run(tmp_path / "prices", "regression", REGRESSION))
    body = json.dumps({"rows": [model.artifact.manifest.example]}).encode()
    app = Limits(make_app(serving(prices=model), Tokens([digest(TOKEN)])), max_requests=4)
    with listening(app) as port:
        found = busy(f"http://127.0.0.1:{port}/v1/predict", body, clients=20, seconds=2)
        with Client(f"http://127.0.0.1:{port}", TOKEN) as client:
            assert len(client.predict(mixed_dataset("regression", rows=3).frame)) == 3
    assert set(found.statuses) == {200, 503} and found.without_retry_after == 0
