"""The store of a run: one folder per fitted node, with its state and its outputs for the dataset's rows.

    STORE/<key>/{node.json, stats.json, state/, <output>.npy | <output>.npz | <output>.parts/, rows.npy, DONE}

`DONE` is written last, so that a process may die anywhere. Processes that want the same node wait for the one which fits
it. A node that failed for a reason of its own leaves `<key>.failed` and is not tried again.

With a mirror, machines have each other's nodes: what is not here is looked for in the bucket before it is fitted, and goes
there while the next one is fitted. Of a node that another machine fitted and this one never needed, `<key>.facts` tells
what `node.json` and `stats.json` would.
"""

from __future__ import annotations

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from fusion_automl.candidate import digest
from fusion_automl.classical.rounds import without_rounds
from fusion_automl.data.shards import Shards
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.sequences import Sequences
from fusion_automl.errors import BucketError, FitError, OutOfTime
from fusion_automl.store.mirror import Mirror
from fusion_automl.store.node import Node, Outputs, Part, Ref, load_part
from fusion_automl.store.parts import Parts
from fusion_automl.target import FittedTarget

logger = logging.getLogger(__name__)
Rows = npt.NDArray[np.int64]
DESCRIPTION = ("node.json", "stats.json")
BUCKET_BYTES_PER_SECOND = 50e6
"""What one machine moves to or from a bucket, cautiously. Outputs that take longer to move than they took to make stay where
they are (TF-IDF of a large table: 40 MB for each 100,000 texts), and another machine that needs them fits the node again. The
state always goes: whoever builds the artifact needs it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What fitting a node gave: its part, and its outputs for `rows` of the dataset (`None`: for all of them)."""

    part: Part
    outputs: Outputs
    rows: Rows | None
    fit_seconds: float
    apply_seconds: float
    one_row_seconds: float


class Store:
    """Fitted nodes under one folder; `hits` and `misses` count what this process was spared and what it fitted."""

    def __init__(self, folder: Path, mirror: Mirror | None = None) -> None:
        self.folder = folder
        self.mirror = mirror
        self.hits = 0
        self.misses = 0
        self.fit_seconds = 0.0
        folder.mkdir(parents=True, exist_ok=True)

    def obtain(self, node: Node, make: Callable[[], Made], *, deadline: Deadline) -> str:
        """The key of `node`, fitted now by `make` unless the store has it. Raises what `make` raises, and OutOfTime."""
        from filelock import FileLock, Timeout

        key = node.key
        if (self.folder / key / "DONE").exists():
            self.hits += 1
            return key
        try:
            with FileLock(self.folder / f"{key}.lock", timeout=max(0.0, min(deadline.seconds_left(), 1e6))):
                if (self.folder / key / "DONE").exists() or self._pull(key):
                    self.hits += 1
                    return key
                self._fit(node, key, make)
        except Timeout:
            raise OutOfTime(f"another process was still fitting {node.spec.name} ({key})") from None
        return key

    def _fit(self, node: Node, key: str, make: Callable[[], Made]) -> None:
        failed = self.folder / f"{key}.failed"
        if failed.exists():
            raise FitError(failed.read_text())
        try:
            made = make()
        except FitError as error:
            failed.write_text(str(error))
            raise
        self.misses += 1
        self.fit_seconds += made.fit_seconds + made.apply_seconds
        self._write(self.folder / key, made)
        logger.info("%s fitted %s seconds=%.1f", key, node.spec.name, made.fit_seconds)
        if self.mirror is not None:
            self.mirror.later(partial(self.push, [key]))

    def push(self, keys: Iterable[str]) -> None:
        """Brings nodes of this machine to the bucket, those that are not there yet. Raises BucketError."""
        if (mirror := self.mirror) is not None:
            here = [key for key in keys if (self.folder / key / "DONE").exists()]
            mirror.for_all(here, lambda key: mirror.push(f"{self.folder.name}/{key}", without=self._dear(key)))

    def _dear(self, key: str) -> list[str]:
        """The files of a node that are cheaper to make again than to move."""
        stats = self.stats(key)
        outputs = [path for end in ("*.np[yz]", "*.parts/*") for path in (self.folder / key).glob(end)]
        num_bytes = sum(path.stat().st_size for path in outputs)
        if num_bytes <= BUCKET_BYTES_PER_SECOND * (stats["fit_seconds"] + stats["apply_seconds"]):
            return []
        return [*(path.relative_to(self.folder / key).as_posix() for path in outputs), "DONE"]

    def _pull(self, key: str) -> bool:
        if self.mirror is None:
            return False
        try:
            found = self.mirror.pull(f"{self.folder.name}/{key}", patient=False)
        except BucketError as error:  # then it is fitted here
            logger.warning("%s", error)
            return False
        if found:
            self.state(key).mkdir(exist_ok=True)  # a bucket has no empty folders
        return found

    def bring(self, keys: Iterable[str]) -> None:
        """Has the states of nodes here that other machines fitted. Raises BucketError."""
        if (mirror := self.mirror) is None:
            return

        def fetch(key: str) -> None:
            if not mirror.pull_folder(f"{self.folder.name}/{key}", only=("state", *DESCRIPTION)):
                raise BucketError(f"{mirror.uri}: has no {self.folder.name}/{key}, which a finished trial needs.")
            self.state(key).mkdir(exist_ok=True)

        mirror.for_all([key for key in keys if not self.has([key])], fetch)

    def has(self, keys: Iterable[str]) -> bool:
        """Whether the states of all these nodes are on this machine."""
        return all((self.folder / key / "stats.json").exists() for key in keys)

    def bring_shards(self, shards: Shards, *, deadline: Deadline) -> None:
        """Has the rows beyond the run's sample on this machine; one process fetches them. Raises BucketError and OutOfTime."""
        from filelock import FileLock, Timeout

        if (mirror := self.mirror) is None:
            return
        try:
            with FileLock(mirror.folder / "shards.lock", timeout=max(0.0, min(deadline.seconds_left(), 1e6))):
                name = f"{shards.folder.parent.name}/{shards.folder.name}"
                if not mirror.pull(name):
                    raise BucketError(f"{mirror.uri}: has no {name}, which nets learn from.")
        except Timeout:
            raise OutOfTime("another process was still fetching the shards of rows") from None

    def facts(self, keys: Iterable[str]) -> dict[str, dict[str, str]]:
        """The descriptions of nodes, for machines that do not have them; `learn_facts` takes them there."""
        return {key: {name: self._description(key, name) for name in DESCRIPTION} for key in keys}

    def learn_facts(self, facts: Mapping[str, Mapping[str, str]]) -> None:
        """Keeps descriptions of nodes that may not be here."""
        for key, description in facts.items():
            path = self.folder / f"{key}.facts"
            if not path.exists():
                written = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
                written.write_text(json.dumps(description))
                written.rename(path)

    def _description(self, key: str, name: str) -> str:
        try:
            return (self.folder / key / name).read_text()
        except FileNotFoundError:
            known: dict[str, str] = json.loads((self.folder / f"{key}.facts").read_text())
            return known[name]

    def _write(self, folder: Path, made: Made) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "state").mkdir(parents=True)
        made.part.fitted.save(folder / "state")
        num_rows = max(1, max(output.shape[0] for output in made.outputs.values()))
        stats = {
            "fit_seconds": made.fit_seconds,
            "apply_seconds": made.apply_seconds,
            "apply_seconds_per_row": made.apply_seconds / num_rows,
            "apply_seconds_one_row": made.one_row_seconds,
            "state_bytes": bytes_in(folder / "state"),
            "widths": {name: output.shape[1] for name, output in made.outputs.items()},
            "categorical": list(getattr(made.part.fitted, "categorical", ())),
        }
        if (rounds := getattr(made.part.fitted, "rounds", None)) is not None:
            stats["rounds"] = rounds
        write_node(folder, made.part.node, made.part.target, stats)
        for name, output in made.outputs.items():
            if scipy.sparse.issparse(output):
                scipy.sparse.save_npz(folder / f"{name}.npz", output.tocsr(), compressed=False)
            elif isinstance(output, Sequences | Parts):
                output.save(folder, name)
            else:
                np.save(folder / f"{name}.npy", output, allow_pickle=False)
        if made.rows is not None:
            np.save(folder / "rows.npy", made.rows, allow_pickle=False)
        (folder / "DONE").touch()

    def read(self, ref: Ref, rows: Rows) -> Any:
        """An output for these rows of the dataset. Raises KeyError when the node was not applied to one of them."""
        folder = self.folder / ref.node
        if (folder / f"{ref.output}.npz").exists():
            return scipy.sparse.load_npz(folder / f"{ref.output}.npz").tocsr()[rows]
        if Sequences.lie_in(folder, ref.output):
            return Sequences.load(folder, ref.output)[rows]
        if Parts.lie_in(folder, ref.output):
            return Parts.load(folder, ref.output)[rows]
        output = np.load(folder / f"{ref.output}.npy", mmap_mode="r", allow_pickle=False)
        if (folder / "rows.npy").exists():
            known = np.load(folder / "rows.npy", allow_pickle=False)
            wanted, rows = rows, np.searchsorted(known, rows).clip(max=len(known) - 1)
            if not np.array_equal(known[rows], wanted):
                raise KeyError(f"{ref.node} has no {ref.output} for some of the rows asked for")
        return np.asarray(output[rows])

    def state(self, key: str) -> Path:
        """The folder of a node's fitted state."""
        return self.folder / key / "state"

    def node(self, key: str) -> Node:
        return Node.from_json(json.loads(self._description(key, "node.json"))["node"])

    def stats(self, key: str) -> dict[str, Any]:
        """`fit_seconds`, `apply_seconds` of a batch of all rows, `apply_seconds_per_row` in it, `apply_seconds_one_row` alone,
        `state_bytes`, `widths` of the outputs, which columns are `categorical` codes, and of boosting the `rounds` kept."""
        found: dict[str, Any] = json.loads(self._description(key, "stats.json"))
        return found

    def part(self, key: str) -> Part:
        return read_part(self.folder / key)

    def shape(self, node: Node) -> str:
        """Names what a node is, whatever rows it and those before it learned from and for how many rounds: the parts of a
        candidate have the same shapes in all folds."""
        spec = without_rounds(node.spec) if node.table == "classical" else node.spec
        inputs = [(self.shape(self.node(ref.node)), ref.output) for ref in node.inputs]
        return digest([replace(node, spec=spec, rows="", inputs=(), learned_from=()).to_json(), inputs], length=16)

    def ancestry(self, keys: list[str]) -> list[str]:
        """These nodes and everything that feeds them at prediction, inputs before users, each once."""
        order: dict[str, None] = {}

        def visit(key: str) -> None:
            if key in order:
                return
            for ref in self.node(key).inputs:
                visit(ref.node)
            order[key] = None

        for key in keys:
            visit(key)
        return list(order)


def bytes_in(folder: Path) -> int:
    """The size of all files below `folder`."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def write_node(folder: Path, node: Node, target: FittedTarget, stats: dict[str, Any]) -> None:
    """Writes a node's description beside its state."""
    (folder / "node.json").write_text(json.dumps({"node": node.to_json(), "target": target.to_json()}, indent=1))
    (folder / "stats.json").write_text(json.dumps(stats))


def read_node(folder: Path) -> tuple[Node, FittedTarget]:
    value = json.loads((folder / "node.json").read_text())
    return Node.from_json(value["node"]), FittedTarget.from_json(value["target"])


def read_part(folder: Path) -> Part:
    """Loads a fitted node from its folder, in a store or in an artifact."""
    node, target = read_node(folder)
    return load_part(node, folder / "state", target)
