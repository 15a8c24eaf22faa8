"""Cleaning: duplicates, HTML, unreadable media, missing text, k-core; each step alone, and clean() with its log."""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from data_folders import ITEMS, dataset_of, make_log, write_folder
from PIL import Image

from utils.data import (
    check_media,
    clean,
    drop_duplicate_interactions,
    drop_duplicate_items,
    drop_missing_text,
    drop_unreadable_images,
    iterative_k_core,
    keep_positive,
    load_dataset,
    open_image,
    strip_html,
    strip_markup,
)
from utils.errors import CourseError
from utils.files import ROOT


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("plain", "plain"),
        ("<p>A <b>red</b> car</p><p>fast</p>", "A red car fast"),
        ("a<br>b<br/>c", "a b c"),
        ("salt &amp; pepper&nbsp;&eacute; &#39;x&#39;", "salt & pepper é 'x'"),
        ("&lt;b&gt;bold&lt;/b&gt; &amp;amp; more", "bold & more"),
        ("I <3 cats & 5 < 6 > 4", "I <3 cats & 5 < 6 > 4"),
        ("keep <nobody> in", "keep <nobody> in"),
        ("<script>alert('x')</script>text<style>p{}</style>", "text"),
        ("<!-- hidden -->seen", "seen"),
        ('<a href="x>y">link</a>', "link"),
        ("<p></p>", ""),
        ("H<sub>2</sub>O", "H2O"),
        ("  many \n spaces ", "many spaces"),
        ("AT&T &unknown; R&D", "AT&T &unknown; R&D"),
    ],
)
def test_strip_markup(text, plain):
    assert strip_markup(text) == plain
    assert strip_markup(plain) == plain


def test_strip_html_treats_texts_and_reviews_only(tmp_path):
    items = "item\tdescription\tdescription_it\tcategory\n<b>1</b>\t<i>cat</i>\t<i>gatto</i>\ta<b>c\n"
    dataset = strip_html(load_dataset(write_folder(tmp_path, items, "user\titem\treview\nu\t<b>1</b>\t<p>ok</p>\n")))
    row = dataset.items.iloc[0]
    assert (row["item"], row["description"], row["description_it"], row["category"]) == (
        "<b>1</b>",
        "cat",
        "gatto",
        "a<b>c",
    )
    assert dataset.interactions["review"].tolist() == ["ok"]


def brute_duplicates(table, keep):
    best = {}
    for row, (user, item, time) in enumerate(table[["user", "item", "timestamp"]].itertuples(index=False)):
        if (user, item) not in best or (keep == "latest" and time >= best[user, item][0]):
            best[user, item] = (time, row)
    return sorted(row for _, row in best.values())


@pytest.mark.parametrize("keep", ["latest", "first"])
def test_duplicate_interactions_against_brute_force(keep):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"user": rng.choice(list("abcd"), 200), "item": rng.choice(list("xyz"), 200)}, dtype=object)
    table["timestamp"] = rng.integers(0, 20, 200)
    table["review"] = [str(k) for k in range(200)]
    kept = drop_duplicate_interactions(dataset_of(table, list("xyz")), keep)
    assert kept.interactions["review"].tolist() == [str(row) for row in brute_duplicates(table, keep)]


def test_duplicate_interactions_without_time_keep_the_first():
    table = pd.DataFrame({"user": ["a", "a"], "item": ["x", "x"], "review": ["1", "2"]})
    assert drop_duplicate_interactions(dataset_of(table, ["x"])).interactions["review"].tolist() == ["1"]
    with pytest.raises(CourseError, match="did you mean latest"):
        drop_duplicate_interactions(dataset_of(table, ["x"]), "lates")


def test_duplicate_items_merge_on_content_not_on_title(tmp_path):
    for name, colour in (("a", 10), ("b", 10), ("c", 99)):
        Image.new("RGB", (4, 4), (colour, 0, 0)).save(tmp_path / f"{name}.png")
    items = "item\ttitle\timage\n1\tCat\ta.png\n2\tCat\tb.png\n3\tCat\tc.png\n4\t\t\n5\t\t\n"
    dataset = load_dataset(write_folder(tmp_path, items, "user\titem\nu\t2\nv\t1\nu\t3\nv\t5\n"))
    merged = drop_duplicate_items(dataset)
    assert merged.item_names.tolist() == ["1", "3", "4", "5"]
    assert merged.interactions[["user", "item"]].to_numpy().tolist() == [["u", "1"], ["v", "1"], ["u", "3"], ["v", "5"]]


def brute_core(pairs, k_user, k_item):
    pairs = list(pairs)
    while True:
        users, items = [u for u, _ in pairs], [i for _, i in pairs]
        kept = [(u, i) for u, i in pairs if users.count(u) >= k_user and items.count(i) >= k_item]
        if kept == pairs:
            return kept
        pairs = kept


@pytest.mark.parametrize(("k_user", "k_item"), [(1, 1), (5, 5), (8, 3), (3, 12), (0, 8), (10, 0)])
@pytest.mark.parametrize("seed", [0, 1])
def test_k_core_against_a_naive_loop(k_user, k_item, seed):
    dataset = make_log(n_rows=600, seed=seed)
    expected = brute_core(dataset.interactions[["user", "item"]].itertuples(index=False, name=None), k_user, k_item)
    core = iterative_k_core(dataset, k_user, k_item)
    assert list(core.interactions[["user", "item"]].itertuples(index=False, name=None)) == expected
    assert set(core.users) == {u for u, _ in expected}
    if k_item:
        assert set(core.item_names) == {i for _, i in expected}
    else:
        assert core.n_items == dataset.n_items


def test_k_core_that_removes_everything():
    with pytest.raises(CourseError, match="is empty .* choose a smaller k"):
        iterative_k_core(make_log(), k_user=1000, k_item=1)


def test_keep_positive():
    table = pd.DataFrame({"user": list("aab"), "item": list("xyx"), "rating": [4.0, 3.9, np.nan]})
    assert keep_positive(dataset_of(table, ["x", "y"])).interactions["item"].tolist() == ["x"]
    with pytest.raises(CourseError, match="'rating'"):
        keep_positive(make_log())


@pytest.fixture
def dirty(tmp_path):
    """A folder with one item for each thing that can be wrong with a file."""
    images, sounds = tmp_path / "images", tmp_path / "sounds"
    images.mkdir()
    sounds.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(images / "good.jpg")
    Image.fromarray(noise).save(images / "cut.png")
    for name in ("good.jpg", "cut.png"):
        raw = (images / name).read_bytes()
        (images / f"cut_{name}").write_bytes(raw[: len(raw) // 2])
    (images / "zero.jpg").write_bytes(b"")
    (images / "text.jpg").write_text("this is no picture")
    Image.new("1", (8000, 7000)).save(images / "huge.png")  # 56 megapixels in a few kB
    soundfile.write(sounds / "good.wav", np.sin(np.arange(4800) / 9), 48_000)
    soundfile.write(sounds / "silent.wav", np.zeros(800), 8000)
    soundfile.write(sounds / "none.wav", np.zeros(0), 8000)
    (sounds / "bad.ogg").write_bytes(b"OggS but not really")
    rows = [
        ("good", "A cat", "images/good.jpg", "sounds/good.wav"),
        ("cutjpg", "A dog", "images/cut_good.jpg", "sounds/silent.wav"),
        ("cutpng", "A cow", "images/cut_cut.png", "sounds/none.wav"),
        ("zero", "A hen", "images/zero.jpg", "sounds/bad.ogg"),
        ("text", "A pig", "images/text.jpg", ""),
        ("huge", "A fox", "images/huge.png", ""),
        ("gone", "A rat", "images/gone.png", "sounds/gone.wav"),
        ("mute", "", "images/good.jpg", ""),
        ("html", "<p></p>", "", ""),
    ]
    items = ITEMS + "".join(f"{name}\t\t{text}\t\t{image}\t{audio}\n" for name, text, image, audio in rows)
    log = "user\titem\ttimestamp\n" + "".join(f"u\t{row[0]}\t1\n" for row in rows) + "v\tgood\t1\nv\tgood\t2\n"
    return load_dataset(write_folder(tmp_path, items, log))


def test_check_media_names_item_file_and_problem(dirty):
    problems = check_media(dirty)
    assert problems.columns.tolist() == ["item", "modality", "file", "problem"]
    found = {(row.item, row.modality): (row.file, row.problem) for row in problems.itertuples()}
    expected = {
        ("cutjpg", "visual"): "cut short",
        ("cutpng", "visual"): "cut short",
        ("zero", "visual"): "zero bytes",
        ("text", "visual"): "not a picture",
        ("huge", "visual"): "8000 x 7000",
        ("gone", "visual"): "does not exist",
        ("cutjpg", "audio"): "silent",
        ("cutpng", "audio"): "zero length",
        ("zero", "audio"): "not a readable sound",
        ("gone", "audio"): "does not exist",
        ("mute", "textual"): "empty description",
    }
    assert set(found) == set(expected)
    for key, words in expected.items():
        assert words in found[key][1], found[key]
    assert found["zero", "visual"][0] == "images/zero.jpg"


def test_a_decompression_bomb_is_a_problem_not_a_crash(tmp_path, monkeypatch):
    Image.new("L", (600, 600)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # PIL refuses to open more than twice this
    dataset = load_dataset(write_folder(tmp_path, "item\timage\n1\tbomb.png\n", "user\titem\nu\t1\n"))
    assert "huge" in check_media(dataset)["problem"][0]
    with pytest.raises(CourseError, match=r"bomb\.png"):
        dataset.image(0)


def test_a_link_out_of_the_folder_is_reported(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "secret.png")
    folder = write_folder(tmp_path / "set", "item\timage\n1\tlink.png\n", "user\titem\nu\t1\n")
    try:
        os.symlink(tmp_path / "secret.png", folder / "link.png")
    except OSError:
        pytest.skip("this system does not let us make a symbolic link")
    assert "leaves" in check_media(load_dataset(folder))["problem"][0]


@pytest.mark.parametrize("name", ["cut_good.jpg", "cut_cut.png", "zero.jpg", "text.jpg", "huge.png", "gone.png"])
def test_open_image_says_what_is_wrong(dirty, name):
    with pytest.raises(CourseError, match=name):
        open_image(dirty.path / "images" / name)


def test_transparent_parts_become_white(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "a.png")
    palette = Image.new("P", (2, 2), 0)
    palette.save(tmp_path / "b.png", transparency=0)
    for name in ("a.png", "b.png"):
        assert open_image(tmp_path / name).getpixel((0, 0)) == (255, 255, 255)


def test_mask_or_drop_unreadable_images(dirty):
    masked, dropped = drop_unreadable_images(dirty), drop_unreadable_images(dirty, how="drop")
    assert masked.n_items == dirty.n_items and masked.items["image"].ne("").sum() == 2
    assert dropped.item_names.tolist() == ["good", "mute", "html"]
    assert dirty.items["image"].ne("").sum() == 8  # the original is untouched
    with pytest.raises(CourseError, match="did you mean mask"):
        drop_unreadable_images(dirty, how="masks")


def test_drop_missing_text(dirty):
    kept = drop_missing_text(dirty)
    assert "mute" not in kept.item_names and not any("no text" in note for note in kept.notes)
    assert any("no text" in note for note in dirty.notes)


def test_clean_does_all_with_a_log(dirty):
    result, log = clean(dirty)
    assert log.columns.tolist() == ["step", "what", "removed", "kept"]
    steps = log.set_index("step")["removed"].to_dict()
    assert steps == {
        "HTML in texts": 1,
        "duplicated items": 0,
        "duplicate interactions": 1,
        "unreadable images": 6,
        "unreadable sounds": 4,
        "missing text": 2,
    }
    assert check_media(result).empty
    assert result.item_names.tolist() == ["good", "cutjpg", "cutpng", "zero", "text", "huge", "gone"]
    again, log = clean(result)
    assert log["removed"].sum() == 0 and again.fingerprint() == result.fingerprint()


def test_clean_options(dirty):
    result, _ = clean(dirty, media="drop", missing_text="mask")
    assert result.item_names.tolist() == ["good", "mute", "html"]
    core, log = clean(dirty, k_user=1, k_item=2)
    assert core.item_names.tolist() == ["good"] and log["step"].iloc[-1] == "k-core (user 1, item 2)"
    with pytest.raises(CourseError, match="k_user=99"):
        clean(dirty, k_user=99)
    with pytest.raises(CourseError, match="missing text"):
        clean(dirty, missing_text="x")


def test_clean_keeps_items_of_a_dataset_without_any_text():
    result, _ = clean(make_log())
    assert result.n_items == make_log().n_items


def test_cleaning_the_raw_sticker_shop_gives_the_shop():
    tidy, log = clean(load_dataset("sticker_shop", tables="raw"), k_user=5, k_item=5)
    assert tidy.fingerprint() == load_dataset("sticker_shop").fingerprint()
    assert (log["removed"] > 0).all()  # every kind of dirt is there to be cleaned


def test_truth_is_a_function_of_the_dataset():
    import utils.data.planted  # noqa: F401  importing the module must not hide the function
    from utils.data import truth

    assert truth(load_dataset("sticker_shop")) is not None
    assert utils.data.truth is truth and truth(make_log()) is None


def test_loading_a_dataset_imports_neither_downloads_nor_other_layouts():
    """A notebook starts with ``from utils.data import load_dataset``: it must not pay for what it does not use."""
    wings = (
        "amazon archives catalogue convert download export images imports movielens publishers report streams".split()
    )
    script = (
        "import sys, utils.data; print(*sorted(name.rsplit('.', 1)[-1] for name in sys.modules if 'utils.' in name))"
    )
    asked = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = asked.stdout.split()
    assert "load" in loaded and not set(wings) & set(loaded)
