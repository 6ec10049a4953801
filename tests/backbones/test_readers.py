"""Frames as arrays: words, tables, pixels and series."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.stats import norm

from fusion_automl.backbones.image_reader import ImageReader
from fusion_automl.backbones.series_reader import SeriesReader
from fusion_automl.backbones.table_reader import QuantileScale, TableReader
from fusion_automl.backbones.table_words import TableWords
from fusion_automl.backbones.vocabulary import COLUMN, NUM_RESERVED, PADDING, UNKNOWN, TextReader, words_of
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Column, Schema
from fusion_automl.errors import DataError
from fusion_automl.task import Task
from tests.contracts.rows import mixed_dataset


def cells(values: list[Any]) -> pd.Series:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return pd.Series(column, dtype=object)


def picture(width: int, height: int, colour: Any, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height), colour).save(file, format="PNG")
    return file.getvalue()


def through_json(reader: Any) -> Any:
    return type(reader).from_json(json.loads(json.dumps(reader.to_json())))


def test_words_are_lower_case_and_punctuation_stands_alone() -> None:
    assert words_of("It's GREAT, isn't it?!") == ["it", "'", "s", "great", ",", "isn", "'", "t", "it", "?", "!"]
    assert words_of("größe 42") == ["größe", "42"]


def test_texts_become_numbers_with_a_mark_where_each_column_begins() -> None:
    frame = pd.DataFrame({"a": cells(["red dress", "red", None]), "b": cells(["dress dress", "new", "red"])})
    reader = TextReader.fit(frame, ("a", "b"), max_length=200)
    dress, red = reader.numbers["dress"], reader.numbers["red"]
    assert "new" not in reader.numbers  # seen only once
    assert sorted([dress, red]) == [NUM_RESERVED, NUM_RESERVED + 1]
    (tokens,) = through_json(reader).read(frame)
    assert tokens.dtype == np.int32
    assert tokens[0].tolist() == [COLUMN, red, dress, COLUMN, dress][: reader.max_length]
    assert tokens[1].tolist() == [COLUMN, red, COLUMN, UNKNOWN, PADDING][: reader.max_length]
    assert tokens[2].tolist() == [COLUMN, COLUMN, red, PADDING, PADDING][: reader.max_length]


def test_texts_are_cut_at_the_length_of_95_percent_of_them_or_at_the_limit() -> None:
    frame = pd.DataFrame({"a": cells(["one two three"] * 99 + ["word " * 500])})
    assert TextReader.fit(frame, ("a",), max_length=200).max_length == 4
    frame = pd.DataFrame({"a": cells(["word " * 500] * 3)})
    assert TextReader.fit(frame, ("a",), max_length=200).max_length == 200


def test_cells_of_a_table_become_words_that_repeat() -> None:
    data = mixed_dataset(rows=60)
    table = TableWords.fit(data)
    words = table.read(data.frame)
    present = ~np.isnan(data.frame["size"].to_numpy())
    tenths = [row[0] for row, is_there in zip(words, present, strict=True) if is_there]
    assert sorted(set(tenths)) == [f"size={tenth}" for tenth in range(10)]
    assert {row[0] for row, is_there in zip(words, present, strict=True) if not is_there} == {"size=missing"}
    order = np.argsort(data.frame["size"].to_numpy()[present])
    assert [tenths[place] for place in order] == sorted(tenths)
    assert all(row[-1] == f"shop={cell}" for row, cell in zip(words, data.frame["shop"], strict=True))
    assert table.read(data.frame.iloc[:0]) == []


def test_a_table_stands_before_the_texts_and_is_never_cut() -> None:
    data = mixed_dataset(rows=60)
    plain = TextReader.fit(data.frame, ("review",), max_length=3)
    reader = through_json(TextReader.fit(data.frame, ("review",), max_length=3, table=TableWords.fit(data)))
    assert reader.max_length == len(reader.table) + 3
    tokens, texts = reader.read(data.frame)[0], plain.read(data.frame)[0]
    names = {number: word for word, number in reader.numbers.items()}
    assert [names.get(token, "")[:5] for token in tokens[0, :1]] == ["size="]
    assert (tokens[:, len(reader.table)] == COLUMN).all() and texts.shape == (60, 3)
    assert "table" not in plain.to_json()


def test_numbers_are_scaled_to_normal_quantiles_of_their_ranks() -> None:
    values = np.exp(np.random.default_rng(0).normal(size=2000))
    scaled = QuantileScale.fit(values)(values)
    # Between the 256 knots the scale is straight, so the outermost of 2,000 ranks are a little off.
    expected = norm.ppf((np.arange(2000) + 0.5) / 2000)
    np.testing.assert_allclose(np.sort(scaled)[50:-50], expected[50:-50], atol=0.02)
    scale = QuantileScale.fit(np.array([1.0, 1.0, 2.0, np.nan, 2.0]))
    np.testing.assert_allclose(scale(np.array([1.0, 2.0, np.nan, -50.0])), norm.ppf([0.25, 0.75, 0.5, 0.25]))


def test_a_table_leaves_out_what_does_not_vary_and_marks_what_is_missing() -> None:
    frame = pd.DataFrame(
        {
            "same": [1.0, 1.0, 1.0, 1.0],
            "price": [3.0, np.nan, 5.0, 4.0],
            "colour": cells(["red", "red", "blue", None]),
        }
    )
    schema = Schema((Column("same", "numeric"), Column("price", "numeric"), Column("colour", "category")))
    data = Dataset(frame, schema, Task("regression", "y"), np.zeros(4), "test")
    reader = TableReader.fit(data)
    assert reader.cardinalities == [2, 2]  # red or not; price missing or not
    numbers, codes = through_json(reader).read(frame)
    np.testing.assert_allclose(numbers[:, 0], norm.ppf([1 / 6, 0.5, 5 / 6, 0.5]), atol=1e-6)
    assert numbers.shape == (4, 1)
    assert codes.tolist() == [[1, 0], [1, 1], [0, 0], [0, 0]]


def test_images_are_read_at_their_own_size_up_to_the_limit() -> None:
    small = pd.DataFrame({"photo": cells([picture(20, 28, 100, "L"), None, picture(28, 10, 200, "L")])})
    reader = ImageReader.fit(small, ("photo",), max_size=32)
    assert (reader.size, reader.channels) == (28, 1)
    assert reader.means == pytest.approx((150.0,)) and reader.stds == pytest.approx((50.0,))
    pixels, present = through_json(reader).read(small)
    assert pixels.shape == (3, 1, 1, 28, 28) and pixels.dtype == np.uint8
    assert pixels[:, 0, 0, 5, 5].tolist() == [100, 0, 200]
    assert present.tolist() == [[True], [False], [True]]
    big = pd.DataFrame({"photo": cells([picture(300, 200, (10, 20, 30))])})
    reader = ImageReader.fit(big, ("photo",), max_size=32)
    assert (reader.size, reader.channels) == (32, 3)
    assert reader.read(big)[0][0, 0, :, 3, 3].tolist() == [10, 20, 30]


def test_a_broken_image_is_named_by_its_column() -> None:
    frame = pd.DataFrame({"photo": cells([picture(8, 8, (1, 2, 3))])})
    reader = ImageReader.fit(frame, ("photo",), max_size=32)
    with pytest.raises(DataError, match="column 'photo': row 0"):
        reader.read(pd.DataFrame({"photo": cells([b"no image"])}))


def test_series_are_stretched_to_one_length_and_scaled_by_training_rows() -> None:
    ramp, short = np.arange(9, dtype=np.float32), np.array([0.0, np.nan, 8.0], dtype=np.float32)
    frame = pd.DataFrame({"a": cells([ramp, short, None])})
    reader = SeriesReader.fit(frame, ("a",))
    assert reader.length == 9
    (values,) = through_json(reader).read(frame)
    assert values.shape == (3, 1, 9) and values.dtype == np.float32
    np.testing.assert_allclose(values[0], values[1], atol=1e-6)  # the gap is filled and the short one stretched
    np.testing.assert_allclose(values[0, 0] * reader.stds[0] + reader.means[0], ramp, atol=1e-5)
    assert (values[2] == 0).all()


def test_a_very_long_series_is_shortened() -> None:
    frame = pd.DataFrame({"a": cells([np.zeros(2000, dtype=np.float32), np.ones(30, dtype=np.float32)])})
    assert SeriesReader.fit(frame, ("a",)).length == 512
