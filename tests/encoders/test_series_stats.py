from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fusion_automl.deadline import Deadline
from fusion_automl.encoders.series_cells import without_gaps
from fusion_automl.encoders.series_stats import FittedSeriesStats, SeriesStats, _names

from .tables import dataset

BANDS = 8


def raw(*series: npt.ArrayLike | None) -> list[dict[str, float]]:
    """The statistics of each series, not standardised."""
    names = tuple(f"x {name}" for name in _names(BANDS))
    plain = FittedSeriesStats(names, ("x",), BANDS, np.zeros(len(names)), np.full(len(names), 1000.0))
    cells = [None if steps is None else np.asarray(steps, dtype=np.float32) for steps in series]
    matrix = plain.transform(dataset(x=("series", cells)).frame) * 1000
    return [dict(zip(_names(BANDS), row, strict=True)) for row in matrix]


def test_level_spread_and_shape_of_a_ramp() -> None:
    (ramp,) = raw(np.arange(11) * 2.0)
    assert np.isclose(ramp["mean"], 10) and np.isclose(ramp["min"], 0) and np.isclose(ramp["max"], 20)
    assert np.isclose(ramp["std"], np.std(np.arange(11) * 2.0))
    assert np.isclose(ramp["mean change"], 2) and np.isclose(ramp["quantile 0.25"], 5)
    assert np.isclose(ramp["argmax"], 10 / 11) and ramp["argmin"] == 0
    assert np.isclose(ramp["crossings"], 0.1) and ramp["slope"] > 3
    assert ramp["length"] == 11 and ramp["missing"] == 0


def test_a_wave_has_its_energy_in_the_band_of_its_frequency() -> None:
    slow, fast = raw(np.sin(np.arange(128) * 2 * np.pi / 32), np.sin(np.arange(128) * 2 * np.pi / 4))
    bands = [[wave[f"band {band}"] for band in range(BANDS)] for wave in (slow, fast)]
    edges = np.geomspace(1 / 64, 0.5, BANDS + 1)
    for energies, frequency in zip(bands, (1 / 32, 1 / 4), strict=True):
        assert np.argmax(energies) == np.flatnonzero(edges <= frequency + 1e-12)[-1]
        assert np.isclose(max(energies), 0, atol=1e-3)
    assert slow["autocorrelation 1"] > 0.9 and np.isclose(fast["autocorrelation 2"], -1, atol=0.05)


def test_gaps_are_interpolated_and_counted() -> None:
    gappy, whole = raw([0, 1, np.nan, 3, np.inf, 5, 6, 7], np.arange(8))
    assert np.isclose(gappy["missing"], 0.25)
    assert {**gappy, "missing": 0} == whole


def test_missing_empty_and_single_step_series() -> None:
    nothing, empty, hollow, single = raw(None, [], [np.nan, np.nan], [5])
    for row in (nothing, empty, hollow):
        assert np.isclose(row["missing"], 1) and all(value == 0 for name, value in row.items() if name != "missing")
    assert np.isclose(single["mean"], 5) and single["std"] == 0 and single["length"] == 1


def test_training_rows_are_standardised() -> None:
    rng = np.random.default_rng(0)
    data = dataset(x=("series", [rng.normal(size=rng.integers(64, 100)).astype(np.float32) for _ in range(50)]))
    fitted = SeriesStats().fit(data, seed=0, deadline=Deadline.never(), threads=1)
    encoded = fitted.transform(data.frame)
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-5)
    constant = [index for index, name in enumerate(fitted.names) if name == "x missing"]
    np.testing.assert_allclose(np.delete(encoded.std(axis=0), constant), 1, rtol=1e-4)


def test_a_series_without_a_finite_step_is_none() -> None:
    assert without_gaps(np.array([np.nan, -np.inf], dtype=np.float32)) is None
    np.testing.assert_array_equal(without_gaps(np.array([np.nan, 2, np.nan, 4], dtype=np.float32)), [2, 2, 3, 4])
