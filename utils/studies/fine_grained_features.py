"""Study of fine-grained features (2.4): whether attention finds planted tastes for colour, shape and content.

Does it find the taste (``recovery``)? Does the score hang on what it names (``faithfulness``)? Is it flat where there is
nothing to find (``spread``, ``repeatability``)?

python -m utils.lab study fine_grained_features data/downloads/movielens --seeds 3     (data/results/fine_features_movielens.json)
"""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from utils.challenges.fine_features import blocks, fine_features, permuted
from utils.challenges.planted_taste import plant as plant  # handed on to the notebook
from utils.challenges.planted_taste import truth_labels as truth_labels
from utils.data import Split
from utils.errors import CourseError, suggest
from utils.evaluation.ranking import Scorer
from utils.features import Features
from utils.models.content_style import ContentStyle
from utils.stored import RESULTS, ResultFile, meta, rounded
from utils.stored.commands import command_text, run_study
from utils.training.loop import History, fit, train

COMMAND = "utils.lab study fine_grained_features"
RESULT = RESULTS / "fine_features_movielens.json"
# what is compared: the same model with fewer eyes; "shuffled" gives each picture to the wrong item
VARIANTS = {
    "user weights": {},
    "equal weights": {"attention": "uniform"},
    "colour only": {"parts": ("colour",)},
    "shape only": {"parts": ("shape",)},
    "content only": {"parts": ("content",)},
    "user weights, shuffled": {},
}


def fit_style(split: Split, features: Features, seed: int = 0, **settings: Any) -> tuple[ContentStyle, History]:
    """Make and train a ContentStyle with its recommended settings; any can be given. Returns (model, History)."""
    model = ContentStyle(split, {"visual": features}, seed=seed, **settings)
    loop = {key: model.settings[key] for key in ("eval_every", "patience")}
    return model, train(model, split, seed=seed, progress=False, **loop)


def fit_variants(
    split: Split, features: Features, seed: int = 0, names: Sequence[str] = tuple(VARIANTS), **settings: Any
) -> dict[str, ContentStyle]:
    """Train the named ``VARIANTS`` on one split with the same settings; returns name -> model."""
    for name in names:
        if name not in VARIANTS:
            raise suggest(name, VARIANTS, "variant")
    wrong = features.shuffled(seed)
    used = {name: wrong if name.endswith("shuffled") else features for name in names}
    return {name: fit_style(split, used[name], seed, **{**VARIANTS[name], **settings})[0] for name in names}


def rewired(split: Split, seed: int = 0) -> Split:
    """Return the control of a real log: users and items keep their numbers of interactions, who took what is random.

    The items of each part are dealt out at random; a pair that comes twice is kept once.
    """
    rng = np.random.default_rng(seed)
    parts, taken = {}, np.zeros(0, dtype=np.int64)
    for name in ("train", "valid", "test"):
        pairs = split.part(name)
        keys = np.unique(pairs[:, 0] * split.n_items + rng.permutation(pairs[:, 1]))
        keys = np.setdiff1d(keys, taken)
        taken = np.concatenate([taken, keys])
        parts[name] = np.stack([keys // split.n_items, keys % split.n_items], axis=1)
    cold = np.setdiff1d(np.arange(split.n_items), parts["train"][:, 1])
    return replace(split, **parts, cold_items=cold, notes=())


def weights_of_halves(split: Split, features: Features, seed: int = 0, **settings: Any) -> list[pd.DataFrame]:
    """User weights learned from each half of everybody's training items, in two runs that share nothing else."""
    found = []
    for k, half in enumerate(halves(split, seed)):
        model, _ = fit_style(half, features, seed + 1000 * k, **settings)
        found.append(user_weights(model, half))
    return found


def user_weights(model: ContentStyle, split: Split, part: str = "train") -> pd.DataFrame:
    """Mean attention of each user over the items it took: index = user_id, a column for each feature, rows sum to 1.

    Users without an item in ``part`` have no row.
    """
    pairs = split.part(part)
    users, row = np.unique(pairs[:, 0], return_inverse=True)
    table = model.weights(users).numpy()[row.ravel(), pairs[:, 1]]
    frame = pd.DataFrame(table, columns=list(model.parts))
    return frame.groupby(pairs[:, 0]).mean().rename_axis("user_id")


def relative(weights: pd.DataFrame) -> pd.DataFrame:
    """Weights minus the mean of all users: what a user looks at more than the others do. Columns have mean 0."""
    return weights - weights.mean()


def recovery(guess: pd.DataFrame, types: Sequence[str]) -> float:
    """Share of users whose largest column of ``guess`` (index = user_id) is their planted type; chance is 1 in 3."""
    return float((guess.idxmax(axis=1).to_numpy() == np.asarray(types)[guess.index]).mean())


def confusion(guess: pd.DataFrame, types: Sequence[str]) -> pd.DataFrame:
    """Rows: the planted type; columns: the feature with the largest weight; entries: share of the row."""
    found, true = guess.idxmax(axis=1).to_numpy(), np.asarray(types)[guess.index]
    table = pd.crosstab(true, found, normalize="index").reindex(columns=guess.columns, fill_value=0.0)
    return table.reindex([name for name in guess.columns if name in table.index])


def spread(weights: pd.DataFrame) -> float:
    """How much users differ in what they look at: standard deviation over users, mean over the features; 0 = flat."""
    return float(weights.std(ddof=0).mean())


def halves(split: Split, seed: int = 0) -> tuple[Split, Split]:
    """Cut each user's training items into two halves at random: two logs of the same tastes without a common row."""
    rng = np.random.default_rng(seed)
    pairs = split.train[rng.permutation(len(split.train))]
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    first = np.r_[True, pairs[1:, 0] != pairs[:-1, 0]]
    number = np.arange(len(pairs)) - np.maximum.accumulate(np.where(first, np.arange(len(pairs)), 0))
    every = np.arange(split.n_items)

    def half(k: int) -> Split:
        train_part = pairs[number % 2 == k]
        cold = np.setdiff1d(every, train_part[:, 1])
        return replace(split, train=train_part, cold_items=cold, notes=())

    return half(0), half(1)


def repeatability(one: pd.DataFrame, other: pd.DataFrame) -> float:
    """Do two halves of the log give a user the same weights? Correlation over users, mean over features; 0 = noise."""
    users = one.index.intersection(other.index)
    pairs = [(one.loc[users, name], other.loc[users, name]) for name in one.columns]
    still = [a.std() < 1e-9 or b.std() < 1e-9 for a, b in pairs]
    return float(np.mean([0.0 if flat else np.corrcoef(a, b)[0, 1] for flat, (a, b) in zip(still, pairs)]))


def history_likeness(features: Features, split: Split) -> pd.DataFrame:
    """The untrained baseline: how similar a user's items are in each descriptor, compared with random sets.

    For each feature the mean cosine over pairs of the user's training items, centred rows, minus the mean of random
    sets of this size, divided by their standard deviation (both estimated from all pairs of items).
    """
    train_matrix = split.matrix()
    size = np.asarray(train_matrix.sum(1)).ravel()
    users = np.flatnonzero(size >= 2)
    n_pairs = size[users] * (size[users] - 1)
    columns = {}
    for name, where in blocks(features).items():
        block = features.matrix[:, where] - features.matrix[features.mask][:, where].mean(0)
        block = block / np.maximum(np.linalg.norm(block, axis=1, keepdims=True), 1e-9) * features.mask[:, None]
        total = train_matrix[users] @ block
        own = np.asarray(train_matrix[users] @ (block**2).sum(1))
        alike = ((total**2).sum(1) - own) / n_pairs
        every = (block @ block.T)[~np.eye(len(block), dtype=bool)]
        columns[name] = (alike - every.mean()) / (every.std() * np.sqrt(2 / n_pairs))
    return pd.DataFrame(columns, index=pd.Index(users, name="user_id"))


def with_features(model: ContentStyle, features: Features) -> ContentStyle:
    """Return a copy of a trained model that reads other features of the same shape; no weight changes."""
    other = copy.deepcopy(model)
    mask = torch.as_tensor(features.mask)
    for part in model.parts:
        block = torch.as_tensor(np.ascontiguousarray(features.matrix[:, blocks(features)[part]]))
        block = torch.nn.functional.normalize(block - block[mask].mean(0), dim=1) * mask[:, None]
        getattr(other, f"block_{part}").copy_(block)
    return other.eval()


def auc_by_user(scores: torch.Tensor, split: Split, part: str = "test") -> pd.Series:
    """Chance that a held-out item stands above an item that the user never took, (users with held-out items,).

    scores: (n_users, n_items). 0.5 = chance. Ties count half.
    """
    taken = torch.zeros(split.n_users, split.n_items, dtype=torch.bool)
    for name in ("train", "valid", "test"):
        taken[tuple(torch.as_tensor(split.part(name)).T)] = True
    users, items = torch.as_tensor(split.part(part)).T
    own, free = scores[users, items][:, None], ~taken[users]
    below = ((scores[users] < own) & free).sum(1) + 0.5 * ((scores[users] == own) & free).sum(1)
    values = pd.Series((below / free.sum(1)).numpy(), name="auc")
    return values.groupby(users.numpy()).mean().rename_axis("user_id")


def faithfulness(
    model: ContentStyle,
    features: Features,
    split: Split,
    weights: pd.DataFrame,
    *,
    measure: str = "auc",
    n_shuffles: int = 3,
    seed: int = 0,
) -> pd.DataFrame:
    """Permute one descriptor across items and see how much each user's ranking loses.

    Args:
        weights: index = user_id, columns = features; ranks them for each user (``user_weights``, or any other guess).
        measure: "auc": how much worse held-out items are ranked; "scores": how far the user's scores move, 1 minus
            their correlation over items before and after. The second asks the model only, not what people took.

    Returns:
        index = user_id, columns "most", "middle", "least": loss when the feature of this rank is permuted.
        With two features there is no middle.
    """
    if measure not in ("auc", "scores"):
        raise suggest(measure, ("auc", "scores"), "measure")
    names = {2: ["most", "least"], 3: ["most", "middle", "least"]}.get(len(model.parts))
    if names is None:
        raise CourseError(f"faithfulness compares two or three features, the model has {len(model.parts)}.")
    before = model.score(np.arange(split.n_users))

    def loss(part: str, k: int) -> pd.Series:
        after = with_features(model, permuted(features, part, seed + k)).score(np.arange(split.n_users))
        if measure == "auc":
            return auc_by_user(before, split) - auc_by_user(after, split)
        a, b = (x - x.mean(1, keepdim=True) for x in (before, after))
        return pd.Series(1 - torch.nn.functional.cosine_similarity(a, b, dim=1).numpy())

    table = pd.DataFrame({part: sum(loss(part, k) for k in range(n_shuffles)) / n_shuffles for part in model.parts})
    table = table[table.index.isin(weights.index)]
    order = np.argsort(-weights.loc[table.index, list(model.parts)].to_numpy(), axis=1, kind="stable")
    return pd.DataFrame(np.take_along_axis(table.to_numpy(), order, axis=1), columns=names, index=table.index)


def judged(scorer: Scorer, split: Split, top_k: int = 20) -> dict[str, float]:
    """Recall@k and AUC of a model, or of a function user_ids -> scores, on the test part; means over users."""
    from utils.evaluation.protocol import evaluate

    score = getattr(scorer, "score", scorer)
    recall = evaluate(scorer, split, top_k=top_k, metrics=("recall",))[f"recall@{top_k}"]
    return {f"recall@{top_k}": recall, "AUC": float(auc_by_user(score(np.arange(split.n_users)), split).mean())}


def examine(
    model: ContentStyle, split: Split, features: Features, types: Sequence[str] | None = None, seed: int = 0
) -> dict:
    """The tests of one model's weights: recovery (with ``types``), spread, loss of AUC by "most" ... "least" weight."""
    weights = user_weights(model, split)
    found = {} if types is None else {"recovery": recovery(relative(weights), types)}
    hurt = faithfulness(model, features, split, weights, n_shuffles=1, seed=seed).mean()
    moved = faithfulness(model, features, split, weights, measure="scores", n_shuffles=1, seed=seed).mean()
    return {**found, "spread": spread(weights), **hurt.to_dict(), **moved.add_prefix("moved by ").to_dict()}


def with_spread(table: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Text "mean ± std" of a table whose columns are (measure, mean) and (measure, std); no spread with one seed."""

    def text(mean: float, std: float) -> str:
        return "" if np.isnan(mean) else f"{mean:.{digits}f}" + ("" if np.isnan(std) else f" ± {std:.{digits}f}")

    names = table.columns.get_level_values(0).unique()
    return pd.DataFrame({name: [text(*pair) for pair in table[name].to_numpy()] for name in names}, index=table.index)


def favourites(
    model: ContentStyle, user_id: int, part: str, candidates: Sequence[int] | None = None, top_k: int = 6
) -> np.ndarray:
    """Items whose ``part`` (colour, shape or content) alone pleases this user most, best first: (top_k,) item_ids.

    By t_u . z_i, the part of a "dot" score that this feature brings before its weight.
    """
    if part not in model.parts:
        raise suggest(part, model.parts, "part of this model")
    with torch.no_grad():
        z = model.encoded()[:, model.parts.index(part)]
        score = z @ model.user_table.weight[user_id]
    ids = np.arange(model.n_items) if candidates is None else np.asarray(candidates)
    return ids[np.argsort(-score.numpy()[ids], kind="stable")][:top_k]


# ---- real data ----


def study(
    split: Split,
    features: Features,
    seed: int,
    save: Callable[[str, Any], None],
    done: Mapping[str, Any],
    **settings: Any,
) -> None:
    """All parts of the study on one split; each part is handed to ``save`` when it is there and skipped if ``done``."""
    for name in ("mostpop", "bpr"):
        if f"{name}/{seed}" not in done:
            save(f"{name}/{seed}", judged(fit(name, split, seed=seed, eval_every=2, patience=5)[0], split))
    for name in VARIANTS:
        if f"{name}/{seed}" in done:
            continue
        model = fit_variants(split, features, seed, [name], **settings)[name]
        row: dict[str, Any] = judged(model, split)
        if len(model.parts) == 3 and model.settings["attention"] != "uniform":
            found = examine(model, split, features, seed=seed)
            row |= {"spread": found.pop("spread"), "faithfulness": found}
            row["weights"] = user_weights(model, split).mean().round(4).to_dict()
        save(f"{name}/{seed}", row)
    for name, log in (("halves", split), ("halves, twin", rewired(split, seed))):
        if f"{name}/{seed}" not in done:
            one, other = weights_of_halves(log, features, seed, **settings)
            values = {"repeatability": repeatability(one, other), "spread": (spread(one) + spread(other)) / 2}
            save(f"{name}/{seed}", values)


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the head of this file. A run that was cut off goes on where it was."""
    about = "Attention on colour, shape and content on real data."
    return run_study(COMMAND, _run, arguments, about=about, seeds=3, json=RESULT, epochs=40)


def _run(options: Namespace) -> None:
    from utils.data import load_dataset, split_dataset

    dataset = load_dataset(options.dataset)
    features = fine_features(dataset)
    command = f"{command_text(COMMAND, options.dataset, options.seeds)} --epochs {options.epochs}"
    key = {"dataset": dataset.name, "fingerprint": dataset.fingerprint(), "epochs": options.epochs}
    file, about = ResultFile(options.json, key, {"parts": {}}), {**meta(), **key, "command": command}

    def save(name: str, row: dict[str, Any]) -> None:
        with file.update() as content:
            content["meta"] = about
            content["parts"][name] = rounded(row)
        print(name, file.content["parts"][name], flush=True)

    for seed in options.seeds:
        split = split_dataset(dataset, "random", seed=seed)
        # about eight batches an epoch, as for the shop: the same number of steps for every dataset
        settings = {"n_epochs": options.epochs, "batch_size": max(1024, len(split.train) // 8), "lr": 1e-2}
        about["settings"] = {name: value for name, value in settings.items() if name != "batch_size"}
        study(split, features, seed, save, file.content["parts"], **settings)
