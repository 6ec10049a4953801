from __future__ import annotations

import numpy as np

from fusion_automl.deadline import Deadline
from fusion_automl.encoders.ordinal import Ordinal

from .tables import dataset


def test_codes_follow_frequency_and_zero_stands_for_the_rest() -> None:
    train = dataset(colour=("category", ["red", "blue", "blue", "blue", "red", "green", None]))
    fitted = Ordinal(min_frequency=2).fit(train, seed=0, deadline=Deadline.never(), threads=1)
    rows = dataset(colour=("category", ["blue", "red", "green", None, "never seen"]))
    np.testing.assert_array_equal(fitted.transform(rows.frame), [[1], [2], [0], [0], [0]])
    assert fitted.categorical == (0,)


def test_numbers_and_booleans_come_first_and_stay_as_they_are() -> None:
    train = dataset(
        colour=("category", ["red", "red"]), size=("numeric", [1e30, np.nan]), used=("boolean", [1, np.nan])
    )
    fitted = Ordinal().fit(train, seed=0, deadline=Deadline.never(), threads=1)
    assert fitted.names == ("size", "used", "colour") and fitted.categorical == (2,)
    np.testing.assert_array_equal(
        fitted.transform(train.frame), np.array([[1e30, 1, 1], [np.nan, np.nan, 1]], dtype=np.float32)
    )


def test_a_category_that_was_cut_also_gets_the_share_of_its_levels() -> None:
    train = dataset(shop=("category", ["a"] * 5 + ["b"] * 3 + ["c"] * 2))
    fitted = Ordinal(max_categories=1).fit(train, seed=0, deadline=Deadline.never(), threads=1)
    assert fitted.names == ("shop", "shop share") and fitted.categorical == (0,)
    rows = dataset(shop=("category", ["a", "b", "c", "d", None]))
    expected = np.array([[1, 0.5], [0, 0.3], [0, 0.2], [0, 0], [0, 0]])
    np.testing.assert_allclose(fitted.transform(rows.frame), expected, rtol=1e-6)
