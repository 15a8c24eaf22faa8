"""Textual encoders, and models by name from folders made here: nothing is fetched."""

import numpy as np
import pytest
import torch
from features_helpers import make_dataset, make_tiny_bert, make_tiny_clip

from utils.errors import CourseError
from utils.features import extract
from utils.features.encoders import text, weights


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "toy")


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    """Folder of a BERT of two layers with random weights."""
    folder = tmp_path_factory.mktemp("bert")
    make_tiny_bert(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """Folder of a CLIP model with random weights, 32 x 32 pictures, a shared space of 12."""
    folder = tmp_path_factory.mktemp("clip")
    make_tiny_clip(folder)
    return folder


def test_minilm_equals_sentence_transformers_on_the_same_folder(dataset):
    from sentence_transformers import SentenceTransformer

    ours = extract(dataset, "textual", cache=False, progress=False)
    theirs = SentenceTransformer(str(text.minilm_folder()), device="cpu").encode(dataset.texts())
    np.testing.assert_allclose(ours.matrix[ours.mask], theirs[ours.mask], atol=1e-5)
    assert ours.dim == 384 and not ours.mask[5]


def test_minilm_knows_what_is_alike(tmp_path):
    folder = tmp_path / "words"
    folder.mkdir()
    lines = ["a leather bag", "a small purse", "a bread knife"]
    (folder / "items.tsv").write_text("item\tdescription\n" + "".join(f"{i}\t{s}\n" for i, s in enumerate(lines)))
    (folder / "interactions.tsv").write_text("user\titem\nu\t0\n")
    from utils.data import load_dataset

    unit = extract(load_dataset(str(folder)), "textual", cache=False, progress=False).l2().matrix
    near = unit @ unit.T
    assert near[0, 1] > near[0, 2] + 0.2 and near[0, 1] > near[1, 2] + 0.2


def test_mean_pool_leaves_padding_out():
    hidden = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]])
    assert text.mean_pool(hidden, torch.tensor([[1, 1, 0]])).tolist() == [[2.0, 3.0]]


def test_layers_of_a_text_encoder_by_hand(dataset, tiny_bert):
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(tiny_bert)(dataset.texts()[4], return_tensors="pt")
    with torch.inference_mode():
        out = AutoModel.from_pretrained(tiny_bert).eval()(**tokens, output_hidden_states=True)
    expected = {
        "mean": out.last_hidden_state[0].mean(dim=0),
        "cls": out.last_hidden_state[0, 0],
        "hidden.1": out.hidden_states[1][0].mean(dim=0),
    }
    for layer, vector in expected.items():
        features = extract(dataset, "textual", f"hf:{tiny_bert}", layer=layer, progress=False)
        np.testing.assert_allclose(features.matrix[4], vector.numpy(), atol=1e-5)
    with pytest.raises(CourseError, match="did you mean hidden"):
        extract(dataset, "textual", f"hf:{tiny_bert}", layer="hidden.7", progress=False)


def test_hugging_face_batches_and_normalising(dataset, tiny_bert):
    one, sixteen = (
        extract(dataset, "textual", f"hf:{tiny_bert}", batch_size=n, normalise=True, cache=False, progress=False)
        for n in (1, 16)
    )
    np.testing.assert_allclose(one.matrix, sixteen.matrix, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(one.matrix[one.mask], axis=1), 1, rtol=1e-5)
    assert len(one.provenance["weights"]) == 64


def test_long_text_is_cut_not_refused(dataset, tiny_bert):
    dataset.items.loc[0, "description"] = "a cat " * 500
    assert extract(dataset, "textual", f"hf:{tiny_bert}", progress=False).mask[0]


def test_sentence_transformers_from_a_folder(dataset, tiny_bert, tmp_path):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import models as parts

    transformer = parts.Transformer(str(tiny_bert))
    model = SentenceTransformer(modules=[transformer, parts.Pooling(16, "mean")], device="cpu")
    model.save(str(tmp_path / "st"))
    ours = extract(dataset, "textual", f"st:{tmp_path / 'st'}", progress=False)
    np.testing.assert_allclose(ours.matrix[ours.mask], model.encode(dataset.texts())[ours.mask], atol=1e-5)


def test_clip_like_sides_share_a_space_and_are_paired_by_id(dataset, tiny_clip):
    from transformers import AutoTokenizer, CLIPModel

    pictures = extract(dataset, "visual", f"hf-clip:{tiny_clip}", batch_size=4, progress=False)
    words = extract(dataset, "textual", f"hf-clip:{tiny_clip}", batch_size=4, progress=False)
    assert pictures.dim == words.dim == 12
    np.testing.assert_array_equal(pictures.item_names, words.item_names)
    assert not pictures.mask[3] and not words.mask[5]
    model, tokenizer = CLIPModel.from_pretrained(tiny_clip).eval(), AutoTokenizer.from_pretrained(tiny_clip)
    with torch.inference_mode():
        side = model.get_text_features(**tokenizer(dataset.texts()[4], return_tensors="pt"))
    side = side if isinstance(side, torch.Tensor) else side.pooler_output
    np.testing.assert_allclose(words.matrix[4], side[0].numpy(), atol=1e-5)
    order = np.random.default_rng(0).permutation(dataset.item_names)
    assert pictures.align(order).item_names.tolist() == words.align(order).item_names.tolist()
    one = extract(dataset, "visual", f"hf-clip:{tiny_clip}", batch_size=1, cache=False, progress=False)
    np.testing.assert_allclose(one.matrix, pictures.matrix, atol=1e-4)


def test_a_text_model_has_no_picture_side(dataset, tiny_bert):
    with pytest.raises(CourseError, match="no image.text model; use hf:"):
        extract(dataset, "textual", f"hf-clip:{tiny_bert}", progress=False)


def test_tfidf_puts_shared_words_together_and_is_deterministic(dataset):
    first, again = (extract(dataset, "textual", "tfidf_svd", dim=8, cache=False, progress=False) for _ in range(2))
    np.testing.assert_array_equal(first.matrix, again.matrix)
    assert first.dim == 8 and first.matrix[first.mask].any(axis=1).all()
    # Items 1 and 4 share a sentence but for the noun; item 0 shares only the article, which is no word of two letters.
    unit = first.l2().matrix
    assert unit[1] @ unit[4] > 0.5 > unit[0] @ unit[1]


def test_texts_without_words_say_so(dataset):
    dataset.items["description"] = "? !"
    with pytest.raises(CourseError, match="hold no words"):
        extract(dataset, "textual", "tfidf_svd", cache=False, progress=False)


@pytest.mark.parametrize("family", ["hf", "st", "hf-clip"])
def test_no_network_is_said_at_once_and_names_what_works_offline(dataset, family, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        CourseError, match=f"'{family}:owner/model' needs a network.*HF_HUB_OFFLINE.*offline: minilm, tfidf"
    ):
        extract(dataset, "textual", f"{family}:owner/model", progress=False)


def test_a_hub_that_does_not_answer_is_asked_once(dataset, monkeypatch):
    import huggingface_hub

    asked = []

    def fail(self, name, timeout=None, **_):
        asked.append(timeout)
        raise ConnectionError("no route")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", fail)
    with pytest.raises(CourseError, match="needs a network.*ConnectionError"):
        extract(dataset, "textual", "hf:owner/model", progress=False)
    assert asked == [weights.SECONDS]


def test_folders_that_hold_no_model(dataset, tmp_path):
    with pytest.raises(CourseError, match="the folder .*nowhere does not exist"):
        extract(dataset, "textual", f"hf:{tmp_path / 'nowhere'}", progress=False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match="holds no .safetensors weights"):
        extract(dataset, "textual", f"hf:{tmp_path / 'empty'}", progress=False)
    with pytest.raises(CourseError, match="no folder and no OWNER/MODEL"):
        extract(dataset, "textual", "hf:a/b/c", progress=False)


def test_other_weights_in_the_same_folder_are_not_answered_from_the_cache(dataset, tiny_bert, tmp_path):
    import shutil

    from transformers import AutoModel

    folder = tmp_path / "model"
    shutil.copytree(tiny_bert, folder)
    first = extract(dataset, "textual", f"hf:{folder}", progress=False)
    model = AutoModel.from_pretrained(folder)
    with torch.no_grad():
        model.embeddings.word_embeddings.weight.mul_(1.5)
    model.save_pretrained(folder)
    second = extract(dataset, "textual", f"hf:{folder}", progress=False)
    assert second.provenance["n_cached"] == 0 and np.abs(first.matrix - second.matrix).max() > 1e-3
