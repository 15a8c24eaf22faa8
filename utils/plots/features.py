"""Plots of what encoders see: a picture as numbers, feature maps by layer, sounds as waves and spectrograms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from utils.data import Dataset
from utils.errors import CourseError
from utils.features.encoders.sound import HOP, SAMPLE_RATE, hertz_to_mel, mel_to_hertz
from utils.plots.pictures import _grid, _name
from utils.plots.style import MODALITY_COLOURS, styled

CHANNELS = (("red", "#B2182B"), ("green", "#1B7837"), ("blue", "#2166AC"))


@styled
def picture_as_numbers(picture: np.ndarray, tensor: np.ndarray, *, title: str = "") -> Figure:
    """Show a picture, its three channels, and the values before and after normalisation.

    Args:
        picture: (height, width, 3) uint8.
        tensor: (3, height, width) float, what the network gets.
    """
    fig = Figure(figsize=(11.2, 5.6), layout="constrained")
    top, low = fig.subfigures(2, 1, height_ratios=(1.05, 1))
    fig.suptitle(title, x=0.01, ha="left")
    for at, ax in enumerate(top.subplots(1, 4)):
        ax.imshow(picture if at == 0 else picture[..., at - 1], cmap="gray", vmin=0, vmax=255)
        ax.set(xticks=[], yticks=[])
        ax.set_xlabel("picture" if at == 0 else f"{CHANNELS[at - 1][0]} channel")
    before, after = low.subplots(1, 2)
    for at, (name, colour) in enumerate(CHANNELS):
        for ax, values in ((before, picture[..., at]), (after, tensor[at])):
            counts, edges = np.histogram(values, bins=32)
            ax.stairs(counts, edges, color=colour, linewidth=2, linestyle=("-", "--", ":")[at], label=name)
    before.set(xlabel="Stored value (0 to 255)", ylabel="Pixels (log scale)", yscale="log")
    after.set(xlabel="Normalised value (about -1 to 1)", yscale="log", xticks=[-1, -0.5, 0, 0.5, 1])
    before.legend()
    return fig


@styled
def feature_maps(picture: np.ndarray, layers: Mapping[str, np.ndarray], *, columns: int = 6, title: str = "") -> Figure:
    """Show the strongest channels of a picture at several layers, one row each, the picture at the left.

    Args:
        picture: (height, width, 3) uint8.
        layers: name -> activations (channels, height, width); the channels whose values spread most are shown.
    """
    if not layers:
        raise CourseError("There is no layer to draw; give at least one name with its activations.")
    fig = Figure(figsize=(11.2, 1.95 * len(layers) + 0.5), layout="constrained")
    axes = fig.subplots(len(layers), columns + 1, squeeze=False)
    fig.suptitle(title, x=0.01, ha="left")
    for row, (name, maps) in zip(axes, layers.items()):
        strongest = np.argsort(-maps.reshape(len(maps), -1).std(axis=1), kind="stable")[:columns]
        row[0].imshow(picture)
        row[0].set_ylabel(f"{name}\n{maps.shape[0]} channels\n{maps.shape[1]} x {maps.shape[2]}", fontsize=13)
        for ax, channel in zip(row[1:], strongest):
            ax.imshow(maps[channel], cmap="magma", interpolation="nearest")
            ax.set_xlabel(f"channel {channel}", fontsize=12)
        for ax in row:
            ax.set(xticks=[], yticks=[])
    return fig


@styled
def sound_pictures(waves: Mapping[str, np.ndarray], spectrograms: Sequence[np.ndarray], *, title: str = "") -> Figure:
    """Show sounds side by side: the wave above, the log-mel spectrogram below.

    Args:
        waves: name -> samples (n,) at 16 kHz.
        spectrograms: for each sound its log-mel (n_frames, n_bands).
    """
    fig = Figure(figsize=(11.2, 5.4), layout="constrained")
    axes = fig.subplots(2, len(waves), squeeze=False, height_ratios=(1, 1.6))
    fig.suptitle(title, x=0.01, ha="left")
    for at, ((name, wave), frames) in enumerate(zip(waves.items(), spectrograms)):
        seconds, bands = len(wave) / SAMPLE_RATE, frames.shape[1]
        above, below = axes[:, at]
        above.plot(np.arange(len(wave)) / SAMPLE_RATE, wave, color=MODALITY_COLOURS["audio"], linewidth=0.6)
        above.set(xlim=(0, seconds), ylim=(-1, 1), xticks=[])
        above.set_title(name, fontsize=14)
        below.imshow(
            frames.T, origin="lower", aspect="auto", cmap="magma", extent=(0, len(frames) * HOP / SAMPLE_RATE, 0, bands)
        )
        below.set(xlabel="Time (seconds)", xlim=(0, seconds))
        ticks = np.array([0, 24, 48, 72, 95])
        edges = mel_to_hertz(np.linspace(0, hertz_to_mel(SAMPLE_RATE / 2), bands + 2))[1:-1]
        below.set_yticks(ticks, [f"{edges[t] / 1000:.1f}" for t in ticks] if at == 0 else [""] * len(ticks))
        if at:
            above.set_yticks([])
    axes[0, 0].set_ylabel("Amplitude")
    axes[1, 0].set_ylabel("Frequency (kHz, mel scale)")
    return fig


@styled
def query_rows(
    dataset: Dataset, found: Mapping[str, Iterable[int]], *, hits: Iterable[int] = (), title: str = ""
) -> Figure:
    """Show what each sentence finds, one row of pictures each, best first.

    Args:
        dataset: has image(item_id), image_paths() and items.
        found: sentence -> item_ids.
        hits: item_ids to frame and tick.
    """
    rows = [[int(item) for item in ids] for ids in found.values()]
    words = [[_name(dataset, item) for item in row] for row in rows]
    framed = [set(map(int, hits))] * len(rows)
    colours = [MODALITY_COLOURS["textual"]] * len(rows)
    columns = max(map(len, rows))
    return _grid(dataset, rows, words, list(found), title=title, hits=framed, columns=columns, colours=colours)
