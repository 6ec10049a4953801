"""A large dataset as shards: what one process scores at one go, and the file that it writes for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from fusion_automl.data import storage
from fusion_automl.data.formats import FORMATS
from fusion_automl.errors import DataError

TABLES = frozenset(FORMATS) - {".json"}
""".json files in a folder of data mostly describe it; rows come as .jsonl."""
LARGEST_WHOLE = 512 << 20
"""Bytes; a larger Parquet file is cut between its row groups, so that several processes share it and little of it is done
again after an interruption. Other formats cannot be cut without reading them."""
PIECE = 256 << 20
"""Bytes of such a file that make a shard."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file, or the row groups `first_group` to before `end_group` of it; `output` is where its predictions go, below OUT."""

    source: str
    output: str
    first_group: int = 0
    end_group: int | None = None


@dataclass(frozen=True, slots=True)
class Input:
    """A file of the dataset: its name below DATA, its stamp, and its shards in the order of its rows."""

    name: str
    stamp: storage.Stamp
    shards: tuple[Shard, ...]


def absolute(path: str) -> str:
    """A path that means the same in a process with another working directory."""
    return path.rstrip("/") if storage.is_remote(path) else os.path.abspath(os.path.expanduser(path))


def find_inputs(data: str, *, largest_whole: int = LARGEST_WHOLE, piece: int = PIECE) -> tuple[Input, ...]:
    """The files of `data`, a file or a folder of files, in the order of their names. Raises DataError where there is none.

    Files of other kinds, and those whose names begin with a dot or an underscore, are left out.
    """
    data = absolute(data)
    if storage.is_folder(data):
        folder, stamps = data, storage.stamps_under(data)
    else:
        folder, _, name = data.rpartition("/")
        stamps = {name: storage.stamp(data)}
    tables = [name for name in stamps if _is_table(name)]
    if not tables:
        raise DataError(
            f"{data}: found no table (files: {', '.join(list(stamps)[:5]) or 'none'}). Expected a file, or a folder with "
            f"files, of these kinds: {', '.join(sorted(TABLES))}."
        )
    return tuple(
        Input(name, stamps[name], _cut(folder, name, stamps[name].num_bytes, largest_whole, piece)) for name in tables
    )


def _is_table(name: str) -> bool:
    hidden = any(part.startswith("_") for part in name.split("/"))
    return not hidden and PurePosixPath(name).suffix.lower() in TABLES


def _cut(folder: str, name: str, num_bytes: int, largest_whole: int, piece: int) -> tuple[Shard, ...]:
    source = storage.join(folder, name)
    stem, is_parquet = name.removesuffix(".parquet"), name.endswith(".parquet")
    ends = _ends_of_pieces(source, piece) if is_parquet and num_bytes > largest_whole else []
    if len(ends) < 2:
        return (Shard(source, f"{stem}.parquet" if is_parquet else f"{name}.parquet"),)
    starts = [0, *ends[:-1]]
    return tuple(
        Shard(source, f"{stem}.{number:05}.parquet", start, end)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    )


def _ends_of_pieces(source: str, piece: int) -> list[int]:
    """Where to cut between row groups so that each part has `piece` bytes or more, but perhaps the last."""
    from pyarrow import ArrowInvalid, parquet

    with storage.opened(source) as file:
        try:
            about = parquet.ParquetFile(file).metadata
        except (ArrowInvalid, OSError) as error:
            if not is_broken(error):
                raise
            return []  # who scores it will say so
        ends, taken = [], 0
        for group in range(about.num_row_groups):
            row_group = about.row_group(group)
            taken += sum(row_group.column(i).total_compressed_size for i in range(row_group.num_columns))
            if taken >= piece or group == about.num_row_groups - 1:
                ends.append(group + 1)
                taken = 0
    return ends


def is_broken(error: BaseException | None) -> bool:
    """Whether pyarrow or Pillow complained of what is in a file; they raise OSErrors too, but without a number."""
    from pyarrow import ArrowInvalid

    if isinstance(error, ConnectionError | TimeoutError):
        return False
    return isinstance(error, ArrowInvalid) or (isinstance(error, OSError) and error.errno is None)


def check_apart(inputs: Sequence[Input], data: str, out: str) -> None:
    """Raises DataError where two shards would be written to one file, or the output would become input."""
    seen: dict[str, str] = {}
    for shard in (shard for each in inputs for shard in each.shards):
        if shard.output in seen:
            raise DataError(
                f"{data}: {seen[shard.output]} and {shard.source} would both be written to {shard.output}. Rename one."
            )
        seen[shard.output] = shard.source
    inner, outer = absolute(out), absolute(data)
    if inner == outer or inner.startswith(f"{outer}/"):
        raise DataError(
            f"--out: {out} lies in {data}, so predictions would be taken for data. Name a folder elsewhere."
        )
