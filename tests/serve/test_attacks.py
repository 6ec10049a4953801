"""What is sent to do harm, over the real application. More of it stands where the attacked part is tested:

giant bodies, chunked or declared, deep nesting, pixel bombs, paths and addresses in cells of images, tokens that are nearly
right, and faults that could tell of the inside: `test_app`. Compressed and broken Arrow streams: `test_arrow`. Random JSON and
damaged images: `test_rows`. Digests as tokens: `test_auth`; tokens are compared as digests of one length by
`hmac.compare_digest`, against all that there are. Artifacts that were changed or hold a pickle: `tests/artifact/test_tampered`.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import re
import socket
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.limits import Limits
from fusion_automl.serve.model import Model
from tests.contracts.rows import SCHEMA
from tests.serve.conftest import Listen, serving
from tests.serve.listening import listening

TOKEN = "Sesame"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def app(model: Model) -> FastAPI:
    return make_app(serving(shirts=model), Tokens([digest(TOKEN)]))


@pytest.fixture(scope="module")
def client(app: FastAPI) -> TestClient:
    return TestClient(app, headers=HEADERS)


@pytest.fixture
def row(model: Model) -> Row:
    return dict(model.artifact.manifest.example)


@pytest.fixture
def lure() -> Iterator[tuple[str, list[bytes]]]:
    """The address of a server, and what was sent to it."""
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    seen.append(connection.recv(1000))

        threading.Thread(target=listen, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", seen
        server.shutdown(socket.SHUT_RDWR)


def test_no_cell_makes_the_service_fetch_anything(client: TestClient, row: Row, lure: tuple[str, list[bytes]]) -> None:
    address, seen = lure
    schemes = ("http://", "https://", "s3://", "ftp://", "file://", "gs://", "//", "http:\\\\", "HTTP://a@")
    for name in row:
        for scheme in schemes:
            cell: Any = f"{scheme}{address}/latest/meta-data/"
            client.post("/v1/predict", json={"rows": [{**row, name: cell}]})
            client.post("/v1/predict", json={"rows": [{**row, name: [cell]}], "url": cell})
    metadata = client.post("/v1/predict", json={"rows": [{**row, "photo": "http://169.254.169.254/latest/meta-data/"}]})
    assert metadata.status_code == 422 and seen == []
    with socket.create_connection(address.split(":")) as visitor:  # the lure would have told
        visitor.sendall(b"hello")
    while not seen:
        pass


def test_no_cell_is_opened_as_a_file_that_is_there(client: TestClient, row: Row, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "photo.png")
    for cell in (str(tmp_path / "photo.png"), f"file://{tmp_path}/photo.png", {"path": str(tmp_path / "photo.png")}):
        answer = client.post("/v1/predict", json={"rows": [{**row, "photo": cell}]})
        assert (answer.status_code, answer.json()["detail"][0]["column"]) == (422, "photo")


PATHS = [
    "/v1/../../../../etc/passwd",
    "/v1/schema/../../etc/passwd",
    "/v1/%2e%2e/%2e%2e/etc/passwd",
    "/docs/..%2f..%2fetc%2fpasswd",
    "//etc/passwd",
    "/v1/model/..%5c..%5cboot.ini",
    "/healthz/../v1/schema",
    "/healthz%00",
    "/v1/schema;/healthz",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", [TOKEN, None])
def test_no_path_leads_out_or_past_the_door(app: FastAPI, path: str, token: str | None) -> None:
    status, _, body = raw(app, path, {"Authorization": f"Bearer {token}"} if token else {})
    assert status == (404 if token else 401) and b"root:" not in body


def test_a_body_that_was_packed_is_not_unpacked(client: TestClient, row: Row) -> None:
    body = json.dumps({"rows": [row]}).encode()
    for encoding, packed in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body)), ("br", b"\x0b\x02\x80")):
        answer = client.post("/v1/predict", content=packed, headers={"Content-Encoding": encoding})
        assert (answer.status_code, answer.json()["detail"]) == (
            415,
            f"Content-Encoding: found '{encoding}'. Send the body as it is, not compressed.",
        )
        assert client.post("/v1/predict", content=packed).status_code == 400
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.json", body)
    answer = client.post("/v1/predict", content=bomb.getvalue(), headers={"Content-Type": "application/zip"})
    assert answer.status_code == 415 and answer.json()["detail"].startswith("Content-Type: found 'application/zip'")


@pytest.mark.parametrize(
    "kind", ["text/xml", "application/x-python-pickle", "application/json+pickle", "*/*", "x" * 9999]
)
def test_a_body_of_another_type_is_refused(client: TestClient, row: Row, kind: str) -> None:
    answer = client.post("/v1/predict", json={"rows": [row]}, headers={"Content-Type": kind})
    assert answer.status_code == 415 and len(answer.json()["detail"]) < 200


def test_a_text_in_an_image_that_unpacks_to_much_is_not_unpacked(client: TestClient, row: Row) -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG")
    png = file.getvalue()
    content = b"zTXt" + b"Comment\0\0" + zlib.compress(b"A" * 200_000_000, 9)
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    bomb = base64.b64encode(png[:33] + chunk + png[33:]).decode()  # after the header
    answer = client.post("/v1/predict", json={"rows": [{**row, "photo": bomb}]})
    assert (answer.status_code, answer.json()["detail"][0]["column"]) == (422, "photo")


GIANTS = [
    ('{"rows": [{"size": %s}]}' % ("9" * 100_000), 400, "Exceeds the limit"),
    ('{"rows": [{"size": %s}]}' % ("9" * 4000), 422, "missing"),
    ('{"rows": [{"size": -1e99999}]}', 400, "beyond the largest number"),
    ('{"rows": [{"size": 1, "size": 2}]}', 422, "missing"),  # the last of them counts, as in most readers
    ('{"rows": [{"%s": 1}]}' % ("k" * 2_000_000), 422, "missing"),
    ('{"%s": 1}' % ("k" * 2_000_000), 422, "expected"),
    (json.dumps({"rows": [{f"k{number}": number for number in range(200_000)}]}), 422, "missing"),
    ('{"rows": %s}' % ("[" * 50_000 + "]" * 50_000), 400, "nested"),
    ('{"rows": [%s]}' % ('{"a":' * 50_000 + "1" + "}" * 50_000), 400, "nested"),
    ('{"rows": [NaN, Infinity, -Infinity]}', 400, "is no JSON value"),
    ('{"rows": []}\x00', 400, "Extra data"),
    ('{"rows": []} {"rows": []}', 400, "Extra data"),
]


@pytest.mark.parametrize(("body", "status", "message"), GIANTS, ids=range(len(GIANTS)))
def test_what_json_can_be_made_to_hold_is_refused_in_few_words(
    client: TestClient, body: str, status: int, message: str
) -> None:
    answer = client.post("/v1/predict", content=body.encode())
    assert answer.status_code == status and message in answer.text
    assert len(answer.content) < 20_000


def test_a_giant_word_is_a_word(client: TestClient, row: Row) -> None:
    words = dict.fromkeys(SCHEMA.names("text") + SCHEMA.names("category"), "w" * 1_000_000)
    answer = client.post("/v1/predict", json={"rows": [{**row, **words}]})
    assert answer.status_code == 200 and len(answer.content) < 1000


INJECTED = [
    b"a\r\nSet-Cookie: stolen=1",
    b"a\nSet-Cookie: stolen=1",
    b"a\r\n\r\n<script>",
    b'a"} {"request_id": "forged", "status": 200',
    b"\x1b[31mred",
    "a\u2028b".encode(),
    b"\x00",
    b"a" * 100_000,
]


@pytest.mark.parametrize("value", INJECTED, ids=range(len(INJECTED)))
def test_no_header_or_path_gets_into_an_answer_s_head_or_a_line_of_the_log(
    app: FastAPI, value: bytes, listen: Listen
) -> None:
    said = listen("fusion_automl.serve.trace")
    _, headers, _ = raw(app, "/v1/" + value.decode("latin-1"), {**HEADERS, "X-Request-ID": value.decode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", headers["x-request-id"]) and "set-cookie" not in headers
    (line,) = (record.getMessage() for record in said.records)
    assert "\n" not in line and json.loads(line)["path"] == "other" and "forged" not in line


NEARLY = [
    "sesame",
    "SESAME",
    " Sesame",
    "Sesame ",
    "Sesame\t",
    "Sesam",
    "Sesame\x00",
    "Sesame,Sesame",
    "Ses\u0430me",
    '"Sesame"',
]


@pytest.mark.parametrize("token", NEARLY)
def test_a_token_that_is_nearly_right_is_wrong(app: FastAPI, token: str) -> None:
    value = f"Bearer {token}".encode().decode("latin-1")
    assert raw(app, "/v1/schema", {"Authorization": value})[0] == 401


def test_the_first_of_two_tokens_counts_and_none_is_taken_from_elsewhere(app: FastAPI) -> None:
    both = [(b"authorization", b"Bearer wrong"), (b"authorization", f"Bearer {TOKEN}".encode())]
    assert raw(app, "/v1/schema", both)[0] == 401
    assert raw(app, f"/v1/schema?token={TOKEN}&access_token={TOKEN}", {"Cookie": f"token={TOKEN}"})[0] == 401


def test_a_body_that_comes_slowly_is_given_up(app: FastAPI) -> None:
    with listening(Limits(app, max_seconds=0.3)) as port, socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(
            f"POST /v1/predict HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 99\r\n\r\n{{".encode()
        )
        assert slow.recv(1000).startswith(b"HTTP/1.1 504 ")


def test_what_claims_two_lengths_is_not_taken_for_two_requests(app: FastAPI) -> None:
    """Request smuggling: what follows the shorter of the two lengths must not be answered as a request of its own."""
    hidden = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    for head in ("Content-Length: 0\r\nContent-Length: 36", "Content-Length: 36\r\nTransfer-Encoding: chunked"):
        with listening(app) as port, socket.create_connection(("127.0.0.1", port), timeout=10) as visitor:
            visitor.sendall(f"POST /v1/predict HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{hidden}".encode())
            visitor.shutdown(socket.SHUT_WR)
            answers = b"".join(iter(lambda: visitor.recv(1000), b""))
        assert b"200 OK" not in answers and answers.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))


def raw(
    app: FastAPI, path: str, headers: dict[str, str] | list[tuple[bytes, bytes]]
) -> tuple[int, dict[str, str], bytes]:
    """A GET past every client's and server's own caution: the path and the headers are what they are."""
    if isinstance(headers, dict):
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    path, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode(),
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], found, b"".join(message.get("body", b"") for message in rest)
