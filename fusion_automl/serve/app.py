"""The web application over the models of a replica. It knows nothing of Ray."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.background import BackgroundTask

from fusion_automl.data.cells import short
from fusion_automl.serve import arrow, multipart, openapi
from fusion_automl.serve.answers import model_answer, prediction_answer, schema_answer
from fusion_automl.serve.auth import TokenDoor, Tokens
from fusion_automl.serve.intake import media_type, reader
from fusion_automl.serve.limits import Limits
from fusion_automl.serve.models import Models
from fusion_automl.serve.rows import MAX_BODY_BYTES, Refused
from fusion_automl.serve.served import Predicted, Served
from fusion_automl.serve.shadow import Shadow
from fusion_automl.serve.trace import Trace
from fusion_automl.serve.uris import ImageSource

logger = logging.getLogger(__name__)
CONTENT_TYPES = ("application/json", arrow.CONTENT_TYPE, multipart.CONTENT_TYPE)
FEW_ROWS = 100
"""Answers are written in the thread of the requests: passing them to another would take as long."""


def make_app(models: Models, tokens: Tokens, *, images: Iterable[str] = ()) -> FastAPI:
    """The application, its documentation included. Each model has paths under its name, and the first has them without, too.
    What `models` serves may change under it; `state.models` has them. Images are fetched from under the addresses `images`."""
    prefixes = tuple(images)
    source = ImageSource(prefixes) if prefixes else None

    shadow = Shadow(models.metrics)

    @_discreet
    async def predict(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        entry = await models.get(request.path_params.get("model"))
        read = await reader(await _read_body(request), content_type, entry.current.schema, source)
        for served in entry.versions():
            request.state.figures = served.figures
            try:
                predicted = await served.predict(read)
                break
            except Exception as error:
                if served is entry.current:
                    raise
                if not isinstance(error, Refused):
                    served.figures.trial_failures.inc()
                    logger.warning("request %s: the version on trial failed", request.state.request_id, exc_info=error)
        answer = await _prediction(served, predicted, in_bulk=media_type(content_type) == arrow.CONTENT_TYPE)
        if entry.shadow is not None:
            answer.background = BackgroundTask(
                shadow.send, read, current=served, answered=predicted, tried=entry.shadow
            )
        return answer

    @_discreet
    async def explain(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        served = (await models.get(request.path_params.get("model"))).current
        request.state.figures = served.figures
        read = await reader(await _read_body(request), content_type, served.schema, source)
        return JSONResponse(await served.explain(read))

    async def columns(request: Request) -> dict[str, Any]:
        entry = await models.get(request.path_params.get("model"))
        return schema_answer(entry.current.model)

    async def card(request: Request) -> dict[str, Any]:
        entry = await models.get(request.path_params.get("model"))
        return model_answer(entry.current.model)

    async def all_models() -> dict[str, Any]:
        return {"models": models.describe()}

    async def health() -> dict[str, str]:
        return {"status": "ok"}

    async def metrics() -> Response:
        return Response(generate_latest(models.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    # The page at /docs has its scripts from here: one to which a token is given must load nothing from elsewhere.
    app = FastAPIOffline(redoc_url=None, static_url="/docs/static", exception_handlers={Refused: _refusal})
    app.state.models = models
    # Their documentation is each model's own, made by `openapi`.
    for path, endpoint, method in (
        ("/predict", predict, "POST"),
        ("/explain", explain, "POST"),
        ("/schema", columns, "GET"),
        ("/model", card, "GET"),
    ):
        for prefix in ("/v1", "/v1/models/{model}"):
            app.add_api_route(prefix + path, endpoint, methods=[method], include_in_schema=False)
    add = functools.partial(app.add_api_route, tags=["service"])
    add("/v1/models", all_models, summary="The models of the service")
    add("/metrics", metrics, summary="Figures of this replica for Prometheus", response_class=Response)
    add("/healthz", health, summary="Whether the service is up; needs no token")
    add("/readyz", health, summary="Whether the model is loaded and warm; needs no token")
    app.openapi = lambda: openapi.document(app, models)  # type: ignore[method-assign]  # FastAPI's own way
    paths = [route.path for route in app.routes if isinstance(route, APIRoute)]
    app.add_middleware(Limits)  # behind the door: nobody without a token takes up room
    app.add_middleware(TokenDoor, tokens=tokens)
    app.add_middleware(Trace, metrics=models.metrics, paths=paths)  # around the door: what is turned away counts, too
    return app


Endpoint = Callable[[Request], Awaitable[Response]]


def _discreet(endpoint: Endpoint) -> Endpoint:
    """Tells the client of a fault nothing but a number under which the log has the rest."""

    @functools.wraps(endpoint)
    async def guarded(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Refused:
            raise
        except Exception as error:
            request_id = request.state.request_id
            logger.error("request %s failed", request_id, exc_info=error)
            detail = "The service failed on this request. Its log tells why, under the request_id."
            return JSONResponse({"detail": detail, "request_id": request_id}, status_code=500)

    return guarded


async def _refusal(_: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    return JSONResponse({"detail": refused.detail}, status_code=refused.status)


async def _prediction(served: Served, predicted: Predicted, *, in_bulk: bool) -> Response:
    model = served.model

    def write() -> bytes:
        if in_bulk:
            return arrow.write_stream(model.artifact.table(predicted.outputs))
        return orjson.dumps(prediction_answer(model, *predicted))

    content = write() if len(predicted.outputs) <= FEW_ROWS else await asyncio.to_thread(write)
    return Response(content, media_type=arrow.CONTENT_TYPE if in_bulk else "application/json")


def _check_kind(content_type: str, encoding: str) -> None:
    """Raises Refused. What is compressed is not inflated: a few bytes of it can become as many as there is memory for."""
    if media_type(content_type) not in ("", *CONTENT_TYPES):
        raise Refused(415, f"Content-Type: found {short(content_type)}, expected {' or '.join(CONTENT_TYPES)}.")
    if encoding.lower() != "identity":
        raise Refused(415, f"Content-Encoding: found {short(encoding)}. Send the body as it is, not compressed.")


async def _read_body(request: Request) -> bytes:
    """The body, given up on as soon as it is known to be too long. Raises Refused."""
    _check_kind(request.headers.get("content-type", ""), request.headers.get("content-encoding", "identity"))
    too_long = Refused(413, f"The body is longer than {MAX_BODY_BYTES // 2**20} MiB. Send the rows in parts.")
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_BODY_BYTES:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_long
    return bytes(body)
