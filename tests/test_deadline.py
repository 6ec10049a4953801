import math

from fusion_automl.deadline import Deadline


def test_within_is_the_earlier_of_two_moments() -> None:
    far = Deadline.after(1000)
    assert far.within(1).seconds_left() <= 1
    assert Deadline.after(1).within(1000).seconds_left() <= 1
    assert math.isinf(Deadline.never().seconds_left())


def test_a_moment_in_the_past_has_passed() -> None:
    assert Deadline.after(-1).passed()
    assert not Deadline.after(60).passed()
    assert Deadline.after(60).earlier(61).passed()
