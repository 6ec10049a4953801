"""The arrays of a job as files that other processes map."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fusion_automl.backbones.job import Arrays, Job

Array = npt.NDArray[Any]


def write_arrays(job: Job, folder: Path) -> None:
    """Writes the new folder, each array as a file of its own; one that is there already has them."""
    if folder.exists():
        return
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("inputs", "holdout_inputs", "beside"):
        for number, values in enumerate(getattr(job, name)):
            _write(values, partial / f"{name}.{number}.npy")
    for name in ("targets", "holdout_targets"):
        _write(getattr(job, name), partial / f"{name}.npy")
    partial.rename(folder)


def without_arrays(job: Job) -> Job:
    """What is left to be sent."""
    none = np.empty(0)
    return replace(job, inputs=(), targets=none, holdout_inputs=(), holdout_targets=none, beside=())


def with_arrays(job: Job, folder: Path) -> Job:
    """The job with its arrays mapped: a process reads those rows that it needs, and the system drops what it needs the memory
    of."""
    return replace(
        job,
        inputs=_read_all(folder, "inputs"),
        targets=_read(folder / "targets.npy"),
        holdout_inputs=_read_all(folder, "holdout_inputs"),
        holdout_targets=_read(folder / "holdout_targets.npy"),
        beside=_read_all(folder, "beside"),
    )


def _write(values: Array, path: Path) -> None:
    source = getattr(values, "filename", None)
    if source and np.load(source, mmap_mode="r", allow_pickle=False).shape == values.shape:
        path.symlink_to(source)  # the states of frozen layers, gigabytes, lie in the store
    else:
        np.save(path, values, allow_pickle=False)


def _read_all(folder: Path, name: str) -> Arrays:
    count = len(list(folder.glob(f"{name}.*.npy")))
    return tuple(_read(folder / f"{name}.{number}.npy") for number in range(count))


def _read(path: Path) -> Array:
    # Copy on write, though nobody writes: torch warns of arrays that it could not write to.
    values: Array = np.load(path, mmap_mode="c", allow_pickle=False)
    return values
