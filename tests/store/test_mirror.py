"""Working copies of a run in a bucket, with a real S3 server: what goes up, what comes down, and what when it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.classical.prior import FittedPrior
from fusion_automl.data.arrow import to_arrow
from fusion_automl.data.shards import SHARDS, Shards, shard_path
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.errors import BucketError
from fusion_automl.evaluate import Problem
from fusion_automl.fusion.bench import Bench
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Ledger, Report
from fusion_automl.search.problem import DATA, pull_problem, push_problem, read_problem, write_problem
from fusion_automl.store.disk import Made, Store
from fusion_automl.store.mirror import DONE, Mirror, place
from fusion_automl.store.node import Node, Part, Ref
from fusion_automl.target import FittedTarget
from tests.contracts.rows import mixed_dataset
from tests.proxy import Proxy, proxy_to

NODE = Node("classical", Spec.of("prior"), "rows-a")
CANDIDATE = Candidate(Spec.of("concat"), (Spec.of("ordinal"),), (), Spec.of("decision_tree"))
Machine = Callable[[str], Mirror]


@pytest.fixture
def proxy(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxy_to(s3.endpoint) as found:
        monkeypatch.setenv("AWS_ENDPOINT_URL", found.endpoint)
        yield found


@pytest.fixture
def machine(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Machine:
    """Makes the mirror of this test's run on a machine of that name, which has a cache of its own."""

    def make(name: str) -> Mirror:
        monkeypatch.setenv("FUSION_AUTOML_CACHE", str(tmp_path / name))
        _, mirror = place(f"s3://fusion/mirror/{request.node.name}", patience=2.0)
        assert mirror is not None
        return mirror

    return make


def _store(mirror: Mirror) -> Store:
    return Store(mirror.folder / "store", mirror)


def _fit(calls: list[int], *, seconds: float = 0.5, num_rows: int = 3) -> Callable[[], Made]:
    def make() -> Made:
        calls.append(1)
        part = Part(NODE, FittedPrior(np.array([0.25, 0.75])), FittedTarget())
        return Made(part, {"prediction": np.arange(2.0 * num_rows).reshape(num_rows, 2)}, None, seconds, 0.0, 0.01)

    return make


def _record(mirror: Mirror, nodes: tuple[str, ...] = ()) -> str:
    report = Report(CANDIDATE.key, "done", 0.5, (0.5,), 1.0, 0.5, 0, 1, outputs=(), nodes=nodes)
    Ledger(mirror.folder, mirror).record(CANDIDATE, report, [np.full((4, 2), 0.5)])
    return CANDIDATE.key


def test_a_node_is_fitted_on_one_machine_for_all(machine: Machine) -> None:
    calls: list[int] = []
    here = _store(machine("a"))
    key = here.obtain(NODE, _fit(calls), deadline=Deadline.never())
    here.push([key])

    there = _store(machine("b"))
    assert there.obtain(NODE, _fit(calls), deadline=Deadline.never()) == key
    assert (len(calls), there.hits, there.misses) == (1, 1, 0)
    np.testing.assert_array_equal(there.read(Ref(key, "prediction"), np.array([2])), [[4.0, 5.0]])
    assert there.part(key).apply([], np.zeros((1, 1)))["prediction"].tolist() == [[0.25, 0.75]]


def test_done_goes_up_last_and_what_lacks_it_is_not_there(machine: Machine, proxy: Proxy) -> None:
    mirror = machine("a")
    store = _store(mirror)
    key = store.obtain(NODE, _fit([]), deadline=Deadline.never())
    store.push([key])
    puts = proxy.paths("PUT")
    assert puts[-1].endswith(f"store/{key}/{DONE}") and len(puts) == len(set(puts)) > 4
    store.push([key])
    assert proxy.paths("PUT") == puts, "it is there already"

    mirror.bucket.remove([f"store/{key}/{DONE}"])
    other = machine("b")
    assert not other.pull(f"store/{key}") and not (other.folder / "store").exists()


def test_outputs_that_move_slower_than_they_are_made_stay(machine: Machine, proxy: Proxy) -> None:
    calls: list[int] = []
    here = _store(machine("a"))
    key = here.obtain(NODE, _fit(calls, seconds=0.001, num_rows=10_000), deadline=Deadline.never())
    here.push([key])
    assert not any("prediction" in path for path in proxy.paths("PUT"))

    there = _store(machine("b"))
    assert not there.has([key])
    there.bring([key])
    assert there.stats(key)["fit_seconds"] == 0.001 and there.state(key).is_dir()
    there.obtain(NODE, _fit(calls, num_rows=10_000), deadline=Deadline.never())
    assert len(calls) == 2


def test_shards_of_rows_are_fetched_when_a_net_asks_for_them(machine: Machine) -> None:
    dataset = mixed_dataset(rows=20)
    mirror = machine("a")
    folder = mirror.folder / DATA / SHARDS
    folder.mkdir(parents=True)
    pq.write_table(to_arrow(dataset.frame, dataset.schema, {"y": dataset.y}), shard_path(folder, 0))
    (folder / DONE).touch()
    dataset = replace(dataset, beyond=Shards(folder, (20,), dataset.schema))
    problem = Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS["roc_auc"], 0)
    write_problem(mirror.folder, problem, {})
    push_problem(mirror)

    other = machine("b")
    pull_problem(other)
    beyond = read_problem(other.folder).dataset.beyond
    assert beyond and not beyond.folder.exists()
    found, never = read_problem(other.folder), Deadline.never()
    bench = Bench(found.dataset, found.folds[0], _store(other), 0, never, never, 1)
    bench.encode(Spec.of("ordinal"))
    assert not beyond.folder.exists()
    bench.train(Spec.of("text_cnn", epochs=2), "identity")
    frame, y = beyond.read(0, limit=20, seed=0)
    pd.testing.assert_frame_equal(frame, dataset.frame)
    np.testing.assert_array_equal(y, dataset.y)

    mirror.remove(f"{DATA}/{SHARDS}")
    third = machine("c")
    with pytest.raises(BucketError, match="has no data/shards, which nets learn from"):
        _store(third).bring_shards(beyond, deadline=Deadline.never())


def test_a_trial_goes_up_after_its_nodes_and_tells_of_them(machine: Machine, proxy: Proxy) -> None:
    mirror = machine("a")
    node = _store(mirror).obtain(NODE, _fit([]), deadline=Deadline.never())
    key = _record(mirror, nodes=(node,))
    done = [path.partition("mirror/")[2].split("/", 1)[1] for path in proxy.paths("PUT") if path.endswith(DONE)]
    assert done == [f"store/{node}/{DONE}", f"trials/{key}/{DONE}"]

    other = machine("b")
    trial = Ledger(other.folder, other).fetch(key)
    assert trial is not None and trial.candidate == CANDIDATE and trial.report.nodes == (node,)
    assert _store(other).node(node) == NODE and not (other.folder / "store" / node).exists()
    assert Ledger(other.folder).oof(key)[0].shape == (4, 2)


def test_asking_the_ledger_asks_the_bucket_seldom(machine: Machine, proxy: Proxy) -> None:
    key = _record(machine("a"))
    other = machine("b")
    ledger = Ledger(other.folder, other)
    proxy.passed.clear()
    for _ in range(50):
        assert ledger.get(key) is None and ledger.trials() == []
    assert proxy.passed == []
    for _ in range(50):
        ledger.pull_news()
    assert [trial.report.key for trial in ledger.trials()] == [key]
    assert sum("list-type" in path for path in proxy.paths("GET")) == 1


def test_a_trial_that_is_dropped_is_dropped_from_the_bucket(machine: Machine) -> None:
    mirror = machine("a")
    ledger = Ledger(mirror.folder, mirror)
    ledger.record(CANDIDATE, Report(CANDIDATE.key, "out_of_time", None, (), 1.0, 0.5, 0, 1))
    assert ledger.drop_unfinished() == 1
    other = machine("b")
    Ledger(other.folder, other).pull()
    assert Ledger(other.folder).trials() == [] and mirror.bucket.files("trials") == []


def test_a_bucket_that_fails_for_a_while_is_waited_for(machine: Machine, proxy: Proxy) -> None:
    mirror = machine("a")
    mirror.bucket.patience = 60.0
    proxy.failing, proxy.num_failures, proxy.seconds = ("/",), 3, 0.2
    mirror.bucket.write("name", b"content")
    assert len(proxy.paths("PUT")) == 4 and mirror.bucket.lost is None
    assert mirror.bucket.read("name") == b"content"


def test_a_bucket_that_fails_for_ever_is_given_up(machine: Machine, proxy: Proxy) -> None:
    mirror = machine("a")
    proxy.failing = ("/",)
    started = time.monotonic()
    with pytest.raises(
        BucketError, match=r"^s3://fusion/mirror/.*: the bucket gave nothing but errors for 2 s, the last"
    ):
        mirror.bucket.write("name", b"content")
    assert time.monotonic() - started < 10.0 and mirror.bucket.lost is not None
    proxy.passed.clear()
    with pytest.raises(BucketError):
        mirror.bucket.read("name")
    assert proxy.passed == [], "for a while nothing more is tried"


def test_a_store_without_its_bucket_fits_and_a_trial_stays_here(machine: Machine, proxy: Proxy) -> None:
    mirror = machine("a")
    proxy.failing = ("/",)
    calls: list[int] = []
    node = _store(mirror).obtain(NODE, _fit(calls), deadline=Deadline.never())
    with pytest.raises(BucketError, match="nothing but errors"):
        _record(mirror, nodes=(node,))
    assert len(calls) == 1 and Ledger(mirror.folder).get(CANDIDATE.key) is not None

    proxy.failing = ()
    time.sleep(mirror.bucket.patience)
    Ledger(mirror.folder, mirror).push(CANDIDATE.key)
    other = machine("b")
    assert Ledger(other.folder, other).fetch(CANDIDATE.key) is not None


def test_wrong_keys_are_told_at_once(machine: Machine, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    with pytest.raises(BucketError, match=r"access was denied.*AWS_ACCESS_KEY_ID"):
        machine("a").bucket.write("name", b"")
    assert len(proxy.passed) == 1


def test_a_missing_bucket_is_told_at_once(proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSION_AUTOML_CACHE", str(tmp_path))
    with pytest.raises(BucketError, match="there is no bucket 'no-such-bucket'"):
        Mirror("s3://no-such-bucket/run").bucket.write("name", b"")


@pytest.mark.parametrize("uri", ["s3://", "s3:///run", "s3://AKIA1:hunter2@bucket/run"])
def test_a_malformed_uri_is_refused_without_repeating_secrets(uri: str) -> None:
    with pytest.raises(BucketError, match="expected s3://bucket/folder") as refused:
        place(uri)
    assert "AKIA1" not in str(refused.value) and "hunter2" not in str(refused.value)
