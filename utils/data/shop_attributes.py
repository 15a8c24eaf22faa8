"""Room `data` ("Which?"): the hidden attributes of the Sticker Shop's items, from which tastes are planted.

No attribute comes from an encoder that the course uses for recommending: the topic is the folder of the package, the
looks come from another network (MobileNetV2), colour and shape from the pixels, the sound from its spectrum.
"""

from __future__ import annotations

import colorsys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from utils.data.sticker_shop import Content
from utils.errors import CourseError
from utils.files import sha256

MOBILENET_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
TOPIC_MINIMUM = 5  # smaller categories are one topic with the rest of their top category
N_LOOKS = 12
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "brown", "grey", "black", "white")
SHAPES = ("tall", "wide", "full", "open")
ATTRIBUTES = ("topic", "looks", "colour", "shape", "sound")


def topics(category: pd.Series) -> list[str]:
    """Topic of each item: its category, or ``top/other`` where the category has too few items."""
    size = category.value_counts()
    return [c if size[c] >= TOPIC_MINIMUM else f"{c.split('/')[0]}/other" for c in category]


def dominant_colour(picture: np.ndarray, mask: np.ndarray) -> str:
    """Name of the most frequent colour among the pixels of the stamp.

    Args:
        picture: (height, width, 3) uint8. mask: (height, width) bool, True where the stamp is opaque.
    """
    pixels = picture[mask][::7] if mask.any() else picture.reshape(-1, 3)
    votes = dict.fromkeys(COLOURS, 0.0)
    for red, green, blue in pixels / 255.0:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        if value < 0.2:
            votes["black"] += 0.5  # outlines and shadows are dark in nearly every stamp
        elif saturation < 0.16:
            votes["white" if value > 0.85 else "grey"] += 0.5
        elif 0.03 < hue < 0.12 and value < 0.65:
            votes["brown"] += 1
        else:
            edges = np.array([0.03, 0.11, 0.19, 0.46, 0.70, 0.93])
            votes[("red", "orange", "yellow", "green", "blue", "purple", "red")[int(np.searchsorted(edges, hue))]] += 1
    return max(votes, key=votes.get)


def shape(mask: np.ndarray) -> str:
    """``tall``, ``wide``, ``full`` (fills its box) or ``open`` (thin or ragged), from the mask (height, width)."""
    height, width = mask.shape
    if height > 1.3 * width:
        return "tall"
    if width > 1.3 * height:
        return "wide"
    return "full" if mask.mean() > 0.66 else "open"


def sound_measures(samples: np.ndarray, rate: int = 16_000) -> tuple[float, float]:
    """(brightness, unevenness) of a sound (n,): log spectral centroid in log Hz, and spread of its loudness in log units."""
    padded = np.pad(samples, (0, max(0, 1024 - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::512] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2 + 1e-10
    frequency = np.fft.rfftfreq(1024, 1 / rate)
    centroid = (power.sum(0) * frequency).sum() / power.sum()
    loudness = np.log(power.sum(1) + 1e-4)
    return float(np.log(centroid + 1)), float(loudness.std())


def sound_types(sounds: list[np.ndarray | None], top: pd.Series) -> list[str]:
    """``dark`` or ``bright`` x ``steady`` or ``uneven`` of each sounding item, "" of a silent one.

    Split at the median within animals and within the other top categories, so that the type does not tell the category.
    """
    types = np.array([""] * len(sounds), dtype=object)
    group = np.where(top == "animals", "animals", "things")
    has = np.array([s is not None for s in sounds])
    for name in ("animals", "things"):
        rows = np.flatnonzero(has & (group == name))
        measures = np.array([sound_measures(sounds[k]) for k in rows])
        if len(rows):
            bright, uneven = (measures > np.median(measures, axis=0)).T
            types[rows] = [f"{'bright' if b else 'dark'}-{'uneven' if u else 'steady'}" for b, u in zip(bright, uneven)]
    return types.tolist()


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
            with Image.open(folder / name) as opened:
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
    known = np.hstack([pd.get_dummies(topics(category)), pd.get_dummies(top), words, np.ones((len(texts), 1))]).astype(float)
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
            raise CourseError("The looks need --weights mobilenet_v2-b0353104.pth (or the truth/ folder of an earlier build).")
        names = table.loc[items["item"], "looks"].tolist()
    pictures = [np.asarray(Image.open(folder / p).convert("RGB")) for p in items["image"]]
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
