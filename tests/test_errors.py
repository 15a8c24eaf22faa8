"""utils.errors: the nearest names for whatever was given in the place of a name."""

import pytest

from utils.errors import LONGEST, CourseError, suggest
from utils.models import make_model


class Lightgnc:
    pass


@pytest.mark.parametrize(
    "given, words",
    [
        ("lightgnc", "Unknown model 'lightgnc'; did you mean lightgcn?"),
        (Lightgnc, "Unknown model 'Lightgnc'; did you mean lightgcn?"),
        (3, "Unknown model '3'; known: bpr, lightgcn."),
        (None, "Unknown model 'None'; known: bpr, lightgcn."),
    ],
)
def test_the_nearest_names_are_given(given, words):
    assert str(suggest(given, ["lightgcn", "bpr"], "model")) == words


def test_known_things_may_be_numbers():
    assert "known: 1, 2." in str(suggest("x", [2, 1], "layer"))


def test_a_class_where_a_name_is_asked_for_is_one_sentence():
    with pytest.raises(CourseError, match="Unknown model 'dict'"):
        make_model(dict, None)


def test_a_message_has_an_end():
    assert len(str(CourseError("x" * 10 * LONGEST))) < LONGEST
