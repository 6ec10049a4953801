"""From the body of a request to conformed rows, or to a refusal that names every bad field.

Nothing a client sends is ever taken for a path or an address: images come as base64 and in no other way.
"""

from __future__ import annotations

import base64
import difflib
import io
import json
import math
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import pandas as pd

from fusion_automl.data.cells import short
from fusion_automl.data.conform import conform, row_errors
from fusion_automl.data.images import image_errors
from fusion_automl.data.plain import from_plain
from fusion_automl.data.schema import Schema
from fusion_automl.errors import DataError

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_ROWS = 10_000
MAX_REQUEST_PIXELS = 500_000_000
"""A kilobyte of PNG can hold millions of pixels; 32 MiB of photographs hold about half of this."""
MAX_ERRORS = 100
"""More complaints than this about one request help nobody."""
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is opened here. Pillow knows more, and for some of it starts other programs (Ghostscript for EPS)."""

Row = dict[str, Any]
Field = dict[str, Any]


class Refused(Exception):
    """The request is wrong; `status` and `detail` are the answer: a sentence, or a list of fields with one each."""

    def __init__(self, status: int, detail: str | list[Field]) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def read_rows(body: bytes, schema: Schema) -> pd.DataFrame:
    """The rows of a request's body, conformed to `schema`. Raises Refused."""
    rows = _rows_of(_parse(body))
    _refuse(_absent(rows, schema))
    rows = [{name: row[name] for name in schema.used} for row in rows]
    _refuse(_bad_images(rows, schema))
    frame = from_plain(rows, schema)
    try:
        conformed = conform(frame, schema, where="rows")
    except DataError:
        _refuse(_field(error.row, error.column, error.message) for error in row_errors(frame, schema))
        raise
    for name in schema.names("image"):
        _refuse(_field(row, name, message) for row, message in image_errors(conformed[name].to_numpy()))
    return conformed


def _parse(body: bytes) -> Any:
    try:
        value = json.loads(body, parse_constant=_no_constant, parse_float=_finite)
        if b"\\ud" in body.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair passes json.loads and is no text
    except RecursionError:
        raise Refused(400, "The body is nested too deeply.") from None
    except ValueError as error:
        raise Refused(400, f"The body is not JSON: {error}.") from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value; write null for a missing cell")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{short(digits)} is beyond the largest number")
    return value


def _rows_of(value: Any) -> list[Row]:
    if not isinstance(value, dict) or not isinstance(value.get("rows"), list):
        found = _type_name(value)
        if isinstance(value, dict):
            found = f"{_type_name(value['rows'])} as rows" if "rows" in value else f"only {short(list(value))}"
        _refuse([_field(None, None, f'expected {{"rows": [{{column: value, ...}}, ...]}}, found {found}')])
    rows: list[Row] = value["rows"]
    if len(rows) > MAX_ROWS:
        raise Refused(413, f"{len(rows):,} rows in one request; at most {MAX_ROWS:,} are taken. Send them in parts.")
    _refuse(
        _field(index, None, f"expected an object {{column: value, ...}}, found {_type_name(row)}")
        for index, row in enumerate(rows)
        if not isinstance(row, dict)
    )
    return rows


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _absent(rows: list[Row], schema: Schema) -> Iterator[Field]:
    """Columns that a row does not name. A missing value is null; a missing name is more likely a misspelt one."""
    used = set(schema.used)
    known = {column.name for column in schema.columns}
    for index, row in enumerate(rows):
        if row.keys() >= used:
            continue
        strangers = list(islice((name for name in row if name not in known), MAX_ERRORS))
        for name in schema.used:
            if name not in row:
                near = difflib.get_close_matches(name, strangers, n=1)
                hint = f"Did you mean it by '{near[0]}'?" if near else "Send null where its value is not known."
                yield _field(index, name, f"this column is missing. {hint}")


def _bad_images(rows: list[Row], schema: Schema) -> Iterator[Field]:
    num_pixels = 0
    for name in schema.names("image"):
        for index, row in enumerate(rows):
            if row[name] is None:
                continue
            pixels = _pixels(row[name])
            if pixels is None:
                formats = ", ".join(IMAGE_FORMATS)
                yield _field(index, name, f"expected an image ({formats}) as base64, found {short(row[name])}")
                continue
            num_pixels += pixels
            if num_pixels > MAX_REQUEST_PIXELS:
                limit = f"{MAX_REQUEST_PIXELS // 10**6} million pixels"
                raise Refused(413, f"The images of the request have more than {limit} together. Send them in parts.")


def _pixels(cell: Any) -> int | None:
    """What an image's header says of its size, None for anything that does not begin as an image does."""
    from PIL import Image

    try:
        content = base64.b64decode(cell, validate=True)
        picture = Image.open(io.BytesIO(content), formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 0  # it will not be unpacked: `image_errors` refuses it
    except (ValueError, TypeError, OSError, SyntaxError):
        return None
    return picture.width * picture.height


def _refuse(fields: Iterable[Field]) -> None:
    """Raises Refused where there is a field to complain about."""
    found = list(islice(fields, MAX_ERRORS))
    if found:
        raise Refused(422, found)


def _field(row: int | None, column: str | None, message: str) -> Field:
    return {"row": row, "column": column, "message": message}
