import json
import subprocess
import sys
from dataclasses import replace

import pytest

from fusion_automl.candidate import Candidate, Spec, digest
from fusion_automl.classical import CLASSICAL
from fusion_automl.component import build, unknown
from fusion_automl.errors import SpaceError

TREE = Candidate(Spec.of("concat"), encoders=(Spec.of("ordinal"),), classical=Spec.of("decision_tree", max_depth=3))
NET = Candidate(Spec.of("backbone"), backbones=(Spec.of("text_cnn"),), target="log")
BOTH = Candidate(Spec.of("stack", C=0.5), members=(TREE, NET))


def test_json_and_back_is_the_same_candidate() -> None:
    assert Candidate.from_json(json.loads(json.dumps(BOTH.to_json()))) == BOTH


def test_the_key_is_the_start_of_the_sha256_of_sorted_json_in_every_process() -> None:
    script = (
        "import sys, json; from fusion_automl.candidate import Candidate;"
        "print(Candidate.from_json(json.load(sys.stdin)).key)"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(BOTH.to_json()), capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == BOTH.key
    assert BOTH.key == digest(BOTH.to_json()) and len(BOTH.key) == 12


def test_hyperparameters_have_no_order() -> None:
    assert Spec.of("a", x=1, y=2) == Spec.of("a", y=2, x=1)


def test_names_of_parts_are_collected_from_members() -> None:
    assert BOTH.all_backbones() == ("text_cnn",)
    assert BOTH.all_encoders() == ("ordinal",)
    assert BOTH.all_classical() == ("decision_tree",)
    assert BOTH.describe() == "stack(concat(ordinal -> decision_tree), backbone(text_cnn, log target))"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    assert unknown("column", "pricce", ["price", "size"]) == (
        "unknown column 'pricce'. Did you mean 'price'? Known: price, size."
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (Spec.of("decision_treee"), "classical: unknown name 'decision_treee'. Did you mean 'decision_tree'?"),
        (Spec.of("decision_tree", depth=3), "[classical.decision_tree]: unknown hyperparameter 'depth'."),
        (Spec.of("decision_tree", max_depth="deep"), "[classical.decision_tree]: max_depth must be int like"),
    ],
)
def test_building_from_a_wrong_spec_says_what_is_wrong(spec: Spec, message: str) -> None:
    with pytest.raises(SpaceError) as error:
        build(CLASSICAL, spec, where="classical")
    assert message in str(error.value)


def test_a_balance_is_part_of_the_key_but_none_leaves_the_key_as_it_was() -> None:
    smote = replace(TREE, balance="smote")
    assert smote.describe() == "concat(ordinal -> decision_tree, smote)"
    assert Candidate.from_json(json.loads(json.dumps(smote.to_json()))) == smote
    assert smote.key != TREE.key and "balance" not in TREE.to_json()
