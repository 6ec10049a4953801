"""Images by address: an HTTPS server of this machine and a simulated S3, and all that an address can be made to mean."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Collection, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trustme
from fastapi.testclient import TestClient

from fusion_automl.data.plain import to_plain
from fusion_automl.errors import UserError
from fusion_automl.serve import uris
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import open_model
from fusion_automl.serve.rows import Images, NoImage, Refused, addresses, read_rows
from fusion_automl.serve.uris import ImageSource, is_public, read_address, read_prefixes
from tests.conftest import S3
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.conftest import Listen, serving

FRAME = mixed_dataset(rows=2, seed=1).frame
PHOTO: bytes = FRAME["photo"][0]
ROW = to_plain(FRAME, SCHEMA)[0]


class Server(BaseHTTPRequestHandler):
    """Has an image at /shop/a.png and other things beside it; writes down what it was asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/shop/away":
            self.send_response(302)
            self.send_header("Location", "/secret/a.png")
            self.end_headers()
            return
        found = {"/shop/a.png": PHOTO, "/secret/a.png": PHOTO, "/shop/page": b"<html>"}.get(self.path.partition("?")[0])
        self.send_response(200 if found or self.path in ("/shop/endless", "/shop/slow") else 404)
        self.end_headers()
        if found:
            self.wfile.write(found)
        if self.path == "/shop/endless":
            while True:
                try:
                    self.wfile.write(bytes(100_000))
                except OSError:
                    return
        if self.path == "/shop/slow":
            time.sleep(1)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of an HTTPS server whose certificate is for 127.0.0.1, localhost and images.example.test."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost", "images.example.test").configure_cert(context)
    trusted = tmp_path_factory.mktemp("trust") / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(trusted))
        yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def asked() -> list[str]:
    Server.asked.clear()
    return Server.asked


def get(prefixes: Collection[str], *texts: str) -> Images:
    async def run() -> Images:
        found = await ImageSource(prefixes).get(texts)
        await asyncio.sleep(0.2)  # connections that were cut are closed by the loop, which ends here
        return found

    return asyncio.run(run())


def reason(prefixes: Collection[str], text: str) -> str:
    found = get(prefixes, text)[text]
    assert isinstance(found, NoImage)
    return str(found)


def test_an_image_under_an_allowed_address_is_had(port: int, asked: list[str]) -> None:
    place = f"https://127.0.0.1:{port}/shop/"
    found = get([place], f"{place}a.png", f"{place}a.png?signature=a%2Fb", f"{place}none.png")
    assert found[f"{place}a.png"] == found[f"{place}a.png?signature=a%2Fb"] == PHOTO
    assert str(found[f"{place}none.png"]) == "the image could not be fetched: its server answered 404"
    assert sorted(asked) == ["/shop/a.png", "/shop/a.png?signature=a%2Fb", "/shop/none.png"]


def test_rows_name_images_by_address_and_each_bad_one_is_told(port: int) -> None:
    place = f"https://127.0.0.1:{port}/shop/"
    cells = [f"{place}a.png", f"{place}page", f"https://127.0.0.1:{port}/secret/a.png", ROW["photo"]]
    value = {"rows": [{**ROW, "photo": cell} for cell in cells], "partial": True}
    assert addresses(value, SCHEMA) == set(cells[:3])
    found = read_rows(value, SCHEMA, get([place], *addresses(value, SCHEMA)))
    assert found.kept == [0, 3] and found.columns["photo"].tolist() == [PHOTO, PHOTO]
    assert found.errors is not None
    assert [(field["row"], field["column"]) for field in found.errors] == [(1, "photo"), (2, "photo")]
    assert "expected an image" in found.errors[0]["message"]
    assert found.errors[1]["message"] == "this address is not under one from which the service may get images"


@pytest.mark.parametrize(
    "text",
    [
        "https://127.0.0.1:{port}/secret/a.png",
        "https://127.0.0.1:{port}/shop/../secret/a.png",
        "https://127.0.0.1:{port}/shop/%2e%2e/secret/a.png",
        "https://127.0.0.1:{port}/shop/%2e%2e%2fsecret/a.png",
        "https://127.0.0.1:{port}/shop/%252e%252e/secret/a.png",
        "https://127.0.0.1:{port}/shop/..;/secret/a.png",
        "https://127.0.0.1:{port}/shop/..\\secret/a.png",
        "https://127.0.0.1:{port}/shop/%5c..%5csecret/a.png",
        "https://127.0.0.1:{port}/shop",
        "https://127.0.0.1:{port}/Shop/a.png",
        "https://127.0.0.1:{port}/shop/a.png#part",
        "https://127.0.0.1:{port}/shop/a.png\r\nX: y",
        "https://127.0.0.1:{port}/shop/ä.png",
        "https://127.0.0.1:{port}/shop/a b.png",
        "https://127.0.0.1:{port}/shop/" + "a" * 3000,
        "https://127.0.0.1/shop/a.png",
        "https://127.0.0.1:1{port}/shop/a.png",
        "https://127.1:{port}/shop/a.png",
        "https://2130706433:{port}/shop/a.png",
        "https://localhost:{port}/shop/a.png",
        "https://127.0.0.1.:{port}/shop/a.png",
        "https://user@127.0.0.1:{port}/shop/a.png",
        "https://127.0.0.1:{port}@example.com/shop/a.png",
        "https://example.com\\@127.0.0.1:{port}/shop/a.png",
        "https://[::ffff:127.0.0.1]:{port}/shop/a.png",
        "http://127.0.0.1:{port}/shop/a.png",
        "HTTPS://127.0.0.1:{port}/shop/a.png",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/shop/a.png",
        "s3://127.0.0.1:{port}/shop/a.png",
        "s3://shop/a::file:///etc/passwd",
        "//127.0.0.1:{port}/shop/a.png",
        "/shop/a.png",
    ],
)
def test_what_only_looks_like_an_allowed_address_is_not_asked_for(port: int, asked: list[str], text: str) -> None:
    text = text.replace("{port}", str(port))
    message = "this address is not under one from which the service may get images"
    assert reason([f"https://127.0.0.1:{port}/shop/", "s3://shop/photos/"], text) == message
    assert not asked


def test_the_service_gets_images_for_rows_and_forms(port: int, asked: list[str], run_folder: Path) -> None:
    place = f"https://127.0.0.1:{port}/shop/"
    model = open_model(run_folder)
    headers = {"Authorization": "Bearer sesame"}
    row = {**ROW, "photo": f"{place}a.png"}
    closed = TestClient(make_app(serving(shirts=model), Tokens([digest("sesame")])), headers=headers)
    refused = closed.post("/v1/predict", json={"rows": [row]})
    assert refused.status_code == 422 and "gets no images by their address" in refused.json()["detail"][0]["message"]
    assert closed.post("/v1/predict", json={"rows": [row]}, headers={"Authorization": ""}).status_code == 401
    assert not asked
    app = make_app(serving(shirts=model), Tokens([digest("sesame")]), images=[place])
    opened = TestClient(app, headers=headers)
    expected = closed.post("/v1/predict", json={"rows": [ROW]}).json()
    assert opened.post("/v1/predict", json={"rows": [row]}).json() == expected
    assert opened.post("/v1/predict", files={"rows": (None, json.dumps([row]))}).json() == expected
    refused = opened.post("/v1/predict", json={"rows": [ROW, {**row, "photo": f"{place}page"}, {**row, "size": "x"}]})
    assert [(one["row"], one["column"]) for one in refused.json()["detail"]] == [(1, "photo")]
    assert str(port) not in refused.text.replace(f"{place}page", "")
    assert opened.post("/v1/predict", json={"rows": [ROW]}, headers={"Authorization": ""}).status_code == 401


def test_an_allowed_name_that_leads_to_this_machine_or_a_private_one_is_not_followed(
    port: int, asked: list[str], listen: Listen
) -> None:
    said = listen(uris.__name__)
    place = f"https://localhost:{port}/shop/"
    assert reason([place], f"{place}a.png") == "the image could not be fetched"
    assert "which is not public" in said.text and not asked


def test_the_connection_goes_to_the_address_that_was_looked_at(
    port: int, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[str] = []
    plain = socket.getaddrinfo

    def answer(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "images.example.test":
            return plain(host, *rest, **more)
        lookups.append(host)  # the second answer is another one
        return plain("127.0.0.1" if len(lookups) == 1 else "127.0.0.2", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    monkeypatch.setattr(uris, "is_public", lambda text: text == "127.0.0.1")
    place = f"https://images.example.test:{port}/shop/"
    assert get([place], f"{place}a.png")[f"{place}a.png"] == PHOTO
    assert lookups == ["images.example.test"]
    assert reason([place], f"{place}a.png") == "the image could not be fetched"
    assert asked == ["/shop/a.png"]


def test_a_server_without_a_certificate_that_is_trusted_is_not_asked(
    port: int, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    place = f"https://127.0.0.1:{port}/shop/"
    assert reason([place], f"{place}a.png") == "the image could not be fetched"
    assert not asked


def test_redirects_are_not_followed(port: int, asked: list[str]) -> None:
    place = f"https://127.0.0.1:{port}/"
    assert reason([place], f"{place}shop/away").endswith("answered 302; redirects are not followed")
    assert asked == ["/shop/away"]


def test_a_body_without_end_is_cut(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    place = f"https://127.0.0.1:{port}/shop/"
    assert reason([place], f"{place}endless") == "the image is longer than 16 MiB"
    monkeypatch.setattr(uris, "MAX_FETCHED_BYTES", 2**20)
    assert reason([place], f"{place}endless") == "the images of the request are longer than 1 MiB together"


def test_a_server_that_does_not_end_is_left(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uris, "MAX_SECONDS", 0.3)
    place = f"https://127.0.0.1:{port}/shop/"
    assert reason([place], f"{place}slow") == "the image did not come within 0.3 s"


def test_too_many_addresses_are_refused(asked: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        get(["https://127.0.0.1/"], *(f"https://127.0.0.1/{number}" for number in range(65)))
    assert refused.value.status == 413 and not asked


def test_images_come_from_an_allowed_part_of_a_bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    good, secret = s3.put("photos/a.png", PHOTO), s3.put("secret/a.png", PHOTO)
    place = good.removesuffix("a.png")
    found = get([place], good, f"{place}none.png", secret)
    assert found[good] == PHOTO
    assert str(found[f"{place}none.png"]) == "the image could not be fetched"
    assert "not under one" in str(found[secret])
    monkeypatch.setattr(uris, "MAX_IMAGE_BYTES", 100)
    assert "longer than" in reason([place], good)


@pytest.mark.parametrize(
    "prefix",
    [
        "https://example.com",
        "https://example.com/a",
        "http://example.com/",
        "https://u@example.com/",
        "https://Example.com/",
        "s3://bucket",
        "file:///srv/images/",
        "/srv/images/",
        "https://example.com/a/../b/",
        "https://*.example.com/",
    ],
)
def test_an_allowed_address_says_where_images_lie(prefix: str) -> None:
    with pytest.raises(
        UserError, match=r"--allow-images: got '.*'\. Expected https://HOST/FOLDER/ or s3://BUCKET/FOLDER/"
    ):
        read_prefixes([prefix])


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True), ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.0.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False),
        ("255.255.255.255", False), ("::1", False), ("::", False), ("fe80::1%eth0", False), ("fc00::1", False),
        ("ff02::1", False), ("::ffff:10.0.0.1", False), ("64:ff9b::a00:1", False), ("2002:a00:1::", False),
    ],
)  # fmt: skip
def test_addresses_of_machines_machine_rooms_and_clouds_are_not_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def test_a_good_address_is_read_part_by_part() -> None:
    found = read_address("https://images.example.com/a/b.png?c=d")
    assert found == uris.Address("https", "images.example.com", 443, "/a/b.png")
    assert os.path.isabs(found.path) and Path(found.path).name == "b.png"
