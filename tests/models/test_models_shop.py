"""On the course's own data every trained recommender is ahead of popularity after a few epochs: seconds, not hours."""

from __future__ import annotations

import pytest

from utils.data import load_dataset, split_dataset
from utils.evaluation import evaluate
from utils.features import load_features
from utils.models import MODELS, TrainedRecommender, make_model
from utils.training import loop as training

pytestmark = pytest.mark.slow
TRAINED = [name for name, model in MODELS.items() if issubclass(model, TrainedRecommender)]


@pytest.fixture(scope="module")
def shop():
    data = load_dataset("sticker_shop")
    split = split_dataset(data, "random", seed=0)
    return split, load_features(data), recall(make_model("mostpop", split), split)


def recall(model, split) -> float:
    return float(evaluate(model, split, part="valid", metrics=("recall",))["recall@20"])


@pytest.mark.parametrize("name", TRAINED)
def test_learning_beats_popularity_on_the_shop(name, shop):
    split, features, popular = shop
    model, sampler, reached = make_model(name, split, features), training.NegativeSampler(split), []
    optimiser = training.make_optimiser(model, 2 * model.settings["lr"])
    for epoch in range(1, 11):
        training._epoch(model, split, sampler, optimiser, 512, 0, epoch)
        model.eval()
        if epoch % 2 == 0:  # no more epochs than it takes
            reached.append(round(recall(model, split), 4))
            if reached[-1] > 1.1 * popular:
                return
    pytest.fail(f"{name} reached {reached}, popularity {popular:.4f}")
