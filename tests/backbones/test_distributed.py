"""Training by workers of a real Ray cluster: the training of one process, whatever dies on the way, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.backbones.distributed import RayTrainer, Workers
from fusion_automl.backbones.job import Here
from fusion_automl.backbones.job_files import with_arrays, without_arrays, write_arrays
from fusion_automl.backbones.nets.base import Inputs
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.search.tune import quiet_ray
from tests.actors import TRAIN, actors_of
from tests.backbones.jobs import RECIPE, fresh, job

NUM_STEPS = 11
"""Of an epoch of 340 rows in batches of 32."""


class Diary:
    """An augmentation that changes nothing, but writes down which process runs a step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, batch: Inputs) -> Inputs:
        with self.path.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return batch

    def steps(self) -> Counter[int]:
        return Counter(int(line) for line in self.path.read_text().split()) if self.path.exists() else Counter()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A private cluster of two CPUs; processes of it have the text in their environment."""
    mark = str(tmp_path_factory.mktemp("cluster"))
    with pytest.MonkeyPatch.context() as patch, quiet_ray():
        from fusion_automl.search.tune_cluster import LOCAL, joined

        patch.setenv("FUSION_AUTOML_TEST", mark)
        with joined(LOCAL, threads=2):
            yield mark


def test_training_goes_on_where_it_was_when_a_worker_is_killed(cluster: str, tmp_path: Path) -> None:
    alone = Diary(tmp_path / "alone")
    _, expected = Here().train(job(augment=alone, feed=fresh), deadline=Deadline.never(), threads=1)
    assert sum(alone.steps().values()) == 4 * NUM_STEPS

    diary = Diary(tmp_path / "together")
    killed: list[int] = []

    def kill_in_the_third_epoch() -> None:
        # Late enough in it for Ray to have heard of the checkpoint after the second.
        while len(steps := diary.steps()) < 2 or min(steps.values()) < 3 * NUM_STEPS - 3:
            time.sleep(0.05)
        killed.append(max(steps))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill_in_the_third_epoch, daemon=True)
    killer.start()
    trainer = RayTrainer(tmp_path / "training", Workers(2, fewest=1), checkpoint_seconds=0.0)
    fed = job(seconds=0.15, augment=diary, feed=fresh)
    net, training = trainer.train(fed, deadline=Deadline.after(250.0), threads=1)

    killer.join()
    steps = diary.steps()
    assert len(steps) == 4 and killed[0] in steps  # two processes, and two after them
    assert sorted(steps.values())[:2] == [2 * NUM_STEPS] * 2  # the third and the fourth epoch, and no other
    losses = [epoch.loss for epoch in training.epochs]
    np.testing.assert_allclose(losses, [epoch.loss for epoch in expected.epochs], rtol=2e-2)
    assert training.best_epoch == expected.best_epoch
    for name, values in net.state_dict().items():
        if name in training.state:
            np.testing.assert_array_equal(values.numpy(), training.state[name].numpy())
    assert not net.training
    assert not list((tmp_path / "training").iterdir())
    assert not left_behind(cluster)


def test_a_fault_of_the_candidate_is_told_once(cluster: str, tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    broken = job(augment=diary)
    broken.inputs[0][339] = np.nan
    with pytest.raises(FitError, match=r"^training diverged in epoch 1: loss nan"):
        RayTrainer(tmp_path / "training", Workers(2, fewest=2)).train(broken, deadline=Deadline.after(250.0), threads=1)
    assert list(diary.steps().values()) == [NUM_STEPS] * 2
    assert not left_behind(cluster)


def test_small_batches_are_not_split(tmp_path: Path) -> None:
    diary = Diary(tmp_path / "diary")
    small = job(recipe=replace(RECIPE, batch_size=31), augment=diary)
    RayTrainer(tmp_path / "training", Workers(8, fewest=8)).train(small, deadline=Deadline.never(), threads=1)
    assert set(diary.steps()) == {os.getpid()}


def test_workers_are_not_started_when_the_time_is_up(tmp_path: Path) -> None:
    with pytest.raises(OutOfTime, match=r"^[34]\.\d s are left, and 2 workers take longer to start$"):
        RayTrainer(tmp_path, Workers(2, fewest=2)).train(job(), deadline=Deadline.after(4.0), threads=1)


def test_a_job_comes_back_from_its_files(tmp_path: Path) -> None:
    np.save(tmp_path / "states.npy", np.arange(12, dtype=np.float16).reshape(4, 3))
    states = np.load(tmp_path / "states.npy", mmap_mode="c")
    first = job()
    whole = replace(first, inputs=(*first.inputs, np.empty((340, 0), np.int64)), beside=(states, states[:2]))
    write_arrays(whole, tmp_path / "arrays")
    again = with_arrays(without_arrays(whole), tmp_path / "arrays")
    for name in ("inputs", "holdout_inputs", "beside"):
        for found, expected in zip(getattr(again, name), getattr(whole, name), strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
    np.testing.assert_array_equal(again.targets, whole.targets)
    np.testing.assert_array_equal(again.holdout_targets, whole.holdout_targets)
    assert (tmp_path / "arrays" / "beside.0.npy").is_symlink()  # what lies in a file already is not copied
    assert not (tmp_path / "arrays" / "beside.1.npy").is_symlink()


def left_behind(mark: str) -> dict[int, str]:
    """Actors of Ray Train that are still there after some seconds."""
    for _ in range(50):
        if not actors_of(mark, TRAIN):
            break
        time.sleep(0.1)
    return actors_of(mark, TRAIN)
