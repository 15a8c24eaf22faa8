"""The cache: never stale, resumes, and its failure costs nothing."""

import numpy as np
import pytest
from features_helpers import draw, make_dataset

from utils.features import Network, extract, register
from utils.features import cache as cache_module
from utils.features import registry as registry_module
from utils.features.encoders import image


@pytest.fixture
def seen(monkeypatch):
    """An encoder that notes what it computes; it stops at the picture named in stop."""
    monkeypatch.setattr(registry_module, "ENCODERS", dict(registry_module.ENCODERS))
    names, stop = [], []

    @register(
        "noting", "visual", dim=2, offline=True, licence="none", source="test", layers=("a", "b"), options={"k": 1}
    )
    def load(layer, k):
        def encode(paths):
            if stop and any(path.name in stop for path in paths):
                raise KeyboardInterrupt
            names.extend(path.name for path in paths)
            return np.array([[path.stat().st_size, k] for path in paths], dtype=np.float32)

        return Network(lambda path: path, encode)

    load.names, load.stop = names, stop
    return load


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "toy")


def again(dataset, **options):
    return extract(dataset, "visual", "noting", progress=False, **options)


def test_second_call_computes_nothing_and_gives_the_same_bits(dataset, seen):
    first = again(dataset)
    assert len(seen.names) == 11 and first.provenance["n_cached"] == 0
    second = again(dataset)
    assert len(seen.names) == 11 and second.provenance["n_cached"] == 11
    np.testing.assert_array_equal(first.matrix, second.matrix)
    assert first.provenance["content"] == second.provenance["content"]


def test_real_network_from_the_cache_gives_the_same_bits(dataset, monkeypatch):
    first = extract(dataset, "visual", size=64, progress=False)
    monkeypatch.setattr(image, "lite0", lambda: pytest.fail("the network was loaded"))
    np.testing.assert_array_equal(extract(dataset, "visual", size=64, progress=False).matrix, first.matrix)


def test_a_changed_picture_is_computed_anew_and_only_that(dataset, seen):
    before = again(dataset)
    draw(dataset.path / "images" / "7.png", 71, size=(200, 150))
    after = again(dataset)
    assert seen.names[11:] == ["7.png"]
    changed = (before.matrix != after.matrix).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [7]
    assert before.provenance["content"] != after.provenance["content"]


def test_same_bytes_under_another_name_come_from_the_cache(dataset, seen, tmp_path):
    again(dataset)
    again(make_dataset(tmp_path / "copy"))
    assert len(seen.names) == 11


def test_layer_and_preprocessing_have_their_own_vectors(dataset, seen):
    again(dataset)
    again(dataset, layer="b")
    again(dataset, k=2)
    assert len(seen.names) == 33


def test_cache_off_reads_and_writes_nothing(dataset, seen, tmp_path):
    again(dataset, cache=False)
    assert not (tmp_path / "cache").exists()
    again(dataset, cache=False)
    assert len(seen.names) == 22


def test_an_interrupted_extraction_goes_on_where_it_stopped(dataset, seen):
    seen.stop.append("8.png")
    with pytest.raises(KeyboardInterrupt):
        again(dataset, batch_size=2)
    done = list(seen.names)
    assert 0 < len(done) < 11
    seen.stop.clear()
    features = again(dataset, batch_size=2)
    assert sorted(seen.names) == sorted(set(seen.names)) and len(seen.names) == 11
    assert features.provenance["n_cached"] == len(done)


def test_a_torn_cache_file_counts_as_absent(dataset, seen, tmp_path):
    first = again(dataset)
    for path in (tmp_path / "cache").rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(again(dataset).matrix, first.matrix)
    assert len(seen.names) == 22


@pytest.mark.parametrize("reason", [(28, "No space left on device"), (30, "Read-only file system")])
def test_a_disk_that_refuses_costs_the_cache_not_the_features(dataset, seen, monkeypatch, reason):
    def refuse(*_, **__):
        raise OSError(*reason)

    monkeypatch.setattr(cache_module.np, "savez", refuse)
    with pytest.warns(UserWarning, match=f"computed but not cached.*{reason[1]}") as caught:
        features = again(dataset, batch_size=1)
    assert len(caught) == 1
    assert features.mask.sum() == 11 and features.matrix[features.mask].any(axis=1).all()


def test_a_cache_folder_that_cannot_be_made_costs_nothing_either(dataset, seen, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(UserWarning, match="COURSE_CACHE"):
        assert again(dataset).mask.sum() == 11


def test_words_fitted_on_other_items_are_not_reused(dataset):
    whole = extract(dataset, "textual", "tfidf_svd", progress=False)
    some = extract(dataset.select(items=range(6)), "textual", "tfidf_svd", progress=False)
    assert some.provenance["n_cached"] == 0 and some.dim != whole.dim
