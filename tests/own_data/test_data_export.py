"""Out to other frameworks and back: ids, split, ratings, times and feature rows survive each layout."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.data_folders import make_log
from utils.data import load_dataset, split_dataset, write_table
from utils.data.__main__ import main
from utils.errors import CourseError
from utils.evaluation import evaluate
from utils.features import Features, prepared
from utils.files import ROOT
from utils.models import make_model
from utils.own_data.export import LAYOUTS, export
from utils.own_data.movielens_posters import CONVERTERS, convert


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A small log with ratings and times, two items that nobody took, and two modalities, one of them with gaps."""
    log = make_log(n_users=50, n_items=30, n_rows=700).interactions
    folder = tmp_path_factory.mktemp("shop") / "tiny"
    names = [f"i{n:02d}" for n in range(30)] + ["alone", "unloved"]
    items = pd.DataFrame({"item": names, "title": [f"Thing, {n}" for n in names], "category": "a|b"})
    write_table(folder / "items.tsv", items)
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "user": [f"user {u}" for u in log["user_id"]],
            "item": [names[i] for i in log["item_id"]],
            "rating": rng.integers(1, 6, len(log)),
            "timestamp": rng.integers(10**9, 2 * 10**9, len(log)),
        }
    )
    again = table.sample(60, random_state=0).assign(
        rating=rng.integers(1, 6, 60), timestamp=rng.integers(1, 3 * 10**9, 60)
    )
    write_table(folder / "interactions.tsv.gz", pd.concat([table, again], ignore_index=True))
    dataset = load_dataset(folder)
    mask = np.arange(32) % 5 != 0
    visual = rng.normal(size=(32, 6)).astype(np.float32)
    textual = rng.normal(size=(32, 4)).astype(np.float32) * mask[:, None]
    features = {
        "visual": Features("visual", visual, dataset.item_names, np.ones(32, bool), {"encoder": "made"}),
        "textual": Features("textual", textual, dataset.item_names, mask, {"encoder": "made"}),
    }
    return dataset, split_dataset(dataset, "random", seed=1), features


def pairs(dataset, split, part):
    """The raw ids of a part."""
    rows = getattr(split, part)
    return {(dataset.users[u], dataset.item_names[i]) for u, i in rows}


@pytest.mark.parametrize("layout", ["mmrec", "elliot", "recbole", "cornac"])
def test_round_trip(shop, layout, tmp_path):
    dataset, split, features = shop
    out = export(dataset, layout, tmp_path / "out", split=split, features=features)
    back = load_dataset(convert(layout, out, tmp_path / "back"))
    users = pd.read_csv(out / "users.tsv", sep="\t", dtype=str).set_index("user_id")["user"]
    items = pd.read_csv(out / "items.tsv", sep="\t", dtype=str).set_index("item_id")["item"]
    given = split_dataset(back, "given")
    for part in ("train", "valid", "test"):
        found = {(users[u], items[i]) for u, i in pairs(back, given, part)}
        assert found == pairs(dataset, split, part), part
    kept = dataset.interactions.sort_values("timestamp", kind="stable")  # the split keeps the latest row of a pair
    first = kept.drop_duplicates(["user", "item"], keep="last").set_index(["user", "item"])
    log = back.interactions
    keys = list(zip(users[log["user"]], items[log["item"]]))
    if layout != "cornac":  # its lists have no times
        np.testing.assert_array_equal(log["timestamp"], first.loc[keys, "timestamp"])
    if layout not in ("elliot", "cornac"):  # their nDCG is graded, so every rating is written as 1
        np.testing.assert_array_equal(log["rating"], first.loc[keys, "rating"])
    else:
        assert "rating" not in log
    row_of = {name: row for row, name in enumerate(dataset.item_names)}
    for modality, feature in features.items():
        again = prepared(back, modality)
        rows = [row_of[items[name]] for name in again.item_names]
        np.testing.assert_allclose(again.matrix, feature.matrix[rows], atol=1e-6)
        np.testing.assert_array_equal(again.mask, feature.mask[rows])


def rated(tmp_path, rows, columns="user\titem\trating\ttimestamp"):
    """A folder with a log of the given rows."""
    folder = tmp_path / "rated"
    folder.mkdir()
    lines = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    (folder / "interactions.tsv").write_text(f"{columns}\n{lines}", encoding="utf-8")
    return load_dataset(folder)


@pytest.mark.parametrize("turned", [False, True], ids=["in order", "latest first"])
@pytest.mark.parametrize("strategy", ["leave_one_out", "temporal_user", "random"])
def test_a_pair_rated_twice_leaves_with_the_row_that_the_split_keeps(tmp_path, strategy, turned):
    rows = [("u1", "i1", 2, 10), ("u1", "i2", 3, 20), ("u1", "i3", 3, 30), ("u1", "i1", 5, 99)]
    rows = (rows[::-1] if turned else rows) + [
        (f"u{u}", f"i{i}", 4, 10 * u + i) for u in (2, 3, 4) for i in range(1, 5)
    ]
    dataset = rated(tmp_path, rows)
    log = pd.read_csv(export(dataset, "csv", tmp_path / "out", strategy=strategy) / "ratings.csv")
    (row,) = log[(log["userId"] == "u1") & (log["movieId"] == "i1")].itertuples()
    assert (row.rating, row.timestamp) == (5, 99)
    mine = log[log["userId"] == "u1"]
    if strategy == "leave_one_out":
        assert mine["timestamp"][mine["split"] == "test"].tolist() == [99]


def test_without_times_the_last_row_of_the_file_leaves(tmp_path):
    rows = [("u1", "i1", 2), ("u1", "i2", 3), ("u1", "i1", 5), ("u2", "i1", 1)]
    dataset = rated(tmp_path, rows, "user\titem\trating")
    log = pd.read_csv(export(dataset, "csv", tmp_path / "out") / "ratings.csv").set_index(["userId", "movieId"])
    assert log["rating"].to_dict() == {("u1", "i1"): 5, ("u1", "i2"): 3, ("u2", "i1"): 1}


def test_a_given_split_leaves_with_each_row_in_its_own_part(tmp_path):
    rows = [
        ("u1", "i1", 5, 99, "test"),
        ("u1", "i1", 2, 10, "train"),
        ("u1", "i1", 3, 12, "train"),
        ("u1", "i2", 4, 20, "valid"),
        ("u2", "i1", 1, 30, "train"),
    ]
    dataset = rated(tmp_path, rows, "user\titem\trating\ttimestamp\tsplit")
    log = pd.read_csv(export(dataset, "csv", tmp_path / "out") / "ratings.csv")
    assert sorted(log.itertuples(index=False, name=None)) == sorted(rows)


def test_mmrec_numbers_only_items_of_the_log(shop, tmp_path):
    """MMRec takes the largest id + 1 for the number of items: rows of items nobody took would not fit."""
    dataset, split, features = shop
    out = export(dataset, "mmrec", tmp_path / "out", split=split, features=features)
    log = pd.read_csv(out / "tiny" / "tiny.inter", sep="\t")
    assert sorted(log.columns) == ["itemID", "rating", "timestamp", "userID", "x_label"]
    n_items = log["itemID"].max() + 1
    assert n_items == log["itemID"].nunique() == 30
    assert np.load(out / "tiny" / "image_feat.npy").shape == (n_items, 6)
    settings = yaml.safe_load((out / "tiny.yaml").read_text(encoding="utf-8"))
    assert settings["field_separator"] == "\t" and settings["text_feature_file"] == "text_feat.npy"


def test_elliot_names_files_that_exist_and_a_validation_part(shop, tmp_path):
    dataset, split, features = shop
    out = export(dataset, "elliot", tmp_path / "out", split=split, features=features)
    experiment = yaml.safe_load((out / "config.yml").read_text(encoding="utf-8"))["experiment"]
    data = experiment["data_config"]
    for key in ("train_path", "validation_path", "test_path"):
        assert (out / data[key]).is_file()
    for side in data["side_information"]:
        (folder,) = [value for key, value in side.items() if key.endswith("_features")]
        assert len(list((out / folder).glob("*.npy"))) == dataset.n_items
    test = pd.read_csv(out / data["test_path"], sep="\t", header=None)
    assert len(test) == len(split.test) and set(test[2]) == {1.0}


def test_csv_as_movielens_has_it(shop, tmp_path):
    dataset, split, _ = shop
    out = export(dataset, "csv", tmp_path / "out", split=split)
    ratings, films = pd.read_csv(out / "ratings.csv"), pd.read_csv(out / "movies.csv")
    assert list(ratings.columns) == ["userId", "movieId", "rating", "timestamp", "split"]
    assert list(films.columns) == ["movieId", "title", "genres"] and films["title"][0] == "Thing, i00"
    part = ratings[ratings["split"] == "valid"]
    assert set(zip(part["userId"], part["movieId"])) == pairs(dataset, split, "valid")


def test_command_line_and_errors(shop, tmp_path, capsys):
    dataset, _, _ = shop
    assert main(["export", str(dataset.path), "csv", str(tmp_path / "a")]) == 0
    assert main(["export", str(dataset.path), "csv", str(tmp_path / "a")]) == 1
    assert "holds files already" in capsys.readouterr().err
    with pytest.raises(CourseError, match="recbole"):
        export(dataset, "recbol", tmp_path / "b")
    for table in (LAYOUTS, CONVERTERS):  # each as the page and the help of the command list them
        assert ", ".join(table) in (ROOT / "utils" / "own_data" / "README.md").read_text(encoding="utf-8")


def test_imports_name_what_is_wrong(shop, tmp_path):
    dataset, split, _ = shop
    (tmp_path / "empty").mkdir()
    for layout, words in (("mmrec", r"one file \*.inter"), ("recbole", "train.inter"), ("elliot", "train.tsv")):
        with pytest.raises(CourseError, match=words):
            convert(layout, tmp_path / "empty", tmp_path / f"to_{layout}")
    out = export(dataset, "mmrec", tmp_path / "out", split=split)
    path = out / "tiny" / "tiny.inter"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[4] = lines[4][:-1] + "7"
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CourseError, match="tiny.inter, row 5: x_label '7' is unknown"):
        convert("mmrec", out, tmp_path / "to")


def elliot(folder, config=None):
    """A small Elliot folder of a fixed split."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train", "val", "test"):
        (folder / f"{name}.tsv").write_text("0\t1\t1.0\t100\n1\t2\t1.0\t200\n", encoding="utf-8")
    if config is not None:
        (folder / "config.yml").write_text(config, encoding="utf-8")
    return folder


FIXED = "experiment:\n  data_config:\n    strategy: fixed\n"
BAD_CONFIGS = {
    "broken YAML": (
        "experiment:\n  models: [unclosed\n",
        r"config\.yml, row 3, cannot be read as YAML .*correct it, or",
    ),
    "nested without end": ("[" * 1000, r"config\.yml.* cannot be read as YAML"),
    "a list": ("- a\n- b\n", "config.yml has no experiment: data_config: that names the files; add it, or remove it"),
    "no data_config": ("experiment:\n  dataset: toy\n", "config.yml has no experiment: data_config:"),
    "nothing under it": ("experiment:\n  data_config:\n", "config.yml has no experiment: data_config:"),
    "Elliot splits": (FIXED.replace("fixed", "dataset"), "strategy 'dataset' leaves the split to Elliot"),
    "a file that is not there": (FIXED + "    train_path: x.tsv\n", r"There is no .*x\.tsv"),
}


@pytest.mark.parametrize("kind", BAD_CONFIGS)
def test_a_bad_elliot_config_is_one_sentence(tmp_path, kind):
    config, words = BAD_CONFIGS[kind]
    with pytest.raises(CourseError, match=words) as caught:
        convert("elliot", elliot(tmp_path / "source", config), tmp_path / "made")
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


@pytest.mark.parametrize("place", ["../outside.tsv", "{}/outside.tsv"])
def test_an_elliot_config_names_nothing_outside_of_its_folder(tmp_path, place):
    (tmp_path / "outside.tsv").write_text("1\t2\t3\n", encoding="utf-8")
    place = place.format(tmp_path.as_posix())
    source = elliot(tmp_path / "source", FIXED + f"    train_path: {place}\n")
    with pytest.raises(CourseError, match="lies outside of .*copy it into that folder"):
        convert("elliot", source, tmp_path / "made")
    source = elliot(tmp_path / "other", FIXED + f"    side_information: [{{visual_features: {place}}}]\n")
    with pytest.raises(CourseError, match="lies outside of"):
        convert("elliot", source, tmp_path / "made")


@pytest.mark.parametrize("layout", ["mmrec", "elliot", "recbole", "cornac", "csv"])
def test_no_import_follows_a_link_out_of_the_folder(shop, layout, tmp_path):
    dataset, split, features = shop
    out = export(dataset, layout, tmp_path / "out", split=split, features=features)
    assert load_dataset(convert(layout, out, tmp_path / "fine", say=lambda text: None)).n_interactions
    file = max(
        (path for path in out.rglob("*") if path.suffix in (".inter", ".tsv", ".csv", ".npy")),
        key=lambda p: p.stat().st_size,
    )
    file.rename(tmp_path / "outside")
    try:
        file.symlink_to(tmp_path / "outside")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(CourseError, match="is a link that leaves the folder"):
        convert(layout, out, tmp_path / "made", say=lambda text: None)


def test_an_elliot_config_may_name_other_files_and_leave_out_the_usual_ones(tmp_path):
    source = elliot(tmp_path / "source", FIXED + "    train_path: mine.tsv\n    side_information: [words, {}]\n")
    (source / "train.tsv").rename(source / "mine.tsv")
    assert load_dataset(convert("elliot", source, tmp_path / "made")).n_interactions == 6


def test_an_empty_validation_part_is_a_part_without_rows(tmp_path):
    source = elliot(tmp_path / "source")
    (source / "val.tsv").write_bytes(b"")
    dataset = load_dataset(convert("elliot", source, tmp_path / "made"))
    assert dataset.interactions["split"].value_counts().to_dict() == {"train": 2, "test": 2}
    (source / "train.tsv").write_bytes(b"\n")
    with pytest.raises(CourseError, match=r"train\.tsv has no row"):
        convert("elliot", source, tmp_path / "made")


def test_a_log_too_small_to_validate_on_survives_elliot_and_back(tmp_path):
    write_table(
        tmp_path / "log" / "interactions.tsv", pd.DataFrame({"user": ["a", "a", "b"], "item": ["007", "7", "7"]})
    )
    dataset = load_dataset(tmp_path / "log")
    out = export(dataset, "elliot", tmp_path / "out")
    assert (out / "val.tsv").read_bytes() == b""
    assert load_dataset(convert("elliot", out, tmp_path / "back")).n_interactions == 3


def npy(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def recbole(folder, visual="1\t0.5 0.25\n2\t1 2\n"):
    """A small RecBole benchmark folder with one table of vectors."""
    folder.mkdir(parents=True)
    for part in ("train", "valid", "test"):
        (folder / f"x.{part}.inter").write_text("user_id:token\titem_id:token\trating:float\n0\t1\t5\n1\t2\t4\n")
    (folder / "x.visual").write_text("visual_item:token\tvisual_vector:float_seq\n" + visual)
    return folder


def test_vectors_of_different_lengths_name_the_file_or_the_row(tmp_path):
    source = elliot(tmp_path / "elliot")
    npy(source / "visual_features" / "1.npy", np.ones(4))
    npy(source / "visual_features" / "2.npy", np.ones(5))
    with pytest.raises(
        CourseError, match=r"visual_features.2\.npy has length 5 where the first vector has length 4; extract"
    ):
        convert("elliot", source, tmp_path / "made")
    npy(source / "visual_features" / "2.npy", np.ones((1, 4)))
    assert prepared(load_dataset(convert("elliot", source, tmp_path / "made")), "visual").matrix.shape == (2, 4)
    for visual, words in (
        ("1\t0.5 0.25\n2\t1\n", r"x\.visual, row 3 has length 1 where the first vector has length 2"),
        ("1\t0.5 x\n2\t1 2\n", r"x\.visual, row 2: could not convert string to float: .*write numbers separated by"),
        ("", r"x\.visual needs two columns.* and at least one row"),
    ):
        source = recbole(tmp_path / f"recbole{len(visual)}", visual)
        with pytest.raises(CourseError, match=words):
            convert("recbole", source, tmp_path / "to")
    assert not (tmp_path / "to").exists()


@pytest.mark.parametrize("array", [np.ones(3), np.array(3.0), np.array([["a"]]), np.ones((2, 2, 2))])
def test_a_matrix_of_another_kind_is_named(tmp_path, array):
    folder = tmp_path / "source"
    npy(folder / "image_feat.npy", array)
    (folder / "toy.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n")
    with pytest.raises(CourseError, match=r"image_feat\.npy (has shape \(3,\)|is no array of numbers)"):
        convert("mmrec", folder, tmp_path / "made")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1\t2\tNaN\n", "rating 'NaN' is not a number; correct it"),
        ("1\t\t5\n", "the item id is ''"),
        ("nan\t2\t5\n", "the user id is 'nan'"),
    ],
)
def test_a_bad_row_is_named_in_the_foreign_file(tmp_path, line, words):
    source = recbole(tmp_path / "source")
    with open(source / "x.valid.inter", "a", encoding="utf-8") as stream:
        stream.write(line)
    with pytest.raises(CourseError, match=rf"x\.valid\.inter, row 4: {words}"):
        convert("recbole", source, tmp_path / "made")


@pytest.mark.parametrize("time", ["2014-07-08T10:00:00", "", "inf"])
def test_a_time_that_is_no_number_among_numbers_is_refused_instead_of_1970(tmp_path, time):
    (tmp_path / "source").mkdir()
    rows = f"0\t0\t0\t1400000000\n0\t1\t0\t{time}\n0\t2\t0\t1400000009\n"
    (tmp_path / "source" / "toy.inter").write_text("userID\titemID\tx_label\ttimestamp\n" + rows)
    with pytest.raises(
        CourseError, match=r"toy\.inter, row 3: timestamp '.*' is neither seconds since 1970 nor a date"
    ):
        convert("mmrec", tmp_path / "source", tmp_path / "made")


TIMES = {
    "dates": (["2014-07-08", "2014-07-09"], [1404777600, 1404864000]),
    "dates with a zone": (["2014-07-08T10:00:00+02:00", "2014-07-08T08:00:01Z"], [1404806400, 1404806401]),
    "eight digits": (["20140708", "20140709"], [1404777600, 1404864000]),
    "milliseconds": (["1404777600123", "1404864000999"], [1404777600, 1404864000]),
    "as RecBole writes them": (["1404777600.0", "1.404864e9"], [1404777600, 1404864000]),
}


@pytest.mark.parametrize("layout", ["mmrec", "elliot", "recbole"])
@pytest.mark.parametrize("kind", TIMES)
def test_times_of_any_kind_become_seconds_in_every_layout_that_has_them(tmp_path, layout, kind):
    times, seconds = TIMES[kind]
    source = tmp_path / "source"
    source.mkdir()
    rows = [(f"{k}", f"{k + 3}", time) for k, time in enumerate(times)]
    if layout == "mmrec":
        lines = ["userID\titemID\tx_label\ttimestamp", *(f"{u}\t{i}\t0\t{t}" for u, i, t in rows)]
        (source / "toy.inter").write_text("\n".join(lines) + "\n")
    elif layout == "recbole":
        lines = ["user_id:token\titem_id:token\ttimestamp:float", *(f"{u}\t{i}\t{t}" for u, i, t in rows)]
        (source / "toy.inter").write_text("\n".join(lines) + "\n")
    else:
        for name in ("train", "val", "test"):
            text = "".join(f"{u}\t{i}\t1\t{t}\n" for u, i, t in rows)
            (source / f"{name}.tsv").write_text(text)
    told = []
    made = load_dataset(convert(layout, source, tmp_path / "made", say=told.append))
    assert made.interactions["timestamp"].tolist()[:2] == seconds
    assert any("seconds" in text or "divided by 1,000" in text for text in told) == (kind != "as RecBole writes them")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_export_says_what_goes_in_and_out_and_a_dry_run_writes_nothing(shop, layout, tmp_path, capsys):
    dataset, split, features = shop
    said = []
    target = export(dataset, layout, tmp_path / "out", split=split, features=features, say=said.append, dry_run=True)
    assert not target.exists()
    assert (
        said[0] == f"in: {dataset.n_users:,} users, {dataset.n_items:,} items, {dataset.n_interactions:,} interactions."
    )
    kept = sum(len(split.part(name)) for name in ("train", "valid", "test"))
    items = len(np.unique(np.concatenate([split.part(name)[:, 1] for name in ("train", "valid", "test")])))
    assert (
        f"{items if layout == 'mmrec' else dataset.n_items:,} items, {kept:,} interactions (train {len(split.train):,}, "
        in said[1]
    )
    assert any(text.startswith("visual: ") for text in said) == ("visual" in features)
    again = []
    export(dataset, layout, target, split=split, features=features, say=again.append)
    assert again == said and target.is_dir()


@pytest.mark.parametrize("items", ["item\ttitle\n1\tA\n", "item_id:token\ttitle:token\n1\tA\n1\tB\n"])
def test_a_bad_item_table_of_recbole_is_named(tmp_path, items):
    source = recbole(tmp_path / "source")
    (source / "x.item").write_text(items)
    with pytest.raises(CourseError, match=r"x\.item, row (1: the column 'item_id' is missing|3: item '1' occurs)"):
        convert("recbole", source, tmp_path / "made")


# ---- the frameworks themselves, where they are installed (COURSE_PEERS may name a folder that holds them) ----

SCORES = """
import sys, numpy as np
scores = np.load(sys.argv[2])
"""
CORNAC = (
    SCORES
    + """
import runpy, cornac
method = runpy.run_path(sys.argv[1] + "/load_cornac.py")["method"]

class Given(cornac.models.Recommender):
    def score(self, user_idx, item_idx=None):
        users, items = list(method.train_set.user_ids), list(method.train_set.item_ids)
        row = scores[int(users[user_idx])][[int(i) for i in items]]
        return row if item_idx is None else row[item_idx]

result, _ = method.evaluate(Given("given"), [cornac.metrics.Recall(k=5)], user_based=True)
print("RECALL", result.metric_avg_results["Recall@5"])
"""
)
RECBOLE = (
    SCORES
    + """
import os, torch
sys.path.insert(0, sys.argv[4])
from utils.lab.peers import _shims
_shims()
os.chdir(sys.argv[1])
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.trainer import Trainer

config = Config(model="Pop", config_file_list=["config.yaml"], config_dict={"topk": [5], "use_gpu": False, "state": "ERROR",
    "additional_feat_suffix": None, "preload_weight": None, "alias_of_item_id": None, "load_col": {"inter": ["user_id", "item_id"]},
    "checkpoint_dir": sys.argv[3], "metrics": ["Recall"], "valid_metric": "Recall@5", "metric_decimal_place": 8})
dataset = create_dataset(config)
_, _, test = data_preparation(config, dataset)
users = dataset.id2token("user_id", range(1, dataset.user_num)).astype(int)
items = dataset.id2token("item_id", range(1, dataset.item_num)).astype(int)
table = np.full((dataset.user_num, dataset.item_num), -1e9)
table[1:, 1:] = scores[np.ix_(users, items)]

class Given(GeneralRecommender):
    def __init__(self):
        super().__init__(config, dataset)
        self.anything = torch.nn.Parameter(torch.zeros(1))
    def full_sort_predict(self, interaction):
        return torch.from_numpy(table)[interaction["user_id"]].float()

result = Trainer(config, Given()).evaluate(test, load_best_model=False)
print("RECALL", result["recall@5"])
"""
)


@pytest.mark.parametrize("framework", ["cornac", "recbole"])
def test_the_framework_reads_the_export_and_counts_the_same_recall(shop, framework, tmp_path):
    """Our scores, judged by them on our export and by us: the same number. Both mask train and valid items."""
    dataset, split, _ = shop
    environment = {**os.environ, "PYTHONPATH": os.environ.get("COURSE_PEERS", ""), "OMP_NUM_THREADS": "1"}
    asked = [sys.executable, "-c", f"import {framework}"]
    if subprocess.run(asked, env=environment, capture_output=True).returncode:
        pytest.skip(f"{framework} is not installed (pip install {framework}, or COURSE_PEERS=folder)")
    out = export(dataset, framework, tmp_path / "out", split=split)
    model = make_model("itemknn", split)
    scores = model.score(np.arange(dataset.n_users)).numpy().astype(np.float64)
    scores += 1e-9 * np.random.default_rng(0).random(scores.shape)  # no ties: their order is nobody's duty
    scores[:, np.setdiff1d(np.arange(32), split.train[:, 1])] = -1.0  # they do not know these items
    np.save(tmp_path / "scores.npy", scores)
    script = {"cornac": CORNAC, "recbole": RECBOLE}[framework]
    command = [sys.executable, "-c", script, str(out), str(tmp_path / "scores.npy"), str(tmp_path / "saved"), str(ROOT)]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    lines = [line for line in answer.stdout.splitlines() if line.startswith("RECALL")]
    assert lines, answer.stderr[-2000:]
    ours = evaluate(lambda user_ids: scores[user_ids], split, top_k=5, metrics=["recall"], mask=("train", "valid"))
    assert float(lines[0].split()[1]) == pytest.approx(ours["recall@5"], abs=2e-6)
