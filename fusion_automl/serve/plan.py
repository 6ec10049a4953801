"""What a service is to serve: for each model where its version lies, the one before it, and one that is being tried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from fusion_automl.errors import UserError

NAME = "fusion_automl"
"""The application's name, and its deployment's."""
MAX_LOADED = 4
"""Models in the memory of a replica, unless told otherwise."""
KNOWN = ("name", "path", "before", "canary", "share", "shadow")


@dataclass(frozen=True, slots=True)
class Plan:
    """One model: `path` answers requests. `tried` answers a `share` of them (a canary), or with a share of 0 gets a copy of
    each and tells nobody (a shadow). `before` is what `back` goes back to."""

    name: str
    path: str
    before: str | None = None
    tried: str | None = None
    share: float = 0.0

    @classmethod
    def of(cls, value: Any) -> Self:
        """From an entry of a service's configuration. Raises UserError."""
        if not isinstance(value, Mapping):
            raise UserError(f"models: expected {{name: ..., path: ...}}, found {value!r}.")
        where = f"models: {value.get('name', '?')}"
        unknown = sorted(set(map(str, value)) - set(KNOWN))
        if unknown:
            raise UserError(f"{where}: unknown word '{unknown[0]}'. Known: {', '.join(KNOWN)}.")
        for word in ("name", "path", "before", "canary", "shadow"):
            found = value.get(word)
            if found is None and word in ("name", "path"):
                raise UserError(f"{where}: '{word}' is missing.")
            if found is not None and not (isinstance(found, str) and found):
                raise UserError(f"{where}: {word}: expected text, found {found!r}.")
        if "/" in value["name"]:
            raise UserError(f"{where}: a name stands in the path of requests, so it has no '/'.")
        canary, shadow = value.get("canary"), value.get("shadow")
        if canary and shadow:
            raise UserError(f"{where}: 'canary' and 'shadow' at once. One version is tried at a time.")
        share = value.get("share", 0.0)
        if (canary is None) == ("share" in value) or not _is_share(share, canary):
            raise UserError(f"{where}: share: a canary needs one between 0 and 1, and nothing else has one.")
        return cls(value["name"], value["path"], value.get("before"), canary or shadow, float(share))

    def to_json(self) -> dict[str, Any]:
        tried: dict[str, Any] = {"canary": self.tried, "share": self.share} if self.share else {"shadow": self.tried}
        entry = {"name": self.name, "path": self.path, "before": self.before, **tried}
        return {word: value for word, value in entry.items() if value is not None}

    def to(self, path: str) -> Plan:
        """All requests to the version at `path`. Raises UserError."""
        if path == self.path:
            raise UserError(f"{self.name}: {path} answers its requests already. Each version has a place of its own.")
        return Plan(self.name, path, before=self.path)

    def trying(self, path: str, *, share: float) -> Plan:
        """A share of the requests to the version at `path`, or a copy of each where `share` is 0. Raises UserError."""
        if not 0 <= share < 1:
            raise UserError(f"--canary: got {share:g}, expected a share of the requests between 0 and 1, such as 0.1.")
        if path == self.path:
            raise UserError(f"{self.name}: {path} answers its requests already, so there is nothing to try.")
        return replace(self, tried=path, share=share)

    def promoted(self) -> Plan:
        """All requests to the version that is being tried. Raises UserError."""
        if self.tried is None:
            raise UserError(f"{self.name}: no version of it is being tried, so there is none to promote.")
        return self.to(self.tried)

    def back(self) -> Plan:
        """Without the version that is being tried; where there is none, to the version before. Raises UserError."""
        if self.tried is not None:
            return replace(self, tried=None, share=0.0)
        if self.before is None:
            raise UserError(f"{self.name}: there is no version before {self.path} to go back to.")
        return self.to(self.before)

    def lesser(self) -> Iterator[Plan]:
        """What is served where this plan cannot be and nothing is served yet, as in a replica that has just come."""
        if self.tried is not None:
            yield replace(self, tried=None, share=0.0)
        if self.before is not None:
            yield Plan(self.name, self.before)


@dataclass(frozen=True, slots=True)
class Setup:
    """All models of a service, the first of which has paths without a name, too; and how many of them a replica keeps in
    memory."""

    models: tuple[Plan, ...]
    max_loaded: int = MAX_LOADED

    @classmethod
    def of(cls, value: Any) -> Self:
        """From `user_config` of a Serve config. Raises UserError."""
        if not isinstance(value, Mapping) or not isinstance(value.get("models"), list) or not value["models"]:
            raise UserError("user_config: expected {models: [{name: ..., path: ...}, ...]} with one model at least.")
        unknown = sorted(set(map(str, value)) - {"models", "max_loaded"})
        if unknown:
            raise UserError(f"user_config: unknown word '{unknown[0]}'. Known: models, max_loaded.")
        most = value.get("max_loaded", MAX_LOADED)
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise UserError(f"user_config: max_loaded: expected a number from 1 on, found {most!r}.")
        return cls(_distinct(map(Plan.of, value["models"])), most)

    @classmethod
    def of_runs(cls, runs: Iterable[str]) -> Self:
        """From what `serve` is given: runs, each called by its folder's name or as NAME=RUN says. Raises UserError."""
        return cls(_distinct(map(_plan_of_run, runs)))

    def to_json(self) -> dict[str, Any]:
        return {"models": [plan.to_json() for plan in self.models], "max_loaded": self.max_loaded}

    def plan(self, name: str) -> Plan:
        """Raises UserError where there is none."""
        for plan in self.models:
            if plan.name == name:
                return plan
        raise UserError(
            f"{name}: the service has no such model. Its models: {', '.join(it.name for it in self.models)}."
        )

    def changed(self, plan: Plan) -> Setup:
        """With `plan` in place of the one of this name."""
        return replace(self, models=tuple(plan if it.name == plan.name else it for it in self.models))


def _is_share(value: Any, canary: str | None) -> bool:
    return canary is None or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1)


def _distinct(plans: Iterable[Plan]) -> tuple[Plan, ...]:
    found: dict[str, Plan] = {}
    for plan in plans:
        if plan.name in found:
            raise UserError(
                f"models: two are called '{plan.name}' ({found[plan.name].path} and {plan.path}). "
                "Give each a name of its own: on the command line NAME=RUN."
            )
        found[plan.name] = plan
    return tuple(found.values())


def _plan_of_run(run: str) -> Plan:
    name, _, path = run.partition("=")
    if path and "/" not in name and not Path(run).exists():
        return Plan.of({"name": name, "path": path})
    place = run.rstrip("/")
    folder = place if "://" in place else str(Path(place).resolve())
    parts = folder.removesuffix("/artifact").rpartition("/")
    return Plan(parts[2], run)
