"""The service over gRPC: what it answers is what HTTP answers, and what it refuses has a code and says why."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fusion_automl.data.plain import to_plain
from fusion_automl.errors import UserError
from fusion_automl.serve import run
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import open_model
from fusion_automl.serve.rows import MAX_BODY_BYTES
from fusion_automl.serve.rpc.predictor import MAX_DETAILS, SERVICE, add_predictor, predict
from fusion_automl.serve.rpc.predictor_pb2 import DESCRIPTOR, PredictReply, PredictRequest
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.command import started
from tests.serve.conftest import serving

FRAME = mixed_dataset("binary", rows=4, seed=5).frame
ROWS = to_plain(FRAME, SCHEMA)
TOKEN = (("authorization", "Bearer sesame"),)


@pytest.fixture(scope="module")
def app(run_folder: Path) -> FastAPI:
    return make_app(serving(shirts=open_model(run_folder)), Tokens([digest("sesame")]))


def stream() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pandas(FRAME, preserve_index=False)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def call(app: FastAPI, content: bytes, metadata: Any = TOKEN) -> PredictReply:
    """Through a server of gRPC's own with the service in it."""

    class Servicer:
        async def Predict(self, request: bytes, context: Any) -> bytes:
            return (await predict(app, request, context)).SerializeToString()

    async def run() -> bytes:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
        add_predictor(Servicer(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        options = [("grpc.max_send_message_length", -1)]
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            try:
                return await channel.unary_unary(f"/{SERVICE}/Predict")(content, metadata=metadata)
            finally:
                await server.stop(None)

    return PredictReply.FromString(asyncio.run(run()))


def refusal(app: FastAPI, content: bytes, metadata: Any = TOKEN) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        call(app, content, metadata)
    return caught.value.code().name, caught.value.details() or ""


def in_json(rows: list[Any], **more: Any) -> bytes:
    return PredictRequest(json=json.dumps({"rows": rows}).encode(), **more).SerializeToString()


def test_predictions_are_those_of_http(app: FastAPI) -> None:
    client = TestClient(app, headers=dict(TOKEN))
    expected = client.post("/v1/predict", json={"rows": ROWS}).json()
    for model in ("", "shirts"):
        assert json.loads(call(app, in_json(ROWS, model=model)).json) == expected
    reply = call(app, PredictRequest(arrow=stream()).SerializeToString())
    table = pa.ipc.open_stream(reply.arrow).read_all().to_pandas()
    np.testing.assert_allclose(
        table["probability_yes"], [one["probabilities"]["yes"] for one in expected["predictions"]], atol=1e-6
    )


def test_no_token_no_answer_whatever_is_sent(app: FastAPI) -> None:
    for metadata in ((), (("authorization", "Bearer wrong"),), (("authorization", "sesame"),)):
        for content in (in_json(ROWS), b"\xff" * 100, b""):
            code, details = refusal(app, content, metadata)
            assert code == "UNAUTHENTICATED" and "Authorization: Bearer" in details


def test_bad_fields_are_told_as_json_as_far_as_there_is_room(app: FastAPI) -> None:
    code, details = refusal(app, in_json([ROWS[0], {**ROWS[1], "size": "large"}]))
    (field,) = json.loads(details)
    assert (code, field["row"], field["column"]) == ("INVALID_ARGUMENT", 1, "size")
    code, details = refusal(app, in_json([{**ROWS[0], "size": "ü" * 50}] * 100))
    fields = json.loads(details)
    assert code == "INVALID_ARGUMENT" and len(details) <= MAX_DETAILS and 1 < len(fields) < 100


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\xff" * 100, "INVALID_ARGUMENT"),
        (b"", "INVALID_ARGUMENT"),
        (PredictRequest(json=b"{").SerializeToString(), "INVALID_ARGUMENT"),
        (PredictRequest(arrow=b"no stream").SerializeToString(), "INVALID_ARGUMENT"),
        (in_json(ROWS, model="hats"), "NOT_FOUND"),
        (in_json(ROWS, model="shirts/../../../metrics"), "NOT_FOUND"),
        (in_json(ROWS, model="shirts/predict?"), "NOT_FOUND"),
        (in_json([{}] * 10_001), "RESOURCE_EXHAUSTED"),
        (PredictRequest(json=b" " * (MAX_BODY_BYTES + 1)).SerializeToString(), "RESOURCE_EXHAUSTED"),
    ],
)
def test_what_cannot_be_answered_has_a_code(app: FastAPI, content: bytes, code: str) -> None:
    found, details = refusal(app, content)
    assert found == code and details


def test_a_fault_tells_nothing_of_the_inside() -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret")

    code, details = refusal(broken, in_json(ROWS))  # type: ignore[arg-type]
    assert code == "INTERNAL" and "secret" not in details


def test_the_service_is_the_one_that_clients_are_given() -> None:
    (service,) = DESCRIPTOR.services_by_name.values()
    assert service.full_name == SERVICE and [method.name for method in service.methods] == ["Predict"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grpc_port": 9000}, "listens for gRPC on all addresses .* Give --host 0.0.0.0"),
        ({"grpc_port": 8000, "port": 8000, "host": "0.0.0.0"}, "--grpc-port: 8000 is the port of HTTP"),
    ],
)
def test_a_port_that_would_be_more_open_than_was_said_is_refused(
    run_folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(run_folder, **options)


@pytest.mark.slow  # a Ray of its own: the shared ones are on loopback, where gRPC cannot be
def test_ray_serve_answers_over_grpc(run_folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        grpc_port = server.getsockname()[1]
    options = ["--host", "0.0.0.0", "--grpc-port", str(grpc_port)]
    with started([run_folder], tmp_path, options=options) as running, running.client() as client:
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            ask = channel.unary_unary(f"/{SERVICE}/Predict")
            token = (("authorization", f"Bearer {running.token}"),)
            reply = PredictReply.FromString(ask(in_json(ROWS), metadata=token, timeout=30))
            assert json.loads(reply.json) == client.post("/v1/predict", json={"rows": ROWS}).json()
            reply = PredictReply.FromString(
                ask(PredictRequest(arrow=stream()).SerializeToString(), metadata=token, timeout=30)
            )
            assert pa.ipc.open_stream(reply.arrow).read_all().num_rows == len(ROWS)
            codes = {}
            for name, content, metadata in (
                ("no token", in_json(ROWS), ()),
                ("bad field", in_json([{**ROWS[0], "size": "large"}]), token),
                ("too long", PredictRequest(json=b" " * (MAX_BODY_BYTES + 2**20)).SerializeToString(), token),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    ask(content, metadata=metadata, timeout=30)
                codes[name] = (caught.value.code().name, caught.value.details())  # type: ignore[attr-defined]
            assert {name: code for name, (code, _) in codes.items()} == {
                "no token": "UNAUTHENTICATED",
                "bad field": "INVALID_ARGUMENT",
                "too long": "RESOURCE_EXHAUSTED",
            }
            assert json.loads(codes["bad field"][1])[0]["column"] == "size"
            assert b"fusion_automl" not in _reflected(channel)


def _reflected(channel: grpc.Channel) -> bytes:
    """What the server tells strangers of its services."""
    listing = channel.unary_unary("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    try:
        found: bytes = listing(b"\x3a\x00", timeout=10)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[attr-defined]
        return b""
    return found
