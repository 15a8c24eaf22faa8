"""Decks, the figures of part 4.2 with pictures as answers: composed search, guidance, copied or made."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from utils import plots
from utils.lab import tables as results
from utils.plots import generating as plots_generating
from utils.plots.pictures import _ink
from utils.plots.style import HIT, MODALITY_COLOURS, styled
from utils.press.decks.figures import alt_table, figure, sized
from utils.press.decks.numbers import VERDICTS, shop, value

# ---- composed search ------------------------------------------------------------------------------------------------

WAYS = {  # methods of the study -> (name on the slide, colour, control)
    "frozen picture and histogram": ("picture + counted colours", "visual", True),
    "combiner": ("Combiner", "multimodal", False),
    "direction": ("direction", "multimodal", False),
    "sum 0.5": ("half and half", "multimodal", False),
    "combiner, words shuffled": ("Combiner, random words", "multimodal", True),
    "picture alone": ("picture alone", "visual", False),
    "words alone": ("words alone", "textual", False),
}


@figure
def composed_bars() -> tuple[Figure, str]:
    """Composed search among held-out stamps: questions that are right at the first place."""
    rows = pd.DataFrame(results.load("composed_search")["rows"]).query("held_out == 'stamps'")
    frame = rows.groupby("method")["r@1"].agg(["mean", "std"]).loc[list(WAYS)]
    frame.index = [name for name, _, _ in WAYS.values()]
    kinds = {name: kind for name, kind, _ in WAYS.values()}
    controls = [name for name, _, control in WAYS.values() if control]
    drawn = plots.metric_bars(frame, "r@1", kinds=kinds, controls=controls, sort=True, form=".2f")
    (ax,) = drawn.axes
    ax.set_xlabel("Right at the first place (share), spread over seeds")
    ax.set(xlim=(0, 1.27), xticks=[0, 0.25, 0.5, 0.75, 1])
    return sized(drawn, 7.6, 4.6), f"Right first answers: {alt_table(frame['mean'], 2)}."


@value
def learned_beats_counting() -> str:
    """Is the Combiner ahead of the frozen picture with a histogram of colours, on stamps held out?"""
    rows = pd.DataFrame(results.load("composed_search")["rows"]).query("held_out == 'stamps'")
    right = rows.groupby("method")["r@1"].mean()
    return VERDICTS[True, bool(right["combiner"] > right["frozen picture and histogram"])]


@figure
@styled
def one_stamp_in_all_colours(title: str = "Whale") -> tuple[Figure, str]:
    """One stamp in the eight colours that can be asked for; its own is framed."""
    from utils import generation

    chosen = np.flatnonzero(shop().items["title"].to_numpy() == title)
    coloured = generation.in_all_colours(shop(), chosen=chosen)
    names = list(generation.HUES)
    fig = Figure(figsize=(6.4, 3.0), layout="constrained")
    for ax, picture, colour in zip(fig.subplots(2, 4).flat, coloured.pictures, coloured.colours):
        own = colour == coloured.own[0]
        ax.imshow(picture)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set(visible=True, color=HIT if own else "#CCCCCC", linewidth=4 if own else 1)
        ax.set_xlabel(f"in {names[colour]}", fontsize=15, color=_ink(MODALITY_COLOURS["textual"]))
    return fig, f"{title} in {', '.join(names)}; the framed one, {names[coloured.own[0]]}, is the stamp of the shop."


# ---- pictures that nobody made --------------------------------------------------------------------------------------

WEIGHTS = {"nothing asked": -1.0, "w = 0": 0.0, "w = 1": 1.0, "w = 3": 3.0}


@figure
def guidance_sheet(category: str = "food") -> tuple[Figure, str]:
    """One category in the eight colours, drawn from the same noise by growing weights of the guidance."""
    import torch

    from utils import generation

    generator, names = generation.load_generator("diffusion"), list(generation.HUES)
    hues, kind = torch.arange(len(names)), generator.about["categories"].index(category)
    kinds = torch.full_like(hues, kind)
    rows = {
        name: generation.to_pictures(generator.draw(hues, kinds, seed=0, weight=weight))
        for name, weight in WEIGHTS.items()
    }
    drawn = plots_generating.stamp_sheet(rows, names)
    return sized(drawn, 7.4, 4.4), (
        f"Stamps that nobody made, {category} in {', '.join(names)}, drawn from the same noise: first with nothing asked, "
        "then with a weight of the guidance of 0, 1 and 3."
    )


@figure
def beside_the_learned() -> tuple[Figure, str]:
    """A generated stamp of each category above the training picture closest to it, by pixels."""
    import torch

    from utils import generation
    from utils.generation.judge import nearest, pixels, with_mirrors
    from utils.generation.jury import LEVEL

    stamps, generator = generation.load_stamps(shop()), generation.load_generator("diffusion")
    categories = torch.arange(len(stamps.names))
    made = generator.draw(categories % len(generation.HUES), categories, seed=0, weight=1.0)
    learned, of_stamp = with_mirrors(stamps.part(held_out=False))
    known, held_out = pixels(learned), stamps.part(held_out=True).pictures
    found = nearest(pixels(made), known, of_stamp)
    limit = torch.quantile(nearest(pixels(held_out), known, of_stamp).distance, LEVEL).item()
    to_pictures = generation.to_pictures
    drawn = plots_generating.beside_nearest(
        to_pictures(made), to_pictures(learned[found.rows]), found.distance.tolist(), limit
    )
    words = "; ".join(
        f"{name} {far:.2f} from {stamps.titles[at]}"
        for name, far, at in zip(stamps.names, found.distance.tolist(), of_stamp[found.rows].tolist())
    )
    return sized(drawn, 9.4, 3.5), (
        f"Generated stamps above the closest training pictures, with the distance between the two: {words}. Closer than "
        f"{limit:.2f} counts as copied."
    )
