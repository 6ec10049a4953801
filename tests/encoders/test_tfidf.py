from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.linear_model import LogisticRegression

from fusion_automl.data.dataset import Dataset
from fusion_automl.deadline import Deadline
from fusion_automl.encoders.tfidf import FittedTfIdf, TfIdf
from fusion_automl.errors import SpaceError

from .tables import dataset, public_dataset


def fit(encoder: TfIdf, data: Dataset) -> FittedTfIdf:
    return encoder.fit(data, seed=0, deadline=Deadline.never(), threads=1)


def test_each_column_has_its_own_words() -> None:
    data = dataset(title=("text", ["good", "bad"]), body=("text", ["good day", None]))
    fitted = fit(TfIdf(word_ngrams=1, min_rows=1), data)
    assert fitted.names == ("title word bad", "title word good", "body word day", "body word good")
    encoded = fitted.transform(data.frame)
    assert scipy.sparse.issparse(encoded)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(encoded.toarray(), [[0, 1, half, half], [1, 0, 0, 0]], rtol=1e-6)


def test_rarer_words_weigh_more() -> None:
    data = dataset(text=("text", ["the cat", "the dog", "the cow"]))
    fitted = fit(TfIdf(word_ngrams=1, min_rows=1), data)
    weights = dict(zip(fitted.names, fitted.transform(data.frame).toarray()[0], strict=True))
    assert weights["text word cat"] > weights["text word the"] > 0


def test_characters_find_what_misspelt_words_share() -> None:
    data = dataset(text=("text", ["wonderful", "wonderfull"]))
    encoded = fit(TfIdf(words=0, chars=100, min_rows=1), data).transform(data.frame).toarray()
    assert encoded[0] @ encoded[1] > 0.5


@pytest.mark.parametrize("texts", [[None, None, None], ["", "  ", "?!"], ["one", "two", "three"]])
def test_texts_without_a_common_word_give_one_column_of_zeros(texts: list[str | None]) -> None:
    data = dataset(text=("text", texts))
    fitted = fit(TfIdf(), data)
    assert fitted.names == ("no words",)
    np.testing.assert_array_equal(fitted.transform(data.frame).toarray(), np.zeros((3, 1)))


def test_dense_rows_have_one_length_and_statistics_beside() -> None:
    texts = [f"word{row % 5} word{row % 7} shouting LOUD {'!' * (row % 3)}" for row in range(30)]
    fitted = fit(TfIdf(components=4), dataset(text=("text", texts)))
    encoded = fitted.transform(dataset(text=("text", [texts[0], texts[2], None])).frame)
    np.testing.assert_allclose(np.linalg.norm(encoded[:, :4], axis=1), [2, 2, 0], rtol=1e-5)
    exclamations = encoded[:, fitted.names.index("text exclamations")]
    assert exclamations[1] > exclamations[0] == exclamations[2]


def test_no_words_and_no_characters_are_refused() -> None:
    with pytest.raises(SpaceError, match="words or chars positive, got words 0, chars 0, components 0"):
        TfIdf(words=0)


def test_rotten_tomatoes_with_a_linear_model() -> None:
    train, test = (public_dataset("rotten_tomatoes", part) for part in ("train", "test"))
    fitted = fit(TfIdf(), dataset(text=("text", train["text"].tolist())))
    X, X_test = (fitted.transform(dataset(text=("text", part["text"].tolist())).frame) for part in (train, test))
    model = LogisticRegression(C=5, max_iter=200).fit(X, train["label"])
    assert model.score(X_test, test["label"]) >= 0.775
