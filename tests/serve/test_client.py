"""The client against the real application over HTTP, behind something that fails now and then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest

from fusion_automl import client as client_module
from fusion_automl.client import Client, ServiceError
from fusion_automl.data.plain import to_plain
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import Model
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.conftest import serving
from tests.serve.listening import listening


@dataclass
class Moody:
    """Passes requests on, but answers the first `refusals` of them with 503."""

    app: Any
    refusals: int = 0
    seen: list[str] = field(default_factory=list)
    headers: dict[bytes, bytes] = field(default_factory=dict)
    """Of the last request."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self.seen.append(scope["path"])
            self.headers = dict(scope["headers"])
            if self.refusals > 0:
                self.refusals -= 1
                headers = [(b"retry-after", b"0"), (b"content-length", b"0")]
                await send({"type": "http.response.start", "status": 503, "headers": headers})
                await send({"type": "http.response.body", "body": b""})
                return
        await self.app(scope, receive, send)


@pytest.fixture(scope="module")
def moody(model: Model) -> Moody:
    return Moody(make_app(serving(shirts=model), Tokens([digest("sesame")])))


@pytest.fixture(scope="module")
def url(moody: Moody) -> Iterator[str]:
    with listening(moody) as port:
        yield f"http://127.0.0.1:{port}"


def test_frames_and_rows_get_the_artifact_s_predictions(
    url: str, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = mixed_dataset("binary", rows=25, seed=5).frame
    expected = model.artifact.predict_table(frame)
    monkeypatch.setattr(client_module, "ROWS_A_REQUEST", 10)
    with Client(url, "sesame") as client:
        pd.testing.assert_frame_equal(client.predict(frame), expected, check_dtype=False)
        photos = [row["photo"] for row in to_plain(frame.head(3), SCHEMA)]
        assert all(isinstance(photo, str) for photo in photos)
        found = client.predict(frame.head(3).to_dict("records"))
        pd.testing.assert_frame_equal(found, expected.head(3), check_dtype=False)
        assert client.model()["version"] == model.version


def test_the_service_knows_how_long_the_client_waits(url: str, moody: Moody) -> None:
    with Client(url, "sesame", seconds=7) as client:
        client.schema()
    assert float(moody.headers[b"x-request-timeout"]) == 7


def test_a_service_that_is_busy_is_asked_again(url: str, moody: Moody) -> None:
    moody.refusals, moody.seen[:] = 2, []
    with Client(url, "sesame") as client:
        assert client.schema()["target"] == "target"
    assert moody.seen == ["/v1/schema"] * 3
    moody.refusals, moody.seen[:] = 9, []
    with Client(url, "sesame", retries=1) as client, pytest.raises(ServiceError, match="503") as error:
        client.schema()
    assert error.value.status == 503 and len(moody.seen) == 2
    moody.refusals = 0


def test_what_is_wrong_is_told_by_row_of_the_call_and_not_asked_again(
    url: str, moody: Moody, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = mixed_dataset("binary", rows=12, seed=5).frame
    frame.at[11, "photo"] = b"no image"
    monkeypatch.setattr(client_module, "ROWS_A_REQUEST", 10)
    moody.seen[:] = []
    with Client(url, "sesame") as client, pytest.raises(ServiceError, match="row 11, column 'photo'") as error:
        client.predict(frame)
    assert [field["row"] for field in error.value.fields] == [11]
    assert error.value.status == 422 and len(error.value.request_id) == 32
    assert moody.seen == ["/v1/schema", "/v1/predict", "/v1/predict"]


def test_a_wrong_token_and_nobody_there_are_told(url: str) -> None:
    with Client(url, "wrong") as client, pytest.raises(ServiceError, match="401: Send the header"):
        client.schema()
    with Client("http://127.0.0.1:1", "sesame", retries=0) as client, pytest.raises(ServiceError, match="no answer"):
        client.schema()
    assert "sesame" not in repr(Client(url, "sesame"))


def test_a_model_is_asked_by_its_name(url: str, moody: Moody, model: Model) -> None:
    with Client(url, "sesame", model_name="shirts") as service:
        assert len(service.predict(mixed_dataset("binary", rows=2, seed=5).frame)) == 2
        assert moody.seen[-2:] == ["/v1/models/shirts/schema", "/v1/models/shirts/predict"]
    with Client(url, "sesame", model_name="a/b") as service, pytest.raises(ServiceError, match=r"^404: "):
        service.model()
