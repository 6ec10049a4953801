"""The Ray engine on real Ray: the inline engine's trials, and an end in time whatever the processes do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.candidate import Candidate
from fusion_automl.data.schema import Schema
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.errors import RunError, UserError
from fusion_automl.evaluate import Problem
from fusion_automl.metrics import DEFAULTS, METRICS
from fusion_automl.search import inline, tune
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.plan import Plan
from fusion_automl.search.problem import SETTINGS, write_problem
from fusion_automl.search.propose import BASELINE
from fusion_automl.search.read import read_space
from fusion_automl.search.tune_searcher import MAX_FAILED_STARTS, JointSearch
from tests.contracts.rows import mixed_dataset

NUM_FOLDS = 2

CHEAP = """
name = "cheap"
description = "Trials of some hundredths of a second."

[classical.decision_tree]
max_depth = {int = [2, 14]}
min_samples_leaf = {int = [2, 40], log = true}

[classical.naive_bayes]
var_smoothing = {float = [0.0001, 1.0], log = true}

[classical.logistic]
C = {float = [0.001, 100.0], log = true}

[encoder.onehot]
scale = {choice = ["standard", "quantile"]}

[fusion.concat]

[[portfolio]]
fusion = "concat"
encoders.tabular = "onehot"
classical = "logistic"
"""

ENDLESS = CHEAP.replace('scale = {choice = ["standard", "quantile"]}', 'scale = "standard"').replace(
    "[[portfolio]]",
    """
[classical.kernel_svm]
C = 1e8

[[portfolio]]
fusion = "concat"
encoders.tabular = "onehot"
classical = "kernel_svm"

[[portfolio]]""",
)
"""With one kernel machine, in front, that libsvm fits for hours: it must separate what it cannot."""
TWICE_ENDLESS = ENDLESS.replace("C = 1e8", "C = {choice = [1e8, 1e9]}").replace(
    'classical = "kernel_svm"',
    """classical = {name = "kernel_svm", C = 1e8}

[[portfolio]]
fusion = "concat"
encoders.tabular = "onehot"
classical = {name = "kernel_svm", C = 1e9}""",
)


@dataclass
class Diary:
    """A listener that writes down what it hears, and may do something when the trial of a given number starts."""

    at: int = 0
    action: Callable[[], None] = lambda: None
    started_keys: list[str] = field(default_factory=list)
    folds: list[tuple[str, int]] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)

    def started(self, candidate: Candidate) -> None:
        self.started_keys.append(candidate.key)
        if len(self.started_keys) == self.at:
            self.action()

    def fold_done(self, candidate: Candidate, fold: int, score: float) -> None:
        self.folds.append((candidate.key, fold))

    def finished(self, candidate: Candidate, report: Report) -> None:
        self.statuses[candidate.key] = report.status


def plan(run: Path, space: str = CHEAP, *, rows: int = 80, noise: bool = False, seconds: float = 120.0) -> Plan:
    """A new run over the tabular columns of the mixed rows; with `noise` the target says nothing about them."""
    whole = mixed_dataset(rows=rows)
    schema = Schema(tuple(column for column in whole.schema.columns if column.kind in ("numeric", "category")))
    y = np.random.default_rng(0).permutation(whole.y) if noise else whole.y
    dataset = replace(whole, frame=whole.frame[[column.name for column in schema.columns]], schema=schema, y=y)
    problem = Problem(
        dataset, make_split(dataset, num_folds=NUM_FOLDS, seed=0), METRICS[DEFAULTS[dataset.task.kind]], 0
    )
    write_problem(run, problem, {})
    path = run / "space.toml"
    path.write_text(space)
    return Plan(
        run=run,
        space=read_space(path).restrict(schema, dataset.task, rows),
        seed=0,
        num_folds=NUM_FOLDS,
        deadline=Deadline.after(seconds),
        max_seconds_per_trial=60.0,
        max_trials=8,
        threads=1,
    )


def results(run: Path) -> list[tuple[str, str, float | None, tuple[float, ...]]]:
    reports = [trial.report for trial in Ledger(run).trials()]
    return [(report.key, report.status, report.score, report.fold_scores) for report in reports]


def test_one_at_a_time_it_does_what_the_inline_engine_does(tmp_path: Path) -> None:
    environment = set(os.environ)
    diary = Diary()
    inline.search(replace(plan(tmp_path / "inline"), max_trials=12), Diary())
    tune.search(replace(plan(tmp_path / "ray"), max_trials=12, max_concurrent=1), diary)

    assert results(tmp_path / "ray") == results(tmp_path / "inline")
    assert len(results(tmp_path / "ray")) == 1 + 12  # and the baseline
    assert {status for _, status, _, _ in results(tmp_path / "ray")} == {"done", "pruned"}
    assert diary.started_keys == [key for key, _, _, _ in results(tmp_path / "ray")]
    assert diary.statuses == {key: status for key, status, _, _ in results(tmp_path / "ray")}
    assert diary.folds == [(key, i) for key, _, _, scores in results(tmp_path / "ray") for i in range(len(scores))]
    assert not (tmp_path / "ray" / "tune").exists()
    assert not any(name.startswith("TUNE_") for name in set(os.environ) - environment)


def test_two_at_a_time_survive_processes_that_are_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_AUTOML_TEST", str(tmp_path))  # inherited by the actors, so that only ours are killed
    killed: list[int] = []

    def kill_all() -> None:
        pids = actors_with(str(tmp_path))
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        killed.extend(pids)
        diary.at = 5  # when both run again

    diary = Diary(at=3, action=kill_all)  # the baseline is over, and both endless ones run
    tune.search(replace(plan(tmp_path, TWICE_ENDLESS, rows=1500, noise=True), threads=2, max_trials=6), diary)

    assert len(killed) == 4
    found = Ledger(tmp_path).trials()
    assert len(found) == len({trial.candidate for trial in found}) == 6 + (BASELINE in {t.candidate for t in found})
    failed = [trial for trial in found if trial.report.status == "failed"]
    assert len(failed) == 2
    assert all(trial.candidate.all_classical() == ("kernel_svm",) for trial in failed)
    assert all("its process died twice" in trial.report.reason for trial in failed)
    starts = {trial.report.key: 1 + (trial.report.status == "failed") for trial in found}
    assert Counter(diary.started_keys) == starts
    assert sum(trial.report.status == "done" for trial in found) >= 3


def test_a_candidate_whose_process_could_not_start_is_asked_for_again_in_its_turn(tmp_path: Path) -> None:
    search = JointSearch(plan(tmp_path), Diary())
    first = search.suggest("0")
    search.on_trial_complete("0", error=True)
    for number in range(1, MAX_FAILED_STARTS):
        assert search.suggest(str(number)) == first
        assert not search.cannot_start
        search.on_trial_complete(str(number), error=True)
    assert search.cannot_start


def test_the_deadline_is_kept_when_a_fit_cannot_be_interrupted(tmp_path: Path) -> None:
    diary = Diary()
    asked = replace(plan(tmp_path, ENDLESS, rows=1500, noise=True, seconds=25.0), max_trials=None)
    tune.search(asked, diary)

    assert -1.5 < -asked.deadline.seconds_left() < 4.0
    svm, report = next((t.candidate, t.report) for t in Ledger(tmp_path).trials() if t.candidate != BASELINE)
    assert svm.all_classical() == ("kernel_svm",)
    assert (report.status, report.reason) == (
        "out_of_time",
        "ended from outside: it overran the end of the search",
    )
    assert diary.statuses[svm.key] == "out_of_time"


def test_the_inline_engine_ends_a_trial_that_overruns(tmp_path: Path) -> None:
    asked = replace(plan(tmp_path, ENDLESS, rows=1500, noise=True), max_trials=1, max_seconds_per_trial=2.0, seed=1)
    diary = Diary()
    inline.search(asked, diary)
    first, second = diary.started_keys
    assert (diary.statuses[first], diary.statuses[second]) == ("done", "out_of_time")
    assert not asked.deadline.passed()  # it was the trial's time that was up, not the search's


def test_a_trial_that_overruns_is_ended_and_ctrl_c_ends_the_search(tmp_path: Path) -> None:
    pressed: list[float] = []

    def press() -> None:
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    diary = Diary(at=3, action=lambda: threading.Timer(0.5, press).start())
    asked = replace(plan(tmp_path, ENDLESS, rows=1500, noise=True), max_trials=None, max_seconds_per_trial=2.0, seed=1)
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        tune.search(asked, diary)

    assert time.monotonic() - pressed[0] < 4.0
    assert signal.getsignal(signal.SIGTERM) is handler
    first, second = diary.started_keys[:2]
    assert (diary.statuses[first], diary.statuses[second]) == ("done", "out_of_time")


@pytest.mark.slow
def test_machines_that_do_not_see_the_run_folder_are_told_about(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    (tmp_path / SETTINGS).unlink()
    with pytest.raises(RunError, match="All of them must have fusion_automl installed and see the run folder"):
        tune.search(asked, Diary())
    assert not Ledger(tmp_path).trials()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster lets this process in at '127.0.0.1:1': .*refused"),
        ("nonsense", "no Ray cluster lets this process in at 'nonsense': Invalid address format"),
        ("ray://10.0.0.1:10001", "expected HOST:PORT of the cluster's head"),
    ],
)
def test_a_wrong_address_is_told_in_a_sentence(tmp_path: Path, address: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tune.search(replace(plan(tmp_path), address=address), Diary())


CPU, BIG = {"CPU": 2.0}, {"CPU": 16.0}
ONE_GPU, EIGHT_GPUS = {"CPU": 12.0, "GPU": 1.0}, {"CPU": 4.0, "GPU": 8.0}


@pytest.mark.parametrize(
    ("nodes", "max_concurrent", "expected"),
    [
        ([CPU], None, (2, 1, 0.0)),
        ([CPU], 1, (1, 2, 0.0)),
        ([CPU], 64, (64, 1, 0.0)),  # those that wait make the cluster grow
        ([{"memory": 1e9}], 8, (8, 1, 0.0)),
        ([CPU, BIG], None, (18, 1, 0.0)),
        ([BIG] * 16, None, (256, 1, 0.0)),
        ([BIG] * 100, None, (256, 6, 0.0)),  # the driver would be full, so each gets more
        ([BIG] * 1000, None, (1000, 16, 0.0)),  # and no node idles
        ([CPU, BIG], 2, (2, 2, 0.0)),  # nine each would not fit on the small one
        ([BIG, {"memory": 1e9}], 4, (4, 4, 0.0)),
        ([BIG, ONE_GPU], None, (12, 1, 0.0833)),
        ([ONE_GPU], 3, (3, 4, 0.3333)),
        ([EIGHT_GPUS], None, (4, 1, 1.0)),
        ([{"memory": 1e9}], None, (1, 1, 0.0)),
    ],
)
def test_slots_divide_what_the_nodes_have(
    nodes: list[dict[str, float]], max_concurrent: int | None, expected: tuple[int, int, float]
) -> None:
    from fusion_automl.search.tune_cluster import Slots, share_out

    assert share_out(nodes, max_concurrent) == Slots(*expected)


def test_importing_the_engine_does_not_load_ray() -> None:
    script = "import sys, fusion_automl.search.tune; print('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "False\n"


def actors_with(mark: str) -> list[int]:
    """Processes of trial actors on this machine with `mark` in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::TrialActor" in (folder / "cmdline").read_bytes():
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append(int(folder.name))
        except OSError:  # it ended meanwhile
            continue
    return found
