"""Whatever a body holds, it is read or refused; nothing else may happen."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fusion_automl.data.conform import num_rows
from fusion_automl.data.plain import to_plain
from fusion_automl.serve.rows import Refused, read_request
from tests.contracts.rows import SCHEMA, mixed_dataset

ROW = to_plain(mixed_dataset(rows=1).frame, SCHEMA)[0]
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

plain = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


def num_rows_read(rows: list[Any]) -> int | None:
    """How many rows were read, None where they were refused with fields that exist."""
    try:
        return num_rows(read_request(json.dumps({"rows": rows}).encode(), SCHEMA).columns)
    except Refused as refused:
        if isinstance(refused.detail, str):
            assert refused.status == 400 and "surrogates" in refused.detail
        else:
            assert refused.status == 422
            assert all(field["row"] in range(len(rows)) and field["message"] for field in refused.detail)
        return None


@settings(max_examples=80, deadline=None)
@given(name=st.sampled_from(sorted(ROW)), cell=values)
def test_any_json_in_any_cell_is_read_or_refused(name: str, cell: Any) -> None:
    assert num_rows_read([ROW, {**ROW, name: cell}]) in (2, None)


@settings(max_examples=60, deadline=None)
@given(value=values)
def test_any_json_as_a_row_is_refused(value: Any) -> None:
    assert num_rows_read([value]) is None


@pytest.mark.parametrize("kind", FORMATS)
def test_every_image_format_is_read(kind: str) -> None:
    assert num_rows_read([{**ROW, "photo": base64.b64encode(picture(kind)).decode()}]) == 1


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow warns of damage that it can read around
@settings(max_examples=120, deadline=None)
@given(kind=st.sampled_from(FORMATS), data=st.data())
def test_a_damaged_image_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    content = bytearray(picture(kind))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(200, len(content) - 1)))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(1, len(content)))]
    assert num_rows_read([{**ROW, "photo": base64.b64encode(content).decode()}]) in (1, None)


def picture(kind: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()
