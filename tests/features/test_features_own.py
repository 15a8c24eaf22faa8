"""Encoders of other libraries and your own: real loading code, on tiny models made here; nothing is fetched."""

import sys
import types

import numpy as np
import pytest
import soundfile
import torch
from features_helpers import make_dataset, make_tiny_vit
from torch import nn

from utils.errors import CourseError
from utils.features import extract
from utils.features.encoders.sound import samples_of
from utils.features.registry import find


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return make_dataset(tmp_path / "toy", n_items=5)


def small():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 5, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)
    )


def unseeded():
    return nn.Linear(2, 2)


class Branching(nn.Module):
    """Nothing that torch.fx could follow."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


def branching():
    return Branching()


def number():
    return 3


def by_hand(dataset, layers):
    from utils.features.encoders import image

    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in image.IMAGENET)
    picture = torch.from_numpy(image.reader(32, "pad")(dataset.path / "images" / "0.png").copy()).permute(2, 0, 1) / 255
    with torch.inference_mode():
        return small()[:layers](((picture - mean) / std)[None]).flatten(1)[0].numpy()


def test_your_own_module_by_dotted_path_and_in_the_function(dataset):
    named = extract(dataset, "visual", "own:test_features_own:small", size=32, progress=False)
    np.testing.assert_allclose(named.matrix[0], by_hand(dataset, 4), atol=1e-4)
    assert named.dim == 5, "stops before the classifier"
    for thing in (small, small()):
        same = extract(dataset, "visual", thing, size=32, layer="4", progress=False)
        np.testing.assert_allclose(same.matrix[0], by_hand(dataset, 5), atol=1e-4)
    again = extract(dataset, "visual", "own:test_features_own:small", size=32, progress=False)
    assert again.provenance["n_cached"] == 4
    changed = small()
    with torch.no_grad():
        changed[0].weight.mul_(2)
    assert extract(dataset, "visual", changed, size=32, progress=False).provenance["n_cached"] == 0


def test_weights_of_your_own_module_come_from_plain_tensors(dataset, tmp_path):
    from safetensors.torch import save_file

    other = small()
    with torch.no_grad():
        other[0].weight.mul_(2)
    save_file(other.state_dict(), tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    found = extract(dataset, "visual", "own:test_features_own:small", size=32, weights=path, progress=False)
    expected = extract(dataset, "visual", other, size=32, progress=False)
    np.testing.assert_allclose(found.matrix, expected.matrix, atol=1e-5)


def test_two_processes_of_a_factory_without_a_seed_would_not_share_a_key():
    encoder = find("own:test_features_own:unseeded", "visual")
    assert encoder.weights_id({}) != encoder.weights_id({})
    seeded = find("own:test_features_own:small", "visual")
    assert seeded.weights_id({}) == seeded.weights_id({})


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("own:test_features_own", "write own:package.module:factory"),
        ("own:no_module:f", "No module named 'no_module'; run from the folder that holds no_module"),
        ("own:test_features_own:smal", "did you mean small"),
        ("own:test_features_own:np", "np cannot be called"),
        ("own:test_features_own:number", "made a int; return a torch module, Network or function"),
        ("own:test_features_own:branching", "cannot be listened to|no classifier to stop before"),
    ],
)
def test_what_is_no_encoder_is_said(dataset, encoder, message):
    with pytest.raises(CourseError, match=message):
        extract(dataset, "visual", encoder, progress=False)


@pytest.fixture(scope="module")
def tiny_vit(tmp_path_factory):
    """Folder of a vision transformer with random weights for 32 x 32 pictures."""
    folder = tmp_path_factory.mktemp("vit")
    make_tiny_vit(folder)
    return folder


def test_a_hugging_face_vision_model_from_a_folder(dataset, tiny_vit):
    from transformers import AutoImageProcessor, AutoModel

    from utils.features.encoders.image import on_white, open_image

    picture = on_white(open_image(dataset.path / "images" / "0.png"))
    pixels = AutoImageProcessor.from_pretrained(tiny_vit)(images=picture, return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        out = AutoModel.from_pretrained(tiny_vit).eval()(pixel_values=pixels, output_hidden_states=True)
    expected = {
        "pooled": out.pooler_output[0],
        "cls": out.last_hidden_state[0, 0],
        "hidden.1": out.hidden_states[1][0].mean(dim=0),
    }
    encoder = find(f"hf-vision:{tiny_vit}", "visual")
    network = encoder.load(tuple(expected))
    rows = network.encode([network.prepare(dataset.path / "images" / "0.png")])
    for row, (layer, vector) in zip(rows, expected.items()):
        np.testing.assert_allclose(row[0], vector.numpy(), atol=1e-5)
        alone = extract(dataset, "visual", encoder, layer=layer, cache=False, progress=False)
        np.testing.assert_allclose(alone.matrix[0], vector.numpy(), atol=1e-5)
    with pytest.raises(CourseError, match="did you mean hidden"):
        extract(dataset, "visual", encoder, layer="hidden.9", progress=False)


class Bundle:
    """What a torchaudio pipeline looks like from outside."""

    sample_rate = 8_000

    def get_model(self):
        class Model(nn.Module):
            def extract_features(self, wave):
                frames = wave.reshape(1, -1, 4)[:, :, :2]  # (1, time, 2)
                return [frames, 2 * frames], None

        return Model()


@pytest.fixture
def sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.sin(np.arange(16_000) / 5), 16_000)
    return tmp_path / "a.wav"


def test_a_torchaudio_like_bundle(sound, monkeypatch):
    fake, pipelines = types.ModuleType("torchaudio"), types.ModuleType("torchaudio.pipelines")
    pipelines.TINY = Bundle()
    fake.pipelines, fake.__version__ = pipelines, "0"
    monkeypatch.setitem(sys.modules, "torchaudio", fake)
    monkeypatch.setitem(sys.modules, "torchaudio.pipelines", pipelines)
    encoder = find("torchaudio:TINY", "audio")
    assert encoder.weights_id(encoder.options) == "TINY@0"
    network = encoder.load(("mean", "hidden.0"), **encoder.settle({}))
    last, first = network.encode([network.prepare(sound), network.prepare(sound)])
    wave = samples_of(sound, 8_000)
    expected = wave.reshape(-1, 4)[:, :2].mean(axis=0)
    np.testing.assert_allclose(first[0], expected, atol=1e-5)
    np.testing.assert_allclose(last[1], 2 * expected, atol=1e-5)
    with pytest.raises(CourseError, match="did you mean TINY"):
        find("torchaudio:TINI", "audio").load("mean", max_seconds=3)
    with pytest.raises(CourseError, match="did you mean hidden"):
        wrong = encoder.load("hidden.7", max_seconds=3)
        wrong.encode([wrong.prepare(sound)])


def test_without_torchaudio_the_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(CourseError, match="pip install torchaudio"):
        find("torchaudio:WAV2VEC2_BASE", "audio").load("mean", max_seconds=3)


def waves():
    return lambda sounds: np.array([[len(wave), np.abs(wave).max()] for wave in sounds])


def test_your_own_function_of_sounds(sound):
    encoder = find("own:test_features_own:waves", "audio")
    network = encoder.load("output", **encoder.settle({}))
    np.testing.assert_allclose(network.encode([network.prepare(sound)]), [[16_000, 1.0]], atol=1e-2)
