"""What encoders make of a frame and would make again in every fold: columns as arrays, levels of categories, features of images
before they are projected."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pandas as pd

T = TypeVar("T")


@dataclass(slots=True)
class _Memory:
    """Of the frame that was read last."""

    frame: pd.DataFrame | None = None
    made: dict[Hashable, Any] = field(default_factory=dict)


_memory: ContextVar[_Memory | None] = ContextVar("remembered frame", default=None)


@contextmanager
def remember_frame() -> Iterator[None]:
    """Inside, what `of_frame` made of a frame is not made again, whatever the number of encoders and folds that read it."""
    token = _memory.set(_Memory())
    try:
        yield
    finally:
        _memory.reset(token)


def of_frame(frame: pd.DataFrame, key: Hashable, make: Callable[[], T]) -> T:
    """What `make` makes of `frame`; `key` tells it from all else that is made of frames. Nobody may write to it."""
    memory = _memory.get()
    if memory is None:
        return make()
    if memory.frame is not frame:
        memory.frame, memory.made = frame, {}
    if key not in memory.made:
        memory.made[key] = make()
    found: T = memory.made[key]
    return found
