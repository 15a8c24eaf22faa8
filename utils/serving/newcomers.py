"""Scores for somebody whom no model has met, from what they liked, with the model's own equation and no training."""

from __future__ import annotations

import copy

import numpy as np
import scipy.sparse as sp
import torch

from utils.errors import CourseError
from utils.models import Recommender
from utils.models.ials import IALS
from utils.models.mostpop import MostPop


def fold_in(model: Recommender, taken: sp.csr_matrix) -> np.ndarray:
    """Score all items for new users, (n, n_items) float32, from ``taken`` (n, n_items), 1 where they took an item.

    Possible where a model knows its users by their rows of the log only (kNN, EASE, with and without content: the row is
    put in place of the old ones), and where one user's vector is the solution of an equation (iALS, with and without
    content: it is solved for the new row, the items stay). Popularity says the same to everybody.

    Raises:
        CourseError: the model has a trained vector for each user, or what it says of a known user is not what their row
            gives.
    """
    taken = sp.csr_matrix(taken, dtype=np.float32)
    if taken.shape[1] != model.n_items:
        raise CourseError(
            f"The rows have {taken.shape[1]} places, {model.name} has {model.n_items} items; give one for each."
        )
    if isinstance(model, MostPop):
        return _scores(model, taken.shape[0])
    stranger = _with_log(model, taken)
    if stranger is not None:
        known = model.split.train[0, 0]  # somebody with a row: the old score must come back
        again = _with_log(model, model.split.matrix("train")[[known]])
        if np.allclose(_scores(again, 1), model.score(np.array([known])).numpy(), rtol=1e-4, atol=1e-6):
            return _scores(stranger, taken.shape[0])
    raise CourseError(
        f"{model.name} cannot score somebody new, for it has learned a vector for each user; add the newcomer's interactions to "
        "the dataset and train again, or take itemknn, ease or ials (or one of them with content)."
    )


def _with_log(model: Recommender, taken: sp.csr_matrix) -> Recommender | None:
    """A copy whose users are the rows of ``taken``; None where the model does not read them off the log."""
    other = copy.copy(model)
    if isinstance(model, IALS):
        other.users = model.solve(taken, model.items)
        return other
    if isinstance(model, torch.nn.Module):
        return None
    parts = {key: value for key, value in vars(model).items() if isinstance(value, Recommender)}
    for key, part in parts.items():
        changed = _with_log(part, taken)
        if changed is None:
            return None
        setattr(other, key, changed)
    if "history" in vars(model):
        other.history = taken
    elif not parts:
        return None
    return other


def _scores(model: Recommender, n: int) -> np.ndarray:
    return model.score(np.arange(n)).numpy()
