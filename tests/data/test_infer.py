"""What kind each sort of column is taken for, and how a user overrules it."""

from __future__ import annotations

import datetime
import io
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fusion_automl.data.conform import conform
from fusion_automl.data.infer import describe, infer_schema
from fusion_automl.data.override import read_overrides, to_toml
from fusion_automl.data.read import read_table
from fusion_automl.data.schema import KINDS
from fusion_automl.errors import DataError

ROWS = 60
RNG = np.random.default_rng(0)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (3, 3), shade).save(buffer, "PNG")
    return buffer.getvalue()


def sentences() -> list[str]:
    return [" ".join(RNG.choice(list("abcdefgh"), 6)) + f" {i}" for i in range(ROWS)]


def cycle(*values: Any) -> list[Any]:
    return [values[i % len(values)] for i in range(ROWS)]


COLUMNS = [
    ("height", RNG.normal(size=ROWS).tolist(), "numeric"),
    ("sold", RNG.permutation(1000)[:ROWS].tolist(), "numeric"),  # distinct whole numbers are measurements
    ("rooms", cycle(1, 2, 3), "numeric"),
    ("price", [Decimal(i) / 3 for i in range(ROWS)], "numeric"),
    ("wait", pd.to_timedelta(np.arange(ROWS) ** 2, unit="s"), "numeric"),
    ("as words", cycle("1.5", "2", "?", "", "NA", "7e3"), "numeric"),
    ("mostly numbers", ["unknown", *map(str, RNG.random(ROWS - 1))], "numeric"),
    ("half numbers", cycle("1", "two"), "category"),
    ("mixed types", cycle(1, "two", 3.5, None), "category"),
    ("Clothing ID", cycle(11, 12, 13), "category"),
    ("zip_code", cycle(85255, 85256), "category"),
    ("subclass", cycle("020", "150"), "category"),  # zeros in front make a code
    ("colour", cycle("red", "green", None), "category"),
    ("brand", pd.Categorical(cycle("x", "y")), "category"),
    ("utf8 bytes", cycle(b"red", b"green"), "category"),
    ("few long answers", cycle("I do agree with it fully", "I do not agree with it at all"), "category"),
    ("flag", cycle(True, False), "boolean"),
    ("flag with gaps", cycle(True, None, False), "boolean"),
    ("answer", cycle("Yes", "no"), "boolean"),
    ("when", pd.date_range("2024-01-01", periods=ROWS), "datetime"),
    ("zoned", pd.date_range("2024-01-01", periods=ROWS, tz="Europe/Berlin"), "datetime"),
    ("iso", [f"2024-01-{1 + i % 28:02d} 10:00:00" for i in range(ROWS)], "datetime"),
    ("day", [datetime.date(2024, 1, 1 + i % 28) for i in range(ROWS)], "datetime"),
    ("review", sentences(), "text"),
    ("chinese", [f"这件衣服很好看{i}" for i in range(ROWS)], "text"),
    ("tags", [["big", f"t{i}"] for i in range(ROWS)], "text"),
    ("photo", [png(i) for i in range(ROWS)], "image"),
    ("photo with gaps", [png(i) if i % 2 else None for i in range(ROWS)], "image"),
    ("file", [f"photos/{i}.JPG" for i in range(ROWS)], "image"),
    ("curve", [[0.5] * (1 + i % 3) for i in range(ROWS)], "series"),
    ("array", [np.arange(i % 4, dtype=np.int16) for i in range(ROWS)], "series"),
    ("row", list(range(ROWS)), "identifier"),
    ("shuffled row", RNG.permutation(ROWS).tolist(), "identifier"),
    ("file_index", np.cumsum(RNG.integers(1, 90, ROWS)).tolist(), "identifier"),
    ("user_id", RNG.permutation(10**6)[:ROWS].tolist(), "identifier"),
    ("token", [str(uuid.UUID(int=i * 7**40)) for i in range(ROWS)], "identifier"),
    ("login", [f"user{i:x}" for i in range(ROWS)], "identifier"),
    ("nested", [{"a": i} for i in range(ROWS)], "identifier"),
    ("raw bytes", [bytes([255, i, 254]) for i in range(ROWS)], "identifier"),
    ("same", [3] * ROWS, "constant"),
    ("same or nothing", cycle("x", None), "constant"),
    ("nothing", [None] * ROWS, "constant"),
]


@pytest.mark.parametrize(("name", "values", "kind"), COLUMNS, ids=[case[0] for case in COLUMNS])
def test_each_sort_of_column(name: str, values: Any, kind: str) -> None:
    frame = read_table(pd.DataFrame({name: values}))
    schema = infer_schema(frame)
    assert schema.columns[0].kind == kind
    conform(frame, schema, where="DATA")  # what was inferred can be conformed


def test_row_numbers_of_a_sample_count_rows() -> None:
    kept = np.sort(np.random.default_rng(1).permutation(80)[:ROWS])
    assert infer_schema(pd.DataFrame({"house": [1, *(kept + 2)]})).columns[0].kind == "identifier"


def test_words_among_numbers_are_counted_and_missing_from_then_on() -> None:
    frame = pd.DataFrame({"x": ["unknown", *map(str, range(100, 200))]}, index=range(101))
    schema = infer_schema(frame)
    assert schema.columns[0].num_unparsed == 1
    later = conform(pd.DataFrame({"x": ["5", "never seen"]}), schema, where="NEW")
    assert later["x"].iloc[0] == 5.0 and np.isnan(later["x"].iloc[1])


def test_counts_and_examples_are_those_of_the_column() -> None:
    column = infer_schema(pd.DataFrame({"c": ["red", None, "red", "green"]})).columns[0]
    assert (column.num_missing, column.num_distinct, column.example) == (1, 2, "'red'")


def test_a_schema_is_described_as_a_table() -> None:
    lines = describe(infer_schema(pd.DataFrame({"colour": ["red", None, "green"]}))).splitlines()
    assert lines == ["column  kind      distinct  missing  example", "colour  category  2         1        'red'"]


def test_excluded_columns_are_not_in_the_schema() -> None:
    schema = infer_schema(pd.DataFrame({"a": [1.5, 2], "y": [0, 1]}), exclude=["y"])
    assert [column.name for column in schema.columns] == ["a"]


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5), st.dates(),
    st.lists(st.one_of(st.floats(), st.text(max_size=2), st.none()), max_size=3), st.dictionaries(st.text(), st.none()),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(ODD, min_size=1, max_size=12))
def test_odd_cells_never_raise(values: list[Any]) -> None:
    schema = infer_schema(pd.DataFrame({"x": pd.Series(values, dtype=object)}))
    assert schema.columns[0].kind in KINDS


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"colour": "text", "size": "numeric"}, r"unknown column 'size'\. Did you mean 'sizes'\?"),
        ({"colour": "categry"}, r"colour: unknown kind 'categry'\. Did you mean 'category'\?"),
    ],
)
def test_an_override_must_name_a_column_and_a_kind(overrides: dict[str, str], message: str) -> None:
    frame = pd.DataFrame({"colour": ["a", "b"], "sizes": [1, 2]})
    with pytest.raises(DataError, match=message):
        infer_schema(frame, overrides=overrides)


def test_a_schema_can_be_printed_edited_and_passed_back(tmp_path: Path) -> None:
    frame = pd.DataFrame({"zip": [1.5, 2.5], 'odd "name"\n\x7f😀': ["a", "b"]})
    schema = infer_schema(frame)
    path = tmp_path / "columns.toml"
    path.write_text(to_toml(schema).replace('"zip" = "numeric"', '"zip" = "category"') + '[target]\ntask = "binary"\n')
    chosen = read_overrides(path)
    again = infer_schema(frame, overrides=chosen.columns)
    assert [column.kind for column in again.columns] == ["category", "category"] and chosen.task_kind == "binary"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[colums]\n", r"unknown table 'colums'\. Did you mean 'columns'"),
        ("[columns]\na = 3\n", r"\[columns\]: expected lines such as"),
        ('[target]\nkind = "x"\n', r"\[target\]: unknown name 'kind'"),
        ("[columns\n", r"not a readable TOML file"),
    ],
)
def test_a_wrong_override_file_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "columns.toml"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_overrides(path)


def test_a_missing_override_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.toml: no such file"):
        read_overrides(tmp_path / "nothing.toml")
