"""Imputers against hand-computed values and dense matrices; each published trap; 100,000 items stay sparse."""

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.linalg import expm

from utils.challenges import imputation as imp
from utils.data.split import Split
from utils.errors import CourseError
from utils.features import Features
from utils.files import write_json
from utils.graphs import normalise
from utils.studies import missing_modalities as study

# five users, five items: 0-1 together three times, 0-2 twice, 1-2 once, 3-4 once
TAKEN = sp.csr_matrix(np.array([[1, 1, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 1, 0, 0], [0, 0, 0, 1, 1]]))


def features(matrix, mask=None, modality="visual"):
    matrix = np.asarray(matrix, dtype=np.float32)
    return Features(modality, matrix, [f"i{n}" for n in range(len(matrix))], mask)


def ring(n):
    rows = np.arange(n)
    return sp.csr_matrix((np.ones(2 * n), (np.tile(rows, 2), np.r_[(rows + 1) % n, (rows - 1) % n])), shape=(n, n))


def small_world(n_items=40, n_users=60, seed=0):
    rng = np.random.default_rng(seed)
    return sp.csr_matrix((rng.random((n_users, n_items)) < 0.12).astype(float))


# ---- graph ----


def test_graph_keeps_the_most_taken_together_and_nothing_else():
    one = imp.co_taken_graph(TAKEN, 1).toarray()
    assert one.argmax(1).tolist() == [1, 0, 0, 4, 3] and one.sum(1).tolist() == [1] * 5
    assert imp.co_taken_graph(TAKEN, 4).sum(1).ravel().tolist() == [[2, 2, 2, 1, 1]]  # no unrelated items


def test_graph_in_blocks_equals_brute_force(monkeypatch):
    taken = small_world()
    monkeypatch.setattr(imp, "BLOCK", 7)
    graph = imp.co_taken_graph(taken, 5)
    counts = (taken.T @ taken).toarray()
    np.fill_diagonal(counts, 0)
    for item, row in enumerate(counts):
        best = [n for n in np.lexsort((np.arange(len(row)), -row))[:5] if row[n] > 0]
        assert sorted(best) == graph[item].indices.tolist()


def test_trap_self_edge_and_zero_counts():
    own = imp.co_taken_graph(TAKEN, 2, self_edge=True)
    assert own.diagonal().tolist() == [1] * 5  # an item is taken together with itself most often
    assert imp.co_taken_graph(TAKEN, 2).diagonal().sum() == 0
    padded = imp.co_taken_graph(TAKEN, 3, zero_count=True)
    assert np.diff(padded.indptr).tolist() == [3] * 5 and padded.diagonal().sum() == 0
    assert (imp.co_taken_graph(TAKEN, 3) > padded).nnz == 0  # the true neighbours are still there


def test_homophily_by_hand_and_its_ends():
    graph = sp.csr_matrix(np.array([[0, 1, 0], [1, 0, 1], [0, 0, 0]], dtype=float))  # edges 0-1, 1-0, 1-2
    matrix = np.array([[1.0], [3.0], [2.0]])
    mu = (2 * 1 + 3 * 3 + 1 * 2) / 6  # ends: 0 twice, 1 three times, 2 once
    a, b, c = 1 - mu, 3 - mu, 2 - mu
    expected = (2 * a * b + b * c) / np.sqrt((a * a + 2 * b * b) * (b * b + a * a + c * c))
    assert imp.homophily(matrix, graph) == pytest.approx(expected)
    blocks = sp.block_diag([np.ones((3, 3)) - np.eye(3)] * 2)
    assert imp.homophily(np.repeat([[1.0], [5.0]], 3, 0), blocks) == pytest.approx(1)
    assert abs(imp.homophily(np.random.default_rng(0).normal(size=(500, 20)), ring(500))) < 0.05


# ---- imputers ----


@pytest.mark.parametrize("method", list(imp.IMPUTERS))
def test_every_imputer_fills_missing_rows_and_leaves_observed_ones(method):
    rng = np.random.default_rng(1)
    mask = rng.random(40) < 0.6
    feature = features(rng.normal(size=(40, 6)), mask)
    others = {"textual": features(rng.normal(size=(40, 4)), modality="textual")}
    graph = imp.co_taken_graph(small_world(), 5)
    filled = imp.impute(feature, method, graph, others, seed=3)
    assert np.array_equal(filled.matrix[mask], feature.matrix[mask])
    assert filled.mask.all() and np.isfinite(filled.matrix).all()
    assert filled.provenance["transforms"] == [f"imputed({method})"]
    assert method == "zeros" or np.abs(filled.matrix[~mask]).sum() > 0
    again = imp.impute(feature, method, graph, others, seed=3)
    assert np.array_equal(filled.matrix, again.matrix)


def test_the_hidden_vector_never_matters():
    """Trap 5: whatever stands in a missing row, no imputer reads it."""
    rng = np.random.default_rng(2)
    mask, matrix = rng.random(40) < 0.5, rng.normal(size=(40, 6))
    dirty = np.where(mask[:, None], matrix, 1e6)
    clean = np.where(mask[:, None], matrix, 0)
    others, graph = {"textual": features(rng.normal(size=(40, 4)))}, imp.co_taken_graph(small_world(), 5)
    for name, method in imp.IMPUTERS.items():
        options = {"graph": graph, "others": others, "seed": 0}
        assert np.allclose(method(dirty, mask, **options), method(clean, mask, **options)), name


def test_neighbours_by_hand_observed_and_published():
    graph = sp.csr_matrix(np.array([[0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=float))
    matrix = np.array([[9.0], [2.0], [4.0], [9.0]])
    mask = np.array([False, True, True, False])
    observed = imp.neighbours(matrix, mask, graph=graph)
    assert observed[0, 0] == pytest.approx(3)  # (2 + 4) / 2: item 3 is missing
    assert observed[3, 0] == pytest.approx(3)  # no neighbour: the global mean
    published = imp.neighbours_published(matrix, mask, graph=graph)
    assert published[0, 0] == pytest.approx(2) and published[3, 0] == 0  # (2 + 4 + 0) / 3
    shrunk = imp.neighbours(matrix * [[1], [5], [1], [1]], mask, graph=graph, shrink=2)
    assert shrunk[0, 0] == pytest.approx((14 + 2 * 7) / 4)


def test_published_mean_shrinks_with_the_missing_rate():
    taken, matrix = small_world(80, 200), np.full((80, 3), 5.0)
    graph = imp.co_taken_graph(taken, 10)
    sizes = []
    for share in (0.1, 0.5, 0.9):
        mask = np.random.default_rng(0).random(80) > share
        sizes.append(imp.neighbours_published(matrix * mask[:, None], mask, graph=graph)[~mask].mean())
        assert np.allclose(imp.neighbours(matrix * mask[:, None], mask, graph=graph), 5)
    assert 5 > sizes[0] > sizes[1] > sizes[2]


def test_multi_hop_on_a_path_becomes_a_straight_line():
    n = 7
    path = sp.diags([np.ones(n - 1), np.ones(n - 1)], [-1, 1], format="csr")
    matrix, mask = np.arange(n, dtype=float)[:, None], np.zeros(n, dtype=bool)
    mask[[0, -1]] = True
    filled = imp.multi_hop(matrix * mask[:, None], mask, graph=path, n_layers=300)
    assert np.allclose(filled, matrix, atol=1e-3)  # harmonic between two clamped ends
    near = imp.multi_hop(matrix * mask[:, None], mask, graph=path, n_layers=1)
    assert near[1, 0] == 0 and near[5, 0] == 6  # one step: what the observed end says, not half of it
    assert near[3, 0] == 3  # not reached: the mean


def test_multi_hop_as_published_is_the_clamped_symmetric_step():
    graph, rng = imp.co_taken_graph(small_world(), 5), np.random.default_rng(3)
    mask, matrix = rng.random(40) < 0.5, rng.normal(size=(40, 4))
    step, rows = normalise(graph).toarray(), matrix * mask[:, None]
    for _ in range(3):
        rows = step @ rows
        rows[mask] = matrix[mask]
    found = imp.multi_hop(matrix * mask[:, None], mask, graph=graph, n_layers=3, published=True)
    assert np.allclose(found, rows, atol=1e-5)


@pytest.mark.parametrize("kind", ["pagerank", "heat"])
def test_series_equals_the_dense_inverse_and_exponential(kind):
    graph = imp.co_taken_graph(small_world(), 5)
    walk = imp.walk_matrix(graph).toarray()
    eye = np.eye(len(walk))
    dense = 0.1 * np.linalg.inv(eye - 0.9 * walk) if kind == "pagerank" else expm(-5 * (eye - walk))
    assert np.allclose(imp.diffuse(walk, eye, imp.series(kind, 300 if kind == "pagerank" else 40)), dense, atol=1e-8)
    mask, matrix = np.arange(40) % 2 == 0, np.random.default_rng(4).normal(size=(40, 3))
    weights = dense[:, mask] / dense[:, mask].sum(1, keepdims=True)
    filled = imp.IMPUTERS[kind](matrix, mask, graph=graph, n_terms=300 if kind == "pagerank" else 40)
    assert np.allclose(filled[~mask], (weights @ matrix[mask])[~mask], atol=1e-5)


def test_trap_columns_that_sum_to_one_are_no_means():
    graph = imp.co_taken_graph(small_world(80, 200), 8)
    columns = imp.diffusion_matrix(graph, "pagerank", 10)
    rows = imp.diffusion_matrix(graph, "pagerank", 10, divide="row")
    assert np.allclose(columns.sum(0), 1) and np.allclose(rows.sum(1), 1)
    assert np.asarray(columns.sum(1)).max() > 1.5  # hub items are blown up
    assert max(np.diff(columns.tocsc().indptr)) == 10
    matrix, mask = np.full((80, 2), 5.0), np.ones(80, dtype=bool)
    mask[:8] = False
    assert np.allclose(imp.pagerank(matrix * mask[:, None], mask, graph=graph), 5)
    assert not np.allclose(imp.clamped(matrix * mask[:, None], mask, columns)[:8], 5, atol=0.5)


def test_cross_modal_learns_a_linear_map_and_chooses_little_penalty():
    rng = np.random.default_rng(5)
    text = rng.normal(size=(300, 8))
    text /= np.linalg.norm(text - text.mean(0), axis=1, keepdims=True)
    matrix = text @ rng.normal(size=(8, 5)) + 3
    mask = rng.random(300) < 0.5
    text_features = features(text, modality="textual")
    filled = imp.cross_modal(matrix, mask, others={"textual": text_features})
    found = study.reconstruction(matrix, filled, ~mask)
    assert found["mse"] < 0.1 and found["cosine"] > 0.9
    wrong = imp.cross_modal(matrix, mask, others={"textual": text_features.shuffled(0)})
    lost = study.reconstruction(matrix, wrong, ~mask)
    assert lost["cosine"] < 0.2 and lost["mse"] > 0.8  # the penalty falls back to the mean
    nothing = features(text, np.zeros(300, dtype=bool) | (np.arange(300) < 200), "textual")
    filled = imp.cross_modal(matrix, mask, others={"textual": nothing})
    alone = ~mask & (np.arange(300) >= 200)
    assert np.allclose(filled[alone], matrix[mask].mean(0), atol=1e-5)


def test_leave_one_out_in_closed_form_is_leave_one_out():
    """The penalty chosen is the one that brute force chooses."""
    rng = np.random.default_rng(6)
    text, noise = rng.normal(size=(24, 6)), rng.normal(size=(24, 2))
    matrix, mask = text @ rng.normal(size=(6, 2)) + noise, np.arange(24) < 18
    other, penalties = features(text, modality="textual"), (0.01, 0.3, 3.0)
    x = other.matrix - other.matrix.mean(0)
    x = x / np.linalg.norm(x, axis=1, keepdims=True)

    def predict(rows, at, penalty):
        a, b = x[rows] - x[rows].mean(0), matrix[rows] - matrix[rows].mean(0)
        weight = np.linalg.solve(a.T @ a + penalty * np.eye(6), a.T @ b)
        return (x[at] - x[rows].mean(0)) @ weight + matrix[rows].mean(0)

    def error(penalty):
        left = [np.setdiff1d(np.arange(18), [n]) for n in range(18)]
        return np.mean([(matrix[n] - predict(rows, n, penalty)) ** 2 for n, rows in enumerate(left)])

    best = min(penalties, key=error)
    filled = imp.cross_modal(matrix, mask, others={"textual": other}, penalties=penalties)
    assert np.allclose(filled[18:], predict(np.arange(18), np.arange(18, 24), best), atol=0.15)
    errors = [
        np.abs(
            imp.cross_modal(matrix, mask, others={"textual": other}, penalties=(p,))[18:]
            - predict(np.arange(18), np.arange(18, 24), p)
        ).max()
        for p in penalties
    ]
    assert max(errors) < 1e-4 and np.allclose(
        filled, imp.cross_modal(matrix, mask, others={"textual": other}, penalties=(best,))
    )


def test_a_hundred_thousand_items_stay_sparse_and_take_seconds():
    n_items, n_users = 100_000, 30_000
    rng = np.random.default_rng(7)
    users = np.repeat(np.arange(n_users), 8)
    items = (rng.random(len(users)) ** 1.5 * n_items).astype(int)
    taken = sp.csr_matrix((np.ones(len(users)), (users, items)), shape=(n_users, n_items))
    matrix, mask = rng.normal(size=(n_items, 8)).astype(np.float32), rng.random(n_items) < 0.5
    tracemalloc.start()
    graph = imp.co_taken_graph(taken, 10)
    for method in ("neighbours", "multi_hop", "pagerank", "heat"):
        filled = imp.IMPUTERS[method](matrix, mask, graph=graph, n_layers=4, n_terms=8)
        assert np.isfinite(filled).all()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.diff(graph.indptr).max() <= 10
    assert peak < 400e6, f"{peak / 1e6:.0f} MB"  # a dense matrix of items would be 40,000 MB


def test_bad_input_gets_one_sentence():
    feature, graph = features(np.ones((5, 2)), [True] * 4 + [False]), imp.co_taken_graph(TAKEN, 2)
    with pytest.raises(CourseError, match="multi_hop"):
        imp.impute(feature, "multihop", graph)
    with pytest.raises(CourseError, match="needs graph="):
        imp.impute(feature, "neighbours")
    with pytest.raises(CourseError, match="5 items"):
        imp.impute(feature, "neighbours", ring(7))
    with pytest.raises(CourseError, match="needs another modality"):
        imp.impute(feature, "cross_modal", others={"visual": feature})
    with pytest.raises(CourseError, match="nothing to impute from"):
        imp.mean(np.ones((3, 2)), np.zeros(3, dtype=bool))
    with pytest.raises(CourseError, match="at least one neighbour"):
        imp.co_taken_graph(TAKEN, 0)
    with pytest.raises(CourseError, match="hides 5"):
        study.hide(features(np.ones((5, 2))), 1.0)
    with pytest.raises(CourseError, match="heat"):
        imp.series("warmth", 3)


# ---- the study ----


def test_hide_takes_only_from_what_is_there():
    feature = features(np.arange(1, 41).reshape(20, 2), np.arange(20) < 16)
    seen, hidden = study.hide(feature, 0.5, seed=1)
    assert hidden.sum() == 8 and not hidden[16:].any() and not (seen.mask & hidden).any()
    assert np.all(seen.matrix[hidden] == 0)
    assert np.array_equal(hidden, study.hide(feature, 0.5, seed=1)[1])


def test_reconstruction_by_hand():
    truth = np.array([[1.0, 0], [0, 1], [-1, -1], [9, 9]])
    hidden = np.array([True, True, True, False])  # their mean is zero
    found = study.reconstruction(truth, truth * 0.5, hidden)
    assert found == pytest.approx({"mse": 0.25, "raw_mse": 4 / 6 * 0.25, "cosine": 1.0})
    assert study.reconstruction(truth + 7, truth * 0.5 + 7, hidden) == pytest.approx(found)
    best = study.reconstruction(truth, np.zeros((4, 2)), hidden)
    assert best["mse"] == 1 and best["cosine"] == 0  # good error, no information
    tall = np.random.default_rng(0).normal(size=(500, 30))
    constant = study.reconstruction(tall, np.ones((500, 30)), np.arange(500) < 250)
    assert constant["mse"] > 1.5 and abs(constant["cosine"]) < 0.005  # nor does any other constant know anything


def test_for_model_leaves_no_rounding_error_behind():
    rng = np.random.default_rng(8)
    seen = features(rng.normal(size=(50, 7)) + 1000, rng.random(50) < 0.5)
    ready = study.for_model(imp.impute(seen, "mean"), seen)
    assert np.all(ready.matrix[~seen.mask] == 0) and ready.mask.all()
    assert abs(ready.matrix[seen.mask].mean()) < 1e-3


def tiny_split():
    train = np.array([[0, 0], [0, 1], [1, 1], [1, 2], [2, 3]])
    valid = np.zeros((0, 2), dtype=np.int64)
    return Split(3, 5, train, valid, np.array([[0, 2], [1, 3], [2, 4]]), "random", np.array([4]))


def test_dropped_items_are_neither_learned_nor_recommended():
    split, kept = tiny_split(), np.array([True, True, True, False, False])
    dropped = study.drop_items(split, kept)
    assert dropped.train.tolist() == [[0, 0], [0, 1], [1, 1], [1, 2]] and dropped.test.tolist() == [[0, 2]]
    assert dropped.cold_items.tolist() == [3, 4] and dropped.n_items == 5

    class Model:
        def score(self, user_ids):
            return np.tile(np.arange(5.0), (len(user_ids), 1))

    scores = study.dropped_scores(Model(), dropped, kept)
    assert np.isneginf(scores[:, 3:]).all()
    assert scores[2, :3].tolist() == [1, 2, 1]  # user 2 lost everything: popularity of what is left
    found = study.both_tests(scores, split, kept, top_k=2)
    assert found["lost"] == 0 and found["kept"] == 1 and found["all"] == pytest.approx(1 / 3)
    with pytest.raises(CourseError, match="no training interaction"):
        study.drop_items(split, np.zeros(5, dtype=bool))


def test_exposure_by_hand():
    lists, group = np.array([[0, 1, 2], [0, 3, -1]]), np.array([True, False, False, False])
    found = study.exposure(lists, group, np.array([[0, 0], [1, 1], [1, 2], [2, 3]]))
    assert found == pytest.approx({"shown": 0.4, "wanted": 0.25, "ratio": 1.6})


def test_controls_of_the_notebook():
    feature = features(np.arange(12).reshape(6, 2), [True, True, False, True, False, False])
    assert (
        study.indicator(feature).matrix.ravel().tolist() == [1, 1, -1, 1, -1, -1]
        and study.indicator(feature).mask.all()
    )
    wrong = study.misplaced(feature, 1)
    assert np.array_equal(wrong.mask, feature.mask)
    assert sorted(map(tuple, wrong.matrix)) == sorted(map(tuple, feature.matrix))
    log = study.random_log(300, per_user=4)
    assert log.shape == (100, 300) and log.max() == 1 and 300 < log.nnz <= 400


def test_downstream_and_dropping_on_a_small_log():
    rng = np.random.default_rng(9)
    kinds = rng.integers(0, 3, 60)
    pairs = [(u, i) for u in range(80) for i in rng.choice(np.flatnonzero(kinds == u % 3), 8, replace=False)]
    pairs = np.array(pairs, dtype=np.int64)
    part = np.arange(len(pairs)) % 8
    split = Split(80, 60, pairs[part > 1], pairs[part == 0], pairs[part == 1], "random", np.array([], dtype=np.int64))
    text = features(np.eye(3)[kinds] + 0.1 * rng.normal(size=(60, 3)), modality="textual")
    graph = imp.co_taken_graph(split.matrix(), 5)
    rows = study.downstream(
        "itemknn_content",
        split,
        text,
        graph,
        {},
        share=0.5,
        methods=("mean", "multi_hop"),
        controls=("multi_hop",),
        top_k=5,
    )
    found = {(row["method"], row["vectors"]): row for row in rows}
    assert list(found) == [("mean", "own"), ("multi_hop", "own"), ("multi_hop", "misplaced")]
    assert found[("multi_hop", "own")]["recall_hidden"] > found[("mean", "own")]["recall_hidden"]
    seen, _ = study.hide(text, 0.5)
    table, scorers = study.drop_or_impute("vbpr", split, seen, graph, {}, methods=("mean",), top_k=5, n_epochs=2)
    assert list(table.index) == list(scorers) == ["BPR, dropped", "BPR, all kept", "vbpr, dropped", "vbpr, mean"]
    assert table.loc["vbpr, dropped", "lost"] == 0 and table.loc["vbpr, dropped", "coverage"] <= 0.5


def test_a_stored_study_that_was_interrupted_is_read(tmp_path):
    path = tmp_path / "study.json"
    key = {"dataset": "films", "fingerprint": "abc", "seeds": 3}
    rows = [{"seed": s, "neighbours": 5, "visual": 0.1 + 0.2 * s} for s in (0, 1)]
    about = {**key, "command": "python", "commit": "abc", "machine": "one"}
    write_json(path, {"meta": about, "done": {}, "homophily": rows})
    found = study.stored_result(path)
    assert found["homophily"].loc[5, "visual"] == pytest.approx(0.2) and found["drop"].empty
    with pytest.raises(CourseError, match="missing in data/results"):
        study.stored_result(tmp_path / "none.json")


@pytest.mark.skipif(not study.RESULT.is_file(), reason="the stored study has not been run")
def test_the_stored_study_has_every_table():
    found = study.stored_result()
    assert found["command"].startswith("python -m utils.lab study missing_modalities")
    assert set(found["reconstruction"].index) == set(imp.IMPUTERS)
    if not found["drop"].empty:  # the longest part comes last, and may have been interrupted
        assert found["drop"].loc["vbpr, dropped", "lost"] == 0
    assert abs(found["reconstruction"].loc["mean", ("centred cosine", "textual")]) < 0.05
