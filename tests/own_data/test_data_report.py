"""A folder of one's own: the template loads, and one report names everything that is wrong, row by row."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from tests.data_folders import write_folder
from utils.data import keep_positive, load_dataset, write_table
from utils.data.__main__ import main
from utils.data.requirements import NEEDS, why_not
from utils.errors import CourseError
from utils.files import ROOT
from utils.own_data.report import report
from utils.own_data.template import EXAMPLE, new_folder


def texts(folder, severity="error"):
    return [str(f) for f in report(folder).findings if f.severity == severity]


def test_template_loads_and_asks_for_its_examples_to_be_replaced(tmp_path, capsys):
    folder = new_folder(tmp_path / "mine")
    dataset = load_dataset(folder)
    assert dataset.n_items == 4 and all(path.is_file() for path in dataset.image_paths())
    assert main(["check", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "12 rows are the template's examples" in printed and "no errors, 1 warning" in printed
    assert "[who collected it" in (folder / "README.md").read_text(encoding="utf-8")
    log = (folder / "interactions.tsv").read_text(encoding="utf-8").replace(EXAMPLE, "")
    items = (
        (folder / "items.tsv").read_text(encoding="utf-8").replace(f"\t{EXAMPLE}", "\t").replace(f"\n{EXAMPLE}", "\n")
    )
    (folder / "interactions.tsv").write_text(log, encoding="utf-8")
    (folder / "items.tsv").write_text(items, encoding="utf-8")
    assert not texts(folder, "warning") and not texts(folder)


def test_template_never_writes_into_a_folder_with_files(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert main(["new", str(tmp_path)]) == 1
    assert "holds files already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


def test_one_report_names_every_error_with_its_rows(tmp_path):
    items = "item\ttitle\timage\ni1\tA\t../a.png\ni1\tB\t\n\tC\t\ni4\tD\tC:\\d.png\ni5\ttoo\tmany\tfields\n"
    log = (
        "user\titem\trating\ttimestamp\tsplit\n"
        "u1\ti1\tfive\t10\ttrain\n"
        "u1\tghost\t3\t10.5\ttrain\n"
        "\ti4\t3\tsoon\tTest\n"
        "u2\ti4\t\t12\ttrain\n"
    )
    found = texts(write_folder(tmp_path / "bad", items, log))
    for wanted in (
        "items.tsv, row 6: 4 fields where the header names 3",
        "items.tsv, row 4: the item id is ''",
        "items.tsv, row 3: item 'i1' occurs a second time",
        "items.tsv, rows 2, 5: image path '../a.png' leaves the dataset's folder",
        "interactions.tsv, row 4: the user id is ''",
        "interactions.tsv, row 3: item 'ghost' is not in the items table",
        "interactions.tsv, row 2: rating 'five' is not a number",
        "interactions.tsv, rows 3, 4: timestamp '10.5' is not whole seconds",
        "interactions.tsv, row 4: split 'Test' is unknown",
    ):
        assert any(wanted in text for text in found), (wanted, found)
    assert len(found) == 9


def test_more_than_three_rows_are_counted(tmp_path):
    log = "user\titem\n" + "".join(f"u\tghost{i}\n" for i in range(10))
    (text,) = [t for t in texts(write_folder(tmp_path / "many", None, log)) if "ghost" in t]
    assert "rows 2, 3, 4 and 7 more: item 'ghost0'" in text


def test_misspelt_and_missing_columns(tmp_path):
    folder = write_folder(tmp_path / "names", None, "User,item\nu1,i1\n")
    (text, *_) = texts(folder)
    assert "required column 'user' is missing" in text and "tabs, not by commas" in text
    folder = write_folder(tmp_path / "near", None, "user\titem\tRatings\nu1\ti1\t5\n")
    assert any("column 'Ratings' is not read; did you mean 'rating'?" in t for t in texts(folder, "warning"))


def test_what_is_missing_is_a_note_in_the_report_and_in_the_dataset(tmp_path):
    folder = write_folder(tmp_path / "near", "item\ttitel\ni1\tCat\n", "user\titem\nu1\ti1\n")
    found = report(folder)
    said = [f"{f.file}{f.tail}" for f in found.findings if f.severity != "error"]
    notes = load_dataset(folder).notes
    assert tuple(said[: len(notes)]) == notes
    assert "items.tsv, row 1: column 'titel' is not read; did you mean 'title'?" in notes
    assert "note: items.tsv has no column 'image': there is no visual modality from raw pictures." in str(found)
    assert str(found).count("no column 'image'") == 1


def test_unknown_items_of_a_prepared_folder_are_all_named(tmp_path):
    folder = write_folder(tmp_path / "prepared", "", "user\titem\nu\t0\nu\t7\nv\t8\n")
    (folder / "features").mkdir()
    np.save(folder / "features" / "visual.npy", np.ones((2, 3), dtype=np.float32))
    assert any("interactions.tsv, rows 3, 4: item '7' is not in the items table" in text for text in texts(folder))
    np.savez(folder / "item_knn_visual.npz", row=[0], col=[1], value=[1.0], n_items=3)
    assert any("disagree on the number of items" in text for text in texts(folder))


def test_both_tables_are_judged_when_one_cannot_be_read(tmp_path):
    folder = write_folder(tmp_path / "bytes", b"item\ttitle\na\tCaf\xe9\n", "user\titem\nu\ta\n\ta\n")
    found = texts(folder)
    assert len(found) == 2 and "row 2: byte 0xe9 is not UTF-8" in found[0] and "row 3: the user id is ''" in found[1]
    (folder / "interactions.tsv").unlink()
    assert [text.split("; ")[0] for text in texts(folder)][-1] == found[0].split("; ")[0]


def test_pictures_matrices_and_names_are_read(tmp_path):
    folder = write_folder(tmp_path / "media")
    (folder / "images" / "i1.png").write_bytes(b"no picture")
    (folder / "features").mkdir()
    np.save(folder / "features" / "visual.npy", np.full((3, 4), np.nan, dtype=np.float32))
    np.save(folder / "features" / "image.npy", np.zeros((3, 4), dtype=np.float32))
    found = report(folder)
    errors = " ".join(str(error) for error in found.errors)
    assert "holds NaN" in errors and "not a picture" in errors
    assert any("features/image.npy is not read" in str(f) for f in found.findings)


def test_a_log_that_loads_and_misleads(tmp_path):
    log = "user\titem\ttimestamp\tsplit\n" + "u1\ti1\t1700000000000\ttrain\n" * 2 + "u2\ti2\t1700000000000\ttest\n"
    folder = write_folder(tmp_path / "log", None, log)
    warned = " ".join(texts(folder, "warning"))
    for words in (
        "repeated pairs",
        "have no interaction",
        "milliseconds",
        "users occur in valid or test",
        "fewer than",
    ):
        assert words in warned, words
    assert any("no row says split 'valid'" in text for text in texts(folder))


def test_a_good_folder_has_no_error_and_missing_files_are_one_sentence(tmp_path):
    assert not texts(write_folder(tmp_path / "good"))
    (tmp_path / "empty").mkdir()
    assert texts(tmp_path / "empty") == ["error: interactions.tsv is missing; every dataset needs one (or a .tsv.gz)."]
    with pytest.raises(CourseError, match="There is no folder"):
        report(tmp_path / "nowhere")


def test_notebooks_say_why_they_do_not_run(tmp_path):
    words = load_dataset(write_folder(tmp_path / "words", "item\ttitle\ni1\tCat\ni2\tDog\ni3\tCar\n"))
    log = load_dataset(write_folder(tmp_path / "log", "item\ni1\ni2\ni3\n"))
    paths = {path.stem: path for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert set(NEEDS) <= set(paths)
    assert "only one of them" in why_not(paths["03_feature_extraction"], words)
    assert "names none" in why_not(paths["03_feature_extraction"], log)
    assert "has only textual" in why_not(paths["04_multimodal_fusion"], words)
    assert why_not(paths["02_dataset_processing"], log) == "" == why_not(paths["06_evaluation"], log)
    untimed = load_dataset(write_folder(tmp_path / "untimed", "item\ni1\ni2\n", "user\titem\nu\ti1\nu\ti2\n"))
    assert "has no times" in why_not(paths["02_dataset_processing"], untimed)
    assert "Sticker Shop's own story" in why_not(paths["00_start_here"], words)


def test_a_log_alone_gets_random_vectors_and_says_so(tmp_path, capsys):
    from utils import course
    from utils.features import load_features

    dataset = load_dataset(write_folder(tmp_path / "log", "item\ni1\ni2\ni3\n"))
    features = load_features(dataset, dataset.modalities)
    assert "every model with content is a control" in capsys.readouterr().out
    assert features["textual"].matrix.shape == (3, 64) and features["textual"].mask.all()
    with pytest.raises(CourseError, match="04_multimodal_fusion does not run on log: it fuses"):
        course.start("04_multimodal_fusion", dataset=str(dataset.path))


def test_notebook_08_takes_a_folder_with_reviews_and_says_why_not_otherwise(tmp_path):
    path = ROOT / "notebooks" / "08_reviews_on_edges.ipynb"

    def why(name, log):
        return why_not(path, write_folder(tmp_path / name, "item\ni1\ni2\n", log))

    rows = [f"u{k}\ti{1 + k % 2}" for k in range(80)]
    assert why("none", "user\titem\n" + "\n".join(rows) + "\n") == (
        "it puts reviews on edges, and the log has no column review"
    )
    head = "user\titem\treview\n"
    assert "none of its rows has one" in why("empty", head + "".join(f"{row}\t \n" for row in rows))
    assert "only 3 of its rows have one" in why(
        "few", head + "".join(f"{r}\t{'ok' * (k < 3)}\n" for k, r in enumerate(rows))
    )
    assert why("all", head + "".join(f"{row}\tfine\n" for row in rows)) == ""


def log_of(tmp_path, rows, columns="user\titem\trating\ttimestamp", items=""):
    """A folder with this log, and with a table of items where one is given."""
    lines = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    return write_folder(tmp_path / "log", items, f"{columns}\n{lines}")


def warned(folder, words):
    """The warnings that hold some words."""
    return [text for text in texts(folder, "warning") if words in text]


@pytest.mark.parametrize(
    "ratings",
    [
        [(u * 17 + i * 29) % 101 for u in range(6) for i in range(6)],
        [1 + (u * 3 + i) % 5 for u in range(6) for i in range(6)],
        [0.5 + (u * 3 + i) % 10 / 2 for u in range(6) for i in range(6)],
        [((u + i) % 7 - 3) * 0.1 for u in range(6) for i in range(6)],
    ],
    ids=["0 to 100", "1 to 5", "0.5 to 5", "-0.3 to 0.3"],
)
def test_the_threshold_named_for_low_ratings_leaves_just_these_out(tmp_path, ratings):
    folder = log_of(tmp_path, [(f"u{k // 6}", f"i{k % 6}", rating, k) for k, rating in enumerate(ratings)])
    (text,) = warned(folder, "lower half of the scale")
    named = int(re.search(r": (\d+) ratings", text)[1])
    threshold = float(re.search(r"keep_positive\(dataset, (.+?)\)", text)[1])
    assert 0 < named < 36 and keep_positive(load_dataset(folder), threshold).n_interactions == 36 - named


def test_counts_are_not_called_likes(tmp_path):
    rows = [(f"u{u}", f"i{i}", (u + 1) * 7 ** (i % 5), u + i) for u in range(6) for i in range(6)]
    folder = log_of(tmp_path, rows)
    (text,) = warned(folder, "look like counts, not stars")
    assert "up to 14,406" in text and "keep_positive(dataset, 2)" in text
    assert not warned(folder, "likes")


def test_a_rating_of_zero_below_stars_is_named(tmp_path):
    folder = log_of(tmp_path, [("u1", "i1", 5, 1), ("u1", "i2", 0, 2), ("u2", "i1", 4, 3)])
    assert len(warned(folder, '1 ratings are 0 where all others are 1 or more; if 0 means "not rated"')) == 1


def test_rows_of_zeros_that_count_as_present_are_named(tmp_path):
    folder = write_folder(tmp_path / "zeros")
    (folder / "features").mkdir()
    matrix = np.ones((3, 4), dtype=np.float32)
    matrix[1] = 0
    np.save(folder / "features" / "visual.npy", matrix)
    (folder / "features" / "items.txt").write_text("i1\ni2\ni3\n")
    assert len(warned(folder, "1 of 3 rows are all zero and count as present ('i2')")) == 1
    np.save(folder / "features" / "visual_mask.npy", np.array([True, False, True]))
    assert not warned(folder, "all zero")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('"user";"item";"rating"\r\n"276725";"034545104X";"0"\r\n', "tabs, not by semicolons"),
        ("user,item\nu1,i1\n", "tabs, not by commas"),
        ("user item\nu1 i1\n", "tabs, not by blanks"),
        ("1::1193::5::978300760\n1::661::3::978302109\n", "tabs, not by two colons"),
        ("196\t242\t3\t881250949\n186\t302\t3\t891717742\n", "row 1 looks like data ('196', '242', '3' and 1 more)"),
        ("user\titem\ru1\ti1\ru1\ti2\r", "old Macintosh computers"),
        ("user\titem\n\n", None),
    ],
    ids=["semicolons", "commas", "blanks", "colons", "no header", "carriage returns", "empty"],
)
def test_a_first_row_that_is_no_header_says_why(tmp_path, table, words):
    found = texts(write_folder(tmp_path / "log", "", table))
    assert words is None or (len(found) == 1 and words in found[0]), found


def test_files_under_a_wrong_name_are_called_what_they_are(tmp_path):
    good = b"user\titem\nu1\ti1\n"
    for name, raw, words in (
        ("interactions.tsv.gz", gzip.compress(gzip.compress(good)), "gzipped twice; unpack it once"),
        ("interactions.tsv.gz", b"<!DOCTYPE html><html>404</html>", "it is a web page, not the file"),
        ("interactions.tsv", gzip.compress(good), "a gzip file; add .gz to its name"),
        ("interactions.tsv", good.decode().encode("utf-16"), "UTF-16"),
    ):
        folder = tmp_path / f"{name} {len(raw)}"
        folder.mkdir()
        (folder / name).write_bytes(raw)
        (text,) = texts(folder)
        assert words in text


def test_a_line_break_inside_a_field_is_named(tmp_path):
    folder = write_folder(
        tmp_path / "broken", "item\ttitle\ni1\tOne\nsecond line\ni2\tTwo\n", "user\titem\nu\ti1\nu\ti2\n"
    )
    (text,) = texts(folder)
    assert "row 3: 1 field where the header names 2" in text and "line break inside a field by a space" in text


@pytest.mark.parametrize(
    ("item", "known", "words"),
    [
        ("12.0", "12", "without .0 it is there: ids became decimal numbers"),
        ("A1 ", "A1", "without the blanks around it it is there"),
        ("A1", " A1", "without the blanks around it it is there"),
        ('"A1"', "A1", "without its quotation marks it is there"),
        ("108", "0108", "without its zeros in front it is there"),
        ("a1", "A1", "in small letters it is there"),
    ],
)
def test_an_unknown_id_says_how_it_changed_on_its_way(tmp_path, item, known, words):
    items = f"item\ttitle\n{known}\tOne\nzz\tTwo\n"
    folder = log_of(tmp_path, [("u1", item), ("u2", "ghost")], "user\titem", items)
    found = [text for text in texts(folder) if "is not in the items table" in text]
    assert len(found) == 2 and words in found[0] and "'ghost' is not in the items table; add it" in found[1]
    with pytest.raises(CourseError, match="row 2: item .* is not in the items table"):
        load_dataset(folder)


def test_ids_that_a_program_changed_are_warned_of(tmp_path):
    rounded = [(f"1.8474E+1{u % 2}", f"1.76E+1{i}", 5, 1_600_000_000 + i) for u in range(4) for i in range(4)]
    assert len(warned(log_of(tmp_path / "a", rounded), "look like a spreadsheet's rounding")) == 2
    decimal = [(f"{u}.0", f"{i}.0", 5, 1_600_000_000) for u in range(3) for i in range(3)]
    assert len(warned(log_of(tmp_path / "b", decimal), "became decimal numbers; read ids as text")) == 2
    blanks = [("u1", "i1", 5, 1), ("u1 ", "i1", 5, 1), ("u2", "i2", 5, 1)]
    (text,) = warned(log_of(tmp_path / "c", blanks), "have blanks around them")
    assert "user ids such as 'u1 '" in text


def test_numbers_and_times_say_how_to_write_them(tmp_path):
    rows = [("u1", "i1", "4,5", "2014-05-01"), ("u1", "i2", "-", "soon"), ("u2", "i1", 5, "2014-05-02T10:00:00Z")]
    found = texts(log_of(tmp_path, rows))
    assert any("row 2: rating '4,5' is not a number; write a point for the decimal comma" in text for text in found)
    assert any("row 3: rating '-' is not a number; correct it" in text for text in found)
    assert any(
        "rows 2, 4: timestamp '2014-05-01' is not whole seconds" in text and "pandas.to_datetime" in text
        for text in found
    )
    assert any("row 3: timestamp 'soon' is not whole seconds since 1970; correct it" in text for text in found)
    days = pd.Series(["2014-05-01", "2014-05-02T10:00:00Z"])
    remedy = pd.to_datetime(days, utc=True, format="ISO8601").map(lambda day: int(day.timestamp()))
    assert remedy.tolist() == [1398902400, 1399024800]


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (1_700_000_000_000, "look like milliseconds; divide by 1000 "),
        (1_700_000_000_000_000_000, "look like nanoseconds; divide by 1000000000 "),
        (20140501, "look like dates, year month day"),
    ],
)
def test_whole_numbers_that_are_no_seconds_are_warned_of(tmp_path, time, words):
    assert len(warned(log_of(tmp_path, [("u1", "i1", 5, time), ("u2", "i2", 5, time)]), words)) == 1


def test_a_table_with_the_quotes_of_pandas_is_warned_of_and_the_remedy_works(tmp_path):
    table = pd.DataFrame({"item": ["i1", "i2"], "title": ['7" vinyl', "plain"], "description": ['He said "no"', "x"]})
    folder = log_of(tmp_path, [("u1", "i1", 5, 1), ("u1", "i2", 5, 2), ("u2", "i1", 5, 3)])
    table.to_csv(folder / "items.tsv", sep="\t", index=False)
    assert len(warned(folder, "items.tsv, row 2: fields are quoted as pandas and spreadsheets do it")) == 1
    assert any("quoted as pandas" in note for note in load_dataset(folder).notes)
    write_table(folder / "items.tsv", table)
    assert not warned(folder, "quoted") and load_dataset(folder).items["title"].tolist() == table["title"].tolist()
