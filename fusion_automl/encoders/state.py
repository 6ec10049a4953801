"""What a fitted encoder leaves on disk: one JSON file for words and numbers, one npz file for arrays, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


def save_state(folder: Path, values: Mapping[str, Any], arrays: Arrays) -> None:
    """Writes `state.json` and `arrays.npz` into an existing folder."""
    (folder / "state.json").write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")
    with (folder / "arrays.npz").open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_state(folder: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Reads what `save_state` wrote; arrays of objects are refused, so that loading runs no code."""
    values: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        return values, {name: stored[name] for name in stored.files}
