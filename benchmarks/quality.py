"""Test scores side by side: the ensemble, its best single candidates, and a plain peer, in one run on one machine.

The peer is what a practitioner writes first: LightGBM with defaults on ordinal codes, TF-IDF words and grey pixels, on all
training rows. For each dataset: `fit` as a user calls it, nothing said but the target and the columns to ignore.

    python benchmarks/quality.py [--budget 120] [--only german_credit,houses] [--data FOLDER]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cases import DATA

from fusion_automl import fit
from fusion_automl.artifact.artifact import Artifact
from fusion_automl.assemble import make_manifest
from fusion_automl.data.prepare import prepare_rows
from fusion_automl.ensemble.build import Ensemble
from fusion_automl.ensemble.field import make_field
from fusion_automl.evidence.gains import is_classical, is_deep, is_fused, modalities_of
from fusion_automl.metrics import METRICS
from fusion_automl.search.ledger import Ledger, Trial
from fusion_automl.search.problem import read_problem
from fusion_automl.store.disk import Store


@dataclass(frozen=True, slots=True)
class Case:
    """A dataset, what to say to `fit` about it, and the mark that its test score must reach."""

    name: str
    target: str
    ignore: tuple[str, ...]
    metric: str
    mark: float


CASES = (
    Case("german_credit", "class", (), "roc_auc", 0.80),
    Case("womens_clothing", "Recommended IND", ("Rating",), "roc_auc", 0.955),
    Case("rotten_tomatoes", "label", (), "accuracy", 0.785),
    Case("houses", "price", ("house",), "mae", 195_000),
    Case("fashion_mnist", "label", ("class_name",), "accuracy", 0.875),
)


def run_case(case: Case, budget: float, data: Path, out: Path) -> dict[str, Any]:
    """One dataset: our fit, then the singles out of the same run, then the peer."""
    train, test = data / case.name / "train.parquet", data / case.name / "test.parquet"
    began = time.perf_counter()
    result = fit(train, target=case.target, ignore=case.ignore, test=test, out=out, budget=budget)
    seconds = time.perf_counter() - began
    problem, ledger, store = read_problem(out), Ledger(out), Store(out / "store")
    frame, y = prepare_rows(test, problem.dataset.schema, problem.dataset.task, where=str(test))
    assert y is not None

    def score(trial: Trial | None) -> float | None:
        if trial is None:
            return None
        manifest = make_manifest(problem, store, Ensemble(((trial, 1.0),), 0.0, np.empty(0)))
        artifact = Artifact(manifest, {key: store.part(key) for key in manifest.nodes})
        return METRICS[case.metric].value(y, artifact.run(frame))

    ranked = make_field(problem, ledger).trials

    def best(wanted: Any) -> Trial | None:
        return next((trial for trial in ranked if wanted(trial.candidate)), None)

    row = {
        "name": case.name,
        "metric": case.metric,
        "mark": case.mark,
        "ensemble": result.summary["test"][case.metric],
        "best single": score(ranked[0]),
        "best deep": score(best(is_deep)),
        "best classical": score(best(is_classical)),
        "best fused": score(best(is_fused)),
        "LightGBM": peer(train, test, case, problem.dataset.task.kind),
        "seconds": seconds,
        "trials": result.summary["num_trials"],
        "by modality": {
            modality: score(best(lambda candidate, only=modality: modalities_of(candidate) == {only}))
            for modality in problem.dataset.schema.modalities
        },
        "fusion_gain": result.summary["fusion_gain"],
        "modality_gains": result.summary["modality_gains"],
        "members": [f"{m['weight']:.2f} {m['candidate']}" for m in result.summary["members"]],
    }
    return row


def peer(train: Path, test: Path, case: Case, kind: str) -> float:
    """LightGBM with defaults on the columns, TF-IDF of texts and 28 x 28 grey pixels of images."""
    import lightgbm
    import scipy.sparse
    from sklearn.feature_extraction.text import TfidfVectorizer

    from fusion_automl.data.images import decode_images
    from fusion_automl.data.infer import infer_schema
    from fusion_automl.data.target import encode_target, infer_task

    tables = [pd.read_parquet(path) for path in (train, test)]
    schema = infer_schema(tables[0], exclude={case.target, *case.ignore})
    blocks: list[list[Any]] = [[], []]
    for name in schema.names("numeric", "boolean"):
        for block, table in zip(blocks, tables, strict=True):
            block.append(table[name].to_numpy(dtype=np.float32)[:, None])
    for name in schema.names("category"):
        codes = {value: code for code, value in enumerate(tables[0][name].dropna().astype(str).unique())}
        for block, table in zip(blocks, tables, strict=True):
            block.append(table[name].astype(str).map(codes).to_numpy(dtype=np.float32)[:, None])
    for name in schema.names("text"):
        words = TfidfVectorizer(min_df=3, max_features=5000).fit(tables[0][name].fillna(""))
        for block, table in zip(blocks, tables, strict=True):
            block.append(words.transform(table[name].fillna("")).astype(np.float32))
    for name in schema.names("image"):
        for block, table in zip(blocks, tables, strict=True):
            block.append(
                decode_images(list(table[name]), size=28, channels=1).reshape(len(table), -1).astype(np.float32)
            )
    sparse = any(scipy.sparse.issparse(part) for part in blocks[0])
    X, X_test = (scipy.sparse.hstack(block, format="csr") if sparse else np.hstack(block) for block in blocks)
    task = infer_task(tables[0][case.target], case.target)
    y, y_test = (encode_target(table[case.target], task, where="peer") for table in tables)
    if kind == "regression":
        model = lightgbm.LGBMRegressor(verbose=-1).fit(X, y)
        return METRICS[case.metric].value(y_test, model.predict(X_test)[:, None])
    model = lightgbm.LGBMClassifier(verbose=-1).fit(X, y)
    return METRICS[case.metric].value(y_test, model.predict_proba(X_test))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=120.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    wanted = [case for case in CASES if not options.only or case.name in options.only.split(",")]
    columns = ("ensemble", "best single", "best deep", "best classical", "best fused", "LightGBM", "mark")
    print(
        f"{'dataset':17}{'metric':9}" + "".join(f"{column:>15}" for column in columns) + f"{'seconds':>9}{'trials':>8}"
    )
    rows = []
    for case in wanted:
        with tempfile.TemporaryDirectory() as folder:
            row = run_case(case, options.budget, options.data, Path(folder) / "run")
        rows.append(row)
        cells = "".join(
            f"{row[c]:15,.4f}"
            if row[c] is not None and abs(row[c]) < 1000
            else f"{row[c] or '-':>15,.0f}"
            if row[c]
            else f"{'-':>15}"
            for c in columns
        )
        print(f"{row['name']:17}{row['metric']:9}{cells}{row['seconds']:9.1f}{row['trials']:8d}", flush=True)
        better = METRICS[case.metric].greater_is_better
        ratio = row["ensemble"] / row["LightGBM"] if better else row["LightGBM"] / row["ensemble"]
        print(f"{'':17}ratio to LightGBM {ratio:.3f} (above 1 is better)")
        for modality, value in row["by modality"].items():
            if len(row["by modality"]) > 1 and value is not None:
                print(f"{'':17}best with {modality} alone: {value:,.4f}")
        for modality, gain in row["modality_gains"].items():
            if gain:
                print(f"{'':17}{modality} adds {gain['value']:+.4g} (p = {gain['p_value']:.3g})")
        if row["fusion_gain"]:
            print(f"{'':17}fusing gains {row['fusion_gain']['value']:+.4g} (p = {row['fusion_gain']['p_value']:.3g})")
        for member in row["members"]:
            print(f"{'':17}{member}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
