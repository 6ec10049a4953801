"""A mend of Ray Tune: the death of a process is its trial's matter, whatever it died of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.tune.experiment import Trial


@contextmanager
def told_as_deaths() -> Iterator[None]:
    """Inside, any error of Ray about a process that is gone ends its trial alone. Ray 2.60 knows only those of actors and of
    tasks in two places: where its memory monitor kills a trial's process (OutOfMemoryError), it gives up the whole search."""
    failed, default = RayActorManager._actor_task_failed, Trial._get_default_result_or_future

    def failed_at_all(self: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            exception = RayActorError(error_msg=f"{type(exception).__name__}: {exception}")
        failed(self, tracked_actor_task, exception)

    def default_or_none(self: Any) -> Any:
        try:
            return default(self)
        except RayError:
            self._default_result_or_future = None

    RayActorManager._actor_task_failed = failed_at_all
    Trial._get_default_result_or_future = default_or_none
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = failed
        Trial._get_default_result_or_future = default
