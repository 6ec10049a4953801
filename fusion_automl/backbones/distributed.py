"""Nets trained by several processes of a Ray cluster (Ray Train), each a rank of a torch process group.

Ray moves the net's recipe and a few numbers; rows, checkpoints and what was learned are files below one folder, which all
machines see. A process that dies, with or without its machine, costs the time since the last checkpoint.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import ray.train
from ray.exceptions import RayError
from ray.train import CheckpointConfig, ControllerError, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from fusion_automl.backbones.job import Here, Job
from fusion_automl.backbones.job_files import with_arrays, without_arrays, write_arrays
from fusion_automl.candidate import digest
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime

if TYPE_CHECKING:
    from fusion_automl.backbones.group import Group
    from fusion_automl.backbones.nets.base import Net
    from fusion_automl.backbones.progress import Progress
    from fusion_automl.backbones.train import Training

logger = logging.getLogger(__name__)

SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how late the end of training is noticed; Ray's own is 2
    "RAY_TRAIN_METRICS_ENABLED": "0",
}
"""Environment variables of Ray Train, which it hands on to its processes; what the user has set stays."""

MAX_FAILURES = 2
"""How often training begins anew from its last checkpoint after a worker died; then the candidate counts as failed."""
MAX_FAILED_STARTS = 3
"""Each waits a minute for the workers' CPUs or GPUs."""
SILENCE_SECONDS = 300
"""A rank that is waited for so long has died without a word."""
CHECKPOINT_SECONDS = 20.0
"""Between checkpoints, at the least: one is made between epochs and takes all ranks some tenths of a second."""
START_SECONDS = 10.0
"""With less time left, training is not begun: processes and torch take so long to start on an idle machine."""
ENDING_SECONDS = 3.0
"""From the last step to the net in the trial's process."""
ORPHANS_SECONDS = 3.0
"""Between looks for room that is held for nobody."""


@dataclass(frozen=True, slots=True)
class Workers:
    """`number` processes train a net together, with `cpus` and `gpus` each. Where the cluster has lost machines, or is still to
    get them, `fewest` make do until there are more."""

    number: int
    fewest: int
    cpus: int = 1
    gpus: int = 0


class RayTrainer:
    """Trains nets by workers of the cluster that this process is connected to; see `Trainer`.

    A net whose batches are too small for two workers is trained in this process, unless the workers have GPUs. Training
    that was begun in the same folder and cut off with its process goes on from its last checkpoint.
    """

    def __init__(self, folder: Path, workers: Workers, *, checkpoint_seconds: float = CHECKPOINT_SECONDS) -> None:
        self.folder, self.workers, self.checkpoint_seconds = folder.resolve(), workers, checkpoint_seconds

    def train(self, job: Job, *, deadline: Deadline, threads: int) -> tuple[Net, Training]:
        number = min(self.workers.number, _useful_workers(job))
        if number < 2 and not self.workers.gpus:
            return Here().train(job, deadline=deadline, threads=threads)
        if deadline.seconds_left() < START_SECONDS:
            raise OutOfTime(f"{deadline.seconds_left():.1f} s are left, and {number} workers take longer to start")
        started = time.perf_counter()
        key = _key(job)
        folder = self.folder / key
        write_arrays(job, folder / "arrays")
        try:
            answer = self._run(job, key, number, deadline)
            found = _read_answer(answer, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        logger.info(
            "%s workers=%d epochs=%d seconds=%.1f", key, number, len(found.epochs), time.perf_counter() - started
        )
        return _net_with(found, job, threads=threads), found

    def _run(self, job: Job, key: str, number: int, deadline: Deadline) -> Mapping[str, Any]:
        """What rank 0 answers. The process that leads the workers may be lost with its machine; then training goes on from its
        last checkpoint under another."""
        failures = 0
        while True:
            try:
                return self._fit(job, key, number, deadline)
            except RayError as error:
                failures += 1
                if failures > MAX_FAILURES or deadline.seconds_left() < START_SECONDS:
                    raise FitError(
                        f"the leader of {number} workers was lost {failures} times: {_line(error)}"
                    ) from error

    def _fit(self, job: Job, key: str, number: int, deadline: Deadline) -> Mapping[str, Any]:
        workers = self.workers
        elastic = workers.fewest < number
        with _left_as_found(), _orphans_removed():
            trainer = TorchTrainer(
                _work,
                train_loop_config={
                    "job": without_arrays(job),
                    "folder": str(self.folder / key),
                    "threads": workers.cpus,
                    "ends_at": time.time() + deadline.seconds_left() - ENDING_SECONDS,
                    "checkpoint_seconds": self.checkpoint_seconds,
                },
                torch_config=TorchConfig(timeout_s=SILENCE_SECONDS),
                scaling_config=ScalingConfig(
                    num_workers=(workers.fewest, number) if elastic else number,
                    use_gpu=workers.gpus > 0,
                    resources_per_worker={"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {}),
                ),
                run_config=RunConfig(
                    name=key,  # below this storage path it stands for this net on these rows: Ray goes on where it finds it
                    storage_path=str(self.folder),
                    failure_config=FailureConfig(
                        max_failures=MAX_FAILURES,
                        controller_failure_limit=MAX_FAILED_STARTS,
                        max_preemption_failures=MAX_FAILED_STARTS,
                    ),
                    checkpoint_config=CheckpointConfig(num_to_keep=1),
                ),
            )
            try:
                answer: Mapping[str, Any] = trainer.fit().return_value
            except ControllerError as error:
                raise OutOfTime(
                    f"{number} workers of {workers.cpus} CPUs and {workers.gpus} GPUs did not start: {_line(error)}"
                ) from error
            except TrainingFailedError as error:
                raise FitError(f"{number} workers failed {MAX_FAILURES + 1} times: {_line(error)}") from error
        return answer


def _useful_workers(job: Job) -> int:
    """As many as have a small batch each."""
    from fusion_automl.backbones.batches import SMALLEST_BATCH, batch_size

    return batch_size(len(job.targets), job.recipe) // SMALLEST_BATCH


def _key(job: Job) -> str:
    """Names what is trained on what: the seed comes from the node's key, and rows differ in their targets or their number."""
    rows = [hashlib.sha256(targets.tobytes()).hexdigest() for targets in (job.targets, job.holdout_targets)]
    shapes = [values.shape for values in (*job.inputs, *job.holdout_inputs, *job.beside)]
    return digest([job.seed, asdict(job.recipe), rows, shapes], length=16)


def _work(config: dict[str, Any]) -> dict[str, Any]:
    """What each worker does. An error that is the candidate's own is an answer: Ray would try again."""
    from safetensors.torch import save_file

    from fusion_automl.backbones.group import Ranks

    folder, group = Path(config["folder"]), Ranks()
    try:
        _, training = Here().train(
            with_arrays(config["job"], folder / "arrays"),
            deadline=Deadline.after(config["ends_at"] - time.time()),
            threads=config["threads"],
            group=group,
            checkpoints=_Reported(group, config["checkpoint_seconds"]),
        )
    except (FitError, OutOfTime) as error:
        return {"error": type(error).__name__, "reason": str(error)}
    if group.rank == 0:
        state = {name: values.cpu().contiguous() for name, values in training.state.items()}
        save_file(state, folder / "learned.safetensors")
    return {"best_epoch": training.best_epoch, "epochs": [asdict(epoch) for epoch in training.epochs]}


class _Reported:
    """Checkpoints of a Ray Train run, as each of its workers sees them."""

    def __init__(self, group: Group, seconds: float) -> None:
        self._group, self._seconds = group, seconds
        self._kept_at = time.monotonic()

    def last(self) -> Progress | None:
        from fusion_automl.backbones.progress import Progress

        checkpoint = ray.train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return Progress.load(Path(folder))

    def offer(self, progress: Callable[[], Progress]) -> None:
        import torch

        waited = self._group.first(torch.tensor(time.monotonic() - self._kept_at))
        if float(waited) < self._seconds:
            return
        found = progress()
        with TemporaryDirectory() as folder:
            checkpoint = None
            if self._group.rank == 0:
                found.save(Path(folder))
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report({"epochs": len(found.epochs)}, checkpoint=checkpoint)
        self._kept_at = time.monotonic()


def _read_answer(answer: Mapping[str, Any], folder: Path) -> Training:
    """Raises what the workers answered."""
    from safetensors.torch import load_file

    from fusion_automl.backbones.progress import Epoch
    from fusion_automl.backbones.train import Training

    if "error" in answer:
        raise {"FitError": FitError, "OutOfTime": OutOfTime}[answer["error"]](answer["reason"])
    epochs = tuple(Epoch(**epoch) for epoch in answer["epochs"])
    return Training(load_file(folder / "learned.safetensors"), answer["best_epoch"], epochs)


def _net_with(found: Training, job: Job, *, threads: int) -> Net:
    """The net in this process, with what the workers' net has learned."""
    from fusion_automl.backbones.nets.base import best_device, isolated

    with ExitStack() as stack:
        with isolated(job.seed, threads):
            net = stack.enter_context(job.open(*job.beside))
        net.load_state_dict(found.state, strict=False)
    return net.to(best_device()).eval()


@contextmanager
def _left_as_found() -> Iterator[None]:
    """Lets Ray Train run by SETTINGS and without a word. It leaves its own handler of Ctrl-C behind."""
    added = [name for name in SETTINGS if name not in os.environ]
    os.environ |= {name: SETTINGS[name] for name in added}
    log = logging.getLogger("ray.train")
    level, handler = log.level, signal.getsignal(signal.SIGINT)
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Ray Data warns of its own defaults
            yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)
        log.setLevel(level)
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _orphans_removed() -> Iterator[None]:
    """Inside, what trials that died had reserved for their workers is given up: nobody else could have it. Ray itself does so
    only where all the workers had started, and a dashboard runs."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(ORPHANS_SECONDS):
            _remove_orphans()

    watch = threading.Thread(target=look, daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _remove_orphans() -> None:
    """Removes the placement groups of this job that an actor made which is dead; Ray's public interface tells of no maker."""
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import PlacementGroupTableData
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    job = bytes.fromhex(ray.get_runtime_context().get_job_id())
    for entry in state._connect_and_get_accessor().get_placement_group_table():
        group = PlacementGroupTableData.FromString(entry)
        over = group.state == PlacementGroupTableData.REMOVED or group.is_detached
        by_actor = not ray.ActorID(group.creator_actor_id).is_nil()  # those of the driver count as of a dead one
        if group.creator_job_id == job and by_actor and group.creator_actor_dead and not over:
            logger.info("gave up the room for %d workers of a trial that died", len(group.bundles))
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))


def _line(error: Exception) -> str:
    """The last line of an error, which says what went wrong; those before it say where."""
    return str(error).strip().rpartition("\n")[2][:300]
