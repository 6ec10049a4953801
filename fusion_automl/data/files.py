"""A dataset as a folder, from which worker processes start: an Arrow IPC file for the rows, JSON for the rest."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Kind, Schema
from fusion_automl.errors import RunError
from fusion_automl.task import Task

FORMAT = 1
Objects = npt.NDArray[Any]


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Writes `rows.arrow` and `dataset.json` into `folder`, which is made where it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = {column.name: column.kind for column in dataset.schema.columns}
    features = [_TO_ARROW[kinds[name]](dataset.frame[name].to_numpy()) for name in dataset.frame.columns]
    extra = {"y": dataset.y, "groups": dataset.groups, "times": dataset.times}
    present = {name: pa.array(values) for name, values in extra.items() if values is not None}
    # Positions, not names, are the names in the file: a feature may be called y.
    names = [f"{position}" for position in range(len(features))] + list(present)
    table = pa.Table.from_arrays([*features, *present.values()], names=names)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    about = {
        "format": FORMAT,
        "schema": dataset.schema.to_json(),
        "task": dataset.task.to_json(),
        "fingerprint": dataset.fingerprint,
    }
    (folder / "dataset.json").write_text(json.dumps(about, indent=1), encoding="utf-8")


def read_dataset(folder: Path) -> Dataset:
    """The dataset that `write_dataset` wrote, cell for cell. Raises RunError where the folder does not hold one."""
    try:
        about = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        with pa.memory_map(str(folder / "rows.arrow")) as source:
            table = pa.ipc.open_file(source).read_all().combine_chunks()
    except (OSError, ValueError) as error:  # pyarrow's ArrowInvalid is a ValueError
        raise RunError(f"{folder}: expected a dataset written by this program: {error}.") from error
    if about["format"] != FORMAT:
        raise RunError(f"{folder}: dataset format {about['format']} is unknown; this version reads format {FORMAT}.")
    schema = Schema.from_json(about["schema"])
    kinds = {column.name: column.kind for column in schema.columns}
    arrays = {name: table.column(name).combine_chunks() for name in table.column_names}
    features = {name: _FROM_ARROW[kinds[name]](arrays[f"{position}"]) for position, name in enumerate(schema.used)}
    rows = {name: arrays[name].to_numpy().copy() for name in ("y", "groups", "times") if name in arrays}
    frame = pd.DataFrame({name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in features.items()})
    return Dataset(
        frame=frame,
        schema=schema,
        task=Task.from_json(about["task"]),
        y=rows["y"],
        fingerprint=about["fingerprint"],
        groups=rows.get("groups"),
        times=rows.get("times"),
    )


def read_rows(folder: Path, columns: Sequence[str], start: int, stop: int) -> pd.DataFrame:
    """These columns of the rows `start` to before `stop`; of the others nothing is read."""
    schema = Schema.from_json(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["schema"])
    kinds = {column.name: column.kind for column in schema.columns}
    positions = {name: f"{schema.used.index(name)}" for name in columns}
    with pa.memory_map(str(folder / "rows.arrow")) as source:
        table = pa.ipc.open_file(source).read_all().select(list(positions.values())).slice(start, stop - start)
        cells = {name: _FROM_ARROW[kinds[name]](table.column(at).combine_chunks()) for name, at in positions.items()}
    return pd.DataFrame({name: pd.Series(values, dtype=values.dtype, copy=False) for name, values in cells.items()})


def _plain_to_arrow(values: Objects) -> pa.Array:
    return pa.array(values, from_pandas=False)


def _plain_from_arrow(array: pa.Array) -> Objects:
    return array.to_numpy(zero_copy_only=False).copy()


def _words_to_arrow(values: Objects) -> pa.Array:
    return pa.array(values, type=pa.large_string())


def _images_to_arrow(values: Objects) -> pa.Array:
    """A path and the bytes of a file are told apart by a flag: both are bytes in the file."""
    is_path = np.array([isinstance(cell, str) for cell in values], dtype=bool)
    contents = [cell.encode() if isinstance(cell, str) else cell for cell in values]
    return pa.StructArray.from_arrays(
        [pa.array(contents, pa.large_binary()), pa.array(is_path)], ["content", "is_path"]
    )


def _images_from_arrow(array: pa.StructArray) -> Objects:
    contents = array.field("content").to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(array.field("is_path").to_numpy(zero_copy_only=False)):
        contents[row] = contents[row].decode()
    return contents


def _series_to_arrow(values: Objects) -> pa.Array:
    missing = np.array([cell is None for cell in values], dtype=bool)
    lengths = np.array([0 if cell is None else len(cell) for cell in values], dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    flat = np.concatenate([np.empty(0, np.float32), *(cell for cell in values if cell is not None)])
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat), mask=pa.array(missing))


def _series_from_arrow(array: pa.LargeListArray) -> Objects:
    flat = array.values.to_numpy().copy()  # one copy for all: views of a memory map cannot be written to
    offsets = array.offsets.to_numpy()
    values = np.full(len(array), None, dtype=object)
    for row in np.flatnonzero(array.is_valid().to_numpy(zero_copy_only=False)):
        values[row] = flat[offsets[row] : offsets[row + 1]]
    return values


_TO_ARROW: dict[Kind, Callable[[Objects], pa.Array]] = {
    "numeric": _plain_to_arrow,
    "boolean": _plain_to_arrow,
    "datetime": _plain_to_arrow,
    "category": _words_to_arrow,
    "text": _words_to_arrow,
    "image": _images_to_arrow,
    "series": _series_to_arrow,
}
_FROM_ARROW: dict[Kind, Callable[[Any], Objects]] = {
    "numeric": _plain_from_arrow,
    "boolean": _plain_from_arrow,
    "datetime": _plain_from_arrow,
    "category": _plain_from_arrow,
    "text": _plain_from_arrow,
    "image": _images_from_arrow,
    "series": _series_from_arrow,
}
