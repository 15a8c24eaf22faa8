"""The traps found in a public extractor (lecture_systems.md, section 2.6), each with a test that names it.

a. image and text paired by position            -> test_a_pairing_is_by_id_*
b. fusion skipped for a batch of one            -> test_b_fusion_does_not_depend_on_the_batch
c. audio not reachable, its files without names -> test_c_audio_runs_like_the_others
d. the extractor rebuilt for every batch        -> test_d_the_network_is_cut_once
e. an id cut at its first dot                   -> test_e_ids_with_dots_stay_apart
f. short texts padded to the full length; long ones cut in silence -> test_f_*
g. a pickled module loaded                      -> test_g_a_pickled_module_is_refused
h. one small file for every item                -> test_h_one_matrix_with_ids
i. counts of users and items swapped            -> test_i_the_record_counts_what_was_extracted
Besides (section 2.3): lower-casing computed and thrown away -> test_text_cleaning_does_what_its_steps_say
"""

import numpy as np
import pytest
import soundfile
import torch
from features_helpers import make_dataset, make_folder, read_files
from torch import nn

from utils.data import load_dataset
from utils.errors import CourseError
from utils.features import Features, Network, extract
from utils.features.at_scale.cleaning import clean_text
from utils.features.at_scale.job import Job
from utils.features.at_scale.join import join
from utils.features.at_scale.layouts import export, file_id, row_id
from utils.features.at_scale.run import run
from utils.features.at_scale.shards import read_matrix
from utils.features.encoders import image
from utils.features.encoders.custom import load_state


def letters():
    """An encoder of texts: how often each of eight letters occurs."""
    return lambda texts: np.array([[text.count(c) for c in "abcdefgh"] for text in texts], float)


def corners():
    """An encoder of pictures: eight numbers of it."""
    return lambda pictures: np.stack([p.reshape(-1)[:: p.size // 8][:8].astype(float) for p in pictures])


SIDES = {"visual": corners, "textual": letters}


def go(dataset, out, modality="visual", **settings):
    folders = run(Job(dataset, modality, out, **settings), (0, 1), progress=False)
    return [read_matrix(folder) for folder in folders]


@pytest.fixture
def dataset(tmp_path):
    return make_dataset(tmp_path / "toy")  # ids run from z downwards, so that sorted order is not table order


def test_a_pairing_is_by_id_though_a_picture_is_missing_and_names_sort_otherwise(dataset, tmp_path):
    visual, textual, both = go(dataset, tmp_path / "out", "image_text", encoder=SIDES, fusion="concat")
    assert both.item_names.tolist() == dataset.item_names.tolist()
    by_hand = letters()(dataset.texts())
    for row in range(12):
        if row in (3, 5):  # no picture, no text
            assert not both.mask[row] and not both.matrix[row].any()
        else:
            np.testing.assert_array_equal(both.matrix[row, -8:], by_hand[row])
            np.testing.assert_array_equal(both.matrix[row, :-8], visual.matrix[row])


def test_a_pairing_is_by_id_whatever_the_order_and_other_ids_are_refused():
    left = Features("visual", [[1.0], [2.0]], ["a", "b"])
    right = Features("textual", [[20.0], [10.0]], ["b", "a"])
    assert join({"visual": left, "textual": right}).matrix.tolist() == [[1, 10], [2, 20]]
    with pytest.raises(CourseError, match="other items.*'b'"):
        join({"visual": left, "textual": Features("textual", [[1.0], [2.0]], ["a", "c"])})


@pytest.mark.parametrize("fusion", ["concat", "sum", "mean", "product"])
def test_b_fusion_does_not_depend_on_the_batch(dataset, tmp_path, fusion):
    made = [
        go(dataset, tmp_path / str(size), "image_text", encoder=SIDES, fusion=fusion, batch_size=size)
        for size in (1, 5, 10)  # 11 pictures: batches of one, a last batch of one, and of one again
    ]
    visual, textual, first = made[0]
    np.testing.assert_array_equal(first.matrix, made[1][2].matrix)
    np.testing.assert_array_equal(first.matrix, made[2][2].matrix)
    a, b = visual.matrix[0], textual.matrix[0]
    expected = {"concat": np.concatenate([a, b]), "sum": a + b, "mean": (a + b) / 2, "product": a * b}[fusion]
    np.testing.assert_allclose(first.matrix[0], expected)


def test_c_audio_runs_like_the_others_and_keeps_its_ids(tmp_path):
    folder = make_folder(tmp_path / "toy", n_items=4, no_image=tuple(range(4)))
    lines = (folder / "items.tsv").read_text(encoding="utf-8").splitlines()
    rows = [
        lines[0] + "\taudio",
        *(line + f"\t{k}.wav" * (k != 2) + "\t" * (k == 2) for k, line in enumerate(lines[1:])),
    ]
    (folder / "items.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for k in (0, 1, 3):
        soundfile.write(folder / f"{k}.wav", np.sin(np.arange(4000) * (k + 1) / 9), 16_000)
    dataset = load_dataset(str(folder))
    (features,) = go(dataset, tmp_path / "out", "audio", encoder="logmel_stats")
    assert features.mask.tolist() == [True, True, False, True]
    target = export(features, tmp_path / "files")
    assert sorted(p.stem for p in target.glob("*.npy")) == sorted(dataset.item_names[[0, 1, 3]])


def test_d_the_network_is_cut_once_however_many_batches(dataset, tmp_path, monkeypatch):
    calls = []
    ours = image._traced
    monkeypatch.setattr(image, "_traced", lambda *given: calls.append(1) or ours(*given))
    net = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    go(dataset, tmp_path / "out", encoder=net, layers=("2",), options={"size": 32}, batch_size=1, block=4)
    assert len(calls) == 2  # the fast one and the plain one that it is compared with; 11 batches in 3 blocks


def test_e_ids_with_dots_stay_apart(tmp_path):
    names = ["a.b", "a.c", "a", "a/b", "..", "caf\u00e9", "a%2Eb"]
    features = Features("visual", np.arange(14.0).reshape(7, 2), names)
    target = export(features, tmp_path)
    files = sorted(p.name for p in target.iterdir())
    assert len(files) == 7 and len({name.split(".")[0] for name in files}) == 7  # cut at the first dot, still apart
    np.testing.assert_array_equal(read_files(target, names)[0], features.matrix)
    for pair in ("u\ti", "u__x\ti", "u\tx__i", "u_\ti", "u\t_i", "u.1\ti.2"):
        assert row_id(file_id(pair), pair=True) == pair and "." not in file_id(pair)
    assert len({file_id(p) for p in ("u__x\ti", "u\tx__i", "u_\t_i", "u\t__i")}) == 4
    with pytest.raises(CourseError, match="'B1' and 'b1' would be one file"):
        export(Features("visual", np.ones((2, 2)), ["B1", "b1"]), tmp_path / "case")


@pytest.fixture
def widths(monkeypatch):
    """How many tokens each batch of the sentence encoder has."""
    from transformers import BertModel

    seen, forward = [], BertModel.forward

    def spy(self, *args, **kwargs):
        seen.append(tuple(kwargs["input_ids"].shape))
        return forward(self, *args, **kwargs)

    monkeypatch.setattr(BertModel, "forward", spy)
    return seen


def test_f_short_texts_are_not_padded_to_the_full_length_and_cutting_is_said(dataset, tmp_path, widths):
    dataset.items.loc[0, "description"] = "a cat " * 500
    with pytest.warns(UserWarning, match="longer than 32 tokens are cut, the first one begins 'a cat") as caught:
        go(dataset, tmp_path / "out", "textual", encoder="minilm", options={"max_tokens": 32}, batch_size=4, block=64)
    assert len([w for w in caught if "tokens are cut" in str(w.message)]) == 1
    assert [width for _, width in widths] == sorted(width for _, width in widths)  # sorted by length
    assert widths[0][1] < 16 and max(width for _, width in widths) == 32
    assert sum(n for n, _ in widths) == 11


def test_g_a_pickled_module_is_refused_and_plain_tensors_are_read(tmp_path):
    from safetensors.torch import save_file

    net = nn.Linear(3, 2)
    torch.save(net, tmp_path / "whole.pt")
    with pytest.raises(CourseError, match=r"whole\.pt are no plain tensors.*state_dict\(\) as .safetensors"):
        load_state(nn.Linear(3, 2), str(tmp_path / "whole.pt"))
    torch.save(net.state_dict(), tmp_path / "state.pt")
    save_file(net.state_dict(), tmp_path / "state.safetensors")
    for name in ("state.pt", "state.safetensors"):
        other = nn.Linear(3, 2)
        load_state(other, str(tmp_path / name))
        assert torch.equal(other.weight, net.weight)
    with pytest.raises(CourseError, match="do not fit Linear"):
        load_state(nn.Linear(4, 2), str(tmp_path / "state.pt"))
    with pytest.raises(CourseError, match="none.pt do not exist"):
        load_state(net, str(tmp_path / "none.pt"))


@pytest.mark.parametrize("kind", ["npy", "safetensors"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_h_one_matrix_with_ids_and_the_files_only_as_an_export(dataset, tmp_path, kind, dtype):
    (features,) = go(dataset, tmp_path / "out", encoder="pixels", format=kind, dtype=dtype)
    files = {p.name for p in (tmp_path / "out").iterdir() if p.is_file()}
    rest = {"items.txt", "visual.json", "visual_mask.npy"} if kind == "npy" else set()
    assert files == {f"visual.{kind}", "SHA256SUMS"} | rest
    plain = extract(dataset, "visual", "pixels", cache=False, progress=False)
    np.testing.assert_allclose(features.matrix, plain.matrix, atol=1e-6 if dtype == "float32" else 1e-3)
    assert features.item_names.tolist() == plain.item_names.tolist() and (features.mask == plain.mask).all()
    target = export(features, tmp_path / "ducho", backend="torch")
    assert target.relative_to(tmp_path / "ducho").as_posix() == "torch/pixels/rgb"
    one = np.load(target / f"{dataset.item_names[0]}.npy")
    assert one.shape == (1, 768) and one.dtype == np.float32 and len(list(target.iterdir())) == 11
    matrix, mask = read_files(target, dataset.item_names)
    np.testing.assert_array_equal(matrix, features.matrix)
    assert (mask == features.mask).all()


def test_h_the_folder_is_one_that_the_course_reads_as_prepared_features(dataset, tmp_path):
    from utils.features import check_content, prepared

    go(dataset, dataset.path / "features", encoder="pixels", dtype="float16")
    found = prepared(dataset, "visual")
    plain = extract(dataset, "visual", "pixels", cache=False, progress=False)
    np.testing.assert_allclose(found.matrix, plain.matrix, atol=1e-3)
    assert check_content(found, dataset) == []


def test_i_the_record_counts_what_was_extracted(dataset, tmp_path):
    (features,) = go(dataset, tmp_path / "items", encoder="pixels")
    assert dataset.n_users != dataset.n_items
    assert features.provenance["n_rows"] == dataset.n_items == features.n_items == 12
    dataset.interactions["review"] = ["good cat"] * dataset.n_interactions
    (reviews,) = go(dataset, tmp_path / "reviews", "textual", encoder=letters, source="interactions")
    assert reviews.provenance["n_rows"] == dataset.n_interactions == reviews.n_items == 18
    assert reviews.provenance["source_of_rows"] == "interactions"
    assert (tmp_path / "reviews" / "rows.txt").exists() and not (tmp_path / "reviews" / "items.txt").exists()


def test_text_cleaning_does_what_its_steps_say():
    text = "<b>It&#39;s</b> GREAT, isn't it?  I can't wait: see https://x.org/y  2 cats, 10 dogs & the cat's caf\u00e9"
    steps = ["html", "urls", "contractions", "digits", "punctuation", "lower", "spaces"]
    cleaned = clean_text(text, steps)
    assert cleaned == "it is great , is not it ? i can not wait see two cats , 10 dogs the cat's caf\u00e9"
    assert clean_text("A  B", None) == "A  B" and clean_text("A <i>B</i>", True) == "A B"
    with pytest.raises(CourseError, match="did you mean lower"):
        clean_text("x", ["lowre"])


def test_network_objects_are_encoders_too(dataset, tmp_path):
    network = Network(prepare=str, encode=lambda texts: np.array([[len(t)] for t in texts], np.float32), order=len)
    (features,) = go(dataset, tmp_path / "out", "textual", encoder=network)
    assert features.matrix[0, 0] == len(dataset.texts()[0])
