"""The one representation of each kind, and complaints about cells that cannot have it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fusion_automl.data.conform import CellError, conform, row_errors
from fusion_automl.data.schema import Column, Kind, Schema
from fusion_automl.errors import DataError

NAN, NAT = np.nan, np.datetime64("NaT", "ns")


def schema_of(**kinds: Kind) -> Schema:
    return Schema(tuple(Column(name, kind) for name, kind in kinds.items()))


def conformed(kind: Kind, values: Any) -> pd.Series:
    return conform(pd.DataFrame({"x": values}), schema_of(x=kind), where="NEW")["x"]


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("numeric", [1, 2], [1.0, 2.0]),
        ("numeric", [np.inf, -np.inf], [NAN, NAN]),
        ("numeric", [" 1.5", "NA", None, True, "1e400", float("inf")], [1.5, NAN, NAN, 1.0, NAN, NAN]),
        ("numeric", pd.array([1, None], dtype="Int64"), [1.0, NAN]),
        ("numeric", pd.to_timedelta([90, None], unit="s"), [90.0, NAN]),
        ("boolean", [True, False], [1.0, 0.0]),
        ("boolean", ["Yes", "f", 1, 0.0, None, ""], [1.0, 0.0, 1.0, 0.0, NAN, NAN]),
        ("category", [3, 4], ["3", "4"]),
        ("category", [3.0, NAN, 2.5], ["3", None, "2.5"]),
        ("category", np.array([3, 3.0, " 3", "", True, b"3"], dtype=object), ["3", "3", "3", None, "True", "3"]),
        ("category", pd.Categorical(["a", None]), ["a", None]),
        ("text", ["Hello  you", " ", None, 7], ["Hello  you", None, None, "7"]),
        ("text", [["big", "red"], []], ["big red", None]),
        ("image", [b"123", "a.png", None, ""], [b"123", "a.png", None, None]),
        ("image", [{"bytes": b"1", "path": "a"}, {"bytes": None, "path": "b"}], [b"1", "b"]),
    ],
)  # fmt: skip
def test_each_kind_has_one_representation(kind: Kind, values: Any, expected: list[Any]) -> None:
    column = conformed(kind, values)
    assert column.dtype == (np.float64 if kind in ("numeric", "boolean") else object)
    for found, wanted in zip(column, expected, strict=True):
        assert found == wanted or (found is None and wanted is None) or (found != found and wanted != wanted)


def test_moments_are_utc_in_nanoseconds() -> None:
    values = ["2024-01-02", "2024-01-02T10:00:00+02:00", None, "9999-12-31", pd.Timestamp("2024-01-02 03:00")]
    column = conformed("datetime", pd.Series(values, dtype=object))
    wanted = ["2024-01-02", "2024-01-02T08:00:00", "NaT", "NaT", "2024-01-02T03:00"]
    assert column.dtype == "datetime64[ns]"
    np.testing.assert_array_equal(column.to_numpy(), np.array(wanted, dtype="datetime64[ns]"))


def test_series_of_different_lengths_are_float32_arrays_of_their_own() -> None:
    source = np.array([1, np.inf], dtype=np.float64)
    column = conformed("series", pd.Series([source, [1, None, 3.5], [], None, (2,)], dtype=object))
    assert [None if cell is None else cell.tolist() for cell in column][2:] == [None, None, [2.0]]
    assert column[0].dtype == np.float32 and np.isnan(column[0][1]) and source[1] == np.inf
    np.testing.assert_array_equal(column[1], np.array([1, np.nan, 3.5], dtype=np.float32))


WRONG_CELLS: list[tuple[Kind, list[Any], str]] = [
    ("numeric", [1.0, "abc"], r"^NEW: column 'x', row 1 \(rows count from 0\): expected a number, found 'abc'\. Mend"),
    ("numeric", ["a", 2, "b", "c"], r"row 0 and 2 more rows \(rows count from 0\)"),
    ("numeric", ["2020_01"], r"found '2020_01'"),
    ("numeric", [[1.0]], r"found \[1\.0\]"),
    ("numeric", [pd.Timestamp("2024-01-01")], r"expected a number, found Timestamp"),
    ("boolean", ["maybe"], r"expected true or false, found 'maybe'"),
    ("datetime", ["yesterday"], r"expected a date such as 2024-05-31.*found 'yesterday'"),
    ("datetime", [20240101], r"found (np\.int64\()?20240101"),
    ("category", [{"a": 1}], r"expected a word or a number, found \{'a': 1\}"),
    ("text", [b"\xff\xfe"], r"expected text in UTF-8, found 2 bytes"),
    ("text", [{"a": 1}], r"expected text"),
    ("image", [3], r"expected the bytes of an image, or the path"),
    ("series", [1.5], r"expected a list of numbers, found (np\.float64\()?1\.5"),
    ("series", [[1, "a"]], r"found \[1, 'a'\]"),
    ("series", [[[1, 2], [3, 4]]], r"expected a list of numbers"),
    ("numeric", ["a" * 100], r"found 'a{36}\.\.\.\."),
]


@pytest.mark.parametrize(("kind", "values", "message"), WRONG_CELLS)
def test_a_wrong_cell_is_named(kind: Kind, values: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        conformed(kind, values)


def test_only_the_used_columns_remain_in_order() -> None:
    frame = pd.DataFrame({"extra": [1], "b": [2], "a": ["x"]}, index=[7])
    result = conform(frame, schema_of(a="category", id="identifier", b="numeric"), where="NEW")
    assert list(result.columns) == ["a", "b"] and result.index.tolist() == [0]


def test_missing_columns_are_named() -> None:
    schema = schema_of(height="numeric", width="numeric", id="identifier")
    with pytest.raises(DataError, match=r"^NEW: a column is missing: unknown column 'width'\. Did you mean 'widht'\?"):
        conform(pd.DataFrame({"height": [1], "widht": [2]}), schema, where="NEW")
    with pytest.raises(DataError, match=r"^NEW: 2 columns are missing: height, width\. Found: depth"):
        conform(pd.DataFrame({"depth": [1]}), schema, where="NEW")


ALL_KINDS = schema_of(n="numeric", b="boolean", c="category", d="datetime", t="text", i="image", s="series")
ROW = {"n": 1.5, "b": True, "c": "x", "d": "2024-01-01", "t": "hi", "i": b"1", "s": [1.0]}


def test_zero_rows_have_the_same_types_as_many() -> None:
    many = conform(pd.DataFrame([ROW, ROW]), ALL_KINDS, where="NEW")
    none = conform(pd.DataFrame([ROW]).iloc[:0], ALL_KINDS, where="NEW")
    assert len(none) == 0 and none.dtypes.equals(many.dtypes)
    untyped = conform(pd.DataFrame(columns=list(ROW)), ALL_KINDS, where="NEW")
    assert untyped.dtypes.equals(many.dtypes)


def test_a_row_alone_equals_the_row_in_a_batch() -> None:
    rows = [ROW, dict.fromkeys(ROW), ROW | {"n": None, "c": 3}]
    batch = conform(pd.DataFrame(rows), ALL_KINDS, where="NEW")
    for number, row in enumerate(rows):
        alone = conform(
            pd.DataFrame({name: pd.Series([cell], dtype=object) for name, cell in row.items()}), ALL_KINDS, where="NEW"
        )
        pd.testing.assert_frame_equal(alone, batch.iloc[[number]].reset_index(drop=True))


def test_row_errors_name_each_wrong_field() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (2, 2)).save(buffer, "PNG")
    rows = [
        {"n": 1, "i": buffer.getvalue(), "s": [1]},
        {"n": "abc", "i": b"no image", "s": None},
        {"n": None, "i": 5, "s": "12"},
    ]
    errors = row_errors(pd.DataFrame(rows), schema_of(n="numeric", i="image", s="series"))
    assert CellError(1, "n", "expected a number, found 'abc'") in errors
    assert [(error.row, error.column) for error in errors] == [(1, "n"), (1, "i"), (2, "i"), (2, "s")]
    assert errors[1].message.startswith("the image is broken")


def test_many_words_are_read_as_few_are() -> None:
    words = pd.DataFrame({"c": [" red", "red", "", None, "blue ", " "] * 200}, dtype="str")
    few, many = (conform(frame, schema_of(c="category"), where="rows")["c"] for frame in (words[:6], words))
    assert few.tolist() == ["red", "red", None, None, "blue", None]
    assert many.tolist() == few.tolist() * 200 and many.dtype == object
