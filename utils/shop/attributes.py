"""The hidden attributes of the Sticker Shop's items, from which tastes are planted.

No attribute comes from an encoder that the course uses for recommending: the topic is the folder of the package, the
looks come from another network (MobileNetV2), colour and shape from the pixels, the sound from its spectrum.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from utils.data.pictures import FORMATS, dominant_colour
from utils.errors import CourseError
from utils.files import sha256
from utils.shop.content import Content

MOBILENET_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
TOPIC_MINIMUM = 5  # smaller categories are one topic with the rest of their top category
N_LOOKS = 12
N_SOUNDS = 6
BAND_EDGES = (200, 400, 700, 1100, 1700, 2600, 4000)  # Hz, between the eight bands of a sound
SHAPES = ("tall", "wide", "full", "open")


def topics(category: pd.Series) -> list[str]:
    """Topic of each item: its category, or ``top/other`` where the category has too few items."""
    size = category.value_counts()
    topic = category.where(category.map(size) >= TOPIC_MINIMUM, category.str.split("/").str[0] + "/other")
    return topic.tolist()


def shape(mask: np.ndarray) -> str:
    """``tall``, ``wide``, ``full`` (fills its box) or ``open`` (thin or ragged), from the mask (height, width)."""
    height, width = mask.shape
    if height > 1.3 * width:
        return "tall"
    if width > 1.3 * height:
        return "wide"
    return "full" if mask.mean() > 0.66 else "open"


def sound_measures(samples: np.ndarray, rate: int = 16_000) -> np.ndarray:
    """Eleven numbers of a sound (n,): 8 shares of power from low to high, noisiness, spread and mean of its loudness."""
    padded = np.pad(samples, (0, max(0, 2048 - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::256] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2 + 1e-8
    band = np.searchsorted(BAND_EDGES, np.fft.rfftfreq(1024, 1 / rate), side="right")
    bands = np.stack([power[:, band == k].sum(1) for k in range(len(BAND_EDGES) + 1)], axis=1)
    per_frame = bands.sum(1)
    noisiness = np.exp(np.log(power).mean(1)) / power.mean(1)  # spectral flatness: 1 = noise, near 0 = a tone
    loudness = np.clip(np.log(per_frame / per_frame.max()), -10, 0)
    noisy = 2 * np.log((noisiness * per_frame).sum() / per_frame.sum())
    shares = np.log(bands.sum(0) / bands.sum() + 1e-4)
    return np.array([*shares, noisy, loudness.std(), loudness.mean()])


def sound_types(sounds: list[np.ndarray | None], top: pd.Series, seed: int = 0) -> list[str]:
    """Cluster of each sounding item, ``sound-1`` (low) to ``sound-6`` (high), "" for a silent one.

    Measures are centred within animals and within the rest, so that the cluster does not tell the category.
    """
    from sklearn.cluster import KMeans

    rows = np.array([k for k, samples in enumerate(sounds) if samples is not None])
    measures = np.array([sound_measures(sounds[k]) for k in rows])
    animal = (top == "animals").to_numpy()[rows]
    for group in (animal, ~animal):
        if group.any():
            measures[group] -= measures[group].mean(0)
    measures /= measures.std(0) + 1e-9
    cluster = KMeans(N_SOUNDS, n_init=20, random_state=seed).fit_predict(measures)
    height = measures[:, :8] @ np.arange(8)  # how far the power leans to the high bands
    rank = np.argsort(np.argsort([height[cluster == k].mean() for k in range(N_SOUNDS)]))
    types = [""] * len(sounds)
    for k, c in zip(rows, cluster):
        types[k] = f"sound-{rank[c] + 1}"
    return types


def mobilenet_features(folder: Path, images: list[str], weights: Path) -> np.ndarray:
    """Mean-pooled last feature map of MobileNetV2 (Sandler et al., 2018): (n_items, 1280) float32.

    Raises:
        CourseError: the weight file is not torchvision's ``mobilenet_v2-b0353104.pth``.
    """
    import torch
    from torchvision.models import mobilenet_v2

    if sha256(weights) != MOBILENET_SHA256:
        raise CourseError(f"{weights} is not torchvision's mobilenet_v2-b0353104.pth; take the file of that name.")
    network = mobilenet_v2()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval()
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    rows = []
    for start in range(0, len(images), 16):
        batch = []
        for name in images[start : start + 16]:
            with Image.open(folder / name, formats=FORMATS) as opened:
                picture = opened.convert("RGB")
            side = max(picture.size)  # padded to a square: the crop of the usual transform would cut long stamps
            page = Image.new("RGB", (side, side), "white")
            page.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            batch.append((np.asarray(page.resize((224, 224), Image.Resampling.BICUBIC), np.float32) / 255 - mean) / std)
        with torch.inference_mode():
            pixels = torch.from_numpy(np.stack(batch)).permute(0, 3, 1, 2)
            rows.append(network.features(pixels).mean((2, 3)).numpy())
    return np.concatenate(rows)


def looks(vectors: np.ndarray, category: pd.Series, texts: list[str], seed: int = 0) -> np.ndarray:
    """Clusters of looks (n_items,) int: picture vectors less what category and words predict of them.

    Args:
        vectors: (n_items, dim) picture vectors. texts: one description per item.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True).fit_transform(texts)
    words = TruncatedSVD(48, random_state=seed).fit_transform(words)
    top = category.str.split("/").str[0]
    known = np.hstack([pd.get_dummies(topics(category)), pd.get_dummies(top), words, np.ones((len(texts), 1))]).astype(
        float
    )
    picture = PCA(32, random_state=seed).fit_transform(vectors)
    ridge = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ picture)
    rest = picture - known @ ridge
    rest = rest[:, :16] / rest[:, :16].std(0) * np.sqrt(rest[:, :16].std(0))  # the first directions lead, none rules
    return KMeans(N_LOOKS, n_init=20, random_state=seed).fit_predict(rest)


def attributes(content: Content, folder: Path, weights: Path | None, earlier: Path | None = None) -> pd.DataFrame:
    """Table of hidden attributes (item, topic, looks, colour, shape, sound, path, style), rows as ``content.items``.

    Without ``weights`` the looks are taken from an ``earlier`` table of the same items.

    Raises:
        CourseError: neither weights nor a fitting earlier table.
    """
    items = content.items
    if weights is not None:
        vectors = mobilenet_features(folder, items["image"].tolist(), weights)
        cluster = looks(vectors, items["category"], items["description"].tolist())
        names = [f"look-{k:02d}" for k in cluster]
    else:
        table = pd.read_csv(earlier, sep="\t", dtype=str).set_index("item") if earlier and earlier.exists() else None
        if table is None or not items["item"].isin(table.index).all():
            raise CourseError(
                "The looks need --weights mobilenet_v2-b0353104.pth (or the truth/ folder of an earlier build)."
            )
        names = table.loc[items["item"], "looks"].tolist()
    pictures = [np.asarray(Image.open(folder / p, formats=FORMATS).convert("RGB")) for p in items["image"]]
    return pd.DataFrame(
        {
            "item": items["item"],
            "topic": topics(items["category"]),
            "looks": names,
            "colour": [dominant_colour(p, m) for p, m in zip(pictures, content.masks)],
            "shape": [shape(m) for m in content.masks],
            "sound": sound_types(content.sounds, items["category"].str.split("/").str[0]),
            "path": content.source["path"],
            "style": content.source["style"],
        }
    )
