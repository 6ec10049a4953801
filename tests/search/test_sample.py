"""The joint space as draws: every candidate can be drawn, found again, and named alike everywhere."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest

from fusion_automl.candidate import Candidate
from fusion_automl.data.schema import Modality
from fusion_automl.errors import SpaceError
from fusion_automl.search.portfolio import portfolio
from fusion_automl.search.read import branch
from fusion_automl.search.sample import candidate_of, params_of, suggest
from fusion_automl.search.space import MODALITIES, LocalSpace, fit_space, fusion_level
from fusion_automl.task import TaskKind
from tests.search.spaces import small_space

optuna.logging.set_verbosity(optuna.logging.WARNING)

MIXES = [mix for size in (1, 2, 4) for mix in itertools.combinations(MODALITIES, size)]
NUM_DRAWS = 60


def local(folder: Path, mix: tuple[Modality, ...] = MODALITIES, task: TaskKind = "regression") -> LocalSpace:
    return fit_space(small_space(folder), mix, task, 1000, skewed=True, imbalanced=True)


def random_draws(place: LocalSpace, number: int = NUM_DRAWS, seed: int = 0) -> list[tuple[Candidate, dict[str, Any]]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    trials = [study.ask() for _ in range(number)]
    return [(suggest(trial, place), dict(trial.params)) for trial in trials]


@pytest.mark.parametrize("mix", MIXES, ids="+".join)
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_a_candidate_and_its_draw_determine_each_other(
    tmp_path: Path, mix: tuple[Modality, ...], task: TaskKind
) -> None:
    place = local(tmp_path, mix, task)
    for candidate in [*portfolio(place), *(candidate for candidate, _ in random_draws(place))]:
        params = params_of(candidate, place)
        assert params is not None
        trial = optuna.trial.FixedTrial(json.loads(json.dumps(params)))
        assert suggest(trial, place) == candidate
        assert trial.params == params  # none too many, none missing
        assert candidate_of(params, place) == candidate
        assert Candidate.from_json(json.loads(json.dumps(candidate.to_json()))) == candidate


def test_draws_keep_the_rules_of_their_fusions(tmp_path: Path) -> None:
    drawn = [candidate for candidate, _ in random_draws(local(tmp_path), 400)]
    levels = {level: [c for c in drawn if fusion_level(c.fusion.name) == level] for level in ("none", "data", "model")}
    decision = [candidate for candidate in drawn if candidate.members]
    assert all(len(c.backbones) == 1 and not c.encoders and not c.classical for c in levels["none"])
    assert all(c.encoders and not c.backbones and c.classical for c in levels["data"])
    nets = [c for c in levels["model"] if c.fusion.name in ("gated_net", "hybrid")]
    assert nets and all(len(c.backbones) == 2 for c in nets)  # texts and images have nets in this space
    assert all(bool(c.classical) == (c.fusion.name != "gated_net") for c in levels["model"])
    assert all(c.backbones for c in levels["model"])
    assert any(c.encoders for c in levels["model"]) and not all(c.encoders for c in levels["model"])
    for candidate in decision:
        branches = [branch(member) for member in candidate.members]
        assert 2 <= len(branches) <= 3 and len(set(branches)) == len(branches)
        assert candidate.target == "identity" and not any(member.members for member in candidate.members)
    assert min(map(len, [*levels.values(), decision])) > 50
    assert {len(candidate.members) for candidate in decision} == {2, 3}
    assert {member.target for candidate in decision for member in candidate.members} == {"identity", "log"}


def test_names_can_be_nested_and_ask_one_question_each(tmp_path: Path) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    place, asked = local(tmp_path), dict[str, Any]()
    for _ in range(400):
        trial = study.ask()
        suggest(trial, place)
        for name, distribution in trial.distributions.items():
            assert asked.setdefault(name, distribution) == distribution
    folders = {name[:i] for name in asked for i in range(len(name)) if name[i] == "/"}
    assert not folders & set(asked)  # Ray Tune cannot nest "a" beside "a/b"


def test_a_meta_model_may_see_features_beside_its_members(tmp_path: Path) -> None:
    drawn = [candidate for candidate, _ in random_draws(local(tmp_path), 400) if candidate.members]
    stacks = [candidate for candidate in drawn if candidate.fusion.name == "stack"]
    assert {candidate.classical is None for candidate in stacks} == {True, False}
    assert any(candidate.encoders for candidate in stacks)
    assert all(candidate.classical for candidate in stacks if candidate.encoders)
    assert not any(c.classical or c.encoders for c in drawn if c.fusion.name == "average")


def test_rare_classes_are_balanced_where_there_are_any(tmp_path: Path) -> None:
    place = local(tmp_path, task="multiclass")
    balances = {candidate.balance for candidate, _ in random_draws(place, 200) if candidate.classical}
    assert balances == {"none", "oversample", "undersample", "smote", "weights"}
    values = {candidate.balance for candidate, _ in random_draws(local(tmp_path, task="regression"), 200)}
    assert values == {"none"}


def test_an_entry_for_one_mix_is_for_no_other(tmp_path: Path) -> None:
    balanced = [
        mix
        for mix in MIXES
        if any(candidate.balance != "none" for candidate in portfolio(local(tmp_path, mix, "binary")))
    ]
    assert balanced == [("text", "image")]


def test_a_candidate_outside_the_space_has_no_draw(tmp_path: Path) -> None:
    wide, narrow = local(tmp_path), local(tmp_path, ("tabular",))
    lost = [c for c, _ in random_draws(wide) if not set(c.all_encoders()) <= {"ordinal", "onehot"}]
    assert lost and all(params_of(candidate, narrow) is None for candidate in lost)
    first = portfolio(narrow)[0].to_json()
    first["classical"]["num_leaves"] = 65
    assert params_of(Candidate.from_json(first), narrow) is None
    first["classical"] = {"name": "unheard_of"}
    assert params_of(Candidate.from_json(first), narrow) is None
    with pytest.raises(SpaceError, match=r"level: expected one of \['data', 'decision'\], got None"):
        candidate_of({}, narrow)


def test_tpe_learns_in_the_space_and_repeats_itself(tmp_path: Path) -> None:
    place = local(tmp_path, ("tabular", "text"))

    def keys(seed: int) -> list[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # group=True
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, n_startup_trials=5)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for candidate in portfolio(place):
            study.enqueue_trial(params_of(candidate, place) or {})
        found = []
        for _ in range(40):
            trial = study.ask()
            found.append(suggest(trial, place))
            study.tell(trial, float("ridge" in found[-1].all_classical()) - 0.1 * len(found[-1].members))
        assert found[: len(portfolio(place))] == portfolio(place)
        late = found[-15:]
        assert sum("ridge" in candidate.all_classical() for candidate in late) > len(late) / 2
        return [candidate.key for candidate in found]

    assert keys(3) == keys(3)
    assert keys(3) != keys(4)


def test_keys_are_equal_in_another_process(tmp_path: Path) -> None:
    candidates = [*portfolio(local(tmp_path)), *(candidate for candidate, _ in random_draws(local(tmp_path), 20))]
    program = (
        "import json, sys; from fusion_automl.candidate import Candidate;"
        "print(json.dumps([Candidate.from_json(value).key for value in json.load(sys.stdin)]))"
    )
    sent = json.dumps([candidate.to_json() for candidate in candidates])
    done = subprocess.run([sys.executable, "-c", program], input=sent, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [candidate.key for candidate in candidates]
