"""A version on trial: a canary answers its share and costs nobody an answer; a shadow is compared and seen by nobody."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fusion_automl.data.plain import to_plain
from fusion_automl.data.schema import Schema
from fusion_automl.ensemble.decide import Decision
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.intake import Reader
from fusion_automl.serve.model import Model, open_model
from fusion_automl.serve.models import Models
from fusion_automl.serve.plan import Plan, Setup
from fusion_automl.serve.rows import Request, read_request
from fusion_automl.serve.served import Predicted
from fusion_automl.serve.shadow import AT_ONCE, Shadow
from tests.contracts.rows import SCHEMA, mixed_dataset

BODY = {"rows": to_plain(mixed_dataset("binary", rows=30, seed=5).frame, SCHEMA)}


@pytest.fixture(scope="module")
def old(run_folder: Path) -> Model:
    return open_model(run_folder)


@pytest.fixture
def new(old: Model) -> Model:
    """Another version, which says `no` to all."""
    manifest = old.artifact.manifest
    readout = replace(manifest.readout, decision=Decision((1.0, 0.0)))
    artifact = replace(old.artifact, manifest=replace(manifest, readout=readout), parts=dict(old.artifact.parts))
    return replace(old, artifact=artifact, version="new")


async def trial(old: Model, new: Model, share: float) -> tuple[Models, httpx.AsyncClient]:
    models = Models(load=lambda path: {"old": old, "new": new}[path])
    await models.update(Setup((Plan("shirts", "old").trying("new", share=share),)))
    transport = httpx.ASGITransport(make_app(models, Tokens([digest("sesame")])))
    headers = {"Authorization": "Bearer sesame"}
    return models, httpx.AsyncClient(transport=transport, base_url="http://service", headers=headers)


async def figures(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """By name, version and outcome or status, where there is one."""
    found = {}
    for family in text_string_to_metric_families((await client.get("/metrics")).text):
        for sample in family.samples:
            labels = [sample.labels[name] for name in ("version", "outcome", "status") if name in sample.labels]
            found[sample.name.removeprefix("fusion_automl_"), *labels] = sample.value
    return found


def test_a_canary_answers_its_share_and_is_counted_apart(old: Model, new: Model) -> None:
    async def run() -> None:
        _, client = await trial(old, new, 0.25)
        body = {"rows": BODY["rows"][:1]}
        versions = [(await client.post("/v1/predict", json=body)).json()["version"] for _ in range(100)]
        assert 5 <= versions.count("new") <= 50 and set(versions) == {"new", old.version}
        found = await figures(client)
        assert found["requests_total", "new", "200"] == found["rows_total", "new"] == versions.count("new")
        assert found["requests_total", old.version, "200"] == versions.count(old.version)
        (told,) = (await client.get("/v1/models")).json()["models"]
        assert told["version"] == old.version and told["canary"] == {"version": "new", "share": 0.25}

    asyncio.run(run())


@pytest.mark.parametrize("trouble", ["fails", "wants other columns"])
def test_a_canary_costs_nobody_an_answer(old: Model, new: Model, regression_run: Path, trouble: str) -> None:
    async def run() -> None:
        schema = new.artifact.manifest.schema
        stranger = replace(schema.columns[0], name="never heard of")
        example = {**new.artifact.manifest.example, stranger.name: None}
        columns = (*schema.columns, stranger)
        wanting = replace(new.artifact.manifest, schema=replace(schema, columns=columns), example=example)
        tried = new if trouble == "fails" else replace(new, artifact=replace(new.artifact, manifest=wanting))
        _, client = await trial(old, tried, 0.999)
        if trouble == "fails":
            dict.clear(new.artifact.parts)  # type: ignore[arg-type]  # one that breaks after its example
        answers = [await client.post("/v1/predict", json=BODY) for _ in range(5)]
        assert {(answer.status_code, answer.json()["version"]) for answer in answers} == {(200, old.version)}
        found = await figures(client)
        assert found["trial_failures_total", "new"] == (5 if trouble == "fails" else 0)
        assert found["refused_rows_total", "new"] == (0 if trouble == "fails" else 150)
        bad = await client.post("/v1/predict", content=b"{")
        assert bad.status_code == 400

    asyncio.run(run())


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to pass")


def test_a_shadow_is_compared_and_seen_by_nobody(old: Model, new: Model) -> None:
    async def run() -> None:
        _, client = await trial(old, new, 0)
        answer = (await client.post("/v1/predict", json=BODY)).json()
        assert answer["version"] == old.version

        async def compared() -> bool:
            return ("shadow_rows_total", "new", "different") in await figures(client)

        await until(compared)
        found = await figures(client)
        said_no = sum(one["prediction"] == "no" for one in answer["predictions"])
        assert found["shadow_rows_total", "new", "same"] == said_no
        assert found["shadow_rows_total", "new", "different"] == 30 - said_no > 0
        assert found["shadow_seconds_count", "new"] == 1 and found["requests_total", old.version, "200"] >= 1
        dict.clear(new.artifact.parts)  # type: ignore[arg-type]
        assert (await client.post("/v1/predict", json=BODY)).status_code == 200

        async def failed() -> bool:
            return (await figures(client))["trial_failures_total", "new"] == 1

        await until(failed)
        assert (await figures(client))["shadow_rows_total", "new", "unanswered"] == 30
        (told,) = (await client.get("/v1/models")).json()["models"]
        assert told["shadow"] == {"version": "new"} and "canary" not in told

    asyncio.run(run())


def test_copies_are_dropped_when_there_are_too_many(old: Model, new: Model) -> None:
    async def run() -> None:
        models, client = await trial(old, new, 0)
        entry = await models.get("shirts")
        assert entry.shadow is not None
        shadow, go = Shadow(models.metrics), asyncio.Event()
        read = Reader(partial(read_request, json.dumps(BODY).encode()))
        answered: Predicted = await entry.current.predict(read)
        loop = asyncio.get_running_loop()

        def slow(schema: Schema) -> Request:
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)
            return read.read(schema)

        for _ in range(AT_ONCE + 2):
            await shadow.send(Reader(slow), current=entry.current, answered=answered, tried=entry.shadow)
        assert (await figures(client))["shadow_rows_total", "new", "dropped"] == 2 * 30
        go.set()

        async def compared() -> bool:
            return (await figures(client))["shadow_seconds_count", "new"] == AT_ONCE if seen() else False

        def seen() -> bool:
            return bool(models.metrics.shadow_seconds._metrics)

        await until(compared)

    asyncio.run(run())
