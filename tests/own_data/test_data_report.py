"""A folder of one's own: the template loads, and one report names everything that is wrong, row by row."""

import numpy as np
import pytest

from tests.data_folders import write_folder
from utils.data import load_dataset
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
