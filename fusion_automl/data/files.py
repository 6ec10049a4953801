"""A dataset as a folder, from which worker processes start: an Arrow IPC file for the rows, JSON for the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from fusion_automl.data.arrow import from_arrow, to_arrow
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Schema
from fusion_automl.data.shards import SHARDS, Shards
from fusion_automl.errors import RunError
from fusion_automl.task import Task

FORMAT = 1
DATASET = ("rows.arrow", "dataset.json")


def write_dataset(dataset: Dataset, folder: Path) -> None:
    """Writes `rows.arrow` and `dataset.json` into `folder`, which is made where it is not there. Rows beyond those of the
    dataset are expected there already."""
    folder.mkdir(parents=True, exist_ok=True)
    beside = {"y": dataset.y, "groups": dataset.groups, "times": dataset.times}
    present = {name: values for name, values in beside.items() if values is not None}
    table = to_arrow(dataset.frame, dataset.schema, present)
    with pa.OSFile(str(folder / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    about = {
        "format": FORMAT,
        "schema": dataset.schema.to_json(),
        "task": dataset.task.to_json(),
        "fingerprint": dataset.fingerprint,
        "shards": dataset.beyond and dataset.beyond.num_rows,
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
    task = Task.from_json(about["task"])
    present = [name for name in ("y", "groups", "times") if name in table.column_names]
    rows = {name: table.column(name).to_numpy().copy() for name in present}
    num_rows = about.get("shards")
    return Dataset(
        frame=from_arrow(table, schema, schema.used),
        schema=schema,
        task=task,
        y=rows["y"],
        fingerprint=about["fingerprint"],
        groups=rows.get("groups"),
        times=rows.get("times"),
        beyond=Shards((folder / SHARDS).resolve(), tuple(num_rows), schema) if num_rows else None,
    )


def read_rows(folder: Path, columns: Sequence[str], start: int, stop: int) -> pd.DataFrame:
    """These columns of the rows `start` to before `stop`; of the others nothing is read."""
    schema = Schema.from_json(json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["schema"])
    with pa.memory_map(str(folder / "rows.arrow")) as source:
        return from_arrow(pa.ipc.open_file(source).read_all().slice(start, stop - start), schema, columns)
