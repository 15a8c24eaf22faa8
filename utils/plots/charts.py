"""Charts that several notebooks share. Each function returns a Figure; `show(fig, alt)` puts it into the notebook.

One colour per modality everywhere (`MODALITY_COLOURS`), colour-blind safe; letters of 12 points and more; axis names
with units; labels beside the lines instead of legends. Pictures of items: pictures.py. Style: style.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from utils.errors import CourseError, suggest
from utils.evaluation.metrics import HEAD_SHARE, short_head
from utils.plots.pictures import _ink, _light
from utils.plots.style import (
    HIT,
    LINES,
    MARKERS,
    colour_of,
    metric_label,
    styled,
)

HEAT = LinearSegmentedColormap.from_list(
    "heat", ["#FFFFFF", "#C3B5E0", "#5D3A9B"]
)  # light to dark: reads in grey, and is no modality's


@styled
def learning_curves(histories: Mapping[str, Any], *, title: str = "") -> Figure:
    """Draw the loss and the validation metric over epochs, one line per model; a dot marks the epoch that was kept.

    Args:
        histories: name -> History of utils.training (or its frame: epoch, loss, a metric, seconds).
    """
    frames = {name: _history(history) for name, history in histories.items()}
    if not frames:
        raise CourseError("There is no history to draw; untrained models have none.")
    judged = any(metric for _, metric in frames.values())
    fig = Figure(figsize=(12 if judged else 7, 4.6), layout="constrained")
    left, right = fig.subplots(1, 2) if judged else (fig.subplots(), None)
    ends: dict[Axes | None, list[tuple[float, float, str, str]]] = {left: [], right: []}
    metrics = [metric for _, metric in frames.values() if metric]
    for (name, (frame, metric)), (colour, dash) in zip(frames.items(), _cycle(LINES)):
        for ax, column in ((left, "loss"), (right, metric)):
            seen = frame.dropna(subset=[column]) if column else frame[:0]
            if len(seen) and ax is not None:
                ax.plot(seen["epoch"], seen[column], color=colour, linestyle=dash)
                ends[ax].append((float(seen["epoch"].iloc[-1]), float(seen[column].iloc[-1]), name, colour))
        if len(seen):  # of the metric
            best = seen.loc[seen[column].idxmax()]
            right.plot(best["epoch"], best[column], "o", markersize=9, color=colour, clip_on=False, zorder=5)
    for ax in (left, right) if judged else (left,):
        ax.set_xlabel("Epoch")
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        ax.grid(axis="y")
        _end_labels(ax, ends[ax])
    left.set_ylabel("Loss (mean over batches)")
    left.set_title(title or "What it minimises")
    if judged:
        right.set_ylabel(f"Validation {metric_label(metrics[0]).split(' (')[0]}")
        right.set_title("What we want (dot: the epoch kept)")
    return fig


@styled
def metric_bars(
    frame: pd.DataFrame,
    metric: str,
    *,
    kinds: Mapping[str, str] | None = None,
    controls: Iterable[str] = (),
    sort: bool = False,
    title: str = "",
    whiskers: str = "spread over seeds",
    form: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw one bar per model with its spread (by default one standard deviation over seeds each way) and the mean as text.

    Args:
        frame: index = model; the table of `mean_spread` for a mapping, or columns mean and std.
        metric: which metric of the table; names the axis.
        kinds: model -> modality or colour; guessed from the name by default.
        controls: models that are a control or a baseline: hatched.
        whiskers: what the spread is, for the axis name.
        form: Python's format of the numbers, such as .2f; by default three digits, one for large numbers.
        ax: draw into this axes instead of a new figure.
    """
    mean, std = _mean_std(frame, metric)
    if sort:
        order = np.argsort(mean.to_numpy(), kind="stable")[::-1]
        mean, std = mean.iloc[order], std.iloc[order]
    fig = Figure(figsize=(10, 1.3 + 0.52 * len(mean)), layout="constrained") if ax is None else ax.figure
    ax = fig.subplots() if ax is None else ax
    names = [str(name) for name in mean.index]
    spread = std.fillna(0.0).to_numpy()
    controls = set(controls)
    for row, (name, value, error) in enumerate(zip(names, mean, spread)):
        colour = colour_of(name, kinds)
        face = "#FFFFFF" if name in controls else colour
        ax.barh(
            row, value, 0.66, color=face, edgecolor=colour, linewidth=1.5, hatch="///" if name in controls else None
        )
        if error > 0:
            ax.errorbar(value, row, xerr=error, color="#000000", capsize=5, linewidth=1.8)
    _bar_texts(ax, mean.to_numpy(dtype=float), spread, std.notna().to_numpy(), form)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(metric_label(metric) + (f", mean and {whiskers}" if (spread > 0).any() else ""))
    ax.set_title(title)
    return fig


@styled
def group_dots(tables: Mapping[str, pd.DataFrame], metric: str, *, title: str = "") -> Figure:
    """Draw a metric for groups of users, one line per model.

    Args:
        tables: model -> table of `by_group` (index = group, columns users and the metric).
    """
    first = next(iter(tables.values()))
    for table in tables.values():
        if metric not in table.columns:
            raise suggest(metric, table.columns, "column of by_group")
    fig = Figure(figsize=(10, 4.8), layout="constrained")
    ax = fig.subplots()
    ends = []
    for at, ((name, table), (colour, dash)) in enumerate(zip(tables.items(), _cycle(LINES))):
        ax.plot(
            range(len(table)),
            table[metric],
            dash,
            color=colour,
            marker=MARKERS[at % len(MARKERS)],
            markersize=9,
            clip_on=False,
        )
        ends.append((len(table) - 1.0, float(table[metric].iloc[-1]), name, colour))
    groups = [f"{group}\n{users} users" for group, users in zip(first.index, first["users"])]
    ax.set_xticks(range(len(first)), groups)
    ax.set_ylabel(metric_label(metric).replace(" (", "\n("))
    ax.set_ylim(bottom=0)
    ax.set_xlabel("Group of users")
    ax.grid(axis="y")
    ax.set_title(title)
    _end_labels(ax, ends)
    return fig


@styled
def intervals(
    tables: pd.DataFrame | Mapping[str, pd.DataFrame],
    metric: str = "recall@20",
    *,
    alpha: float = 0.05,
    title: str = "",
) -> Figure:
    """Draw the differences of `compare_all` with their bootstrap intervals; filled = significant after Holm.

    Args:
        tables: rows with a, b, difference, low, high and t_holm; or heading -> such rows, one block under another.
    """
    blocks = {"": tables} if isinstance(tables, pd.DataFrame) else dict(tables)
    if not blocks:
        raise CourseError("There is no table to draw; give at least one.")
    names = []
    for heading, table in blocks.items():
        names += [heading] * bool(heading) + [f"{a} \u2212 {b}" for a, b in zip(table["a"], table["b"])]
    fig = Figure(figsize=(10, 1.5 + (0.42 if len(names) > 12 else 0.55) * len(names)), layout="constrained")
    ax = fig.subplots()
    row = 0
    for heading, table in blocks.items():
        row += bool(heading)
        for line in table.itertuples():
            _interval(ax, row, line, alpha)
            row += 1
    ax.axvline(0, color="#000000", linewidth=1)
    ax.set_yticks(range(len(names)), names)
    for label in ax.get_yticklabels():
        if label.get_text() in blocks:
            label.set_fontweight("bold")
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.xaxis.set_major_locator(MaxNLocator(6))
    short = metric_label(metric).split(" (")[0]
    ax.set_xlabel(f"Difference in {short}, 95 % interval over users\n(filled: Holm p < {alpha:g})")
    ax.grid(axis="x")
    ax.set_title(title)
    return fig


def _interval(ax: Axes, row: int, line: Any, alpha: float) -> None:
    """Draw one difference: its interval, its dot, and the p value at the right."""
    sure = line.t_holm < alpha
    colour = HIT if sure else "#6E6E6E"
    ax.plot([line.low, line.high], [row, row], color=colour, linewidth=3)
    face = colour if sure else "#FFFFFF"
    ax.plot(line.difference, row, "o", markersize=10, color=colour, markerfacecolor=face, markeredgewidth=2)
    p = "p < .001" if line.t_holm < 0.001 else f"p = {line.t_holm:.3f}".replace("0.", ".")
    ax.annotate(p, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=13, annotation_clip=False)


@styled
def tradeoff(
    frame: pd.DataFrame,
    x: str = "recall@20",
    y: str = "aplt@20",
    *,
    kinds: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Place every model by two metrics, for example accuracy against long-tail share.

    Args:
        frame: index = model; columns are metrics, or the table of `mean_spread` for a mapping.
    """
    (xs, _), (ys, _) = _mean_std(frame, x), _mean_std(frame, y)
    fig = Figure(figsize=(9, 6), layout="constrained")
    ax = fig.subplots()
    colours = [colour_of(str(name), kinds) for name in xs.index]
    for at, (name, colour) in enumerate(zip(xs.index, colours)):
        ax.plot(xs[name], ys[name], MARKERS[at % len(MARKERS)], markersize=13, color=colour)
    ax.set(xlabel=metric_label(x), ylabel=metric_label(y).replace(" (", "\n("), title=title)
    ax.margins(0.2)
    ax.grid()
    _point_labels(ax, xs.to_numpy(dtype=float), ys.to_numpy(dtype=float), list(map(str, xs.index)), colours)
    return fig


@styled
def popularity_curve(popularity: Any, *, head: float = HEAD_SHARE, title: str = "") -> Figure:
    """Draw how many train interactions each item has, most popular first, and where the long tail starts.

    Args:
        popularity: a Split, a Dataset, or counts per item (n_items,).
        head: share of the interactions that the short head holds.
    """
    counts = np.sort(_counts(popularity))[::-1]
    if not counts.any():
        raise CourseError("No item has an interaction; there is no popularity to draw.")
    n_head = int(short_head(counts, head).sum())
    n = len(counts)
    steep = counts[0] > 100 * max(counts[n // 2], 1)  # on a plain scale such a curve is one spike
    fig = Figure(figsize=(10, 4.8), layout="constrained")
    ax = fig.subplots()
    edges = np.arange(n + 1) + 0.5
    floor = 0.7 if steep else 0.0
    ax.stairs(counts[:n_head], edges[: n_head + 1], baseline=floor, fill=True, color="#4D4D4D")
    ax.stairs(counts[n_head:], edges[n_head:], baseline=floor, fill=True, color=HIT)
    ax.set_yscale("log" if steep else "linear")
    ax.set_ylim(floor, counts[0] * (4.0 if steep else 1.35))
    ax.set_xlim(0.5, n + 0.5)

    def above(rank: float) -> float:
        """Return where a text stands clear of the curve, which falls, right of this rank (share of the axis)."""
        height = max(counts[min(int(rank), n - 1)], floor)
        return ax.transLimits.transform(ax.transScale.transform((1, height)))[1] + 0.05

    share = f"short head: {_items(n_head)} ({100 * n_head / n:.0f} %)\nhold {100 * head:.0f} % of the interactions"
    place = {"transform": ax.transAxes, "va": "bottom"}
    ax.text(0.14, max(above(0.12 * n), 0.5), share, color="#4D4D4D", **place)
    tail = f"long tail:\n{_items(n - n_head)}"
    ax.text(1, above(min(n_head, 0.78 * n)), tail, color=_ink(HIT), ha="right", **place)
    unit = "count, log scale" if steep else "count"
    ax.set(xlabel="Items, most popular first (rank)", ylabel=f"Interactions ({unit})", title=title)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return fig


@styled
def heat_table(
    frame: pd.DataFrame,
    *,
    digits: int = 3,
    by: str = "column",
    lower_is_better: Iterable[str] = (),
    title: str = "",
) -> Figure:
    """Draw a table whose cells are shaded: numbers by size, words (as in the schema) by being equal.

    Args:
        frame: index = rows; numeric columns are shaded light to dark, text columns one tint per word.
        by: "column" (each column has its own scale: metrics) or "all" (one scale: similarities).
        lower_is_better: columns whose shading is reversed.
    """
    if frame.empty:
        raise CourseError("The table is empty; there is nothing to draw.")
    texts, shades = _cells(frame, digits, by, set(lower_is_better))
    heads = [str(name).replace("_", " ") for name in frame.columns]
    widths = [max([len(head), *(len(row) for row in column)]) + 2 for head, column in zip(heads, zip(*texts))]
    side = max(len(str(name)) for name in frame.index) + 1
    em, row_height = 0.115, 0.48  # inches of a letter, and of a row
    table = em * (side + sum(widths)) + 0.2
    size = (max(table, 0.14 * len(title) + 0.2), row_height * (len(frame) + 0.8) + (0.5 if title else 0.1))
    fig = Figure(figsize=size, layout="none")
    ax = fig.add_axes((0, 0, table / size[0], row_height * (len(frame) + 0.8) / size[1]))
    ax.set(xlim=(0, side + sum(widths)), ylim=(len(frame), -0.8))
    ax.axis("off")
    starts = side + np.concatenate([[0], np.cumsum(widths)[:-1]])
    for head, start, width in zip(heads, starts, widths):
        ax.text(start + width / 2, -0.4, head, ha="center", va="center", weight="bold", fontsize=13)
    for r, name in enumerate(frame.index):
        ax.text(side - 0.8, r + 0.5, str(name), ha="right", va="center", fontsize=14)
        for text, shade, start, width in zip(texts[r], shades[r], starts, widths):
            ax.fill_between([start + 0.1, start + width - 0.1], r + 0.04, r + 0.96, color=shade, linewidth=0)
            dark = sum(shade[:3]) < 1.5
            ax.text(
                start + width / 2,
                r + 0.5,
                text,
                ha="center",
                va="center",
                color="white" if dark else "black",
                fontsize=14,
            )
    if title:
        fig.text(0.1 / size[0], 1 - 0.1 / size[1], title, va="top", fontsize=16)
    return fig


@styled
def fusion_weights(weights: Any, *, title: str = "") -> Figure:
    """Draw how much each modality weighs, one stacked bar per row, as shares of the row's sum.

    Args:
        weights: DataFrame (index = models or groups of items, columns = modalities), or a mapping modality -> weight.
    """
    frame = weights if isinstance(weights, pd.DataFrame) else pd.DataFrame([dict(weights)], index=[""])
    if (frame.to_numpy(dtype=float) < 0).any():
        raise CourseError("A weight is negative; fusion weights are shares, pass them after the softmax.")
    shares = frame.div(frame.sum(axis=1), axis=0)
    fig = Figure(figsize=(10, 1.7 + 0.6 * len(frame)), layout="constrained")
    ax = fig.subplots()
    left = np.zeros(len(frame))
    for name in shares.columns:
        colour = colour_of(str(name))
        ax.barh(range(len(frame)), shares[name], 0.7, left=left, color=colour, edgecolor="white", linewidth=2)
        for row, (value, start) in enumerate(zip(shares[name], left)):
            if value >= 0.06:
                ink = "white" if _light(colour) < 0.5 else "black"
                text = f"{value:.2f}".removeprefix("0")
                ax.text(start + value / 2, row, text, ha="center", va="center", color=ink, weight="bold")
        left = left + shares[name].to_numpy()
    middle = shares.iloc[0].cumsum() - shares.iloc[0] / 2
    at = _spread(middle.to_numpy(), 0.17)
    for name, x in zip(shares.columns, at):
        ink = _ink(colour_of(str(name)))
        ax.annotate(
            str(name),
            (x, 1.02),
            xycoords="axes fraction",
            ha="center",
            va="bottom",
            color=ink,
            weight="bold",
            annotation_clip=False,
        )
    ax.set_yticks(range(len(frame)), [str(name) for name in frame.index])
    ax.set_xlim(0, 1)
    ax.invert_yaxis()
    ax.set_xlabel("Share of the weight (0 to 1)")
    ax.tick_params(axis="y", length=0)
    ax.set_title(title, pad=30)
    return fig


# ---- below: how it is done ----------------------------------------------------------------------------------------


def _cycle(values: Sequence[Any]) -> Iterable[Any]:
    while True:
        yield from values


def _history(history: Any) -> tuple[pd.DataFrame, str | None]:
    """Return (frame, name of its validation metric or None)."""
    frame = history if isinstance(history, pd.DataFrame) else history.frame()
    metrics = [name for name in frame.columns if name not in ("epoch", "loss", "seconds")]
    return frame, metrics[0] if metrics else None


def _mean_std(frame: pd.DataFrame, metric: str) -> tuple[pd.Series, pd.Series]:
    """Pick one metric out of any of the tables that the evaluation makes."""
    if isinstance(frame.columns, pd.MultiIndex):
        if metric not in frame.columns.get_level_values(0):
            raise suggest(metric, map(str, frame.columns.get_level_values(0).unique()), "metric in this table")
        frame = frame[metric]
    if "mean" in frame.columns:
        mean = frame["mean"].astype(float)
        return mean, frame["std"].astype(float) if "std" in frame.columns else mean * np.nan
    if metric not in frame.columns:
        raise suggest(metric, map(str, frame.columns), "metric in this table")
    return frame[metric].astype(float), frame[metric].astype(float) * np.nan


def _bar_texts(ax: Axes, mean: np.ndarray, spread: np.ndarray, known: np.ndarray, form: str = "") -> None:
    """Write the numbers at the ends of the bars, and make room for them."""
    span = np.nanmax(np.abs(mean) + spread) or 1.0
    form = form or (".3f" if span < 10 else ".1f")
    for row, (value, error) in enumerate(zip(mean, spread)):
        if np.isnan(value):
            ax.text(0.01 * span, row, "not defined", va="center", fontsize=13)
            continue
        text = f"{value:{form}}" + (f" \u00b1 {error:{form}}" if known[row] else "")
        ax.text(max(value, 0) + error + 0.015 * span, row, text, va="center", fontsize=13)
    low = min(0.0, float(np.nanmin(mean - spread)))
    ax.set_xlim(low * 1.08, span * (1.28 if known.any() else 1.15))


def _end_labels(ax: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Name lines at their right ends, pushed apart where they would touch."""
    if not ends:
        return
    low, high = ax.get_ylim()
    at = _spread(np.array([(y - low) / (high - low) for _, y, _, _ in ends]), 0.085)
    right = max(x for x, _, _, _ in ends)
    for (x, y, name, colour), place in zip(ends, at):
        line = {"arrowstyle": "-", "color": colour, "linewidth": 1, "shrinkA": 0, "shrinkB": 2, "relpos": (0, 0.5)}
        ax.annotate(
            f" {name}",
            (x, y),
            xytext=(1.06, place),
            textcoords="axes fraction",
            va="center",
            color=_ink(colour),
            fontsize=13,
            arrowprops=line,
            annotation_clip=False,
        )
    ax.set_xlim(right=right)


def _spread(places: np.ndarray, gap: float) -> np.ndarray:
    """Move numbers apart until neighbours (in order) are at least ``gap`` from each other, as little as possible."""
    order = np.argsort(places, kind="stable")
    moved = np.asarray(places, dtype=float)[order]
    for _ in range(200):
        short = gap - np.diff(moved)
        if (short <= 1e-9).all():
            break
        push = np.where(short > 0, short / 2 + 1e-9, 0.0)
        moved[:-1] -= push
        moved[1:] += push
    if moved[0] < 0 or moved[-1] > 1:  # over an edge: move all of them back inside, or squeeze what does not fit
        moved = np.clip(moved + max(0.0, -moved[0]) - max(0.0, moved[-1] - 1), 0, 1)
    result = np.empty_like(moved)
    result[order] = moved
    return result


def _point_labels(
    ax: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str], colours: Sequence[str], on_top: Sequence[bool] = ()
) -> None:
    """Name points: try places around each and take the first that touches no other label or point."""
    fig = ax.figure
    fig.draw_without_rendering()  # sizes are known only after the layout
    width, height = ax.bbox.width / fig.dpi * 72, ax.bbox.height / fig.dpi * 72  # points
    spots = ax.transAxes.inverted().transform(ax.transData.transform(np.column_stack([x, y]))) * [width, height]
    taken: list[tuple[float, float, float, float]] = []
    marks = [] if on_top else [(px - 7, py - 7, px + 7, py + 7) for px, py in spots]
    for at in sorted(range(len(names)), key=lambda i: -len(names[i])):  # long names are the hardest to place
        (px, py), name = spots[at], names[at]
        w, h = 8.8 * len(name) + 6, 20.0
        tries = [(0, 0)] if on_top and on_top[at] else []
        for reach in (12, 22, 36, 52, 70):
            tries += [(reach + w / 2, 0), (-reach - w / 2, 0), (0, reach + 6), (0, -reach - 6)]
            tries += [(x * (reach + w / 2), y * reach) for x in (1, -1) for y in (1, -1)]
        best = None
        for dx, dy in tries:
            box = (px + dx - w / 2, py + dy - h / 2, px + dx + w / 2, py + dy + h / 2)
            inside = box[0] >= 0 and box[2] <= width and box[1] >= 0 and box[3] <= height
            if inside and not any(_touch(box, other) for other in taken + marks):
                best = (dx, dy, box)
                break
        dx, dy, box = best or (0, 16, (px - w / 2, py + 6, px + w / 2, py + 26))
        taken.append(box)
        far = abs(dy) > 30 or abs(dx) > w / 2 + 30
        ax.annotate(
            name,
            (x[at], y[at]),
            xytext=(dx, dy),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=14,
            weight="bold",
            color=_ink(colours[at]),
            bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "edgecolor": "none"}
            if on_top
            else None,
            arrowprops={"arrowstyle": "-", "color": colours[at], "linewidth": 1} if far else None,
        )


def _touch(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _items(count: int) -> str:
    return f"{count:,} item" + ("" if count == 1 else "s")


def _counts(popularity: Any) -> np.ndarray:
    if hasattr(popularity, "train"):
        return np.bincount(popularity.train[:, 1], minlength=popularity.n_items)
    if hasattr(popularity, "interactions"):
        return np.bincount(popularity.interactions["item_id"], minlength=popularity.n_items)
    return np.asarray(popularity)


def _cells(
    frame: pd.DataFrame, digits: int, by: str, reverse: set[str]
) -> tuple[list[list[str]], list[list[tuple[float, ...]]]]:
    """Return the text and the colour of every cell, row by row."""
    numeric = frame.select_dtypes("number")
    low, high = (numeric.min(), numeric.max())
    if by == "all" and numeric.size:
        low, high = low * 0 + numeric.min().min(), high * 0 + numeric.max().max()
    words = sorted(
        {str(v) for column in frame.columns.difference(numeric.columns) for v in frame[column]} - {"none", "", "-"}
    )
    tints = {word: HEAT(0.12 + 0.55 * at / max(len(words) - 1, 1)) for at, word in enumerate(words)}
    plain = (0.95, 0.95, 0.95, 1.0)
    biggest = numeric.abs().max()
    places = {name: 0 if biggest[name] >= 1000 else 1 if biggest[name] >= 10 else digits for name in numeric}
    places |= {name: 0 for name in numeric if frame[name].dtype.kind in "iu"}
    texts, shades = [], []
    for r in range(len(frame)):
        texts.append([])
        shades.append([])
        for c, column in enumerate(frame.columns):
            value = frame.iat[r, c]
            if column not in numeric.columns:
                texts[-1].append(str(value))
                shades[-1].append(tints.get(str(value), plain))
            elif pd.isna(value):
                texts[-1].append("\u2013")
                shades[-1].append(plain)
            else:
                span = high[column] - low[column]
                level = (value - low[column]) / span if span else 0.5
                texts[-1].append(f"{value:,.{places[column]}f}")
                shades[-1].append(HEAT(0.8 * (1 - level if column in reverse else level)))
    return texts, shades
