"""Learns in which order candidates are best tried, one list for each mix of modalities, from measured runs.

    python benchmarks/learn_portfolio.py measure --mix tabular --out measured.jsonl [--seconds 1200] [--data FOLDER]
    python benchmarks/learn_portfolio.py learn measured.jsonl --mix tabular > search_spaces/portfolios/tabular.toml

`measure` evaluates a pool on one holdout of every dataset with this mix (the shared ones, cut to their columns of the mix
and to --rows, and those that come with scikit-learn): the default portfolio and, for each classical model, draws from the
default space. It can be stopped and taken up again.

`learn` builds the list greedily: next comes the candidate which adds most to a blend of those before it, per second that
it adds, averaged over datasets (as portfolios are built in TabRepo, Salinas and Erickson 2024, with time in the price).
What a candidate finds in the store because an earlier one made it costs nothing.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from cases import DATA

from fusion_automl.candidate import Candidate, Spec
from fusion_automl.data.prepare import prepare
from fusion_automl.data.schema import Modality, Schema
from fusion_automl.data.split import make_split
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FusionError
from fusion_automl.evaluate import Problem, evaluate
from fusion_automl.metrics import METRICS, default_metric, metric_for
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.read import read_space
from fusion_automl.search.sample import suggest
from fusion_automl.search.space import LocalSpace, component
from fusion_automl.store.disk import Store
from fusion_automl.target import is_skewed

DRAWS_PER_MODEL = 3
SECONDS_PER_CANDIDATE = 60.0
SIZE = 16
SPARE_SECONDS = 0.5
"""Added to the price of each candidate, so that one of no cost but next to no use does not come first."""
WORTH = 0.004
"""What a candidate must add to a blend's score (0 guesses, 1 is the best seen) to be listed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table with its target, and the columns that say too much."""

    name: str
    target: str
    ignore: tuple[str, ...] = ()


SHARED = (
    Source("german_credit", "class"),
    Source("credit_default", "default"),
    Source("adult", "income"),
    Source("ames_housing", "SalePrice"),
    Source("rotten_tomatoes", "label"),
    Source("womens_clothing", "Recommended IND", ("Rating",)),
    Source("womens_clothing", "Rating", ("Recommended IND",)),
    Source("houses", "price", ("house",)),
    Source("fashion_mnist", "label", ("class_name",)),
    Source("pneumonia_mnist", "label"),
    Source("ts_basicmotions", "label"),
    Source("ts_gunpoint", "label"),
    Source("ts_italypowerdemand", "label"),
)


def tables(data: Path) -> Iterator[tuple[Source, pd.DataFrame]]:
    """All datasets, those of scikit-learn included."""
    from sklearn import datasets

    for source in SHARED:
        path = data / source.name / "train.parquet"
        if path.exists():
            yield source, pd.read_parquet(path)
    for name in ("breast_cancer", "diabetes", "wine"):
        yield Source(name, "target"), getattr(datasets, f"load_{name}")(as_frame=True).frame
    digits = datasets.load_digits()
    yield Source("digits", "target"), pd.DataFrame({"image": list(map(_png, digits.images)), "target": digits.target})


def _png(pixels: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray((pixels * 15.9).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def problems(mix: tuple[Modality, ...], data: Path, rows: int) -> Iterator[tuple[str, Problem, LocalSpace]]:
    """Each dataset that has these modalities, without its other columns, with one holdout."""
    for source, frame in tables(data):
        sample = frame.sample(min(rows, len(frame)), random_state=0).reset_index(drop=True)
        dataset = prepare(sample, target=source.target, ignore=source.ignore).dataset
        if not set(mix) <= set(dataset.schema.modalities):
            continue
        columns = [column for column in dataset.schema.columns if column.name in _names(dataset.schema, mix)]
        kept = sample[[*(column.name for column in columns), source.target]]
        dataset = prepare(kept, target=source.target).dataset
        if set(dataset.schema.modalities) != set(mix):
            continue
        metric = metric_for(dataset.task, default_metric(dataset.task, dataset.y)[0])
        problem = Problem(dataset, make_split(dataset, num_folds=1, seed=0), metric, 0)
        skewed = not dataset.task.is_classification and is_skewed(dataset.y)
        local = read_space("default").restrict(dataset.schema, dataset.task, len(frame), skewed=skewed)
        yield f"{source.name}:{source.target}", problem, local


def _names(schema: Schema, mix: tuple[Modality, ...]) -> set[str]:
    return {name for modality in mix for name in schema.of_modality(modality)}


def pool(local: LocalSpace) -> list[Candidate]:
    """The portfolio, and random hyperparameters for each classical model over all modalities."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found = portfolio(local)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    draws: dict[str, int] = defaultdict(int)
    for _ in range(3000):
        candidate = suggest(study.ask(), local)
        whole = candidate.fusion.name == "concat" and len(candidate.encoders) == len(local.modalities)
        if whole and candidate.classical and draws[candidate.classical.name] < DRAWS_PER_MODEL:
            draws[candidate.classical.name] += 1
            found.append(candidate)
    return list(dict.fromkeys(found))


def measure(mix: tuple[Modality, ...], data: Path, rows: int, out: Path, seconds: float) -> None:
    """Appends one line for each candidate on each dataset that `out` does not have yet."""
    done = {(line["dataset"], line["key"]) for line in _lines(out)}
    deadline = Deadline.after(seconds)
    with tempfile.TemporaryDirectory() as folder:
        places = [
            (name, problem, pool(local), Store(Path(folder) / str(number)))
            for number, (name, problem, local) in enumerate(problems(mix, data, rows))
        ]
        for rank in range(max(len(candidates) for _, _, candidates, _ in places)):
            for name, problem, candidates, store in places:
                if rank >= len(candidates) or (name, candidates[rank].key) in done or deadline.passed():
                    continue
                line = {"mix": mix, "dataset": name, **measure_one(candidates[rank], problem, store)}
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name} {line['score']} {sum(line['nodes'].values()):.1f} s {candidates[rank].describe()}")


def measure_one(candidate: Candidate, problem: Problem, store: Store) -> dict[str, Any]:
    """Score, predictions, and the seconds of each node, however it came to the store."""
    line: dict[str, Any] = {"key": candidate.key, "candidate": candidate.to_json(), "score": None, "nodes": {}}
    deadline = Deadline.after(SECONDS_PER_CANDIDATE)
    try:
        result = next(evaluate(candidate, problem, store, deadline=deadline, threads=1))
    except FusionError as error:
        return {**line, "reason": str(error)}
    stats = {key: store.stats(key) for key in result.nodes}
    rows = len(problem.dataset)
    nodes = {key: each["fit_seconds"] + rows * each["apply_seconds_per_row"] for key, each in stats.items()}
    y = problem.dataset.y[problem.folds[0].valid]
    predictions = np.round(result.predictions, 5).tolist()
    return {
        **line,
        "score": result.score,
        "nodes": nodes,
        "metric": problem.metric.name,
        "y": y.tolist(),
        "oof": predictions,
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Blend:
    """The equal-weight blend of one dataset's candidates so far, and what one more would add."""

    def __init__(self, lines: list[dict[str, Any]]) -> None:
        self.lines = {line["key"]: line for line in lines if line["score"] is not None}
        first = next(iter(self.lines.values()))
        self.metric, self.y = METRICS[first["metric"]], np.array(first["y"])
        self.oof = {key: np.array(line["oof"]) for key, line in self.lines.items()}
        self.best = max(line["score"] for line in self.lines.values())
        self.guess = self._guess()
        self.total = np.zeros_like(next(iter(self.oof.values())))
        self.count = 0
        self.score = self.guess
        self.made: set[str] = set()

    def _guess(self) -> float:
        if self.y.dtype.kind == "f":
            typical = np.median(self.y) if self.metric.name == "mae" else self.y.mean()
            return self.metric.score(self.y, np.full((len(self.y), 1), typical))
        shares = np.bincount(self.y, minlength=next(iter(self.oof.values())).shape[1]) / len(self.y)
        return self.metric.score(self.y, np.tile(shares, (len(self.y), 1)))

    def with_one_more(self, key: str) -> tuple[float, int]:
        """The better of joining the blend and replacing it, as a score from 0 (a guess) to 1; and its new count."""
        joined = self.metric.score(self.y, (self.total + self.oof[key]) / (self.count + 1))
        alone = self.metric.score(self.y, self.oof[key])
        return (alone, 1) if alone > joined else (joined, self.count + 1)

    def gain(self, key: str) -> float:
        if key not in self.oof:
            return 0.0
        return float(max(0.0, self.with_one_more(key)[0] - self.score) / (self.best - self.guess))

    def price(self, key: str) -> float:
        if key not in self.lines:
            return 0.0
        return float(sum(seconds for node, seconds in self.lines[key]["nodes"].items() if node not in self.made))

    @property
    def tells_something(self) -> bool:
        """Whether most candidates are better than a guess; else what seems better than the others is chance."""
        return bool(sum(line["score"] > self.guess for line in self.lines.values()) > 0.5 * len(self.lines))

    def take(self, key: str) -> None:
        if key not in self.oof:
            return
        score, count = self.with_one_more(key)
        self.made |= set(self.lines[key]["nodes"])
        if score > self.score:
            self.total = self.oof[key] if count == 1 else self.total + self.oof[key]
            self.count, self.score = count, score


def learn(lines: list[dict[str, Any]]) -> list[tuple[Candidate, float, float]]:
    """The candidates in their order, with the mean gain and the mean seconds that each added."""
    by_dataset: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        by_dataset[line["dataset"]].append(line)
    measured = list(map(Blend, by_dataset.values()))
    blends = [blend for blend in measured if blend.tells_something] or measured
    candidates = {line["key"]: Candidate.from_json(line["candidate"]) for line in lines}
    # What few datasets have (a regression's log target) says little about the others.
    shared = {key: sum(key in blend.oof for blend in blends) for key in candidates}
    left = [key for key in candidates if shared[key] >= min(2, len(blends))]
    chosen: list[tuple[Candidate, float, float]] = []
    while left and len(chosen) < SIZE:
        gains = {key: float(np.mean([blend.gain(key) for blend in blends])) for key in left}
        prices = {key: float(np.mean([blend.price(key) for blend in blends])) for key in left}
        useful = [key for key in left if gains[key] >= WORTH]
        if not useful:
            break
        key = max(useful, key=lambda key: gains[key] / (SPARE_SECONDS + prices[key]))
        for blend in blends:
            blend.take(key)
        chosen.append((candidates[key], gains[key], prices[key]))
        left.remove(key)
    return chosen


def to_toml(
    chosen: list[tuple[Candidate, float, float]], lines: list[dict[str, Any]], mix: tuple[str, ...], max_rows: int
) -> str:
    datasets = sorted({line["dataset"] for line in lines})
    head = [
        f"# {' + '.join(mix)}: learned by benchmarks/learn_portfolio.py from {len(lines)} evaluations on",
        *(f"#   {name}" for name in datasets),
        "# What each entry added: share of the way from guessing to the best score seen, and seconds on one core.",
    ]
    body = []
    for candidate, gain, seconds in chosen:
        comment = f"  # +{gain:.3f}, {seconds:.1f} s"
        scope = f"mix = {json.dumps(list(mix))}\nmax_rows = {max_rows}"
        body.append(f"\n[[portfolio]]{comment}\n{_entry(candidate)}{scope}")
    return "\n".join([*head, *body]) + "\n"


def _entry(candidate: Candidate) -> str:
    lines = [f"fusion = {_inline(candidate.fusion)}"]
    for part, specs in (("encoder", candidate.encoders), ("backbone", candidate.backbones)):
        for modality, names in _by_modality(part, specs).items():
            value = names[0] if len(names) == 1 else f"[{', '.join(names)}]"
            lines.append(f"{part}s.{modality} = {value}")
    if candidate.classical:
        lines.append(f"classical = {_inline(candidate.classical)}")
    if candidate.members:
        members = [", ".join(_entry(member).strip().split("\n")) for member in candidate.members]
        lines.append("members = [\n" + "".join(f"    {{{member}}},\n" for member in members) + "]")
    if candidate.target != "identity":
        lines.append(f'target = "{candidate.target}"')
    return "\n".join(lines) + "\n"


def _by_modality(part: Any, specs: tuple[Spec, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for spec in specs:
        found[component(part, spec.name).modality].append(_inline(spec))
    return found


def _inline(spec: Spec) -> str:
    if not spec.params:
        return json.dumps(spec.name)
    params = ", ".join(
        f"{name} = {json.dumps(float(f'{value:.4g}') if isinstance(value, float) else value)}"
        for name, value in spec.params
    )
    return f"{{name = {json.dumps(spec.name)}, {params}}}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("--mix", required=True, help="modalities joined by +")
    measuring.add_argument("--out", type=Path, required=True)
    measuring.add_argument("--data", type=Path, default=DATA)
    measuring.add_argument("--rows", type=int, default=2000)
    measuring.add_argument("--seconds", type=float, default=1200.0)
    learning = commands.add_parser("learn")
    learning.add_argument("measured", type=Path)
    learning.add_argument("--mix", required=True)
    learning.add_argument(
        "--max-rows", type=int, default=5000, help="data for which the list is meant; nets gain with rows"
    )
    arguments = parser.parse_args()
    mix: Any = tuple(arguments.mix.split("+"))
    if arguments.command == "measure":
        measure(mix, arguments.data, arguments.rows, arguments.out, arguments.seconds)
        return
    lines = [line for line in _lines(arguments.measured) if tuple(line["mix"]) == mix]
    sys.stdout.write(to_toml(learn(lines), lines, mix, arguments.max_rows))


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
