from fusion_automl.encoders.table_text import table_columns, table_sentences
from tests.contracts.rows import mixed_dataset


def test_a_row_becomes_a_sentence_of_the_cells_that_it_has() -> None:
    data = mixed_dataset(rows=20)
    frame = data.frame.copy()
    frame.loc[0, ["size", "weight", "colour", "shop", "used"]] = [12.3456, 1e6, "red", "shop 2", 1.0]
    frame.loc[1, ["size", "weight", "used"]] = [float("nan"), 0.25, 0.0]
    frame.loc[1, "colour"] = None
    day = f"{frame['sold_at'][0]:%Y-%m-%d}"
    first, second, *_ = table_sentences(frame, table_columns(data.schema))
    assert first == f"size 12.35, weight 1e+06, colour red, shop shop 2, used yes, sold_at {day}"
    assert second.startswith("weight 0.25, shop shop ") and ", used no, sold_at " in second
    assert table_sentences(frame.iloc[:0], table_columns(data.schema)) == []
