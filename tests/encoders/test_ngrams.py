import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from fusion_automl.deadline import Deadline
from fusion_automl.encoders import ngrams
from fusion_automl.encoders.ngrams import WORD, Grams, count, remember_texts
from fusion_automl.encoders.tfidf import TfIdf

from .tables import dataset

TEXTS = [f"the {a} {b} saw {a} cat{'' if b == 'old' else 's'}" for a in ("big", "red", "wee") for b in ("old", "new")]
TEXTS += ["", "?!"]


@pytest.fixture
def taken_apart(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were taken apart, in order."""
    seen: list[str] = []

    class Spy(ngrams._Table):
        def __init__(self, grams: Grams) -> None:
            super().__init__(grams)
            analyze = self.analyze
            self.analyze = lambda text: seen.append(text) or analyze(text)

    monkeypatch.setattr(ngrams, "_Table", Spy)
    return seen


def test_weights_are_those_of_scikit_learn() -> None:
    for sublinear in (True, False):
        theirs = TfidfVectorizer(
            ngram_range=(1, 2), min_df=2, sublinear_tf=sublinear, token_pattern=WORD, dtype=np.float32
        )
        expected = theirs.fit_transform(TEXTS)
        data = dataset(text=("text", TEXTS))
        fitted = TfIdf(sublinear=sublinear).fit(data, seed=0, deadline=Deadline.never(), threads=1)
        assert fitted.names == tuple(f"text word {term}" for term in theirs.get_feature_names_out())
        np.testing.assert_allclose(fitted.transform(data.frame).toarray(), expected.toarray(), atol=1e-6)


def test_pieces_of_words_are_those_of_scikit_learn() -> None:
    texts = [*TEXTS, "A b\tCD\n\nİstanbul  naïve naïve—co-op", "x y z x", "co-op, CO-OP!", " ", "東京都 東京"]
    theirs = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, dtype=np.float32)
    expected = theirs.fit_transform(texts)
    data = dataset(text=("text", texts))
    fitted = TfIdf(words=0, chars=10_000, min_rows=1).fit(data, seed=0, deadline=Deadline.never(), threads=1)
    assert fitted.names == tuple(f"text char_wb {term}" for term in theirs.get_feature_names_out())
    np.testing.assert_allclose(fitted.transform(data.frame).toarray(), expected.toarray(), atol=1e-6)


def test_of_equally_frequent_terms_the_first_in_the_alphabet_are_kept() -> None:
    data = dataset(text=("text", ["pear fig apple", "fig apple pear", "zoo apple"]))
    fitted = TfIdf(words=2, word_ngrams=1).fit(data, seed=0, deadline=Deadline.never(), threads=1)
    assert fitted.names == ("text word apple", "text word fig")


def test_inside_remember_texts_a_text_is_taken_apart_once(taken_apart: list[str]) -> None:
    words = Grams("word", 1, 1)
    with remember_texts():
        count(TEXTS[:3], words)
        found = count(TEXTS[1:5], words)
    assert taken_apart == TEXTS[:5]
    counts = dict(zip(found.terms, found.matrix.toarray()[0], strict=True))
    assert counts["big"] == 2 and counts["new"] == 1 and counts["red"] == 0
    count(TEXTS[:1], words)
    assert taken_apart == [*TEXTS[:5], TEXTS[0]]


def test_a_word_is_cut_into_pieces_once(taken_apart: list[str]) -> None:
    with remember_texts():
        count(["a cat", "A dog"], Grams("char_wb", 3, 3))
        count(["dog cat"], Grams("char_wb", 3, 3))
    assert taken_apart == ["a cat", "A dog", "a", "cat", "dog", "dog cat"]


def test_what_is_remembered_does_not_change_what_is_learned() -> None:
    data = dataset(text=("text", TEXTS))
    half = data.take(np.arange(0, len(TEXTS), 2))

    def encoded() -> np.ndarray:
        fitted = TfIdf(min_rows=1).fit(half, seed=0, deadline=Deadline.never(), threads=1)
        return fitted.transform(data.frame).toarray()

    alone = encoded()
    with remember_texts():
        count(TEXTS[::-1], TfIdf().grams("word"))
        np.testing.assert_array_equal(encoded(), alone)


def test_a_full_memory_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "MAX_REMEMBERED", 5)
    words = Grams("word", 1, 1)
    with remember_texts():
        count(TEXTS[:2], words)
        assert set(count(["one two"], words).terms) == {"one", "two"}
