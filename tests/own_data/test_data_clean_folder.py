"""A clean folder of one's own by a command: repeated pairs, likes, k-core, with media and features of what is left."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.data import Dataset, clean, iterative_k_core, keep_positive, load_dataset, write_table
from utils.data.__main__ import main
from utils.errors import CourseError
from utils.features import Features, prepared, save_prepared
from utils.own_data.clean_folder import clean_folder, write_folder


@pytest.fixture
def own(tmp_path):
    """A log with repeated pairs and low ratings; pictures of some items, features of all."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "own"
    names = [f"i{n:02d}" for n in range(20)]
    taken, rated = np.linspace(1, 0.02, 20), [0.1, 0.1, 0.1, 0.3, 0.4]
    log = pd.DataFrame({"user": rng.integers(0, 25, 600), "item": rng.choice(names, 600, p=taken / taken.sum())})
    log["rating"] = rng.choice([1, 2, 3, 4, 5], 600, p=rated)
    log["timestamp"] = rng.integers(10**9, 10**9 + 10**6, 600)
    images = [f"images/{name}.png" if n % 3 else "" for n, name in enumerate(names)]
    write_table(folder / "interactions.tsv", log)
    items = {
        "item": names,
        "title": [f"T {name}" if name != "i04" else "" for name in names],
        "image": images,
        "maker": "me",
    }
    write_table(folder / "items.tsv", pd.DataFrame(items))
    (folder / "images").mkdir()
    for value in filter(None, images):
        Image.new("RGB", (9, 9), (10, 20, int(value[8:10]))).save(folder / value)
    (folder / "README.md").write_text("# my own card\n", encoding="utf-8")
    mask = np.arange(20) % 4 != 1
    matrix = rng.normal(size=(20, 3)).astype(np.float32) * mask[:, None]
    save_prepared(Features("audio", matrix, np.array(names), mask, {"encoder": "made"}), folder, dtype="float32")
    return folder


def test_the_command_writes_what_the_functions_give(own, tmp_path, capsys):
    assert main(["clean", str(own), str(tmp_path / "tidy"), "--k-core", "5", "--min-rating", "4"]) == 0
    printed = capsys.readouterr().out
    whole, tidy = load_dataset(own), load_dataset(tmp_path / "tidy")
    expected = iterative_k_core(keep_positive(clean(whole, missing_text="mask")[0], 4), 5, 5)
    assert 0 < tidy.n_interactions < whole.n_interactions
    assert tidy.fingerprint() == expected.fingerprint()
    columns = ["user", "item", "rating", "timestamp"]
    pd.testing.assert_frame_equal(tidy.interactions[columns], expected.interactions[columns])
    assert not tidy.interactions.duplicated(["user", "item"]).any() and tidy.interactions["rating"].min() == 4
    assert tidy.interactions.groupby("user").size().min() >= 5 and tidy.interactions.groupby("item").size().min() >= 5
    assert f"from {whole.n_users} users, 20 items, 600 interactions" in printed
    assert f"to {tidy.n_users} users, {tidy.n_items} items, {tidy.n_interactions} interactions" in printed
    assert main(["check", str(tmp_path / "tidy")]) == 0
    card = (tmp_path / "tidy" / "README.md").read_text(encoding="utf-8")
    assert "| 5-core | interactions |" in card and "# my own card" in card


def test_media_features_and_other_columns_come_along(own, tmp_path):
    clean_folder(own, tmp_path / "tidy", k_core=5)
    whole, tidy = load_dataset(own), load_dataset(tmp_path / "tidy")
    assert 0 < tidy.n_items < whole.n_items and set(tidy.items["maker"]) == {"me"}
    named = [path for path in tidy.image_paths() if path is not None]
    assert named and all(path.read_bytes() == (own / "images" / path.name).read_bytes() for path in named)
    assert len(list((tmp_path / "tidy" / "images").iterdir())) == len(named)
    before, after = prepared(whole, "audio"), prepared(tidy, "audio")
    rows = [list(whole.item_names).index(name) for name in tidy.item_names]
    np.testing.assert_array_equal(after.matrix, before.matrix[rows])
    np.testing.assert_array_equal(after.mask, before.mask[rows])


def test_an_item_without_text_stays_unless_it_is_asked_to_go(own, tmp_path):
    clean_folder(own, tmp_path / "kept")
    clean_folder(own, tmp_path / "dropped", missing_text="drop")
    assert (
        "i04" in load_dataset(tmp_path / "kept").item_names
        and "i04" not in load_dataset(tmp_path / "dropped").item_names
    )


def test_the_command_writes_over_its_own_work_only(own, tmp_path):
    before = {path: path.read_bytes() for path in own.rglob("*") if path.is_file()}
    for target in (own, own / "inside", own.parent):
        with pytest.raises(CourseError, match="lie in each other"):
            clean_folder(own, target)
    clean_folder(own, tmp_path / "tidy")
    clean_folder(own, tmp_path / "tidy", min_rating=3)
    assert load_dataset(tmp_path / "tidy").interactions["rating"].min() == 3
    (tmp_path / "tidy" / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(CourseError, match=r"README\.md changed since"):
        clean_folder(own, tmp_path / "tidy")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CourseError, match="holds other files"):
        clean_folder(own, tmp_path / "full")
    with pytest.raises(CourseError, match="holds files already"):
        write_folder(load_dataset(own), tmp_path / "full")
    assert {path: path.read_bytes() for path in own.rglob("*") if path.is_file()} == before


def test_nothing_left_is_one_sentence(own, tmp_path):
    for choices, words in (
        ({"min_rating": 9}, r"is 9 or more \(the highest is 5\); give a smaller --min-rating"),
        ({"k_core": 500}, "choose a smaller k"),
        ({"k_core": -1}, "--k-core is -1"),
        ({"keep": "newest"}, "latest"),
    ):
        with pytest.raises(CourseError, match=words):
            clean_folder(own, tmp_path / "none", **choices)
    assert not (tmp_path / "none").exists()


def test_tables_in_memory_become_a_folder(tmp_path):
    dataset = Dataset.from_frames(
        pd.DataFrame({"user": [1, 1, 2], "item": ["007", "7", "7"], "rating": [1, np.nan, 2.5]})
    )
    loaded = load_dataset(write_folder(dataset, tmp_path / "mine"))
    assert loaded.fingerprint() == dataset.fingerprint() and loaded.item_names.tolist() == ["007", "7"]
