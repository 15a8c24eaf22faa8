"""How far the recommended pictures lie from the history, in a space that no tested model uses."""

from __future__ import annotations

import numpy as np

from utils.data import Dataset, Split
from utils.errors import CourseError
from utils.features import Features, extract

CELLS, ANGLES, SIDE = 4, 8, 32


def reference_space(dataset: Dataset) -> Features:
    """Describe pictures by hand, for judging only: the directions of edges and the mean and spread of the colours.

    4 x 4 cells with 8 directions of the grey value's gradient each (128 numbers), and mean and standard deviation of
    red, green and blue (6 numbers). Both blocks are standardised and weigh the same. It is no truth about likeness: it
    is a measure that no tested recommender was given, the same for all of them.
    """
    pictures = extract(dataset, "visual", "pixels", progress=False, size=SIDE)
    rgb = pictures.matrix.reshape(-1, SIDE, SIDE, 3)
    down, right = np.gradient(rgb.mean(axis=3), axis=(1, 2))
    angle = (np.floor(np.arctan2(down, right) % np.pi / np.pi * ANGLES)).astype(int) % ANGLES
    strength = np.hypot(down, right)
    step = SIDE // CELLS
    cells = [
        np.where(angle == a, strength, 0).reshape(-1, CELLS, step, CELLS, step).sum(axis=(2, 4)).reshape(len(rgb), -1)
        for a in range(ANGLES)
    ]
    edges = np.concatenate(cells, axis=1)
    edges = edges / np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-9)
    flat = rgb.reshape(len(rgb), -1, 3)
    colours = np.concatenate([flat.mean(axis=1), flat.std(axis=1)], axis=1)
    blocks = [_standard(block, pictures.mask) / np.sqrt(block.shape[1]) for block in (edges, colours)]
    about = {"encoder": "edges and colours, by hand (judging only)"}
    return Features("visual", np.concatenate(blocks, axis=1), pictures.item_names, pictures.mask, about)


def _standard(block: np.ndarray, mask: np.ndarray) -> np.ndarray:
    present = block[mask]
    return (block - present.mean(axis=0)) / np.maximum(present.std(axis=0), 1e-6)


def distance_to_history(lists: np.ndarray, user_ids: np.ndarray, split: Split, features: Features) -> np.ndarray:
    """D_u = 1 - mean cosine over all pairs of a history item h and a listed item r, (len(user_ids),), 0 to 2.

    The mean of the cosines of all pairs is the inner product of the two means of unit vectors, so no pair is visited.
    Items without content take no part; NaN where nothing is left on one side. Scale-free: multiplying all vectors, or
    those of one item, changes nothing.
    """
    lists = np.asarray(lists)
    if len(lists) != len(user_ids):
        raise CourseError(f"{len(lists)} lists for {len(user_ids)} users; give one row for each user.")
    unit = features.matrix.astype(np.float64)
    length = np.linalg.norm(unit, axis=1)
    present = np.asarray(features.mask) & (length > 0)
    unit = np.where(present[:, None], unit / np.where(length > 0, length, 1)[:, None], 0)
    history = split.matrix("train")[np.asarray(user_ids)]
    taken = history @ np.column_stack([unit, present])
    shown = np.where(lists >= 0, lists, 0)
    kept = (lists >= 0) & present[shown]
    listed = (unit[shown] * kept[:, :, None]).sum(axis=1)
    pairs = taken[:, -1] * kept.sum(axis=1)
    return np.where(pairs > 0, 1 - (taken[:, :-1] * listed).sum(axis=1) / np.where(pairs > 0, pairs, 1), np.nan)


def tsne_distance(history: np.ndarray, listed: np.ndarray, features: Features, seed: int = 1234) -> float:
    """VisDiv of one user as published: t-SNE of history and list into the plane, distance of the two centres.

    It has no scale that two users, or two extractors, share: t-SNE draws each user a new map. Indicative only.

    Source: Deldjoo et al., "A Study on the Relative Importance of Convolutional Neural Networks in Visually-Aware
    Recommender Systems", CVPR workshops 2021, DOI 10.1109/CVPRW53098.2021.00445.
    """
    from sklearn.manifold import TSNE

    points = features.matrix[np.concatenate([history, listed])]
    if len(points) < 4:
        raise CourseError(f"t-SNE of {len(points)} items draws no map; take a user with a longer history or list.")
    plane = TSNE(2, perplexity=min(30, (len(points) - 1) / 3), random_state=seed, init="random").fit_transform(points)
    return float(np.linalg.norm(plane[: len(history)].mean(axis=0) - plane[len(history) :].mean(axis=0)))
