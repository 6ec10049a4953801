"""What is turned away and given up: over the real application, with little room and little time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.limits import BUSY, Limits
from fusion_automl.serve.model import Model
from tests.serve.conftest import serving

HEADERS = {"Authorization": "Bearer sesame", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def app(model: Model) -> FastAPI:
    return make_app(serving(shirts=model), Tokens([digest("sesame")]))


@pytest.fixture
def body(model: Model) -> bytes:
    return json.dumps({"rows": [model.artifact.manifest.example]}).encode()


def client_of(app: FastAPI, **limits: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=Limits(app, **limits))
    return httpx.AsyncClient(transport=transport, base_url="http://here", headers=HEADERS)


async def in_two(body: bytes, go: asyncio.Event) -> AsyncIterator[bytes]:
    """A body whose second half does not come before `go`."""
    yield body[: len(body) // 2]
    await go.wait()
    yield body[len(body) // 2 :]


@pytest.mark.parametrize("limit", ["max_requests", "max_bytes"])
def test_what_there_is_no_room_for_is_turned_away_and_the_rest_is_answered(
    app: FastAPI, body: bytes, limit: str
) -> None:
    room = {"max_requests": 2, "max_bytes": 2 * len(body)}

    async def run() -> tuple[httpx.Response, ...]:
        async with client_of(app, **{limit: room[limit]}) as client:
            go = asyncio.Event()
            first = [asyncio.create_task(client.post("/v1/predict", content=in_two(body, go))) for _ in range(2)]
            await asyncio.sleep(0.05)
            refused = await client.post("/v1/predict", content=b" " * 2 * len(body))
            probe = await client.get("/healthz")
            go.set()
            return refused, probe, *(await asyncio.gather(*first)), await client.get("/v1/schema")

    refused, probe, *answered = asyncio.run(run())
    assert (refused.status_code, refused.headers["Retry-After"], refused.json()) == (503, "1", {"detail": BUSY})
    assert probe.status_code == 200 and [answer.status_code for answer in answered] == [200] * 3


@pytest.mark.parametrize(("max_seconds", "asked"), [(60, "0.1"), (60, "000.05"), (0.1, None), (0.1, "1e9")])
def test_what_takes_too_long_is_given_up(app: FastAPI, body: bytes, max_seconds: float, asked: str | None) -> None:
    async def run() -> httpx.Response:
        headers = {} if asked is None else {"X-Request-Timeout": asked}
        async with client_of(app, max_seconds=max_seconds) as client:
            return await client.post("/v1/predict", content=in_two(body, asyncio.Event()), headers=headers)

    answer = asyncio.run(run())
    seconds = min(max_seconds, float(asked or max_seconds))
    assert answer.status_code == 504
    assert answer.json()["detail"].startswith(f"There was no answer within {seconds:g} s, so the request was given up.")


@pytest.mark.parametrize("asked", ["0", "-1", "soon", "1e999", "nan", "", "1" * 5000])
def test_a_time_that_is_none_is_told(app: FastAPI, asked: str) -> None:
    async def run() -> httpx.Response:
        async with client_of(app) as client:
            return await client.get("/v1/schema", headers={"X-Request-Timeout": asked})

    answer = asyncio.run(run())
    assert answer.status_code == 400 and answer.json()["detail"].startswith("X-Request-Timeout: found ")
