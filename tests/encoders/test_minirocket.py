from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifierCV

from fusion_automl.deadline import Deadline
from fusion_automl.encoders.minirocket import KernelBank, MiniRocket
from fusion_automl.errors import SpaceError

from .tables import dataset, public_dataset


def test_features_are_the_shares_of_a_convolution_written_out_step_by_step() -> None:
    rng = np.random.default_rng(0)
    x_BCT = (rng.integers(-4000, 4000, (3, 2, 30)) / 2048).astype(np.float32)
    bank = KernelBank.fit(x_BCT, 5, rng)
    ppv_BF = bank.apply(x_BCT)
    assert ppv_BF.shape == (3, 5 * 84) and bank.num_biases.sum() == 5
    kernels = list(combinations(range(9), 3))
    feature = 0
    for index, (dilation, num) in enumerate(zip(bank.dilations, bank.num_biases, strict=True)):
        for _ in range(num):
            for kernel, places in enumerate(kernels):
                if kernel % 20 == 0:
                    chosen = x_BCT[1, bank.channels_DKC[index, kernel]].sum(axis=0)
                    padded = np.pad(chosen, 4 * dilation)
                    weights = [2 if place in places else -1 for place in range(9)]
                    outputs = np.array(
                        [sum(w * padded[t + p * dilation] for p, w in enumerate(weights)) for t in range(30)]
                    )
                    if (index + kernel) % 2:
                        outputs = outputs[4 * dilation : 30 - 4 * dilation]
                    share = (outputs > bank.biases[feature]).mean()
                    assert abs(ppv_BF[1, feature] - share) < 1e-5
                feature += 1


def test_the_level_of_a_series_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    series = [rng.normal(size=40).astype(np.float32) for _ in range(20)]
    data = dataset(x=("series", series))
    fitted = MiniRocket(kernels=84).fit(data, seed=0, deadline=Deadline.never(), threads=1)
    lifted = dataset(x=("series", [steps + np.float32(64) for steps in series]))
    assert np.abs(fitted.transform(data.frame) - fitted.transform(lifted.frame)).mean() < 0.02


def test_series_are_resampled_to_the_median_training_length() -> None:
    waves = [np.sin(np.linspace(0, 12, length)).astype(np.float32) for length in (30, 50, 70)]
    fitted = MiniRocket(kernels=840).fit(dataset(x=("series", waves)), seed=0, deadline=Deadline.never(), threads=1)
    assert fitted.length == 50
    raw = fitted.transform(dataset(x=("series", waves)).frame) * fitted.spread + fitted.center
    assert np.abs(raw - raw[1]).mean() < 0.02
    capped = MiniRocket(max_length=20).fit(dataset(x=("series", waves)), seed=0, deadline=Deadline.never(), threads=1)
    assert capped.length == 20


@pytest.mark.parametrize(
    ("name", "columns"), [("ts_gunpoint", ["series"]), ("ts_basicmotions", [f"ch{n}" for n in range(6)])]
)
def test_a_ridge_on_it_solves_the_classic_archives(name: str, columns: list[str]) -> None:
    train, test = (public_dataset(name, part) for part in ("train", "test"))
    data, rows = (
        dataset(**{c: ("series", [cell.astype(np.float32) for cell in part[c]]) for c in columns})
        for part in (train, test)
    )
    fitted = MiniRocket().fit(data, seed=0, deadline=Deadline.never(), threads=1)
    model = RidgeClassifierCV(np.logspace(-3, 3, 7)).fit(fitted.transform(data.frame), train["label"])
    assert model.score(fitted.transform(rows.frame), test["label"]) >= 0.98


def test_too_few_kernels_are_refused() -> None:
    with pytest.raises(SpaceError, match="kernels must be >= 84 and max_length >= 9, got 50 and 512"):
        MiniRocket(kernels=50)
