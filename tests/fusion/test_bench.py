"""What the bench measures: the price of one row, and of what is made for all folds at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_automl import evaluate as evaluation
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ngrams
from fusion_automl.fusion.bench import Bench, _one_row_seconds
from fusion_automl.metrics import METRICS
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Node, Part, Ref
from fusion_automl.target import FittedTarget
from tests.contracts.rows import mixed_dataset

NEVER = Deadline.never()
GRAMS = ngrams.Grams("word", 1, 1)


class Counter:
    """An encoder that says how many different texts are remembered while it counts one."""

    def __init__(self) -> None:
        self.remembered = 0

    def transform(self, frame: pd.DataFrame) -> Any:
        ngrams.count(list(frame["title"]), GRAMS)
        memory = ngrams._remembered.get()
        self.remembered = len(memory[GRAMS].rows) if memory else 0
        return np.zeros((len(frame), 1), np.float32)


def test_one_row_is_priced_without_the_memory_of_the_run() -> None:
    frame, counter = mixed_dataset(rows=40).frame, Counter()
    part = Part(Node("encoders", Spec.of("tfidf"), "rows"), counter, FittedTarget())
    with ngrams.remember_texts():
        part.apply([], frame)
        assert counter.remembered > 20
        assert _one_row_seconds(part, [], frame) > 0
    assert counter.remembered == 1


def test_what_is_made_for_all_folds_is_counted_apart(checkpoints: dict[str, str], tmp_path: Path) -> None:
    dataset, store = mixed_dataset(rows=40), Store(tmp_path)
    first, second = (
        Bench(dataset, fold, store, 0, NEVER, NEVER, 1) for fold in make_split(dataset, num_folds=2, seed=0)
    )
    frozen = Spec.of("text_embedding", checkpoint=checkpoints["text"])
    assert first.encode(frozen) == second.encode(frozen)
    assert first.once_seconds > second.once_seconds > 0
    before = first.once_seconds
    assert first.encode(Spec.of("ordinal")) != second.encode(Spec.of("ordinal"))
    assert first.once_seconds == before


def test_a_fold_costs_what_the_next_one_will(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fit(candidate: Candidate, bench: Bench) -> Ref:
        bench.once_seconds = 1000.0
        return bench.head(Spec.of("prior"), [], "identity", learn_from="train")

    monkeypatch.setattr(evaluation, "fit_candidate", fit)
    dataset = mixed_dataset(rows=40)
    problem = evaluation.Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS["roc_auc"], 0)
    baseline = Candidate(Spec.of("baseline"))
    result = next(evaluation.evaluate(baseline, problem, Store(tmp_path), deadline=NEVER, threads=1))
    assert result.seconds < -900


@pytest.mark.parametrize(
    ("share", "once", "folds_left", "expected"),
    [
        (20.0, 0.0, 5, 20.0),
        (20.0, 10.0, 5, 28.0),  # the other folds pay their part of what is made once for all
        (1.0, 0.0, 5, 10.0),  # half of a fold's fair part, however much the encoders took
        (100.0, 30.0, 1, 100.0),
        (90.0, 60.0, 2, 100.0),  # never beyond the trial's end
    ],
)
def test_nets_of_one_fold_leave_the_others_their_time(
    share: float, once: float, folds_left: int, expected: float, tmp_path: Path
) -> None:
    dataset = mixed_dataset(rows=30)
    fold = make_split(dataset, num_folds=2, seed=0)[0]
    bench = Bench(
        dataset, fold, Store(tmp_path), 0, Deadline.after(100), Deadline.after(share), 1, folds_left=folds_left
    )
    bench.once_seconds = once
    assert bench._stop_by().seconds_left() == pytest.approx(expected, abs=0.5)
