"""Plots, the style: colours, sizes, axis names, and how a figure gets into a notebook with its alt text."""

from __future__ import annotations

import base64
import functools
import html
import io
import re
from collections.abc import Callable
from typing import Any, TypeVar

import matplotlib as mpl
from matplotlib.figure import Figure

from utils.errors import CourseError

# Okabe and Ito's palette, which stays apart under the common kinds of colour blindness; one colour per modality
MODALITY_COLOURS = {
    "visual": "#0072B2",
    "textual": "#E69F00",
    "audio": "#009E73",
    "multimodal": "#CC79A7",
    "none": "#6E6E6E",
}
HIT = "#D55E00"  # frames and marks of what is meant; never a modality
# Lines of models: apart from each other in simulated colour blindness (tested), at least 3:1 on white, and told apart by
# dashes and labels as well
LINES = (
    ("#000000", "-"),
    ("#D55E00", "--"),
    ("#6699CC", "-"),
    ("#5D3A9B", "-."),
    ("#803820", ":"),
    ("#6E6E6E", "--"),
)
MARKERS = "osD^vPX*<>hp"

METRIC_LABELS = {
    "precision": "Precision{k} (share of the list)",
    "recall": "Recall{k} (share of a user's relevant items)",
    "hr": "Hit rate{k} (share of users)",
    "ndcg": "nDCG{k} (0 to 1)",
    "mrr": "MRR{k} (1 / rank of the first hit)",
    "map": "MAP{k} (0 to 1)",
    "efd": "EFD{k} (bits)",
    "epc": "EPC{k} (0 to 1)",
    "gini": "1 - Gini{k} (1 = all items equally often)",
    "entropy": "Entropy{k} (bits)",
    "coverage": "Coverage{k} (share of the catalogue)",
    "aplt": "APLT{k} (long-tail share of the list)",
    "arp": "ARP{k} (train interactions per listed item)",
    "ild_visual": "Visual diversity{k} (cosine distance)",
    "ild_textual": "Textual diversity{k} (cosine distance)",
    "ild_audio": "Audio diversity{k} (cosine distance)",
    "loss": "Loss (mean over the epoch's batches)",
}
STYLE: dict[str, Any] = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same picture on every machine
    "font.size": 14,
    "axes.titlesize": 16,
    "axes.titlelocation": "left",
    "axes.labelsize": 14,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": False,
    "grid.color": "#DDDDDD",
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "legend.fontsize": 13,
    "legend.frameon": False,
    "lines.linewidth": 2.5,
    "hatch.linewidth": 1.2,
    "image.interpolation": "lanczos",
    "text.parse_math": False,  # titles of products hold dollars, and a price is no formula
}

Drawing = TypeVar("Drawing", bound=Callable[..., Figure])


def use_course_style() -> None:
    """Give the plots that you draw yourself the look of the course's own."""
    mpl.rcParams.update(STYLE)


def styled(draw: Drawing) -> Drawing:
    """Draw in the course's style whatever the reader's own settings are."""

    @functools.wraps(draw)
    def inside(*args: Any, **kwargs: Any) -> Figure:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inside  # type: ignore[return-value]


def show(fig: Figure, alt: str) -> None:
    """Put the figure into the notebook's output as a PNG with its alt text, and close it.

    The picture goes out as HTML: nbconvert's lab template, JupyterLab and Colab all drop the alt text of a plain PNG.

    Args:
        alt: what the picture shows, in a sentence or two, for those who cannot see it.

    Raises:
        CourseError: the alt text is empty.
    """
    from IPython.display import display

    alt = " ".join(alt.split())
    if not alt:
        raise CourseError("A figure needs an alt text; say in one sentence what the picture shows.")
    data = base64.b64encode(png(fig)).decode("ascii")
    # attributes in quotes, and no line break inside: sanitisers and text tools keep it as it is
    image = f'<img alt="{html.escape(alt)}" style="max-width:100%;height:auto" src="data:image/png;base64,{data}">'
    display({"text/html": image, "text/plain": f"Figure: {alt}"}, raw=True)
    close(fig)


def png(fig: Figure, dpi: int = 110) -> bytes:
    """Return the figure as a PNG file, without a date in it: same figure, same bytes."""
    stream = io.BytesIO()
    with mpl.rc_context(STYLE):
        fig.savefig(stream, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def close(fig: Figure) -> None:
    """Free the figure's memory, also when pyplot made it (so that it is not shown a second time)."""
    import sys

    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(fig)
    fig.clear()


def metric_label(metric: str) -> str:
    """Return the axis name of a metric with its unit: "recall@20" -> "Recall@20 (share of ...)"."""
    name, _, cutoff = metric.partition("@")
    return METRIC_LABELS.get(name, name.replace("_", " ")).format(k=f"@{cutoff}" if cutoff else "")


def modality_of(name: str) -> str:
    """Guess which key of `MODALITY_COLOURS` a model or feature set belongs to, from its name.

    "vbpr (visual)" -> visual, "image+text" -> multimodal, "freedom" -> multimodal, "bpr" -> none.
    """
    words = set(re.findall(r"[a-z]+", name.lower()))
    spoken = {
        "visual": {"visual", "image", "images", "picture", "pictures"},
        "textual": {"textual", "text", "texts", "words"},
        "audio": {"audio", "sound", "sounds"},
    }
    found = [modality for modality, names in spoken.items() if words & names]
    if len(found) > 1 or "multimodal" in words:
        return "multimodal"
    if found:
        return found[0]
    from utils.models import MODELS

    known = MODELS.get(name.lower().split(" ")[0])
    return "none" if known is None or known.schema.modalities == "none" else "multimodal"


def colour_of(name: str, kinds: Any = None) -> str:
    """Return the colour of a model: ``kinds[name]`` (a modality or a colour), else guessed from its name."""
    kind = (kinds or {}).get(name) or modality_of(name)
    return MODALITY_COLOURS.get(kind, kind)
