"""The fair study by hand and by brute force, and a leaderboard that catches a leak."""

import json

import numpy as np
import pandas as pd
import pytest

from utils.data import Split
from utils.errors import CourseError
from utils.evaluation import leaderboard as lb
from utils.plots import fair as plots_fair
from utils.studies import fair_evaluation as fs


def toy(n_users=400, n_items=60, per_user=14, seed=0):
    """Users of two tastes and a popular head; train, valid and test drawn from one hat."""
    draw = np.random.default_rng(seed)
    popular = draw.gumbel(size=(n_users, n_items)) + np.linspace(2, 0, n_items)
    popular += 1.5 * ((np.arange(n_items) % 2) == (np.arange(n_users)[:, None] % 2))
    items = draw.permuted(np.argsort(-popular, axis=1)[:, :per_user], axis=1)
    users = np.repeat(np.arange(n_users)[:, None], per_user, axis=1)
    pairs = np.stack([users, items], axis=-1)
    parts = [pairs[:, :10].reshape(-1, 2), pairs[:, 10:12].reshape(-1, 2), pairs[:, 12:].reshape(-1, 2)]
    return Split(n_users, n_items, *parts, strategy="random", cold_items=np.zeros(0, dtype=np.int64))


@pytest.fixture(scope="module")
def split():
    return toy()


@pytest.fixture(scope="module")
def board(split):
    runs = {name: [fs.run_once(name, split, None, top_k=5)] for name in ("mostpop", "itemknn")}
    # the cutoff of the toy: five of sixty items
    return lambda: lb.Board(split, None, runs, budget=3, metric="recall@5")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(fs, "LOOP", {})


def neighbours(split, features=None, shrink=5.0):
    """An honest entry: item-item cosine of the train part."""
    history = split.matrix().toarray()
    near = history.T @ history
    norm = np.sqrt(np.diag(near))
    near = near / (norm[:, None] * norm + shrink)
    np.fill_diagonal(near, 0)
    return lambda user_ids: history[user_ids] @ near


def plus(leak, size=100.0):
    """The honest entry with a matrix added: 1 where it cheats."""
    return lambda split, features=None, **settings: neighbours(split)(np.arange(split.n_users)) + size * leak


# ---- the study ----


def test_search_gives_the_recommended_settings_first_and_the_same_budget(split):
    runs = fs.search(["mostpop", "itemknn"], split, None, budget=3, top_k=5)
    frame = fs.table(runs, "recall@5")
    assert frame["model"].tolist() == ["mostpop"] + ["itemknn"] * 3 and frame["trial"].tolist() == [0, 0, 1, 2]
    assert frame["settings"][1] == "k 100, shrink 20.0" and frame["settings"].nunique() == 4
    assert fs.written({"k": 10, "modality_weights": {"visual": 0.2, "audio": 0.5}}) == "k 10, v.2/a.5"
    assert fs.written({"modality_weights": None}) == "weights None"
    with pytest.raises(CourseError, match="itemknn"):
        fs.search(["itemkn"], split, None, 1)


def test_choose_averages_seeds_and_reads_only_the_column_it_is_given():
    frame = pd.DataFrame(
        {
            "model": ["a"] * 4 + ["b"],
            "trial": [0, 0, 1, 1, 0],
            "valid": [0.9, 0.1, 0.6, 0.6, 0.2],
            "test": [1, 1, 0, 0, 1],
        }
    )
    assert fs.choose(frame).to_dict() == {"a": 1, "b": 0}
    assert fs.choose(frame, "test").to_dict() == {"a": 0, "b": 0}


def test_choosing_on_half_the_test_users_flatters_and_a_fixed_candidate_does_not():
    values = np.random.default_rng(0).random((30, 200))  # thirty candidates that do not differ
    found = fs.half_selection(values, valid=np.arange(30), n_draws=400)
    assert found.loc["test half", "flattery"] > 0.05
    assert abs(found.loc["first", "flattery"]) < 0.01 and abs(found.loc["validation", "flattery"]) < 0.01
    assert found.loc["test half", "honest"] == pytest.approx(0.5, abs=0.02)
    with pytest.raises(CourseError, match="four"):
        fs.half_selection(np.ones((2, 3)))


def test_full_ranks_by_hand():
    split = Split(1, 6, np.array([[0, 0]]), np.array([[0, 1]]), np.array([[0, 2]]), "random", np.zeros(0, dtype=int))
    rank, n_items = fs.full_ranks(np.array([[9.0, 8, 5, 7, 5, 1]]), split)
    assert rank == pytest.approx([1 + 1 + 0.5]) and n_items == [4]  # item 3 above, item 4 ties; 0 and 1 are known


def test_chance_in_a_sample_against_drawing_it():
    draw = np.random.default_rng(1)
    others = np.arange(49)  # places of the 49 competitors, 12 of them better than the item on rank 13
    hits = [(draw.choice(others, 20, replace=False) < 12).sum() < 5 for _ in range(4000)]
    assert fs.sampled_chance(13, 50, 20, 5) == pytest.approx(np.mean(hits), abs=0.025)
    assert fs.sampled_chance(1, 50, 20, 1) == 1.0 and fs.sampled_chance(50, 50, 49, 49) == 0.0
    assert fs.sampled_chance([1, 7], 30, 99, 5).tolist() == [1.0, 0.0]  # a sample of everything is the full ranking


def test_sampling_flatters_and_its_wide_twin_is_a_full_ranking(split):
    run = fs.run_once("itemknn", split, None, top_k=5)
    rates = fs.hit_rates(run.scores, split, (9, 30), top_k=3)
    assert rates["all items"] < rates["1 + 30"] < rates["1 + 9"]
    assert list(rates.index)[-1].startswith("all items, top ")


def test_winners_against_all_draws():
    values = pd.DataFrame({"a": [0.3, 0.5], "b": [0.4, 0.5], "c": [0.1, np.nan]})
    found = fs.winners(values)
    # (a, b): (.3,.4) b, (.3,.5) b, (.5,.4) a, (.5,.5) shared
    assert found.to_dict() == pytest.approx({"b": 2.5 / 4, "a": 1.5 / 4, "c": 0.0})
    with pytest.raises(CourseError, match="no run"):
        fs.winners(pd.DataFrame({"a": [1.0], "b": [np.nan]}))


def test_detectable_difference_has_the_power_it_says():
    draw = np.random.default_rng(2)
    size = fs.detectable(draw.normal(size=100))
    from scipy.stats import ttest_1samp

    found = [ttest_1samp(draw.normal(size, 1, 100), 0).pvalue < 0.05 for _ in range(500)]
    assert 0.7 < np.mean(found) < 0.9


def test_energy_is_seconds_times_watts():
    assert fs.watt_hours(7200, 20) == pytest.approx(40)


def test_over_seeds_trains_nothing_twice_and_untrained_models_once(split, monkeypatch):
    runs = fs.search(["itemknn"], split, None, 2, top_k=5)
    found = fs.over_seeds(runs, {"itemknn": 1}, split, None, [0, 1, 2], top_k=5)
    assert found["itemknn"] == [runs[1]]
    made = []
    monkeypatch.setattr(fs, "run_once", lambda *a: made.append(a) or fs.Run(a[0], a[4], a[3], {}, *[None] * 3, 0.0))
    first = fs.Run("bpr", 0, 0, {"lr": 0.01}, None, None, None, 0.0)
    before = fs.Run("bpr", 0, 1, {"lr": 0.01}, None, None, None, 0.0)
    found = fs.over_seeds([first], {"bpr": 0}, split, None, [0, 1, 2], reuse={"bpr": [before]})
    assert found["bpr"][:2] == [first, before] and len(made) == 1 and made[0][3:6] == (2, 0, {"lr": 0.01})


def test_a_tuned_model_among_blind_rivals():
    frame = pd.DataFrame(
        {"model": ["a", "a", "b", "b", "pop"], "trial": [0, 1, 0, 1, 0], "test": [0.1, 0.3, 0.2, 0.4, 0.9]}
    )
    found = fs.wins_if_only_own_is_tuned(frame, {"a": 1, "b": 1, "pop": 0})
    assert found.to_dict() == {"a": 0.5, "b": 1.0}  # popularity has nothing to tune


def test_reseeding_by_hand():
    values = {0: (0.1, 0.5), 1: (0.3, 0.2), 2: (0.2, 0.2)}  # seed: validation, test
    rows = [("d", "m", s, p, "recall@20", v) for s, two in values.items() for p, v in zip(("valid", "test"), two)]
    rows = pd.DataFrame(rows, columns=["dataset", "model", "seed", "split", "metric", "value"])
    # pairs of seeds (0,1) -> 1, (0,2) -> 2, (1,2) -> 1: always .2, and the mean is .3
    assert fs.reseeding(rows, "d", 2).to_dict() == pytest.approx({"m": -0.1})
    assert fs.reseeding(rows, "d", 4).empty


# ---- stored results ----


def result(values, tests=()):
    rows = [
        {"model": m, "seed": s, "split": p, "metric": k, "value": v + (p == "valid")}
        for (m, s, k), v in values.items()
        for p in ("valid", "test")
    ]
    return json.dumps({"meta": {}, "rows": rows, "tests": list(tests)})


def test_stored_results_cope_with_what_is_missing_or_being_written(tmp_path):
    (tmp_path / "one.json").write_text(
        result({("bpr", 0, "recall@20"): 0.2, ("bpr", 1, "recall@20"): 0.4, ("vbpr", 0, "recall@20"): 0.5})
    )
    (tmp_path / "half.json").write_text('{"meta": {}, "rows": [')
    files = {"One": "one", "Half": "half", "None": "absent"}
    rows = fs.stored(files, tmp_path)
    assert rows["dataset"].unique().tolist() == ["One"]
    mean = fs.means(rows, ["recall@20", "aplt@20"])
    assert mean.loc[("One", "bpr"), "recall@20"] == pytest.approx(0.3) and mean.loc[("One", "bpr"), "n_seeds"] == 2
    assert mean["aplt@20"].isna().all()
    two = fs.best_two(rows).loc["One"]
    assert (two["best"], two["second"], two["seeds"]) == ("vbpr", "bpr", 1) and two["gap"] == pytest.approx(0.2)
    assert fs.stored_tests(files, folder=tmp_path).empty
    assert fs.taus(rows, ["aplt@20"]).loc["One"].isna().any()  # two models have no order
    with pytest.raises(CourseError, match="no stored benchmark"):
        fs.stored({"None": "absent"}, tmp_path)


def searched(folder, name, values, trials, fingerprint="f"):
    rows = [{"model": m, "seed": s, "split": "test", "metric": "recall@20", "value": v} for (m, s), v in values.items()]
    meta = {"fingerprint": fingerprint, "strategy": "random", "trials": trials}
    (folder / f"{name}.json").write_text(json.dumps({"meta": meta, "rows": rows}), encoding="utf-8")


def test_the_gain_of_a_stored_search_by_hand(tmp_path):
    lines = [("bpr", 0.1, 0.30), ("bpr", 0.2, 0.35), ("bpr", 0.3, 0.10), ("vbpr", 0.1, 0.50), ("vbpr", 0.9, 0.20)]
    trials = [{"model": m, "settings": {"reg": reg}, "recall@20": v} for m, reg, v in lines]
    # seed 2 of bpr has no counterpart, and lightgcn no line at all
    searched(tmp_path, "plain", {("bpr", 0): 0.2, ("bpr", 1): 0.3, ("bpr", 2): 0.9, ("vbpr", 0): 0.4}, [])
    searched(tmp_path, "tuned", {("bpr", 0): 0.4, ("bpr", 1): 0.3, ("vbpr", 0): 0.4, ("lightgcn", 0): 0.7}, trials)
    found = fs.tuning("plain", "tuned", folder=tmp_path)
    assert list(found.index) == ["bpr", "vbpr"]
    bpr, vbpr = found.loc["bpr"], found.loc["vbpr"]
    assert (bpr["trials"], bpr["seeds"], bpr["chosen"]) == (3, 2, "reg 0.2")
    assert bpr["grid, valid"] == pytest.approx(0.225) and bpr["best, valid"] == 0.35
    assert bpr["recommended"] == pytest.approx(0.25) and bpr["gain"] == pytest.approx(0.1)
    assert bpr["spread"] == pytest.approx(np.std([0.2, 0.3], ddof=1))
    assert vbpr["chosen"] == "recommended" and vbpr["gain"] == 0
    searched(tmp_path, "other", {("bpr", 0): 0.4}, trials, fingerprint="g")
    with pytest.raises(CourseError, match="different data"):
        fs.tuning("plain", "other", folder=tmp_path)
    searched(tmp_path, "empty", {("lightgcn", 0): 0.4}, trials)
    with pytest.raises(CourseError, match="share no model"):
        fs.tuning("plain", "empty", folder=tmp_path)


def test_who_is_ahead_of_the_closed_form_needs_the_test_and_the_spread(tmp_path):
    seeds = {"mgcn": (0.30, 0.32), "lattice": (0.20, 0.40), "bm3": (0.10, 0.11), "vbpr": (0.25, 0.26)}
    values = {(m, s, "recall@20"): v for m, own in seeds.items() for s, v in enumerate(own)}
    about = {"b": "ease_content", "metric": "recall@20", "low": 0, "high": 0, "t_p": 0, "n_users": 9}
    lines = [("mgcn", 0.05, 0.01), ("lattice", 0.05, 0.01), ("bm3", -0.15, 0.001), ("vbpr", 0.01, 0.2)]
    tests = [about | {"a": a, "difference": d, "t_holm": p} for a, d, p in lines]
    content = json.loads(result(values)) | {"closed_form": tests}
    (tmp_path / "one.json").write_text(json.dumps(content), encoding="utf-8")
    found = fs.against_closed_form({"One": "one"}, folder=tmp_path).set_index("a")
    assert found["spread"]["mgcn"] == pytest.approx(np.std([0.30, 0.32], ddof=1))
    assert found["ahead"].to_dict() == {"mgcn": True, "lattice": False, "bm3": False, "vbpr": False}
    assert found["behind"].to_dict() == {"mgcn": False, "lattice": False, "bm3": True, "vbpr": False}
    assert fs.against_closed_form({"One": "one"}, "ndcg@20", tmp_path).empty


def test_seed_tau_by_hand():
    values = {("a", 0): 1, ("b", 0): 2, ("c", 0): 3, ("a", 1): 2, ("b", 1): 1, ("c", 1): 3}
    rows = pd.DataFrame([(m, s, "test", "recall@20", v) for (m, s), v in values.items()])
    rows.columns = ["model", "seed", "split", "metric", "value"]
    assert fs.seed_tau(rows) == pytest.approx(1 / 3)  # one of three pairs is turned
    assert np.isnan(fs.seed_tau(rows[rows["seed"] == 0]))


def test_the_course_has_stored_results_that_can_be_read():
    rows = fs.stored()
    assert "Sticker Shop" in set(rows["dataset"])
    assert fs.taus(rows, ["ndcg@20", "aplt@20"]).loc["Sticker Shop", "ndcg@20"] > 0.5
    assert not {"mostpop", "random", "itemknn"} & set(fs.trained_only(rows)["model"])


# ---- the leaderboard ----


def parts_of(split, *names):
    return sum(split.matrix(name) for name in names).toarray()


def test_an_honest_entry_is_listed_and_gets_a_blind_split(split, board):
    seen = {}

    def build(given, features, shrink=5.0):
        seen["test"], seen["shrink"] = len(given.test), shrink
        with pytest.raises(ValueError, match="read-only"):
            given.train[0, 0] = 1
        return neighbours(given, features, shrink)

    entry = board().enter("mine", build, [{"shrink": 0.0}, {"shrink": 50.0}])
    assert entry.status == "listed" and not entry.reasons, entry
    assert seen["test"] == 0 and set(entry.settings) == {"shrink"} and len(split.test)
    assert all(abs(z) < lb.Z_LIMIT for z in entry.checks.values())


def test_a_scorer_that_looks_at_the_test_part_is_flagged(split, board):
    entry = board().enter("leak", plus(parts_of(split, "test")))
    assert entry.status == "flagged" and any("seen the test part" in reason for reason in entry.reasons)
    assert any("explain it first" in reason for reason in entry.reasons)


def test_a_small_leak_of_the_test_part_is_flagged_by_the_exchange(split, board):
    part = parts_of(split, "test") * (np.random.default_rng(0).random((split.n_users, split.n_items)) < 0.4)
    entry = board().enter("small leak", plus(part))
    assert entry.status == "flagged" and entry.checks["exchange, standard errors"] > lb.Z_LIMIT


def test_learning_and_hiding_the_validation_part_are_flagged(split, board):
    learned = board().enter("learned", plus(parts_of(split, "valid")))
    assert any("learned the validation" in reason for reason in learned.reasons)
    hidden = board().enter("hidden", plus(-1.0 * parts_of(split, "valid"), np.float32(1e9)))
    assert hidden.checks["exchange, standard errors"] > 1  # its validation figure is zero, it cannot be chosen


def test_leaking_lifts_a_share_of_the_pairs(split):
    cheat = lb.leaking(neighbours, split, 0.5)(split)
    held = split.test
    on_top = cheat[held[:, 0], held[:, 1]] == cheat.max()
    assert 0.4 < on_top.mean() < 0.6 and np.isclose((cheat == cheat.max()).sum(), on_top.sum())


def test_a_leak_of_both_parts_is_found_by_the_new_draw(split, board):
    entry = board().enter("both", plus(parts_of(split, "valid", "test")))
    assert abs(entry.checks["exchange, standard errors"]) < lb.Z_LIMIT
    assert any("new draw" in reason for reason in entry.reasons)


def test_a_scorer_that_knows_the_whole_log_is_too_good(split, board):
    everything = parts_of(split, "train", "valid", "test")

    def build(given, features):
        return everything - 2 * given.matrix().toarray()  # whatever is not given is the answer

    entry = board().enter("oracle", build)
    assert entry.status == "flagged" and any("explain it first" in reason for reason in entry.reasons)


@pytest.mark.parametrize(
    ("scorer", "sentence"),
    [
        (lambda s: np.zeros((s.n_users, s.n_items + 1)), "have shape"),
        (lambda s: lambda ids: np.zeros(s.n_items), "have shape"),
        (lambda s: np.full((s.n_users, s.n_items), np.nan), "is NaN"),
        (lambda s: np.full((s.n_users, s.n_items), np.inf), "plus infinity"),
        (lambda s: np.full((s.n_users, s.n_items), -np.inf), "fewer than 5 items"),
        (lambda s: lambda ids: np.random.default_rng().random((len(ids), s.n_items)), "asked twice"),
        (lambda s: lambda ids: np.arange(len(ids) * s.n_items, dtype=float).reshape(len(ids), -1), "who else is asked"),
        (lambda s: lambda ids: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_its_reason(board, scorer, sentence):
    entry = board().enter("bad", lambda split, features: scorer(split))
    assert entry.status == "refused" and sentence in entry.reasons[0] and np.isnan(entry.test)


def test_too_many_settings_are_refused_and_a_stub_is_not_an_entry(board):
    one = board()
    assert "may try 1 to 3" in one.enter("greedy", neighbours, [{"shrink": s} for s in range(4)]).reasons[0]
    assert one.enter("stub", lambda split, features: None).status == "not tried yet"
    assert list(one.entries) == ["greedy"]


def test_train_items_and_equal_scores_are_noted_and_bring_nothing(split, board):
    owns = board().enter("owns", plus(parts_of(split, "train")))
    plain = board().enter("plain", neighbours)
    assert owns.status == "listed" and owns.test == plain.test and any("masked" in note for note in owns.notes)
    same = board().enter("same", lambda given, f: np.tile(given.matrix().sum(axis=0), (given.n_users, 1)))
    assert any("popularity list" in note for note in same.notes)


def test_the_table_ranks_by_validation_and_corrects_for_every_entry(split, board):
    one = board()
    one.enter("mine", neighbours)
    alone = one.table().loc["mine", "p_holm"]
    one.enter("leak", plus(parts_of(split, "test")))
    one.enter("mine", neighbours)  # the same name again is a second question
    table = one.table()
    assert table["valid"].is_monotonic_decreasing and {"mine", "mine'", "leak"} < set(table.index)
    assert table.loc["mine", "p_holm"] >= alone and table.loc["itemknn", "status"] == "baseline"
    with pytest.raises(CourseError, match="mostpop"):
        lb.Board(split, None, {"itemknn": []})


# ---- plots ----


def test_plots_show_what_they_are_given():
    trials = pd.DataFrame({"model": ["bpr", "bpr", "vbpr"], "trial": [0, 1, 0], "test": [0.3, 0.2, 0.25]})
    axis = plots_fair.trial_dots(trials, {"bpr": 1, "vbpr": 0}, title="t").axes[0]
    filled = [line for line in axis.lines if line.get_markersize() == 16 and line.get_markerfacecolor() != "none"]
    assert [float(line.get_xdata()[0]) for line in filled] == [0.2, 0.25]
    axis = plots_fair.sample_curve(200, (99, 20), fs.sampled_chance).axes[0]
    assert len(axis.lines) == 3 and np.asarray(axis.lines[0].get_ydata()).sum() == 10
    flat = pd.DataFrame({"reported": [0.36, 0.35], "honest": [0.35, 0.35]}, index=["test", "validation"])
    assert "+0.0100" in [text.get_text() for text in plots_fair.choice_dots(flat).axes[0].texts]
    assert len(plots_fair.leak_lines(pd.DataFrame({"a": [0, 5.0]}, index=[0, 1.0]), 4.0).axes[0].lines) == 2
    with pytest.raises(CourseError, match="no trial"):
        plots_fair.trial_dots(trials[:0], {})
