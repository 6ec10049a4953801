"""Rows of every kind for the contract suites: one hidden number per row shows through each of the modalities."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from fusion_automl.candidate import digest
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Column, Schema
from fusion_automl.task import Task, TaskKind

SCHEMA = Schema(
    (
        Column("size", "numeric"),
        Column("weight", "numeric"),
        Column("colour", "category"),
        Column("shop", "category"),
        Column("used", "boolean"),
        Column("sold_at", "datetime"),
        Column("title", "text"),
        Column("review", "text"),
        Column("photo", "image"),
        Column("left", "series"),
        Column("right", "series"),
    )
)
TASKS: dict[TaskKind, Task] = {
    "binary": Task("binary", "target", ("no", "yes")),
    "multiclass": Task("multiclass", "target", ("low", "middle", "high")),
    "regression": Task("regression", "target"),
}
GOOD_WORDS = ["love", "soft", "perfect", "fits", "great"]
BAD_WORDS = ["awful", "broken", "returned", "cheap", "poor"]
PLAIN_WORDS = ["dress", "the", "and", "shirt", "blue", "ordered", "it", "this"]


def mixed_dataset(task_kind: TaskKind = "binary", rows: int = 60, seed: int = 0) -> Dataset:
    """A conformed dataset with columns of all kinds, some cells missing, and a target that each modality tells.

    The images are 16 x 16 RGB PNG bytes, the series have 20 to 40 steps and differ in length between rows and columns.
    """
    rng = np.random.default_rng([seed, rows])
    hidden = rng.permutation(np.linspace(-2, 2, rows)) if rows else np.zeros(0)
    noise = rng.normal(scale=0.3, size=(rows, 4))
    seen = hidden[:, None] + noise
    size = np.where(rng.random(rows) < 0.1, np.nan, seen[:, 0] * 10 + 50)
    colours = np.array(["black", "blue", "green", "red"])[np.clip(np.floor(seen[:, 1] + 2), 0, 3).astype(int)]
    frame = pd.DataFrame(
        {
            "size": size,
            "weight": np.exp(rng.normal(size=rows) + 0.5 * hidden),
            "colour": _cells([None if rng.random() < 0.05 else str(colour) for colour in colours]),
            "shop": _cells([f"shop {number}" for number in rng.integers(0, 4, rows)]),
            "used": np.where(rng.random(rows) < 0.05, np.nan, (seen[:, 2] > 0).astype(float)),
            "sold_at": pd.to_datetime("2024-01-01") + pd.to_timedelta(np.round(200 + seen[:, 3] * 60), unit="D"),
            "title": _cells([_words(rng, value, 3) for value in hidden]),
            "review": _cells([None if rng.random() < 0.05 else _words(rng, value, 12) for value in hidden]),
            "photo": _cells([None if rng.random() < 0.05 else _png(rng, value) for value in hidden]),
            "left": _cells([_wave(rng, value) for value in hidden]),
            "right": _cells([None if rng.random() < 0.05 else _wave(rng, -value) for value in hidden]),
        }
    )
    frame["sold_at"] = frame["sold_at"].astype("datetime64[ns]")
    task = TASKS[task_kind]
    return Dataset(
        frame=frame,
        schema=SCHEMA,
        task=task,
        y=_targets(hidden + noise[:, 0] * 0.2, task),
        fingerprint=digest(["mixed", task_kind, rows, seed]),
    )


def _targets(values: npt.NDArray[np.float64], task: Task) -> npt.NDArray[Any]:
    if not task.is_classification:
        return values
    ranks = values.argsort().argsort()
    return (ranks * task.num_outputs // max(len(values), 1)).astype(np.int64)


def _cells(values: list[Any]) -> pd.Series:
    """An object column; filled cell by cell because numpy would stack arrays of one length into a matrix."""
    cells = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        cells[row] = value
    return pd.Series(cells, dtype=object)


def _words(rng: np.random.Generator, value: float, count: int) -> str:
    telling = GOOD_WORDS if value + rng.normal(scale=0.3) > 0 else BAD_WORDS
    words = [str(rng.choice(telling if rng.random() < 0.5 else PLAIN_WORDS)) for _ in range(count)]
    return " ".join(words).capitalize() + str(rng.choice([".", "!", "?"]))


def _png(rng: np.random.Generator, value: float) -> bytes:
    """A bright square on a noisy ground; the square is wide where `value` is high and tall where it is low."""
    pixels = rng.integers(0, 60, (16, 16, 3))
    long, short = 6 + round(2 * abs(value)), 4
    height, width = (short, long) if value > 0 else (long, short)
    top, left = rng.integers(0, 16 - height + 1), rng.integers(0, 16 - width + 1)
    pixels[top : top + height, left : left + width] += 150
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def _wave(rng: np.random.Generator, value: float) -> npt.NDArray[np.float32]:
    """A sine with a trend, both set by `value`, and one step in twenty missing."""
    steps = np.arange(rng.integers(20, 41))
    smooth = np.sin(steps * (0.8 + 0.25 * value)) + 0.05 * value * steps
    wave: npt.NDArray[np.float32] = (smooth + rng.normal(scale=0.2, size=len(steps))).astype(np.float32)
    wave[rng.random(len(steps)) < 0.05] = np.nan
    return wave
