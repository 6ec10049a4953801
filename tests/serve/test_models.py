"""Several models in one service: by name, loaded when asked for, let go in turn, and swapped only for what is warm."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fusion_automl.errors import FusionError
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.intake import Reader
from fusion_automl.serve.model import Model, open_model
from fusion_automl.serve.models import Models
from fusion_automl.serve.plan import Plan, Setup
from fusion_automl.serve.rows import Refused, read_request
from tests.serve.conftest import serving, tampered


@pytest.fixture(scope="module")
def shirts(run_folder: Path) -> Model:
    return open_model(run_folder)


@pytest.fixture(scope="module")
def prices(regression_run: Path) -> Model:
    return open_model(regression_run)


def client_of(models: Models) -> TestClient:
    return TestClient(make_app(models, Tokens([digest("sesame")])), headers={"Authorization": "Bearer sesame"})


def rows_of(model: Model) -> dict[str, Any]:
    return {"rows": [model.artifact.manifest.example]}


def setup(*plans: Plan, max_loaded: int = 4) -> Setup:
    return Setup(plans, max_loaded)


def test_each_model_answers_under_its_name_and_the_first_without(shirts: Model, prices: Model) -> None:
    client = client_of(serving(shirts=shirts, prices=prices))
    for name, model in (("shirts", shirts), ("prices", prices)):
        answer = client.post(f"/v1/models/{name}/predict", json=rows_of(model)).json()
        assert (answer["model"], answer["version"]) == (name, model.version)
        assert client.get(f"/v1/models/{name}/schema").json()["task"] == model.artifact.manifest.task.kind
        assert client.get(f"/v1/models/{name}/model").json()["score"] == model.artifact.manifest.score
    assert client.post("/v1/predict", json=rows_of(shirts)).json()["model"] == "shirts"
    assert client.get("/v1/model").json() == client.get("/v1/models/shirts/model").json()
    assert client.get("/v1/models").json()["models"] == [
        {"model": "shirts", "loaded": True, "version": shirts.version},
        {"model": "prices", "loaded": True, "version": prices.version},
    ]


@pytest.mark.parametrize("name", ["trousers", "..", "a b", "x" * 1000])
def test_an_unknown_model_is_told_with_those_there_are(shirts: Model, prices: Model, name: str) -> None:
    client = client_of(serving(shirts=shirts, prices=prices))
    answer = client.post(f"/v1/models/{name.replace('..', '%2e%2e')}/predict", json=rows_of(shirts))
    assert answer.status_code == 404 and len(answer.text) < 200
    assert answer.json()["detail"].endswith(" here. Models: shirts, prices.")
    assert 'path="/v1/models/{model}/predict"' in client.get("/metrics").text  # and not a label of the client's making


@pytest.mark.parametrize("swapped", [False, True])
def test_the_documentation_has_each_model_s_own_example(shirts: Model, prices: Model, swapped: bool) -> None:
    models = serving(shirts=shirts, prices=prices)
    client = client_of(models)
    if swapped:
        client.get("/openapi.json")
        asyncio.run(models.update(setup(Plan("shirts", "prices"), Plan("prices", "shirts"))))
    document = client.get("/openapi.json").json()
    found = [path for path in document["paths"] if path.endswith("/predict")]
    assert found == ["/v1/predict", "/v1/models/shirts/predict", "/v1/models/prices/predict"]
    for path in found:
        operation = document["paths"][path]["post"]
        example = operation["requestBody"]["content"]["application/json"]["example"]
        answer = client.post(path, json=example).json()
        assert answer == operation["responses"]["200"]["content"]["application/json"]["example"]


def test_the_one_used_longest_ago_is_let_go_and_loaded_again_when_asked_for(shirts: Model) -> None:
    loads: list[str] = []

    def load(path: str) -> Model:
        loads.append(path)
        return shirts

    models = Models(load)
    plans = [Plan(name, name) for name in "abc"]
    asyncio.run(models.update(setup(*plans, max_loaded=2)))
    client = client_of(models)
    assert loads == ["a", "b"]
    for name, expected in (("a", "ab"), ("c", "abc"), ("a", "abc"), ("b", "abcb"), ("c", "abcbc"), ("b", "abcbc")):
        assert client.post(f"/v1/models/{name}/predict", json=rows_of(shirts)).json()["model"] == name
        assert "".join(loads) == expected
    assert [one["loaded"] for one in client.get("/v1/models").json()["models"]] == [False, True, True]
    loaded = [line for line in client.get("/metrics").text.splitlines() if line.startswith("fusion_automl_loaded{")]
    assert sorted(line[-3:] for line in loaded) == ["0.0", "1.0", "1.0"]


def test_a_model_is_loaded_once_however_many_ask_and_holds_up_nobody_else(shirts: Model) -> None:
    loads: list[str] = []
    go = threading.Event()

    def load(path: str) -> Model:
        loads.append(path)
        if path == "slow":
            assert go.wait(10)
        return shirts

    async def run() -> None:
        models = Models(load)
        await models.update(setup(Plan("quick", "quick"), Plan("slow", "slow"), max_loaded=1))
        asked = [asyncio.create_task(models.get("slow")) for _ in range(5)]
        await asyncio.sleep(0.05)
        asked[0].cancel()  # its client went away
        # While it loads it has the only place; what was let go for it comes back after it.
        back = asyncio.create_task(models.get("quick"))
        go.set()
        assert [entry.plan.name for entry in await asyncio.gather(*asked[1:], back)] == ["slow"] * 4 + ["quick"]
        assert loads == ["quick", "slow", "quick"]

    asyncio.run(run())


def test_a_swap_is_loaded_beside_requests_and_reuses_what_is_loaded(shirts: Model, prices: Model) -> None:
    go, begun = threading.Event(), threading.Event()
    go.set()
    loads: list[str] = []

    def load(path: str) -> Model:
        loads.append(path)
        begun.set()
        assert go.wait(10)
        return {"1": shirts, "2": prices}[path]

    async def run() -> None:
        models = Models(load)
        first = Plan("shop", "1")
        await models.update(setup(first))
        go.clear(), begun.clear()
        swap = asyncio.create_task(models.update(setup(first.to("2"))))
        await asyncio.to_thread(begun.wait, 10)
        held = await models.get("shop")
        assert held.current.model.version == shirts.version  # until the new one is warm
        go.set()
        await swap
        assert (await models.get("shop")).current.model.version == prices.version
        found = await held.current.predict(Reader(partial(read_request, json.dumps(rows_of(shirts)).encode())))
        assert len(found.outputs) == 1  # a request that came before the swap is answered by the old one
        await models.update(setup(first.to("2").trying("1", share=0.5)))
        await models.update(setup(first.to("2").trying("1", share=0.5).promoted()))
        assert (await models.get("shop")).current.model.version == shirts.version
        assert loads == ["1", "2", "1"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["tampered", "missing"])
def test_a_version_that_does_not_load_leaves_the_old_one(run_folder: Path, tmp_path: Path, kind: str) -> None:
    bad = tampered(run_folder, tmp_path / "bad") if kind == "tampered" else tmp_path / "nowhere"
    models = Models()
    plan = Plan("shirts", str(run_folder))
    asyncio.run(models.update(setup(plan)))
    client = client_of(models)
    before = client.post("/v1/predict", json=rows_of(open_model(run_folder))).json()
    for wrong in (plan.to(str(bad)), plan.trying(str(bad), share=0.5)):
        asyncio.run(models.update(setup(wrong)))
        assert client.post("/v1/predict", json=rows_of(open_model(run_folder))).json() == before
        (told,) = client.get("/v1/models").json()["models"]
        assert told["version"] == before["version"] and "canary" not in told
        assert str(tmp_path) in models.faults["shirts"] and str(tmp_path) not in told["fault"]
    assert 'fusion_automl_load_failures_total{model="shirts"} 2.0' in client.get("/metrics").text
    asyncio.run(models.update(setup(plan)))
    assert "fault" not in client.get("/v1/models").json()["models"][0]


def test_a_replica_that_comes_while_a_version_is_broken_serves_the_one_before(run_folder: Path, tmp_path: Path) -> None:
    models = Models()
    plan = Plan("shirts", str(run_folder)).to(str(tmp_path / "nowhere"))
    asyncio.run(models.update(setup(plan)))
    assert client_of(models).get("/v1/model").json()["version"] == open_model(run_folder).version
    assert "nowhere" in models.faults["shirts"]
    with pytest.raises(FusionError, match="nowhere"):
        asyncio.run(Models().update(setup(Plan("shirts", str(tmp_path / "nowhere")))))


@pytest.mark.parametrize("max_loaded", [1, 2])
def test_a_model_that_cannot_be_loaded_is_a_503_until_it_can(run_folder: Path, tmp_path: Path, max_loaded: int) -> None:
    models = Models()
    gone = Plan("gone", str(tmp_path / "gone"))
    asyncio.run(models.update(setup(Plan("shirts", str(run_folder)), gone, max_loaded=max_loaded)))
    client = client_of(models)
    answer = client.get("/v1/models/gone/schema")
    assert answer.status_code == 503 and str(tmp_path) not in answer.text
    assert client.get("/v1/schema").status_code == 200
    shutil.copytree(run_folder / "artifact", tmp_path / "gone")
    assert client.get("/v1/models/gone/schema").status_code == 200
    assert "fault" not in client.get("/v1/models").json()["models"][1]


def test_models_come_and_go_with_the_setup(shirts: Model, prices: Model) -> None:
    models = serving(shirts=shirts, prices=prices)
    asyncio.run(models.update(setup(Plan("prices", "prices"))))
    client = client_of(models)
    assert client.get("/v1/model").json()["model"] == "prices"
    assert client.get("/v1/models/shirts/model").status_code == 404
    with pytest.raises(Refused):
        asyncio.run(models.get("shirts"))
