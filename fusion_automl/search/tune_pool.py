"""Work in pieces over a pool of Ray's processes, each of which loads what it needs once (Ray Data's `map_batches`).

The rows of the Ray dataset are pieces of work, not data: a process reads its piece itself. So what it reads does not travel
through Ray, and memory does not grow with the number of pieces.

Ray Data starts these processes outside any placement group, and they wait for CPUs as long as somebody else holds them. So a
pool runs before trials have taken the cluster, or without any.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.data import ActorPoolStrategy
from ray.data.exceptions import ExecutionTimeoutError
from ray.exceptions import RayError
from ray.util.annotations import RayDeprecationWarning

from fusion_automl.errors import FusionError
from fusion_automl.search.tune_cluster import Slots

MAX_TRIES = 3
"""In one round, of a piece and of the start of a process; Ray's default is to try a piece for ever."""

Work = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Files = dict[str, npt.NDArray[np.uint8]]


class PoolError(FusionError):
    """The processes of the pool cannot start, or answer no more."""


class _Worker:
    """One process of the pool."""

    def __init__(self, start: Callable[..., Work], arguments: Mapping[str, Any], files: ray.ObjectRef) -> None:
        self._work = start(ray.get(files), **arguments)

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[Any]]:
        (number,), (piece,) = batch["number"], batch["piece"]
        answer = {"number": number, **self._work(json.loads(piece))}
        return {name: [value] for name, value in answer.items()}


def each(
    pieces: Sequence[Mapping[str, Any]],
    start: Callable[..., Work],
    *,
    files: Files,
    slots: Slots,
    process_bytes: int = 0,
    patience: float = -1,
    **arguments: Any,
) -> Generator[dict[str, Any], None, None]:
    """The answers of `start(files, **arguments)(piece)` as they come, for pieces that JSON can hold. Answers hold text, bytes,
    and numbers, by the same names for all pieces.

    `start` is a function or class of a module, called once in each process; what it raises ends the pool with a PoolError.
    A piece whose work raises, or whose processes die, has no answer. With `patience` the pool also ends with a PoolError where
    no piece begins or ends for so many seconds, as when others hold the CPUs.
    """
    constructor = {"start": start, "arguments": arguments, "files": ray.put(files)}
    left = dict(enumerate(pieces))
    num_answers = -1
    # A machine that is lost takes more tries than one from the pieces that were on their way to it. So what has no answer is
    # begun again with a new pool, until all that is left kills every process, or nothing is left.
    while left and num_answers:
        num_answers = 0
        for answer in _round(left, constructor, slots, process_bytes, patience):
            num_answers += 1
            del left[answer.pop("number")]
            yield answer


def _round(
    pieces: Mapping[int, Mapping[str, Any]],
    constructor: Mapping[str, Any],
    slots: Slots,
    process_bytes: int,
    patience: float,
) -> Iterator[dict[str, Any]]:
    answers = _dataset(pieces, constructor, slots, process_bytes)
    answers.context.execution_no_progress_timeout_s = patience
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler):  # the other one writes Ray's own log file
            handler.setLevel(logging.CRITICAL)
    try:
        yield from answers.iter_rows()
    except ExecutionTimeoutError as error:
        raise PoolError(f"The processes of the cluster gave no answer for {patience:.0f} s.") from error
    except RayError as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise PoolError(
            f"Processes of the cluster cannot start: {reason}. All machines must have this version of fusion_automl "
            "installed, with the libraries that are needed."
        ) from error


def _dataset(
    pieces: Mapping[int, Mapping[str, Any]], constructor: Mapping[str, Any], slots: Slots, process_bytes: int
) -> ray.data.Dataset:
    with warnings.catch_warnings():
        # Ray Data warns of its own old settings, and in 2.60 has no new way to say how often a piece may be tried.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", RayDeprecationWarning)
        items = [{"number": number, "piece": json.dumps(piece)} for number, piece in pieces.items()]
        answers = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            _Worker,
            batch_size=1,
            compute=ActorPoolStrategy(size=min(slots.number, len(pieces)), max_tasks_in_flight_per_actor=1),
            num_cpus=slots.cpus,
            num_gpus=slots.gpus or None,
            memory=process_bytes or None,
            fn_constructor_kwargs=constructor,
            max_restarts=-1,
            max_task_retries=MAX_TRIES - 1,
        )
    answers.context.enable_progress_bars = False
    answers.context.max_errored_blocks = -1
    answers.context.max_consecutive_actor_init_deaths = MAX_TRIES - 1
    return answers


def read_files(folder: Path) -> Files:
    """The files below a folder, by their names, in a form that Ray hands to processes without copying."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): np.fromfile(path, np.uint8) for path in sorted(paths)}


def write_files(files: Files, folder: Path) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content.tofile(folder / name)
