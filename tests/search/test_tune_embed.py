"""Frozen nets over all CPUs before the trials: the numbers and the trials are those of one process."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusion_automl.candidate import Spec
from fusion_automl.component import build
from fusion_automl.data.dataset import Dataset
from fusion_automl.data.schema import Schema
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ENCODERS
from fusion_automl.evaluate import Problem
from fusion_automl.fitting import Quiet
from fusion_automl.metrics import METRICS
from fusion_automl.search import inline, tune
from fusion_automl.search.ledger import Ledger
from fusion_automl.search.plan import Plan
from fusion_automl.search.problem import write_problem
from fusion_automl.search.read import read_space
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Node, Ref
from tests.contracts.rows import mixed_dataset

ROWS, STEP = 120, 50
"""Two texts a row; from 256 cells on, processors that multiply bfloat16 do, and numbers move by 0.002 with their batch."""

SPACE = """
name = "frozen"
description = "Frozen nets under a linear model."

[encoder.text_embedding]
checkpoint = "{text}"
components = {{choice = [0, 3]}}

[encoder.image_embedding]
checkpoint = "{image}"

[classical.logistic]

[fusion.concat]

[[portfolio]]
fusion = "concat"
encoders.text = {{name = "text_embedding", components = 3}}
encoders.image = "image_embedding"
classical = "logistic"

[[portfolio]]
fusion = "concat"
encoders.text = "text_embedding"
classical = "logistic"
"""


def plan(run: Path, dataset: Dataset, checkpoints: dict[str, str]) -> Plan:
    write_problem(run, Problem(dataset, make_split(dataset, num_folds=2, seed=0), METRICS["roc_auc"], 0), {})
    (run / "space.toml").write_text(SPACE.format(**checkpoints))
    space = read_space(run / "space.toml").restrict(dataset.schema, dataset.task, len(dataset))
    return Plan(run, space, 0, 2, Deadline.after(200), 100.0, 2, threads=2, max_concurrent=2)


def texts_and_images() -> Dataset:
    data = mixed_dataset(rows=ROWS)
    schema = Schema(tuple(column for column in data.schema.columns if column.kind in ("text", "image")))
    return replace(data, frame=data.frame[list(schema.used)], schema=schema)


def test_the_pool_embeds_what_one_process_would_and_the_trials_find_it(
    tmp_path: Path, checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fusion_automl.search import tune_embed

    for name, value in {"MIN_ROWS": ROWS, "POOL_SECONDS": 0.0, "STEP": STEP}.items():
        monkeypatch.setattr(tune_embed, name, value)
    caplog.set_level(logging.INFO, logger="fusion_automl")
    dataset = texts_and_images()
    tune.search(plan(tmp_path / "ray", dataset, checkpoints), Quiet())
    assert not [record for record in caplog.messages if "left to the trials" in record]

    store = Store(tmp_path / "ray" / "store")
    nodes = {store.node(path.parent.name).spec: path.parent for path in store.folder.glob("*/DONE")}
    for name in ("text", "image"):
        spec = Spec.of(f"{name}_embedding", checkpoint=checkpoints[name])
        folder = nodes[spec] / "matrix.parts"
        assert sorted(path.name for path in folder.iterdir()) == [
            "000000.parquet", "000001.parquet", "000002.parquet", "parts.json"
        ]  # fmt: skip
        fitted = build(ENCODERS, spec, where="").fit(dataset, seed=0, deadline=Deadline.never(), threads=1)
        rows = np.array([119, 3, 50, 49, 3])
        found = store.read(Ref(nodes[spec].name, "matrix"), rows)
        np.testing.assert_allclose(found, fitted.transform(dataset.frame)[rows], atol=1e-5)

    inline.search(plan(tmp_path / "inline", dataset, checkpoints), Quiet())
    ours, theirs = ({t.candidate.key: t.report for t in Ledger(tmp_path / name).trials()} for name in ("ray", "inline"))
    assert len(ours) == 3 and {report.status for report in ours.values()} == {"done"}
    for key, report in ours.items():
        assert report.fold_scores == pytest.approx(theirs[key].fold_scores, abs=1e-6)
    assert sum(report.misses for report in theirs.values()) == sum(report.misses for report in ours.values()) + 2


def test_what_one_process_does_as_soon_is_left_to_the_trials(
    tmp_path: Path, checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from fusion_automl.search import tune_embed
    from fusion_automl.search.tune_cluster import Slots

    caplog.set_level(logging.INFO, logger="fusion_automl")
    asked = plan(tmp_path, texts_and_images(), checkpoints)
    tune_embed.embed_ahead(asked, Slots(2, 1))
    assert not caplog.messages and not (tmp_path / "store").exists()
    monkeypatch.setattr(tune_embed, "MIN_ROWS", ROWS)
    tune_embed.embed_ahead(asked, Slots(1, 2))
    assert not caplog.messages
    tune_embed.embed_ahead(asked, Slots(2, 1))
    assert [message.partition(" s")[0] for message in caplog.messages] == [
        f"{name}_embedding is left to the trials: {ROWS} rows take one process 0" for name in ("text", "image")
    ]
    assert not list((tmp_path / "store").glob("*/DONE"))


def test_a_piece_that_fails_says_where_and_whether_time_was_short(tmp_path: Path, checkpoints: dict[str, str]) -> None:
    from fusion_automl.search.tune_embed import start
    from fusion_automl.search.tune_pool import read_files

    dataset = texts_and_images()
    dataset.frame.at[70, "photo"] = b"no image"
    plan(tmp_path / "run", dataset, checkpoints)
    spec = Spec.of("image_embedding", checkpoint=checkpoints["image"])
    fitted = build(ENCODERS, spec, where="").fit(dataset, seed=0, deadline=Deadline.never(), threads=1)
    (tmp_path / "state").mkdir()
    fitted.save(tmp_path / "state")
    files, run, node = read_files(tmp_path / "state"), str(tmp_path / "run"), Node("encoders", spec, "all")

    work = start(files, run=run, bucket_patience=0, node=node, ends_at=time.time() + 1000)
    good, bad = work({"start": 10, "stop": 60}), work({"start": 60, "stop": 110})
    expected = fitted.transform(dataset.frame.iloc[10:60]).tobytes()
    assert (good["start"], good["stop"], good["problem"], good["vectors"]) == (10, 60, "", expected)
    assert bad["problem"].startswith("rows 60 to 109: photo: row 10 (rows count from 0): the image is broken")
    assert not bad["late"] and bad["vectors"] == b""
    late = start(files, run=run, bucket_patience=0, node=node, ends_at=time.time())({"start": 0, "stop": 60})
    assert late["late"] and late["vectors"] == b""
