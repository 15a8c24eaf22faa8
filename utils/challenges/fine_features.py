"""Fine-grained picture features: descriptors of colour, shape and content as separate blocks of one matrix.

Numbers are shares or lengths, so that a large thing does not outvote a small one. Only numpy, scipy and Pillow.
Idea: Deldjoo, Di Noia, Malitesta, Merra, "Leveraging Content-Style Item Representation for Visual Recommendation", ECIR
2022, DOI 10.1007/978-3-030-99739-7_10.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from utils.arrays import read_arrays
from utils.data import Dataset
from utils.errors import CourseError, suggest
from utils.features import Features, load_features
from utils.features.cache import cache_root
from utils.features.encoders.image import on_white, open_image, square
from utils.models.base import blocks

BLOCKS = ("colour", "shape", "content")
SIDE = 96  # pixels of the square picture that colour and shape are measured on
BINS = 6  # of each of red, green, blue
MAP = 16  # cells a side of the edge map
CONTENT = 64  # axes of the network's vector that are kept
EDGE = 0.25  # a pixel is an edge from this slope on; a jump from black to white has slope 4 with Sobel's weights
SOBEL = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=np.float32)


def picture(source: str | Path | Image.Image, side: int = SIDE) -> np.ndarray:
    """Read a picture as (side, side, 3) uint8: whole, on white, not stretched, so that tall things stay tall."""
    image = source if isinstance(source, Image.Image) else open_image(source, near=side)
    return np.asarray(square(on_white(image), side, "pad"))


def edge_strength(pixels: np.ndarray) -> np.ndarray:
    """Slope of the brightness at each pixel, (h, w) float32, by Sobel's two filters; 0 where the picture is even.

    g_x = K * grey, g_y = K^T * grey, strength = sqrt(g_x^2 + g_y^2), grey in 0..1, border pixels repeated.
    """
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32) / 255
    around = np.lib.stride_tricks.sliding_window_view(np.pad(grey, 1, mode="edge"), (3, 3))
    right, down = (np.einsum("hwij,ij->hw", around, kernel) for kernel in (SOBEL, SOBEL.T))
    return np.hypot(right, down)


def foreground(pixels: np.ndarray, threshold: float = EDGE) -> np.ndarray:
    """The thing in the picture, (h, w) bool: the inside of the largest outline that the edges close.

    Edges are thickened by one pixel so that small gaps close, filled, thinned again, and the largest patch is kept. The
    page around the picture is white, so that a thing that touches the border is closed there, and a poster counts whole.
    Where nothing closes (a white picture) all of it counts: a picture always has colours.
    """
    page = np.pad(pixels, ((2, 2), (2, 2), (0, 0)), constant_values=255)
    edges = ndimage.binary_dilation(edge_strength(page) > threshold, np.ones((3, 3)))
    filled = ndimage.binary_erosion(ndimage.binary_fill_holes(edges), np.ones((3, 3)), iterations=2)[2:-2, 2:-2]
    patches, n_patches = ndimage.label(filled)
    if n_patches == 0:
        return np.ones(pixels.shape[:2], dtype=bool)
    return patches == 1 + np.bincount(patches.ravel())[1:].argmax()


def colour_histogram(pixels: np.ndarray, mask: np.ndarray | None = None, bins: int = BINS) -> np.ndarray:
    """Share of the pixels in each of bins^3 cells of red x green x blue, (bins^3,) float32, sum 1.

    Args:
        mask: (h, w) bool, which pixels count; all by default.
    """
    seen = pixels.reshape(-1, 3) if mask is None else pixels[mask]
    cell = seen.astype(np.int64) * bins // 256
    counts = np.bincount(cell @ np.array([bins * bins, bins, 1]), minlength=bins**3)
    return (counts / max(counts.sum(), 1)).astype(np.float32)


def edge_map(pixels: np.ndarray, cells: int = MAP, threshold: float = EDGE) -> np.ndarray:
    """Share of edge pixels in each cell of a coarse grid, (cells, cells) float32: where the outline runs, in no colour."""
    side = pixels.shape[0]
    if pixels.shape[1] != side or side % cells:
        raise CourseError(
            f"A picture of {pixels.shape[:2]} pixels has no grid of {cells} x {cells} cells; use picture()."
        )
    edges = (edge_strength(pixels) > threshold).astype(np.float32)
    return edges.reshape(cells, side // cells, cells, side // cells).mean((1, 3))


def fine_features(dataset: Dataset, content: Features | None = None, *, cache: bool = True) -> Features:
    """The three descriptors of every item's picture as blocks of one visual matrix, (n_items, 216 + 256 + 64).

    colour: square root of the foreground's histogram (rare colours count more); shape: the edge map; content: the
    network's vector on its first principal axes. ``blocks(features)`` gives the three apart.

    Args:
        dataset: its items, with pictures.
        content: the network's Features; by default the dataset's own (``load_features``).
        cache: keep colour and shape of the pictures in the course's cache; the key is the content of the pictures.
    """
    content = load_features(dataset, ["visual"])["visual"] if content is None else content
    content = content.align(dataset.item_names)
    colour, shape, seen = _measured(dataset, cache)
    mask = seen & content.mask
    reduced = content.whitened(min(CONTENT, int(content.mask.sum()) - 1)).matrix
    parts = {"colour": np.sqrt(colour), "shape": shape, "content": reduced}
    about = {"encoder": "fine", "blocks": {name: part.shape[1] for name, part in parts.items()}}
    about |= {"content": content.provenance.get("encoder", "")}
    return Features(
        "visual", np.concatenate(list(parts.values()), 1).astype(np.float32), dataset.item_names, mask, about
    )


def permuted(features: Features, block: str, seed: int = 0) -> Features:
    """Permute one block over the items and keep the others, (n_items, dim): what the test of faithfulness compares with."""
    columns = blocks(features)
    if block not in columns:
        raise suggest(block, columns, "block of these features")
    rows = np.flatnonzero(features.mask)
    matrix = features.matrix.copy()
    matrix[rows, columns[block]] = features.matrix[np.random.default_rng(seed).permutation(rows), columns[block]]
    return Features(features.modality, matrix, features.item_names, features.mask, features.provenance)


def _measured(dataset: Dataset, cache: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour (n, BINS^3), shape (n, MAP^2) and which items have a readable picture (n,) bool, from the cache or new."""
    paths = dataset.image_paths()
    digest = hashlib.sha256(f"fine 2 {SIDE} {BINS} {MAP} {EDGE}".encode())
    for path in paths:
        digest.update(path.read_bytes() if path is not None and path.exists() else b"none")
    stored = cache_root() / f"fine-{digest.hexdigest()[:24]}.npz"
    if cache and stored.exists():
        with suppress(CourseError):  # torn by a crash of the machine: compute again
            found = read_arrays(stored, ("colour", "shape", "seen"))
            return found["colour"], found["shape"], found["seen"]
    colour, shape = np.zeros((len(paths), BINS**3), np.float32), np.zeros((len(paths), MAP**2), np.float32)
    seen = np.zeros(len(paths), dtype=bool)
    for row, path in enumerate(paths):
        try:
            pixels = picture(path) if path is not None else None
        except (CourseError, OSError):
            pixels = None  # counts as missing, as in utils.features.extraction
        if pixels is not None:
            colour[row], shape[row] = colour_histogram(pixels, foreground(pixels)), edge_map(pixels).ravel()
            seen[row] = True
    if cache:
        from utils.files import atomic_path

        with atomic_path(stored) as part, open(part, "wb") as file:
            np.savez_compressed(file, colour=colour, shape=shape, seen=seen)
    return colour, shape, seen
