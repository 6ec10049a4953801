from fusion_automl.search.prune import MIN_OTHERS, hopeless

OTHERS = [(0.1 * rank, 0.9) for rank in range(1, 10)]  # first folds 0.1 .. 0.9


def test_what_is_among_the_worst_quarter_over_the_same_folds_is_hopeless() -> None:
    assert hopeless([0.29], OTHERS)
    assert not hopeless([0.31], OTHERS)
    assert not hopeless([0.2, 1.1], OTHERS)  # mean 0.65 against a bar of 0.6
    assert hopeless([0.2, 0.9], OTHERS)


def test_few_trials_say_nothing() -> None:
    assert not hopeless([0.0], OTHERS[: MIN_OTHERS - 1])


def test_trials_with_fewer_folds_are_not_compared_with() -> None:
    assert not hopeless([0.0, 0.0], [(0.5,)] * 20)
