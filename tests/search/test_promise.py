from fusion_automl.candidate import Candidate, Spec
from fusion_automl.search.ledger import Trial
from fusion_automl.search.promise import Promise
from tests.search.loop import done, failed


def test_a_family_promises_what_its_best_reached_among_all() -> None:
    kinds = [Candidate(Spec.of("concat"), classical=Spec.of(name)) for name in ("ridge", "knn", "svm", "lightgbm")]
    promise = Promise()
    assert promise.of(kinds[0]) == 0.5
    for candidate, score in zip([*kinds[:3], kinds[0]], (0.9, 0.7, 0.6, 0.5), strict=True):
        promise.learn(Trial(candidate, done(candidate, score)))
    promise.learn(Trial(kinds[3], failed(kinds[3])))
    assert [promise.of(candidate) for candidate in kinds] == [1.0, 0.75, 0.5, 0.5]
