"""The converter of MovieLens with posters, and the command line; a made-up source, and the real one when at hand."""

import gzip

import numpy as np
import pandas as pd
import pytest
from data_folders import real, write_folder
from PIL import Image

from utils.data import check_media, check_split, clean, leakage_report, load_dataset, split_dataset
from utils.data.__main__ import main
from utils.errors import CourseError
from utils.own_data.movielens_posters import convert, film_names, without_title


@pytest.mark.parametrize(
    ("title", "names", "year"),
    [
        ("Toy Story (1995)", ["Toy Story"], "1995"),
        ("Usual Suspects, The (1995)", ["The Usual Suspects"], "1995"),
        ("Seventh Seal, The (Sjunde inseglet, Det) (1957)", ["The Seventh Seal", "Det Sjunde inseglet"], "1957"),
        ("Maybe, Maybe Not (Bewegte Mann, Der) (1994)", ["Maybe, Maybe Not", "Der Bewegte Mann"], "1994"),
        ("2001: A Space Odyssey (1968)", ["2001: A Space Odyssey"], "1968"),
        ("unknown", ["unknown"], ""),
    ],
)
def test_film_names(title, names, year):
    assert film_names(title) == (names, year)


@pytest.mark.parametrize(
    ("plot", "title", "left"),
    [
        ("A toy lives.", "Toy Story (1995)", "A toy lives."),
        ("In 1995, toy story begins.", "Toy Story (1995)", "In, begins."),
        ('A program known as "GoldenEye" is stolen.', "GoldenEye (1995)", "A program known as is stolen."),
        ("The Usual Suspects meet; usual suspects!", "Usual Suspects, The (1995)", "meet;!"),
        ("Batman and Robin's car", "Batman & Robin (1997)", "car"),
        ("Batman & Robin drive", "Batman and Robin (1997)", "drive"),
        ("Heated heat and a heater", "Heat (1995)", "Heated and a heater"),
        ("Amélie smiles", "Amelie (2001)", "smiles"),
        ("Sjunde inseglet is bleak", "Seventh Seal, The (Sjunde inseglet, Det) (1957)", "is bleak"),
        ("What if... it rains (1986)?", "If... (1986)", "What... it rains?"),
        ("In 1944 and 19950", "Casino (1995)", "In 1944 and 19950"),
        ("", "Casino (1995)", ""),
    ],
)
def test_without_title(plot, title, left):
    assert without_title(plot, title) == left


def make_source(folder):
    """A source in the foreign layout: four films, one without a poster, one without a plot, one that nobody liked."""
    (folder / "posters").mkdir(parents=True)
    for item in ("1", "2", "3"):
        Image.new("RGB", (6, 9), (int(item) * 40, 0, 0)).save(folder / "posters" / f"{item}.jpg")
    (folder / "items.tsv").write_text(
        "item\ttitle\tgenres\tplot\n"
        '1\tHeat (1995)\tAction Crime\t"A ""hot"" Heat of 1995, long."\n'
        "2\tFox, The (1990)\tChildren's\tA fox.\n3\tBird (1980)\tDrama\t\n4\tNo Poster (1970)\tDrama\tA tale.\n"
    )
    rows = (
        "user\titem\trating\ttimestamp\n5\t1\t4\t10\n5\t2\t3\t11\n6\t1\t5\t12\n6\t4\t4\t13\n7\t3\t1\t14\n7\t99\t5\t15\n"
    )
    (folder / "ratings.tsv.gz").write_bytes(gzip.compress(rows.encode()))
    return folder


def test_convert_movielens_posters(tmp_path):
    source, target = make_source(tmp_path / "source"), tmp_path / "films"
    assert convert("movielens-posters", source, target) == target
    dataset = load_dataset(target)
    assert dataset.item_names.tolist() == ["1", "2", "3", "4"] and dataset.users.tolist() == ["5", "6"]
    assert dataset.items["description"].tolist() == ['A "hot" of, long.', "A.", "", "A tale."]
    assert dataset.items["category"].tolist() == ["Action|Crime", "Children's", "Drama", "Drama"]
    assert dataset.interactions[["item", "rating", "timestamp"]].to_numpy().tolist() == [
        ["1", 4, 10],
        ["1", 5, 12],
        ["4", 4, 13],
    ]
    assert dataset.image_paths()[3] is None and dataset.image(0).size == (6, 9)
    assert not any("Action" in text or "Drama" in text for text in dataset.texts())
    card = (target / "README.md").read_text(encoding="utf-8")
    for line in ("| ratings in the source | 6 |", "| films with a poster | 3 |", "(left out) | 1 |", "10.1145/2827872"):
        assert line in card
    assert (target / ".gitignore").read_text().rstrip().endswith("*")


def test_convert_again_is_the_same_and_options_count(tmp_path):
    source, target = make_source(tmp_path / "source"), tmp_path / "films"
    convert("movielens-posters", source, target)
    first = {p.name: p.read_bytes() for p in target.rglob("*") if p.is_file()}
    convert("movielens-posters", source, target)
    assert {p.name: p.read_bytes() for p in target.rglob("*") if p.is_file()} == first
    convert("movielens-posters", source, target, min_rating=1)
    assert load_dataset(target).n_interactions == 5


def test_convert_refuses(tmp_path):
    source = make_source(tmp_path / "source")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for name, start, end, words in (
        ("movielens-poster", source, tmp_path / "x", "did you mean movielens-posters"),
        ("movielens-posters", tmp_path / "none", tmp_path / "x", "no folder"),
        ("movielens-posters", source, tmp_path / "full", "other files"),
        ("movielens-posters", source, source, "other files"),
        ("movielens-posters", tmp_path / "full", tmp_path / "x", r"items\.tsv does not exist"),
    ):
        with pytest.raises(CourseError, match=words):
            convert(name, start, end)
    with pytest.raises(CourseError, match="min-rating"):
        convert("movielens-posters", source, tmp_path / "x", min_rating=9)
    assert not (tmp_path / "x").exists()


def test_command_line_converts_and_checks(tmp_path, capsys):
    source = make_source(tmp_path / "source")
    assert main(["convert", "movielens-posters", str(source), str(tmp_path / "films")]) == 0
    assert "Dataset 'films'" in capsys.readouterr().out
    assert main(["check", str(tmp_path / "films")]) == 0
    assert "no errors" in capsys.readouterr().out
    (tmp_path / "films" / "images" / "1.jpg").write_bytes(b"")
    assert main(["check", str(tmp_path / "films")]) == 1
    assert "zero bytes" in capsys.readouterr().out
    assert main(["list"]) == 0


def test_command_line_says_errors_in_one_line(tmp_path, capsys):
    write_folder(tmp_path, interactions="user\titem\nu\ti9\n")
    assert main(["check", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    (line,) = [line for line in out.splitlines() if line.startswith("error: ")]
    assert err == "" and "row 2" in line and "'i9' is not in the items table" in line
    assert main(["check", "stiker"]) == 1
    assert "sticker_shop" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([])


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    target = tmp_path_factory.mktemp("real") / "movielens"
    convert("movielens-posters", real("movielens-posters"), target)
    return load_dataset(target)


def test_real_movielens_counts(films):
    ratings = pd.read_csv(real("movielens-posters") / "ratings.tsv.gz", sep="\t")
    liked = ratings[ratings["rating"] >= 4]
    assert films.n_items == 1398 and films.n_interactions == len(liked) == 53_001
    assert films.n_users == liked["user"].nunique() == 942  # one of the 943 users rated nothing 4 or more
    assert films.interactions["item_id"].nunique() == liked["item"].nunique() == 1298
    assert sum(path is not None for path in films.image_paths()) == 1398
    assert (films.items["description"] == "").sum() == 1


def test_real_movielens_texts_do_not_name_the_film(films):
    for title, text in zip(films.items["title"], films.items["description"]):
        names, year = film_names(title)
        assert year not in text.split()
        assert not any(f" {name.lower()} " in f" {text.lower()} " for name in names), title


def test_real_movielens_goes_the_whole_way(films):
    assert check_media(films).empty
    tidy, log = clean(films)
    assert log["removed"].min() >= 0 and tidy.n_items <= films.n_items
    for strategy in ("random", "leave_one_out", "temporal_user", "temporal_global", "cold_items"):
        split = split_dataset(tidy, strategy)
        check_split(split)
        report = leakage_report(split, tidy).set_index("check")["count"]
        if strategy.startswith("temporal"):
            assert report["test pairs before the same user's last training"] == 0
        assert np.isin(split.test[:, 0], split.train[:, 0]).all()
