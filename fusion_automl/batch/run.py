"""`predict --address`: predictions for a large dataset over the machines of a Ray cluster, taken up again shard by shard."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion_automl.artifact import load
from fusion_automl.artifact.load import find_artifact
from fusion_automl.artifact.manifest import Manifest, read_manifest
from fusion_automl.batch.claim import Claim, stake
from fusion_automl.batch.scorer import PART_BYTES, Scorer
from fusion_automl.batch.shards import Shard, absolute, check_apart, find_inputs
from fusion_automl.data import storage
from fusion_automl.errors import DataError, UserError
from fusion_automl.search.tune import quiet_ray
from fusion_automl.store.disk import bytes_in, read_node

if TYPE_CHECKING:
    from fusion_automl.search.tune_cluster import Slots
    from fusion_automl.search.tune_pool import Files, Work

PROCESS_BYTES = 1 << 30
"""What a process takes with all libraries loaded, before it holds an artifact or rows."""
NETS = frozenset({"backbones", "networks", "states"})
"""Tables whose parts run on a GPU where there is one."""

OnShard = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """How it ended. `problems` has a sentence for each shard that failed for good, by its name; `our_fault` says whether
    one of them is nothing that the user could mend."""

    num_shards: int
    num_before: int
    num_rows: int
    problems: Mapping[str, str]
    our_fault: bool

    def __str__(self) -> str:
        num_now = self.num_shards - self.num_before - len(self.problems)
        counts = (
            f"{self.num_shards:,} shards: {num_now:,} scored ({self.num_rows:,} rows), "
            f"{self.num_before:,} were done before, {len(self.problems):,} failed"
        )
        if not self.problems:
            return f"{counts}."
        names = ", ".join(list(self.problems)[:20])
        return f"{counts}: {names}. Start the command again to score only what is not done."


def score(
    run: str | Path,
    data: str,
    *,
    out: str,
    address: str,
    keep: Sequence[str] = (),
    on_shard: OnShard | None = None,
) -> Scored:
    """Writes predictions for `data`, a table file or a folder of them, into the folder `out`: a Parquet file for each
    shard, row for row as they lie there, with the columns `keep` in front.

    Both may be s3:// URIs, or paths that all machines of the cluster see; the artifact of `run` travels by itself.
    `address` is that of a cluster, or "local" for this machine alone. What is done already is left as it is; `on_shard`
    hears of each shard that is done now, with its number of rows and how many shards are left. Raises UserError for what
    concerns all shards: no data, an unknown artifact, an `out` that holds something else, a cluster that is not there.
    """
    artifact = find_artifact(run)
    manifest = read_manifest(artifact)
    _check_keep(keep, manifest)
    inputs = find_inputs(data)
    check_apart(inputs, data, out)
    out = absolute(out)
    here = stake(out, Claim.of(artifact, inputs, keep))
    shards = [shard for each in inputs for shard in each.shards]
    todo = {shard.output: shard for shard in shards if shard.output not in here}
    if not todo:
        return Scored(len(shards), len(shards), 0, {}, False)
    _sweep(out)
    answers = _score(artifact, manifest, todo, out, address, keep, on_shard or (lambda rows, left: None))
    return _conclude(len(shards), todo, answers, out)


def _score(
    artifact: Path,
    manifest: Manifest,
    todo: Mapping[str, Shard],
    out: str,
    address: str,
    keep: Sequence[str],
    on_shard: OnShard,
) -> dict[str, dict[str, Any]]:
    """What the processes of the cluster say of each shard."""
    answers: dict[str, dict[str, Any]] = {}
    with quiet_ray():
        # Ray reads some of its settings while it is imported.
        from fusion_automl.search.tune_cluster import joined
        from fusion_automl.search.tune_pool import each, read_files

        with joined(address, threads=len(os.sched_getaffinity(0))):
            process_bytes = PROCESS_BYTES + 2 * bytes_in(artifact) + PART_BYTES
            for answer in each(
                [asdict(shard) for shard in todo.values()],
                start,
                files=read_files(artifact),
                slots=_slots(len(todo), _has_nets(artifact, manifest), process_bytes),
                process_bytes=process_bytes,
                out=out,
                keep=list(keep),
            ):
                answers[answer["output"]] = answer
                on_shard(answer["num_rows"], len(todo) - len(answers))
    return answers


def start(files: Files, *, out: str, keep: list[str]) -> Work:
    """In a process of the cluster: the function that scores a shard and says how that went."""
    from fusion_automl.search.tune_pool import write_files

    with tempfile.TemporaryDirectory() as folder:
        write_files(files, Path(folder))
        scorer = Scorer(load(folder), out, keep)

    def work(piece: Mapping[str, Any]) -> dict[str, Any]:
        shard = Shard(**piece)
        answer = {"output": shard.output, "num_rows": 0, "problem": "", "our_fault": False}
        try:
            return {**answer, "num_rows": scorer.score(shard)}
        except UserError as error:
            return {**answer, "problem": _explained(shard, error)}
        except Exception as error:  # the other shards go on
            return {**answer, "problem": f"{shard.source}: {type(error).__name__}: {error}", "our_fault": True}

    return work


def _explained(shard: Shard, error: UserError) -> str:
    message = str(error)
    if isinstance(error.__cause__, FileNotFoundError) and not storage.is_remote(shard.source):
        message += f" It was there when the command began: does {socket.gethostname()} see the same disk?"
    return message if shard.source in message or shard.output in message else f"{shard.source}: {message}"


def _conclude(num_shards: int, todo: Mapping[str, Shard], answers: Mapping[str, Mapping[str, Any]], out: str) -> Scored:
    here = set(storage.files_under(out))
    problems: dict[str, str] = {}
    our_fault = False
    for output, shard in todo.items():
        answer = answers.get(output)
        if answer is None:
            problems[output] = f"{shard.source}: the processes that scored it died, perhaps because memory ran out."
            our_fault = True
        elif answer["problem"]:
            problems[output] = answer["problem"]
            our_fault = our_fault or answer["our_fault"]
        elif output not in here:
            problems[output] = (
                f"{output}: was written on a machine of the cluster, and is not in {out} as this machine sees it. "
                "Name a folder on a disk that all of them share, or on s3://."
            )
    num_rows = sum(answer["num_rows"] for answer in answers.values())
    return Scored(num_shards, num_shards - len(todo), num_rows, problems, our_fault)


def _check_keep(keep: Sequence[str], manifest: Manifest) -> None:
    taken = {"prediction", "lower", "upper", *(f"probability_{label}" for label in manifest.task.classes)}
    for name in keep:
        if name in taken or keep.count(name) > 1:
            what = "is the name of a column of predictions" if name in taken else "is named twice"
            raise DataError(f"--keep: '{name}' {what}. Name other columns, or rename it in the data.")


def _sweep(out: str) -> None:
    """Removes what processes that were killed left half-written."""
    if not storage.is_remote(out):
        for path in Path(out).rglob(".*.partial"):
            path.unlink(missing_ok=True)


def _has_nets(artifact: Path, manifest: Manifest) -> bool:
    nodes = [read_node(artifact / "nodes" / key)[0] for key in manifest.nodes]
    return any(node.table in NETS or node.spec.name.endswith("_embedding") for node in nodes)


def _slots(num_shards: int, has_nets: bool, process_bytes: int) -> Slots:
    """As many processes as there are CPUs (on machines with a GPU, where nets are in it), memory and shards for."""
    import ray

    from fusion_automl.search.tune_cluster import Slots, share_out

    nodes = [dict(node["Resources"]) for node in ray.nodes() if node["Alive"]]
    if not has_nets:
        nodes = [{**node, "GPU": 0.0} for node in nodes]
    found = share_out(nodes, num_shards)
    workers = [node for node in nodes if node.get("GPU") and node.get("CPU")]
    workers = workers or [node for node in nodes if node.get("CPU", 0) >= 1]
    room = sum(int(node.get("memory", 0) // process_bytes) for node in workers)
    if workers and room == 0:
        raise UserError(
            f"--address: no machine of the cluster has the {process_bytes / 1e9:.1f} GB of memory that a process needs "
            "which predicts. Start Ray on a larger one, or say with `ray start --memory` that there is more."
        )
    return Slots(min(found.number, room or found.number), found.cpus, found.gpus)
