import pytest

from fusion_automl.errors import UserError
from fusion_automl.search.clock import make_clock, parse_budget


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("1h30m", 5400), ("2d", 172800), (7, 7)],
)
def test_a_budget_is_read_in_the_units_people_write(text: str | float, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0", "10 minutes", "5x"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected a time such as 90s, 10m, 1h or 1h30m"):
        parse_budget(text)


def test_the_reserve_is_a_fifth_within_bounds() -> None:
    assert make_clock(100).reserve == pytest.approx(8 + 12)
    assert make_clock(10).reserve == pytest.approx(2.5 + 1.2)
    assert make_clock(2).reserve == 1
    assert make_clock(36_000).reserve == pytest.approx(300 + 4_320)
    assert make_clock(100).max_seconds_per_trial < 50
