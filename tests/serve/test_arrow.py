"""Rows as an Arrow stream: what JSON says, in fewer bytes; and streams that were made to do harm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from fusion_automl.data.conform import num_rows
from fusion_automl.serve.app import make_app
from fusion_automl.serve.arrow import CONTENT_TYPE, MAX_ARROW_ROWS, read_stream
from fusion_automl.serve.auth import Tokens, digest
from fusion_automl.serve.model import Model
from fusion_automl.serve.rows import Refused
from tests.contracts.rows import SCHEMA, mixed_dataset
from tests.serve.conftest import serving

HEADERS = {"Authorization": "Bearer sesame", "Content-Type": CONTENT_TYPE}


def stream(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=4)
    return bytes(sink.getvalue().to_pybytes())


def rows(number: int = 9) -> pd.DataFrame:
    return mixed_dataset("binary", rows=number, seed=5).frame


def table(number: int = 9) -> pa.Table:
    return pa.Table.from_pandas(rows(number), preserve_index=False)


@pytest.fixture(scope="module")
def client(model: Model) -> TestClient:
    return TestClient(make_app(serving(shirts=model), Tokens([digest("sesame")])), headers=HEADERS)


def test_predictions_are_the_artifact_s_own(client: TestClient, model: Model) -> None:
    answer = client.post("/v1/predict", content=stream(table()))
    assert (answer.status_code, answer.headers["content-type"]) == (200, CONTENT_TYPE)
    found = pa.ipc.open_stream(answer.content).read_all().to_pandas()
    pd.testing.assert_frame_equal(found, model.artifact.predict_table(rows()), check_dtype=False)


def test_no_rows_have_no_predictions(client: TestClient) -> None:
    answer = client.post("/v1/predict", content=stream(table().slice(0, 0)))
    found = pa.ipc.open_stream(answer.content).read_all()
    assert found.num_rows == 0 and found.column_names == ["prediction", "probability_no", "probability_yes"]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_what_is_compressed_is_not_unpacked(client: TestClient, codec: str) -> None:
    answer = client.post("/v1/predict", content=stream(table(), compression=codec))
    assert (answer.status_code, answer.json()["detail"][:25]) == (415, "The stream is compressed.")


def test_words_are_no_paths_of_images(client: TestClient) -> None:
    told = table().set_column(table().column_names.index("photo"), "photo", pa.array(["/etc/passwd"] * 9))
    answer = client.post("/v1/predict", content=stream(told))
    (field,) = answer.json()["detail"]
    assert (answer.status_code, field["column"]) == (422, "photo")
    assert field["message"] == "expected binary, an encoded image a row, found string"


def test_columns_that_are_missing_or_stand_there_twice_are_named(client: TestClient) -> None:
    answer = client.post("/v1/predict", content=stream(table().drop_columns(["photo"])))
    assert [(one["column"], one["message"]) for one in answer.json()["detail"]] == [("photo", "this column is missing")]
    twice = table().append_column("photo", table()["photo"])
    answer = client.post("/v1/predict", content=stream(twice))
    assert answer.status_code == 422 and "twice" in answer.json()["detail"][0]["message"]


def test_a_bad_image_is_named_by_its_row(client: TestClient) -> None:
    content = [*table()["photo"].to_pylist()[:8], b"not an image"]
    told = table().set_column(table().column_names.index("photo"), "photo", pa.array(content))
    answer = client.post("/v1/predict", content=stream(told))
    assert [(one["row"], one["column"]) for one in answer.json()["detail"]] == [(8, "photo")]


def test_too_many_rows_are_not_unpacked() -> None:
    nothing = pa.table({column: pa.nulls(MAX_ARROW_ROWS + 1) for column in SCHEMA.used})
    with pytest.raises(Refused) as refused:
        read_stream(stream(nothing), SCHEMA)
    assert refused.value.status == 413


def test_a_column_s_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        read_stream(BODY.replace(b"colour", b"col\xffur"), SCHEMA)
    assert refused.value.status == 400


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_a_stream_with_a_few_other_bytes_is_read_or_refused(place: int, others: bytes) -> None:
    body = bytearray(BODY)
    at = place % len(body)
    body[at : at + len(others)] = others
    try:
        found = read_stream(bytes(body), SCHEMA)
    except Refused as refused:
        assert refused.status in (400, 413, 415, 422)
    else:
        assert num_rows(found.columns) == found.num_rows <= 9 and np.array_equal(found.kept, range(found.num_rows))


BODY = stream(table())
