"""Folders of Hugging Face `datasets` come in: parquet of a hub copy, arrow of save_to_disk, pictures inside a table."""

import datetime
import importlib.util
import io
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.data import load_dataset
from utils.errors import CourseError
from utils.own_data import hugging_face
from utils.own_data.movielens_posters import convert

needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed (weekly.yml installs it)"
)


def picture(colour):
    stream = io.BytesIO()
    Image.new("RGB", (6, 6), colour).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": "../../somewhere.png"}


LOG = pd.DataFrame(
    {
        "user_id": ["u1", "u1", "u2", "u2", "u3", "u3"],
        "parent_asin": ["B1", "B2", "B2", "B3", "B1", "B3"],
        "rating": [5.0, 4.0, None, 2.5, 3.0, 1.0],
        "timestamp": [datetime.datetime(2020, 1, 1, 0, 0, second) for second in range(6)],
        "helpful": [0, 1, 2, 3, 4, 5],
    },
    dtype=object,
)
ITEMS = pd.DataFrame(
    {
        "parent_asin": ["B1", "B2", "B3"],
        "title": ["One", 'Two\t"2"', None],
        "categories": [["Toys", "Red"], [], ["Books"]],
        "image": [picture("red"), None, {"bytes": b"<html>", "path": None}],
    },
    dtype=object,
)
LAYOUTS = {
    "hub": {
        "data/train-00000-of-00002.parquet": LOG[:2],
        "data/train-00001-of-00002.parquet": LOG[2:3],
        "data/validation-00000-of-00001.parquet": LOG[3:4],
        "data/test-00000-of-00001.parquet": LOG[4:],
        "items/train-00000-of-00001.parquet": ITEMS,
    },
    "saved": {
        "ratings/train/data-00000-of-00001.arrow": LOG[:3],
        "ratings/validation/data-00000-of-00001.arrow": LOG[3:4],
        "ratings/test/data-00000-of-00001.arrow": LOG[4:],
        "items/data-00000-of-00001.arrow": ITEMS,
    },
    "no split": {"reviews.parquet": LOG, "meta.parquet": ITEMS},
    "two parts": {"data/train-0.parquet": LOG[:4], "data/test-0.parquet": LOG[4:], "meta.parquet": ITEMS},
}


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """tables({path: DataFrame}) -> a folder; what pyarrow would read is handed over, so that it need not be there."""
    known = {}

    def make(files, root="source"):
        for name, table in files.items():
            path = tmp_path / root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            known[path] = table.reset_index(drop=True)
        return tmp_path / root

    monkeypatch.setattr(hugging_face, "_read", lambda path: known[path].copy())
    monkeypatch.setattr(hugging_face, "_columns", lambda path: list(known[path].columns))
    return make


def judged(source, target, layout):
    told = []
    dataset = load_dataset(convert("hf", source, target, say=told.append))
    log = dataset.interactions
    assert list(zip(log["user"], log["item"])) == list(zip(LOG["user_id"], LOG["parent_asin"]))
    np.testing.assert_array_equal(log["rating"], LOG["rating"].to_numpy(dtype=float))
    assert log["timestamp"].tolist() == [1577836800 + second for second in range(6)]
    if layout in ("hub", "saved"):
        assert log["split"].tolist() == ["train"] * 3 + ["valid"] + ["test"] * 2
    else:
        assert "split" not in log
        assert any("comes in without a split" in text for text in told) == (layout == "two parts")
    items = dataset.items.set_index("item")
    assert items["title"].tolist() == ["One", 'Two "2"', ""] and items["category"].tolist() == ["Toys|Red", "", "Books"]
    assert [bool(path) for path in dataset.image_paths()] == [True, False, False]
    assert np.asarray(dataset.image(0))[0, 0].tolist() == [255, 0, 0]
    assert any("column helpful left out" in text for text in told)
    assert any("1 of 3 values of column image are files now" in text for text in told)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_comes_in(tables, tmp_path, layout):
    judged(tables(LAYOUTS[layout]), tmp_path / "made", layout)


def test_what_cannot_be_told_is_asked_for(tables, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match=r"holds no \.parquet or \.arrow file"):
        convert("hf", tmp_path / "empty", tmp_path / "made")
    with pytest.raises(CourseError, match="holds several logs .a, b.; give the folder of one"):
        convert("hf", tables({"a.parquet": LOG, "b.parquet": LOG}, "two"), tmp_path / "made")
    with pytest.raises(CourseError, match="no table names a user and an item .the columns of meta are 'parent_asin'"):
        convert("hf", tables({"meta.parquet": ITEMS}, "none"), tmp_path / "made")
    with pytest.raises(CourseError, match="several tables of items"):
        convert("hf", tables({"a.parquet": LOG, "b.parquet": ITEMS, "c.parquet": ITEMS}, "items"), tmp_path / "made")
    bad = LOG.assign(timestamp="soon")
    with pytest.raises(CourseError, match=r"rows 1, 2, 3 and 3 more: timestamp 'soon' is neither"):
        convert("hf", tables({"a.parquet": bad}, "bad"), tmp_path / "made")
    with pytest.raises(CourseError, match="the user id is ''"):
        convert("hf", tables({"a.parquet": LOG.assign(user_id=None)}, "nobody"), tmp_path / "made")


def test_a_link_out_of_the_folder_is_not_read(tables, tmp_path):
    source = tables({"a.parquet": LOG})
    (tmp_path / "outside.parquet").touch()
    try:
        (source / "b.parquet").symlink_to(tmp_path / "outside.parquet")
    except OSError:
        pytest.skip("this system lets nobody make links")
    with pytest.raises(CourseError, match=r"b\.parquet is a link that leaves the folder"):
        convert("hf", source, tmp_path / "made")


def test_without_pyarrow_the_sentence_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.parquet").touch()
    for name in ("pyarrow", "pyarrow.ipc", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CourseError, match="pip install pyarrow.*dataset.to_csv and use `convert csv`"):
        convert("hf", tmp_path / "source", tmp_path / "made")


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (float("nan"), ""), (3.0, "3"), (2.5, "2.5"), (True, "true"), (b"ab", "ab"), (["a", None, 2], "a||2"),
     (datetime.date(2020, 2, 3), "2020-02-03"), ({"a": 1}, '{"a": 1}'), ("x", "x"), (12, "12")],
)  # fmt: skip
def test_a_value_becomes_a_field(value, text):
    assert hugging_face.text_of(value) == text


@needs_pyarrow
@pytest.mark.parametrize("layout", ["hub", "saved"])
def test_the_files_themselves_are_read(tmp_path, layout):
    import pyarrow
    import pyarrow.parquet

    for name, table in LAYOUTS[layout].items():
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        arrow = pyarrow.Table.from_pylist(table.where(table.notna(), None).to_dict("records"))
        if path.suffix == ".parquet":
            pyarrow.parquet.write_table(arrow, path)
        else:
            with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, arrow.schema) as writer:
                writer.write_table(arrow)
    judged(tmp_path / "source", tmp_path / "made", layout)
    for name in LAYOUTS[layout]:
        path = tmp_path / "source" / name
        raw = path.read_bytes()
        for damaged in (b"", raw[: len(raw) // 2], b"PAR1" + raw[40:], b"<html>" * 20):
            path.write_bytes(damaged)
            with pytest.raises(CourseError) as caught:
                convert("hf", tmp_path / "source", tmp_path / "other")
            assert "\n" not in str(caught.value)
        path.write_bytes(raw)


@needs_pyarrow
def test_a_file_that_unpacks_without_bound_is_refused(tmp_path, monkeypatch):
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "source").mkdir()
    pyarrow.parquet.write_table(
        pyarrow.table({"user": ["u"] * 9, "item": ["i"] * 9}), tmp_path / "source" / "a.parquet"
    )
    monkeypatch.setattr(hugging_face, "FREE", 0)
    monkeypatch.setattr(hugging_face, "MAX_RATIO", 0.001)
    with pytest.raises(CourseError, match="no honest file of its size does"):
        convert("hf", tmp_path / "source", tmp_path / "made")
