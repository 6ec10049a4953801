from fusion_automl.search.prune import MIN_FINISHED, hopeless

FINISHED = [(0.1 * rank, 0.9) for rank in range(1, 8)]  # first folds 0.1 .. 0.7


def test_below_the_median_over_the_same_folds_is_hopeless() -> None:
    assert hopeless([0.39], FINISHED)
    assert not hopeless([0.4], FINISHED)
    assert not hopeless([0.2, 1.2], FINISHED)  # mean 0.7 against a median of 0.65


def test_few_finished_trials_say_nothing() -> None:
    assert not hopeless([0.0], FINISHED[: MIN_FINISHED - 1])
