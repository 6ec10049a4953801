"""The file formats of tables: an open file -> a stream of its rows -> a frame with the file's own types."""

from __future__ import annotations

import codecs
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple

import pandas as pd
import pyarrow as pa
from pyarrow import csv, ipc, parquet

from fusion_automl.errors import DataError

# What R, pandas, SQL and spreadsheets write where nothing is; "None" and "?" stay words, as classes bear such names.
CSV_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>", "#N/A"]
BLOCK_BYTES = (1 << 20, 8 << 20, 64 << 20)
"""pyarrow wants a row of a CSV file within a block, and reads 33 blocks ahead. Texts of some megabytes in a cell do occur:
where a row does not fit, the file is begun again with larger blocks."""
CHUNK_BYTES = 1 << 20
BATCH_BYTES = 32 << 20
"""Of a Parquet file so much is unpacked at once."""
MAX_ROWS_A_BATCH = 1 << 16
RECORDS = pa.schema({"number": pa.int64(), "line": pa.int64(), "text": pa.string()})
"""JSON as a stream: which record of the file it is, in which line it begins, and its text."""


class Format(NamedTuple):
    """How files of a kind are read: their rows as a stream, of which any selection can be made a frame.

    `stream` yields tables of one schema, the first without rows; what their columns are is known to `frame` and `labels`
    alone. `labels` is the target of each row as a word, or None where it has none that are words or numbers.
    """

    stream: Callable[[IO[bytes], str], Iterator[pa.Table]]
    frame: Callable[[pa.Table, str], pd.DataFrame]
    labels: Callable[[pa.Table, str], pa.ChunkedArray | None]


def stream_csv(file: IO[bytes], where: str) -> Iterator[pa.Table]:
    """CSV in UTF-8 with a header; of comma, semicolon, tab and bar, the most frequent there separates the fields."""
    return _delimited(file, where, delimiters=",;\t|")


def stream_tsv(file: IO[bytes], where: str) -> Iterator[pa.Table]:
    return _delimited(file, where, delimiters="\t")


def _delimited(file: IO[bytes], where: str, *, delimiters: str) -> Iterator[pa.Table]:
    """All cells as words: what they are is seen from all of them."""
    header = _header(file, where)
    first_line, _, _ = header.lstrip().partition(b"\n")
    parse = csv.ParseOptions(
        delimiter=max(delimiters, key=lambda delimiter: first_line.count(delimiter.encode())), newlines_in_values=True
    )
    num_rows = 0
    for block_bytes in BLOCK_BYTES:
        # One thread: with several, pyarrow does not say which row is broken.
        read = csv.ReadOptions(use_threads=False, block_size=block_bytes)
        try:
            with csv.open_csv(io.BytesIO(header), parse_options=parse) as reader:
                words = dict.fromkeys(reader.schema.names, pa.string())
                names = [name.strip() or f"column_{i}" for i, name in enumerate(reader.schema.names)]
            check_names(names, where)
            convert = csv.ConvertOptions(column_types=words, null_values=CSV_MISSING, strings_can_be_null=True)
            file.seek(0)
            with csv.open_csv(file, parse_options=parse, read_options=read, convert_options=convert) as reader:
                yield reader.schema.empty_table().rename_columns(names)
                to_skip = num_rows
                for batch in reader:
                    yield pa.Table.from_batches([batch.slice(to_skip)]).rename_columns(names)
                    num_rows += max(0, len(batch) - to_skip)
                    to_skip = max(0, to_skip - len(batch))
            return
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            if "straddl" in str(error) and block_bytes < BLOCK_BYTES[-1]:
                continue
            _check_utf8_of(file, where)
            raise DataError(f"{where}: {_csv_complaint(str(error))}") from error


def _header(file: IO[bytes], where: str) -> bytes:
    """The lines up to the end of the header, as a column's quoted name may go over several."""
    header = b""
    for line in _lines(file):
        header += line + b"\n"
        if header.removeprefix(codecs.BOM_UTF8).strip() and header.count(b'"') % 2 == 0:
            break
    header = header.removeprefix(codecs.BOM_UTF8)
    if not header.strip():
        raise DataError(f"{where}: the file is empty. Expected a header line with column names and rows below it.")
    return header


def _typed_frame(table: pa.Table, where: str) -> pd.DataFrame:
    names, columns = table.column_names, table.columns[::-1]
    del table  # so that the words of a column go when its numbers are there
    return pd.DataFrame({name: _typed(columns.pop().to_pandas()) for name in names}, copy=False)


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


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines from here on, without their ends; files on s3:// are slow to give them one by one."""
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _words_of_lines(file: IO[bytes], where: str) -> Iterator[str]:
    """The file's lines as words. Raises DataError that names the first byte which is not UTF-8, and its line."""
    file.seek(0)
    start = 0
    for number, line in enumerate(_lines(file), start=1):
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError as error:
            utf16 = start == 0 and line[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
            source = "UTF-16" if utf16 else "WINDOWS-1252"
            raise DataError(
                f"{where}: not UTF-8: byte {start + error.start} (line {number}) is 0x{line[error.start]:02x}. "
                f"Save it as UTF-8, for example: iconv -f {source} -t UTF-8 FILE > NEW."
            ) from None
        start += len(line) + 1


def _check_utf8_of(file: IO[bytes], where: str) -> None:
    for _ in _words_of_lines(file, where):
        pass


def check_names(names: list[str], where: str) -> None:
    """Raises DataError for column names that occur twice."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(
            f"{where}: column names must differ; these occur more than once: {', '.join(twice)}. Rename them."
        )


def stream_json(file: IO[bytes], where: str) -> Iterator[pa.Table]:
    """One JSON object a line, or one JSON array of objects, which is parsed whole; a row is its text until it is kept."""
    file.seek(0)
    is_array = file.read(CHUNK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")
    yield RECORDS.empty_table()
    records = _items(file, where) if is_array else _records(file, where)
    waiting, num_letters = [], 0
    for number, (line, text) in enumerate(records):
        waiting.append((number, line, text))
        num_letters += len(text)
        if num_letters > CHUNK_BYTES:
            yield pa.table(list(zip(*waiting, strict=True)), RECORDS)
            waiting, num_letters = [], 0
    if waiting:
        yield pa.table(list(zip(*waiting, strict=True)), RECORDS)


def _records(file: IO[bytes], where: str) -> Iterator[tuple[int, str]]:
    for line, text in enumerate(_words_of_lines(file, where), start=1):
        text = text.removeprefix("\ufeff") if line == 1 else text
        if text.strip():
            yield line, text


def _items(file: IO[bytes], where: str) -> Iterator[tuple[int, str]]:
    text = "\n".join(_words_of_lines(file, where)).removeprefix("\ufeff")
    return ((1, json.dumps(item)) for item in _json(text, where, line=1))


def _parsed(table: pa.Table, where: str) -> Iterator[dict[str, Any]]:
    for batch in table.to_batches():
        for number, line, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            row = _json(text, where, line=line)
            if not isinstance(row, dict):
                raise DataError(
                    f"{where}: record {number} (from 0) is {row!r:.40}; expected a JSON object: column -> value."
                )
            yield row


def _frame_of_records(table: pa.Table, where: str) -> pd.DataFrame:
    return pd.DataFrame(list(_parsed(table, where)))


def _labels_of_records(table: pa.Table, target: str) -> pa.ChunkedArray:
    values = [row.get(target) for row in _parsed(table, "DATA")]
    return pa.chunked_array([[None if value is None else str(value) for value in values]], pa.string())


def _json(text: str, where: str, *, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: line {line + error.lineno - 1}, column {error.colno}: not JSON: {error.msg}. "
            f"Expected one JSON object a line."
        ) from None


def stream_parquet(file: IO[bytes], where: str) -> Iterator[pa.Table]:
    try:
        source = parquet.ParquetFile(file)
        check_names(source.schema_arrow.names, where)
        kept = _without_index(source.schema_arrow.names)
        yield source.schema_arrow.empty_table().select(kept)
        groups = [source.metadata.row_group(group) for group in range(source.num_row_groups)]
        bytes_a_row = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
        rows_a_batch = max(1, min(MAX_ROWS_A_BATCH, int(BATCH_BYTES / max(1, bytes_a_row))))
        for group in range(source.num_row_groups):  # of all at once, pyarrow keeps the file's bytes to the end
            for batch in source.iter_batches(rows_a_batch, row_groups=[group]):
                yield pa.Table.from_batches([batch]).select(kept)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{where}: not a readable Parquet file: {error}.") from error


def stream_arrow(file: IO[bytes], where: str) -> Iterator[pa.Table]:
    """Arrow IPC, file (Feather) or stream."""
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    try:
        reader = ipc.open_file(file) if is_file else ipc.open_stream(file)
        check_names(reader.schema.names, where)
        kept = _without_index(reader.schema.names)
        yield reader.schema.empty_table().select(kept)
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
        for batch in batches:
            yield pa.Table.from_batches([batch]).select(kept)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{where}: not a readable Arrow file: {error}.") from error


def _without_index(names: list[str]) -> list[str]:
    """The unnamed index that pandas stores as `__index_level_0__` is no column."""
    return [name for name in names if not re.fullmatch(r"__index_level_\d+__", name)]


def _frame_of_columns(table: pa.Table, where: str) -> pd.DataFrame:
    """Consumes the table: the memory of a column goes when its frame's is there."""
    return table.to_pandas(ignore_metadata=True, split_blocks=True, self_destruct=True)


def _labels_of_columns(table: pa.Table, target: str) -> pa.ChunkedArray | None:
    if target not in table.column_names:
        return None
    try:
        return table.column(target).cast(pa.string())
    except pa.ArrowException:  # lists and the like, which the target may not be; who infers the task will say so
        return None


def from_arrow(table: pa.Table, where: str) -> pd.DataFrame:
    """A frame with the types of a table in memory."""
    check_names(table.column_names, where)
    return table.select(_without_index(table.column_names)).to_pandas(ignore_metadata=True)


_CSV = Format(stream_csv, _typed_frame, _labels_of_columns)
_TSV = Format(stream_tsv, _typed_frame, _labels_of_columns)
_PARQUET = Format(stream_parquet, _frame_of_columns, _labels_of_columns)
_JSON = Format(stream_json, _frame_of_records, _labels_of_records)
_ARROW = Format(stream_arrow, _frame_of_columns, _labels_of_columns)

FORMATS: dict[str, Format] = {
    ".csv": _CSV,
    ".tsv": _TSV,
    ".parquet": _PARQUET,
    ".jsonl": _JSON,
    ".ndjson": _JSON,
    ".json": _JSON,
    ".arrow": _ARROW,
    ".feather": _ARROW,
    ".ipc": _ARROW,
}
"""By the suffix of the file's name."""
