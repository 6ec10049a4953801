"""Time series through thousands of fixed convolutions: MiniRocket (Dempster, Schmidt & Webb 2021, arXiv:2012.08791).

Written out here in numpy rather than taken from aeon: its compiled kernels cost 20 s in every process that cannot write
their cache (a read-only image), and fitting them reseeds numpy's global generator.

    B rows   C channels   T steps   D dilations   K = 84 kernels   F features
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Modality
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.series_cells import without_gaps
from fusion_automl.encoders.state import load_state, save_state
from fusion_automl.errors import OutOfTime, SpaceError

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Channel = list[npt.NDArray[np.float64] | None]

NUM_KERNELS, KERNEL_LENGTH = 84, 9
MAX_DILATIONS = 32
MAX_CHANNELS_PER_KERNEL = 9
GOLDEN_RATIO = (5**0.5 + 1) / 2
RESOLUTION = 2048
LARGEST_STEP = 32
"""Steps are held as multiples of 1/2048 within +-32 deviations: a convolution is then a sum of whole multiples below
2^24 / 2048, exact in float32 in any order, and its comparison with a bias never depends on the size of the batch."""
LARGEST_SCALED = 10.0
CHUNK_VALUES = 2**19
"""Convolution outputs held at a time: 2 MB stay in the cache."""


@dataclass(frozen=True, slots=True)
class MiniRocket:
    """The share of steps at which each convolution exceeds its bias (PPV), standardised; about `kernels` features.

    All series columns are the channels of one multivariate series, resampled to the median training length, no longer
    than `max_length`; each series is centred, and missing ones are zeros.
    """

    modality: ClassVar[Modality] = "series"
    requires: ClassVar[tuple[str, ...]] = ()

    kernels: int = 2000
    max_length: int = 512

    def __post_init__(self) -> None:
        if self.kernels < NUM_KERNELS or self.max_length < KERNEL_LENGTH:
            raise SpaceError(
                f"[encoders.minirocket]: kernels must be >= {NUM_KERNELS} and max_length >= {KERNEL_LENGTH}, "
                f"got {self.kernels} and {self.max_length}."
            )

    def fit(self, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> FittedMiniRocket:
        if deadline.passed():
            raise OutOfTime("minirocket: no time left to start.")
        from threadpoolctl import threadpool_limits

        rng = np.random.default_rng(seed)
        columns = data.schema.names("series")
        channels = _channels(data.frame, columns)
        lengths = [len(steps) for channel in channels for steps in channel if steps is not None]
        length = int(np.clip(np.median(lengths or [0]), KERNEL_LENGTH, self.max_length))
        deviations = np.array([_typical_deviation(channel) for channel in channels])
        x_BCT = _stack(channels, length, deviations)
        with threadpool_limits(threads):
            bank = KernelBank.fit(x_BCT, self.kernels // NUM_KERNELS, rng)
        ppv_BF = bank.apply(x_BCT)
        return FittedMiniRocket(
            names=tuple(f"minirocket {index}" for index in range(ppv_BF.shape[1])),
            columns=columns,
            length=length,
            deviations=deviations,
            bank=bank,
            center=ppv_BF.mean(axis=0),
            # A share moves in steps of 1 / length: what varies less than one step is not worth enlarging.
            spread=np.maximum(ppv_BF.std(axis=0), np.float32(1 / length)),
        )


@dataclass(slots=True, eq=False)
class FittedMiniRocket:
    """`deviations` is each channel's median standard deviation within a training series."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    length: int
    deviations: npt.NDArray[np.float64]
    bank: KernelBank
    center: Floats
    spread: Floats
    categorical: tuple[int, ...] = ()

    def transform(self, frame: pd.DataFrame) -> Floats:
        ppv_BF = self.bank.apply(_stack(_channels(frame, self.columns), self.length, self.deviations))
        return np.clip((ppv_BF - self.center) / self.spread, -LARGEST_SCALED, LARGEST_SCALED)

    def save(self, folder: Path) -> None:
        arrays = {field: getattr(self.bank, field) for field in KernelBank.__slots__}
        arrays |= {"deviations": self.deviations, "center": self.center, "spread": self.spread}
        save_state(folder, {"names": self.names, "columns": self.columns, "length": self.length}, arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        values, arrays = load_state(folder)
        return cls(
            names=tuple(values["names"]),
            columns=tuple(values["columns"]),
            length=values["length"],
            deviations=arrays["deviations"],
            bank=KernelBank(**{field: arrays[field] for field in KernelBank.__slots__}),
            center=arrays["center"],
            spread=arrays["spread"],
        )


def _channels(frame: pd.DataFrame, columns: tuple[str, ...]) -> list[Channel]:
    return [[without_gaps(cell) for cell in frame[name].to_numpy()] for name in columns]


def _typical_deviation(channel: Channel) -> float:
    deviations = [float(steps.std()) for steps in channel if steps is not None]
    typical = float(np.median(deviations)) if deviations else 0.0
    return typical if typical > 0 else 1.0


def _stack(channels: list[Channel], length: int, deviations: npt.NDArray[np.float64]) -> Floats:
    """`x_BCT`: centred, in units of the channel's deviation, rounded to 1 / `RESOLUTION`."""
    x_BCT = np.zeros((len(channels[0]), len(channels), length), dtype=np.float32)
    for index, (channel, deviation) in enumerate(zip(channels, deviations, strict=True)):
        for row, steps in enumerate(channel):
            if steps is None:
                continue
            if len(steps) != length:
                steps = np.interp(np.linspace(0, len(steps) - 1, length), np.arange(len(steps)), steps)
            x_BCT[row, index] = np.clip((steps - steps.mean()) / deviation, -LARGEST_STEP, LARGEST_STEP)
    return np.asarray(np.round(x_BCT * RESOLUTION) / RESOLUTION, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class KernelBank:
    """The 84 kernels with weights -1 (six times) and 2 (three times), at each dilation on its own choice of channels.

    `num_biases` `(D,)` biases a kernel, which lie in `biases` by dilation, then by number, then by kernel.
    """

    dilations: Ints
    num_biases: Ints
    channels_DKC: npt.NDArray[np.bool_]
    biases: Floats

    @classmethod
    def fit(cls, x_BCT: Floats, features_per_kernel: int, rng: np.random.Generator) -> Self:
        """Biases are quantiles of the convolution of one training row, drawn for each kernel and dilation."""
        dilations, num_biases = _dilations(x_BCT.shape[2], features_per_kernel)
        channels_DKC = np.stack([_draw_channels(x_BCT.shape[1], rng) for _ in dilations])
        levels = np.arange(1, NUM_KERNELS * features_per_kernel + 1) * GOLDEN_RATIO % 1
        kernels = np.arange(NUM_KERNELS)
        biases, start = [], 0
        for dilation, num, channels_KC in zip(dilations, num_biases, channels_DKC, strict=True):
            rows = rng.integers(0, len(x_BCT), NUM_KERNELS)
            c_KT = _convolve(x_BCT[rows], dilation, channels_KC)[kernels, :, kernels]
            for _ in range(num):
                chosen = levels[start : start + NUM_KERNELS]
                biases += [np.quantile(c_T, level) for c_T, level in zip(c_KT, chosen, strict=True)]
                start += NUM_KERNELS
        return cls(dilations, num_biases, channels_DKC, np.array(biases, dtype=np.float32))

    def apply(self, x_BCT: Floats) -> Floats:
        """`ppv_BF`, shares in [0, 1].

        On one thread: the products are too small to share, and two threads took 6 times the CPU on a busy machine.
        """
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            return self._apply(x_BCT)

    def _apply(self, x_BCT: Floats) -> Floats:
        num_rows, _, length = x_BCT.shape
        ppv_BF = np.empty((num_rows, len(self.biases)), dtype=np.float32)
        chunk = max(1, CHUNK_VALUES // (length * NUM_KERNELS))
        for first in range(0, num_rows, chunk):
            rows, start = slice(first, first + chunk), 0
            for index, (dilation, num) in enumerate(zip(self.dilations, self.num_biases, strict=True)):
                c_BTK = _convolve(x_BCT[rows], dilation, self.channels_DKC[index])
                above_BTK = np.empty_like(c_BTK)
                weights_2T = _share_weights(length, int(dilation))
                # Kernels take turns: one counts all steps, the next those whose window lies within the series.
                turn_K = (np.arange(NUM_KERNELS) + index) % 2
                for _ in range(num):
                    np.greater(c_BTK, self.biases[start : start + NUM_KERNELS], out=above_BTK, casting="unsafe")
                    shares_B2K = weights_2T @ above_BTK
                    ppv_BF[rows, start : start + NUM_KERNELS] = np.where(turn_K, shares_B2K[:, 1], shares_B2K[:, 0])
                    start += NUM_KERNELS
        return ppv_BF


def _dilations(length: int, features_per_kernel: int) -> tuple[Ints, Ints]:
    """Dilations, exponentially spaced up to the series' length, and how many of a kernel's features each one gets."""
    num = min(features_per_kernel, MAX_DILATIONS)
    largest = np.log2((length - 1) / (KERNEL_LENGTH - 1))
    dilations, repeats = np.unique(np.logspace(0, largest, num, base=2).astype(np.int64), return_counts=True)
    num_biases = repeats * features_per_kernel // num
    num_biases[: features_per_kernel - num_biases.sum()] += 1
    return dilations, num_biases


def _draw_channels(num_channels: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """`(K, C)`: a few channels for each kernel, one being the likeliest number."""
    most = np.log2(min(num_channels, MAX_CHANNELS_PER_KERNEL) + 1)
    chosen = np.zeros((NUM_KERNELS, num_channels), dtype=bool)
    for kernel in range(NUM_KERNELS):
        count = int(2 ** rng.uniform(0, most))
        chosen[kernel, rng.choice(num_channels, count, replace=False)] = True
    return chosen


def _convolve(x_BCT: Floats, dilation: int, channels_KC: npt.NDArray[np.bool_]) -> Floats:
    """`c_BTK`, as one matrix product over the windows of the zero-padded series."""
    reach = dilation * (KERNEL_LENGTH - 1)
    padded = np.pad(x_BCT, ((0, 0), (0, 0), (reach // 2, reach // 2)))
    windows_BCTW = np.lib.stride_tricks.sliding_window_view(padded, reach + 1, axis=2)[..., ::dilation]
    num_rows, num_channels, length = x_BCT.shape
    flat = windows_BCTW.transpose(0, 2, 1, 3).reshape(num_rows * length, num_channels * KERNEL_LENGTH)
    weights_KCW = channels_KC[:, :, None] * _kernels()[:, None, :]
    return (flat @ weights_KCW.reshape(NUM_KERNELS, -1).T).reshape(num_rows, length, NUM_KERNELS)


def _kernels() -> Floats:
    weights_KW = np.full((NUM_KERNELS, KERNEL_LENGTH), -1, dtype=np.float32)
    for kernel, places in enumerate(combinations(range(KERNEL_LENGTH), 3)):
        weights_KW[kernel, list(places)] = 2
    return weights_KW


def _share_weights(length: int, dilation: int) -> Floats:
    """`(2, T)`: the weights of a mean over all steps, and over the steps further than half a kernel from both ends."""
    margin = dilation * (KERNEL_LENGTH - 1) // 2
    weights = np.zeros((2, length), dtype=np.float32)
    weights[0] = 1 / length
    weights[1, margin : length - margin] = 1 / (length - 2 * margin)
    return weights
