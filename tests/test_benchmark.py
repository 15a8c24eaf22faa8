"""The benchmark: rows, resuming, failures, names."""

import json

import numpy as np
import pytest

from utils import benchmark


@pytest.fixture
def folder(tmp_path):
    """A course folder of two groups of users and items, without any media: 24 users, 20 items."""
    rng = np.random.default_rng(0)
    items = "item\ttitle\n" + "".join(f"i{i:02d}\tItem {i}\n" for i in range(20))
    rows = [
        f"u{user:02d}\ti{item:02d}\n"
        for user in range(24)
        for item in rng.permutation(10)[:7] + 10 * (user % 2)
    ]  # fmt: skip
    data = tmp_path / "mine"
    data.mkdir()
    (data / "items.tsv").write_text(items)
    (data / "interactions.tsv").write_text("user\titem\n" + "".join(rows))
    return data


def run(folder, out, models, seeds="0"):
    return benchmark.main(
        ["accuracy", "--dataset", str(folder), "--models", models, "--seeds", seeds, "--json", str(out)]
    )


def test_rows_meta_and_resuming(folder, tmp_path):
    out = tmp_path / "out.json"
    with open(folder / "items.tsv", "a") as stream:
        stream.write("".join(f"x{i:02d}\tExtra {i}\n" for i in range(10)))
    assert run(folder, out, "mostpop,itemknn") == 0
    first = json.loads(out.read_text())
    assert set(first["rows"][0]) == {"model", "seed", "split", "metric", "value"}
    assert {row["split"] for row in first["rows"]} == {"valid", "test"}
    assert first["meta"]["strategy"] == "random" and "accuracy" in first["meta"]["command"]
    value = {(r["model"], r["split"], r["metric"]): r["value"] for r in first["rows"]}
    assert value["itemknn", "test", "recall@20"] > value["mostpop", "test", "recall@20"] - 1e-9

    first["rows"][0]["value"] = -1.0  # a mark: what is done is not done again
    out.write_text(json.dumps(first))
    assert run(folder, out, "mostpop,itemknn", seeds="0,1") == 0
    second = json.loads(out.read_text())
    assert second["rows"][0]["value"] == -1.0
    assert {row["seed"] for row in second["rows"]} == {0, 1}

    with open(folder / "interactions.tsv", "a") as stream:
        stream.write("u00\tx01\n")
    assert run(folder, out, "mostpop") == 0
    assert all(row["value"] != -1.0 for row in json.loads(out.read_text())["rows"])  # changed data: done anew


def test_a_model_that_fails_is_named_and_the_others_stay(folder, tmp_path, monkeypatch, capsys):
    from utils.errors import CourseError

    with open(folder / "items.tsv", "a") as stream:
        stream.write("".join(f"x{i:02d}\tExtra {i}\n" for i in range(10)))
    real = benchmark.run_model

    def failing(name, *args, **kwargs):
        if name == "itemknn":
            raise CourseError("it broke on purpose")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(benchmark, "run_model", failing)
    out = tmp_path / "out.json"
    assert run(folder, out, "itemknn,mostpop") == 1
    assert "itemknn, seed 0: it broke on purpose" in capsys.readouterr().err
    assert {row["model"] for row in json.loads(out.read_text())["rows"]} == {"mostpop"}


def test_an_unknown_model_is_refused_with_the_nearest_names(folder, tmp_path, capsys):
    assert run(folder, tmp_path / "out.json", "freedomm") == 2
    assert "did you mean freedom" in capsys.readouterr().err
