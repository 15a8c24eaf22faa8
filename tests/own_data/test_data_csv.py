"""Tables of ratings as the world has them: MovieLens unzipped, separators, no header, dates, and `export csv` back again."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from utils.data import load_dataset, split_dataset, write_table
from utils.data.__main__ import main
from utils.errors import CourseError
from utils.features import Features, prepared
from utils.own_data.export import LAYOUTS, export
from utils.own_data.movielens_posters import CONVERTERS, convert


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")
    return path


def movielens(folder):
    """The layout of ml-latest-small, unzipped, with the files that hold no ratings."""
    rows = [f"{u},{i},{4.0 + (i % 2)},{1400000000 + i}\n" for u in range(1, 6) for i in range(1, 7)]
    write(folder / "ratings.csv", "userId,movieId,rating,timestamp\n" + "".join(rows))
    films = "".join(f'{i},"Film, The {i} (1995)",Drama|War\n' for i in range(1, 8))
    write(folder / "movies.csv", "movieId,title,genres\n" + films)
    write(folder / "tags.csv", "userId,movieId,tag,timestamp\n1,1,slow,1400000000\n")
    write(folder / "links.csv", "movieId,imdbId,tmdbId\n1,0114709,862\n")
    write(folder / "README.txt", "Summary\n=======\n\nThis dataset describes ratings.\n")
    return folder


def made(source, target, **options):
    """The converted folder, and what was said."""
    said = []
    return load_dataset(convert("csv", source, target, say=said.append, **options)), " ".join(said)


@pytest.mark.parametrize("inner", ["", "ml-latest-small"])
def test_unzipped_movielens_comes_in(tmp_path, inner):
    movielens(tmp_path / "source" / inner)
    dataset, said = made(tmp_path / "source", tmp_path / "made")
    assert (dataset.n_users, dataset.n_items, dataset.n_interactions) == (5, 7, 30)
    assert dataset.items["title"].tolist() == [f"Film, The {i} (1995)" for i in range(1, 8)]
    assert set(dataset.items["category"]) == {"Drama|War"}
    assert dataset.interactions[["user", "item", "rating", "timestamp"]].iloc[0].tolist() == ["1", "1", 5.0, 1400000001]
    assert "The log has 30 interactions of 5 users with 6 items" in said and "1 of 7 items have no interaction" in said


def test_the_log_may_be_given_itself_and_a_dry_run_writes_nothing(tmp_path, capsys):
    source = movielens(tmp_path / "source")
    command = ["convert", "csv", str(source / "ratings.csv"), str(tmp_path / "made")]
    assert main([*command, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert (
        "30 interactions of 5 users" in printed
        and "nothing was written" in printed
        and not (tmp_path / "made").exists()
    )
    assert main(command) == 0
    assert load_dataset(tmp_path / "made").items["title"].iloc[0] == "Film, The 1 (1995)"
    assert main(["convert", "csv", str(source), str(tmp_path / "x"), "--min-rating", "4"]) == 1
    assert "csv takes no min_rating" in capsys.readouterr().err


@pytest.mark.parametrize("gap", [",", ";", "\t", "|", "::", " "])
def test_any_separator_with_a_header_or_with_named_columns(tmp_path, gap):
    rows = [["196", "242", "3", "881250949"], ["186", "302", "4", "891717742"], ["196", "302", "5", "881250950"]]
    text = "".join(gap.join(row) + "\n" for row in rows)
    write(tmp_path / "headed" / "anything.csv", gap.join(["User-ID", "ISBN", "Book-Rating", "ts"]) + "\n" + text)
    write(tmp_path / "bare" / "u.data", text)
    with pytest.raises(CourseError, match=r"first row of u\.data is '196', '242', '3'.*--columns user,item"):
        convert("csv", tmp_path / "bare", tmp_path / "x")
    headed, _ = made(tmp_path / "headed", tmp_path / "a")
    bare, _ = made(tmp_path / "bare", tmp_path / "b", columns="user,item,rating,timestamp")
    expected = [(a, b, float(c), int(d)) for a, b, c, d in rows]
    for dataset in (headed, bare):
        log = dataset.interactions[["user", "item", "rating", "timestamp"]]
        assert list(log.itertuples(index=False, name=None)) == expected


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        (["2014-05-01", "2014-05-02T10:00:00Z"], [1398902400, 1399024800]),
        (["2014-05-01 00:00:00", "1969-12-31T23:59:59.5Z"], [1398902400, -1]),
        (["20140501", "20140502"], [1398902400, 1398988800]),
        (["1398902400000", "1398988800000"], [1398902400, 1398988800]),
        (["1398902400.0", "1.3989888e9"], [1398902400, 1398988800]),
    ],
)
def test_times_become_seconds(tmp_path, times, seconds):
    write(
        tmp_path / "source" / "log.csv",
        "user,item,date\n" + "".join(f"u,i{k},{time}\n" for k, time in enumerate(times)),
    )
    dataset, _ = made(tmp_path / "source", tmp_path / "made")
    assert dataset.interactions["timestamp"].tolist() == seconds


@pytest.mark.parametrize("bad", ["soon", "", "1398902400", "05/01/2014"])
def test_a_time_that_is_neither_is_named_with_its_row(tmp_path, bad):
    write(tmp_path / "source" / "log.csv", f"user,item,date\nu,i1,2014-05-01\nu,i2,{bad}\n")
    with pytest.raises(CourseError, match=rf"log\.csv, row 3: timestamp '{bad}' is neither seconds"):
        convert("csv", tmp_path / "source", tmp_path / "made")


def test_what_cannot_be_told_is_asked_for(tmp_path):
    source = movielens(tmp_path / "source")
    for text, words in (
        ("userId,movieId,rating\n1,9999,4\n", "No item of ratings.csv is in movies.csv"),
        ("userId,movieId,rating\n1,2,4,5\n", r"ratings\.csv, row 2: 4 fields where the first row has 3"),
        ('userId,movieId,rating\n1,2,"4,5"\n', r"ratings\.csv, row 2: rating '4,5' is not a number; write a point"),
        ("userId,movieId,rating\n1,,4\n", r"ratings\.csv, row 2: the item id is ''"),
        ("userId,movieId,rating\n", "no row below its header"),
    ):
        write(source / "ratings.csv", text)
        with pytest.raises(CourseError, match=words):
            convert("csv", source, tmp_path / "made")
    write(source / "a.csv", "user,item,rating\n1,2,4\n")
    write(source / "b.csv", "user,item,rating\n1,2,4\n")
    (source / "ratings.csv").unlink()
    with pytest.raises(CourseError, match=r"several logs \(a\.csv, b\.csv\); give the path"):
        convert("csv", source, tmp_path / "made")
    with pytest.raises(CourseError, match="name no user and item"):
        convert("csv", source, tmp_path / "made", columns="rating,timestamp")


def test_pictures_that_the_table_names_come_along(tmp_path):
    source = tmp_path / "source"
    write(source / "log.csv", "user,item\nu,a\nu,b\nv,c\n")
    write(source / "items.csv", "item,title,image\na,One,pics/a.png\nb,Two,\nc,Three,pics/gone.png\n")
    (source / "pics").mkdir()
    Image.new("RGB", (8, 8)).save(source / "pics" / "a.png")
    dataset, said = made(source, tmp_path / "made")
    assert dataset.image(0).size == (8, 8) and dataset.image_paths()[1:] == [None, None]
    assert "1 files of column image are not in" in said
    write(source / "items.csv", "item,title,image\na,One,https://example.org/a.png\nb,Two,\nc,Three,\n")
    dataset, said = made(source, tmp_path / "again")
    assert dataset.items["image_address"].iloc[0] == "https://example.org/a.png" and "kept as image_address" in said


# ---- out and back, in every layout ----

NAMES = [
    "007",
    "7",
    "NA",
    "nan.",
    "None",
    "a b",
    " lead",
    'say "x"',
    '"',
    "é中🎸",
    "a,b",
    "x;y",
    "1.0",
    "true",
    "-",
    "#1",
]


def random_folder(folder, seed):
    """A course folder by chance: odd ids, repeated pairs, missing columns and missing modalities.

    By a seed, not by hypothesis: that would be one more package for one test, and a seed names a failing folder as well.
    """
    rng = np.random.default_rng(seed)
    n_items, n_rows = int(rng.integers(3, len(NAMES))), int(rng.integers(20, 80))
    names = rng.permutation(NAMES)[:n_items]
    users = rng.permutation(NAMES)[: int(rng.integers(2, 8))]
    log = pd.DataFrame({"user": rng.choice(users, n_rows), "item": rng.choice(names, n_rows)}, dtype=object)
    if rng.random() < 0.7:
        log["rating"] = rng.integers(1, 11, n_rows) / 2
        if rng.random() < 0.5:
            log.loc[rng.random(n_rows) < 0.2, "rating"] = np.nan
    if rng.random() < 0.7:
        log["timestamp"] = rng.integers(0, 2 * 10**9, n_rows)
    write_table(folder / "interactions.tsv", log)
    titles = [f'{name} "quoted"' if rng.random() < 0.3 else name for name in names]
    write_table(folder / "items.tsv", pd.DataFrame({"item": names, "title": titles, "category": "a|b"}))
    dataset, features = load_dataset(folder), {}
    for modality in ("visual", "textual", "audio"):
        if rng.random() < 0.7:
            mask = rng.random(n_items) < 0.7
            matrix = rng.normal(size=(n_items, 5)).astype(np.float32) * mask[:, None]
            if mask.any():
                matrix[np.argmax(mask)] = 0  # a vector of zeros that is there
                features[modality] = Features(modality, matrix, dataset.item_names, mask, {"encoder": "made"})
    return dataset, features


def raw_ids(out, back):
    """The log of a folder that came back, with the raw ids, and its items' raw ids."""
    tables = {
        name: pd.read_csv(out / f"{name}s.tsv", sep="\t", dtype=str, keep_default_na=False, quoting=3)
        for name in ("user", "item")
    }
    names = {name: table.set_index(f"{name}_id")[name] for name, table in tables.items()}
    log = back.interactions.assign(**{name: names[name][back.interactions[name]].to_numpy() for name in names})
    return log, names["item"][back.item_names].to_numpy()


@pytest.mark.parametrize("seed", range(9))
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_folder_by_chance_survives_the_way_out_and_back(tmp_path, layout, seed):
    dataset, features = random_folder(tmp_path / "toy", seed)
    split = split_dataset(dataset, "random", seed=seed)
    out = export(dataset, layout, tmp_path / "out", split=split, features=features)
    back = load_dataset(convert(layout, out, tmp_path / "back", say=lambda text: None))
    log, items = raw_ids(out, back) if layout != "csv" else (back.interactions, back.item_names)
    order = [name for name in ("timestamp",) if name in dataset.interactions]
    first = dataset.interactions.sort_values(order, kind="stable") if order else dataset.interactions
    first = first.drop_duplicates(["user", "item"], keep="last").set_index(["user", "item"])
    part = {}
    for name in ("train", "valid", "test"):
        part |= {(dataset.users[u], dataset.item_names[i]): name for u, i in split.part(name)}
    assert dict(zip(zip(log["user"], log["item"]), log["split"])) == part and len(log) == len(part)
    keys = list(zip(log["user"], log["item"]))
    lost = {"elliot": {"rating"}, "cornac": {"rating", "timestamp"}}.get(layout, set())
    for column in ("rating", "timestamp"):
        assert (column in log) == (column in first and column not in lost)
        if column in log:
            np.testing.assert_array_equal(log[column], first.loc[keys, column])
    if layout in ("csv", "recbole"):
        title = dataset.items.set_index("item")["title"]
        assert back.items["title"].tolist() == title[items].tolist() and set(items) == set(dataset.item_names)
    if layout == "csv":
        return  # it carries no features
    row_of = {name: row for row, name in enumerate(dataset.item_names)}
    for modality, feature in features.items():
        again = prepared(back, modality)
        rows = [row_of[name] for name in items]
        np.testing.assert_array_equal(again.matrix, feature.matrix[rows])
        np.testing.assert_array_equal(again.mask, feature.mask[rows])


def test_every_layout_that_goes_out_comes_in():
    assert set(LAYOUTS) <= set(CONVERTERS)


def test_other_files_beside_a_log_may_be_anything(tmp_path):
    source = tmp_path / "ml-1m"
    write(source / "ratings.dat", "1::1193::5::978300760\n2::661::3::978302109\n")
    (source / "movies.dat").write_bytes(b"1::Caf\xe9 (1995)::Drama\n")
    (source / "README.txt").write_bytes(b"\x00\xff" * 50)
    (source / "old.csv.gz").write_bytes(b"no gzip")
    dataset, _ = made(source, tmp_path / "made", columns="user,item,rating,timestamp")
    assert dataset.n_interactions == 2 and dataset.interactions["timestamp"].tolist() == [978300760, 978302109]
    (source / "ratings.dat").write_bytes("userId,movieId\n1,2\n".encode("utf-16"))
    with pytest.raises(CourseError, match=r"ratings\.dat is UTF-16"):
        convert("csv", source, tmp_path / "again")


def test_names_of_columns_as_shops_and_studies_have_them(tmp_path):
    write(tmp_path / "a" / "transactions.csv", "t_dat,customer_id,article_id,price\n2018-09-20,c1,0108775015,0.05\n")
    write(
        tmp_path / "a" / "articles.csv",
        "article_id,prod_name,detail_desc,product_type_name\n0108775015,Top,Black top,Vest\n",
    )
    write(tmp_path / "b" / "user_artists.dat", "userID\tartistID\tweight\n2\t51\t13883\n2\t52\t11690\n")
    write(tmp_path / "b" / "artists.dat", "id\tname\turl\n51\tDuran\thttp://x\n52\tMorcheeba\thttp://y\n")
    write(tmp_path / "b" / "user_friends.dat", "userID\tfriendID\n2\t275\n")
    shop, said = made(tmp_path / "a", tmp_path / "shop")
    assert shop.items[["item", "title", "description", "category"]].iloc[0].tolist() == [
        "0108775015",
        "Top",
        "Black top",
        "Vest",
    ]
    assert shop.interactions["timestamp"].tolist() == [1537401600] and "column price left out" in said.replace("'", "")
    music, _ = made(tmp_path / "b", tmp_path / "music")
    assert music.items["title"].tolist() == ["Duran", "Morcheeba"] and music.items["url"].tolist() == [
        "http://x",
        "http://y",
    ]
    assert music.interactions["rating"].tolist() == [13883, 11690]
