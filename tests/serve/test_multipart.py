"""Forms with files: what is read, what is refused, and that nothing in one becomes a path."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from fastapi.testclient import TestClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fusion_automl.data.plain import to_plain
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import open_model
from fusion_automl.serve.multipart import CONTENT_TYPE, MAX_PARTS, read_form
from fusion_automl.serve.rows import MAX_BODY_BYTES, MAX_REQUEST_PIXELS, Refused, Request, read_rows
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.conftest import serving

FRAME = mixed_dataset(rows=2, seed=1).frame
ROWS = to_plain(FRAME, SCHEMA)
PHOTOS: list[bytes] = FRAME["photo"].to_list()
NAMED = [{**row, "photo": f"file:photo{number}"} for number, row in enumerate(ROWS)]
BOUNDARY = "frontier"
TYPE = f"{CONTENT_TYPE}; boundary={BOUNDARY}"


def form(parts: dict[str, Any]) -> tuple[bytes, str]:
    """As a client's library writes it; a tuple is a file."""
    files = [(name, part if isinstance(part, tuple) else (None, part)) for name, part in parts.items()]
    prepared = requests.Request("POST", "http://here", files=files).prepare()
    assert isinstance(prepared.body, bytes)
    return prepared.body, prepared.headers["Content-Type"]


def read(parts: dict[str, Any]) -> Request:
    value, images = read_form(*form(parts))
    return read_rows(value, SCHEMA, images)


def refusal(parts: dict[str, Any]) -> Refused:
    with pytest.raises(Refused) as caught:
        read(parts)
    return caught.value


def files(*photos: bytes) -> dict[str, Any]:
    return {f"photo{number}": ("a.png", photo) for number, photo in enumerate(photos)}


def test_a_cell_names_a_file_of_the_form() -> None:
    found = read({"rows": json.dumps(NAMED), **files(*PHOTOS)}).columns
    assert found["photo"].tolist() == PHOTOS
    assert np.array_equal(found["size"], FRAME["size"], equal_nan=True)


def test_the_rows_may_be_a_file_and_an_image_may_stay_base64_or_serve_several_rows() -> None:
    rows = [NAMED[0], {**NAMED[1], "photo": "file:photo0"}, ROWS[1]]
    found = read({"rows": ("rows.json", json.dumps(rows), "application/json"), **files(PHOTOS[0])}).columns
    assert found["photo"].tolist() == [PHOTOS[0], PHOTOS[0], PHOTOS[1]]


def test_a_part_that_is_not_there_is_told_by_row_and_column() -> None:
    refused = refusal({"rows": json.dumps(NAMED), **files(PHOTOS[0])})
    assert refused.status == 422
    (field,) = refused.detail
    assert (field["row"], field["column"]) == (1, "photo") and "file:photo1" in field["message"]
    assert "The request has no part of that name" in field["message"]


def test_a_file_that_is_no_image_is_told_by_row_and_column_and_others_are_predicted() -> None:
    parts = {"rows": json.dumps(NAMED), **files(PHOTOS[0], b"%!PS-Adobe-3.0 EPSF-3.0")}
    (field,) = refusal(parts).detail
    assert (field["row"], field["column"]) == (1, "photo") and "PNG" in field["message"]
    found = read({**parts, "partial": "true"})
    assert found.kept == [0] and found.errors == [field]


@pytest.mark.parametrize("name", ["/etc/passwd", "../photo0", "//etc/hosts", ""])
def test_a_path_is_the_name_of_no_file(name: str) -> None:
    (field,) = refusal({"rows": json.dumps([{**ROWS[0], "photo": f"file:{name}"}])}).detail
    assert field["column"] == "photo" and "no part of that name" in field["message"]


def test_a_file_that_no_cell_names_was_forgotten_or_misspelt() -> None:
    refused = refusal({"rows": json.dumps(ROWS), "phot0": ("a.png", PHOTOS[0])})
    assert (
        refused.status == 422 and refused.detail[0]["message"] == "no cell names the part 'phot0' (as \"file:phot0\")"
    )


def test_rows_are_a_part_of_that_name_and_json() -> None:
    assert "found the parts: row" in refusal({"row": json.dumps(ROWS)}).detail[0]["message"]
    refused = refusal({"rows": "size=1"})
    assert refused.status == 400 and refused.detail.startswith("The part 'rows' is not JSON")
    assert refusal({"rows": json.dumps({"rows": ROWS})}).status == 422
    assert refusal({"rows": json.dumps(ROWS), "partial": "yes"}).status == 400


def test_what_is_no_form_is_refused() -> None:
    body, kind = form({"rows": json.dumps(ROWS)})
    for content, content_type in [
        (body, CONTENT_TYPE),
        (body, f"{CONTENT_TYPE}; boundary=other"),
        (body, f"{CONTENT_TYPE}; boundary={'x' * 300}"),
        (body[:-20], kind),
        (b"", kind),
    ]:
        with pytest.raises(Refused) as caught:
            read_form(content, content_type)
        assert caught.value.status == 400 and "no form that can be read" in str(caught.value.detail)


def test_two_parts_of_one_name_and_too_many_parts_are_refused() -> None:
    part = b'--%b\r\nContent-Disposition: form-data; name="%d"\r\n\r\n1\r\n'
    end = b"--%b--\r\n" % BOUNDARY.encode()
    twice = part % (BOUNDARY.encode(), 1) * 2 + end
    many = b"".join(part % (BOUNDARY.encode(), number) for number in range(MAX_PARTS + 1)) + end
    for body, status in ((twice, 400), (many, 413)):
        with pytest.raises(Refused) as caught:
            read_form(body, TYPE)
        assert caught.value.status == status


def test_one_file_in_many_cells_counts_as_often_as_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = json.dumps([{**ROWS[0], "photo": "file:photo0"}] * 300)
    heavy = PHOTOS[0] + bytes(MAX_BODY_BYTES // 300)  # what follows a picture is not looked at
    assert refusal({"rows": rows, **files(heavy)}).status == 413
    monkeypatch.setattr("fusion_automl.serve.rows.MAX_REQUEST_PIXELS", 299 * 16 * 16)
    refused = refusal({"rows": rows, **files(PHOTOS[0])})
    assert refused.status == 413 and "pixels" in refused.detail and MAX_REQUEST_PIXELS > 0


def test_files_stay_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    photo = PHOTOS[0] + bytes(3_000_000)
    found = read({"rows": json.dumps(NAMED[:1]), "photo0": ("../../etc/cron.d/job", photo)})
    assert found.columns["photo"][0] == photo


@pytest.fixture(scope="module")
def client(run_folder: Path) -> TestClient:
    app = make_app(serving(shirts=open_model(run_folder)), Tokens([digest("sesame")]))
    return TestClient(app, headers={"Authorization": "Bearer sesame"})


def test_a_form_is_predicted_and_explained_as_its_rows_in_json_are(client: TestClient) -> None:
    files = {f"photo{number}": ("a.png", photo) for number, photo in enumerate(PHOTOS)}
    for path in ("/v1/predict", "/v1/explain"):
        found = client.post(path, data={"rows": json.dumps(NAMED)}, files=files)
        assert found.status_code == 200, found.text
        assert found.json() == client.post(path, json={"rows": ROWS}).json()
    refused = client.post("/v1/predict", data={"rows": json.dumps(NAMED)}, files={"photo0": files["photo0"]})
    assert refused.status_code == 422 and refused.json()["detail"][0]["row"] == 1


def test_the_documentation_s_form_works(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]
    example = described["requestBody"]["content"][CONTENT_TYPE]["example"]
    found = client.post("/v1/predict", files={name: (None, part) for name, part in example.items()})
    assert found.json() == described["responses"]["200"]["content"]["application/json"]["example"]


@settings(max_examples=150, deadline=None)
@given(
    body=st.lists(
        st.sampled_from(
            [
                b"--frontier",
                b"--",
                b"\r\n",
                b"\n",
                b": ",
                b";",
                b"a",
                b'name="rows"',
                b"Content-Disposition: form-data",
                b"Content-Transfer-Encoding: base64",
                b"[]",
                b"=",
                b"\x00",
            ]
        ),
        max_size=24,
    )
)
@example(body=[b"--frontier", b"\r\n", b"\r\n", b"\r\n", b"--frontier", b"--"])
def test_any_bytes_are_a_form_or_refused(body: list[bytes]) -> None:
    try:
        value, _ = read_form(b"".join(body), TYPE)
    except Refused as refused:
        assert refused.status in (400, 422)
    else:
        assert "rows" in value
