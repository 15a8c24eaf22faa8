"""No command writes over what somebody else made, and nothing is half-written: convert, export, new and get."""

import io
import json
import os
import shutil

import numpy as np
import pytest

from tests.data_folders import ITEMS, write_folder, write_gz
from utils.data import item_graphs, load_dataset
from utils.data.__main__ import main
from utils.data.folders import build_aside, check_target, write_mark
from utils.errors import CourseError
from utils.own_data.movielens_posters import CONVERTERS, convert
from utils.own_data.report import report
from utils.own_data.template import new_folder
from utils.publishers.dataset import get


def content(folder):
    """Path inside the folder -> bytes, of everything in it."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def mmrec(folder, n_items=4, text=True, label="2"):
    """A small MMRec folder; two users took each item."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [f"{u}\t{i}\t5\t{100 + i}\t{label if i == 3 else 0}\n" for u in range(2) for i in range(n_items)]
    (folder / "toy.inter").write_text("userID\titemID\trating\ttimestamp\tx_label\n" + "".join(rows))
    np.save(folder / "image_feat.npy", np.arange(n_items * 2.0).reshape(n_items, 2))
    if text:
        np.save(folder / "text_feat.npy", np.ones((n_items, 3)))
    return folder


def own_folder(folder):
    """Somebody's own course folder, with the very file names that a conversion writes."""
    write_folder(folder, ITEMS + "mine\tMine\t\t\t\t\n", interactions="")
    write_gz(folder / "interactions.tsv.gz", "user\titem\nu\tmine\n")
    (folder / "README.md").write_text("my own card\n")
    (folder / "features").mkdir()
    np.save(folder / "features" / "visual.npy", np.ones((1, 2)))
    return folder


@pytest.mark.parametrize("layout", CONVERTERS)
def test_convert_refuses_a_course_folder_that_it_did_not_make(tmp_path, layout, capsys):
    source, target = mmrec(tmp_path / "source"), own_folder(tmp_path / "mine")
    before = content(target)
    assert main(["convert", layout, str(source), str(target)]) == 1
    said = capsys.readouterr().err
    assert "other files" in said and "older version of `convert`" in said and "delete that folder" in said
    assert content(target) == before and sorted(p.name for p in tmp_path.iterdir()) == ["mine", "source"]


def test_convert_refuses_a_folder_of_another_command(tmp_path):
    source, target = mmrec(tmp_path / "source"), own_folder(tmp_path / "mine")
    write_mark(target, "get", list(target.glob("*.*")))
    with pytest.raises(CourseError, match="no mark that `convert` made it"):
        convert("mmrec", source, target)


def removed(said: list[str]) -> list[str]:
    """Of what convert says, besides its counts: what it took away."""
    return [line for line in said if line.startswith("removed")]


def test_convert_makes_its_own_folder_anew_without_stale_features_and_graphs(tmp_path):
    target, said = tmp_path / "made", []
    convert("mmrec", mmrec(tmp_path / "a"), target, say=said.append)
    assert (target / "features" / "textual.npy").is_file() and not removed(said)
    np.savez(
        target / "item_knn_visual.npz", row=[0], col=[1], value=[1.0], n_items=4
    )  # made by somebody, of these items
    np.save(target / "features" / "visual.npy", np.zeros((4, 9)))
    (target / "notes.txt").write_text("mine")
    convert("mmrec", mmrec(tmp_path / "b", n_items=6, text=False), target, say=said.append)
    assert load_dataset(target).n_items == 6
    assert np.load(target / "features" / "visual.npy").shape == (6, 2)
    assert not (target / "features" / "textual.npy").exists() and not (target / "item_knn_visual.npz").exists()
    assert removed(said) == [
        "removed, because they belong to the earlier items: features/visual.npy, item_knn_visual.npz"
    ]
    assert (target / "notes.txt").read_text() == "mine"
    convert("mmrec", tmp_path / "b", target, say=said.append)
    assert len(removed(said)) == 1 and (target / "notes.txt").is_file()


@pytest.mark.parametrize("name", ["README.md", "items.tsv", "interactions.tsv.gz"])
def test_convert_refuses_when_a_file_was_changed_since(tmp_path, name):
    source, target = mmrec(tmp_path / "source"), tmp_path / "made"
    convert("mmrec", source, target)
    (target / name).write_bytes(b"work of an afternoon")
    before = content(target)
    with pytest.raises(CourseError, match=f"{name} changed since"):
        convert("mmrec", source, target)
    assert content(target) == before


def test_convert_refuses_a_name_that_somebody_else_used(tmp_path):
    target = tmp_path / "made"
    convert("mmrec", mmrec(tmp_path / "source"), target)
    listed = json.loads((target / ".made-by-convert.json").read_text())
    del listed["files"]["items.tsv"]
    (target / ".made-by-convert.json").write_text(json.dumps(listed))
    before = content(target)
    with pytest.raises(CourseError, match=r"items\.tsv, which would be written over"):
        convert("mmrec", tmp_path / "source", target)
    assert content(target) == before


@pytest.mark.parametrize("first", [True, False], ids=["made before", "new"])
def test_a_bad_source_leaves_everything_as_it_was(tmp_path, first):
    target = tmp_path / "made"
    if first:
        convert("mmrec", mmrec(tmp_path / "good"), target)
    before = content(target)
    bad, nobody, nothing = mmrec(tmp_path / "bad"), mmrec(tmp_path / "nobody"), tmp_path / "nothing"
    (bad / "image_feat.npy").write_bytes(b"cut")
    (nobody / "toy.inter").write_text("userID\titemID\tx_label\n \t1\t0\n")
    nothing.mkdir()
    for part in ("train", "valid", "test"):
        (nothing / f"x.{part}.inter").write_text("user_id:token\titem_id:token\n")
    for layout, source, words in (
        ("mmrec", bad, "image_feat.npy is not a plain NumPy array"),
        ("mmrec", nobody, r"toy\.inter, row 2: the user id is ' '"),
        ("recbole", nothing, "nothing makes no course folder: of what would be written, items.tsv names no item"),
    ):  # the last one is written, and found out when it is loaded
        with pytest.raises(CourseError, match=words):
            convert(layout, source, target)
        assert content(target) == before
        assert not list(tmp_path.glob(".part-*")) and target.exists() == first


@pytest.mark.parametrize("command", ["new", "export", "convert", "get"])
def test_no_command_writes_into_a_folder_with_files_or_over_a_file(tmp_path, capsys, command):
    source = mmrec(tmp_path / "source")
    for target in (own_folder(tmp_path / "mine"), tmp_path / "file"):
        (tmp_path / "file").write_text("mine")
        typed = {
            "new": ["new", str(target)],
            "export": ["export", "sticker_shop", "csv", str(target)],
            "convert": ["convert", "mmrec", str(source), str(target)],
            "get": ["get", "movielens-small", "--yes", "--from", str(source), "--to", str(target)],
        }[command]
        before = content(tmp_path)
        assert main(typed) == 1
        said = capsys.readouterr().err
        assert said.startswith(f"error: {target} ") and "give a new or empty folder" in said
        assert content(tmp_path) == before


def test_get_makes_its_own_folder_anew_unless_a_file_was_changed(tmp_path):
    target = own_folder(tmp_path / "made")
    write_mark(target, "get")  # a run that was cut, or one of an older version
    assert check_target(target, "get") == []
    write_mark(target, "get", [target / "README.md"])
    assert check_target(target, "get") == ["README.md"]
    (target / "README.md").write_text("my own words")
    with pytest.raises(CourseError, match=r"made by `get`, but README\.md changed since"):
        get("movielens-small", target, source=tmp_path)
    (target / ".made-by-get.json").write_text("[")
    with pytest.raises(CourseError, match=r"made-by-get\.json cannot be read"):
        check_target(target, "get")


def test_an_error_on_the_way_leaves_the_target_as_it_was(tmp_path, monkeypatch):
    target = own_folder(tmp_path / "mine")
    before, moved, move = content(target), [], shutil.move

    def full(source, place):
        moved.append(source)
        if len(moved) == 6:  # after the old files left, while the new ones come
            raise OSError(28, "No space left on device")
        return move(source, place)

    monkeypatch.setattr(shutil, "move", full)
    with pytest.raises(CourseError, match="Cannot make .*mine: No space left"), build_aside(target) as new:
        for name in ("a", "b", "interactions.tsv"):
            (new / name).write_text("new")
    assert len(moved) > 6 and content(target) == before and not list(tmp_path.glob(".part-*"))
    with pytest.raises(ZeroDivisionError), build_aside(tmp_path / "none"):
        raise ZeroDivisionError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


def test_the_folder_where_one_stands_can_be_filled(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    new_folder(".")
    assert load_dataset(tmp_path / "here").n_items == 4
    assert "# here" in (tmp_path / "here" / "README.md").read_text(encoding="utf-8")


def _graph(**changes):
    """The bytes of an item graph of three items, with some arrays changed."""
    arrays = {"row": np.array([0]), "col": np.array([1]), "value": np.array([1.0]), "n_items": np.array(3), **changes}
    memory = io.BytesIO()
    np.savez_compressed(memory, **arrays)
    return memory.getvalue()


def _npy(array):
    memory = io.BytesIO()
    np.save(memory, array)
    return memory.getvalue()


def _flipped(raw, place):
    return raw[:place] + bytes([raw[place] ^ 0xFF]) + raw[place + 1 :]


DAMAGED = {
    "empty": b"",
    "garbage": b"PK\x03\x04" + b"garbage" * 9,
    "text": b"row,col,value\n",
    "cut": _graph()[:-40],
    "one byte flipped": _flipped(_graph(), 60),
    "a matrix for row": _graph(row=np.array([[0]])),
    "texts for rows": _graph(row=np.array(["a"])),
    "texts for values": _graph(value=np.array(["a"])),
    "fractions for rows": _graph(row=np.array([0.5])),
    "a list for n_items": _graph(n_items=np.array([3, 3])),
    "text for n_items": _graph(n_items=np.array("three")),
    "one array": _npy(np.ones(3)),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_item_graph_is_one_sentence(tmp_path, kind):
    folder = write_folder(tmp_path / "toy")
    (folder / "item_knn_visual.npz").write_bytes(DAMAGED[kind])
    with pytest.raises(CourseError, match=r"item_knn_visual\.npz"):
        item_graphs(load_dataset(folder))
    assert any("item_knn_visual.npz" in str(error) for error in report(folder).errors)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"PK\x03\x04" + b"garbage" * 9,
        _npy(np.array(3.0)),
        _npy(np.ones((3, 2)))[:90],
        _npy(np.ones((3, 2))).replace(b"(3, 2)", b"(3, 9" + b"9" * 20 + b")")[:200],
        _npy(np.ones((3, 2))).replace(b"(3, 2), }", b"(3, 2)[[["),
    ],
    ids=["empty", "archive", "one number", "cut", "a shape beyond all bounds", "no literal"],
)
def test_a_damaged_matrix_is_one_sentence(tmp_path, raw):
    folder = write_folder(tmp_path / "toy")
    (folder / "features").mkdir()
    (folder / "features" / "visual.npy").write_bytes(raw)
    assert any("visual.npy" in str(error) for error in report(folder).errors)
    source = tmp_path / "source"
    source.mkdir()
    (source / "x.inter").write_text("userID\titemID\tx_label\n0\t0\t0\n")
    (source / "image_feat.npy").write_bytes(raw)
    with pytest.raises(CourseError, match=r"image_feat\.npy"):
        convert("mmrec", source, tmp_path / "made")


def test_a_table_that_unpacks_without_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.network.archives.FREE", 1 << 16)
    write_gz(tmp_path / "interactions.tsv.gz", "user\titem\n" + "u\ti\n" * 1_000_000)
    with pytest.raises(CourseError, match="unpacks to more than"):
        load_dataset(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_picture_behind_a_link_out_of_the_folder_is_not_shown(tmp_path):
    folder = write_folder(tmp_path / "toy")
    outside = tmp_path / "secret.png"
    (folder / "images" / "i1.png").rename(outside)
    (folder / "images" / "i1.png").symlink_to(outside)
    with pytest.raises(CourseError, match="is a link that leaves the dataset's folder"):
        load_dataset(folder).image(0)
