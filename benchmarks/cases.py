"""The datasets of the comparisons: what to predict on which rows, and by which metric it is judged."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DATA = Path(os.environ.get("FUSION_DATA", Path(__file__).parents[2] / "shared" / "data"))
"""One folder a dataset, with `train.parquet` and `test.parquet`."""


@dataclass(frozen=True, slots=True)
class Case:
    """A target of a dataset; `repeat` where the rows are few and one seed says little.

    `image_size` is the side in pixels at which images go to systems that take none, and to nets that start from nothing.
    """

    name: str
    dataset: str
    target: str
    task: Literal["binary", "multiclass", "regression"]
    metric: str
    ignore: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    image_size: int = 0
    repeat: bool = False

    @property
    def is_table(self) -> bool:
        return not self.texts and not self.images


REVIEW = ("Title", "Review Text")
ROOMS = ("image_frontal", "image_bedroom", "image_bathroom", "image_kitchen")

CASES = (
    Case("german_credit", "german_credit", "class", "binary", "roc_auc", repeat=True),
    Case("credit_default", "credit_default", "default", "binary", "roc_auc"),
    Case("adult", "adult", "income", "binary", "roc_auc"),
    Case("ames_housing", "ames_housing", "SalePrice", "regression", "rmse", repeat=True),
    Case("womens_rating", "womens_clothing", "Rating", "regression", "r2", texts=REVIEW),
    Case(
        "womens_recommended",
        "womens_clothing",
        "Recommended IND",
        "binary",
        "roc_auc",
        ignore=("Rating",),
        texts=REVIEW,
    ),
    Case("rotten_tomatoes", "rotten_tomatoes", "label", "binary", "roc_auc", texts=("text",)),
    Case("houses", "houses", "price", "regression", "mae", ("house",), images=ROOMS, image_size=16, repeat=True),
    Case("fashion_mnist", "fashion_mnist", "label", "multiclass", "accuracy", ("class_name",), (), ("image",), 28),
    Case("pneumonia_mnist", "pneumonia_mnist", "label", "binary", "roc_auc", (), (), ("image",), 28, repeat=True),
)


def chosen(names: Collection[str]) -> list[Case]:
    """The cases called so, or on a dataset called so; all where no name is given. Raises SystemExit for an unknown one."""
    known = {name for case in CASES for name in (case.name, case.dataset)}
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"--datasets: unknown {', '.join(unknown)}. Known: {', '.join(case.name for case in CASES)}.")
    return [case for case in CASES if not names or {case.name, case.dataset} & set(names)]
