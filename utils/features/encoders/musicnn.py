"""MusicNN in torch: a convolutional network that recognises tags in music.

J. Pons and X. Serra, "musicnn: Pre-trained convolutional neural networks for music audio tagging" (2019),
arXiv:1909.06654. Our own code from the published facts; ``utils/shop/musicnn_weights.py`` made the weights.

One patch of log-mel spectrogram x (T = 187 frames = 3 s, F = 96 bands) goes through:

    1. batch norm of x, (B, 1, T, F)
    2. front end, five views, each: convolution -> ReLU -> batch norm -> maximum over frequency
         timbral   7 x 38 and 7 x 67 (frames x bands), 204 filters each: how a spectrum is coloured, at any pitch
         temporal  128 x 1, 64 x 1 and 32 x 1,          51 filters each: how energy moves in time
       concatenated: front (B, 561, T)
    3. middle, three convolutions over time, 7 frames wide, 64 filters:
         m1 = c1(front), m2 = c2(m1) + m1, m3 = c3(m2) + m2
       concatenated with the front end: (B, 561 + 3 * 64 = 753, T)
    4. pool over time: maximum and mean of each channel, (B, 1506)
    5. penultimate (B, 200) = norm(ReLU(dense(norm(pool)))); logits (B, 50) = dense; taggram = sigmoid(logits)

The trap of step 4: the pooled vector is max_0, mean_0, max_1, mean_1, ... because the original stacked the two on the
last axis and then flattened. All maxima and then all means have the same shape, run without an error, and hear "no
vocals" in everything: .92 in a drum break whose tags are drums and beat.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from torch import nn

from utils.devices import exact
from utils.errors import CourseError
from utils.features.encoders.sound import HOP, at_least, log_mel
from utils.features.encoders.weights import file_digest
from utils.features.registry import layers_of
from utils.files import ROOT

WEIGHTS = ROOT / "data" / "weights" / "musicnn_mtt.safetensors"
WEIGHTS_SHA256 = "3cc37bc906e137e6acca3895126b6329bb99099d7cc50126e02e72c00180aee4"
PATCH = 187  # frames of one patch: the 3 s that the network was trained on
LAYERS = {"penultimate": 200, "logits": 50, "taggram": 50, "pool": 1506}


class ConvBlock(nn.Module):
    """Zero padding in time -> convolution -> ReLU -> batch norm, in this order (TensorFlow's epsilon is 1e-3)."""

    def __init__(self, conv: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        frames = conv.kernel_size[0]
        before, after = (frames - 1) // 2, frames // 2  # an even kernel gets its odd frame at the end
        self.padding = (0, 0, before, after) if isinstance(conv, nn.Conv2d) else (before, after)
        norm = nn.BatchNorm2d if isinstance(conv, nn.Conv2d) else nn.BatchNorm1d
        self.conv, self.norm = conv, norm(conv.out_channels, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, T, ...) -> (B, out, T, ...)."""
        return self.norm(self.conv(F.pad(x, self.padding)).relu_())


class Peaks:
    """`ConvBlock` and the maximum over frequency in one step, for the wide timbral filters: a third of the multiplications.

    A filter of 38 or 67 bands costs that many products for each of its places. Over the Fourier transform of the 96
    bands it costs one for each of 49 frequencies, and only the places where the whole filter fits are transformed back.
    Bias, ReLU and batch norm keep or turn around the order of values, so they are applied to the largest value of a
    frame instead of to all (where the norm turns the order: to the smallest, the largest of the negated filter).
    A few filters at a time, so that their maps (9 MB for all) stay in the processor's cache.
    """

    def __init__(self, block: ConvBlock, bands: int = 96, at_once: int = 17) -> None:
        self.padding, self.frames, norm = block.padding, block.conv.kernel_size[0], block.norm
        self.scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        self.shift, self.bias = norm.bias - norm.running_mean * self.scale, block.conv.bias
        self.sign = torch.where(self.scale < 0, -1.0, 1.0)
        filters = block.conv.weight.detach()[:, 0].double() * self.sign[:, None, None]
        turned = torch.fft.rfft(filters, n=bands, dim=2).conj().permute(2, 1, 0)  # (49, frames, C)
        # [Re x, Im x] @ these = Re and Im of x times the filter's transform: (49, 2 * frames, filters)
        to_real = torch.cat([turned.real, -turned.imag], dim=1).float()
        to_imaginary = torch.cat([turned.imag, turned.real], dim=1).float()
        self.parts = [
            tuple(part.contiguous() for part in pair)
            for pair in zip(*(t.split(at_once, 2) for t in (to_real, to_imaginary)))
        ]
        places = torch.arange(bands - block.conv.kernel_size[1] + 1, dtype=torch.float64)
        angle = 2 * torch.pi / bands * places[:, None] * torch.arange(bands // 2 + 1)
        weight = torch.full((bands // 2 + 1,), 2.0 / bands, dtype=torch.float64)
        weight[[0, -1]] /= 2  # the constant and the fastest wave come once, every other wave twice
        self.back = torch.cat([weight * angle.cos(), -weight * angle.sin()], dim=1).float()  # (places, 2 * 49)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, T, 96) -> (B, C, T)."""
        transformed = torch.fft.rfft(F.pad(x, self.padding)[:, 0], dim=2)  # (B, T + frames - 1, 49)
        windows = torch.view_as_real(transformed).unfold(1, self.frames, 1)  # (B, T, 49, 2, frames)
        windows = windows.permute(2, 0, 1, 3, 4).reshape(transformed.shape[2], -1, 2 * self.frames)  # (49, B * T, ...)
        peaks = []
        for pair in self.parts:
            waves = (
                torch.stack([torch.bmm(windows, part) for part in pair]).flatten(2).flatten(0, 1)
            )  # (2 * 49, B * T * c)
            peaks.append((self.back @ waves).amax(dim=0).view(len(x), x.shape[2], -1))
        peak = torch.cat(peaks, dim=2) * self.sign + self.bias
        return (peak.relu_() * self.scale + self.shift).transpose(1, 2)


class MusicNN(nn.Module):
    """The network of this file's first lines: (B, T, 96) log-mel -> dict of pool, penultimate, logits, taggram."""

    def __init__(self, n_tags: int = 50) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, eps=1e-3)
        timbral = [nn.Conv2d(1, 204, (7, bands)) for bands in (38, 67)]
        temporal = [nn.Conv2d(1, 51, (frames, 1)) for frames in (128, 64, 32)]
        self.timbral = nn.ModuleList(map(ConvBlock, timbral))
        self.temporal = nn.ModuleList(map(ConvBlock, temporal))
        self.middle = nn.ModuleList(ConvBlock(nn.Conv1d(channels, 64, 7)) for channels in (561, 64, 64))
        self.pool_norm = nn.BatchNorm1d(2 * 753, eps=1e-3)
        self.penultimate = nn.Linear(2 * 753, 200)
        self.penultimate_norm = nn.BatchNorm1d(200, eps=1e-3)
        self.tags = nn.Linear(200, n_tags)
        self.peaks: list[Peaks] = []  # the fast form of the timbral views, once the weights are final

    @staticmethod
    def _view(block: ConvBlock) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: block(x).amax(dim=3)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Run patches x (B, T, 96); every value of the result is (B, dim) with dim as in ``LAYERS``."""
        x = self.norm(x[:, None])  # (B, 1, T, F)
        views = [*(self.peaks or [self._view(block) for block in self.timbral]), *map(self._view, self.temporal)]
        front = torch.cat([view(x) for view in views], dim=1)  # (B, 561, T)
        m1 = self.middle[0](front)
        m2 = self.middle[1](m1) + m1
        m3 = self.middle[2](m2) + m2
        channels = torch.cat([front, m1, m2, m3], dim=1)  # (B, 753, T)
        pool = torch.stack([channels.amax(dim=2), channels.mean(dim=2)], dim=2).flatten(1)  # max_0, mean_0, max_1, ...
        penultimate = self.penultimate_norm(F.relu(self.penultimate(self.pool_norm(pool))))
        logits = self.tags(penultimate)
        return {"pool": pool, "penultimate": penultimate, "logits": logits, "taggram": logits.sigmoid()}


@lru_cache(maxsize=1)
def load_musicnn(path: str | Path = WEIGHTS, expected: str = WEIGHTS_SHA256) -> MusicNN:
    """Load the shipped weights into a MusicNN in eval mode; ``.tag_names`` lists its 50 tags.

    Raises:
        CourseError: the file is missing, or its SHA-256 is not ``expected``.
    """
    path = Path(path)
    if not path.is_file():
        raise CourseError(
            f"The MusicNN weights {path} are missing; restore them with git checkout, or see data/weights/README.md."
        )
    if (found := file_digest(path)) != expected:
        raise CourseError(f"{path} has SHA-256 {found[:12]}..., not {expected[:12]}...; restore it with git checkout.")
    with safe_open(path, "pt") as stored:
        state = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (no mapping)
        tag_names = json.loads(stored.metadata()["about"])["tags"]
    model = MusicNN(len(tag_names))
    # num_batches_tracked is torch's own counter for training; everything else must be there
    counters = {name: value for name, value in model.state_dict().items() if name.endswith("num_batches_tracked")}
    model.load_state_dict({**state, **counters}, strict=True)
    model.tag_names = tag_names
    model = model.eval().requires_grad_(False)
    model.peaks = [Peaks(block) for block in model.timbral]
    return model


@lru_cache(maxsize=1)
def on_device(device: str) -> MusicNN:
    """A copy of the shipped network on an accelerator, without the fast form of its filters, which is for a processor."""
    model = copy.deepcopy(load_musicnn())
    model.peaks = []
    return model.to(device)


def patches(wave: np.ndarray) -> np.ndarray:
    """Cut a sound (n_samples,) at 16 kHz into log-mel patches (n_patches, 187, 96).

    A short sound is repeated up to one patch. A longer one is covered by as few patches as hold it, evenly spaced, so
    that its end is heard as well (they overlap a little; the authors' tool drops the rest instead).
    """
    spectrogram = log_mel(at_least(wave, (PATCH - 1) * HOP))
    n_patches = -(-len(spectrogram) // PATCH)
    starts = np.linspace(0, len(spectrogram) - PATCH, n_patches).round().astype(int)
    return np.stack([spectrogram[start : start + PATCH] for start in starts])


def encode(
    cut: Sequence[np.ndarray],
    layer: str | Sequence[str] = "penultimate",
    batch_size: int = 1,
    device: str = "cpu",
) -> np.ndarray | list[np.ndarray]:
    """Return one row per sound, (n_sounds, dim) float32: the mean of ``layer`` over the sound's patches.

    Args:
        cut: for each sound its :func:`patches` (n_patches, 187, 96).
        layer: ``penultimate`` (200), ``taggram`` or ``logits`` (50 tags), ``pool`` (1506); or several
            of them, then the result is a list, from one forward pass.
        batch_size: patches that go through the network at once; it changes the speed, not the result. On a CPU more
            than one is slower: a patch's maps (9 MB) then leave the processor's cache.
        device: where the network computes.
    """
    wanted = layers_of(layer, tuple(LAYERS), "musicnn")
    if not cut:
        found = [np.zeros((0, LAYERS[each]), np.float32) for each in wanted]
    else:
        model, where = load_musicnn() if device == "cpu" else on_device(device), torch.device(device)
        with torch.inference_mode(), exact(where, batch_size):
            stacked = torch.from_numpy(np.concatenate(cut)).to(where)
            outputs = [model(batch) for batch in stacked.split(batch_size)]
        lengths = [len(part) for part in cut]
        joined = [torch.cat([output[each] for output in outputs]).cpu() for each in wanted]
        found = [torch.stack([part.mean(dim=0) for part in rows.split(lengths)]).numpy() for rows in joined]
    return found[0] if isinstance(layer, str) else found


def top_tags(wave: np.ndarray, top_k: int = 5) -> list[tuple[str, float]]:
    """Return the ``top_k`` most likely tags of a sound (n_samples,) at 16 kHz, with their probabilities."""
    scores = encode([patches(wave)], "taggram")[0]
    return [(load_musicnn().tag_names[tag], float(scores[tag])) for tag in np.argsort(-scores, kind="stable")[:top_k]]
