"""A table larger than memory from end to end: nets learn from shards of what its sample left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusion_automl import fitting
from fusion_automl.candidate import digest
from fusion_automl.fitting import fit
from fusion_automl.fusion.bench import rows_id
from fusion_automl.search.problem import SETTINGS, read_problem
from fusion_automl.store.disk import Store

SPACE = """
name = "one net"
description = "A small net and a tree."
[backbone.tabm]
epochs = 3
num_members = 2
num_blocks = 1
block_size = 16
[classical.decision_tree]
[encoder.ordinal]
[fusion.backbone]
[fusion.concat]
[[portfolio]]
fusion = "backbone"
backbones = {tabular = "tabm"}
[[portfolio]]
fusion = "concat"
encoders = {tabular = "ordinal"}
classical = "decision_tree"
"""


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of it holds a quarter of the table below."""
    monkeypatch.setattr(fitting, "available_bytes", lambda: 8 * 28_000)


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"x{column}": rng.normal(size=3000) for column in range(4)})
    frame["y"] = np.where(frame["x0"] + frame["x1"] > 0, "yes", "no")
    frame.sort_values("y").assign(who=np.arange(3000) // 5).to_parquet(tmp_path / "table.parquet")
    (tmp_path / "one.toml").write_text(SPACE)
    return {
        "data": tmp_path / "table.parquet",
        "target": "y",
        "space": tmp_path / "one.toml",
        "budget": 60,
        "folds": 2,
        "max_trials": 3,
        "out": tmp_path / "run",
    }


def notes_of(told: Path) -> list[str]:
    notes: list[str] = json.loads(told.read_text())["notes"]
    assert any(note.startswith("A random sample of") for note in notes)
    return [note for note in notes if note.startswith("Nets learn")]


@pytest.mark.usefixtures("little_memory")
def test_nets_learn_from_shards_and_a_resume_finds_their_nodes(options: dict[str, Any], tmp_path: Path) -> None:
    fit(**options)
    problem = read_problem(tmp_path / "run")
    beyond = problem.dataset.beyond
    assert beyond and len(problem.dataset) < 1000 < 2000 < sum(beyond.num_rows)
    assert notes_of(tmp_path / "run" / "summary.json") == [
        f"Nets learn from {sum(beyond.num_rows):,} of the other rows as well, in each epoch after the first from the next of "
        f"{len(beyond)} shards; all else, and every score, goes by the sample."
    ]
    store = Store(tmp_path / "run" / "store")
    nodes = [store.node(path.parent.name) for path in store.folder.glob("*/node.json")]
    rows = [rows_id(problem.dataset, fold.fit, seed=problem.seed) for fold in problem.folds]
    of_nets = {node.rows for node in nodes if node.table == "backbones"}
    assert {digest([each, beyond.name], length=16) for each in rows} <= of_nets
    assert of_nets.isdisjoint(node.rows for node in nodes if node.table != "backbones")

    fit(out=tmp_path / "run", resume=True, budget=90, max_trials=3)
    assert len(list(store.folder.glob("*/node.json"))) == len(nodes)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"max_rows": 500}, []),
        ({"space": "no nets"}, []),
        (
            {"group": "who"},
            ["Nets learn from the sample alone, too: other rows may be of groups or times that it is judged by."],
        ),
    ],
)
def test_there_are_none_where_they_must_not_be_or_nothing_asks_for_them(
    options: dict[str, Any], tmp_path: Path, more: dict[str, Any], expected: list[str]
) -> None:
    if more.get("space"):
        without = (
            SPACE[: SPACE.index("[backbone.tabm]")] + SPACE[SPACE.index("[classical") : SPACE.index("[[portfolio]]")]
        )
        (tmp_path / "none.toml").write_text(without.replace("[fusion.backbone]\n", ""))
        more = {"space": tmp_path / "none.toml"}
    (tmp_path / "run").mkdir()
    asked = options | more
    settings = {"budget": 60.0, "space": asked["space"], "max_rows": asked.get("max_rows")}
    columns = {"group": asked.get("group"), "task_kind": None}
    fitting._begin(
        tmp_path / "run",
        asked["data"],
        where="run",
        target="y",
        settings=settings,
        metric=None,
        seed=0,
        folds=2,
        columns=columns,
    )
    assert read_problem(tmp_path / "run").dataset.beyond is None
    assert notes_of(tmp_path / "run" / SETTINGS) == expected
    assert not (tmp_path / "run" / "data" / "shards").exists()
