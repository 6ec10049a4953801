"""From the rows of a request in JSON to conformed rows, or to a refusal that names every bad field.

Nothing a client sends is taken for a path here. An image is base64, or a name with a colon, which base64 does not have; what
such a name stands for is looked up in the `images` that the caller gathered, and nowhere else.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from fusion_automl.data.cells import short
from fusion_automl.data.conform import Columns, Table, conform_columns, row_errors
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

FILE = "file:"
"""What a cell begins with that names a part of a form."""
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://")

Row = dict[str, Any]
Field = dict[str, Any]


class Refused(Exception):
    """The request is wrong; `status` and `detail` are the answer: a sentence, or a list of fields with one each."""

    def __init__(self, status: int, detail: str | list[Field]) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class NoImage(Exception):
    """Why there is no image by some name; its message is for the client."""


Images = Mapping[str, bytes | NoImage]


@dataclass(frozen=True, slots=True)
class Request:
    """The rows of a request that can be predicted, conformed; which of its `num_rows` rows they are; and what is wrong with
    the others, if the client would have predictions all the same."""

    columns: Columns
    kept: list[int]
    num_rows: int
    errors: list[Field] | None = None


def read_request(body: bytes, schema: Schema) -> Request:
    """The request in a body of JSON, images as base64. Raises Refused as `read_rows` does."""
    return read_rows(parse(body), schema, {})


def read_rows(value: Any, schema: Schema, images: Images) -> Request:
    """The request that is this value of JSON. Raises Refused: for any bad field, unless it says `"partial": true`."""
    rows = rows_of(value)
    partial = value.get("partial", False)
    if not isinstance(partial, bool):
        refuse([field_error(None, None, f"partial: expected true or false, found {_type_name(partial)}")])
    kept = list(range(len(rows)))
    errors: list[Field] = []
    while True:
        try:
            columns = _conformed([rows[index] for index in kept], schema, images)
        except Refused as refused:
            if not partial or isinstance(refused.detail, str):
                raise
            errors += [{**field, "row": kept[field["row"]]} for field in refused.detail]
            if len(errors) >= MAX_ERRORS:
                raise Refused(422, sorted(errors[:MAX_ERRORS], key=lambda field: field["row"])) from None
            bad = {field["row"] for field in errors}
            kept = [index for index in kept if index not in bad]
        else:
            errors.sort(key=lambda field: field["row"])
            return Request(columns, kept, len(rows), errors if partial else None)


def _conformed(rows: list[Any], schema: Schema, images: Images) -> Columns:
    """Raises Refused with fields that name their row."""
    refuse(
        field_error(index, None, f"expected an object {{column: value, ...}}, found {_type_name(row)}")
        for index, row in enumerate(rows)
        if not isinstance(row, dict)
    )
    refuse(_absent(rows, schema))
    if schema.names("image"):
        rows = [dict(row) for row in rows]  # a row may be read again, by another version of the model
        refuse(_unpack_images(rows, schema, images))
    return conformed(from_plain(rows, schema), schema)


def conformed(table: Table, schema: Schema) -> Columns:
    """What models predict on. Raises Refused with every field that does not fit."""
    try:
        found = conform_columns(table, schema, where="rows")
    except DataError:
        refuse(field_error(error.row, error.column, error.message) for error in row_errors(table, schema))
        raise
    for name in schema.names("image"):
        refuse(field_error(row, name, message) for row, message in image_errors(found[name]))
    return found


def parse(body: bytes, *, where: str = "The body") -> Any:
    """The JSON in a body, or in the part of it that is called `where`. Raises Refused."""
    with contextlib.suppress(orjson.JSONDecodeError):
        return orjson.loads(body)
    # What orjson refuses is read again more slowly, to say in words what is wrong with it.
    try:
        value = json.loads(body, parse_constant=_no_constant, parse_float=_finite)
        if b"\\ud" in body.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair passes json.loads and is no text
    except RecursionError:
        raise Refused(400, f"{where} is nested too deeply.") from None
    except ValueError as error:
        raise Refused(400, f"{where} is not JSON: {error}.") from None
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value; write null for a missing cell")


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{short(digits)} is beyond the largest number")
    return value


def addresses(value: Any, schema: Schema) -> set[str]:
    """What stands in cells of images as an address, whatever it leads to. Raises Refused where there are no rows."""
    names = schema.names("image")
    cells = (row.get(name) for row in rows_of(value) if isinstance(row, dict) for name in names)
    return {cell for cell in cells if isinstance(cell, str) and ADDRESS.match(cell)}


def rows_of(value: Any) -> list[Any]:
    """Raises Refused for anything but an object with rows, and for too many of them."""
    if not isinstance(value, dict) or not isinstance(value.get("rows"), list):
        found = _type_name(value)
        if isinstance(value, dict):
            found = f"{_type_name(value['rows'])} as rows" if "rows" in value else f"only {short(list(value))}"
        refuse([field_error(None, None, f'expected {{"rows": [{{column: value, ...}}, ...]}}, found {found}')])
    rows: list[Any] = value["rows"]
    if len(rows) > MAX_ROWS:
        raise Refused(413, f"{len(rows):,} rows in one request; at most {MAX_ROWS:,} are taken. Send them in parts.")
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
                yield field_error(index, name, f"this column is missing. {hint}")


def _unpack_images(rows: list[Row], schema: Schema, images: Images) -> Iterator[Field]:
    """Puts each image's bytes into its cell, and tells of those that are none."""
    num_pixels = num_bytes = 0
    for name in schema.names("image"):
        for index, row in enumerate(rows):
            if row[name] is None:
                continue
            try:
                content = _content(row[name], images)
            except NoImage as error:
                yield field_error(index, name, str(error))
                continue
            pixels = pixels_of(content)
            if pixels is None:
                yield field_error(index, name, f"{_EXPECTED_IMAGE}, found {short(row[name])}")
                continue
            row[name] = content
            num_pixels += pixels
            check_pixels(num_pixels)
            num_bytes += len(content)  # of many cells that name one image each is unpacked
            if num_bytes > MAX_BODY_BYTES:
                limit = f"{MAX_BODY_BYTES // 2**20} MiB"
                raise Refused(413, f"The images of the rows are longer than {limit} together. Send the rows in parts.")


_EXPECTED_IMAGE = f"expected an image ({', '.join(IMAGE_FORMATS)}) as base64"


def _content(cell: Any, images: Images) -> bytes:
    """Raises NoImage."""
    found = images.get(cell) if isinstance(cell, str) else None
    if isinstance(found, NoImage):
        raise found
    if found is not None:
        return found
    try:
        return base64.b64decode(cell, validate=True)
    except (ValueError, TypeError):
        hint = ""
        if isinstance(cell, str) and cell.startswith(FILE):
            hint = ". The request has no part of that name: send it as multipart/form-data, the file as a part"
        elif isinstance(cell, str) and ADDRESS.match(cell):
            hint = ". This service gets no images by their address"
        raise NoImage(f"{_EXPECTED_IMAGE}, found {short(cell)}{hint}") from None


def check_pixels(num_pixels: int) -> None:
    """Raises Refused for more than a request may have."""
    if num_pixels > MAX_REQUEST_PIXELS:
        limit = f"{MAX_REQUEST_PIXELS // 10**6} million pixels"
        raise Refused(413, f"The images of the request have more than {limit} together. Send them in parts.")


def pixels_of(content: bytes) -> int | None:
    """What an image's header says of its size, None for anything that does not begin as an image does."""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(content), formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 0  # it will not be unpacked: `image_errors` refuses it
    except (ValueError, OSError, SyntaxError):
        return None
    return picture.width * picture.height


def refuse(fields: Iterable[Field]) -> None:
    """Raises Refused where there is a field to complain about."""
    found = list(islice(fields, MAX_ERRORS))
    if found:
        raise Refused(422, found)


def field_error(row: int | None, column: str | None, message: str) -> Field:
    return {"row": row, "column": column, "message": message}
