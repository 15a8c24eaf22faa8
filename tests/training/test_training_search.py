"""utils.training.search: spaces of lists and ranges, samplers at random, of Optuna and of your own."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from test_training_fitting import Mine
from training_helpers import planted

from utils.errors import CourseError
from utils.models import MODELS, make_model
from utils.training import fit, search, trial_settings, tune, validator

SPLIT, FEATURES, _ = planted(60, 40, per_user=8)
FEW = {"n_epochs": 2}


def test_the_grid_is_searched_as_before():
    best, table = tune("bpr", SPLIT, budget=3, seed=4, **FEW)
    trials = trial_settings(MODELS["bpr"], SPLIT, 3, 4, FEW)
    values = [fit("bpr", SPLIT, seed=4, **FEW, **trial)[1].best_value for trial in trials]
    assert table["recall@20"].tolist() == values
    assert best == {**FEW, **trials[int(np.argmax(values))]}
    assert tune("bpr", SPLIT, trials=3, seed=4, **FEW)[0] == best


def test_lists_are_tried_each_once_in_a_seeded_order():
    space = {"k": [5, 10, 20], "shrink": [0.0, 10.0]}
    best, table = tune("itemknn", SPLIT, space=space, trials=99, seed=1)
    pairs = list(zip(table["k"], table["shrink"]))
    assert sorted(pairs) == [(k, s) for k in (5, 10, 20) for s in (0.0, 10.0)]
    assert best == {"k": pairs[table["recall@20"].idxmax()][0], "shrink": pairs[table["recall@20"].idxmax()][1]}
    again = tune("itemknn", SPLIT, space=space, trials=4, seed=1)[1]
    other = tune("itemknn", SPLIT, space=space, trials=4, seed=2)[1]
    assert list(zip(again["k"], again["shrink"])) == pairs[:4] != list(zip(other["k"], other["shrink"]))
    for k, shrink, value in zip(table["k"], table["shrink"], table["recall@20"]):
        model = make_model("itemknn", SPLIT, k=int(k), shrink=float(shrink))
        assert validator(SPLIT)(model) == value


def test_ranges_are_drawn_as_they_say():
    space = {"a": (1, 3), "b": (0.0, 2.0), "c": (1e-4, 1e-1, "log"), "d": (1, 100, "log"), "e": ["x", "y"]}
    found = list(search._random(space, 4000, seed=0))
    column = {key: [trial[key] for trial in found] for key in space}
    assert {type(value) for key in "ad" for value in column[key]} == {int}
    assert {type(value) for key in "bc" for value in column[key]} == {float}
    assert np.bincount(column["a"])[1:] == pytest.approx(4000 / 3, rel=0.1)
    assert min(column["b"]) >= 0 and max(column["b"]) <= 2 and np.mean(column["b"]) == pytest.approx(1, abs=0.05)
    assert 1e-4 <= min(column["c"]) and max(column["c"]) <= 1e-1
    assert np.mean(np.log10(column["c"])) == pytest.approx(-2.5, abs=0.05)
    assert min(column["d"]) == 1 and max(column["d"]) == 100
    # of (0.5, 100.5) in the logarithm, 1 owns log 3 and 100 owns log(100.5 / 99.5)
    width = math.log(100.5 / 0.5)
    assert column["d"].count(1) / 4000 == pytest.approx(math.log(3) / width, abs=0.03)
    assert column["d"].count(100) / 4000 == pytest.approx(math.log(100.5 / 99.5) / width, abs=0.005)
    assert column["e"].count("x") == pytest.approx(2000, rel=0.1)
    assert found == list(search._random(space, 4000, seed=0)) and found[:5] == list(search._random(space, 5, seed=0))


def test_a_class_its_log_and_the_settings_that_are_fixed():
    told = []
    best, table = tune(Mine, SPLIT, space={"lr": (1e-3, 1e-1, "log")}, trials=2, dim=4, log=told.append, **FEW)
    assert best["dim"] == 4 and best["n_epochs"] == 2 and "mine" not in MODELS
    assert [(row["trial"], row["epoch"]) for row in told] == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert fit(Mine, SPLIT, **best)[1].best_value == table["recall@20"].max()


def test_a_function_sees_what_was_found_and_says_what_comes_next():
    seen = []

    def climb(past):
        seen.append([row.get("recall@20") for row in past])
        return {"k": 5 * (len(past) + 1)}

    best, table = tune("itemknn", SPLIT, space={"k": (1, 40)}, trials=3, sampler=climb)
    assert table["k"].tolist() == [5, 10, 15]
    assert seen == [table["recall@20"].tolist()[:n] for n in (0, 1, 2)]
    for wrong in (lambda past: {"kk": 3}, lambda past: 3):
        with pytest.raises(CourseError, match=r"must return a dictionary with the names \['k'\]"):
            tune("itemknn", SPLIT, space={"k": (1, 40)}, trials=3, sampler=wrong)


class Trial:
    def __init__(self, number):
        self.number, self.asked = number, []

    def suggest_int(self, key, low, high, log):
        self.asked.append(("int", key, low, high, log))
        return low

    def suggest_float(self, key, low, high, log):
        self.asked.append(("float", key, low, high, log))
        return math.inf if self.number == 1 else high  # a rate with which training fails

    def suggest_categorical(self, key, values):
        self.asked.append(("list", key, tuple(values)))
        return values[-1]


class Optuna:
    """What of Optuna's ask and tell is used, with notes of what was said to it."""

    def __init__(self):
        self.trials, self.told, self.trial = [], [], SimpleNamespace(TrialState=SimpleNamespace(FAIL="FAIL"))

    def create_study(self, direction, sampler):
        self.direction, self.sampler = direction, sampler
        return self

    def ask(self):
        self.trials.append(Trial(len(self.trials)))
        return self.trials[-1]

    def tell(self, trial, value=None, state=None):
        self.told.append((trial.number, value, state))


def test_a_sampler_of_optuna_is_asked_and_told(monkeypatch):
    optuna = Optuna()
    monkeypatch.setitem(sys.modules, "optuna", optuna)
    sampler = SimpleNamespace(sample_independent=None)
    space = {"dim": (2, 8), "lr": (1e-3, 1e-2, "log"), "reg": [0.0, 0.1]}
    best, table = tune("bpr", SPLIT, space=space, trials=3, sampler=sampler, **FEW)
    assert optuna.direction == "maximize" and optuna.sampler is sampler
    asked = [("int", "dim", 2, 8, False), ("float", "lr", 1e-3, 1e-2, True), ("list", "reg", (0.0, 0.1))]
    assert [trial.asked for trial in optuna.trials] == [asked] * 3
    values = table["recall@20"].tolist()
    assert optuna.told == [(0, values[0], None), (1, None, "FAIL"), (2, values[2], None)]
    assert best == {**FEW, "dim": 2, "lr": 1e-2, "reg": 0.1}
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(CourseError, match="needs Optuna, which is not installed"):
        tune("bpr", SPLIT, space=space, trials=3, sampler=sampler, **FEW)


@pytest.mark.parametrize(
    "given, words",
    [
        ({"space": {"kk": [1]}}, "did you mean k"),
        ({"space": {"k": (5, 5)}}, "low below high"),
        ({"space": {"k": (5, 9, "lin")}}, "low below high"),
        ({"space": {"k": (5, 10, 20)}}, "stand in a list"),
        ({"space": {"k": (True, 3)}}, "low below high"),
        ({"space": {"shrink": (0.0, 1.0, "log")}}, "has no logarithm"),
        ({"space": {"k": 5}}, "give a list of values"),
        ({"space": {"k": []}}, "give a list of values"),
        ({"space": {}}, "space is a dictionary"),
        ({"space": ["k"]}, "space is a dictionary"),
        ({"space": {"k": [1]}, "k": 3}, "both fixed and in the space"),
        ({"grid": {"k": [1]}}, "The values to try go into space="),
        ({"space": {"k": [1]}, "sampler": "randon"}, "did you mean random"),
        ({"space": {"k": [1]}, "sampler": 3}, 'give "random", a sampler of optuna.samplers, or a function'),
    ],
)
def test_what_is_no_search_is_said_in_one_sentence(given, words):
    with pytest.raises(CourseError, match=words):
        tune("itemknn", SPLIT, **given)


def test_all_trials_may_fail_and_the_first_reason_is_given():
    with pytest.raises(CourseError, match="all 1 trials failed; the first said"):
        tune("bpr", SPLIT, space={"lr": [math.inf]}, trials=1, **FEW)
