"""Every source of a table, and every way in which one can be wrong."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
from PIL import Image

from fusion_automl.data.read import read_table
from fusion_automl.errors import DataError

PLAIN = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, np.nan]})


def write(folder: Path, name: str, content: bytes) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return str(path)


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (3, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def bytes_of(frame: pd.DataFrame, suffix: str) -> bytes:
    buffer = io.BytesIO()
    if suffix == "parquet":
        frame.to_parquet(buffer)
    elif suffix == "feather":
        frame.to_feather(buffer)
    elif suffix == "jsonl":
        return frame.to_json(orient="records", lines=True).encode()
    elif suffix == "arrow":
        table = pa.Table.from_pandas(frame)
        with pa.ipc.new_stream(buffer, table.schema) as writer:
            writer.write_table(table)
    else:
        return frame.to_csv(index=False, sep="\t" if suffix == "tsv" else ",").encode()
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "feather", "arrow", "jsonl"])
def test_each_format_gives_the_same_table(tmp_path: Path, suffix: str) -> None:
    frame = read_table(write(tmp_path, f"t.{suffix}", bytes_of(PLAIN, suffix)))
    assert list(frame.columns) == ["a", "b", "c"]
    assert frame["a"].tolist() == [1, 2]
    assert frame["b"].iloc[0] == "x" and frame["b"].isna().tolist() == [False, True]
    assert frame["c"].iloc[0] == 0.5 and frame["c"].dtype == np.float64


@pytest.mark.parametrize(
    "source",
    [
        PLAIN,
        polars.DataFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, None]}),
        polars.LazyFrame({"a": [1, 2], "b": ["x", None], "c": [0.5, None]}),
        pa.table({"a": [1, 2], "b": ["x", None], "c": [0.5, None]}),
        {"a": [1, 2], "b": ["x", None], "c": [0.5, None]},
        [{"a": 1, "b": "x", "c": 0.5}, {"a": 2}],
    ],
    ids=["pandas", "polars", "polars lazy", "arrow", "columns", "rows"],
)
def test_each_table_in_memory_gives_the_same(source: Any) -> None:
    frame = read_table(source)
    assert frame["a"].tolist() == [1, 2]
    assert frame.isna().to_numpy().tolist() == [[False, False, False], [False, True, True]]


def test_an_array_gets_column_names() -> None:
    assert read_table(np.ones((2, 3))).columns.tolist() == ["x0", "x1", "x2"]


def test_the_index_that_pandas_stores_in_parquet_is_no_column(tmp_path: Path) -> None:
    shuffled = pd.DataFrame({"a": [1, 2, 3]}, index=[7, 3, 5])
    frame = read_table(write(tmp_path, "t.parquet", bytes_of(shuffled, "parquet")))
    assert frame.columns.tolist() == ["a"] and frame.index.tolist() == [0, 1, 2]


def test_csv_keeps_leading_zeros_and_reads_numbers_with_missing_marks(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, "t.csv", b"zip,x,word\n01234,NA,None\n12345,5,?\n"))
    assert frame["zip"].tolist() == ["01234", "12345"]
    assert frame["x"].tolist()[1] == 5.0 and np.isnan(frame["x"].iloc[0])
    assert frame["word"].tolist() == ["None", "?"]


def test_csv_with_bom_semicolons_quotes_and_line_breaks(tmp_path: Path) -> None:
    content = '\ufeffname;text\nä;"one; two\nthree ""four"""\n'.encode()
    frame = read_table(write(tmp_path, "t.csv", content))
    assert frame.to_dict("list") == {"name": ["ä"], "text": ['one; two\nthree "four"']}


def test_a_column_without_a_name_gets_one(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.csv", b",x\n0,5\n")).columns.tolist() == ["column_0", "x"]


def test_lists_in_json_lines_and_types_that_mix(tmp_path: Path) -> None:
    frame = read_table(write(tmp_path, "t.jsonl", b'{"s": [1, 2.5], "m": 1}\n\n{"s": [3], "m": "x"}\n'))
    assert frame["s"].tolist() == [[1, 2.5], [3]] and frame["m"].tolist() == [1, "x"]


def test_json_may_be_one_array(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, "t.json", b'[{"a": 1}, {"a": 2}]'))["a"].tolist() == [1, 2]


def test_image_structs_become_bytes_or_paths() -> None:
    structs = [{"bytes": b"123", "path": None}, None, {"bytes": None, "path": "a.png"}]
    assert read_table(pa.table({"image": structs}))["image"].tolist() == [b"123", None, "a.png"]


def test_a_folder_of_images_is_labelled_by_its_sub_folders(tmp_path: Path) -> None:
    for name in ("cat/1.png", "dog/2.png", "dog/.hidden.png"):
        write(tmp_path, name, png())
    frame = read_table(tmp_path)
    assert frame["label"].tolist() == ["cat", "dog"]
    assert frame["image"].tolist() == [str(tmp_path / "cat/1.png"), str(tmp_path / "dog/2.png")]


@pytest.mark.parametrize("where", ["", "images/"])
def test_a_folder_of_images_may_be_labelled_by_a_table(tmp_path: Path, where: str) -> None:
    write(tmp_path, f"{where}1.png", png())
    write(tmp_path, "labels.csv", b"file_name,label\n1.png,cat\n")
    frame = read_table(tmp_path)
    assert frame["file_name"].tolist() == [str(tmp_path / where / "1.png")] and frame["label"].tolist() == ["cat"]


def test_parquet_files_with_the_same_columns_are_parts_of_one_table(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path, f"part-{number}.parquet", bytes_of(pd.DataFrame({"a": [number]}), "parquet"))
    assert read_table(tmp_path)["a"].tolist() == [0, 1]


PARQUET = bytes_of(PLAIN, "parquet")
WRONG_FILES = [
    ("t.csv", b"", r"t\.csv: the file is empty"),
    ("t.jsonl", b"", r"t\.jsonl: the table is empty"),
    ("t.parquet", b"", r"t\.parquet: not a readable Parquet file"),
    ("t.arrow", b"zzz", r"t\.arrow: not a readable Arrow file"),
    ("t.csv", b"a,b\n", r"t\.csv: the table has columns \(a, b\) but no rows"),
    ("t.csv", b"a,b,a\n1,2,3\n", r"these occur more than once: a\. Rename them"),
    ("t.csv", b"a,b\n1,2\n3,4,5\n", r"line 3 has 3 fields, expected 2 as in the header"),
    ("t.csv", b"a,b\n1,2\n3\n", r"line 3 has 1 fields, expected 2"),
    ("t.csv", "a,b\n1,é\n".encode("latin-1"), r"not UTF-8: byte 6 \(line 2\) is 0xe9\. Save it as UTF-8"),
    ("t.csv", "a,b\n1,2\n".encode("utf-16"), r"iconv -f UTF-16 -t UTF-8"),
    ("t.jsonl", b'{"a": 1}\n{"a": \n', r"line 2, column 7: not JSON"),
    ("t.jsonl", b'{"a": 1}\n3\n', r"record 1 \(from 0\) is 3; expected a JSON object"),
    ("t.jsonl", b'{"a": "\xff"}\n', r"not UTF-8: byte 7 \(line 1\)"),
    ("t.xlsx", b"PK", r"unknown kind of file '\.xlsx'\. Expected one of \.csv, \.tsv"),
]


@pytest.mark.parametrize(("name", "content", "message"), WRONG_FILES)
def test_a_wrong_file_is_told_in_a_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, name, content))


WRONG_FOLDERS = [
    (["train.parquet"], r"name the file that is meant: train\.parquet"),
    (["train.parquet", "test.parquet"], r"name the file that is meant: test\.parquet, train\.parquet"),
    (["a.csv"], r"name the file that is meant: a\.csv"),
    (["1.png", "cat/2.png"], r"image '1\.png' lies in no sub-folder"),
    (["notes.txt"], r"found no table and no images \(files: notes\.txt\)"),
    ([], r"files: none"),
]


@pytest.mark.parametrize(("names", "message"), WRONG_FOLDERS)
def test_a_wrong_folder_is_told_in_a_sentence(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        write(tmp_path, name, PARQUET)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)


def test_parts_with_other_columns_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, f"{name}.parquet", bytes_of(pd.DataFrame({name: [1]}), "parquet"))
    with pytest.raises(DataError, match=r"b\.parquet has other columns than a\.parquet"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", ["nothing.csv", "nothing"])
def test_a_missing_path_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name}: no such file or folder"):
        read_table(tmp_path / name)


def test_an_unknown_protocol_is_told() -> None:
    with pytest.raises(DataError, match=r"^foo://a\.csv: Protocol not known: foo\. Expected a local path or a URI"):
        read_table("foo://a.csv")


@pytest.mark.parametrize("uri", ["s3://", "s3:///a.csv"])
def test_a_uri_without_a_bucket_is_told(uri: str) -> None:
    with pytest.raises(DataError, match=rf"^{uri}: names no bucket\. Expected s3://bucket/file\.parquet"):
        read_table(uri)


WRONG_TABLES = [
    (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"^DATA: column names must differ"),
    (pd.DataFrame([[1, 2]], columns=[1, "1"]), r"these occur more than once: 1"),
    (pd.DataFrame({"a": []}), r"^DATA: the table has columns \(a\) but no rows"),
    ([], r"^DATA: the table is empty"),
    ({"a": [1, 2], "b": [1]}, r"^DATA: not a table"),
    (3, r"cannot read a table from int\. Expected a path"),
]


@pytest.mark.parametrize(("source", "message"), WRONG_TABLES)
def test_a_wrong_table_in_memory_is_told(source: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(source)


def test_zero_rows_are_allowed_where_asked_for() -> None:
    assert len(read_table(pd.DataFrame({"a": []}), allow_empty=True)) == 0
