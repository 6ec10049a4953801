"""What a hyperparameter may be: one value, a choice, or a range of whole or real numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fusion_automl.candidate import Param


class Trial(Protocol):
    """The part of `optuna.Trial` that draws; names are stable, and the same name always asks the same question."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any: ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float: ...


class Values(Protocol):
    """The values that a space allows for one hyperparameter; `str()` shows them to people."""

    def holds(self, value: Param) -> bool:
        """Whether `value` is one of them."""

    def draw(self, trial: Trial, name: str) -> Param:
        """One of them, as the trial wishes."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Not searched."""

    value: Param

    def holds(self, value: Param) -> bool:
        return value == self.value

    def draw(self, trial: Trial, name: str) -> Param:
        return self.value

    def __str__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, slots=True)
class Choice:
    values: tuple[Param, ...]

    def holds(self, value: Param) -> bool:
        return value in self.values

    def draw(self, trial: Trial, name: str) -> Param:
        chosen: Param = trial.suggest_categorical(name, self.values)
        return chosen

    def __str__(self) -> str:
        return "one of " + ", ".join(map(repr, self.values))


@dataclass(frozen=True, slots=True)
class IntRange:
    """Whole numbers, both ends included."""

    low: int
    high: int
    log: bool = False

    def holds(self, value: Param) -> bool:
        return isinstance(value, int) and self.low <= value <= self.high

    def draw(self, trial: Trial, name: str) -> Param:
        return trial.suggest_int(name, self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.low} .. {self.high}" + (" (log)" if self.log else "")


@dataclass(frozen=True, slots=True)
class FloatRange:
    """Real numbers, both ends included."""

    low: float
    high: float
    log: bool = False

    def holds(self, value: Param) -> bool:
        return isinstance(value, float) and self.low <= value <= self.high

    def draw(self, trial: Trial, name: str) -> Param:
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    def __str__(self) -> str:
        return f"{self.low:g} .. {self.high:g}" + (" (log)" if self.log else "")
