"""Folders as tables: images in one sub-folder a label, images named in a table, a dataset in several Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import pandas as pd

from fusion_automl.data import storage
from fusion_automl.data.formats import FORMATS
from fusion_automl.data.infer import IMAGE_SUFFIXES
from fusion_automl.errors import DataError

TABLE_NAMES = ("labels", "metadata", "annotations")
"""Tables of these names, beside the images, name the file and the label of each."""
SPLIT_NAMES = frozenset({"train", "test", "val", "valid", "validation", "dev", "nodes", "edges"})


ReadFiles = Callable[[Sequence[str]], list[pd.DataFrame]]
"""From the paths of files to a frame of each."""


def read_folder(folder: str, read_files: ReadFiles) -> pd.DataFrame:
    """One frame for the folder. Raises DataError where it is not clear which table is meant."""
    files = storage.files_under(folder)
    top = [name for name in files if "/" not in name and PurePosixPath(name).suffix.lower() in FORMATS]
    tables = [name for name in top if PurePosixPath(name).stem.lower() in TABLE_NAMES]
    images = [name for name in files if name.lower().endswith(IMAGE_SUFFIXES)]
    if len(tables) == 1:
        return _images_of_table(folder, tables[0], read_files)
    if not top and images:
        return _images_by_label(folder, images)
    parts = [name for name in top if name.endswith(".parquet")]
    if parts == top and parts and not any(PurePosixPath(name).stem.lower() in SPLIT_NAMES for name in parts):
        return _parts(folder, parts, read_files)
    if top:
        raise DataError(f"{folder}: a folder with tables; name the file that is meant: {', '.join(top[:10])}.")
    raise DataError(
        f"{folder}: found no table and no images (files: {', '.join(files[:5]) or 'none'}). Expected images in "
        f"one sub-folder a label, or images with a labels.csv, or Parquet files of one dataset."
    )


def _images_by_label(folder: str, images: list[str]) -> pd.DataFrame:
    loose = [name for name in images if "/" not in name]
    if loose:
        raise DataError(
            f"{folder}: image '{loose[0]}' lies in no sub-folder, so it has no label. Expected one sub-folder a label, "
            f"or a labels.csv with the name and the label of each image."
        )
    labels = [name.rpartition("/")[0] for name in images]
    return pd.DataFrame({"image": [storage.join(folder, name) for name in images], "label": labels})


def _images_of_table(folder: str, table: str, read_files: ReadFiles) -> pd.DataFrame:
    (frame,) = read_files([storage.join(folder, table)])
    if not len(frame) or any(_names_images(frame[name]) for name in frame.columns):
        return frame
    raise DataError(
        f"{storage.join(folder, table)}: no column names an image. Expected a column of names such as a.png, "
        f"relative to the folder. Found the columns {', '.join(map(str, frame.columns[:10]))}."
    )


def _names_images(column: pd.Series[Any]) -> bool:
    first = column.dropna().head(1).tolist()
    return bool(first) and isinstance(first[0], str) and first[0].strip().lower().endswith(IMAGE_SUFFIXES)


def with_resolved_paths(frame: pd.DataFrame, folder: str) -> pd.DataFrame:
    """Relative paths of images become paths below `folder`, or its `images`, where the first of them exists."""
    replaced = {}
    for name in frame.columns:
        if not _names_images(frame[name]):
            continue
        first = str(frame[name].dropna().iloc[0]).strip()
        for base in (folder, storage.join(folder, "images")):
            if not _is_absolute(first) and storage.exists(storage.join(base, first)):
                paths = [
                    storage.join(base, cell.strip()) if isinstance(cell, str) and not _is_absolute(cell) else cell
                    for cell in frame[name]
                ]
                replaced[name] = pd.Series(paths, dtype=object, index=frame.index)
                break
    return frame.assign(**replaced) if replaced else frame


def _is_absolute(path: str) -> bool:
    return path.startswith("/") or storage.is_remote(path)


def _parts(folder: str, parts: list[str], read_files: ReadFiles) -> pd.DataFrame:
    frames = read_files([storage.join(folder, name) for name in parts])
    for name, frame in zip(parts[1:], frames[1:], strict=True):
        if list(frame.columns) != list(frames[0].columns):
            raise DataError(
                f"{folder}: {name} has other columns than {parts[0]}, so they are not parts of one dataset. Name the "
                f"file that is meant."
            )
    return pd.concat(frames, ignore_index=True)
