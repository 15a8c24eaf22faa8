"""utils.pretraining.bags: sentences, pictures as words, missing content, and the shuffled control."""

from __future__ import annotations

import numpy as np
import pytest

from utils.errors import CourseError
from utils.pretraining import bags
from utils.pretraining.bags import Bags, class_words, image_words, sentences, text_bags


def test_sentences_end_at_marks_and_the_first_ones_count():
    assert sentences("A red bee.  It flies! Does it? Yes") == ["A red bee.", "It flies!", "Does it?", "Yes"]
    assert sentences("") == [] and sentences("a. b. c.", 2) == ["a.", "b."] and sentences("3.5 mm") == ["3.5 mm"]


def test_a_picture_becomes_its_nearest_words():
    words = np.arange(8, dtype=np.float32).reshape(4, 2)
    similarity = np.array([[0.1, 0.9, 0.3, 0.2], [0.5, 0.5, 0.5, 0.4], [1, 2, 3, 4]])
    found = image_words(similarity, words, 2, np.array([True, True, False]))
    assert found.vectors[0].tolist() == [[2, 3], [4, 5]]  # words 1 and 2
    assert found.vectors[1].tolist() == [[0, 1], [2, 3]]  # of equal ones the first
    assert not found.mask[2].any() and not found.vectors[2].any()


def test_texts_are_encoded_sentence_by_sentence_in_their_order(monkeypatch):
    monkeypatch.setattr(
        bags, "encode_texts", lambda texts, encoder: np.array([[len(t), i] for i, t in enumerate(texts)])
    )
    found = text_bags(["One. Three.", "", "Four five."])
    assert found.mask.tolist() == [[True, True], [False, False], [True, False]]
    assert found.vectors[0].tolist() == [[4, 0], [6, 1]] and found.vectors[2, 0].tolist() == [10, 2]
    assert found.dim == 2 and found.n_items == 3 and "2 present" in repr(found)


def test_the_vocabulary_of_imagenet():
    words = class_words()
    assert len(words) == 1000 and words[0] == "tench" and words[309] == "bee"


def test_centred_bags_have_the_mean_zero_where_something_is():
    mask = np.array([[True, True], [True, False], [False, False]])
    found = Bags(np.arange(12, dtype=np.float32).reshape(3, 2, 2), mask).centred()
    assert found.vectors[0].tolist() == [[-2, -2], [0, 0]] and found.vectors[1].tolist() == [[2, 2], [0, 0]]
    assert not found.vectors[2].any() and np.array_equal(found.mask, mask)


def test_shuffled_bags_change_owners_and_stay_whole():
    mask = np.ones((6, 2), dtype=bool)
    mask[2] = False
    mask[4, 1] = False
    one = Bags(np.arange(24, dtype=np.float32).reshape(6, 2, 2), mask, {"encoder": "e"})
    other = one.shuffled(1)
    assert not other.mask[2].any() and not np.array_equal(one.vectors, other.vectors)
    assert sorted(map(tuple, one.vectors.reshape(6, 4))) == sorted(map(tuple, other.vectors.reshape(6, 4)))
    assert (other.vectors[~other.mask] == 0).all() and other.provenance == {"encoder": "e", "shuffled": 1}
    assert np.array_equal(other.vectors, one.shuffled(1).vectors)


@pytest.mark.parametrize("make, said", [
    (lambda: image_words(np.ones((2, 3)), np.ones((4, 2))), r"\(2, 3\) similarities and 4 words do not fit"),
    (lambda: image_words(np.ones((2, 3)), np.ones((3, 2)), 4), "top=4: the vocabulary has 3 words"),
    (lambda: Bags(np.ones((2, 3)), np.ones((2, 3), bool)), "Bags need vectors"),
    (lambda: Bags(np.full((2, 1, 3), np.nan), np.ones((2, 1), bool)), "bag of item 0 holds NaN"),
    (lambda: text_bags(["", " "]), "No item has a text; fill the column description"),
])  # fmt: skip
def test_what_does_not_fit_is_one_sentence(make, said):
    with pytest.raises(CourseError, match=said):
        make()
