"""Export a course folder in the layouts of other recommender frameworks.

Each layout gets the same split, whole-number ids from 0 and the two tables ``users.tsv`` and ``items.tsv`` that lead back
from these numbers to the raw ids. Sources for the layouts: the frameworks' own documentation and loaders.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from utils.arrays import write_array
from utils.data.dataset import Dataset
from utils.data.folders import build_aside, check_empty
from utils.data.split import Split, split_dataset
from utils.data.tables import SPLIT_NAMES, write_table
from utils.errors import suggest
from utils.features import Features
from utils.files import atomic_path, write_json, write_text

ABOUT = "export.json"  # beside an exported log: what in it nobody measured
UNRATED = "unrated.npy"  # (n, 3) user, item, part of the rows without a rating in a log that has some
FEATURE_FILES = {"visual": "image_feat.npy", "textual": "text_feat.npy", "audio": "audio_feat.npy"}  # as MMRec says


@dataclass(frozen=True)
class ExportBundle:
    """What every layout is written from: one log with numbers for ids, features in the order of these numbers."""

    name: str
    log: pd.DataFrame  # user_id, item_id, rating, timestamp (NaN / absent = unknown), split
    users: np.ndarray
    items: pd.DataFrame
    features: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]  # (n_items,) bool, True where an item has the modality

    def part(self, name: str) -> pd.DataFrame:
        """The rows of train, valid or test."""
        return self.log[self.log["split"] == name]


def export(
    dataset: Dataset,
    layout: str,
    target: str | Path,
    *,
    split: Split | None = None,
    features: Mapping[str, Features] | None = None,
    strategy: str | None = None,
    seed: int = 0,
    say: Callable[[str], object] = lambda text: None,
    dry_run: bool = False,
) -> Path:
    """Write a dataset in the layout of another framework.

    Args:
        dataset: any course dataset.
        layout: ``"mmrec"``, ``"elliot"``, ``"recbole"``, ``"cornac"`` or ``"csv"``.
        target: the folder to make; it must be new or empty.
        split: which rows train, choose and test. None = the split column, or :func:`split_dataset` with ``strategy``.
        features: modality -> Features to write beside the log; None = none.
        strategy: for a dataset without a split column; default "random".
        seed: of that split.
        say: takes the sentences about what goes in and what comes out.
        dry_run: say it, and write nothing.

    Returns:
        The folder that the framework is pointed at.

    Raises:
        CourseError: unknown layout, a target that holds files, features of other items.
    """
    if layout not in LAYOUTS:
        raise suggest(layout, LAYOUTS, "layout")
    target = check_empty(target)
    if split is None:
        given = "split" in dataset.interactions
        split = split_dataset(dataset, strategy or ("given" if given else "random"), seed=seed)
    parcel = _pack(dataset, split, features or {})
    ids = parcel.items[["item"]].assign(item_id=np.arange(len(parcel.items)))
    for sentence in _counts(dataset, parcel, layout):
        say(sentence)
    if dry_run:
        return target
    with build_aside(target) as new:
        write_table(new / "users.tsv", pd.DataFrame({"user_id": np.arange(len(parcel.users)), "user": parcel.users}))
        write_table(new / "items.tsv", ids[["item_id", "item"]])
        LAYOUTS[layout](parcel, new)
    return target


def _counts(dataset: Dataset, parcel: ExportBundle, layout: str) -> list[str]:
    """What goes in and what comes out, a sentence each."""
    log, table = parcel.log, dataset.interactions
    out = len(np.unique(log["item_id"])) if layout == "mmrec" else len(parcel.items)
    parts = ", ".join(f"{name} {len(parcel.part(name)):,}" for name in SPLIT_NAMES)
    lost = len(table) - len(log)
    said = [
        f"in: {dataset.n_users:,} users, {dataset.n_items:,} items, {len(table):,} interactions.",
        f"out: {log['user_id'].nunique():,} users with interactions, {out:,} items, {len(log):,} interactions ({parts}).",
    ]
    if lost:
        said.append(f"{lost:,} rows stay behind: repeated pairs, of which the latest counts, or rows that the split leaves out.")  # fmt: skip
    if out < len(parcel.items):
        said.append(
            f"{len(parcel.items) - out:,} items without interaction stay behind: {layout} counts items from the log."
        )
    for modality, mask in parcel.masks.items():
        carried = (
            "is not carried by csv" if layout == "csv" else f"{parcel.features[modality].shape[1]} numbers an item"
        )
        said.append(f"{modality}: {int(mask.sum()):,} of {len(mask):,} items have it; {carried}.")
    dropped = {"elliot": ["rating"], "cornac": ["rating", "timestamp"]}.get(layout, [])
    dropped = [column for column in dropped if column in table]
    said += [f"{layout} carries no {' and no '.join(dropped)}."] if dropped else []
    return said


def _pack(dataset: Dataset, split: Split, features: Mapping[str, Features]) -> ExportBundle:
    """The rows of the split, with rating and time of the interaction that the split kept."""
    rows = np.concatenate([getattr(split, part) for part in SPLIT_NAMES])
    part = np.repeat(SPLIT_NAMES, [len(getattr(split, name)) for name in SPLIT_NAMES])
    log = _with_facts(pd.DataFrame({"user_id": rows[:, 0], "item_id": rows[:, 1], "split": part}), dataset, split)
    aligned = {modality: feature.align(dataset.item_names) for modality, feature in features.items()}
    matrices = {modality: feature.matrix for modality, feature in aligned.items()}
    masks = {modality: feature.mask for modality, feature in aligned.items()}
    return ExportBundle(dataset.name, log, dataset.users, dataset.items, matrices, masks)


def _with_facts(log: pd.DataFrame, dataset: Dataset, split: Split) -> pd.DataFrame:
    """Add rating and timestamp to the rows of a split.

    Of a repeated pair the split keeps the latest row, and "given" keeps all rows, each in its own part: so the copies of
    a pair are counted from the latest one, here and in the dataset.
    """
    table = dataset.interactions
    known = [column for column in ("rating", "timestamp") if column in table]
    pair = ["user_id", "item_id"]
    keys = [*pair, "split"] if split.strategy == "given" and "split" in table else pair
    order = [*pair, "timestamp"] if "timestamp" in table else pair
    facts = table[[*keys, *known]].sort_values(order, kind="stable")
    facts = facts.assign(copy=facts.groupby(keys).cumcount(ascending=False))
    log = log.assign(copy=log.groupby([*pair, "split"]).cumcount(ascending=False))
    return log.merge(facts, on=[*keys, "copy"], how="left").drop(columns="copy")


def _csv(path: Path, table: pd.DataFrame, separator: str = ",", header: bool = True) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, sep=separator, header=header, index=False, lineterminator="\n", encoding="utf-8")


def _save(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_array(path, array.astype(np.float32) if array.dtype.kind == "f" else array)


def mask_file(modality: str) -> str:
    """The file beside an export that says which items have a modality, (n_items,) bool: no framework reads it, we do."""
    return f"{modality}_mask.npy"


def _about(log: pd.DataFrame, layout: str, folder: Path) -> None:
    """Say beside an exported log (ids as exported) what in it nobody measured, so that the way back leaves it out."""
    without = {"elliot": ("rating",), "cornac": ("rating", "timestamp")}.get(layout, ())
    made_up = [column for column in ("rating", "timestamp") if column in without or column not in log]
    write_json(folder / ABOUT, {"made_by": "python -m utils.data export", "layout": layout, "made_up": made_up})
    if "rating" not in made_up and layout != "csv" and log["rating"].isna().any():  # csv leaves such a field empty
        rows = log[log["rating"].isna()]
        part = rows["split"].map({name: code for code, name in enumerate(SPLIT_NAMES)})
        _save(folder / UNRATED, np.stack([rows["user_id"], rows["item_id"], part], axis=1).astype(np.int64))


def _rated(log: pd.DataFrame) -> pd.DataFrame:
    """The columns user, item, rating (1 where nobody rated) and, if known, timestamp."""
    rating = log["rating"].fillna(1.0) if "rating" in log else np.ones(len(log))
    table = log[["user_id", "item_id"]].assign(rating=rating)
    return table.assign(timestamp=log["timestamp"]) if "timestamp" in log else table


def _mmrec(parcel: ExportBundle, target: Path) -> None:
    """``NAME/NAME.inter`` with x_label 0, 1, 2, one matrix per modality, and ``NAME.yaml`` for src/configs/dataset.

    MMRec counts the items from the log alone (largest id + 1), so an item that nobody took would shift the shapes: such
    items are left out here, and items.tsv numbers the others anew.
    """
    taken = np.unique(parcel.log["item_id"])
    new = np.full(len(parcel.items), -1)
    new[taken] = np.arange(len(taken))
    label = parcel.log["split"].map({name: i for i, name in enumerate(SPLIT_NAMES)})
    log = _rated(parcel.log).assign(x_label=label, item_id=new[parcel.log["item_id"]])
    folder = target / parcel.name
    folder.mkdir()
    _csv(folder / f"{parcel.name}.inter", log.rename(columns={"user_id": "userID", "item_id": "itemID"}), "\t")
    _about(parcel.log.assign(item_id=new[parcel.log["item_id"]]), "mmrec", folder)
    names = parcel.items["item"].to_numpy()[taken]
    write_table(target / "items.tsv", pd.DataFrame({"item_id": np.arange(len(taken)), "item": names}))
    for modality, matrix in parcel.features.items():
        _save(folder / FEATURE_FILES[modality], matrix[taken])
        _save(folder / mask_file(modality), parcel.masks[modality][taken])
    settings = {"USER_ID_FIELD": "userID", "ITEM_ID_FIELD": "itemID", "inter_splitting_label": "x_label"}
    settings |= {"filter_out_cod_start_users": True, "inter_file_name": f"{parcel.name}.inter", "field_separator": "\t"}
    keys = {"visual": "vision_feature_file", "textual": "text_feature_file", "audio": "audio_feature_file"}
    settings |= {keys[modality]: FEATURE_FILES[modality] for modality in parcel.features}
    settings |= {"TIME_FIELD": "timestamp"} if "timestamp" in log else {}
    write_text(target / f"{parcel.name}.yaml", yaml.safe_dump(settings, sort_keys=False))


def _elliot(parcel: ExportBundle, target: Path) -> None:
    """train/val/test.tsv without header, one ``<item id>.npy`` per item and modality, and config.yml for both.

    An item without a modality gets zeros: an item without a file would leave Elliot's catalogue.
    Without a validation file Elliot takes the test part in its place and so chooses on it: the file is always named.
    Its nDCG is graded by the rating: every rating is 1 here, which makes it the binary one.
    """
    for name, file in zip(SPLIT_NAMES, ("train", "val", "test")):
        table = _rated(parcel.part(name)).assign(rating=1.0)
        _csv(target / f"{file}.tsv", table, "\t", header=False)
    _about(parcel.log, "elliot", target)
    sides, loaders = [], []
    for modality, matrix in parcel.features.items():
        for item_id, row in enumerate(matrix):
            _save(target / f"{modality}_features" / f"{item_id}.npy", row)
        _save(target / mask_file(modality), parcel.masks[modality])
        loaders.append(f"{modality.capitalize()}Attribute")
        sides.append({"dataloader": loaders[-1], f"{modality}_features": f"{modality}_features"})
    data = {"strategy": "fixed", "train_path": "train.tsv", "validation_path": "val.tsv", "test_path": "test.tsv"}
    data |= {"side_information": sides} if sides else {}
    meta = {"verbose": True, "save_recs": True, "validation_rate": 1, "validation_metric": "Recall@20"}
    models: dict = {"MostPop": {"meta": {"verbose": True, "save_recs": True}}}
    models["BPRMF"] = {"meta": meta, "epochs": 10, "factors": 64, "lr": 0.001, "batch_size": 1024, "seed": 42}
    if "visual" in parcel.features:
        models["VBPR"] = {
            **models["BPRMF"],
            "meta": dict(meta),
            "factors_d": 20,
            "l_w": 0.00001,
            "l_b": 0.01,
            "l_e": 0.00001,
        }
    metrics = ["Recall", "nDCG", "Precision", "ItemCoverage", "Gini"]
    experiment = {"version": "0.3.1", "dataset": parcel.name, "data_config": data, "top_k": 20}
    experiment |= {"evaluation": {"cutoffs": [20], "simple_metrics": metrics}, "gpu": -1, "models": models}
    write_text(target / "config.yml", yaml.safe_dump({"experiment": experiment}, sort_keys=False))


def _recbole(parcel: ExportBundle, target: Path) -> None:
    """Atomic files NAME.{train,valid,test}.inter, NAME.item, NAME.<modality> and config.yaml; the split is kept."""
    folder = target / parcel.name
    folder.mkdir()
    kinds = {"user_id": "token", "item_id": "token", "rating": "float", "timestamp": "float", "title": "token_seq"}
    for name in SPLIT_NAMES:
        table = _rated(parcel.part(name))
        table.columns = [f"{column}:{kinds[column]}" for column in table.columns]
        _csv(folder / f"{parcel.name}.{name}.inter", table, "\t")
    _about(parcel.log, "recbole", folder)
    titles = parcel.items["title"].str.replace(r"[\t\r\n]+", " ", regex=True)
    items = pd.DataFrame({"item_id:token": np.arange(len(parcel.items)), "title:token_seq": titles})
    _csv(folder / f"{parcel.name}.item", items, "\t")  # quoted where needed, as RecBole reads it
    columns = list(_rated(parcel.log).columns)
    settings = {"dataset": parcel.name, "data_path": ".", "benchmark_filename": list(SPLIT_NAMES)}
    settings |= {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "load_col": {"inter": columns}}
    settings |= {"metrics": ["Recall", "NDCG"], "topk": [20], "valid_metric": "Recall@20"}
    settings |= {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "RO", "group_by": "user", "mode": "full"}}
    if parcel.features:
        settings |= {"additional_feat_suffix": list(parcel.features), "alias_of_item_id": [], "preload_weight": {}}
    for modality, matrix in parcel.features.items():
        key, vector = f"{modality}_item", f"{modality}_vector"
        _save(folder / mask_file(modality), parcel.masks[modality])
        rows = [" ".join(f"{value:.9g}" for value in row) for row in matrix]  # nine digits give back every float32
        table = pd.DataFrame({f"{key}:token": np.arange(len(matrix)), f"{vector}:float_seq": rows})
        _csv(folder / f"{parcel.name}.{modality}", table, "\t")
        settings["load_col"][modality] = [key, vector]
        settings["alias_of_item_id"].append(key)
        settings["preload_weight"][key] = vector
    write_text(target / "config.yaml", yaml.safe_dump(settings, sort_keys=False))


CORNAC_SCRIPT = '''"""Load this export into Cornac: run it beside the files, or import `method` from it."""

from pathlib import Path

import numpy as np
from cornac.data import FeatureModality, ImageModality
from cornac.eval_methods import BaseMethod

HERE = Path(__file__).parent


def triples(name):
    """Read one part as (user, item, rating) with ids as text."""
    rows = (line.split("\\t") for line in (HERE / f"{name}.tsv").read_text(encoding="utf-8").splitlines())
    return [(user, item, float(rating)) for user, item, rating in rows]


def modality(name, kind):
    """Read a matrix whose row number is the item id."""
    matrix = np.load(HERE / f"{name}.npy", allow_pickle=False)
    return kind(features=matrix, ids=[str(row) for row in range(len(matrix))], normalized=False)


sides = {}
if (HERE / "visual.npy").exists():
    sides["item_image"] = modality("visual", ImageModality)
if (HERE / "textual.npy").exists():
    sides["item_feature"] = modality("textual", FeatureModality)

train = triples("train")
users, items = {row[0] for row in train}, {row[1] for row in train}
valid = [row for row in triples("valid") if row[0] in users and row[1] in items]  # Cornac counts no others

method = BaseMethod.from_splits(
    train_data=train,
    val_data=valid,
    test_data=triples("test"),
    rating_threshold=0.5,
    **sides,
)

if __name__ == "__main__":
    import cornac

    models = [cornac.models.MostPop(), cornac.models.BPR(k=64, max_iter=100, seed=0)]
    cornac.Experiment(method, models, [cornac.metrics.Recall(k=20), cornac.metrics.NDCG(k=20)]).run()
'''


def _cornac(parcel: ExportBundle, target: Path) -> None:
    """train/valid/test.tsv, <modality>.npy and load_cornac.py, which makes the evaluation method of them."""
    for name in SPLIT_NAMES:
        table = parcel.part(name)[["user_id", "item_id"]].assign(rating=1.0)
        _csv(target / f"{name}.tsv", table, "\t", header=False)
    _about(parcel.log, "cornac", target)
    for modality, matrix in parcel.features.items():
        _save(target / f"{modality}.npy", matrix)
        _save(target / mask_file(modality), parcel.masks[modality])
    write_text(target / "load_cornac.py", CORNAC_SCRIPT)


def _movielens(parcel: ExportBundle, target: Path) -> None:
    """ratings.csv and movies.csv as MovieLens has them (raw ids), with a fifth column that says the split."""
    log = parcel.log
    rating = log["rating"] if "rating" in log else np.ones(len(log))
    table = pd.DataFrame(
        {
            "userId": parcel.users[log["user_id"]],
            "movieId": parcel.items["item"].to_numpy()[log["item_id"]],
            "rating": rating,
            "timestamp": log["timestamp"] if "timestamp" in log else 0,
            "split": log["split"],
        }
    )
    _csv(target / "ratings.csv", table)
    _about(parcel.log, "csv", target)
    films = parcel.items[["item", "title", "category"]].set_axis(["movieId", "title", "genres"], axis=1)
    with atomic_path(target / "movies.csv") as temporary:
        films.to_csv(temporary, index=False, quoting=csv.QUOTE_MINIMAL, lineterminator="\n", encoding="utf-8")


LAYOUTS: dict[str, Callable[[ExportBundle, Path], None]] = {
    "mmrec": _mmrec,
    "elliot": _elliot,
    "recbole": _recbole,
    "cornac": _cornac,
    "csv": _movielens,
}
