"""The file formats of tables, one function each: an open file -> a frame with the file's own types."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Callable
from typing import IO, Any

import pandas as pd
import pyarrow as pa

from fusion_automl.errors import DataError

# What R, pandas, SQL and spreadsheets write where nothing is; "None" and "?" stay words, as classes bear such names.
CSV_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>", "#N/A"]
BLOCK_BYTES = 64 << 20
"""pyarrow wants a row within a block; texts of some megabytes in a cell do occur."""


def read_csv(file: IO[bytes], where: str) -> pd.DataFrame:
    """CSV in UTF-8 with a header; of comma, semicolon, tab and bar, the most frequent there separates the fields."""
    return _delimited(file.read(), where, delimiters=",;\t|")


def read_tsv(file: IO[bytes], where: str) -> pd.DataFrame:
    return _delimited(file.read(), where, delimiters="\t")


def _delimited(raw: bytes, where: str, *, delimiters: str) -> pd.DataFrame:
    from pyarrow import csv

    check_utf8(raw, where)
    raw = raw.removeprefix(codecs.BOM_UTF8)
    header, _, _ = raw.lstrip().partition(b"\n")
    if not header:
        raise DataError(f"{where}: the file is empty. Expected a header line with column names and rows below it.")
    parse = csv.ParseOptions(
        delimiter=max(delimiters, key=lambda delimiter: header.count(delimiter.encode())), newlines_in_values=True
    )
    # One thread: with several, pyarrow does not say which row is broken.
    read = csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES)
    try:
        with csv.open_csv(io.BytesIO(raw), parse_options=parse, read_options=read) as reader:
            names = reader.schema.names
        words = csv.read_csv(
            io.BytesIO(raw),
            parse_options=parse,
            read_options=read,
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=CSV_MISSING,
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{where}: {_csv_complaint(str(error))}") from error
    frame = words.to_pandas()
    frame.columns = pd.Index([name.strip() or f"column_{i}" for i, name in enumerate(names)], dtype=object)
    check_names(frame.columns.tolist(), where)
    return pd.DataFrame({name: _typed(frame[name]) for name in frame.columns})


def _csv_complaint(message: str) -> str:
    found = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message)
    if not found:
        return f"not a readable CSV file: {message}."
    line, expected, got = found.groups()
    return (
        f"line {line} has {got} fields, expected {expected} as in the header. "
        f"Mend that line, or quote fields that hold the separator."
    )


def _typed(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers where all cells are numbers, except codes such as 01234, whose zeros count."""
    if column.str.contains(r"^\s*0\d|_", regex=True).any() or not column.notna().any():
        return column
    try:
        return pd.to_numeric(column)
    except (ValueError, TypeError, OverflowError):
        return column


def check_utf8(raw: bytes, where: str) -> None:
    """Raises DataError that names the first byte which is not UTF-8, and its line."""
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        utf16 = raw[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        source = "UTF-16" if utf16 else "WINDOWS-1252"
        raise DataError(
            f"{where}: not UTF-8: byte {error.start} (line {line}) is 0x{raw[error.start]:02x}. "
            f"Save it as UTF-8, for example: iconv -f {source} -t UTF-8 FILE > NEW."
        ) from None


def check_names(names: list[str], where: str) -> None:
    """Raises DataError for column names that occur twice."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(
            f"{where}: column names must differ; these occur more than once: {', '.join(twice)}. Rename them."
        )


def read_json(file: IO[bytes], where: str) -> pd.DataFrame:
    """One JSON object a line, or one JSON array of objects."""
    raw = file.read().removeprefix(codecs.BOM_UTF8)
    check_utf8(raw, where)
    text = raw.decode()
    if text.lstrip().startswith("["):
        rows = _json(text, where, line=1)
    else:
        rows = [_json(line, where, line=i) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(
                f"{where}: record {number} (from 0) is {row!r:.40}; expected a JSON object: column -> value."
            )
    return pd.DataFrame(rows)


def _json(text: str, where: str, *, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: line {line + error.lineno - 1}, column {error.colno}: not JSON: {error.msg}. "
            f"Expected one JSON object a line."
        ) from None


def read_parquet(file: IO[bytes], where: str) -> pd.DataFrame:
    from pyarrow import parquet

    try:
        return from_arrow(parquet.ParquetFile(file).read(), where)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{where}: not a readable Parquet file: {error}.") from error


def read_arrow(file: IO[bytes], where: str) -> pd.DataFrame:
    """Arrow IPC, file (Feather) or stream."""
    from pyarrow import ipc

    raw = file.read()
    try:
        reader = ipc.open_file(raw) if raw.startswith(b"ARROW1") else ipc.open_stream(raw)
        return from_arrow(reader.read_all(), where)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{where}: not a readable Arrow file: {error}.") from error


def from_arrow(table: pa.Table, where: str) -> pd.DataFrame:
    """A frame with the table's types; the unnamed index that pandas stores as `__index_level_0__` is left out."""
    check_names(table.column_names, where)
    kept = [name for name in table.column_names if not re.fullmatch(r"__index_level_\d+__", name)]
    return table.select(kept).to_pandas(ignore_metadata=True)


FORMATS: dict[str, Callable[[IO[bytes], str], pd.DataFrame]] = {
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
    ".jsonl": read_json,
    ".ndjson": read_json,
    ".json": read_json,
    ".arrow": read_arrow,
    ".feather": read_arrow,
    ".ipc": read_arrow,
}
"""Readers by the suffix of the file's name."""
