"""Audio encoders: MusicNN, models of Hugging Face and torchaudio by name, log-mel and MFCC statistics, a control."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from utils.devices import exact
from utils.errors import CourseError, suggest
from utils.features.encoders import musicnn
from utils.features.encoders.sound import (
    MAX_SECONDS,
    SAMPLE_RATE,
    at_least,
    is_silent,
    logmel_stats,
    mfcc_stats,
    read_audio,
    samples_of,
)
from utils.features.encoders.weights import folder_digest, refuse_code
from utils.features.registry import Encoder, Network, layers_of, named, needs_network, register, register_family

__all__ = ["logmel_stats", "mfcc_stats", "read_audio", "sound_network"]


def sound_network(
    prepare: Callable[[np.ndarray], Any],
    encode: Callable[[list[Any]], np.ndarray],
    max_seconds: float,
    sample_rate: int = SAMPLE_RATE,
) -> Network:
    """Network of sound files: read as mono, then ``prepare(wave)``; a silent sound is said once per extraction."""
    said = threading.Lock()  # taken at the first silent sound and never given back; prepare runs in several threads

    def read(path: Path) -> Any:
        wave = samples_of(Path(path), sample_rate, max_seconds)
        if is_silent(wave) and said.acquire(blocking=False):
            warnings.warn(
                f"{path.parent.name}/{path.name} is silent: it counts as present, and its vector is that of "
                "silence (further silent sounds are not named); empty its audio in items.tsv if nothing should sound.",
                stacklevel=2,
            )
        return prepare(wave)

    return Network(read, encode)


@register(
    "musicnn",
    "audio",
    dim=200,
    licence="ISC",
    source="data/weights/musicnn_mtt.safetensors, converted from package musicnn 0.1.0, MagnaTagATune",
    weights=musicnn.WEIGHTS_SHA256,
    layers=tuple(musicnn.LAYERS),
    options={"max_seconds": MAX_SECONDS},
    many=True,
    placed=True,
)
def _load_musicnn(layer: str | tuple[str, ...], max_seconds: float, device: str = "cpu") -> Network:
    musicnn.load_musicnn()  # a missing or changed file is said here, before a sound is read
    at_once = 1 if device == "cpu" else 32
    encode = partial(musicnn.encode, layer=layer, batch_size=at_once, device=device)
    return sound_network(musicnn.patches, encode, max_seconds)


# Without weights: name -> what a sound becomes, how many numbers that is, in words.
STATISTICS = {
    "logmel_stats": (logmel_stats, 480, "mean, spread and percentiles over time of 96 log-mel bands (floor)"),
    "mfcc_stats": (mfcc_stats, 100, "mean, spread and percentiles over time of 20 cepstral coefficients (floor)"),
}


def _load_statistics(numbers: Callable[[np.ndarray], np.ndarray], layer: str, max_seconds: float) -> Network:
    return sound_network(numbers, np.stack, max_seconds)


for _name, (_numbers, _dim, _source) in STATISTICS.items():
    _about = {"dim": _dim, "source": _source, "layers": ("stats",), "options": {"max_seconds": MAX_SECONDS}}
    register(_name, "audio", **_about)(partial(_load_statistics, _numbers))


@register(
    "has_sound",
    "audio",
    dim=1,
    source="1 for every sound that can be read: knows that an item sounds, not how (control)",
    layers=("indicator",),
)
def _load_has_sound(layer: str) -> Network:
    return sound_network(lambda wave: np.ones(1, np.float32), np.stack, MAX_SECONDS)


def one_by_one(
    states_of: Callable[[Any], tuple[torch.Tensor, Sequence[torch.Tensor]]],
    layer: str | tuple[str, ...],
    encoder: str,
    device: str,
) -> Callable[[list[Any]], np.ndarray | list[np.ndarray]]:
    """An ``encode`` that gives the mean over time, of one sound at a time: a batch is padded, and that changes rows.

    Args:
        states_of: input -> (last states, states of every block), each (1, time, dim).
        layer: ``mean`` (of the last states) or ``hidden.K``; or several.
    """

    def encode(inputs: list[Any]) -> np.ndarray | list[np.ndarray]:
        rows = []
        with torch.inference_mode(), exact(torch.device(device), 1):
            for values in inputs:
                last, states = states_of(values)
                names = layers_of(layer, _layers(len(states)), encoder)
                chosen = [last if name == "mean" else states[int(name.split(".")[1])] for name in names]
                rows.append([found[0].mean(dim=0).float().cpu().numpy() for found in chosen])
        found = [np.stack(column) for column in zip(*rows)]
        return found[0] if isinstance(layer, str) else found

    return encode


def _layers(n_states: int) -> list[str]:
    """Names of the layers of a model with so many states."""
    return ["mean", *(f"hidden.{k}" for k in range(n_states))]


@register_family(
    "hf-audio", ["audio"], "the model's own", "a Hugging Face audio model, by name or local folder (wav2vec2, ...)"
)
def _hf_audio(name: str, modality: str) -> Encoder:
    """Make the encoder for ``hf-audio:NAME_OR_FOLDER``."""
    is_folder = Path(name).is_dir()

    def weights(revision: str, **_: Any) -> str:
        return folder_digest(Path(name)) if is_folder else f"{name}@{revision}"

    return named(
        "hf-audio", name, modality, partial(_load_hf_audio, name), offline=is_folder, source=f"Hugging Face, {name}",
        weights=weights, layers=("mean",), any_layer=True, options={"max_seconds": 30.0, "revision": "main"}, many=True,
    )  # fmt: skip


def _load_hf_audio(
    name: str, layer: str | tuple[str, ...], max_seconds: float, revision: str, device: str = "cpu"
) -> Network:
    """Load a wav2vec2-like model: the mean over time of its last states (``mean``), or of block K (``hidden.K``)."""
    from transformers import AutoFeatureExtractor, AutoModel

    if Path(name).is_dir():
        refuse_code(Path(name), f"hf-audio:{name}")
    given = {"revision": revision, "trust_remote_code": False}
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name, **given)
        model = AutoModel.from_pretrained(name, use_safetensors=True, **given).eval().to(device)
    except (OSError, ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise CourseError(
                f"Encoder 'hf-audio:{name}' comes with code of its own, and the course runs no code of a model; choose a "
                "model made of transformers' own classes."
            ) from None
        if Path(name).is_dir():
            raise CourseError(
                f"The folder {name} holds no Hugging Face audio model ({str(error).splitlines()[0]}); save model and "
                "feature extractor there with save_pretrained."
            ) from error
        raise needs_network(f"hf-audio:{name}", "audio", str(error).splitlines()[0]) from error
    layers_of(layer, _layers(model.config.num_hidden_layers + 1), f"hf-audio:{name}")  # said before a sound is read
    hidden = layer != "mean"
    rate = extractor.sampling_rate

    def prepare(wave: np.ndarray) -> torch.Tensor:
        wave = at_least(wave, rate)  # one second: shorter ones may not fill the first convolutions
        return extractor(wave, sampling_rate=rate, return_tensors="pt")["input_values"]

    def states_of(values: torch.Tensor) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        output = model(values.to(device), output_hidden_states=hidden)
        return output.last_hidden_state, output.hidden_states or ()

    return sound_network(prepare, one_by_one(states_of, layer, f"hf-audio:{name}", device), max_seconds, rate)


@register_family(
    "torchaudio", ["audio"], "the bundle's own", "a torchaudio pipeline bundle, by name (WAV2VEC2_BASE, ...)"
)
def _torchaudio(name: str, modality: str) -> Encoder:
    """Make the encoder for ``torchaudio:BUNDLE``; torchaudio is no requirement of the course."""

    def weights(**_: Any) -> str:
        return f"{name}@{getattr(_bundles(name)[0], '__version__', 'unknown')}"

    return named(
        "torchaudio", name, modality, partial(_load_torchaudio, name), licence="the bundle's own",
        source=f"torchaudio.pipelines.{name}", weights=weights, layers=("mean",), any_layer=True,
        options={"max_seconds": 30.0}, many=True,
    )  # fmt: skip


def _bundles(name: str) -> tuple[Any, Any]:
    """(torchaudio, the bundle of that name).

    Raises:
        CourseError: torchaudio is not installed, or has no such bundle.
    """
    try:
        import torchaudio
        from torchaudio import pipelines
    except ImportError:
        raise CourseError(
            f"Encoder 'torchaudio:{name}' needs the package torchaudio; run `pip install torchaudio`, or use hf-audio:NAME."
        ) from None
    known = [each for each in vars(pipelines) if each.isupper()]
    if name not in known:
        raise suggest(name, known, "torchaudio bundle")
    return torchaudio, getattr(pipelines, name)


@contextmanager
def tensors_only() -> Iterator[None]:
    """Let torch.load read tensors only, whatever a library asks of it: torch's own hub lets a file run code."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


def _load_torchaudio(name: str, layer: str | tuple[str, ...], max_seconds: float, device: str = "cpu") -> Network:
    """Load a wav2vec2-like bundle: the mean over time of its last layer (``mean``), or of layer K (``hidden.K``)."""
    _, bundle = _bundles(name)
    try:
        with tensors_only():
            model = bundle.get_model().eval().to(device)
    except OSError as error:
        raise needs_network(f"torchaudio:{name}", "audio", getattr(error, "reason", error)) from error
    except Exception as error:  # torch has many kinds for a file that would have to run code
        raise CourseError(
            f"Encoder 'torchaudio:{name}': its weights are no plain tensors ({str(error).splitlines()[0]}), and the course "
            "runs no code of a model; delete them from torch's folder of checkpoints, or use another bundle."
        ) from error
    rate = int(bundle.sample_rate)

    def states_of(wave: np.ndarray) -> tuple[torch.Tensor, Sequence[torch.Tensor]]:
        states, _ = model.extract_features(torch.from_numpy(at_least(wave, rate))[None].to(device))
        return states[-1], states

    return sound_network(
        lambda wave: wave, one_by_one(states_of, layer, f"torchaudio:{name}", device), max_seconds, rate
    )
