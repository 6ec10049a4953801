"""Predictions as a table, written in the format that the file's name asks for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from fusion_automl.component import unknown
from fusion_automl.errors import DataError

WRITERS: dict[str, Callable[[pd.DataFrame, Path], Any]] = {
    ".parquet": lambda table, path: table.to_parquet(path, index=False),
    ".csv": lambda table, path: table.to_csv(path, index=False),
    ".jsonl": lambda table, path: table.to_json(path, orient="records", lines=True),
}


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Raises DataError for a name whose ending is not known, and where the folder cannot be written to."""
    if path.suffix not in WRITERS:
        raise DataError(f"--out: {unknown('file ending', path.suffix, list(WRITERS))}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        WRITERS[path.suffix](table, path)
    except OSError as error:
        raise DataError(f"--out: {path} cannot be written ({error.strerror}). Choose another place.") from None
