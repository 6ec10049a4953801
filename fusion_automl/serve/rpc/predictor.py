"""A call of gRPC is answered by the web application: the same door, limits, models, figures and answers as over HTTP."""

from __future__ import annotations

import json
import logging
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from starlette.types import ASGIApp, Message

from fusion_automl.serve import arrow
from fusion_automl.serve.rpc.predictor_pb2 import PredictReply, PredictRequest  # type: ignore[attr-defined]  # made by protoc

logger = logging.getLogger(__name__)
SERVICE = "fusion_automl.v1.Predictor"
PASSED_ON = ("authorization", "x-request-id", "x-request-timeout")
"""Metadata of a call that the application knows as headers."""
MAX_DETAILS = 3_000
"""Bytes of what went wrong. They travel in a trailer, for which many clients have room for 8 KiB, and Ray Serve for 4."""
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
FAULT = {"detail": "The service failed on this request. Its log tells why."}


def add_predictor(servicer: Any, server: Any) -> None:
    """Tells a server of gRPC, such as Ray Serve's, of the service. Messages stay bytes in it: nothing of a client's is taken
    apart before the application has looked at its token."""
    predict = grpc.unary_unary_rpc_method_handler(servicer.Predict)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Predict": predict}),))


async def predict(app: ASGIApp, content: bytes, context: Any) -> PredictReply:
    """The reply to a PredictRequest; where there is none, an empty one, and `context` has the code and the details."""
    try:
        request = PredictRequest.FromString(content)
    except DecodeError:
        request = PredictRequest()  # without rows, which the application refuses if the token is good
    in_bulk = request.WhichOneof("rows") == "arrow"
    path = f"/v1/models/{request.model}/predict" if request.model else "/v1/predict"
    metadata = {name: value for name, value in context.invocation_metadata() if name in PASSED_ON}
    headers = {**metadata, "content-type": arrow.CONTENT_TYPE if in_bulk else "application/json"}
    try:
        status, body = await _post(app, path, headers, request.arrow if in_bulk else request.json)
    except Exception as error:
        logger.error("a call of gRPC failed", exc_info=error)
        status, body = 500, json.dumps(FAULT).encode()
    if status == 200:
        return PredictReply(arrow=body) if in_bulk else PredictReply(json=body)
    context.set_code(CODES.get(status, grpc.StatusCode.INTERNAL))
    context.set_details(_details(body))
    return PredictReply()


async def _post(app: ASGIApp, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
    status, answer = 500, bytearray()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        answer.extend(message.get("body", b""))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "2",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()],
        "client": None,
        "server": None,
    }
    await app(scope, receive, send)
    return status, bytes(answer)


def _details(body: bytes) -> str:
    """A sentence, or the fields that do not fit as JSON, as many as there is room for."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return str(FAULT["detail"])
    if isinstance(detail, str):
        return detail[:MAX_DETAILS]
    while len(json.dumps(detail)) > MAX_DETAILS and len(detail) > 1:
        detail = detail[: len(detail) // 2]
    return json.dumps(detail)[:MAX_DETAILS]
