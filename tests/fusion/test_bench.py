"""What the bench measures: the price of one row, and of what is made for all folds at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fusion_automl import evaluate as evaluation
from fusion_automl.backbones.network import Network
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.arrow import to_arrow
from fusion_automl.data.beyond import with_shards
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.prepare import prepare
from fusion_automl.data.sample import Bound
from fusion_automl.data.shards import Shards, shard_path
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ngrams
from fusion_automl.encoders.text_states import TextStates
from fusion_automl.errors import OutOfTime
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


def test_states_leave_time_to_learn_on_them(
    checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def fit(encoder: TextStates, data: Dataset, *, seed: int, deadline: Deadline, threads: int) -> None:
        seen.append(deadline.seconds_left())
        raise OutOfTime("enough")

    monkeypatch.setattr(TextStates, "fit", fit)
    dataset = mixed_dataset(rows=40)
    fold = make_split(dataset, num_folds=2, seed=0)[0]
    bench = Bench(dataset, fold, Store(tmp_path), 0, Deadline.after(100), Deadline.after(50), 1)
    with pytest.raises(OutOfTime):
        bench.train(Spec.of("text_lora", checkpoint=checkpoints["text"]), "identity")
    assert seen == [pytest.approx(40, abs=1)]


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


def many_numbers(rows: int, *, seed: int) -> pd.DataFrame:
    """A class that 40 columns tell together."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 40))
    frame = pd.DataFrame(x, columns=[f"x{column}" for column in range(40)])
    frame["y"] = np.where(x.sum(axis=1) + rng.normal(size=rows) > 0, "yes", "no")
    return frame


def test_a_net_learns_from_rows_beyond_the_sample(tmp_path: Path) -> None:
    spec = Spec.of("tabm", epochs=12, num_members=2, num_blocks=1, block_size=16, num_bins=4, batch_size=32)
    many_numbers(4000, seed=0).to_parquet(tmp_path / "table.parquet")
    prepared = prepare(tmp_path / "table.parquet", target="y", bound=Bound(240))
    assert prepared.left_out
    alone = prepared.dataset
    beyond = with_shards(alone, prepared.left_out, tmp_path / "shards", seconds=1e6, max_bytes=1e12)[0]
    fresh = many_numbers(2000, seed=1)
    scores, keys = [], []
    for dataset in (alone, beyond):
        fold = make_split(dataset, num_folds=1, seed=0)[0]
        bench = Bench(dataset, fold, Store(tmp_path / "store"), 0, NEVER, NEVER, 1)
        key = bench.train(spec, "identity")[1].node
        found = bench.store.part(key).fitted.forward(fresh).prediction
        scores.append(METRICS["roc_auc"].score((fresh.y == "yes").to_numpy().astype(np.int64), found))
        keys.append(key)
    assert keys[0] != keys[1]
    assert scores[1] > scores[0] + 0.03


def test_only_what_learns_from_rows_beyond_the_sample_has_another_key(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    def keys(dataset: Dataset) -> dict[str, str]:
        fold = make_split(dataset, num_folds=2, seed=0)[0]
        bench = Bench(dataset, fold, Store(tmp_path / "store"), 0, NEVER, NEVER, 1)
        ordinal = bench.encode(Spec.of("ordinal"))
        parts = (Spec.of("tabm", epochs=1), Spec.of("text_cnn", epochs=1))
        lora = Spec.of("text_lora", checkpoint=checkpoints["text"], epochs=1)
        return {
            "encoder": ordinal.node,
            "head": bench.head(Spec.of("decision_tree"), [ordinal], "identity", learn_from="train").node,
            "backbone": bench.train(parts[0], "identity")[0].node,
            "network": bench.network(Network(epochs=1).spec, parts, "identity")[0].node,
            "on stored states": bench.train(lora, "identity")[0].node,
        }

    dataset = mixed_dataset(rows=40)
    other = mixed_dataset(rows=80, seed=1)
    (tmp_path / "shards").mkdir()
    for number in range(2):
        rows = other.take(np.arange(40 * number, 40 * (number + 1)))
        pq.write_table(to_arrow(rows.frame, rows.schema, {"y": rows.y}), shard_path(tmp_path / "shards", number))
    alone, beyond = (
        keys(each) for each in (dataset, replace(dataset, beyond=Shards(tmp_path / "shards", (40, 40), dataset.schema)))
    )
    assert {part for part in alone if alone[part] != beyond[part]} == {"backbone", "network"}


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
