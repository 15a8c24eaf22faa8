"""From a name to a course folder: the whole way against a local publisher, in three editions and three releases."""

import errno
import gzip
import hashlib
import io
import sys
import zipfile
from dataclasses import replace
from unittest.mock import Mock

import http_server as web
import numpy as np
import pytest
from amazon_files import NAMES, block, picture, product, review, write_category
from data_folders import real

from utils.data import Dataset, check_media, check_split, load_dataset, split_dataset
from utils.data.__main__ import main
from utils.errors import CourseError
from utils.network.download import RetryPolicy
from utils.publishers import dataset as publishers
from utils.publishers.catalogue import CAME, CATALOGUE, COMPLETE, JOINED, PAIRS, READ, find_entry
from utils.publishers.dataset import get
from utils.publishers.images import RateLimit

QUICK = {
    "retry": RetryPolicy(timeout=1, attempts=2, sleep=lambda _: None),
    "rate_limit": RateLimit(interval=0, pause=0.01),
}
EDITIONS = pytest.mark.parametrize("edition", NAMES)


@pytest.fixture
def server():
    with web.serving() as running:
        yield running


@pytest.fixture
def home(server, tmp_path, monkeypatch):
    """Downloads below tmp_path, and every publisher's address on the local server (same file names)."""
    monkeypatch.setattr(publishers, "DOWNLOADS", tmp_path / "downloads")
    for name, entry in CATALOGUE.items():
        sources = {
            part: replace(source, urls=(server.url(f"/{entry.edition}/{source.name}"),), md5="",
                          md5_url=source.md5_url and server.url(f"/{entry.edition}/{source.name}.md5"))
            for part, source in entry.sources.items()
        }  # fmt: skip
        monkeypatch.setitem(CATALOGUE, name, replace(entry, sources=sources))
    return tmp_path


def publish(server, folder, edition, reviews=None, products=None):
    """Put a category on the server: I1 has a picture, I2's is gone, I3 has none, I4 has no text, I5 is not described."""
    if reviews is None:
        reviews = [
            *block(edition),
            review(edition, "U0", "I0", 2, 500, "Bought <b>again</b> &amp; changed my mind."),
            review(edition, "LONELY", "I0", 5, 501),
            block(edition)[5],
        ]
    urls = {0: "/0.jpg", 1: "/1.jpg", 2: "/2.jpg", 4: "/4.jpg"}
    if products is None:
        products = [
            product(edition, f"I{i}", "" if i == 4 else f"Thing number {i}.", server.url(urls[i]) if i in urls else "")
            for i in range(5)
        ]
    name = write_category(folder, edition, reviews, products)
    for path in folder.iterdir():
        server.behaviours[f"/{edition}/{path.name}"] = web.file(path.read_bytes())
    server.behaviours |= {path: web.file(picture((30 * i, 90, 90))) for i, path in urls.items()}
    server.behaviours["/2.jpg"] = web.status(404)
    return name


def counts(got):
    return {step: tuple(rest[:3]) for step, *rest in got.steps.itertuples(index=False)}


@EDITIONS
def test_the_whole_way(server, home, tmp_path, edition, capsys):
    name = publish(server, tmp_path / "publisher", edition)
    got = get(name, accept=True, progress=False, **QUICK)
    found = counts(got)
    assert found[READ] == (9, 6, 51) and found["without repeated rows"] == (9, 6, 50)
    assert found[PAIRS] == (9, 6, 49) and found[JOINED] == (9, 5, 41) and found[COMPLETE] == (9, 3, 25)
    assert found["5-core"] == (8, 5, 40)
    dataset = load_dataset(got.folder)
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == (8, 5, 40)
    assert dataset.items["item"].tolist() == ["I0", "I1", "I2", "I3", "I4"]
    assert [bool(path) for path in dataset.items["image"]] == [True, True, False, False, True]
    assert dataset.items["description"].tolist()[3:] == ["Thing number 3.", ""]
    assert set(dataset.items["category"]) == {"Pens"} and check_media(dataset).empty
    row = dataset.interactions.query("user == 'U0' and item == 'I0'").iloc[0]
    assert (row["rating"], row["review"]) == (2, "Bought again & changed my mind.")
    assert row["timestamp"] == 1_400_000_000 + 500 * 86_400
    assert sum(got.parts.values()) == 40 and set(dataset.interactions["split"]) == {"train", "valid", "test"}
    check_split(split_dataset(dataset, "given"))
    said = capsys.readouterr().out
    assert "Please cite" in said and "| 5-core | 8 | 5 | 40 |" in said and "3 ok, 1 gone, 1 without an address" in said
    card = (got.folder / "README.md").read_text(encoding="utf-8")
    assert "| 5-core | 8 | 5 | 40 |" in card and "do not redistribute" in card
    assert (got.folder / ".gitignore").read_text(encoding="utf-8").endswith("*\n")
    assert not (got.folder / ".workshop").exists()


def test_expected_counts_stand_beside_ours(server, home, tmp_path):
    got = get(publish(server, tmp_path / "publisher", "2014"), accept=True, progress=False, **QUICK)
    row = got.steps.set_index("step").loc[READ]
    assert (row["expected_users"], row["expected_items"], row["expected_interactions"]) == (4905, 2420, 53258)
    card = (got.folder / "README.md").read_text(encoding="utf-8")
    assert "51 (expected 53,258)" in card and "3 (expected 1,703)" in card and "lecture's table" in card


def test_the_lectures_recipe_drops_what_is_not_complete(server, home, tmp_path):
    name = publish(server, tmp_path / "publisher", "2014")
    got = get(name, accept=True, progress=False, recipe="lecture", **QUICK)
    found = counts(got)
    assert found[COMPLETE] == (9, 3, 25), "I0, I1 and I2 have a description and an address"
    assert found[CAME] == (9, 2, 17), "the picture of I2 is gone"
    assert got.steps.set_index("step").loc[CAME, "expected_items"] == 1703
    dataset = load_dataset(got.folder)
    assert dataset.items["item"].tolist() == ["I0", "I1"] and dataset.n_users == 9, "no 5-core after the drop"
    assert (dataset.items["image"] != "").all()


def test_the_lectures_recipe_waits_for_all_pictures(server, home, tmp_path):
    name = publish(server, tmp_path / "publisher", "2014")
    options = {"accept": True, "progress": False, "recipe": "lecture", "max_images": 2, **QUICK}
    with pytest.raises(CourseError, match="1 pictures are still to come .*run the same command again"):
        get(name, **options)
    assert load_dataset(get(name, **options).folder).items["item"].tolist() == ["I0", "I1"]


@pytest.mark.parametrize("strategy", ["random", "leave_one_out", "temporal_user", "temporal_global"])
def test_the_split_is_the_courses_own(server, home, tmp_path, strategy):
    days = np.random.default_rng(0).permutation(8 * 6).reshape(8, 6)
    reviews = [
        review("2018", f"U{u}", f"I{i}", day=int(days[u, i]), text=f"{u} {i}") for u in range(8) for i in range(6)
    ]
    products = [product("2018", f"I{i}") for i in range(6)]
    name = publish(server, tmp_path / "publisher", "2018", reviews, products)
    options = {} if strategy == "leave_one_out" else {"valid": 0.2, "test": 0.2}
    got = get(name, accept=True, progress=False, images=False, strategy=strategy, seed=3, **options, **QUICK)
    dataset = load_dataset(got.folder)
    # Read again without its split, as if the split were made now.
    plain = Dataset(
        dataset.name, dataset.path, dataset.users, dataset.items, dataset.interactions.drop(columns="split")
    )
    expected, given = split_dataset(plain, strategy, seed=3, **options), split_dataset(dataset, "given")
    for part in ("train", "valid", "test"):
        assert np.array_equal(expected.part(part), given.part(part)) and len(given.part(part)) == got.parts[part]


def test_the_same_call_gives_the_same_bytes_and_asks_for_nothing_again(server, home, tmp_path):
    name = publish(server, tmp_path / "publisher", "2023")
    first = get(name, accept=True, progress=False, **QUICK)
    files = ("interactions.tsv.gz", "items.tsv", "README.md", "steps.tsv")
    before = {file: (first.folder / file).read_bytes() for file in files}
    server.log.clear()
    again = get(name, progress=False, **QUICK)  # the terms are accepted, and nobody is asked again
    assert not server.log, "reviews, products and pictures are on the disk, and the gone picture is known to be gone"
    assert {file: (again.folder / file).read_bytes() for file in files} == before


def test_bad_rows_are_reported_with_their_line(server, home, tmp_path, capsys):
    reviews = block("2018")
    reviews[3:3] = ["{broken", review("2018", "", "I1")]
    got = get(publish(server, tmp_path / "p", "2018", reviews), accept=True, progress=False, images=False, **QUICK)
    assert got.bad.count == 2
    lines = (got.folder / "bad_rows.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[1].startswith("Office_Products_5.json.gz\t4\tneither JSON") and "\t5\t" in lines[2]
    assert "could not be read: 2 (first: Office_Products_5.json.gz, line 4" in capsys.readouterr().out


def test_terms_are_shown_before_the_first_request(server, home, tmp_path, capsys, monkeypatch):
    name = publish(server, tmp_path / "publisher", "2014")
    with pytest.raises(
        CourseError, match=r"not accepted, so nothing was downloaded; accept them with --yes .*accept=True"
    ):
        get(name, progress=False, **QUICK)
    assert not server.log and "Terms, in our words" in capsys.readouterr().out
    monkeypatch.setattr(publishers, "_somebody_there", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "no")
    with pytest.raises(CourseError, match="not accepted"):
        get(name, progress=False, **QUICK)
    assert not server.log
    monkeypatch.setattr("builtins.input", lambda _: "yes")
    assert get(name, progress=False, images=False, **QUICK).parts["train"] > 0


def test_command_line(server, home, tmp_path, capsys, monkeypatch):
    name = publish(server, tmp_path / "publisher", "2018")
    assert main(["get", name]) == 1
    refused = capsys.readouterr().err
    assert refused.startswith("error: The terms of") and refused.count("\n") == 1
    target = tmp_path / "mine"
    assert main(["get", name, "--yes", "--no-images", "--to", str(target), "--k", "3", "--seed", "1"]) == 0
    assert "| 3-core |" in capsys.readouterr().out and load_dataset(target).n_users == 8
    assert main(["get", "--list"]) == 0 and "amazon-2014-office" in capsys.readouterr().out
    assert main(["get", "amazon-2014-ofice"]) == 1 and "did you mean amazon-2014-office" in capsys.readouterr().err
    assert main(["get", name, "--recipe", "lectur"]) == 1 and "did you mean lecture" in capsys.readouterr().err
    assert main(["get", name, "--items", "most"]) == 1 and "value of items" in capsys.readouterr().err
    assert main(["get", name, "--split", "given"]) == 1 and "split strategy" in capsys.readouterr().err

    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("utils.publishers.commands.get", stop)
    assert main(["get", name]) == 130 and "the same command goes on" in capsys.readouterr().err


def test_a_folder_of_somebody_else_is_not_touched(home, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(CourseError, match="holds other files"):
        get("amazon-2014-office", tmp_path / "mine", accept=True)


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (web.status(404), "answers 404.*by hand"),
        (web.status(500), "answers 500 .*, 2 times in a row"),
        (web.page(), "a web page instead of"),
        (web.file(gzip.compress(b"x" * 1000)[:-9]), "not a whole gzip file"),
        (web.file(gzip.compress(b"<html>\n" * 2000)), "are no review of the 2014 edition"),
    ],
    ids=["404", "500", "page", "cut", "other content"],
)
def test_a_faulty_publisher_leaves_no_dataset(server, home, tmp_path, behaviour, words):
    name = publish(server, tmp_path / "publisher", "2014")
    server.behaviours[f"/2014/{NAMES['2014'][0]}"] = behaviour
    with pytest.raises(CourseError, match=words):
        get(name, accept=True, progress=False, **QUICK)
    with pytest.raises(CourseError):
        load_dataset(home / "downloads" / "amazon-2014-office")
    # It goes on when the publisher is well again; what was whole is not asked for again.
    publish(server, tmp_path / "publisher", "2014")
    if words.startswith("are no"):  # whole but wrong: the reader deletes it, as the message says
        for left in (home / "downloads" / "raw" / "amazon" / "2014").glob("reviews*"):
            left.unlink()
    assert get(name, accept=True, progress=False, images=False, **QUICK).parts["train"] > 0


def test_without_a_network_files_put_there_by_hand_will_do(server, home, tmp_path):
    name = publish(server, tmp_path / "publisher", "2023")
    server.behaviours.clear()
    got = get(name, source=tmp_path / "publisher", images=False, progress=False)
    assert got.parts["train"] > 0 and not server.log
    with pytest.raises(CourseError, match="holds no reviews_Office_Products_5.json.gz; put it there"):
        get("amazon-2014-office", source=tmp_path / "publisher", images=False, progress=False)


def test_files_that_a_browser_unpacked_are_read(home, tmp_path):
    name = write_category(tmp_path, "2018", block("2018"), [product("2018", f"I{i}") for i in range(6)])
    for path in list(tmp_path.glob("*.gz")):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    got = get(name, tmp_path / "made", source=tmp_path, images=False, progress=False, k=0)
    assert counts(got)[READ] == (8, 6, 48)
    (tmp_path / "meta_Office_Products.json").unlink()
    with pytest.raises(
        CourseError, match=r"holds no meta_Office_Products\.json\.gz; put it there \(there: Office_Prod"
    ):
        get(name, tmp_path / "made", source=tmp_path, images=False, progress=False, k=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: b"<!DOCTYPE html><html>404</html>", "is a web page, not the file"),
        (gzip.compress, "is gzipped twice; unpack it once"),
        (gzip.decompress, r"is not packed; take \.gz off its name"),
    ],
    ids=["page", "twice", "not at all"],
)
def test_a_file_that_is_no_gzip_is_called_what_it_is(home, tmp_path, change, words):
    name = write_category(tmp_path, "2018", block("2018"), [product("2018", "I1")])
    path = tmp_path / "meta_Office_Products.json.gz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CourseError, match=rf"meta_Office_Products\.json\.gz {words}"):
        get(name, tmp_path / "made", source=tmp_path, images=False, progress=False)


@pytest.mark.parametrize("inner", ["", "ml-latest-small"])
def test_movielens_may_be_unpacked_already(home, tmp_path, inner):
    with zipfile.ZipFile(io.BytesIO(release("ml-latest-small"))) as archive:
        for member in archive.infolist():
            path = tmp_path / "source" / inner / member.filename.split("/")[-1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(member))
    got = get("movielens-small", tmp_path / "made", source=tmp_path / "source", progress=False, k=0)
    assert counts(got)[READ] == (6, 7, 42)


def test_a_full_disk_and_an_interrupt_leave_no_half_dataset(server, home, tmp_path, monkeypatch):
    name = publish(server, tmp_path / "publisher", "2014")
    got = get(name, accept=True, progress=False, images=False, **QUICK)
    good = (got.folder / "interactions.tsv.gz").read_bytes()
    faults = ((OSError(errno.ENOSPC, "No space left on device"), CourseError), (KeyboardInterrupt(), KeyboardInterrupt))
    for error, raised in faults:
        with monkeypatch.context() as patch:
            patch.setattr(gzip.GzipFile, "write", Mock(side_effect=error))
            with pytest.raises(raised):
                get(name, progress=False, images=False, **QUICK)
        with pytest.raises(CourseError, match=r"interactions\.tsv is missing"):
            load_dataset(got.folder)
        assert not list(got.folder.glob(".part*")) and not (got.folder / ".workshop").exists()
    get(name, progress=False, images=False, **QUICK)
    assert (got.folder / "interactions.tsv.gz").read_bytes() == good


def test_nothing_left_says_what_to_do(server, home, tmp_path):
    name = publish(server, tmp_path / "publisher", "2014")
    with pytest.raises(CourseError, match="left after 50-core; choose a smaller k"):
        get(name, accept=True, progress=False, images=False, k=50, **QUICK)


def test_two_users_with_one_key_are_found_out(server, home, tmp_path, monkeypatch):
    name = publish(server, tmp_path / "publisher", "2014")
    streams = sys.modules["utils.publishers.streams"]
    monkeypatch.setattr(streams, "hash", lambda text: 7 if text in ("U1", "LONELY") else hash(text), raising=False)
    with pytest.raises(CourseError, match="share a key by chance; run the command again"):
        get(name, accept=True, progress=False, images=False, k=0, **QUICK)


def zipped(files):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text.encode("latin-1"))
    return memory.getvalue()


def release(name):
    """A small MovieLens archive in a release's own layout: 6 users, 7 films, everybody rates every film."""
    ratings = [(u, f, 1 + (u * f) % 5, 880_000_000 + 10 * u + f) for u in range(1, 7) for f in range(1, 8)]
    titles = [f"Café {f} (19{f:02})" for f in range(1, 8)]
    if name == "ml-100k":
        films = "".join(
            f"{n}|{t}|01-Jan-1995||http://x|" + "|".join("01" + "0" * 17) + "\n" for n, t in enumerate(titles, 1)
        )
        return zipped({"ml-100k/u.data": "".join("\t".join(map(str, r)) + "\n" for r in ratings), "ml-100k/u.item": films,
                       "ml-100k/README": "terms"})  # fmt: skip
    if name == "ml-1m":
        films = "".join(f"{n}::{t}::Action|Drama\n" for n, t in enumerate(titles, 1))
        return zipped(
            {"ml-1m/ratings.dat": "".join("::".join(map(str, r)) + "\n" for r in ratings), "ml-1m/movies.dat": films}
        )
    films = "movieId,title,genres\n" + "".join(f'{n},"{t}, The",Action|Drama\n' for n, t in enumerate(titles, 1))
    text = "userId,movieId,rating,timestamp\n" + "".join(",".join(map(str, r)) + "\n" for r in ratings)
    return zipped({"ml-latest-small/ratings.csv": text, "ml-latest-small/movies.csv": films.encode().decode("latin-1")})


@pytest.mark.parametrize("name", ["movielens-100k", "movielens-1m", "movielens-small"])
def test_movielens(server, home, name):
    edition = find_entry(name).edition
    body = release(edition)
    server.behaviours[f"/{edition}/{edition}.zip"] = web.file(body)
    server.behaviours[f"/{edition}/{edition}.zip.md5"] = web.file(hashlib.md5(body).hexdigest().encode())
    got = get(name, accept=True, progress=False, k=0, **QUICK)
    assert counts(got)[READ] == (6, 7, 42) and counts(got)["rated high enough"][2] == got.steps.iloc[-1]["interactions"]
    dataset = load_dataset(got.folder)
    assert dataset.items["title"].str.startswith("Café").all() and (dataset.interactions["rating"] >= 4).all()
    assert dataset.items["category"].iloc[0] == ("Action" if name == "movielens-100k" else "Action|Drama")
    assert "md5" in (home / "downloads" / "raw" / "movielens" / edition / f"{edition}.zip.receipt.json").read_text()


def test_movielens_with_a_wrong_checksum_or_another_archive(server, home):
    server.behaviours["/ml-100k/ml-100k.zip"] = web.file(release("ml-100k"))
    server.behaviours["/ml-100k/ml-100k.zip.md5"] = web.file(b"0" * 32)
    with pytest.raises(CourseError, match="has md5 .* the publisher states 0000"):
        get("movielens-100k", accept=True, progress=False, **QUICK)
    server.behaviours["/ml-100k/ml-100k.zip.md5"] = web.status(404)
    server.behaviours["/ml-100k/ml-100k.zip"] = web.file(release("ml-1m"))
    with pytest.raises(CourseError, match="holds no u.data; check that it is ml-100k.zip"):
        get("movielens-100k", accept=True, progress=False, **QUICK)


def test_the_real_gift_cards(home, tmp_path):
    got = get(
        "amazon-2018-gift-cards", tmp_path / "gifts", source=real("amazon-raw-2018"), images=False, progress=False
    )
    table = got.steps.set_index("step")
    known = table[table["expected_interactions"].notna()]
    assert (known["interactions"] == known["expected_interactions"]).all() and len(known) == 2
    dataset = load_dataset(got.folder)
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == (453, 147, 2941) and got.bad.count == 0
    check_split(split_dataset(dataset, "given"))
