from __future__ import annotations

import numpy as np
import pytest

from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.onehot import FittedOneHot, OneHot
from fusion_automl.errors import SpaceError

from .tables import dataset


def fit(data: Dataset, **params: object) -> FittedOneHot:
    return OneHot(**params).fit(data, seed=0, deadline=Deadline.never(), threads=1)  # type: ignore[arg-type]  # a test's shorthand


def test_levels_rare_and_missing_ones_have_columns_and_unseen_ones_are_rare() -> None:
    train = dataset(colour=("category", ["red", "red", "blue", "blue", "green", None]))
    fitted = fit(train, min_frequency=2)
    assert fitted.names == ("colour=blue", "colour=red", "colour infrequent", "colour missing")
    rows = dataset(colour=("category", ["red", "green", "never seen", None]))
    np.testing.assert_array_equal(fitted.transform(rows.frame), np.eye(4)[[1, 2, 2, 3]])


def test_without_rare_or_missing_levels_in_training_both_are_rows_of_zeros() -> None:
    fitted = fit(dataset(colour=("category", ["red", "blue"])), min_frequency=1)
    assert fitted.names == ("colour=blue", "colour=red")
    rows = dataset(colour=("category", ["never seen", None, "red"]))
    np.testing.assert_array_equal(fitted.transform(rows.frame), [[0, 0], [0, 0], [0, 1]])


def test_only_the_most_frequent_levels_are_kept() -> None:
    fitted = fit(dataset(shop=("category", list("aaabbc"))), min_frequency=1, max_categories=2)
    assert fitted.names == ("shop=a", "shop=b", "shop infrequent")


def test_missing_numbers_become_the_median_and_are_marked() -> None:
    train = dataset(size=("numeric", [1, 2, 9, np.nan]), full=("numeric", [0, 0, 1, 1]))
    fitted = fit(train)
    assert fitted.names == ("size", "full", "size missing")
    encoded = fitted.transform(train.frame)
    np.testing.assert_array_equal(encoded[:, 2], [0, 0, 0, 1])
    assert encoded[3, 0] == encoded[1, 0]


def test_standard_numbers_are_bent_into_three_deviations() -> None:
    train = dataset(size=("numeric", [-1, 1] * 50))
    rows = dataset(size=("numeric", [0, 1, 1e30, -np.inf]))
    expected = [0, 1 / np.sqrt(1 + 1 / 9), 3, -3]
    np.testing.assert_allclose(fit(train).transform(rows.frame)[:, 0], expected, rtol=1e-6)


def test_a_constant_number_stays_small_whatever_comes_later() -> None:
    fitted = fit(dataset(size=("numeric", [0.1] * 7)))
    rows = dataset(size=("numeric", [0.1, 0.2]))
    np.testing.assert_allclose(fitted.transform(rows.frame)[:, 0], [0, 0.1], atol=1e-3)


def test_quantile_scores_are_symmetric_for_skewed_numbers() -> None:
    values = np.exp(np.linspace(0, 20, 101))
    encoded = fit(dataset(size=("numeric", list(values))), scale="quantile").transform(
        dataset(size=("numeric", list(values))).frame
    )[:, 0]
    np.testing.assert_allclose(encoded, -encoded[::-1], atol=0.02)
    assert (np.diff(encoded) > 0).all()


def test_a_value_that_half_of_the_rows_share_gets_their_middle_rank() -> None:
    train = dataset(size=("numeric", [0] * 500 + list(range(1, 501))))
    encoded = fit(train, scale="quantile").transform(train.frame)
    from scipy.special import ndtri

    score = ndtri(0.25)
    np.testing.assert_allclose(encoded[0, 0], score / np.sqrt(1 + (score / 3) ** 2), atol=0.01)


def test_an_unknown_scale_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SpaceError, match=r"\[encoders.onehot\]: scale must be one of standard, quantile, got 'log'"):
        OneHot(scale="log")
