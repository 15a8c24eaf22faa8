"""The one folder format: what loads, what is refused with which sentence, and how a dataset prints itself."""

import numpy as np
import pytest
from data_folders import COLUMNS, ITEMS, real, write_folder, write_gz

from utils.data import item_graphs, load_dataset, write_table
from utils.data.load import known_datasets
from utils.data.tables import scan_table
from utils.errors import CourseError
from utils.own_data.report import report

PAIRS = "user\titem\n"


def refusal(folder, **options):
    """Return the sentence that a folder is refused with."""
    with pytest.raises(CourseError) as caught:
        load_dataset(folder, **options)
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    return text


def test_good_folder(tmp_path):
    dataset = load_dataset(write_folder(tmp_path / "good"))
    assert (dataset.name, dataset.n_users, dataset.n_items, dataset.n_interactions) == ("good", 2, 3, 4)
    assert dataset.users.tolist() == ["u1", "u2"]
    assert dataset.item_names.tolist() == ["i1", "i2", "i3"]
    table = dataset.interactions
    assert table["user_id"].tolist() == [1, 0, 0, 1] and table["item_id"].tolist() == [0, 1, 0, 2]
    assert table["user_id"].dtype == table["item_id"].dtype == table["timestamp"].dtype == np.int64
    assert table["rating"].tolist() == [5, 4.5, 3, 4]
    assert dataset.notes == ()
    assert dataset.image_paths()[1] is None and dataset.image_paths()[0].is_file()
    assert dataset.audio_paths() == [None] * 3
    assert dataset.image(0).mode == "RGB" and dataset.image(0).getpixel((0, 0)) == (200, 30, 30)


def test_items_without_interaction_stay(tmp_path):
    dataset = load_dataset(write_folder(tmp_path, interactions=PAIRS + "u\ti3\n"))
    assert dataset.n_items == 3 and dataset.interactions["item_id"].tolist() == [2]


def test_gzip_windows_line_ends_and_byte_order_mark(tmp_path):
    text = "\ufeff" + (PAIRS + "u\ti1\nü\ti2\n").replace("\n", "\r\n")
    write_folder(tmp_path, interactions="")
    write_gz(tmp_path / "interactions.tsv.gz", text)
    assert load_dataset(tmp_path).users.tolist() == ["u", "ü"]


def test_quotes_hashes_and_na_words_are_letters(tmp_path):
    items = 'item\tdescription\nNA\t"The "best" # one\nnull\tit\'s\n'
    dataset = load_dataset(write_folder(tmp_path, items, PAIRS + 'a "b\tNA\nNone\tnull\n'))
    assert dataset.texts() == ['"The "best" # one', "it's"]
    assert dataset.users.tolist() == ["None", 'a "b']


def test_ids_are_text(tmp_path):
    dataset = load_dataset(write_folder(tmp_path, "item\n007\n7\n1e3\n", PAIRS + "01\t007\n1\t7\n1\t1e3\n"))
    assert dataset.item_names.tolist() == ["007", "7", "1e3"] and dataset.users.tolist() == ["01", "1"]


def test_texts_fall_back_and_languages(tmp_path):
    items = "item\ttitle\tdescription\tdescription_it\n1\tCat\tA cat\tUn gatto\n2\tDog\t\t\n3\t\t \t\n"
    dataset = load_dataset(write_folder(tmp_path, items, PAIRS + "u\t1\n"))
    assert dataset.texts() == ["A cat", "Dog", ""]
    assert dataset.texts("it") == ["Un gatto", "Dog", ""]
    with pytest.raises(CourseError, match="language"):
        dataset.texts("fr")


def test_empty_descriptions_are_said_once_with_row_and_cost(tmp_path):
    items = "item\ttitle\tdescription\n1\tCat\tA cat\n2\tDog\t\n3\t\t \n"
    notes = [n for n in load_dataset(write_folder(tmp_path, items, PAIRS + "u\t1\n")).notes if "empty" in n]
    assert len(notes) == 2
    assert "items.tsv" in notes[0] and "row 3" in notes[0] and "title stands in" in notes[0]
    assert "row 4" in notes[1] and "no text" in notes[1]


def test_missing_optional_columns_are_said_once_with_their_cost(tmp_path):
    notes = load_dataset(write_folder(tmp_path, "item\ni1\n", PAIRS + "u\ti1\n")).notes
    for column in ("rating", "timestamp", "review", "split", "title", "description", "category", "image", "audio"):
        assert len([n for n in notes if f"no column '{column}': " in n]) == 1
    assert "temporal splits are not possible" in "".join(notes)


def test_a_log_alone_is_a_dataset_without_content(tmp_path):
    write_folder(tmp_path, items="", interactions=PAIRS + "u\ti10\nu\ti9\nv\ti10\n")
    data = load_dataset(tmp_path)
    assert sorted(data.items["item"]) == ["i10", "i9"] and len(data.interactions) == 3
    assert any("No items.tsv: the 2 items are those of the interactions" in note for note in data.notes)


def test_no_interactions_file(tmp_path):
    assert "interactions.tsv" in refusal(write_folder(tmp_path, interactions=""))


def test_two_files_of_one_table(tmp_path):
    write_folder(tmp_path)
    write_gz(tmp_path / "interactions.tsv.gz", PAIRS + "u\ti1\n")
    assert "both" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("items", "interactions", "words"),
    [
        ("title\nCat\n", None, ["items.tsv", "row 1", "'item'", "add a column"]),
        (None, "user_id\titem\nu\ti1\n", ["interactions.tsv", "row 1", "'user'", "rename 'user_id'"]),
        (None, "User\titem\nu\ti1\n", ["'user'", "rename 'User'"]),
        (None, "user,item\nu,i1\n", ["separated by tabs, not by commas"]),
        (None, "user\titem\titem\nu\ti1\ti2\n", ["row 1", "'item'", "twice"]),
        ("item\ti\n1\ta\n2\tb\n1\tc\n", None, ["items.tsv", "row 4", "'1'", "second time", "strict=False"]),
        (None, PAIRS + "u\ti1\nu\ti9\n", ["interactions.tsv", "row 3", "'i9'", "items.tsv"]),
        (None, PAIRS + "\ti1\n", ["interactions.tsv", "row 2", "user id is ''"]),
        (None, PAIRS + "u\ti1\nNaN\ti1\n", ["row 3", "user id is 'NaN'"]),
        (None, PAIRS + "u\t \n", ["row 2", "item id is ' '"]),
        ("item\ttitle\na\tx\n\ty\n", None, ["items.tsv", "row 3", "item id is ''"]),
        (None, COLUMNS + "u\ti1\tgood\t1\t\ttrain\n", ["row 2", "rating 'good'", "a number"]),
        (None, COLUMNS + "u\ti1\tinf\t1\t\ttrain\n", ["row 2", "rating 'inf'"]),
        (None, COLUMNS + "u\ti1\t5\t1\t\ttrain\nu\ti2\t5\tMay 1\t\ttest\n", ["row 3", "timestamp 'May 1'", "seconds"]),
        (None, COLUMNS + "u\ti1\t5\t\t\ttrain\n", ["row 2", "timestamp ''"]),
        (None, COLUMNS + "u\ti1\t5\t1.5\t\ttrain\n", ["row 2", "timestamp '1.5'"]),
        (None, COLUMNS + "u\ti1\t5\t1\t\tdev\n", ["row 2", "split 'dev'", "train, valid or test"]),
        (None, COLUMNS + "u\ti1\t5\t1\ta\tb\ttrain\n", ["row 2", "7 fields", "6", "tab"]),
        (None, COLUMNS + "u\ti1\t5\n", ["row 2", "3 fields", "add the missing fields"]),
        (None, PAIRS + "u\ti1\n\nu\ti2\n", ["row 3", "1 field where the header names 2"]),
        (None, PAIRS, ["interactions.tsv", "no interaction"]),
        (None, b" \n", ["interactions.tsv is empty"]),
        ("item\ttitle\n", None, ["items.tsv", "names no item"]),
        (b"item\ttitle\na\tCat\nb\tCaf\xe9\n", None, ["items.tsv", "row 3", "0xe9", "UTF-8"]),
        (ITEMS + "a\tA\t\t\t../../secret.png\t\n", None, ["items.tsv", "row 2", "image", "leaves"]),
        (ITEMS + "a\tA\t\t\t/etc/x.png\t\n", None, ["row 2", "leaves"]),
        (ITEMS + "a\tA\t\t\tC:/x.png\t\n", None, ["row 2", "leaves"]),
        (ITEMS + "a\tA\t\t\timages\\x.png\t\n", None, ["row 2", "backslash"]),
        (ITEMS + "a\tA\t\t\t\thttp://x/y.ogg\n", None, ["row 2", "audio", "download"]),
    ],
)
def test_bad_tables_name_file_row_and_remedy(tmp_path, items, interactions, words):
    text = refusal(write_folder(tmp_path, items, interactions))
    for word in words:
        assert word in text, text
    first = report(tmp_path).errors[0]  # the same rule, and the same sentence
    assert text == f"{tmp_path / first.file if first.file else ''}{first.tail}"


def test_damaged_gzip(tmp_path):
    write_folder(tmp_path, interactions="")
    write_gz(tmp_path / "interactions.tsv.gz", PAIRS + "u\ti1\n" * 500)
    path = tmp_path / "interactions.tsv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    assert "gzip" in refusal(tmp_path)
    path.write_bytes(b"plain text")
    assert "gzip" in refusal(tmp_path)


def test_not_strict_leaves_out_and_says_so(tmp_path):
    items = "item\ttitle\na\tfirst\nb\tB\na\tsecond\n"
    dataset = load_dataset(write_folder(tmp_path, items, PAIRS + "u\ta\nu\tz\n\tb\nv\tb\n"), strict=False)
    assert dataset.items["title"].tolist() == ["first", "B"] and dataset.users.tolist() == ["u", "v"]
    assert any("2 interactions" in n for n in dataset.notes) and any("repeats 1" in n for n in dataset.notes)


def test_raw_tables_share_the_media(tmp_path):
    write_folder(tmp_path)
    write_folder(tmp_path / "raw", "item\timage\nr\timages/i1.png\n", PAIRS + "u\tr\n")
    raw = load_dataset(tmp_path, tables="raw")
    assert raw.path == tmp_path and raw.image(0).size == (8, 8)
    assert "raw" in refusal(tmp_path, tables="row").replace("row", "raw")


def test_unknown_names():
    with pytest.raises(CourseError, match="Unknown dataset"):
        load_dataset("no_such_thing")
    with pytest.raises(CourseError, match="no folder"):
        load_dataset("no/such/folder")


def test_nearest_names_are_suggested(tmp_path, monkeypatch):
    write_folder(tmp_path / "data" / "sticker_shop")
    monkeypatch.setattr("utils.data.load.ROOT", tmp_path)
    assert known_datasets() == ["sticker_shop"] and load_dataset().name == "sticker_shop"
    with pytest.raises(CourseError, match="did you mean sticker_shop"):
        load_dataset("stiker-shop")


def test_image_errors(tmp_path):
    dataset = load_dataset(write_folder(tmp_path))
    with pytest.raises(CourseError, match="'i2'"):
        dataset.image(1)
    for position in (-1, 3):
        with pytest.raises(CourseError, match="from 0 to 2"):
            dataset.image(position)


def test_select_makes_ids_anew_and_rows_follow(tmp_path):
    dataset = load_dataset(write_folder(tmp_path))
    small = dataset.select(items=[2, 0])
    assert small.item_names.tolist() == ["i3", "i1"] and small.texts() == ["A red car.", "A black cat."]
    assert small.interactions[["user", "item"]].to_numpy().tolist() == [["u2", "i1"], ["u1", "i1"], ["u2", "i3"]]
    for d in (small, dataset.select(interactions=np.array([False, True, True, False]))):
        assert (d.users[d.interactions["user_id"]] == d.interactions["user"].to_numpy(dtype=str)).all()
        assert (d.item_names[d.interactions["item_id"]] == d.interactions["item"].to_numpy(dtype=str)).all()
    one = dataset.select(interactions=[3])
    assert one.users.tolist() == ["u2"] and one.n_items == 3
    assert dataset.n_interactions == 4  # the original is untouched


@pytest.mark.parametrize("bad", [[0, 0], [4], [-1], np.ones(3, dtype=bool)])
def test_select_refuses_wrong_positions(tmp_path, bad):
    with pytest.raises(CourseError):
        load_dataset(write_folder(tmp_path)).select(interactions=bad)


def test_fingerprint_follows_content_only(tmp_path):
    first, second = load_dataset(write_folder(tmp_path / "a")), load_dataset(write_folder(tmp_path / "b"))
    assert first.fingerprint() == second.fingerprint()
    assert first.select(interactions=[0, 1, 2]).fingerprint() != first.fingerprint()
    assert first.select(items=[1, 0, 2]).fingerprint() != first.fingerprint()
    items = first.items.copy()
    items.loc[0, "title"] = "Kat"
    assert first.with_items(items).fingerprint() != first.fingerprint()


def test_prints_itself_as_text_and_html(tmp_path):
    dataset = load_dataset(write_folder(tmp_path / "a&b", interactions=PAIRS + "u\ti1\nu\ti1\nv\ti2\n"))
    text, page = repr(dataset), dataset._repr_html_()
    for word in (
        "users",
        "sparsity",
        "66.67%",
        "33.3% of the items",
        "no column 'rating'",
        "(2 distinct)",
        "1 have none",
    ):
        assert word in text
    assert "a&amp;b" in page and page.count("<table") == 1 and 'scope="row"' in page and "a&b<" not in page


def test_prepared_folder_needs_no_items(tmp_path):
    write_folder(tmp_path, "", PAIRS + "u\t0\nu\t2\n")
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features" / "visual.npy", np.zeros((4, 2), dtype=np.float16))
    np.save(tmp_path / "features" / "visual_mask.npy", np.ones(4, dtype=bool))
    dataset = load_dataset(tmp_path)
    assert dataset.item_names.tolist() == ["0", "1", "2", "3"] and "4 x 2" in repr(dataset)
    (tmp_path / "features" / "items.txt").write_text("2\n0\n9\n8\n")
    assert load_dataset(tmp_path).interactions["item_id"].tolist() == [1, 0]
    (tmp_path / "features" / "items.txt").write_text("2\n0\n")
    assert "needs 4 different ids" in refusal(tmp_path)
    np.savez(tmp_path / "item_knn_textual.npz", row=[0], col=[0], value=[1.0], n_items=5)
    assert "disagree" in refusal(tmp_path)
    (tmp_path / "features" / "visual.npy").write_bytes(b"nothing")
    assert "visual.npy" in refusal(tmp_path)


def test_interactions_with_a_split_are_enough(tmp_path):
    rows = "u\t10\ttrain\nu\t9\ttest\nv\tb\ttrain\n"
    write_folder(tmp_path, "", "user\titem\tsplit\n" + rows)
    dataset = load_dataset(tmp_path)
    assert dataset.item_names.tolist() == ["9", "10", "b"] and dataset.interactions["item_id"].tolist() == [1, 0, 2]
    assert any("No items.tsv" in note for note in dataset.notes)
    assert item_graphs(dataset) == {}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"n_items": 4}, "4 items, the dataset has 3"),
        ({"col": [0, 3]}, "outside items 0 to 2"),
        ({"value": [1.0, float("nan")]}, "NaN or infinity in edge 1"),
        ({"value": None}, "lacks value"),
    ],
)
def test_item_graphs_are_checked(tmp_path, change, words):
    write_folder(tmp_path, "", PAIRS + "u\t0\nu\t2\n")
    parts = {"row": [0, 1], "col": [0, 2], "value": [1.0, 0.5], "n_items": 3}
    np.savez(tmp_path / "item_knn_visual.npz", **parts)
    dataset = load_dataset(tmp_path)
    assert item_graphs(dataset)["visual"].toarray().tolist() == [[1, 0, 0], [0, 0, 0.5], [0, 0, 0]]
    parts = {name: value for name, value in {**parts, **change}.items() if value is not None}
    np.savez(tmp_path / "item_knn_visual.npz", **parts)
    with pytest.raises(CourseError, match=words):
        item_graphs(dataset)


def test_prepared_folder_with_unknown_item(tmp_path):
    write_folder(tmp_path, "", PAIRS + "u\t0\nu\t7\n")
    np.savez(tmp_path / "item_knn_visual.npz", row=[0], col=[0], value=[1.0], n_items=3)
    assert "row 3: item '7'" in refusal(tmp_path)


def test_written_tables_read_back(tmp_path):
    dataset = load_dataset(write_folder(tmp_path / "a"))
    table = dataset.interactions[["user", "item", "rating", "timestamp", "review", "split"]].copy()
    table.loc[0, "review"] = 'a tab\tand "quotes"\nand a line'
    table.loc[1, "rating"] = np.nan
    for name in ("t.tsv", "t.tsv.gz"):
        write_table(tmp_path / name, table)
        back, found = scan_table(tmp_path / name, ("user",), ("review",))
        assert not found and back["review"][2] == 'a tab and "quotes" and a line'
        assert back["rating"].tolist() == ["5", "", "3", "4"] and back["timestamp"].tolist() == [
            "100",
            "200",
            "300",
            "400",
        ]
    first = (tmp_path / "t.tsv.gz").read_bytes()
    write_table(tmp_path / "t.tsv.gz", table)
    assert (tmp_path / "t.tsv.gz").read_bytes() == first


def test_a_hundred_thousand_rows_are_read(tmp_path):
    rng = np.random.default_rng(0)
    rows = zip(rng.integers(0, 5000, 100_000), rng.integers(0, 900, 100_000), rng.integers(0, 10**9, 100_000))
    items = "item\n" + "\n".join(map(str, range(900))) + "\n"
    text = "user\titem\ttimestamp\n" + "".join(f"u{u}\t{i}\t{t}\n" for u, i, t in rows)
    write_folder(tmp_path, items, text)
    assert load_dataset(tmp_path).n_interactions == 100_000


@pytest.mark.parametrize(
    ("name", "counts", "parts"),
    [
        ("amazon-baby", (19_445, 7_050), (118_551, 20_559, 21_682)),
        ("tiktok", (9_308, 6_710), (59_541, 3_051, 6_130)),
    ],
)
def test_real_prepared_folders(name, counts, parts):
    from utils.data import check_split, split_dataset

    dataset = load_dataset(real(name))
    split = split_dataset(dataset, "given")
    assert (dataset.n_users, dataset.n_items) == counts
    assert (len(split.train), len(split.valid), len(split.test)) == parts
    check_split(split)
