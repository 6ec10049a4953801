import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fusion_automl.leaderboard import pareto


def test_the_front_holds_what_nothing_else_beats() -> None:
    points = np.array(
        [
            [0.9, -10, -5],  # the best score
            [0.8, -1, -5],  # the fastest but one
            [0.8, -2, -5],  # as good as the last and slower
            [0.7, -2, -1],  # the smallest
            [0.7, -2, -1],  # equal points do not beat each other
            [0.1, -0.5, -9],  # the fastest
            [0.7, -3, -2],  # beaten
        ]
    )
    assert pareto(points).tolist() == [True, True, False, True, True, True, False]
    assert pareto(np.empty((0, 3))).tolist() == []


@settings(max_examples=50, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 12), st.just(3)), elements=st.integers(0, 3).map(float)))
def test_whoever_is_not_on_the_front_is_beaten_by_one_who_is(points: np.ndarray) -> None:
    front = pareto(points)
    assert front.any()
    for beaten in points[~front]:
        assert any((best >= beaten).all() and (best > beaten).any() for best in points[front])
    for one in points[front]:
        assert not any((other >= one).all() and (other > one).any() for other in points)
