"""Features: ids, mask, transforms, files."""

import numpy as np
import pytest

from utils.errors import CourseError
from utils.features import Features


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    mask = np.array([True, True, False, True, True, True, True, True])
    return Features(
        "visual",
        rng.normal(3, 2, (8, 4)),
        np.array(list("hgfedcba")),
        mask,
        {"encoder": "made up", "content_rows": [f"c{i}" for i in range(8)]},
    )


def test_missing_rows_are_zero_and_counted(features):
    assert features.matrix.dtype == np.float32
    assert not features.matrix[2].any()
    assert (features.n_items, features.dim, features.coverage) == (8, 4, 7 / 8)
    assert "7 present" in repr(features) and "made up" in repr(features)


def test_align_goes_by_id_and_takes_mask_and_content_along(features):
    aligned = features.align(list("abf"))
    np.testing.assert_array_equal(aligned.matrix, features.matrix[[7, 6, 2]])
    assert aligned.mask.tolist() == [True, True, False]
    assert aligned.provenance["content_rows"] == ["c7", "c6", "c2"]


def test_align_names_ids_without_a_row(features):
    with pytest.raises(CourseError, match=r"no row for 4 of 5 items: 'v', 'w', 'x' and 1 more; 7 row") as error:
        features.align(list("vwxya"))
    assert "extract" in str(error.value)


def test_save_and_load_give_the_same(features, tmp_path):
    features.l2().save(tmp_path / "deep" / "f.npz")
    back = Features.load(tmp_path / "deep" / "f.npz")
    np.testing.assert_array_equal(back.matrix, features.l2().matrix)
    np.testing.assert_array_equal(back.mask, features.mask)
    np.testing.assert_array_equal(back.item_names, features.item_names)
    assert back.provenance["transforms"] == ["l2"] and back.modality == "visual"
    with np.load(tmp_path / "deep" / "f.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype.kind != "O" for name in stored.files)


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(CourseError, match="does not exist"):
        Features.load(tmp_path / "none.npz")
    (tmp_path / "torn.npz").write_bytes(b"PK torn")
    with pytest.raises(CourseError, match=r"torn.npz is not a whole .npz file .*extract again"):
        Features.load(tmp_path / "torn.npz")


def test_transforms_are_fitted_on_present_rows_and_leave_the_gap_empty(features):
    for changed in (features.centred(), features.l2(), features.whitened(3), features.shuffled(1)):
        assert not changed.matrix[2].any()
        np.testing.assert_array_equal(changed.mask, features.mask)
    present = features.centred().matrix[features.mask]
    np.testing.assert_allclose(present.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(features.l2().matrix[features.mask], axis=1), 1, rtol=1e-5)
    white = features.whitened(3).matrix[features.mask]
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=1e-4)


def test_whitened_keeps_to_what_the_rows_carry(features):
    assert features.whitened().dim == 4
    with pytest.raises(CourseError, match=r"whitened\(dim=5\).*1 to 4 axes"):
        features.whitened(5)


def test_whitening_does_not_blow_up_an_empty_axis():
    matrix = np.zeros((6, 3))
    matrix[:, 0] = np.arange(6)
    white = Features("audio", matrix, np.arange(6)).whitened().matrix
    assert np.isfinite(white).all() and np.abs(white[:, 1:]).max() < 1e-3


def test_shuffled_is_a_seeded_permutation_of_present_rows(features):
    first, again, other = features.shuffled(0), features.shuffled(0), features.shuffled(1)
    np.testing.assert_array_equal(first.matrix, again.matrix)
    assert not np.array_equal(first.matrix, other.matrix)
    key = lambda f: sorted(map(tuple, f.matrix[f.mask].tolist()))  # noqa: E731
    assert key(first) == key(features)
    assert "shuffled(0)" in repr(first)


def test_a_row_of_zeros_survives_l2():
    assert not Features("visual", np.zeros((2, 3)), ["a", "b"]).l2().matrix.any()


@pytest.mark.parametrize(
    ("matrix", "names", "mask", "message"),
    [
        (np.zeros(3), ["a"], None, "one row per item"),
        (np.zeros((3, 2)), ["a", "b"], None, "3 rows but 2 item ids"),
        (np.zeros((2, 2)), ["a", "b"], [True], "mask of shape"),
        (np.zeros((3, 2)), ["a", "b", "a"], None, "'a' more than once"),
        (np.array([[0, 1], [np.nan, 1]]), ["a", "b"], None, r"NaN or infinity in 1 row\(s\), first row 1 \(item 'b'\)"),
        (np.array([[0, 1], [np.inf, 1]]), ["a", "b"], None, "infinity"),
    ],
)
def test_what_does_not_fit_is_refused(matrix, names, mask, message):
    with pytest.raises(CourseError, match=message):
        Features("visual", matrix, names, mask)


def test_nan_where_nothing_is_present_is_no_error():
    features = Features("visual", np.array([[np.nan, 1], [1, 2]]), ["a", "b"], [False, True])
    assert features.matrix[0].tolist() == [0, 0]


def test_no_present_row_cannot_be_centred():
    with pytest.raises(CourseError, match="leave the modality out"):
        Features("audio", np.zeros((2, 2)), ["a", "b"], [False, False]).centred()
