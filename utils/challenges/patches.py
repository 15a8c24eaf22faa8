"""Patch features: one vector for each of the equal tiles that a picture is cut into, for ACF's attention over parts."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from utils.data import Dataset
from utils.errors import CourseError
from utils.features import Features, extract
from utils.features.cache import cache_root
from utils.features.registry import find

GRID = 2  # patches a side: GRID * GRID vectors for each picture
TILE = 64  # pixels a side of a patch, for networks (a multiple of 32)


def tiles(pictures: np.ndarray, grid: int = GRID) -> np.ndarray:
    """Cut pictures (n, side, side, channels) into (n, grid * grid, side / grid, side / grid, channels), row by row."""
    n, side, other, channels = pictures.shape
    if side != other or side % grid:
        raise CourseError(f"Pictures of {side} x {other} pixels cannot be cut into {grid} x {grid} equal parts.")
    step = side // grid
    cut = pictures.reshape(n, grid, step, grid, step, channels).swapaxes(2, 3)
    return cut.reshape(n, grid * grid, step, step, channels)


def colour_counts(cut: np.ndarray) -> np.ndarray:
    """Share of each of 8 x 4 x 4 HSV colours among the pixels of each patch: (n, patches, h, w, 3) -> (n, patches, 128)."""
    from matplotlib.colors import rgb_to_hsv

    hsv = rgb_to_hsv(np.clip(cut, 0, 1))
    hue, saturation, value = (np.minimum((hsv[..., k] * m).astype(int), m - 1) for k, m in enumerate((8, 4, 4)))
    bins = (hue * 16 + saturation * 4 + value).reshape(*cut.shape[:2], -1)
    return np.stack([(bins == b).mean(axis=2) for b in range(128)], axis=2).astype(np.float32)


def patch_features(dataset: Dataset, encoder: str, width: int = 64, grid: int = GRID, cache: bool = True) -> Features:
    """Extract ``grid * grid`` vectors for each picture, each whitened to ``width`` numbers, side by side in one row.

    The networks look at each tile for itself (ACF's authors take the places of one feature map, which see their
    surroundings, too). "pixels" are the tile itself, "colour_histogram" counts its colours. Whitening is fitted on all
    tiles of all pictures.

    Why quarters, and not the 7 x 7 places of a feature map, or 3 x 3 means of them? ACF attends to every patch of every
    item of every history in every step: with nine patches an epoch on the films takes 6 CPU seconds and 1.1 GB. And there
    is little for finer patches to find: on the films the right posters give ACF .003 more Recall@20 than the wrong ones,
    on the shop none (data/results/feature_extractors_movielens.json, notebook 09). ``grid=3`` cuts finer tiles.

    Returns:
        Features "visual" of shape (n_items, grid * grid * width), for ``ACF(..., parts=grid * grid)``.

    Raises:
        CourseError: an encoder without patches, a width that its tiles cannot carry.
    """
    if encoder in ("pixels", "colour_histogram"):
        whole = extract(dataset, "visual", "pixels", progress=False, size=8 * grid)
        cut = tiles(whole.matrix.reshape(-1, 8 * grid, 8 * grid, 3), grid)
        vectors = cut.reshape(*cut.shape[:2], -1) if encoder == "pixels" else colour_counts(cut)
        return _rows(whole, vectors, width, encoder)
    if encoder not in ("efficientnet_lite0", "random_cnn"):
        raise CourseError(f"Encoder {encoder!r} has no parts here; give its whole vectors to ACF with parts=1.")
    whole = extract(dataset, "visual", "pixels", progress=False)  # which pictures can be read
    key = whole.provenance["content"][:16]
    path = cache_root() / "parts" / f"{encoder}-{grid}x{TILE}-{key}.npz"
    if cache and path.exists():
        return _rows(whole, Features.load(path).matrix.reshape(dataset.n_items, grid * grid, -1), width, encoder)
    network = find(encoder, "visual").load("avgpool", size=TILE, fit="pad", **_seed(encoder))
    look = find(encoder, "visual").load("avgpool", size=TILE * grid, fit="pad", **_seed(encoder)).prepare
    vectors = np.zeros((dataset.n_items, grid * grid, 1280), dtype=np.float32)
    for item in tqdm(np.flatnonzero(whole.mask), desc=f"parts: {encoder}", leave=False, disable=None):
        (cut,) = tiles(look(dataset.image_paths()[item])[None], grid)
        vectors[item] = network.encode(list(cut))
    if cache:
        flat = vectors.reshape(len(vectors), -1)
        Features("visual", flat, dataset.item_names, whole.mask, {"encoder": encoder}).save(path)
    return _rows(whole, vectors, width, encoder)


def _seed(encoder: str) -> dict[str, int]:
    return {"seed": 0} if encoder == "random_cnn" else {}


def _rows(whole: Features, vectors: np.ndarray, width: int, encoder: str) -> Features:
    """Whiten all patch vectors (n, S, dim) together and put those of an item into one row."""
    n, parts, dim = vectors.shape
    names = np.array([f"{item}/{part}" for item in range(n) for part in range(parts)])
    every = Features("visual", vectors.reshape(-1, dim), names, np.repeat(whole.mask, parts)).whitened(width)
    about = {"encoder": encoder, "transforms": [f"{parts} parts", f"whitened({width})"]}
    return Features("visual", every.matrix.reshape(n, -1), whole.item_names, whole.mask, about)
