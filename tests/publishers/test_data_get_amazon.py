"""The Amazon files line by line: three formats, bad rows with their line, and the steps against plain pandas."""

import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest
from amazon_files import packed, product, review
from data_folders import real

from utils.data import drop_duplicate_interactions, iterative_k_core
from utils.errors import CourseError
from utils.files import ROOT
from utils.publishers.amazon import image_urls, item_fields, parse_line, scan_items, scan_reviews
from utils.publishers.amazon_reviews import read_amazon_reviews
from utils.publishers.catalogue import PAIRS, READ, REPEATED, VARIANTS, catalogue, find_entry
from utils.publishers.streams import BadRows, ItemStream, KCoreFilter, ReviewStream

EDITIONS = ("2014", "2018", "2023")
editions = pytest.mark.parametrize("edition", EDITIONS)


def read(path, edition, **options):
    bad = BadRows()
    with ReviewStream(path.parent / "spool") as log:
        scan_reviews(path, edition, log, bad, **options)
    return log, bad


def rows_of(log):
    columns = log.columns()
    everything = np.ones(len(log), dtype=bool)
    return [(*line, *rest) for line, *rest in zip(log.lines(everything), columns["rating"], columns["time"])]


@editions
def test_a_review_of_each_edition(tmp_path, edition):
    path = packed(tmp_path / "r.json.gz", [review(edition, "U1", "I1", 4, 2, 'Tabs\tand\nlines, "quotes" & é')])
    log, bad = read(path, edition)
    assert rows_of(log) == [("U1", "I1", 'Tabs and lines, "quotes" & é', 4.0, 1_400_172_800)] and not bad.count


BAD = {
    "no json at all": "neither JSON",
    '{"asin": "I1"': "neither JSON",
    "[1, 2]": "a list, not a row",
    "__import__('os').system('touch evil')": "neither JSON",
    "(lambda: 1)()": "neither JSON",
    "": "neither JSON",
    "[" * 5000: "neither JSON",
    review("2014", "", "I1"): "is no id",
    review("2014", "U 1", "I1"): "is no id",
    review("2014", "U1", "I\t1"): "is no id",
    review("2014", "U1", "I1", overall="five"): "could not convert",
    review("2014", "U1", "I1", overall=float("nan")): "overall is nan",
    review("2014", "U1", "I1", overall=1e300): "overall is 1e+300",
    review("2014", "U1", "I1", overall=None): "",
    review("2014", "U1", "I1", unixReviewTime="soon"): "invalid literal",
    review("2014", "U1", "I1", unixReviewTime=9_999_999_999_999): "is no time between 1901 and 2038",
    review("2014", "U1", "I1", reviewerID=7): "is no id",
    review("2014", "U1", "I1", reviewText=["a"]): "reviewText is a list, not text",
    review("2014", "U1", "I1").replace("reviewerID", "reviewer"): "no field 'reviewerID'",
}


def test_bad_rows_are_counted_with_their_line_and_change_nothing_else(tmp_path):
    good = [review("2014", f"U{n}", "I1", day=n) for n in range(len(BAD) + 1)]
    lines = [line for pair in zip(good, [*BAD, ""]) for line in pair][:-1]
    log, bad = read(packed(tmp_path / "r.json.gz", lines), "2014")
    assert [row[0] for row in rows_of(log)] == [f"U{n}" for n in range(len(good))]
    assert bad.count == len(BAD) and bad.frame()["line"].tolist() == list(range(2, 2 * len(BAD) + 1, 2))
    for reason, words in zip(bad.frame()["reason"], BAD.values()):
        assert words in reason
    assert not (tmp_path / "evil").exists() and len(rows_of(log)) == len(log.columns()["user"])


def test_lone_surrogates_and_bytes_that_are_no_text(tmp_path):
    path = tmp_path / "r.json.gz"
    broken = review("2014", "U2", "I1").encode().replace(b"Good", b"G\xff\xfed")
    lines = [review("2014", "U1", "I1", text="\ud83d half").encode(), broken, review("2014", "U3", "I1").encode()]
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    log, bad = read(path, "2014")
    assert [row[0] for row in rows_of(log)] == ["U1", "U3"] and bad.frame()["line"].tolist() == [2]


def test_another_file_is_not_read_to_its_end(tmp_path):
    path = packed(tmp_path / "r.json.gz", ["<html>"] * 3000)
    with pytest.raises(CourseError, match="1,000 of the first 1,000 lines are no review of the 2014 edition"):
        read(path, "2014")
    with pytest.raises(CourseError, match="no review of the 2023"):
        read(packed(tmp_path / "s.json.gz", [review("2014", "U1", "I1")]), "2023")
    with pytest.raises(CourseError, match="holds no review"):
        read(packed(tmp_path / "t.json.gz", []), "2014")


def test_a_cut_file_names_its_last_line(tmp_path):
    path = packed(tmp_path / "r.json.gz", [review("2014", f"U{n}", "I1", text=f"{n * 7919}") for n in range(5000)])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CourseError, match=r"cut or damaged after line [\d,]+ .*get it again"):
        read(path, "2014")


def test_a_limit_is_a_first_look(tmp_path):
    log, _ = read(packed(tmp_path / "r.json.gz", [review("2014", f"U{n}", "I1") for n in range(50)]), "2014", limit=7)
    assert len(log) == 7


def test_python_literals_are_read_and_never_run():
    line = b"{'asin': 'I1', 'title': \"It's\", 'price': 1.5, 'x': None, 'description': 'Caf\\xe9 \\d'}"
    assert parse_line(line)["title"] == "It's" and parse_line(line)["description"] == "Café \\d"
    for code in (b"{'a': open('x')}", b"{'a': 1 if 1 else 2}", b"{'a': [i for i in (1,)]}", b"'a' * 9"):
        with pytest.raises(ValueError):
            parse_line(code)


def shelve(path, edition, wanted):
    bad = BadRows()
    with ItemStream(path.parent / "shelf") as shelf:
        scan_items(path, edition, shelf, bad, {hash(item) for item in wanted})
    return shelf, bad


@editions
def test_the_products_of_each_edition(tmp_path, edition):
    lines = [
        product(edition, "I1", "A <b>bold</b> &amp; blue pen.", "http://h/1.jpg"),
        product(edition, "I2", "n/a"),
        product(edition, "I9", "not wanted"),
        product(edition, "I1", "again"),
        "{broken",
        product(edition, "I3", "A banana.").replace("I3", "I3", 1),
    ]
    shelf, bad = shelve(packed(tmp_path / "m.json.gz", lines), edition, ["I1", "I2", "I3"])
    url = {"2014": ["http://h/1.jpg"], "2018": ["http://h/1.jpg", "http://h/1.jpg?small"],
           "2023": ["http://h/1.jpg", "http://h/1.jpg?hi", "http://h/1.jpg?thumb"]}[edition]  # fmt: skip
    assert list(shelf.rows()) == [
        ["I1", "Title of I1", "A bold & blue pen.", "Pens", "B", url],
        ["I2", "Title of I2", "", "Pens", "B", []],
        ["I3", "Title of I3", "A banana.", "Pens", "B", []],
    ]
    assert shelf.repeated == 1 and len(shelf.known(text=True)) == 2 and len(shelf.known(text=True, image=True)) == 1
    assert list(shelf.rows({hash("I2")}))[0][0] == "I2"


def test_a_wanted_product_that_cannot_be_read_is_a_bad_row(tmp_path):
    lines = [product("2014", "I1"), "{'asin': 'I2', 'title': open('x')}"]
    _, bad = shelve(packed(tmp_path / "m.json.gz", lines), "2014", ["I1", "I2"])
    assert bad.rows == [("m.json.gz", 2, "neither JSON nor a Python literal")]


def test_products_of_another_category(tmp_path):
    with pytest.raises(CourseError, match="none of its 1 lines is an item of the reviews"):
        shelve(packed(tmp_path / "m.json.gz", [product("2018", "I7")]), "2018", ["I1"])


def test_odd_fields_are_missing_not_errors():
    for row in ({}, {"title": 5, "categories": "x", "images": "y", "description": None}, {"categories": [[]]}):
        assert item_fields(row, "2014")[:2] == ("", "")
        assert item_fields(row, "2023")[4] == []
    assert image_urls({"images": {"large": ["http://h/a.jpg"], "thumb": [], "hi_res": [None]}}, "2023") == [
        "http://h/a.jpg"
    ]
    assert image_urls({"imUrl": "file:///etc/passwd"}, "2014") == [] == image_urls({"imUrl": 3}, "2014")
    assert image_urls({"imageURL": ["http://h/s.jpg"], "imageURLHighRes": []}, "2018") == ["http://h/s.jpg"]


def made_up_log(tmp_path, n_rows=4000, seed=0):
    """A log with repeated rows, several reviews of a pair, and copies on variants."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"user": rng.integers(0, 60, n_rows), "item": rng.integers(0, 50, n_rows)})
    table["day"], table["rating"] = rng.integers(0, 12, n_rows), rng.integers(1, 6, n_rows)
    table["text"] = [f"text number {n} that is long enough" if n else "short" for n in rng.integers(0, 3, n_rows)]
    lines = [review("2018", f"U{r.user}", f"I{r.item}", r.rating, r.day, r.text) for r in table.itertuples()]
    log, _ = read(packed(tmp_path / "r.json.gz", lines), "2018")
    return log, table


def test_the_steps_agree_with_plain_pandas(tmp_path):
    log, table = made_up_log(tmp_path)
    sieve = KCoreFilter(log)
    sieve.drop_repeated_rows()
    first = table.drop_duplicates(keep="last")
    assert np.flatnonzero(sieve.alive).tolist() == first.index.tolist() and len(first) < len(table)
    sieve.drop_variants(applied=False)
    long = first["text"] != "short"
    copies = first[long].duplicated(["user", "day", "text"])
    assert sieve.steps[-1][3:] == (len(first) - copies.sum(), False) and copies.sum() > 100
    sieve.one_per_pair()
    latest = first.sort_values("day", kind="stable").drop_duplicates(["user", "item"], keep="last").sort_index()
    assert np.flatnonzero(sieve.alive).tolist() == latest.index.tolist()
    sieve.min_rating(3)
    kept = latest[latest["rating"] >= 3]
    sieve.k_core(14)
    while True:
        counts = kept.groupby("user")["item"].transform("size"), kept.groupby("item")["user"].transform("size")
        smaller = kept[(counts[0] >= 14) & (counts[1] >= 14)]
        if len(smaller) == len(kept):
            break
        kept = smaller
    assert np.flatnonzero(sieve.alive).tolist() == kept.index.tolist() and 0 < len(kept) < len(latest)
    assert sieve.counts(sieve.alive) == (kept["user"].nunique(), kept["item"].nunique(), len(kept))


def test_a_review_costs_32_bytes_of_memory_whatever_it_says(tmp_path):
    lines = [review("2018", f"U{n}", f"I{n}", text="word " * 2000) for n in range(300)]
    log, _ = read(packed(tmp_path / "r.json.gz", lines), "2018")
    assert sum(column.nbytes for column in log.columns().values()) == 32 * 300
    assert log.spool.stat().st_size > 300 * 9000, "the words wait on the disk"


def test_variants_can_be_dropped(tmp_path):
    log, table = made_up_log(tmp_path)
    sieve = KCoreFilter(log)
    sieve.drop_variants(applied=True)
    copies = (table["text"] != "short") & table.duplicated(["user", "day", "text"])
    assert np.flatnonzero(sieve.alive).tolist() == table.index[~copies].tolist()


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("All_Beauty_5", {READ: (991, 85, 5269), REPEATED: (991, 85, 4215), VARIANTS: 1747, PAIRS: (991, 85, 4092)}),
        ("Gift_Cards_5", {READ: (458, 148, 2972), REPEATED: (458, 148, 2972), VARIANTS: 2631, PAIRS: (458, 148, 2965)}),
    ],
)
def test_the_real_files_of_2018(tmp_path, name, counts):
    path = real("amazon-raw-2018") / f"{name}.json.gz"
    bad = BadRows()
    with ReviewStream(tmp_path / "spool") as log:
        scan_reviews(path, "2018", log, bad)
    sieve = KCoreFilter(log)
    sieve.drop_repeated_rows()
    sieve.drop_variants(applied=False)
    sieve.one_per_pair()
    found = {step: rest for step, *rest in sieve.steps}
    assert bad.count == 0
    for step, expected in counts.items():
        got = tuple(found[step][:3])
        assert (got[2] if isinstance(expected, int) else got) == expected, step
    # The rooms agree: the in-memory reader of notebook 08, and clean()'s rule for pairs.
    whole = drop_duplicate_interactions(read_amazon_reviews(path))
    lines = list(log.lines(sieve.alive))
    assert [line[:2] for line in lines] == list(zip(whole.interactions["user"], whole.interactions["item"]))
    sieve.k_core(3)
    core = iterative_k_core(whole, 3, 3)
    assert sieve.counts(sieve.alive) == (core.n_users, core.n_items, core.n_interactions)


def test_the_catalogue_names_what_the_course_promises():
    names = set(catalogue()["name"])
    assert {f"amazon-2014-{name}" for name in ("office", "music", "baby", "toys", "beauty")} <= names
    assert {"movielens-100k", "movielens-small", "movielens-1m", "amazon-2018-gift-cards"} <= names
    assert sum(name.startswith("amazon-2023-") for name in names) == 33
    readme = (ROOT / "utils" / "publishers" / "README.md").read_text(encoding="utf-8")
    assert "python -m utils.data get" in readme
    assert re.search(r"\d+ names", readme) is None, "the catalogue is counted by its command, not by the README"
    assert find_entry("Amazon-2014-Office_Products") is find_entry("amazon-2014-office")
    assert find_entry("ml-100k").sources["archive"].md5 == "0e33842e24a9c977be4e0107933c0723"
    with pytest.raises(CourseError, match="did you mean amazon-2014-office"):
        find_entry("amazon-2014-ofice")
    with pytest.raises(CourseError, match="is a family"):
        find_entry("movielens")
    for name in names:
        entry = find_entry(name)
        assert entry.terms and entry.cite and all(source.urls for source in entry.sources.values())
        assert json.dumps([source.urls for source in entry.sources.values()]).count("http") >= 1


def test_a_literal_with_the_words_of_json_is_read_and_no_other_name(tmp_path):
    assert parse_line(b"{'asin': 'B1', 'new': true, 'old': false, 'price': null, 'n': [NaN, -1.5]}") == {
        "asin": "B1",
        "new": True,
        "old": False,
        "price": None,
        "n": [None, -1.5],
    }
    for line in (b"{'asin': truth}", b"{'asin': true()}", b"{'asin': null.x}"):
        with pytest.raises(ValueError, match="neither JSON nor a Python literal"):
            parse_line(line)
