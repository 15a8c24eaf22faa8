"""The tables of README.md and the card come from result files, and what README says about them is still true."""

import numpy as np
import pandas as pd
import pytest

from utils import stored
from utils.evaluation.published import split_table
from utils.files import ROOT
from utils.lab import shop_card
from utils.lab import tables as results
from utils.pretraining.closed import SOLVED
from utils.studies import adaptation, closed_forms, fair_evaluation, next_item, patience


def means(name, metric, part="test"):
    rows = pd.DataFrame(results.load(name)["rows"])
    return rows[(rows["metric"] == metric) & (rows["split"] == part)].groupby("model")["value"].mean()


def test_both_readmes_are_rendered_from_the_results():
    texts = [page.read_text(encoding="utf-8") for page in results.PAGES]
    assert [results.render(text) for text in texts] == texts, "run `python -m utils.lab tables`"
    for name in results.blocks():
        assert sum(f"<!-- begin:{name} -->" in text for text in texts) == 1, name
        assert not any(f"<!-- begin:{name} -->\n<!-- end" in text for text in texts), name


def test_the_card_is_rendered_from_the_results():
    assert shop_card.card() == (ROOT / "data" / "sticker_shop" / "README.md").read_text(encoding="utf-8")


def test_a_table_shows_mean_and_spread_of_the_seeds():
    rows = [
        {"model": "bpr", "seed": s, "split": "test", "metric": "recall@20", "value": v}
        for s, v in enumerate([0.1, 0.3])
    ]
    rows += [{"model": "mostpop", "seed": s, "split": "test", "metric": "recall@20", "value": 0.2} for s in (0, 1)]
    rows += [{"model": "bpr", "seed": 0, "split": "valid", "metric": "recall@20", "value": 9.0}]
    table = stored.table({"rows": rows}, {"recall@20": "Recall@20"})
    assert table["Recall@20"].to_dict() == {"Popularity": "0.200", "BPR-MF": "0.200 ± 0.141"}
    assert stored.markdown(table, "Model").splitlines()[:2] == ["| Model | Recall@20 |", "|---|---|"]


def paired(name, key="tests"):
    return {(t["a"], t["b"]): t for t in results.load(name)[key] if t["metric"] == "recall@20"}


def test_what_readme_says_of_movielens():
    recall, valid = means("movielens_budget", "recall@20"), means("movielens_budget", "recall@20", "valid")
    assert (
        set(recall.nlargest(2).index) == {"ials", "ials_content"}
        and abs(recall["ials"] - recall["ials_content"]) < 0.001
    )
    assert valid.idxmax() == "lgmrec" and paired("movielens_budget")["ials", "lgmrec"]["t_holm"] > 0.05
    assert recall["itemknn_content"] < recall["mostpop"]
    among, full = (means("movielens_cold_items", f"{name}@20") for name in ("among_cold_recall", "cold_recall"))
    assert among.idxmax() == "freedom"
    assert full.idxmax() == "itemknn_content"


def test_what_readme_says_of_models_with_content_and_the_closed_forms():
    found = fair_evaluation.against_closed_form().query("dataset == 'MovieLens posters'")
    counted = found.groupby("b")[["ahead", "behind"]].sum()
    assert len(found) == 24 and not counted["ahead"].any()  # twelve models that are trained with content, twice
    assert counted.loc["ials", "behind"] == 9
    assert set(found[(found["b"] == "ials") & ~found["behind"]]["a"]) == {"lattice", "lgmrec", "smore"}
    recall = means("movielens_budget", "recall@20").drop(["ials", "ials_content"])
    assert recall.idxmax() == "smore"


def test_what_readme_says_of_closed_forms_with_settings_found_elsewhere():
    rows = results.load("closed_forms")["rows"]
    plain, ruled = (closed_forms.travelled(rows, name) for name in ("ials", "ials, reg by clicks"))
    best = means("movielens_budget", "recall@20").drop(["ials", "ials_content"]).max()
    assert (ruled["movielens"] > best).all() and ruled["movielens"].min() > plain.loc["movielens", "movielens"] - 0.005
    assert (ruled["tiktok"] > plain.loc["tiktok", "tiktok"] - 0.002).all()
    assert plain["movielens"].drop("movielens").max() < 0.8 * plain.loc["movielens", "movielens"]
    regs = [closed_forms.chosen(rows, log, "ease")["settings"]["reg"] for log in plain.index]
    assert max(regs) / min(regs) > 30
    gains = closed_forms.gains(rows)
    own, dealt = gains["own"] - gains["without"], gains["shuffled"] - gains["without"]
    assert own["sticker_shop", "ease_content"] > 0.01 > dealt["sticker_shop", "ease_content"]
    assert own["tiktok", "ease_content"] > 0.003 > dealt["tiktok", "ease_content"]
    assert own["sticker_shop", "ials_content"] > 0 > dealt["sticker_shop", "ials_content"]
    assert (own - dealt)["movielens"].max() < 0.005


def test_what_readme_says_of_the_next_item():
    result = results.load("next_item_beauty")
    rows, printed = pd.DataFrame(result["rows"]), [figures[2] for figures in result["printed"].values()]
    counted = rows[rows["model"].isin(["ItemKNN, directed transitions", "ItemKNN, recency"])]
    assert len(counted) == 4 and counted["hr@10"].min() > max(printed)
    assert rows.loc[rows["model"] != "Popularity", "permuted"].max() < 0.006
    plain = rows[~rows["masked"]].groupby("model").mean(numeric_only=True)
    sasrec, counts = "SASRec, one negative", [title for title in next_item.COUNTED.values() if title != "Popularity"]
    masked = rows[rows["masked"]].groupby("model")["hr@10"].mean()
    for hits in (plain["hr@10"], masked):
        assert hits[sasrec] < min(hits[counts].min(), hits["EASE"], hits["EASE, tuned"]) and hits["EASE, tuned"] > max(
            printed
        )
        assert (
            max(hits["EASE"], hits["iALS"], hits["iALS, tuned"])
            < hits["ItemKNN, recency"]
            < hits["ItemKNN, directed transitions"]
        )
        assert hits["Content kNN"] < hits["Content kNN, attributes"] < hits["ItemKNN, directed transitions"] / 2
    clicks = [*counts, *next_item.CLOSED.values(), sasrec]
    assert set(plain.loc[clicks, "hr@10"].nsmallest(3).index) == {"iALS", "iALS, tuned", sasrec}
    assert set(plain["among_99"].nlargest(3).index) == {"iALS", "iALS, tuned", sasrec}
    for name in ("EASE", "iALS"):
        assert abs(plain.loc[name, "among_99"] - plain.loc[f"{name}, tuned", "among_99"]) < 0.02
    printed_by = {name: figures[2] for name, figures in result["printed"].items()}
    assert printed_by["SASRec, a third party's run"] < masked[sasrec] < printed_by["SASRec, S3-Rec's table"]
    assert plain.loc["Popularity", "among_99"] > plain.loc["ItemKNN, directed transitions", "among_99"]
    assert round(result["about"]["amazon-beauty-sequences, ties as published"]["rising"], 2) == 0.69


@pytest.mark.parametrize("name", ["pretraining_shop", "pretraining_movielens"])
def test_what_readme_says_of_pretraining(name):
    result = results.load(name)
    tests = {(t["a"], t["b"]): t for t in result["tests"] if t["group"] == "all"}
    for (a, b), test in tests.items():
        if b.startswith("from scratch"):
            assert not (test["difference"] > 0 and test["t_holm"] < 0.05), (a, b)
    dealt = tests["pretrained 0.1", "shuffled 0.1"], tests["pretrained 1.0", "shuffled 1.0"]
    if name == "pretraining_movielens":
        assert dealt[0]["t_holm"] < 0.05 and dealt[0]["difference"] > 0
    else:
        assert min(test["t_holm"] for test in dealt) > 0.05
    mean = pd.DataFrame(result["rows"]).groupby(["row", "share"])["ndcg@10"].mean()
    trained = [
        key for key in mean.index if key[0] in ("from scratch", "pretrained", "no mixup", "no contrast", "shuffled")
    ]
    best = mean["ItemKNN", 1.0] if name == "pretraining_shop" else mean["ItemKNN, recency", 1.0]
    closed = mean[["EASE, tuned", "iALS, tuned"]].droplevel("share")
    assert min(best, *closed) > mean[trained].max()
    chosen = {row["row"]: row["settings"] for row in result["rows"] if row.get("settings")}
    if name == "pretraining_movielens":
        assert mean.idxmax() == ("EASE, tuned", 1.0) and chosen["EASE, tuned"]["decay"] < 1
    else:
        assert chosen["EASE, tuned"]["decay"] == chosen["iALS, tuned"]["decay"] == 1
    cold = pd.DataFrame(result["rows"]).groupby("row")["hr@10 cold"].mean()
    assert cold["EASE + content, tuned"] <= 0.01 and cold["EASE, tuned"] == 0


def test_what_readme_says_of_transfer():
    result = results.load("transfer")
    for test in result["tests"]:
        if "pretrained" in test["a"] and ("from scratch" in test["b"] or "shuffled" in test["b"]):
            assert not (test["difference"] > 0 and test["t_holm"] < 0.05), test
    rows = pd.DataFrame(result["rows"]).query("target == 'Gift Cards' and share == 1.0")
    cold = rows.groupby("row")["hr@10 cold"].mean()
    assert cold["ids only"] == 0 and min(cold["pretrained"], cold["from scratch"]) > 0.05
    hits = pd.DataFrame(result["rows"]).groupby(["target", "row"])["hr@10"].max()
    reads = ["pretrained", "pretrained on shuffled texts", "from scratch"]
    for own in (hits[target] for target in ("Gift Cards", "Beauty")):
        solved = own[[title for title, *_ in SOLVED.values()]].max()
        counted = own[list(next_item.COUNTED.values())].max()
        assert min(solved, counted) > own[reads].max()


def test_what_readme_says_of_adaptation():
    found = adaptation.table(results.load("adaptation_shop"), steps=40)
    hits, tuned = found["hr@10"], ["prompt", "adapter", "lora", "last_block", "full"]
    assert min(hits["last_block"], hits["full"]) > hits["frozen"] + 0.015
    assert abs(hits["lora"] - hits["frozen"]) < 0.005 and hits["prompt"] < hits["frozen"]
    assert hits["frozen_long"] > hits[tuned].max() and hits["itemknn"] > 1.3 * hits[[*tuned, "frozen_long"]].max()
    assert min(hits["ease_tuned"], hits["ials_tuned"]) > hits["itemknn"] + 0.02
    steps, seconds = found["steps"], found["cpu_seconds_a_step"]
    assert steps["frozen_long"] == 1000 and 1000 * seconds["frozen_long"] < 20 * seconds[tuned].min()
    near = found["same_category_warm"]
    assert near["full"] < near["frozen"] - 0.05 and abs(near["lora"] - near["frozen"]) < 0.02
    assert (found["seeds"] == 3).all()


def test_what_readme_says_of_the_search_on_movielens():
    default, tuned = means("movielens_random", "recall@20"), means("movielens_budget", "recall@20")
    assert default["freedom"] - default["lightgcn"] > 0.02  # the lead of content with recommended settings ...
    assert tuned["lightgcn"] > max(
        tuned[name] for name in ("freedom", "lattice", "mgcn")
    )  # ... and with an equal search
    assert tuned["lightgcn"] - tuned["mgcn"] < 0.015 and tuned["bpr"] > tuned["vbpr"]
    assert not [run for run in results.load("movielens_budget")["meta"]["runs"] if "failed" in run]
    trials = pd.DataFrame(results.load("movielens_budget")["meta"]["trials"])
    assert trials.groupby("model").size().drop(["random", "mostpop"], errors="ignore").eq(4).all()


def test_what_readme_says_of_trained_features():
    rows = pd.DataFrame(results.load("frozen_features")["rows"])
    found = rows.groupby(["model", "features"])["recall@20"].agg(["mean", "std"]).unstack()
    gain, spread = found["mean"]["trained"] - found["mean"]["frozen"], found["std"].max(axis=1)
    assert (gain < spread).all() and len(gain) == 10 and (rows.groupby("model")["seed"].nunique() == 3).all()
    assert set(gain[gain < -spread].index) == {"mmgcn", "bm3", "lgmrec", "vbpr", "slmrec"}


def test_what_readme_says_of_tiktok():
    recall = means("benchmark_tiktok", "recall@20")
    printed = split_table().query("dataset == 'tiktok'").set_index("model")["recall"]
    assert (
        recall["mostpop"] > max(printed["bpr"], printed["vbpr"]) and 0 < printed["lightgcn"] - recall["mostpop"] < 0.006
    )
    assert recall["ials"] > max(recall.drop(["ials", "ials_content"]).max(), printed.max())
    assert recall["ials"] > recall["ease_content"] > recall["ease"]


def test_one_command_fills_a_file_that_several_made():
    rows = [{"model": m, "seed": s} for m, s in (("bpr", 0), ("bpr", 1), ("random", 0))]
    start = "python -m utils.benchmark accuracy --dataset x"
    meta = {"command": "last", "commands": [f"{start} --models bpr --seeds 0,1 --json f.json", "last"]}
    assert (
        results.whole_command({"meta": meta, "rows": rows}) == f"{start} --models random,bpr --seeds 0,1 --json f.json"
    )
    meta = {"command": f"{start} --seeds 7 --json f.json"}
    whole = f"{start} --seeds 0,1 --models random,bpr --json f.json"
    assert results.whole_command({"meta": meta, "rows": rows}) == whole


def test_what_notebook_06_says_of_the_stored_benchmark():
    shop, films, tiktok, baby = (means(name, "recall@20") for name in stored.BENCHMARKS)
    for recall in (shop, films, tiktok):
        assert set(recall.nlargest(2).index) == {"ials", "ials_content"}
    assert shop["ials_content"] - shop["ials"] > 0.005
    assert abs(films["ials_content"] - films["ials"]) < 0.001 and tiktok["ials_content"] < tiktok["ials"]
    assert min(baby["mgcn"], baby["freedom"], baby["lattice"]) > baby["ials"]


def test_what_patience_costs_and_loses():
    found = patience.rules(results.load("patience")["rows"])
    assert found.loc[10, "short"] > found.loc[30, "short"] and found["lost"].is_monotonic_decreasing
    assert found["epochs"].is_monotonic_increasing and found.loc[30, "epochs"] < 2.5 * found.loc[10, "epochs"]


def test_what_readme_says_of_the_ladder():
    summary = results.load("sticker_shop_ladder")["summary"]
    recall = {name: value["recall@20"][0] for name, value in summary["means"].items()}
    best = summary["best_multimodal"]
    plain = ["itemknn", "bpr", "lightgcn"]
    assert recall["random"] < recall["mostpop"] < min(recall[name] for name in plain)
    assert max(recall[name] for name in plain) < recall[best] < 0.7 * recall["oracle"]
    difference = {(d["left"], d["right"]): d for d in summary["differences"]}
    for name in plain:
        assert difference[best, name]["low"] > 0 and min(difference[best, name]["by_draw"]) > 0
    for modality in ("visual", "textual"):
        assert difference[best, f"{best} without {modality}"]["low"] > 0
    sound = difference[best, f"{best} without audio"]
    assert sound["low"] < 0 < sound["high"]  # the null result that README prints


@pytest.mark.parametrize("view", ["full", "among"])
def test_content_finds_cold_items_in_every_draw(view):
    for draw in results.load("sticker_shop_ladder")["cold"].values():
        assert draw["content kNN"][view] > 1.3 * max(draw["random"][view], draw["content kNN, shuffled"][view])
        assert np.isclose(draw["mostpop"]["full"], 0)


def test_a_run_of_older_code_is_marked(monkeypatch):
    today = stored.tables.code_hash("bpr")
    runs = [{"model": "bpr", "seed": 0, "code": today}, {"model": "mostpop", "seed": 0, "code": "0" * 16}]
    rows = [
        {"model": name, "seed": 0, "split": "test", "metric": "recall@20", "value": 0.25} for name in ("bpr", "mostpop")
    ]
    result = {"meta": {"runs": runs, "budget": 1}, "rows": rows}
    assert stored.made_by_older_code(result) == {"mostpop"}
    monkeypatch.setattr(stored.tables, "available", lambda: {"log": result})
    shown = stored.overview()["log, recommended settings"]
    assert shown["BPR-MF"] == "0.2500 (1)" and shown["Popularity"] == "0.2500 (1) †"


@pytest.mark.parametrize("name", ["adaptation_movielens", "adaptation_pictures"])
def test_what_readme_says_of_adaptation_on_films_and_pictures(name):
    hits = adaptation.table(results.load(name), steps=20)["hr@10"]
    reads = hits.drop([way for way in adaptation.OPPONENTS if way in hits and way != "content_knn"])
    assert reads.idxmax() == "frozen_long" and hits["itemknn"] > hits["frozen_long"]
    assert not {"full"} & set(hits.index), "say in README what the rows that were added show"
