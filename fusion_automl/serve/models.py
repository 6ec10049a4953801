"""The models of one replica: loaded when they are asked for, let go when others need their place, swapped when they are warm.

Ray Serve's own multiplexing wants the model's name in a header, and looks at nothing else to choose a replica; ours stands in
the path, so that any client, cache and access rule can tell the models apart.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fusion_automl.data.cells import short
from fusion_automl.errors import FusionError
from fusion_automl.serve.drift import Drift, Drifts
from fusion_automl.serve.model import Model, open_model
from fusion_automl.serve.plan import MAX_LOADED, Plan, Setup
from fusion_automl.serve.rows import Refused
from fusion_automl.serve.served import Served
from fusion_automl.serve.trace import Metrics

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that is loaded: the version that answers, and the one that is being tried, if any."""

    plan: Plan
    current: Served
    tried: Served | None

    def versions(self) -> Iterator[Served]:
        """Who may answer the next request, the first that can: a version that is tried costs nobody an answer."""
        if self.tried is not None and random.random() < self.plan.share:
            yield self.tried
        yield self.current

    @property
    def shadow(self) -> Served | None:
        return None if self.plan.share else self.tried

    def loaded(self) -> list[Served]:
        return [self.current] if self.tried is None else [self.current, self.tried]


class Models:
    """Those of a `Setup`, with at most `max_loaded` of them in memory: the one that was used longest ago goes first. While a
    version is tried or swapped in, both it and the old one are there.

    `load` is called in a thread, one model at a time; requests for models that are loaded go on meanwhile.
    """

    def __init__(self, load: Callable[[str], Model] = open_model) -> None:
        self.metrics = Metrics()
        self.metrics.registry.register(Drifts(self._drifts))
        self.faults: dict[str, str] = {}
        """Why a version that was asked for is not served, by its model."""
        self._load = load
        self._plans: dict[str, Plan] = {}
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._max_loaded = MAX_LOADED
        self._lock, self._updates = asyncio.Lock(), asyncio.Lock()
        self._opening: dict[str, asyncio.Task[Entry]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All models, the first of them first."""
        return tuple(self._plans)

    def loaded(self, name: str) -> Entry | None:
        return self._entries.get(name)

    def describe(self) -> list[dict[str, Any]]:
        """What each model is served by, as far as it is in the memory of this replica."""
        found = []
        for name in self._plans:
            entry = self._entries.get(name)
            told: dict[str, Any] = {"model": name, "loaded": entry is not None}
            if entry is not None:
                told["version"] = entry.current.model.version
                if entry.tried is not None:
                    tried = {"version": entry.tried.model.version}
                    told |= {"canary": {**tried, "share": entry.plan.share}} if entry.plan.share else {"shadow": tried}
            if name in self.faults:
                told["fault"] = "A version that was asked for did not load. The service's log tells why."
            found.append(told)
        return found

    async def get(self, name: str | None) -> Entry:
        """The model of that name, or the first; it is loaded if it is not. Raises Refused."""
        name = name or next(iter(self._plans), "")
        if name not in self._plans:
            raise Refused(404, f"There is no model {short(name)} here. Models: {', '.join(self._plans)}.")
        entry = self._entries.get(name)
        if entry is not None:
            self._entries.move_to_end(name)
            return entry
        if name not in self._opening:
            self._opening[name] = asyncio.create_task(self._bring(name))
            self._opening[name].add_done_callback(lambda _: self._opening.pop(name))
        try:
            return await asyncio.shield(self._opening[name])  # one client that goes must not stop it for the others
        except Exception as error:
            self._blame(name, error)
            raise Refused(503, f"The model '{name}' cannot be loaded now. The service's log tells why.") from error

    async def update(self, setup: Setup) -> None:
        """Makes the models those of `setup`. What changes is loaded and warm before it gets a request; what does not load
        leaves in place what was served before, and is told in the log and in `faults`. Raises FusionError where nothing
        can be served at all."""
        async with self._updates:
            await self._update(setup)

    async def _update(self, setup: Setup) -> None:
        self._max_loaded = setup.max_loaded
        self.faults = {}
        later: dict[
            str, Plan
        ] = {}  # loaded when somebody asks for them: what has no place, and what would not load now
        for place, plan in enumerate(setup.models):
            known = self._plans.get(plan.name)
            if known is None and place >= setup.max_loaded:
                later[plan.name] = plan
            elif plan != known:
                async with self._lock:
                    await self._change(plan)
                if plan.name not in self._plans:
                    later[plan.name] = plan
        if not self._plans:
            raise FusionError("; ".join(self.faults.values()))
        self._plans |= later
        self._plans = {plan.name: self._plans[plan.name] for plan in setup.models}
        for name in [name for name in self._entries if name not in self._plans]:
            self._drop(name)
        self._make_room(0)

    async def _change(self, plan: Plan) -> None:
        for attempt in (plan,) if plan.name in self._plans else (plan, *plan.lesser()):
            try:
                entry = await self._open(attempt)
            except Exception as error:
                self._blame(plan.name, error)
                continue
            self._plans[plan.name] = attempt
            self._put(entry)
            logger.info("%s: %s serves, version %s", plan.name, attempt.to_json(), entry.current.model.version)
            return

    async def _bring(self, name: str) -> Entry:
        async with self._lock:
            if name not in self._entries:  # else an update has brought it
                self._make_room(1)
                self._put(await self._open(self._plans[name]))
                self.faults.pop(name, None)
            return self._entries[name]

    async def _open(self, plan: Plan) -> Entry:
        old = self._entries.get(plan.name)
        at_hand = {served.path: served for served in old.loaded()} if old else {}

        async def version(path: str) -> Served:
            return at_hand[path] if path in at_hand else await asyncio.to_thread(self._serve, plan.name, path)

        current = await version(plan.path)
        return Entry(plan, current, await version(plan.tried) if plan.tried else None)

    def _serve(self, name: str, path: str) -> Served:
        try:
            return Served(self._load(path), name=name, path=path, metrics=self.metrics)
        except FusionError:
            raise
        except Exception as error:
            raise FusionError(f"{path}: cannot be served ({type(error).__name__}: {error}).") from error

    def _put(self, entry: Entry) -> None:
        old = self._entries.get(entry.plan.name)
        for served in old.loaded() if old else ():
            served.figures.loaded.set(0)
        for served in entry.loaded():
            served.figures.loaded.set(1)
        self._entries[entry.plan.name] = entry
        self._entries.move_to_end(entry.plan.name)

    def _make_room(self, more: int) -> None:
        while len(self._entries) + more > self._max_loaded:
            self._drop(next(iter(self._entries)))

    def _drop(self, name: str) -> None:
        """Requests in flight keep what they use until they are answered."""
        for served in self._entries.pop(name).loaded():
            served.figures.loaded.set(0)

    def _blame(self, name: str, error: Exception) -> None:
        self.faults[name] = str(error)
        self.metrics.load_failures.labels(name).inc()
        logger.error("%s: a version did not load and is not served: %s", name, error, exc_info=error.__cause__)

    def _drifts(self) -> list[Drift]:
        return [served.drift for entry in self._entries.values() for served in entry.loaded()]
