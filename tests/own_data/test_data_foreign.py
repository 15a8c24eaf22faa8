"""Foreign folders as they are found: what is missing, quoted, in other units or of another height."""

import json

import numpy as np
import pandas as pd
import pytest

from utils.data import load_dataset
from utils.errors import CourseError
from utils.features import prepared
from utils.own_data.export import export
from utils.own_data.foreign import read_table
from utils.own_data.movielens_posters import convert

TITLES = [
    '"Weird Al" Yankovic',
    '"Unclosed and then',
    '7" vinyl',
    "it's",
    '"',
    'last one "',
    '"all of it"',
    "a, b; c",
    "",
]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def mmrec(folder, n_items=6, **matrices):
    """An MMRec folder of five users and six items of the log; matrices by file stem."""
    rows = [
        f"{u}\t{i}\t5.0\t{1400000000 + i}\t{0 if i < 4 else min(i - 3, 2)}\n" for u in range(5) for i in range(n_items)
    ]
    write(folder / "toy.inter", "userID\titemID\trating\ttimestamp\tx_label\n" + "".join(rows))
    for stem, matrix in matrices.items():
        np.save(folder / f"{stem}.npy", matrix)
    return folder


def made(layout, source, tmp_path):
    """The converted folder, and what was said."""
    said = []
    return load_dataset(convert(layout, source, tmp_path / "made", say=said.append)), " ".join(said)


def vectors(n_items, dim=4):
    return np.random.default_rng(n_items).normal(size=(n_items, dim))


# ---- what is missing ----


def test_zero_rows_of_a_foreign_matrix_are_missing_and_said(tmp_path):
    image = vectors(6)
    image[[2, 5]] = 0
    dataset, said = made("mmrec", mmrec(tmp_path / "source", image_feat=image, text_feat=vectors(6)), tmp_path)
    assert prepared(dataset, "visual").mask.tolist() == [True, True, False, True, True, False]
    assert prepared(dataset, "textual").mask.all()
    assert "image_feat.npy: 2 of 6 rows are all zero; these items count as without visual content" in said
    assert "2 of 6 rows" in (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert "text_feat" not in said


@pytest.mark.parametrize("layout", ["recbole", "elliot"])
def test_zero_rows_are_missing_in_every_layout(tmp_path, layout):
    source = tmp_path / "source"
    for part in ("train", "valid" if layout == "recbole" else "val", "test"):
        if layout == "recbole":
            write(source / f"x.{part}.inter", "user_id:token\titem_id:token\n0\t1\n1\t2\n")
        else:
            write(source / f"{part}.tsv", "0\t1\n1\t2\n")
    if layout == "recbole":
        write(source / "x.visual", "visual_item:token\tvisual_vector:float_seq\n1\t0 0\n2\t1 2\n")
    else:
        (source / "visual_features").mkdir()
        np.save(source / "visual_features" / "1.npy", np.zeros(2))
        np.save(source / "visual_features" / "2.npy", np.ones(2))
    dataset, said = made(layout, source, tmp_path)
    assert prepared(dataset, "visual").mask.tolist() == [False, True] and "1 of 2 rows are all zero" in said


def test_a_damaged_mask_beside_an_export_is_named(tmp_path):
    source = mmrec(tmp_path / "source", image_feat=vectors(6), visual_mask=np.ones(5, bool))
    with pytest.raises(CourseError, match=r"visual_mask\.npy is no mask of 6 items"):
        convert("mmrec", source, tmp_path / "made")


# ---- heights ----


def test_matrices_of_different_heights_are_refused(tmp_path):
    source = mmrec(tmp_path / "source", image_feat=vectors(6), text_feat=vectors(9))
    with pytest.raises(
        CourseError, match=r"different numbers of rows \(image_feat\.npy: 6, text_feat\.npy: 9\).*make them"
    ):
        convert("mmrec", source, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_an_item_of_the_log_beyond_the_matrix_is_named_with_its_row(tmp_path):
    source = mmrec(tmp_path / "source", n_items=7, image_feat=vectors(6))
    with pytest.raises(
        CourseError, match=r"toy\.inter, rows 8, 15, 22 and 2 more: item '6' has no row in image_feat\.npy"
    ):
        convert("mmrec", source, tmp_path / "made")


def test_rows_beyond_the_log_are_items_without_interaction_and_said(tmp_path):
    dataset, said = made("mmrec", mmrec(tmp_path / "source", image_feat=vectors(8)), tmp_path)
    assert dataset.n_items == 8 and "2 of 8 items have no interaction" in said


# ---- quotation marks ----


def test_titles_with_quotation_marks_survive_recbole(tmp_path):
    items = "item\ttitle\n" + "".join(f"i{k}\t{title}\n" for k, title in enumerate(TITLES))
    write(tmp_path / "shop" / "items.tsv", items)
    log = "".join(f"u{u}\ti{k}\n" for u in range(3) for k in range(len(TITLES)))
    write(tmp_path / "shop" / "interactions.tsv", "user\titem\n" + log)
    out = export(load_dataset(tmp_path / "shop"), "recbole", tmp_path / "out")
    file = out / "shop" / "shop.item"
    as_recbole = pd.read_csv(file, delimiter="\t", dtype=str, keep_default_na=False, engine="python")
    assert as_recbole["title:token_seq"].tolist() == TITLES
    assert load_dataset(convert("recbole", out, tmp_path / "back")).items["title"].tolist() == TITLES


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ('1\t"Weird Al" Yankovic\n2\t"Unclosed and then\n3\t7" vinyl\n4\t"\n', ['"Weird Al" Yankovic', '"Unclosed and then', '7" vinyl', '"']),
        ('1\t"7"" vinyl"\n2\tplain\n', ['7" vinyl', "plain"]),
        ('1\t"a\ttab"\n2\tplain\n', ["a\ttab", "plain"]),
        ('1\t"two\nlines"\n2\tplain\n', ["two\nlines", "plain"]),
        ('1\t"opens\n2\tcloses"\n', ['"opens', 'closes"']),
    ],
    ids=["letters", "doubled", "tab inside", "line break inside", "one on each line"],
)  # fmt: skip
def test_a_table_is_read_with_quoting_only_where_it_is_quoted(tmp_path, text, titles):
    table = read_table(write(tmp_path / "x.item", "item_id\ttitle\n" + text))
    assert table["title"].tolist() == titles and table["item_id"].tolist() == [str(k + 1) for k in range(len(titles))]


def test_row_numbers_count_lines_of_the_file(tmp_path):
    table = read_table(write(tmp_path / "x", 'a\tb\n\n1\t"two\nlines"\n2\t""""\n'))
    assert table.index.tolist() == [3, 5] and table["b"].tolist() == ["two\nlines", '"']
    with pytest.raises(CourseError, match="row 3: 1 field where the first row has 2"):
        read_table(write(tmp_path / "y", "a\tb\n1\t2\n3\n"))


# ---- times ----


@pytest.mark.parametrize(("unit", "size"), [("milliseconds", 10**3), ("microseconds", 10**6), ("nanoseconds", 10**9)])
def test_times_in_smaller_units_become_seconds_and_it_is_said(tmp_path, unit, size):
    source = mmrec(tmp_path / "source")
    log = pd.read_csv(source / "toy.inter", sep="\t")
    log["timestamp"] *= size
    log.to_csv(source / "toy.inter", sep="\t", index=False)
    dataset, said = made("mmrec", source, tmp_path)
    assert dataset.interactions["timestamp"].min() == 1400000000 and f"timestamps are in {unit}" in said


def test_times_in_two_units_are_refused_and_zeros_are_no_times(tmp_path):
    source = write(
        tmp_path / "source" / "x.inter", "user_id\titem_id\ttimestamp\n0\t1\t1400000000000\n0\t2\t1400000000\n"
    )
    with pytest.raises(
        CourseError, match="row 3: timestamp '1400000000' is in seconds where others are in milliseconds"
    ):
        convert("recbole", source.parent, tmp_path / "made")
    write(source, "user_id\titem_id\ttimestamp\n0\t1\t0\n0\t2\t0.0\n")
    dataset, said = made("recbole", source.parent, tmp_path)
    assert "timestamp" not in dataset.interactions and "every timestamp is 0" in said


def test_eight_digits_that_are_dates_are_read_as_such_but_not_in_an_export_of_ours(tmp_path):
    write(tmp_path / "source" / "x.inter", "user_id\titem_id\ttimestamp\n0\t1\t20140501\n0\t2\t20151231\n")
    dataset, said = made("recbole", tmp_path / "source", tmp_path)
    assert dataset.interactions["timestamp"].tolist() == [1398902400, 1451520000] and "dates became seconds" in said
    write(tmp_path / "source" / "export.json", '{"made_up": []}')
    dataset, said = made("recbole", tmp_path / "source", tmp_path / "again")
    assert dataset.interactions["timestamp"].tolist() == [20140501, 20151231] and "dates" not in said


def test_what_an_export_made_up_does_not_come_back(tmp_path):
    write(
        tmp_path / "shop" / "interactions.tsv",
        "user\titem\n" + "".join(f"u{u}\ti{k}\n" for u in range(9) for k in range(9)),
    )
    dataset = load_dataset(tmp_path / "shop")
    for layout in ("mmrec", "recbole", "elliot", "cornac"):
        back = load_dataset(convert(layout, export(dataset, layout, tmp_path / layout), tmp_path / f"{layout} back"))
        assert not {"rating", "timestamp"} & set(back.interactions)
    said = next((tmp_path / "mmrec").rglob("export.json"))
    assert json.loads(said.read_text(encoding="utf-8"))["made_up"] == ["rating", "timestamp"]
    said.write_text("{", encoding="utf-8")
    with pytest.raises(CourseError, match=r"export\.json is not JSON"):
        convert("mmrec", tmp_path / "mmrec", tmp_path / "again")


# ---- RecBole's own downloads ----


def test_recbole_without_a_split_and_with_its_own_item_columns(tmp_path):
    folder = tmp_path / "source" / "ml"
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    write(folder / "ml.inter", head + "".join(f"{u}\t{i}\t5\t{1400000000 + i}\n" for u in range(5) for i in range(6)))
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    write(folder / "ml.item", head + "".join(f"{i}\tFilm {i}\t1995\tDrama\n" for i in range(7)))
    dataset, said = made("recbole", folder.parent, tmp_path)
    assert dataset.n_interactions == 30 and "split" not in dataset.interactions
    assert dataset.items["title"].tolist() == [f"Film {i}" for i in range(7)]
    assert (
        dataset.items["category"].tolist() == ["Drama"] * 7 and dataset.items["release_year"].tolist() == ["1995"] * 7
    )
    assert "column movie_title as title, class as category" in said and "1 of 7 items have no interaction" in said


def test_recbole_with_several_logs_names_them(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "source" / f"{name}.inter", "user_id:token\titem_id:token\n0\t1\n")
    with pytest.raises(CourseError, match=r"one file NAME\.inter.* It has a\.inter, b\.inter"):
        convert("recbole", tmp_path / "source", tmp_path / "made")
