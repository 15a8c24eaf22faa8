"""Two interactive sliders (notebooks 01 and 04): pick a user or an item, move a weight, see the pictures change.

Each dial is a plain object whose answer for a weight can be asked without a browser. Its static twin, the same answer at
a few weights as one figure, goes into pages, papers and the deck.
"""

from __future__ import annotations

import base64
import functools
import html
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from matplotlib.figure import Figure

from utils import plots
from utils.data import Dataset, Split, split_dataset
from utils.errors import CourseError
from utils.evaluation import evaluate, top_items
from utils.features import load_features
from utils.fusion import late_fusion
from utils.graphs import nearest_items, shared_label
from utils.models import make_model
from utils.plots import style as plotstyle

WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
TOP_K = 7  # pictures in a row
HEADLESS = "COURSE_HEADLESS"  # set by the runner: nobody is there to drag


class Dial(Protocol):
    """What a slider needs: things to choose from, two ends, and an answer for each choice and weight."""

    ends: tuple[str, str]
    what: str

    def choices(self) -> dict[str, int]: ...
    def figure(self, choice: int, weights: Sequence[float], top_k: int = TOP_K) -> Figure: ...
    def words(self, choice: int, weights: Sequence[float], top_k: int = TOP_K) -> str: ...
    def line(self, weight: float) -> str: ...


def _checked(weight: float) -> float:
    if not 0 <= weight <= 1:
        raise CourseError(f"A weight of {weight} is outside 0 to 1; 0 is the first end of the dial, 1 the second.")
    return float(weight)


# ---- late fusion: who took what, and what it is ----


@dataclass(frozen=True, eq=False)
class FusionDial:
    """Late fusion of two recommenders: ``(1 - weight) * z(first) + weight * z(second)``, z within each user.

    Args:
        dataset, split: as everywhere; the second end of the dial never sees clicks of other users.
        ends: the names of the two recommenders.
        scores: two matrices (n_users, n_items), float32.
        kinds: name -> modality, for the colour.
    """

    dataset: Dataset
    split: Split
    ends: tuple[str, str]
    scores: tuple[torch.Tensor, torch.Tensor]
    kinds: Mapping[str, str] = field(default_factory=dict)
    what: str = "User"

    def items(self, user_id: int, weight: float, top_k: int = TOP_K) -> np.ndarray:
        """Return the list of one user at this weight, best first: (top_k,) item_ids."""
        weight, row = _checked(weight), [int(user_id)]
        mixed = late_fusion([scores[row] for scores in self.scores], [1 - weight, weight])
        return top_items(lambda _: mixed, self.split, row[0], top_k)

    def hits(self, user_id: int) -> np.ndarray:
        """Return the test items of a user, which no end of the dial has seen."""
        return self.split.test[self.split.test[:, 0] == user_id, 1]

    @functools.cache  # noqa: B019 - a dial lives as long as its notebook
    def recall(self, weight: float) -> float:
        """Return the mean validation Recall@20 over all users at this weight."""
        mixed = late_fusion(list(self.scores), [1 - _checked(weight), weight])
        return float(evaluate(mixed, self.split, "valid", 20, ("recall",))["recall@20"])

    @functools.cached_property
    def users(self) -> list[int]:
        """Users to choose from: first the one whose two lists differ most, then nine that are drawn (seed 0)."""
        n_train, n_test = (
            np.bincount(part[:, 0], minlength=self.split.n_users) for part in (self.split.train, self.split.test)
        )
        enough = np.flatnonzero((n_train >= TOP_K) & (n_test >= 2))
        if not len(enough):
            raise CourseError(f"No user has {TOP_K} training and 2 test items; a dial needs one with a history.")
        ends = {user: [self.items(user, weight) for weight in (0, 1)] for user in enough}
        differ = [len(np.setdiff1d(*ends[user])) for user in enough]
        found = [len(np.intersect1d(np.concatenate(ends[user]), self.hits(user))) for user in enough]
        most = enough[np.lexsort((found, differ))[-1]]
        rest = np.random.default_rng(0).permutation(enough[enough != most])[:9]
        return [int(user) for user in (most, *np.sort(rest))]

    def choices(self) -> dict[str, int]:
        n_train = np.bincount(self.split.train[:, 0], minlength=self.split.n_users)
        return {f"{self.dataset.users[user]} ({n_train[user]} items taken)": user for user in self.users}

    def figure(self, user_id: int, weights: Sequence[float] = WEIGHTS, top_k: int = TOP_K) -> Figure:
        """Show the history of a user and the list at each weight; what the user took later is framed and ticked."""
        names = [_name(weight, self.ends) for weight in weights]
        history = self.split.train[self.split.train[:, 0] == user_id, 1]
        lists = {name: self.items(user_id, weight, top_k) for name, weight in zip(names, weights)}
        kinds = {
            name: self.kinds.get(self.ends[int(w)], "none") if w in (0, 1) else "multimodal"
            for name, w in zip(names, weights)
        }
        return plots.recommendation_lists(
            self.dataset, history, lists, hits=self.hits(user_id), columns=top_k, kinds=kinds
        )

    def words(self, user_id: int, weights: Sequence[float] = WEIGHTS, top_k: int = TOP_K) -> str:
        """Say what the figure shows, list by list."""
        hits, lists = set(self.hits(user_id).tolist()), []
        for weight in weights:
            items = self.items(user_id, weight, top_k)
            n_hits = sum(int(item) in hits for item in items)
            lists.append(
                f"{_name(weight, self.ends)}: {', '.join(_titles(self.dataset, items))} ({n_hits} taken later)"
            )
        return f"Top row: what user {self.dataset.users[user_id]} took. {'. '.join(lists)}."

    def line(self, weight: float) -> str:
        """Say what the weight does to everybody, so that one user is not mistaken for a result."""
        return f"All users, validation: Recall@20 {self.recall(weight):.3f} at this weight."


def clicks_and_content(dataset: Dataset, split: Split | None = None, seed: int = 0) -> FusionDial:
    """Return the dial between ItemKNN, which knows who took what, and content kNN, which knows what the items are.

    Both only count, nothing is trained; on the Sticker Shop it takes about a second.
    """
    split = split_dataset(dataset, "random", seed=seed) if split is None else split
    models = (make_model("itemknn", split), make_model("itemknn_content", split, load_features(dataset)))
    everyone = np.arange(split.n_users)
    scores = tuple(model.score(everyone) for model in models)
    return FusionDial(dataset, split, ("clicks", "content"), scores, {"clicks": "none", "content": "multimodal"})


# ---- neighbours: picture and words ----


@dataclass(frozen=True, eq=False)
class NeighbourDial:
    """Neighbours by ``(1 - weight) * cosine of the pictures + weight * cosine of the words``.

    Args:
        dataset: has items with a category, and pictures.
        ends: the names of the two kinds of vectors.
        vectors: two matrices (n_items, dim), rows of length 1, or 0 where an item has none.
    """

    dataset: Dataset
    ends: tuple[str, str]
    vectors: tuple[np.ndarray, np.ndarray]
    kinds: Mapping[str, str] = field(default_factory=dict)
    first: str = ""  # the title of the item to begin with
    what: str = "Item"

    @functools.cache  # noqa: B019
    def near(self, weight: float, top_k: int = TOP_K - 1) -> np.ndarray:
        """Return the neighbours of every item at this weight: (n_items, top_k) item_ids, -1 = none."""
        weight = _checked(weight)
        # roots: the inner product of two joined rows is then the weighted sum of the two cosines
        parts = [np.sqrt(share) * matrix for share, matrix in zip((1 - weight, weight), self.vectors)]
        return nearest_items(np.concatenate(parts, axis=1), top_k)

    def items(self, item_id: int, weight: float, top_k: int = TOP_K - 1) -> np.ndarray:
        """Return the neighbours of one item at this weight, nearest first; empty when it has no vector there."""
        found = self.near(weight, top_k)[int(item_id)]
        return found[found >= 0]

    def same_category(self, weight: float) -> float:
        """Return the mean share of the five nearest items that have the item's own category, over all items."""
        return float(np.nanmean(shared_label(self.near(weight, 5), self.dataset.items["category"].to_numpy())))

    def choices(self) -> dict[str, int]:
        """Items to choose from: the first by name, then eleven that are drawn (seed 0), by title."""
        titles = self.dataset.items["title"]
        begin = np.flatnonzero(titles == self.first)[:1]
        drawn = np.random.default_rng(0).permutation(np.setdiff1d(np.flatnonzero(titles != ""), begin))[:11]
        return {titles[item]: int(item) for item in (*begin, *sorted(drawn, key=lambda item: titles[item]))}

    def figure(self, item_id: int, weights: Sequence[float] = WEIGHTS, top_k: int = TOP_K) -> Figure:
        """Show an item and its nearest ones at each weight; a frame and a tick mark the item's own category."""
        names = [_name(weight, self.ends) for weight in weights]
        found = {name: self.items(item_id, weight, top_k - 1)[None] for name, weight in zip(names, weights)}
        kinds = {
            name: self.kinds.get(self.ends[int(w)], "none") if w in (0, 1) else "multimodal"
            for name, w in zip(names, weights)
        }
        return plots.neighbours(self.dataset, [item_id], found, columns=top_k, kinds=kinds)

    def words(self, item_id: int, weights: Sequence[float] = WEIGHTS, top_k: int = TOP_K) -> str:
        """Say what the figure shows, row by row."""
        rows = [
            f"{_name(weight, self.ends)}: {', '.join(_titles(self.dataset, self.items(item_id, weight, top_k - 1)))}"
            for weight in weights
        ]
        return f"The nearest items of {_titles(self.dataset, [item_id])[0]}. {'. '.join(rows)}."

    def line(self, weight: float) -> str:
        """Say what the weight does to all items."""
        return f"All items: {self.same_category(weight):.1%} of the five nearest share the category at this weight."


def pictures_and_words(dataset: Dataset, first: str = "") -> NeighbourDial:
    """Return the dial between the picture and the words of the items; vectors are centred and brought to length 1."""
    features = load_features(dataset, ["visual", "textual"])
    vectors = tuple(features[m].centred().l2().matrix for m in ("visual", "textual"))
    return NeighbourDial(dataset, ("image", "text"), vectors, {"image": "visual", "text": "textual"}, first)


# ---- the slider and its static twin ----


def fusion_slider(dataset: Dataset, seed: int = 0) -> None:
    """Show the dial between clicks and content for a user."""
    show(clicks_and_content(dataset, seed=seed))


def neighbour_slider(dataset: Dataset, first: str = "") -> None:
    """Show the dial between picture and words for the neighbours of an item."""
    show(pictures_and_words(dataset, first))


def show(dial: Dial) -> None:
    """Show a dial with its static twin; the twin alone where nobody can drag (the runner, no ipywidgets).

    The twin is folded below a living slider. A front end without widgets shows a line of text and the twin.
    """
    first = next(iter(dial.choices().values()))
    box = None if os.environ.get(HEADLESS) else slider(dial)
    if box is None:
        plotstyle.show(dial.figure(first, WEIGHTS), alt=dial.words(first, WEIGHTS))
        return
    from IPython.display import HTML, display

    twin = _image(dial.figure(first, WEIGHTS), dial.words(first, WEIGHTS))
    bundle = {
        **box._repr_mimebundle_(),
        "text/plain": "A list and a slider; this page cannot show them, JupyterLab can.",
    }
    display(bundle, raw=True)
    display(HTML(f"<details open><summary>The same at {len(WEIGHTS)} weights, to print</summary>{twin}</details>"))


def slider(dial: Dial) -> Any:
    """Return the dial as an ipywidgets box (a list to choose from, a slider, a picture), None without ipywidgets.

    Both controls take the keyboard: Tab reaches them, arrow keys move them, and each step is announced by its label.
    """
    try:
        import ipywidgets
    except ImportError:
        return None
    wide = ipywidgets.Layout(width="560px")
    style = {"description_width": "190px"}
    choose = ipywidgets.Dropdown(options=dial.choices(), description=dial.what, layout=wide, style=style)
    weight = ipywidgets.FloatSlider(
        0.5, min=0, max=1, step=0.1, readout_format=".1f", continuous_update=False,
        description=f"{dial.ends[0]} 0 ... 1 {dial.ends[1]}", layout=wide, style=style,
    )  # fmt: skip
    picture = ipywidgets.HTML(answer(dial, choose.value, weight.value))

    def update(_: Any) -> None:
        picture.value = answer(dial, choose.value, round(weight.value, 2))

    choose.observe(update, "value")
    weight.observe(update, "value")
    return ipywidgets.VBox([choose, weight, picture])


def answer(dial: Dial, choice: int, weight: float) -> str:
    """Return what the slider shows for a choice and a weight, as HTML: the picture with its alt text, and one line."""
    image = _image(dial.figure(choice, [weight]), dial.words(choice, [weight]))
    return f"{image}<p>{html.escape(dial.line(weight))}</p>"


def _image(figure: Figure, alt: str) -> str:
    data = base64.b64encode(plotstyle.png(figure, dpi=80)).decode("ascii")
    plotstyle.close(figure)
    return f'<img alt="{html.escape(alt)}" style="max-width:100%;height:auto" src="data:image/png;base64,{data}">'


def _name(weight: float, ends: tuple[str, str]) -> str:
    """Return the name of a row: "clicks only", "0.25 content", "content only"."""
    return f"{ends[int(weight)]} only" if weight in (0, 1) else f"{weight:.2g} {ends[1]}"


def _titles(dataset: Dataset, items: Sequence[int]) -> list[str]:
    rows = dataset.items.iloc[[int(item) for item in items]]
    return [str(title or name) for title, name in zip(rows["title"], rows["item"])]
