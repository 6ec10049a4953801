"""The loop behind every backbone: schedule, early stopping, clipping, divergence and the deadline."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fusion_automl.backbones.batches import make_batches
from fusion_automl.backbones.nets.base import Net, batch_loss, holdout_loss, isolated, predict
from fusion_automl.backbones.optimizer import make_optimizer
from fusion_automl.backbones.recipe import Recipe, learning_rate_factor, plan_epochs, plan_first_epochs
from fusion_automl.backbones.train import Training, train
from fusion_automl.deadline import Deadline
from fusion_automl.errors import FitError, OutOfTime
from fusion_automl.task import Task

BINARY = Task("binary", "y", ("no", "yes"))
VALUES = Task("regression", "y")
RECIPE = Recipe(learning_rate=0.05, weight_decay=0.0, epochs=20, patience=20, batch_size=32)


class OneLayer(Net):
    """A net of one hidden layer; `seconds` makes each step slow."""

    def __init__(self, num_outputs: int, *, seconds: float = 0.0) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 8)
        self.head = nn.Linear(8, num_outputs)
        self.embedding_size = 8
        self.seconds = seconds

    def embed(self, *inputs: Tensor) -> Tensor:
        if self.seconds:
            time.sleep(self.seconds)
        states: Tensor = self.hidden(inputs[0]).tanh()
        return states


def points(rows: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy((x[:, 0] + x[:, 1] > 0).astype(np.int64))


def run(recipe: Recipe = RECIPE, *, net: Net | None = None, flip: bool = False, **others: Any) -> tuple[Net, Training]:
    """Trains on 200 points; `flip` swaps the classes of the holdout rows, so that learning makes them ever worse."""
    with isolated(0, 1):
        net = net or OneLayer(2)
    x, y = points(200)
    held_x, held_y = points(60, seed=1)
    settings: dict[str, Any] = {"seed": 0, "deadline": Deadline.never(), "threads": 1} | others
    return net, train(net, (x,), y, (held_x,), 1 - held_y if flip else held_y, BINARY, recipe, **settings)


def test_the_learning_rate_climbs_in_a_line_and_comes_down_in_half_a_cosine() -> None:
    factors = [learning_rate_factor(step, 110, warmup=10 / 110) for step in range(110)]
    assert factors[:10] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert factors[10] == 1.0
    assert factors[60] == pytest.approx(0.5)
    assert factors[35] == pytest.approx(0.5 + 0.5 * 2**-0.5)
    assert 0 < factors[109] < 0.001
    assert learning_rate_factor(500, 110, warmup=0.1) == 0.0


@pytest.mark.parametrize(
    ("done", "seconds_per_epoch", "seconds_left", "planned"),
    [(0, 1.0, float("inf"), 20), (0, 1.0, 100.0, 20), (0, 1.0, 10.0, 9), (3, 2.0, 5.0, 5), (3, 2.0, 1.0, 3)],
)
def test_as_many_epochs_are_planned_as_fit_with_a_little_to_spare(
    done: int, seconds_per_epoch: float, seconds_left: float, planned: int
) -> None:
    assert plan_epochs(done, wanted=20, seconds_per_epoch=seconds_per_epoch, seconds_left=seconds_left) == planned


def test_training_learns_and_ends_with_a_learning_rate_near_zero() -> None:
    _, training = run()
    assert len(training.epochs) == 20
    assert training.epochs[-1].holdout_loss < 0.15 < 0.5 < training.epochs[0].loss
    assert training.epochs[-1].learning_rate < 0.001 < 0.04 < max(epoch.learning_rate for epoch in training.epochs)


def test_it_stops_when_patience_is_over_and_keeps_the_best_epoch() -> None:
    net, training = run(Recipe(0.05, 0.0, epochs=20, patience=3, batch_size=32), flip=True)
    losses = [epoch.holdout_loss for epoch in training.epochs]
    assert training.best_epoch == int(np.argmin(losses))
    assert len(losses) == training.best_epoch + 1 + 3
    assert min(losses) < losses[-1] - 0.1
    held_x, held_y = points(60, seed=1)
    with torch.inference_mode():
        again = holdout_loss(predict(net(held_x), is_classification=True), 1 - held_y)
    assert again == pytest.approx(min(losses), abs=2e-3)  # bfloat16 in training, float32 here
    assert not net.training


def test_gradients_are_clipped_to_length_one() -> None:
    with isolated(0, 1):
        net = OneLayer(1)
    x, _ = points(64)
    far = 1e4 * x[:, 0]
    recipe = Recipe(0.01, 0.0, epochs=1, patience=1, batch_size=64)
    train(net, (x,), far, (x,), far, VALUES, recipe, seed=0, deadline=Deadline.never(), threads=1)
    gradients = [weight.grad for weight in net.parameters() if weight.grad is not None]
    assert float(torch.cat([gradient.flatten() for gradient in gradients]).norm()) == pytest.approx(1.0, abs=1e-4)


def test_a_loss_that_is_not_finite_raises_fit_error() -> None:
    x, y = points(50)
    x[7, 2] = torch.nan
    with pytest.raises(FitError, match=r"training diverged in epoch 1: loss nan.*Try a smaller learning_rate"):
        train(OneLayer(2), (x,), y, (x,), y, BINARY, RECIPE, seed=0, deadline=Deadline.never(), threads=1)


def test_only_matrices_are_decayed() -> None:
    decayed, left_alone = make_optimizer(OneLayer(2), RECIPE).param_groups
    assert [weight.ndim for weight in decayed["params"]] == [2, 2]
    assert [weight.ndim for weight in left_alone["params"]] == [1, 1]
    assert left_alone["weight_decay"] == 0.0


def test_without_holdout_rows_the_training_loss_decides() -> None:
    x, y = points(100)
    training = train(
        OneLayer(2), (x,), y, (x[:0],), y[:0], BINARY, RECIPE, seed=0, deadline=Deadline.never(), threads=1
    )
    assert training.epochs[training.best_epoch].holdout_loss == min(epoch.loss for epoch in training.epochs)


class OfLengths(OneLayer):
    """Rows run in order of one of their values, a few at a time."""

    evaluation_rows = 7

    def lengths(self, *inputs: Tensor) -> Tensor:
        return inputs[0][:, 2]


def test_holdout_rows_that_run_in_another_order_are_judged_by_their_own_targets() -> None:
    net, training = run(replace(RECIPE, epochs=1), net=OfLengths(2))
    x, y = points(60, seed=1)
    with torch.inference_mode():
        loss = float(nn.functional.cross_entropy(net(x), y))
    assert training.epochs[0].holdout_loss == pytest.approx(loss, rel=1e-2)  # bfloat16, where there is AMX


def test_every_epoch_is_reported() -> None:
    seen: list[tuple[int, float, float]] = []
    _, training = run(report=lambda epoch, loss, score: seen.append((epoch, loss, score)))
    assert seen == [(index, epoch.loss, epoch.holdout_loss) for index, epoch in enumerate(training.epochs)]


def fed(x: Tensor, y: Tensor, *, shards: int, asked: list[tuple[int, int]] | None = None) -> Any:
    """A feed of the points in so many shards; the last has a few rows less."""
    size = -(-len(y) // shards)

    def feed(epoch: int, limit: int) -> Any:
        if asked is not None:
            asked.append((epoch, limit))
        first = (epoch - 1) % shards * size
        return ((x[first : first + size].numpy(),), y[first : first + size].numpy()) if epoch else None

    return feed


def test_an_epoch_learns_from_the_rows_that_it_is_fed() -> None:
    asked: list[tuple[int, int]] = []
    seen: list[float] = []
    x, y = points(590, seed=2)

    def look(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.extend(batch[0][:, 0].tolist())
        return batch

    recipe = Recipe(0.05, 0.0, epochs=5, patience=20, batch_size=32)
    _, training = run(recipe, feed=fed(x, y, shards=3, asked=asked), augment=look)
    assert asked == [(epoch, 200) for epoch in range(5)]
    rates = [epoch.learning_rate for epoch in training.epochs]
    assert rates == pytest.approx([epoch.learning_rate for epoch in run(recipe)[1].epochs], rel=0.05)
    own, all_fed = sorted(points(200)[0][:, 0].tolist()), x[:, 0].tolist()
    assert sorted(seen[:200]) == own
    shards = [all_fed[:197], all_fed[197:394], all_fed[394:], all_fed[:197]]
    for start, shard in zip((200, 397, 594, 790), shards, strict=True):
        assert sorted(seen[start : start + len(shard)]) == sorted(shard)
    assert len(seen) == 200 + 590 + 197


def test_rows_that_are_fed_tell_what_few_rows_cannot() -> None:
    x, y = points(2000, seed=2)
    few_x, few_y = points(16)
    held_x, held_y = points(400, seed=1)

    def loss(feed: Any) -> float:
        with isolated(0, 1):
            net = OneLayer(2)
        settings: dict[str, Any] = {"seed": 0, "deadline": Deadline.never(), "threads": 1, "feed": feed}
        found = train(net, (few_x,), few_y, (held_x,), held_y, BINARY, RECIPE, **settings)
        return found.epochs[found.best_epoch].holdout_loss

    alone = loss(None)
    assert loss(fed(x, y, shards=100)) < 0.75 * alone


def test_batches_hold_every_row_once_and_no_batch_holds_one_row() -> None:
    with isolated(0, 1):
        batches = make_batches(65, 16, lengths=None)
        whole = make_batches(64, 16, lengths=None)
    assert [len(batch) for batch in batches] == [16, 16, 16, 16]  # the 65th row sits out this epoch
    assert sorted(torch.cat(whole).tolist()) == list(range(64))
    assert len(make_batches(1, 16, lengths=None)) == 1


def test_rows_of_similar_length_share_a_batch() -> None:
    lengths = torch.arange(640) % 64
    with isolated(0, 1):
        batches = make_batches(640, 20, lengths=lengths)
    assert sorted(torch.cat(batches).tolist()) == list(range(640))
    assert max(int(lengths[batch].max() - lengths[batch].min()) for batch in batches) <= 3
    assert [int(lengths[batch].min()) for batch in batches] != sorted(int(lengths[b].min()) for b in batches)


def test_ensemble_members_are_taught_one_by_one_and_speak_together() -> None:
    outputs = torch.tensor([[[2.0, 0.0], [0.0, 1.0]], [[0.0, 0.0], [3.0, 0.0]]])
    targets = torch.tensor([0, 1])
    one_by_one = nn.functional.cross_entropy(outputs.flatten(0, 1), torch.tensor([0, 0, 1, 1]))
    assert float(batch_loss(outputs, targets)) == pytest.approx(float(one_by_one))
    expected = outputs.double().softmax(-1).mean(1)
    assert torch.equal(predict(outputs, is_classification=True), expected)


def test_an_epoch_that_cannot_fit_is_given_up_after_its_first_steps() -> None:
    with pytest.raises(OutOfTime, match=r"one epoch takes about \d+ s and \d+ s are left"):
        run(
            Recipe(0.01, 0.0, epochs=5, patience=5, batch_size=2),
            net=OneLayer(2, seconds=0.08),
            deadline=Deadline.after(2.0),
        )


def test_the_deadline_in_the_first_epoch_raises_out_of_time() -> None:
    with pytest.raises(OutOfTime, match=r"after \d+ of 10 steps"):
        run(Recipe(0.01, 0.0, 5, 5, batch_size=32), net=OneLayer(2, seconds=0.1), deadline=Deadline.after(0.15))


class Clock:
    """Stands still but for the steps of a net, each of which takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def tick(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        self.now += 1.0
        return batch


@pytest.mark.parametrize(("seconds", "steps"), [(80.0, 40), (50.0, 27), (35.0, 13)])
def test_an_epoch_that_does_not_fit_is_cut_short_with_a_whole_schedule(
    monkeypatch: pytest.MonkeyPatch, seconds: float, steps: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    recipe = Recipe(0.05, 0.0, epochs=5, patience=5, batch_size=5)
    net, training = run(recipe, deadline=Deadline.after(seconds), augment=clock.tick)
    assert len(training.epochs) == 1
    assert clock.now == steps  # of 40
    assert training.epochs[0].learning_rate < 0.05 * recipe.learning_rate
    x, y = points(60, seed=1)
    with torch.inference_mode():
        loss = float(nn.functional.cross_entropy(net(x), y))
    assert training.epochs[0].holdout_loss == pytest.approx(loss, rel=1e-2)  # bfloat16, where there is AMX


def test_a_step_that_slows_down_ends_an_epoch_of_which_a_quarter_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    seen: list[float] = []

    def tick(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(clock.now)
        clock.now += 100.0 if len(seen) == 14 else 1.0
        return batch

    recipe = Recipe(0.05, 0.0, epochs=5, patience=5, batch_size=5)
    _, training = run(recipe, deadline=Deadline.after(60.0), augment=tick)
    assert len(seen) == 14
    assert len(training.epochs) == 1


def test_a_part_of_an_epoch_gets_shorter_when_steps_slow_down(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    seen: list[float] = []

    def tick(batch: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        seen.append(clock.now)
        clock.now += 1.2 if len(seen) > 10 else 1.0
        return batch

    recipe = Recipe(0.05, 0.0, epochs=5, patience=5, batch_size=5)
    _, training = run(recipe, deadline=Deadline.after(60.0), augment=tick)
    assert 25 < len(seen) < 35  # of 40; 37 were planned after the first ten
    assert training.epochs[0].learning_rate < 0.2 * recipe.learning_rate


@pytest.mark.parametrize(
    ("seconds_left", "steps"),
    [(float("inf"), 2000), (300.0, 200), (160.0, 100), (149.0, 91), (140.0, 83), (80.0, 26), (78.0, 0)],
)
def test_a_first_epoch_is_cut_short_where_it_leaves_no_time_to_apply_it(seconds_left: float, steps: int) -> None:
    assert plan_first_epochs(100, wanted=20, seconds_per_step=1.0, seconds_left=seconds_left) == steps


def test_a_short_budget_shrinks_the_schedule_to_the_epochs_that_fit() -> None:
    recipe = Recipe(0.05, 0.0, epochs=1000, patience=1000, batch_size=32)
    _, training = run(recipe, net=OneLayer(2, seconds=0.01), deadline=Deadline.after(1.5))
    rates = [epoch.learning_rate for epoch in training.epochs]
    assert 2 <= len(rates) < 30
    assert rates[-1] < 0.25 * max(rates)
