"""EASE, EASE with content and iALS against their equations, solved one item or one user at a time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from training_helpers import make_features, make_split, planted

from utils.errors import CourseError
from utils.evaluation import evaluate_cold
from utils.models import make_model
from utils.models.ease import closed_form

TRAIN = [(0, 0), (0, 1), (1, 1), (1, 2), (1, 3), (2, 0), (2, 3), (3, 4), (3, 1), (3, 0)]
SPLIT = make_split(TRAIN, test=[(0, 5)], n_users=4, n_items=7)  # items 5 and 6 are cold
CLICKS = SPLIT.matrix("train").toarray().astype(float)
EACH = len(TRAIN) / 5  # interactions of a warm item
RNG = np.random.default_rng(0)
FEATURES = {
    "visual": make_features("visual", RNG.normal(size=(7, 5))),
    "textual": make_features("textual", RNG.normal(size=(7, 4)), [True, True, False, True, True, True, False]),
}


def scores_of(model) -> np.ndarray:
    return model.score(np.arange(model.n_users)).numpy()


def column_by_column(rows: np.ndarray, reg: float) -> np.ndarray:
    """B that predicts each column of ``rows`` (n, m) by ridge regression on all the others."""
    m = rows.shape[1]
    weights = np.zeros((m, m))
    for item in range(m):
        others = [j for j in range(m) if j != item]
        stacked = np.vstack([rows[:, others], np.sqrt(reg) * np.eye(m - 1)])
        target = np.concatenate([rows[:, item], np.zeros(m - 1)])
        weights[others, item] = np.linalg.lstsq(stacked, target, rcond=None)[0]
    return weights


def centred(feature) -> np.ndarray:
    x = feature.matrix.astype(float) - feature.matrix[feature.mask].astype(float).mean(0)
    return x / np.linalg.norm(x, axis=1, keepdims=True) * feature.mask[:, None]


@pytest.mark.parametrize("reg", [0.3, 7.0])
def test_ease_is_a_ridge_regression_of_each_item_on_the_others(reg):
    expected = CLICKS @ column_by_column(CLICKS, reg * EACH)
    assert np.allclose(scores_of(make_model("ease", SPLIT, reg=reg)), expected, atol=1e-6)
    assert not scores_of(make_model("ease", SPLIT, reg=reg))[:, 5:].any()  # cold items


def test_the_closed_form_in_blocks_equals_the_plain_inverse():
    rows = np.random.default_rng(2).normal(size=(60, 1100))  # more than one block of 1024
    inverse = np.linalg.inv(rows.T @ rows + 3.0 * np.eye(1100))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    assert np.allclose(closed_form(rows.T @ rows, 3.0), expected, atol=1e-5)


@pytest.mark.parametrize("weight", [0.2, 5.0])
def test_stacked_content_is_more_rows_of_the_regression(weight):
    rows = [CLICKS, *(np.sqrt(weight * EACH / 2) * centred(feature).T for feature in FEATURES.values())]
    model = make_model("ease_content", SPLIT, FEATURES, fusion="stacked", reg=2.0, weight=weight)
    assert np.allclose(scores_of(model), CLICKS @ column_by_column(np.vstack(rows), 2.0 * EACH), atol=1e-5)
    assert scores_of(model)[:, 5:].any(0).all()  # cold items are ranked by their content


def test_added_content_is_a_second_regression():
    content = np.vstack([np.sqrt(1 / 2) * centred(feature).T for feature in FEATURES.values()])
    expected = 0.7 * column_by_column(CLICKS, 2.0 * EACH) + 0.3 * column_by_column(content, 0.5)
    model = make_model("ease_content", SPLIT, FEATURES, fusion="added", reg=2.0, reg_content=0.5, share=0.3)
    assert np.allclose(scores_of(model), CLICKS @ expected, atol=1e-5)
    assert scores_of(model)[:, 5:].any(0).all()


@pytest.mark.parametrize("nothing", [{"fusion": "stacked", "weight": 0.0}, {"fusion": "added", "share": 0.0}])
def test_content_that_counts_nothing_leaves_ease(nothing):
    model = make_model("ease_content", SPLIT, FEATURES, reg=2.0, **nothing)
    assert np.allclose(scores_of(model), scores_of(make_model("ease", SPLIT, reg=2.0)), atol=1e-6)


def test_content_from_given_graphs_alone():
    rng = np.random.default_rng(4)
    given = {m: sp.csr_matrix(rng.random((7, 7)) * (rng.random((7, 7)) < 0.5)) for m in ("visual", "textual")}
    rows = [CLICKS]
    for graph in given.values():
        dense = graph.toarray()
        dense = dense / np.maximum(np.linalg.norm(dense, axis=1, keepdims=True), 1e-12)
        rows.append(np.sqrt(3.0 * EACH / 2) * dense.T)
    model = make_model("ease_content", SPLIT, item_graphs=given, reg=2.0, weight=3.0)
    assert np.allclose(scores_of(model), CLICKS @ column_by_column(np.vstack(rows), 2.0 * EACH), atol=1e-5)


@pytest.mark.parametrize("fusion", ["stacked", "added"])
def test_content_ranks_cold_items_and_shuffled_content_does_not(fusion):
    split, features, _ = planted(300, 150, n_topics=8, cold=30)
    order = np.random.default_rng(1).permutation(150)
    other = {m: make_features(m, f.matrix[order]) for m, f in features.items()}
    real, fake = (make_model("ease_content", split, f, fusion=fusion) for f in (features, other))
    cold = [evaluate_cold(model, split, top_k=5) for model in (real, fake, make_model("random", split))]
    assert cold[0].among["recall@5"] > 1.5 * max(cold[1].among["recall@5"], cold[2].among["recall@5"])
    lists = [np.argsort(-scores_of(model), axis=1)[:, :20] for model in (real, fake)]
    assert (lists[0] != lists[1]).mean() > 0.5


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: make_model("ease", SPLIT, max_items=6), r"ease: 7 items are more than max_items = 6.*GB.*minutes"),
        (lambda: make_model("ease_content", SPLIT, FEATURES, max_items=6), "ease_content: 7 items are more.*itemknn"),
        (lambda: make_model("ease", SPLIT, reg=0.0), "reg is 0.0, but only a number above 0"),
        (lambda: make_model("ease_content", SPLIT, FEATURES, fusion="stack"), "stacked"),
        (lambda: make_model("ease_content", SPLIT), "got no features"),
        (lambda: make_model("ials", SPLIT, reg=0.0), "reg is 0.0, but only a number above 0"),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(CourseError, match=words):
        call()


def test_an_inverse_that_does_not_exist_is_named():
    with pytest.raises(CourseError, match="too small for an inverse"):
        closed_form(-np.eye(3), 1e-3)


@pytest.mark.parametrize("dim", [1, 2, 5])  # fewer and more dimensions than interactions of a row
@pytest.mark.parametrize("nu", [0.0, 1.0])
def test_half_a_step_of_ials_is_a_weighted_least_squares_for_each_row(dim, nu):
    density = SPLIT.matrix().nnz / (SPLIT.n_users * SPLIT.n_items)  # alpha0 is 0.4
    model = make_model("ials", SPLIT, dim=dim, unobserved=0.4 / density, reg=0.2, nu=nu, n_iterations=2)
    for u, row in enumerate(CLICKS):
        ridge = 0.2 * (row.sum() + 0.4 * 7) ** nu
        rows = np.vstack([model.items[row > 0], np.sqrt(0.4) * model.items, np.sqrt(ridge) * np.eye(dim)])
        target = np.concatenate([np.ones(int(row.sum())), np.zeros(7 + dim)])
        assert np.allclose(model.users[u], np.linalg.lstsq(rows, target, rcond=None)[0], atol=1e-8)
    again = model.solve(sp.csr_matrix(CLICKS.T), model.users)
    for i, column in enumerate(CLICKS.T):
        ridge = 0.2 * (column.sum() + 0.4 * 4) ** nu
        left = sum(np.outer(model.users[u], model.users[u]) for u in np.flatnonzero(column))
        left = left + 0.4 * model.users.T @ model.users + ridge * np.eye(dim)
        assert np.allclose(left @ again[i], model.users[column > 0].sum(0), atol=1e-8)
    assert not model.items[5:].any() and not scores_of(model)[:, 5:].any()  # cold items


def test_the_loss_of_ials_never_rises():
    split, _, _ = planted()
    clicks = split.matrix("train").toarray()
    alpha0, reg = 0.1, 0.05
    density = clicks.mean()

    def loss(n):
        model = make_model("ials", split, dim=8, unobserved=alpha0 / density, reg=reg, n_iterations=n, seed=3)
        scores = model.users @ model.items.T
        fit = ((scores - 1)[clicks > 0] ** 2).sum() + alpha0 * (scores**2).sum()
        of_users = (clicks.sum(1) + alpha0 * split.n_items) @ (model.users**2).sum(1)
        return fit + reg * (of_users + (clicks.sum(0) + alpha0 * split.n_users) @ (model.items**2).sum(1))

    losses = [loss(n) for n in range(1, 9)]
    assert all(after <= before * (1 + 1e-12) for before, after in zip(losses, losses[1:]))
    assert losses[-1] < 0.99 * losses[0]


def test_the_seed_of_ials_decides_and_leaves_the_global_generator_alone():
    before = np.random.get_state()[1].copy()
    first, again, other = (make_model("ials", SPLIT, dim=2, n_iterations=1, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(before, np.random.get_state()[1])
    assert np.array_equal(first.users, again.users) and not np.array_equal(first.users, other.users)


# ---- iALS with content ----


def item_by_item(model, users: np.ndarray, readers: list[np.ndarray]) -> np.ndarray:
    """Each item's vector as one weighted least-squares problem: its users, all users, its features, its penalty."""
    tables, reg, alpha0 = model.tables, model.settings["reg"], model.alpha0
    solved = []
    for i, column in enumerate(CLICKS.T):
        ridge = reg * (column.sum() + alpha0 * len(users))
        rows = [users[column > 0], np.sqrt(alpha0) * users, np.sqrt(ridge) * np.eye(users.shape[1])]
        targets = [np.ones(int(column.sum())), np.zeros(len(users)), np.zeros(users.shape[1])]
        for (matrix, mask), reader in zip(tables, readers):
            if mask[i]:
                rows.append(np.sqrt(model.share) * reader)
                targets.append(np.sqrt(model.share) * matrix[i])
        solved.append(np.linalg.lstsq(np.vstack(rows), np.concatenate(targets), rcond=None)[0])
    return np.array(solved)


@pytest.mark.parametrize("dim", [2, 5])
def test_items_of_ials_with_content_are_least_squares_over_clicks_and_features(dim):
    model = make_model("ials_content", SPLIT, FEATURES, dim=dim, weight=0.7, reg=0.2, unobserved=2.0, n_iterations=2)
    readers = [reader.copy() for reader in model.readers]
    items = model.solve_items(sp.csr_matrix(CLICKS.T))
    assert np.allclose(items, item_by_item(model, model.users, readers), atol=1e-8)
    for (matrix, mask), reader in zip(model.tables, model.readers):
        ridge = np.sqrt(0.2 * mask.sum()) * np.eye(dim)
        rows, target = np.vstack([items[mask], ridge]), np.vstack([matrix[mask], np.zeros((dim, matrix.shape[1]))])
        assert np.allclose(reader, np.linalg.lstsq(rows, target, rcond=None)[0].T, atol=1e-8)
    assert model.share == pytest.approx(0.7 * EACH / 2)


def test_without_weight_content_counts_for_nothing():
    plain = make_model("ials", SPLIT, dim=3, n_iterations=4)
    assert np.allclose(
        scores_of(make_model("ials_content", SPLIT, FEATURES, dim=3, weight=0.0, n_iterations=4)), scores_of(plain)
    )
    assert not np.allclose(
        scores_of(make_model("ials_content", SPLIT, FEATURES, dim=3, n_iterations=4)), scores_of(plain), atol=1e-3
    )


def test_ials_with_content_ranks_cold_items_by_what_they_are_like():
    split, features, topics = planted(cold=24)
    found = evaluate_cold(make_model("ials_content", split, features, dim=16, weight=1.0), split, top_k=5).among
    order = np.random.default_rng(0).permutation(split.n_items)
    shuffled = {m: make_features(m, f.matrix[order]) for m, f in features.items()}
    control = evaluate_cold(make_model("ials_content", split, shuffled, dim=16, weight=1.0), split, top_k=5).among
    assert found["recall@5"] > 1.5 * control["recall@5"]
    bare = make_model("ials_content", SPLIT, FEATURES, dim=3)
    assert bare.items[5].any() and bare.items[6].any()  # item 6 has a picture and no text
    none = {"textual": make_features("textual", np.ones((7, 2)), [True] * 4 + [False, True, False])}
    assert not make_model("ials_content", SPLIT, none, dim=3).items[6].any()  # cold, and nothing is known of it


def test_the_loss_of_ials_with_content_never_rises():
    split, features, _ = planted()
    clicks, reg, weight = split.matrix("train").toarray(), 0.05, 0.5

    def loss(n):
        model = make_model("ials_content", split, features, dim=8, reg=reg, weight=weight, n_iterations=n, seed=3)
        scores, alpha0 = model.users @ model.items.T, model.alpha0
        fit = ((scores - 1)[clicks > 0] ** 2).sum() + alpha0 * (scores**2).sum()
        of_users = (clicks.sum(1) + alpha0 * split.n_items) @ (model.users**2).sum(1)
        found = fit + reg * (of_users + (clicks.sum(0) + alpha0 * split.n_users) @ (model.items**2).sum(1))
        for (matrix, mask), reader in zip(model.tables, model.readers):
            found += model.share * ((matrix - model.items @ reader.T)[mask] ** 2).sum()
            found += model.share * reg * mask.sum() * (reader**2).sum()
        return found

    losses = [loss(n) for n in range(2, 9)]
    assert all(after <= before * (1 + 1e-9) for before, after in zip(losses, losses[1:]))
