"""What each notebook needs of a dataset, and the sentence that says why it cannot run."""

from __future__ import annotations

import json
from pathlib import Path

from utils.data.dataset import MODALITIES, Dataset
from utils.data.load import load_dataset
from utils.files import ROOT

OWN_STORY = "it tells the Sticker Shop's own story; DATASET does not apply"
LEAST_REVIEWS = 50  # with fewer, every number of notebook 08 would be luck
OWN_FOLDER = {"A1_your_own_data": "it makes a folder of its own; DATASET does not apply"}


def modalities(dataset: Dataset) -> dict[str, bool]:
    """Modality -> whether raw content is there (True) or only prepared features (False); missing ones are left out."""
    raw = {"visual": dataset.image_paths(), "textual": dataset.texts(), "audio": dataset.audio_paths()}
    there = {m: any(values) for m, values in raw.items()}
    return {m: there[m] for m in MODALITIES if there[m] or m in dataset.prepared()}


def _times(dataset: Dataset) -> str:
    return "" if "timestamp" in dataset.interactions else "it holds out by chance and by time, and the log has no times"


def _raw(dataset: Dataset) -> str:
    raw = [m for m in ("visual", "textual") if modalities(dataset).get(m)]
    if len(raw) == 2:
        return ""
    return f"it takes features out of pictures and words, and items.tsv names {'only one of them' if raw else 'none'}"


def _any(dataset: Dataset) -> str:
    return "" if modalities(dataset) else "it trains models that read content, and the dataset has none"


def _two(dataset: Dataset) -> str:
    found = modalities(dataset)
    if sum(m in found for m in ("visual", "textual")) == 2:
        return ""
    only = f"has only {', '.join(found)}" if found else "has none"
    return f"it fuses pictures and words, and the dataset {only}"


def _reviews(dataset: Dataset) -> str:
    if "review" not in dataset.interactions:
        return "it puts reviews on edges, and the log has no column review"
    written = (dataset.interactions["review"].str.strip() != "").sum()
    few = "none of its rows has one" if not written else f"only {written} of its rows have one"
    return "" if written >= LEAST_REVIEWS else f"it puts reviews on edges, and {few}"


# Some stories have a study that takes any folder with pictures and words.
COMMANDS = {
    "07_missing_modalities": "missing_modalities",
    "09_feature_extractors": "feature_extractors",
    "10_fine_grained_features": "fine_grained_features",
}
# The notebooks that take any dataset, and what they ask of it; all others tell the story of the Sticker Shop.
NEEDS = {
    "02_dataset_processing": _times,
    "03_feature_extraction": _raw,
    "04_multimodal_fusion": _two,
    "05_training": _any,
    "08_reviews_on_edges": _reviews,
}


def why_not(path: Path, dataset: Dataset | str | Path) -> str:
    """Return "" when the notebook at ``path`` runs on this dataset (or its folder), else the reason in half a sentence."""
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("course", {})
    if metadata.get("datasets") != "any":
        if path.stem in OWN_FOLDER:
            return OWN_FOLDER[path.stem]
        study = COMMANDS.get(path.stem)
        words = "; for pictures and words of your own: python -m utils.lab study {} FOLDER --out FILE"
        return OWN_STORY + (words.format(study) if study else "")
    if path.stem not in NEEDS:
        return ""
    return NEEDS[path.stem](dataset if isinstance(dataset, Dataset) else load_dataset(dataset))


def uses(dataset: Dataset) -> dict[str, str]:
    """Notebook -> "" or why it does not run, for all numbered notebooks of the course."""
    paths = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
    own = dataset.path.resolve() != (ROOT / "data" / "sticker_shop").resolve()
    return {path.stem: why_not(path, dataset) if own else "" for path in paths}
