"""The web application over one model. It knows nothing of Ray."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from fusion_automl.serve import openapi
from fusion_automl.serve.answers import model_answer, prediction_answer, schema_answer
from fusion_automl.serve.auth import TokenDoor
from fusion_automl.serve.batch import Batcher
from fusion_automl.serve.model import Model
from fusion_automl.serve.rows import MAX_BODY_BYTES, Refused, read_rows

logger = logging.getLogger(__name__)
MAX_BATCH_ROWS = 1024


def make_app(model: Model, token_digest: bytes) -> FastAPI:
    """The application, its documentation included; predicts the model's own example once, so that it starts warm."""
    artifact = model.artifact
    schema = artifact.manifest.schema
    batcher = Batcher(artifact.answers, max_rows=MAX_BATCH_ROWS)
    example = read_rows(json.dumps({"rows": [artifact.manifest.example]}).encode(), schema)
    example_answer = prediction_answer(model, artifact.answers(example))

    async def predict(request: Request) -> Response:
        try:
            body = await _read_body(request)
            frame = await asyncio.to_thread(read_rows, body, schema)
            return JSONResponse(prediction_answer(model, await batcher.submit(frame)))
        except Refused as refused:
            return JSONResponse({"detail": refused.detail}, status_code=refused.status)
        except Exception as error:
            return _fault(error)

    async def columns() -> dict[str, Any]:
        return schema_answer(model)

    async def card() -> dict[str, Any]:
        return model_answer(model)

    async def health() -> dict[str, str]:
        return {"status": "ok"}

    app = FastAPI(
        title=f"{model.name}: {artifact.manifest.task.target}",
        version=model.version,
        description=f"Predicts '{artifact.manifest.task.target}' ({artifact.manifest.task.kind}).",
        redoc_url=None,
    )
    app.add_api_route(
        "/v1/predict",
        predict,
        methods=["POST"],
        summary="Predict rows",
        responses=openapi.answers(model, example_answer),
        openapi_extra={"requestBody": openapi.request_body(model)},
    )
    app.add_api_route("/v1/schema", columns, summary="The columns of a row")
    app.add_api_route("/v1/model", card, summary="What the model is worth and made of")
    app.add_api_route("/healthz", health, summary="Whether the service is up; needs no token")
    app.add_middleware(TokenDoor, expected=token_digest)
    document = app.openapi()  # FastAPI keeps this very object and answers with it
    document["components"] = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
    document["security"] = [{"token": []}]
    document["paths"]["/healthz"]["get"]["security"] = []
    return app


async def _read_body(request: Request) -> bytes:
    """The body, given up on as soon as it is known to be too long. Raises Refused."""
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


def _fault(error: Exception) -> Response:
    """Tells the client nothing but a number under which the log has the rest."""
    request_id = uuid.uuid4().hex
    logger.error("request %s failed", request_id, exc_info=error)
    detail = "The service failed on this request. Its log tells why, under the request_id."
    return JSONResponse({"detail": detail, "request_id": request_id}, status_code=500)
