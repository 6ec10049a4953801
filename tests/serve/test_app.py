"""The web application over a real artifact, without Ray: every endpoint, every mistake, and the attacks in reach."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fusion_automl.data.images import MAX_PIXELS
from fusion_automl.data.plain import to_plain
from fusion_automl.ensemble.decide import Decision
from fusion_automl.errors import FusionError
from fusion_automl.serve.app import make_app
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import Model, open_model
from fusion_automl.serve.rows import MAX_BODY_BYTES, MAX_ROWS
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.conftest import Listen, serving

TOKEN = "sesame"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def client(model: Model) -> TestClient:
    return TestClient(make_app(serving(shirts=model), Tokens([digest(TOKEN)])), headers=HEADERS)


@pytest.fixture
def row(model: Model) -> Row:
    return dict(model.artifact.manifest.example)


def encoded(picture: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    picture.save(file, format=kind)
    return base64.b64encode(file.getvalue()).decode()


def test_predictions_are_the_artifact_s_own(client: TestClient, model: Model) -> None:
    frame = mixed_dataset("binary", rows=9, seed=5).frame
    answer = client.post("/v1/predict", json={"rows": to_plain(frame, SCHEMA)}).json()
    expected = model.artifact.predict_proba(frame)
    found = [[one["probabilities"][name] for name in ("no", "yes")] for one in answer["predictions"]]
    np.testing.assert_allclose(found, expected.to_numpy(), rtol=1e-6)
    assert [one["prediction"] for one in answer["predictions"]] == expected.idxmax(axis=1).to_list()
    assert answer["model"] == "shirts" and answer["version"] == model.version


def test_a_regression_answers_with_values_and_intervals(regression_run: Path) -> None:
    model = open_model(regression_run)
    client = TestClient(make_app(serving(shirts=model), Tokens([digest(TOKEN)])), headers=HEADERS)
    frame = mixed_dataset("regression", rows=4, seed=5).frame
    answer = client.post("/v1/predict", json={"rows": to_plain(frame, SCHEMA)}).json()
    table = model.artifact.predict_table(frame)
    assert [one["prediction"] for one in answer["predictions"]] == pytest.approx(table["prediction"].to_list())
    found = np.array([one["interval"] for one in answer["predictions"]])
    np.testing.assert_allclose(found, table[["lower", "upper"]].to_numpy())
    assert (found[:, 0] < table["prediction"]).all() and (table["prediction"] < found[:, 1]).all()


def test_labels_follow_the_decision_and_probabilities_do_not(model: Model) -> None:
    manifest = model.artifact.manifest
    decided = replace(manifest.readout, decision=Decision((0.01, 0.99)))
    eager = replace(model, artifact=replace(model.artifact, manifest=replace(manifest, readout=decided)))
    body = {"rows": to_plain(mixed_dataset("binary", rows=30, seed=5).frame, SCHEMA)}
    first, second = (
        TestClient(make_app(serving(shirts=one), Tokens([digest(TOKEN)])), headers=HEADERS)
        .post("/v1/predict", json=body)
        .json()["predictions"]
        for one in (model, eager)
    )
    assert [one["probabilities"] for one in first] == [one["probabilities"] for one in second]
    assert [one["prediction"] for one in second] == [
        "yes" if 0.99 * one["probabilities"]["yes"] > 0.01 * one["probabilities"]["no"] else "no" for one in first
    ]
    assert first != second


def test_no_rows_have_no_predictions(client: TestClient) -> None:
    answer = client.post("/v1/predict", json={"rows": []})
    assert answer.status_code == 200 and answer.json()["predictions"] == []


def test_any_cell_may_be_missing_and_columns_that_nobody_uses_are_ignored(client: TestClient, row: Row) -> None:
    rows = [{**row, name: None} for name in row] + [dict.fromkeys(row), {**row, "note": {"any": "thing"}}]
    answer = client.post("/v1/predict", json={"rows": rows}).json()["predictions"]
    assert len(answer) == len(rows)
    (alone,) = client.post("/v1/predict", json={"rows": [row]}).json()["predictions"]
    assert answer[-1]["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-6)
    assert all(sum(one["probabilities"].values()) == pytest.approx(1) for one in answer)


def test_good_rows_are_predicted_beside_bad_ones_where_that_is_asked_for(client: TestClient, row: Row) -> None:
    bad = {**row, "photo": "no base64"}
    rows = [row, {}, bad, "no row", row]
    assert client.post("/v1/predict", json={"rows": rows}).status_code == 422
    answer = client.post("/v1/predict", json={"rows": rows, "partial": True})
    assert answer.status_code == 200
    found = answer.json()["predictions"]
    assert [one is None for one in found] == [False, True, True, True, False] and found[0]["prediction"] == found[4][
        "prediction"
    ]
    errors = answer.json()["errors"]
    assert {one["row"] for one in errors} == {1, 2, 3}
    assert [one["column"] for one in errors if one["row"] == 2] == ["photo"]
    whole = client.post("/v1/predict", json={"rows": [row], "partial": True}).json()
    assert whole["errors"] == [] and whole["predictions"][0]["prediction"] == found[0]["prediction"]
    hopeless = client.post("/v1/predict", json={"rows": [{}] * 200, "partial": True})
    assert hopeless.status_code == 422 and len(hopeless.json()["detail"]) == 100
    assert client.post("/v1/predict", json={"rows": [], "partial": "yes"}).status_code == 422


def test_the_schema_tells_what_to_send(client: TestClient, row: Row) -> None:
    answer = client.get("/v1/schema").json()
    assert (answer["task"], answer["target"]) == ("binary", "target")
    assert {column["name"]: column["example"] for column in answer["columns"]} == row
    photo = next(column for column in answer["columns"] if column["name"] == "photo")
    assert (photo["kind"], photo["required"], photo["expected"]) == ("image", True, "an encoded image as base64")


def test_the_model_tells_what_it_is_worth_and_made_of(client: TestClient, model: Model) -> None:
    answer = client.get("/v1/model").json()
    assert answer["metric"] == "roc_auc" and answer["score"] == model.artifact.manifest.score
    assert sum(member["weight"] for member in answer["members"]) == pytest.approx(1)
    names = {member["candidate"] for member in answer["members"]}
    assert names <= {"concat(onehot + pixels + series_stats -> logistic)", "concat(ordinal -> random_forest)"}
    assert {(member["level"], member["fusion"]) for member in answer["members"]} == {("data", "concat")}


def test_the_documentation_holds_an_example_that_works(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    predict = document["paths"]["/v1/predict"]["post"]
    request = predict["requestBody"]["content"]["application/json"]
    answer = client.post("/v1/predict", json=request["example"])
    assert answer.json() == predict["responses"]["200"]["content"]["application/json"]["example"]
    columns = request["schema"]["properties"]["rows"]["items"]
    assert columns["required"] == list(SCHEMA.used)
    assert columns["properties"]["left"]["type"] == ["array", "null"]
    assert document["security"] == [{"token": []}] and document["paths"]["/healthz"]["get"]["security"] == []
    assert "openapi.json" in client.get("/docs").text


BAD_CELLS = [
    ("size", "wide", "expected a number, found 'wide'"),
    ("size", [1.0], "expected a number, found [1.0]"),
    ("size", 10**400, f"expected a number, found 1{'0' * 36}..."),
    ("colour", {"a": 1}, "expected a word or a number, found {'a': 1}"),
    ("used", "perhaps", "expected true or false, found 'perhaps'"),
    ("sold_at", "yesterday", "expected a date such as 2024-05-31 or 2024-05-31T13:30:00, found 'yesterday'"),
    ("sold_at", 20240531, "expected a date such as 2024-05-31 or 2024-05-31T13:30:00, found 20240531"),
    ("title", {"a": 1}, "expected text in UTF-8, found {'a': 1}"),
    ("left", 3.0, "expected a list of numbers, found 3.0"),
    ("left", ["1", 2], "expected a list of numbers, found ['1', 2]"),
    ("left", [[1], [2]], "expected a list of numbers, found [[1], [2]]"),
]


@pytest.mark.parametrize(("column", "cell", "message"), BAD_CELLS)
def test_each_bad_field_is_named(client: TestClient, row: Row, column: str, cell: Any, message: str) -> None:
    answer = client.post("/v1/predict", json={"rows": [row, {**row, column: cell}]})
    assert answer.status_code == 422
    assert answer.json() == {"detail": [{"row": 1, "column": column, "message": message}]}


def test_all_bad_fields_of_a_request_are_named_at_once(client: TestClient, row: Row) -> None:
    rows = [{**row, "size": "wide"}, row, {**row, "used": "perhaps", "right": "none"}]
    detail = client.post("/v1/predict", json={"rows": rows}).json()["detail"]
    assert [(field["row"], field["column"]) for field in detail] == [(0, "size"), (2, "used"), (2, "right")]


@pytest.mark.parametrize(
    ("wrong_name", "hint"),
    [("colur", "Did you mean it by 'colur'?"), ("zzz", "Send null where its value is not known.")],
)
def test_a_missing_column_is_named(client: TestClient, row: Row, wrong_name: str, hint: str) -> None:
    row[wrong_name] = row.pop("colour")
    answer = client.post("/v1/predict", json={"rows": [row]})
    assert answer.status_code == 422
    assert answer.json()["detail"] == [{"row": 0, "column": "colour", "message": f"this column is missing. {hint}"}]


BAD_BODIES = [
    (b"", 400, "The body is not JSON: Expecting value: line 1 column 1 (char 0)."),
    (b'{"rows": [{"size": NaN}]}', 400, "The body is not JSON: NaN is no JSON value; write null for a missing cell."),
    (b'{"rows": [{"size": -Infinity}]}', 400, "-Infinity is no JSON value"),
    (b'{"rows": [{"size": 1e999}]}', 400, "The body is not JSON: '1e999' is beyond the largest number."),
    (b'{"rows": [{"size": 1\xff}]}', 400, "The body is not JSON: 'utf-8' codec can't decode byte 0xff"),
    (b'{"rows": [{"title": "\\ud800"}]}', 400, "surrogates not allowed"),
    (b"[1]", 422, 'expected {"rows": [{column: value, ...}, ...]}, found a list'),
    (b'{"row": []}', 422, "found only ['row']"),
    (b'{"rows": {"size": 1}}', 422, "found an object as rows"),
    (b'{"rows": [[1]]}', 422, "expected an object {column: value, ...}, found a list"),
    (b'{"rows": [null]}', 422, "expected an object {column: value, ...}, found null"),
    (
        json.dumps({"rows": [{}] * (MAX_ROWS + 1)}).encode(),
        413,
        "10,001 rows in one request; at most 10,000 are taken.",
    ),
]


@pytest.mark.parametrize(("body", "status", "message"), BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_each_bad_body_has_a_clear_answer(client: TestClient, body: bytes, status: int, message: str) -> None:
    answer = client.post("/v1/predict", content=body)
    assert answer.status_code == status
    detail = answer.json()["detail"]
    assert message in (detail if isinstance(detail, str) else detail[0]["message"])


def test_many_mistakes_make_a_short_answer(client: TestClient) -> None:
    detail = client.post("/v1/predict", json={"rows": [{}] * 5000}).json()["detail"]
    assert len(detail) == 100


NO_IMAGES = [
    "/etc/hostname",
    "/etc/passwd1",  # twelve characters of the base64 alphabet
    "file:///etc/passwd",
    "http://169.254.169.254/latest/meta-data",
    "s3://bucket/photo.png",
    "data:image/png;base64,AAAA",
    "not base64!",
    "",
    7,
    {"path": "/etc/passwd", "bytes": None},
    base64.b64encode(b"no image at all").decode(),
    base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n").decode(),  # Ghostscript's language
]


@pytest.mark.parametrize("cell", NO_IMAGES, ids=range(len(NO_IMAGES)))
def test_an_image_is_base64_and_never_a_place_to_read_from(client: TestClient, row: Row, cell: Any) -> None:
    answer = client.post("/v1/predict", json={"rows": [{**row, "photo": cell}]})
    assert answer.status_code == 422
    (field,) = answer.json()["detail"]
    assert field["column"] == "photo"
    assert field["message"].startswith("expected an image (PNG, JPEG, WEBP, GIF, BMP, TIFF, PPM) as base64, found ")


def test_a_broken_image_is_named(client: TestClient, row: Row) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))
    cut = base64.b64encode(base64.b64decode(encoded(noise))[:2000]).decode()
    answer = client.post("/v1/predict", json={"rows": [row, {**row, "photo": cut}]})
    (field,) = answer.json()["detail"]
    assert (field["row"], field["column"]) == (1, "photo")
    assert field["message"].startswith("the image is broken (image file is truncated")


@pytest.mark.parametrize("side", [MAX_PIXELS // 5000 + 1, 20_000, 40_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(client: TestClient, row: Row, side: int) -> None:
    header = base64.b64decode(encoded(Image.new("1", (1, 1)), "BMP"))
    bomb = header[:18] + side.to_bytes(4, "little") + max(side, 5000).to_bytes(4, "little") + header[26:]
    answer = client.post("/v1/predict", json={"rows": [{**row, "photo": base64.b64encode(bomb).decode()}]})
    assert answer.status_code == 422
    assert "Shrink it or empty the cell." in answer.json()["detail"][0]["message"]


def test_many_small_files_that_unpack_to_much_are_refused(client: TestClient, row: Row) -> None:
    black = encoded(Image.new("1", (7000, 7000)))  # 49 million pixels in 6 kB
    answer = client.post("/v1/predict", json={"rows": [{**row, "photo": black}] * 11})
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "The images of the request have more than 500 million pixels together. Send them in parts.",
    )


def test_a_deeply_nested_body_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/predict", content=b'{"rows": ' + b"[" * 200_000)
    assert (answer.status_code, answer.json()["detail"]) == (400, "The body is nested too deeply.")


@pytest.mark.parametrize("declared", [True, False])
def test_a_giant_body_is_refused(client: TestClient, declared: bool) -> None:
    piece = b" " * 2**20
    pieces = iter([piece] * (MAX_BODY_BYTES // 2**20 + 1))
    answer = client.post("/v1/predict", content=piece * 33 if declared else pieces)
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "The body is longer than 32 MiB. Send the rows in parts.",
    )


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN} ", "Bearer s\xe9same"],
)
@pytest.mark.parametrize("path", ["/v1/predict", "/v1/schema", "/v1/model", "/docs", "/openapi.json", "/nothing"])
def test_nothing_is_told_without_the_token(model: Model, path: str, authorization: str | None) -> None:
    client = TestClient(make_app(serving(shirts=model), Tokens([digest(TOKEN)])))
    headers = [] if authorization is None else [(b"Authorization", authorization.encode("latin-1"))]
    answer = client.post(path, content=b"{", headers=headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert answer.json()["detail"].startswith("Send the header 'Authorization: Bearer TOKEN'")


def test_health_needs_no_token(model: Model) -> None:
    answer = TestClient(make_app(serving(shirts=model), Tokens([digest(TOKEN)]))).get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_fault_of_ours_tells_nothing_but_where_to_look(model: Model, row: Row, listen: Listen) -> None:
    said = listen("fusion_automl.serve.app")
    parts = dict(model.artifact.parts)
    app = make_app(
        serving(shirts=replace(model, artifact=replace(model.artifact, parts=parts))), Tokens([digest(TOKEN)])
    )
    parts.clear()
    answer = TestClient(app, headers=HEADERS).post("/v1/predict", json={"rows": [row]})
    assert answer.status_code == 500
    assert answer.json().keys() == {"detail", "request_id"} and "KeyError" not in answer.text
    assert answer.json()["request_id"] in said.text and "KeyError" in said.text


def test_a_model_that_cannot_predict_its_example_does_not_start(model: Model) -> None:
    broken = replace(model, artifact=replace(model.artifact, parts={}))
    with pytest.raises(FusionError, match=r"^shirts: cannot be served \(KeyError: "):
        serving(shirts=broken)


def test_the_version_changes_with_the_artifact(model: Model, regression_run: Path) -> None:
    assert len(model.version) == 12 and model.version != open_model(regression_run).version


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("size", [3, "3.5", " ", "NA", True]),
        ("used", [True, 1, "yes", "0", ""]),
        ("review", ["good", 7, True, ["good", "cheap"], ""]),
        ("left", [[1, None, True], []]),
    ],
)
def test_what_is_taken_of_a_cell_is_documented(client: TestClient, row: Row, column: str, cells: list[Any]) -> None:
    body = client.get("/openapi.json").json()["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    for cell in cells:
        sent = {"rows": [{**row, column: cell}]}
        assert client.post("/v1/predict", json=sent).status_code == 200, cell
        jsonschema.validate(sent, body["application/json"]["schema"])
