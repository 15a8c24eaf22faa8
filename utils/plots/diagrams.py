"""Drawings of ideas rather than of numbers: the boxes and arrows of the schema."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from utils.plots.style import MODALITY_COLOURS, styled


@styled
def pipeline(stages: Sequence[str], kinds: Sequence[str], *, title: str = "") -> Figure:
    """Draw stages as boxes in a row, with arrows between them.

    Args:
        stages: the text of each box; a space may become a line break.
        kinds: for each box a key of ``MODALITY_COLOURS`` (the colour of its frame); ``"none"`` is grey.
    """
    n = len(stages)
    fig = Figure(figsize=(2.2 * n, 1.9), layout="constrained")
    ax = fig.subplots()
    for at, (stage, kind) in enumerate(zip(stages, kinds)):
        colour = MODALITY_COLOURS[kind] if kind != "none" else "#777777"
        box = FancyBboxPatch(
            (at, 0), 0.74, 1, boxstyle="round,pad=0.03", facecolor="white", edgecolor=colour, linewidth=3
        )
        ax.add_patch(box)
        number, _, words = stage.partition(" ")
        ax.text(at + 0.37, 0.72, number, ha="center", va="center", fontsize=17, color=colour, weight="bold")
        ax.text(at + 0.37, 0.32, words.replace(": ", ":\n"), ha="center", va="center", fontsize=13)
        if at:
            arrow = FancyArrowPatch(
                (at - 0.2, 0.5), (at - 0.05, 0.5), arrowstyle="-|>", mutation_scale=18, color="#444444"
            )
            ax.add_patch(arrow)
    ax.set(xlim=(-0.1, n - 0.15), ylim=(-0.12, 1.12), title=title)
    ax.axis("off")
    return fig
