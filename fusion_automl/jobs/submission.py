"""What is sent to a cluster: the words of a `fit`, checked here as far as this machine can see."""

from __future__ import annotations

import math
import os
import re
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from fusion_automl.custom import full_name
from fusion_automl.data import storage
from fusion_automl.errors import DataError, RunError, UserError
from fusion_automl.jobs.progress import settings_of
from fusion_automl.search.clock import DEFAULT_BUDGET, make_clock, parse_budget
from fusion_automl.search.problem import SETTINGS

RUNS = "fusion-automl-runs"
"""The folder of runs beside the data, or in its bucket, unless --out names another."""
CLOSING_SECONDS = 60
"""To let go of the cluster, on top of the reserve that `fit` keeps for ensemble and artifact."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A `fit` ready to be sent. `stop_seconds` is how long it may take to end with an artifact once it is told to stop."""

    id: str
    run: str
    words: tuple[str, ...]
    target: str
    budget: str
    stop_seconds: int
    notes: tuple[str, ...]

    @property
    def entrypoint(self) -> str:
        """The command as the cluster's shell reads it."""
        return shlex.join(self.words)


def prepare(
    data: str | None,
    *,
    target: str | None = None,
    out: str | None = None,
    budget: str | None = None,
    resume: bool = False,
    options: Mapping[str, str | None] | None = None,
) -> Submission:
    """The submission of `fit data --target target ...`; `options` are its further flags with their values, if they take one.

    Paths become absolute, for the command will run in another folder on another machine; those on a disk must exist here,
    which is where a disk that is not shared is found out. Without `out` the run folder lies beside the data. Raises
    UserError.
    """
    if resume and out is None:
        raise UserError("--resume: needs --out with the folder of the run to go on with.")
    if not resume and (data is None or target is None):
        raise UserError("submit: needs DATA and --target, unless --resume goes on with a run that has them.")
    notes: list[str] = []
    data = None if data is None else _seen_by_all(data, "DATA", notes)
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    job_id = _plain(f"{_stem(out if resume else data)}-{'resumed' if resume else target}-{stamp}")
    run = _default_run(data or "", job_id) if out is None else _absolute(out)
    settings = _settings(run, resume)
    seconds = parse_budget(budget or settings.get("budget") or DEFAULT_BUDGET)
    named = {"--target": target, "--out": run, "--budget": budget}
    words = [
        *("fusion-automl", "fit"),
        *([data] if data else []),
        *(f"{flag}={value}" for flag, value in named.items() if value is not None),
        *(
            flag if value is None else f"{flag}={_for_all(flag, value, notes)}"
            for flag, value in (options or {}).items()
        ),
        *(["--resume"] if resume else []),
        *("--address=auto", "--json"),
    ]
    return Submission(
        id=job_id,
        run=run,
        words=tuple(words),
        target=target or "",
        budget=budget or f"{seconds:g}s",
        stop_seconds=math.ceil(make_clock(seconds).reserve) + CLOSING_SECONDS,
        notes=tuple(notes),
    )


def _for_all(flag: str, value: str, notes: list[str]) -> str:
    """An option's value as any machine understands it: what names a file is made absolute."""
    if flag in ("--test", "--schema") or (flag == "--space" and value.endswith(".toml")):
        return _seen_by_all(value, flag, notes)
    return full_name(value) if flag == "--metric" else value


def _seen_by_all(path: str, where: str, notes: list[str]) -> str:
    """A URI as it is, a path made absolute; what can be told to be missing is."""
    if storage.is_remote(path):
        try:
            found = storage.exists(path)
        except DataError as error:  # the cluster may have the credentials that this machine lacks
            notes.append(f"{where} could not be looked at from here, the job will see: {error}")
            return path
        if not found:
            raise storage.not_found(path)
        return path
    absolute = _absolute(path)
    if not Path(absolute).exists():
        raise DataError(
            f"{where}: {absolute}: there is no such file or folder on this machine. The machines of the cluster must all "
            "see it under this path, on a disk that they share with this one; or give the s3:// URI of a copy."
        )
    notes.append(f"{where}: all machines of the cluster must see {absolute} under this path.")
    return absolute


def _absolute(path: str) -> str:
    return path.rstrip("/") if storage.is_remote(path) else str(Path(path).absolute())


def _default_run(data: str, job_id: str) -> str:
    if data.startswith("s3://"):
        return f"s3://{PurePosixPath(data.removeprefix('s3://')).parts[0]}/{RUNS}/{job_id}"
    folder = Path(data).parent
    if storage.is_remote(data) or not os.access(folder, os.W_OK):
        raise UserError(
            f"--out: no run folder can be made beside {data}. Name one that all machines of the cluster see and may write "
            "to, on a shared disk or under s3://."
        )
    return str(folder / RUNS / job_id)


def _settings(run: str, resume: bool) -> dict[str, Any]:
    """The settings of the run in this folder, empty where there is none. Raises RunError where that is wrong."""
    try:
        found = settings_of(run)
    except UserError:  # only the cluster has access
        return {}
    if found is not None and not resume:
        raise RunError(f"{run}: holds a run already. Go on with it by --resume, or name another folder with --out.")
    if found is None and resume:
        raise RunError(f"{run}: not a run folder (it has no {SETTINGS}). Give the folder of the run to go on with.")
    return found or {}


def _stem(path: str | None) -> str:
    return PurePosixPath((path or "run").rstrip("/")).stem


def _plain(text: str) -> str:
    """Only what needs no quoting in a shell, a path or a URL."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-.")
