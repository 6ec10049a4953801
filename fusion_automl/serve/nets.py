"""A model's nets in a deployment of their own: a GPU then works for many replicas, whose cores do what is left.

Each batch pays a hop between the deployments, so the nets of a model move only where they cost far more than that. They all
move at once, and are asked for in one call, while the replica runs the encoders that stay.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
from ray.exceptions import ActorDiedError, ActorUnavailableError

from fusion_automl.artifact.artifact import Artifact, run_parts
from fusion_automl.artifact.load import find_artifact
from fusion_automl.encoders.frozen_embedding import FittedEmbedding
from fusion_automl.errors import ArtifactError
from fusion_automl.serve.limits import BUSY, MAX_SECONDS
from fusion_automl.serve.model import Model, open_model
from fusion_automl.serve.rows import Refused
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Part, Ref

NETS = "fusion_automl_nets"
"""The deployment's name."""
HOP_SECONDS = 0.0025
"""What a call from one deployment to another costs at most, with a row or a few."""
MAX_VERSIONS = 8
"""Versions of models in the memory of a replica of nets; the one that was used longest ago goes first."""
MAX_DEATHS = 2
"""Replicas that may die of one batch, before it is given up."""
logger = logging.getLogger("ray.serve")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The nets of the version at `path`, which the deployment behind `handle` runs for the others."""

    handle: Any
    path: str
    version: str
    nodes: tuple[str, ...]
    wanted: tuple[Ref, ...]
    """What of theirs is needed outside."""

    def start(self, frame: pd.DataFrame) -> Callable[[], Mapping[Ref, Any]]:
        """What it returns waits for the outputs. It raises Refused where nets have too much to do already."""
        response = self._ask(frame)

        def wait() -> Mapping[Ref, Any]:
            from ray.serve.exceptions import BackPressureError

            asked, ends, deaths = response, time.monotonic() + MAX_SECONDS, 0
            while True:
                try:
                    found: Mapping[Ref, Any] = asked.result(timeout_s=ends - time.monotonic())
                    return found
                except BackPressureError:
                    raise Refused(503, BUSY) from None
                except (ActorDiedError, ActorUnavailableError):
                    deaths += 1
                    if deaths > MAX_DEATHS:
                        raise
                    asked = self._ask(frame)

        return wait

    def _ask(self, frame: pd.DataFrame) -> Any:
        return self.handle.outputs.remote(self.path, self.version, self.nodes, self.wanted, frame)


def move_nets(model: Model, path: str, handle: Any) -> Model:
    """The model at `path` without its nets, which `handle` runs from now on; as it is where that would not pay. It returns when
    they are loaded there, however long a machine with a GPU takes to come."""
    artifact = model.artifact
    nets = nets_to_move(artifact, path)
    if not nets:
        return model
    here = {key: part for key, part in artifact.parts.items() if key not in nets}
    used = {ref for part in here.values() for ref in part.node.inputs}
    used |= {ref for member in artifact.manifest.members for ref in member.outputs}
    wanted = tuple(sorted(ref for ref in used if ref.node in nets))
    handle.bring.remote(path, model.version, nets).result()
    logger.warning("%s: %d nets run in %s", model.name, len(nets), NETS)
    return replace(
        model, artifact=replace(artifact, parts=here, elsewhere=Elsewhere(handle, path, model.version, nets, wanted))
    )


def nets_to_move(artifact: Artifact, path: str) -> tuple[str, ...]:
    """All nets of the artifact at `path`, or none of them.

    They move where a row by itself costs more in them, on the machine that fitted them, than two hops: one is what it costs to
    move them, and if next to nothing is left of them on a GPU, the other is what is won.
    """
    nets = tuple(key for key in artifact.manifest.nodes if is_net(artifact.parts[key]))
    store = Store(find_artifact(path) / "nodes")
    seconds = sum(float(store.stats(key)["apply_seconds_one_row"]) for key in nets)
    return nets if seconds > 2 * HOP_SECONDS else ()


def is_net(part: Part) -> bool:
    """Whether a GPU would run it."""
    return part.node.table in ("states", "backbones", "networks") or isinstance(part.fitted, FittedEmbedding)


class Nets:
    """Runs nets for the replicas that ask, one batch at a time, on the GPU if it has one."""

    def __init__(self) -> None:
        self._versions: OrderedDict[tuple[str, str], Mapping[str, Part]] = OrderedDict()
        self._lock = asyncio.Lock()

    async def bring(self, path: str, version: str, nodes: tuple[str, ...]) -> None:
        """Has these nodes in memory. Raises ArtifactError where another version lies at `path`."""
        async with self._lock:
            await asyncio.to_thread(self._parts, path, version, nodes)

    async def outputs(
        self, path: str, version: str, nodes: tuple[str, ...], wanted: tuple[Ref, ...], frame: pd.DataFrame
    ) -> dict[Ref, Any]:
        """What these nodes make of a conformed frame, as far as it is wanted. Raises what `bring` raises."""
        async with self._lock:
            return await asyncio.to_thread(self._outputs, path, version, nodes, wanted, frame)

    def _outputs(
        self, path: str, version: str, nodes: tuple[str, ...], wanted: tuple[Ref, ...], frame: pd.DataFrame
    ) -> dict[Ref, Any]:
        parts = self._parts(path, version, nodes)
        found = run_parts(nodes, parts, frame)
        return {ref: found[ref] for ref in wanted}

    def _parts(self, path: str, version: str, nodes: tuple[str, ...]) -> Mapping[str, Part]:
        known = self._versions.get((path, version))
        if known is None:
            model = open_model(path)
            if model.version != version:
                raise ArtifactError(f"{path}: holds version {model.version}, and {version} is served from there.")
            known = {key: model.artifact.parts[key] for key in nodes}
            self._versions[path, version] = known
        self._versions.move_to_end((path, version))
        while len(self._versions) > MAX_VERSIONS:
            self._versions.popitem(last=False)
        return known
