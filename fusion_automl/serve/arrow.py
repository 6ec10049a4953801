"""Rows as an Arrow IPC stream, in and out: many of them, without a word of JSON.

A stream is checked before it is read: what it says of itself may not make this process take memory or follow addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa

from fusion_automl.data.read import read_table
from fusion_automl.data.schema import Column, Schema
from fusion_automl.errors import DataError
from fusion_automl.serve.rows import (
    IMAGE_FORMATS,
    Refused,
    Request,
    check_pixels,
    conformed,
    field_error,
    pixels_of,
    refuse,
)

CONTENT_TYPE = "application/vnd.apache.arrow.stream"
MAX_ARROW_ROWS = 100_000

# Slots of the tables in Arrow's format/Message.fbs.
HEADER_TYPE, HEADER = 1, 2
DICTIONARY_BATCH, RECORD_BATCH = 2, 3
DATA_OF_DICTIONARY, COMPRESSION = 1, 3


def read_stream(body: bytes, schema: Schema) -> Request:
    """The request in an Arrow IPC stream, with images as binary and series as lists. Raises Refused."""
    try:
        _check_messages(body)
        table = _read(body, schema)
        frame = read_table(table, where="rows", allow_empty=True)
    except (pa.ArrowException, struct.error, IndexError, OSError, UnicodeDecodeError, DataError) as error:
        raise Refused(400, f"The body is no Arrow IPC stream that can be read: {str(error).splitlines()[0]}") from None
    refuse(_bad_images(frame, schema))
    return Request(conformed(frame, schema), list(range(len(frame))), len(frame))


def write_stream(table: pd.DataFrame) -> bytes:
    sink = pa.BufferOutputStream()
    found = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, found.schema) as writer:
        writer.write_table(found)
    return sink.getvalue().to_pybytes()


def _read(body: bytes, schema: Schema) -> pa.Table:
    """The columns that the model uses, as far as there are not too many rows. Raises Refused."""
    with pa.ipc.open_stream(body) as found:
        names = found.schema.names
        twice = sorted({name for name in names if names.count(name) > 1})
        refuse(field_error(None, name, "this column stands in the stream twice") for name in twice)
        columns = [column for column in schema.columns if column.modality]
        refuse(
            field_error(None, column.name, "this column is missing") for column in columns if column.name not in names
        )
        refuse(_bad_types(found.schema, columns))
        wanted = sorted(names.index(column.name) for column in columns)
    batches, num_rows = [], 0
    with pa.ipc.open_stream(body, options=pa.ipc.IpcReadOptions(included_fields=wanted)) as reader:
        for batch in reader:
            num_rows += batch.num_rows
            if num_rows > MAX_ARROW_ROWS:
                raise Refused(413, f"More than {MAX_ARROW_ROWS:,} rows in one request. Send them in parts.")
            batch.validate(full=True)
            batches.append(batch)
        # What pandas left there would be believed: which columns are an index, and of which type.
        return pa.Table.from_batches(batches, reader.schema).replace_schema_metadata(None)


def _bad_types(found: pa.Schema, columns: list[Column]) -> Iterator[dict[str, object]]:
    for column in columns:
        kind = found.field(column.name).type
        if column.kind == "image":
            right, expected = (
                pa.types.is_binary(kind) or pa.types.is_large_binary(kind),
                "binary, an encoded image a row",
            )
        elif column.kind == "series":
            right, expected = _is_list(kind) and _is_number(kind.value_type), "lists of numbers"
        else:
            right, expected = _is_plain(kind), "numbers, words, truth values or moments"
        if not (right or pa.types.is_null(kind)):
            yield field_error(None, column.name, f"expected {expected}, found {kind}")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    checks = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_boolean,
        pa.types.is_temporal,
        pa.types.is_decimal,
    )
    return _is_number(kind) or any(check(kind) for check in checks)


def _bad_images(frame: pd.DataFrame, schema: Schema) -> Iterator[dict[str, object]]:
    num_pixels = 0
    for name in schema.names("image"):
        for row, content in enumerate(frame[name]):
            if content is None:
                continue
            pixels = pixels_of(content)
            if pixels is None:
                yield field_error(row, name, f"expected an image ({', '.join(IMAGE_FORMATS)})")
            else:
                num_pixels += pixels
                check_pixels(num_pixels)


def _check_messages(body: bytes) -> None:
    """Raises Refused for compressed batches: a few bytes of them can become as many as there is memory for."""
    reader = pa.ipc.MessageReader.open_stream(body)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        metadata = message.metadata.to_pybytes()
        root = struct.unpack_from("<I", metadata)[0]
        kind_at, header_at = _slot(metadata, root, HEADER_TYPE), _slot(metadata, root, HEADER)
        if kind_at is None or header_at is None:
            continue
        kind, batch = metadata[kind_at], _follow(metadata, header_at)
        if kind == DICTIONARY_BATCH:
            data_at = _slot(metadata, batch, DATA_OF_DICTIONARY)
            batch = batch if data_at is None else _follow(metadata, data_at)
        if kind in (DICTIONARY_BATCH, RECORD_BATCH) and _slot(metadata, batch, COMPRESSION) is not None:
            raise Refused(415, "The stream is compressed. Send it as it is; HTTP may not compress it either.")


def _slot(metadata: bytes, table: int, slot: int) -> int | None:
    """Where the value of a slot of a flatbuffers table stands; None where it has none."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    size = struct.unpack_from("<H", metadata, vtable)[0]
    if 4 + 2 * slot >= size:
        return None
    offset = struct.unpack_from("<H", metadata, vtable + 4 + 2 * slot)[0]
    return table + offset if offset else None


def _follow(metadata: bytes, at: int) -> int:
    return int(at + struct.unpack_from("<I", metadata, at)[0])
