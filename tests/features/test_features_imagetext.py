"""The small image+text model: pairs by id, groups on one side of the split, retrieval by hand, the leak."""

import numpy as np
import pytest
import torch

from utils.errors import CourseError
from utils.features import Features
from utils.features.image_text import (
    leak_report,
    merge_groups,
    near_duplicate_groups,
    retrieval,
    split_pairs,
    train_image_text,
)
from utils.files import ROOT


def features(modality, matrix, names=None, mask=None):
    names = [f"i{row}" for row in range(len(matrix))] if names is None else names
    return Features(modality, matrix, names, mask, {"encoder": "synthetic"})


def world(n_items=300, n_copies=1, noise=0.5, seed=0):
    """Images and texts that are two noisy views of one hidden vector; each item comes ``n_copies`` times."""
    rng = np.random.default_rng(seed)
    hidden = np.repeat(rng.normal(size=(n_items // n_copies, 12)), n_copies, axis=0)
    views = []
    for width in (60, 40):
        own = np.repeat(rng.normal(size=(n_items // n_copies, width)), n_copies, axis=0)
        clean = hidden @ rng.normal(size=(12, width)) / 12**0.5 + noise * own
        views.append(clean + 0.01 * rng.normal(size=clean.shape))
    return features("visual", views[0]), features("textual", views[1])


# --- Near-duplicates and the split -----------------------------------------------------------------------------------


def test_near_duplicates_are_grouped_also_through_a_chain():
    angles = np.radians([0, 10, 20, 90, 180, 180])
    found = near_duplicate_groups(features("visual", np.stack([np.cos(angles), np.sin(angles)], axis=1)), 0.98, chunk=2)
    assert found[0] == found[1] == found[2]  # 0 and 20 degrees are linked by 10 degrees
    assert found[4] == found[5] and len(set(found)) == 3


def test_an_item_without_the_modality_is_nobodys_duplicate():
    found = near_duplicate_groups(features("visual", np.zeros((4, 3)) + 1, mask=[True, False, False, True]), 0.9)
    assert found[0] == found[3] and len(set(found)) == 3


def test_groupings_are_joined():
    joined = merge_groups(np.array([0, 0, 1, 2, 3]), np.array([5, 6, 6, 7, 8]))
    assert joined[0] == joined[1] == joined[2] and len(set(joined)) == 3


def test_no_group_straddles_the_split_and_each_tests_once():
    groups = np.random.default_rng(0).integers(0, 60, 200)
    for seed in range(5):
        train, test = split_pairs(groups, 20, seed)
        assert not set(groups[train]) & set(groups[test])
        assert len(test) == 20 == len(set(groups[test]))
        assert set(groups[train]) | set(groups[test]) == set(groups)
    assert not np.array_equal(split_pairs(groups, 20, 0)[1], split_pairs(groups, 20, 1)[1])


def test_a_split_that_cannot_be_made_says_so():
    with pytest.raises(CourseError, match="near-duplicates"):
        split_pairs(np.zeros(50, int), 10, 0)


# --- Retrieval -------------------------------------------------------------------------------------------------------


def test_retrieval_by_hand():
    images = np.eye(4)
    texts = np.eye(4)[[0, 1, 3, 2]]  # the last two are swapped
    texts[2:] += 0.1 * np.eye(4)[2:]
    table = retrieval(images, texts, top_k=(1, 2))
    assert table.loc["text to image", "R@1"] == table.loc["image to text", "R@1"] == 0.5
    assert table.loc["image to text", "R@2"] == 1 and table.loc["image to text", "median rank"] == 1.5
    assert table.loc["chance", "R@1"] == 0.25 and table.loc["chance", "median rank"] == 2.5


def test_both_directions_are_told_apart():
    images = np.array([[1, 0], [0.9, 0.1], [0, 1]], float)
    texts = np.array([[1, 0], [1, 0.05], [0.8, 0.2]], float)
    table = retrieval(images, texts)
    similar = (images / np.linalg.norm(images, axis=1)[:, None]) @ (texts / np.linalg.norm(texts, axis=1)[:, None]).T
    assert table.loc["image to text", "R@1"] == np.mean(similar.argmax(axis=1) == range(3))
    assert table.loc["text to image", "R@1"] == np.mean(similar.argmax(axis=0) == range(3))


@pytest.mark.parametrize("n, dim", [(9, 3), (33, 64), (101, 32), (250, 129)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equal_vectors_gain_nothing(n, dim, dtype):
    one = np.random.default_rng(n).normal(size=(1, dim)).astype(dtype)
    table = retrieval(np.repeat(one, n, axis=0), np.repeat(-one, n, axis=0))
    assert (table["R@1"].iloc[:2] == 0).all() and (table["median rank"] == (n + 1) / 2).all()


def test_retrieval_refuses_what_is_no_pairs():
    with pytest.raises(CourseError, match="paired by item id"):
        retrieval(np.ones((3, 2)), np.ones((4, 2)))


# --- The model -------------------------------------------------------------------------------------------------------


def test_it_learns_what_the_two_share_far_above_chance():
    model = train_image_text(*world(), seed=1)
    for direction in ("text to image", "image to text"):
        assert model.retrieval.loc[direction, "R@10"] > 3 * model.retrieval.loc["chance", "R@10"]
    assert model.history["loss"].iloc[-1] < 0.5 * model.history["loss"].iloc[0]
    assert not set(model.train_items) & set(model.test_items)


def test_pairs_are_found_by_id_whatever_the_order():
    visual, textual = world()
    moved = textual.align(np.random.default_rng(3).permutation(textual.item_names))
    a, b = train_image_text(visual, textual), train_image_text(visual, moved)
    assert a.retrieval.equals(b.retrieval)
    np.testing.assert_array_equal(a.features()[1].matrix, b.features()[1].matrix)


def test_wrong_pairs_teach_nothing():
    visual, textual = world()
    found = [train_image_text(visual, textual.shuffled(seed), seed=seed).retrieval for seed in range(3)]
    assert np.mean([table["R@10"].iloc[:2].mean() for table in found]) < 2 * found[0].loc["chance", "R@10"]


def test_same_seed_same_model_another_seed_another():
    visual, textual = world()
    a, b, c = (train_image_text(visual, textual, seed=seed, n_epochs=2) for seed in (4, 4, 5))
    np.testing.assert_array_equal(a.features()[0].matrix, b.features()[0].matrix)
    assert a.history.equals(b.history) and list(a.test_items) == list(b.test_items) != list(c.test_items)


def test_training_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    train_image_text(*world(60), n_epochs=1)
    assert torch.equal(torch.get_rng_state(), before[0]) and np.array_equal(np.random.get_state()[1], before[1])


def test_features_keep_ids_masks_and_provenance():
    visual, textual = world(80)
    mask = np.arange(80) % 5 > 0
    textual = features("textual", textual.matrix, mask=mask)
    model = train_image_text(visual, textual, dim=16, n_epochs=1)
    seen, said = model.features()
    assert (seen.modality, said.modality) == ("visual", "textual") and seen.dim == said.dim == 16
    np.testing.assert_array_equal(said.mask, mask)
    assert not said.matrix[~mask].any()
    np.testing.assert_allclose(np.linalg.norm(seen.matrix, axis=1), 1, rtol=1e-5)
    assert seen.provenance["made_from"]["visual"]["encoder"] == "synthetic"
    lacking = set(textual.item_names[~mask])
    assert not lacking & (set(model.train_items) | set(model.test_items))


def test_new_pictures_and_texts_can_be_embedded():
    visual, textual = world(80)
    model = train_image_text(visual, textual, dim=16, n_epochs=1)
    np.testing.assert_allclose(model.embed_images(visual.matrix[:3]), model.features()[0].matrix[:3], atol=1e-6)
    assert model.embed_texts(textual.matrix[0]).shape == (1, 16)
    with pytest.raises(CourseError, match="60 numbers a row, not 40"):
        model.embed_images(textual.matrix)


def test_near_duplicates_across_the_split_flatter():
    visual, textual = world(300, n_copies=3, noise=1.5)
    table = leak_report(visual, textual, seeds=range(2)).groupby("protocol")
    assert (table["candidates"].nunique() == 1).all() and (table["n_train"].nunique() <= 2).all()
    # The random split also has twins among the candidates, which push R@1 down: R@10 shows the leak.
    found = table["R@10"].mean()
    assert found["random"] > found["groups"] + 0.1 and found["groups"] > found["shuffled"]


@pytest.mark.parametrize("case", ["swapped", "ids", "few", "threshold"])
def test_bad_input_gets_one_sentence(case):
    visual, textual = world(40)
    with pytest.raises(CourseError) as caught:
        if case == "swapped":
            train_image_text(textual, visual)
        elif case == "ids":
            train_image_text(visual, features("textual", textual.matrix, names=[f"other{row}" for row in range(40)]))
        elif case == "few":
            train_image_text(visual, features("textual", textual.matrix, mask=np.arange(40) < 5))
        else:
            near_duplicate_groups(visual, 1.5)
    expected = {"swapped": "swap", "ids": "'i0'", "few": "Only 5 items", "threshold": "threshold=1.5"}[case]
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_on_the_sticker_shop_it_finds_held_out_pairs():
    if not (ROOT / "data" / "sticker_shop" / "features" / "textual.npy").exists():
        pytest.skip("data/sticker_shop has no prepared features yet")
    from utils.data import load_dataset
    from utils.features import prepared

    dataset = load_dataset("sticker_shop")
    table = leak_report(prepared(dataset, "visual"), prepared(dataset, "textual"), seeds=range(3))
    found = table.groupby(["protocol", "direction"])["R@10"].mean()
    for direction in ("text to image", "image to text"):
        assert found["groups", direction] > 3 * found["groups", "chance"]
        assert found["shuffled", direction] < 2 * found["groups", "chance"]
