"""What a candidate will cost in seconds and bytes, learned from the fits of the run."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fusion_automl.backbones import BACKBONES
from fusion_automl.candidate import Candidate, Spec
from fusion_automl.component import Table, build
from fusion_automl.encoders import ENCODERS, STATES
from fusion_automl.encoders.frozen_embedding import whole
from fusion_automl.search.follow import Net, nets
from fusion_automl.search.ledger import Report, Trial
from fusion_automl.store.disk import Store
from fusion_automl.store.node import Node

MAX_POINTS = 100
"""The latest fits of a kind that are looked at: asking must not cost more the longer a search goes on."""
UNSEEN_NET = 2.0
"""Typical trials that the first net of a run is taken to cost."""
TUNED_FOLD = 1.6
"""Runs of a whole frozen net over all rows that a fold takes in which some of its layers are tuned, until such a net was
trained: an epoch of MiniLM's last three layers takes 1.25, and so this is three quarters of one, and applying what was learned.
Without it 45 s of 600 went to states of 18,788 reviews, on which no net had the time to learn."""
SHRINKAGE = 1.0
"""Weighs against slopes as much as one fit does whose sizes are e times the usual."""
OUTLIER = 4.5
"""Times the median deviation (3 standard deviations of a normal): what lies farther, such as a fit that paid for imports,
counts as if it lay there."""

Sizes = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Piece:
    """A fit that a candidate needs: what it is, the kinds it may be compared with from the nearest on, its sizes; the kinds of
    the frozen nets whose layers it tunes, and whether it is made `once` for all folds."""

    what: Spec | Net | Candidate
    kinds: tuple[str, ...]
    sizes: Sizes
    tunes: tuple[str, ...] = ()
    once: bool = False


class Regression:
    """Logarithms of a positive quantity against those of sizes; few points say little more than their median."""

    def __init__(self) -> None:
        self._points: deque[tuple[Sizes, float]] = deque(maxlen=MAX_POINTS)

    def learn(self, sizes: Sizes, value: float) -> None:
        self._points.append((sizes, math.log(max(value, 1e-4))))

    def __len__(self) -> int:
        return len(self._points)

    def predict(self, sizes: Sizes) -> float:
        """What is expected at these sizes, never more than twice beyond what was seen."""
        y = np.array([value for _, value in self._points])
        usual = float(np.median(y))
        names = sorted(sizes)
        if len(y) < 3 or not names:
            return math.exp(usual)
        X = np.array([[known.get(name, sizes[name]) for name in names] for known, _ in self._points])
        centre = np.median(X, axis=0)
        far = OUTLIER * float(np.median(np.abs(y - usual)))
        away = np.clip(y - usual, -far, far)
        X = X - centre
        slopes = np.linalg.solve(X.T @ X + SHRINKAGE * np.eye(len(names)), X.T @ away)
        expected = usual + float(slopes @ (np.array([sizes[name] for name in names]) - centre))
        return math.exp(min(max(expected, float(y.min()) - math.log(2)), float(y.max()) + math.log(2)))


class CostModel:
    """Seconds by the parts of a candidate that the store does not have yet, bytes by its family and its sizes.

    A backbone that ran out of time on its own would do so again in every fusion that needs it, and so would a frozen net under
    another head, let alone one whose layers are tuned: those cost infinitely much.
    """

    def __init__(self, store: Store, *, rows: int, num_folds: int) -> None:
        self._store = store
        self._rows = rows
        self._num_folds = num_folds
        self._seconds: dict[str, Regression] = defaultdict(Regression)
        self._bytes: dict[str, Regression] = defaultdict(Regression)
        self._least: dict[str, int] = {}
        self._base = math.inf
        self._nodes: set[str] = set()
        self._stored: set[Spec | Net | Candidate] = set()
        self._too_slow: set[Spec | Net | Candidate] = set()
        self._slow_runs: set[str] = set()
        self._trials: list[float] = []

    def learn(self, trial: Trial) -> None:
        """Takes what a trial fitted, and what it left in the store where it had all folds."""
        candidate, report = trial.candidate, trial.report
        if candidate.fusion.name == "backbone" and report.status == "out_of_time":
            self._too_slow |= set(candidate.backbones)
        if report.status == "out_of_time" and not report.fold_scores:
            # What `paced` says of a frozen net: it ran once for all folds, and will not be faster under another head.
            slow = [piece for piece in pieces(candidate) if piece.once and _ran_out(piece, report)]
            self._too_slow |= {piece.what for piece in slow}
            self._slow_runs |= {kind for piece in slow for kind in piece.kinds}
        for key in report.nodes:
            if key not in self._nodes:
                self._nodes.add(key)
                self._learn_node(key, candidate)
        if report.status == "done":
            self._stored |= {piece.what for piece in pieces(candidate)}
        if report.fold_scores:
            self._trials.append(report.seconds)
        if report.peak_bytes:
            self._base = min(self._base, report.peak_bytes)
            self._bytes[candidate.describe()].learn(_sizes(*_specs(candidate)), report.peak_bytes)
            for spec in _specs(candidate):
                self._least[spec.name] = min(self._least.get(spec.name, report.peak_bytes), report.peak_bytes)

    def _learn_node(self, key: str, candidate: Candidate) -> None:
        node, stats = self._store.node(key), self._store.stats(key)
        rows = self._rows / self._num_folds if node.table == "classical" else self._rows
        seconds = stats["fit_seconds"] + rows * stats["apply_seconds_per_row"]
        for kind in _kinds_of(node, candidate):
            self._seconds[kind].learn(_sizes(*(node.parts or (node.spec,))), seconds)

    def seconds(self, candidate: Candidate) -> float:
        """The expected seconds over all folds; a kind of part that was never seen costs what its like do, or nothing, but a
        net as much as UNSEEN_NET trials."""
        missing = self._missing(candidate)
        backbones = {spec for part in (candidate, *candidate.members) for spec in part.backbones}
        if self._too_slow & (backbones | {piece.what for piece in missing}):
            return math.inf
        if any(self._slow_runs & set(piece.tunes) for piece in missing):
            return math.inf
        return sum((1 if piece.once else self._num_folds) * self._piece_seconds(piece) for piece in missing)

    def embeds(self, candidate: Candidate) -> bool:
        """Whether the candidate needs a matrix that is made once for all folds and was not made yet."""
        return any(piece.once and piece.kinds[0].startswith("encoders") for piece in self._missing(candidate))

    def _missing(self, candidate: Candidate) -> tuple[Piece, ...]:
        return tuple({piece.what: piece for piece in pieces(candidate) if piece.what not in self._stored}.values())

    def _piece_seconds(self, piece: Piece) -> float:
        nearest = next((kind for kind in piece.kinds if kind in self._seconds), None)
        if nearest is not None:
            seconds = self._seconds[nearest].predict(piece.sizes)
        else:
            seconds = UNSEEN_NET * self.typical_seconds() / self._num_folds if isinstance(piece.what, Net) else 0.0
        if nearest == piece.kinds[0]:
            return seconds
        runs = (self._seconds[kind].predict({}) for kind in piece.tunes if kind in self._seconds)
        return max(seconds, TUNED_FOLD * sum(runs))

    def typical_seconds(self) -> float:
        """The median over the trials that finished a fold."""
        return statistics.median(self._trials) if self._trials else 0.0

    def bytes(self, candidate: Candidate) -> float:
        """The memory a process is expected to need beyond what it has in any trial. For a family that was never seen this is
        the most that any of its parts had at the least, and 0 where none of them was seen."""
        family = candidate.describe()
        if family in self._bytes:
            peak = self._bytes[family].predict(_sizes(*_specs(candidate)))
        else:
            peak = max((self._least.get(spec.name, 0) for spec in _specs(candidate)), default=0)
        return max(0.0, peak - self._base)


def pieces(candidate: Candidate) -> Iterator[Piece]:
    """What must be fitted for a candidate in each fold; what takes next to no time, as combiners, is left out."""
    for member in candidate.members:
        yield from pieces(member)
    for spec in candidate.encoders:
        once = not getattr(build(ENCODERS, spec, where="encoder"), "learns", True)
        needed = whole(spec) if once else spec
        yield Piece(needed, _encoder_kinds(needed), _sizes(needed), once=once)
    for net in () if candidate.members else nets(candidate):
        name = " + ".join(spec.name for spec in net.backbones)
        below = [spec for spec in map(_below, net.backbones) if spec]
        for spec in below:
            yield Piece(spec, _states_kinds(spec), _sizes(spec), once=True)
        tunes = tuple(kind for spec in below for kind in _runs(STATES, spec))
        yield Piece(net, (f"nets {name}", "nets"), _sizes(*net.backbones), tunes=tunes)
    if candidate.classical:
        yield Piece(candidate, _head_kinds(candidate), _sizes(candidate.classical))


def _ran_out(piece: Piece, report: Report) -> bool:
    return isinstance(piece.what, Spec) and report.reason.startswith(f"{piece.what.name}: batch ")


def _below(backbone: Spec) -> Spec | None:
    """The frozen layers whose states a backbone learns on, if it is one that does."""
    below = getattr(build(BACKBONES, backbone, where="backbone"), "below", None)
    found: Spec | None = below() if below else None
    return found


def _encoder_kinds(spec: Spec) -> tuple[str, ...]:
    return (f"encoders {spec.name}", *_runs(ENCODERS, spec), "encoders")


def _states_kinds(spec: Spec) -> tuple[str, ...]:
    """States of lower layers are at first taken to cost what the whole net does."""
    return (f"states {spec.name}", *_runs(STATES, spec))


def _runs(table: Table, spec: Spec) -> tuple[str, ...]:
    """The kind of a run of a whole frozen net over all rows, if there is one in this component."""
    checkpoint = getattr(build(table, spec, where="encoder"), "checkpoint", None)
    return (f"runs of {checkpoint}",) if checkpoint else ()


def _head_kinds(candidate: Candidate) -> tuple[str, ...]:
    """A classical model takes longest on the widest features, so it is first compared on the same ones."""
    assert candidate.classical is not None
    name = candidate.classical.name
    beside = " + ".join(spec.name for spec in (*candidate.backbones, *candidate.encoders))
    return f"heads {name} on {beside}", f"heads {name}", "heads"


def _kinds_of(node: Node, candidate: Candidate) -> tuple[str, ...]:
    """The kinds of the piece that a node of this candidate was fitted for."""
    if node.table == "classical":
        owners = [part for part in (candidate, *candidate.members) if part.classical == node.spec]
        return _head_kinds(owners[0]) if owners else ()
    if node.table in ("backbones", "networks"):
        return f"nets {' + '.join(spec.name for spec in node.parts or (node.spec,))}", "nets"
    if node.table == "states":
        return _states_kinds(node.spec)[:1]
    return _encoder_kinds(node.spec) if node.table == "encoders" else ()


def _specs(candidate: Candidate) -> tuple[Spec, ...]:
    own = (*candidate.backbones, *candidate.encoders, *((candidate.classical,) if candidate.classical else ()))
    return (candidate.fusion, *own, *(spec for member in candidate.members for spec in _specs(member)))


def _sizes(*specs: Spec) -> dict[str, float]:
    """Logarithms of the whole-numbered hyperparameters: rounds, depths, widths and the like."""
    return {
        f"{spec.name}.{name}": math.log(value)
        for spec in specs
        for name, value in spec.params
        if isinstance(value, int) and not isinstance(value, bool) and value > 0
    }
