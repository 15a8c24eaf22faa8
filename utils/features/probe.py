"""Linear probes: how well an encoder's features predict a label."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from utils.data import Dataset
from utils.data.pictures import dominant_colour
from utils.errors import CourseError
from utils.features.matrix import Features

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # of the ridge probe, chosen within the training part


def majority(labels: Sequence[str]) -> float:
    """Accuracy of always naming the most frequent label (items with "" are left out)."""
    labels = np.asarray(labels, dtype=str)
    return float(pd.Series(labels[labels != ""]).value_counts(normalize=True).iloc[0])


def frequent(labels: Sequence[str], at_least: int = 10) -> np.ndarray:
    """Empty the labels that fewer items carry, so that every part of a cross-validation can hold one."""
    labels = np.asarray(labels, dtype=object)
    counts = pd.Series(labels).value_counts()
    return np.array([name if counts[name] >= at_least else "" for name in labels], dtype=str)


def linear_probe(features: Features, labels: Sequence[str], *, seed: int = 0, folds: int = 5) -> float:
    """Measure how well a linear map reads a label off the vectors, on items it was not fitted on.

    Ridge regression onto one-hot labels, in its dual form: with K = X X^T and penalty p, weights a = (K + p I)^-1 Y,
    prediction argmax of K' a. Rows are centred on the training mean and scaled to length 1. The penalty is the one with
    the best leave-one-out accuracy within the training part, where y_i - a_i / ((K + p I)^-1)_ii predicts i without i.

    Args:
        features: (n_items, dim); items without the modality take no part.
        labels: one word per item; "" = not labelled, takes no part.
        seed: draws the folds (stratified by label).
        folds: parts of the cross-validation.

    Returns:
        Accuracy over all held-out items, 0 to 1. Compare it with :func:`majority` of the same items.

    Raises:
        CourseError: fewer than two labels, or fewer items than folds.
    """
    from sklearn.model_selection import StratifiedKFold

    labels = np.asarray(labels, dtype=str)
    rows = np.flatnonzero(features.mask & (labels != ""))
    names, target = np.unique(labels[rows], return_inverse=True)
    if len(names) < 2 or len(rows) < 2 * folds:
        raise CourseError(
            f"A probe needs two labels and {2 * folds} items; the {features.modality} features have {len(names)} and "
            f"{len(rows)}."
        )
    matrix = features.matrix[rows].astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a label may be rarer than the folds
        parts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(matrix, target))
    # In torch, not numpy: course.start gives it one thread, and on a busy machine BLAS threads wait for each other.
    x, y = torch.from_numpy(matrix), torch.from_numpy(np.eye(len(names))[target])
    right = sum(_fold(x[train], y[train], x[held_out], y[held_out]) for train, held_out in parts)
    return right / len(rows)


def _fold(x: torch.Tensor, y: torch.Tensor, new_x: torch.Tensor, new_y: torch.Tensor) -> int:
    """Fit on (n, dim), (n, labels) one-hot, count the right answers on new rows."""
    mean, offset, target = x.mean(dim=0), y.mean(dim=0), y.argmax(dim=1)
    x, new_x = (torch.nn.functional.normalize(part - mean, dim=1) for part in (x, new_x))
    values, axes = torch.linalg.eigh(x @ x.T)
    rotated = axes.T @ (y - offset)
    best, weights = -1.0, rotated
    for penalty in PENALTIES:
        inverse = 1 / (values.clamp(min=0) + penalty)
        a = axes @ (inverse[:, None] * rotated)
        without = y - a / (axes.square() @ inverse)[:, None]  # the prediction of each row by all the others
        hits = float((without.argmax(dim=1) == target).double().mean())
        if hits > best:
            best, weights = hits, a
    predicted = (new_x @ (x.T @ weights) + offset).argmax(dim=1)
    return int((predicted == new_y.argmax(dim=1)).sum())


def probe_table(
    encoders: Mapping[str, Features], targets: Mapping[str, Sequence[str]], seeds: Iterable[int] = (0,)
) -> pd.DataFrame:
    """Probe every encoder for every target: accuracy, averaged over ``seeds`` of the folds.

    Returns:
        Rows = encoders; columns = (target, "mean" or "std"); NaN std for one seed. A target that no two items of an
        encoder carry is NaN.
    """
    table = {}
    seeds = list(seeds)
    for name, features in encoders.items():
        row = {}
        for target, labels in targets.items():
            known = np.asarray(labels, dtype=str)[features.mask]
            able = len(np.unique(known[known != ""])) > 1
            runs = [linear_probe(features, labels, seed=seed) for seed in seeds] if able else [np.nan]
            row[target, "mean"] = float(np.mean(runs))
            row[target, "std"] = float(np.std(runs, ddof=1)) if len(runs) > 1 else np.nan
        table[name] = row
    frame = pd.DataFrame.from_dict(table, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def main_colours(dataset: Dataset, side: int = 48) -> np.ndarray:
    """Name the most frequent colour of each picture, (n_items,) str; "" where there is none that can be read."""
    names = []
    for item, path in enumerate(dataset.image_paths()):
        try:
            picture = None if path is None else dataset.image(item).convert("RGB").resize((side, side))
        except (OSError, ValueError):
            picture = None
        whole = np.ones((side, side), dtype=bool)
        names.append("" if picture is None else dominant_colour(np.asarray(picture), whole))
    return np.array(names)
