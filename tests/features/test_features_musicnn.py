"""MusicNN: the weights are those that we mean, the port computes what the original computes, and it hears."""

import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from utils.errors import CourseError
from utils.features.encoders import musicnn
from utils.features.encoders.sound import HOP
from utils.files import sha256
from utils.shop import musicnn_weights as convert_musicnn


def noise(seconds, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)


# --- Weights ---------------------------------------------------------------------------------------------------------


def test_weights_are_small_checked_and_documented():
    assert musicnn.WEIGHTS.stat().st_size < 4_000_000 and sha256(musicnn.WEIGHTS) == musicnn.WEIGHTS_SHA256
    readme = (musicnn.WEIGHTS.parent / "README.md").read_text(encoding="utf-8")
    assert musicnn.WEIGHTS_SHA256 in readme and "musicnn 0.1.0" in readme
    assert "Universitat Pompeu Fabra" in (musicnn.WEIGHTS.parent / "musicnn_LICENSE.md").read_text(encoding="utf-8")


def test_changed_or_missing_weights_are_refused(tmp_path):
    changed = tmp_path / "musicnn.safetensors"
    data = bytearray(musicnn.WEIGHTS.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(data)
    with pytest.raises(CourseError, match="SHA-256"):
        musicnn.load_musicnn(changed)
    with pytest.raises(CourseError, match="missing"):
        musicnn.load_musicnn(tmp_path / "absent.safetensors")


def test_number_of_parameters_is_that_of_the_original():
    assert sum(p.numel() for p in musicnn.load_musicnn().parameters()) == 787_159
    assert len(musicnn.load_musicnn().tag_names) == 50


# --- The network, piece by piece, against numpy ----------------------------------------------------------------------


def by_numpy(x):
    """Recompute everything in numpy, float64, from the equations: x (T, 96) -> pool, penultimate, logits."""
    w = {name: value.astype(np.float64) for name, value in load_file(musicnn.WEIGHTS).items()}

    def norm(y, name):  # channels last
        scale = w[f"{name}.weight"] / np.sqrt(w[f"{name}.running_var"] + 1e-3)
        return (y - w[f"{name}.running_mean"]) * scale + w[f"{name}.bias"]

    def frames(y, size):  # (T, ...) -> (T, size, ...): each frame with its neighbours, zeros outside
        before, after = (size - 1) // 2, size // 2
        y = np.pad(y, [(before, after)] + [(0, 0)] * (y.ndim - 1))
        return np.stack([y[t : t + size] for t in range(len(y) - size + 1)])

    def view(y, name):
        kernel = w[f"{name}.conv.weight"][:, 0]  # (out, frames, bands)
        seen = frames(y, kernel.shape[1])
        bands = kernel.shape[2]
        maps = [np.einsum("tkf,okf->to", seen[:, :, f : f + bands], kernel) for f in range(96 - bands + 1)]
        maps = np.maximum(np.stack(maps, axis=1) + w[f"{name}.conv.bias"], 0)
        return norm(maps, f"{name}.norm").max(axis=1)

    def middle(y, name):
        out = np.einsum("tkc,ock->to", frames(y, 7), w[f"{name}.conv.weight"]) + w[f"{name}.conv.bias"]
        return norm(np.maximum(out, 0), f"{name}.norm")

    x = norm(x[..., None].astype(np.float64), "norm")[..., 0]
    names = ["timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2"]
    front = np.concatenate([view(x, name) for name in names], axis=1)
    m1 = middle(front, "middle.0")
    m2 = middle(m1, "middle.1") + m1
    m3 = middle(m2, "middle.2") + m2
    channels = np.concatenate([front, m1, m2, m3], axis=1)
    pool = np.stack([channels.max(axis=0), channels.mean(axis=0)], axis=1).reshape(-1)
    dense = norm(pool, "pool_norm") @ w["penultimate.weight"].T + w["penultimate.bias"]
    penultimate = norm(np.maximum(dense, 0), "penultimate_norm")
    return pool, penultimate, penultimate @ w["tags.weight"].T + w["tags.bias"]


def test_network_computes_its_equations():
    x = musicnn.patches(noise(3))[0][:40]  # 40 frames: shorter than the longest kernel, so the padding counts
    with torch.inference_mode():
        found = musicnn.load_musicnn()(torch.from_numpy(x[None]))
    pool, penultimate, logits = by_numpy(x)
    np.testing.assert_allclose(found["pool"][0], pool, atol=1e-3)
    np.testing.assert_allclose(found["penultimate"][0], penultimate, atol=1e-4)
    np.testing.assert_allclose(found["logits"][0], logits, atol=2e-4)
    np.testing.assert_allclose(found["taggram"][0], 1 / (1 + np.exp(-logits)), atol=1e-4)


def test_outputs_are_those_of_tensorflow():
    """Logits of the original graph and checkpoint in TensorFlow 2.21 for the patch below (written down once)."""
    frames, bands = np.arange(187)[:, None], np.arange(96)[None]
    patch = (1.5 + np.sin(frames / 7 + bands / 11) + 0.5 * np.cos(frames * bands / 200)).astype(np.float32)
    with torch.inference_mode():
        found = musicnn.load_musicnn()(torch.from_numpy(patch[None]))
    np.testing.assert_allclose(found["logits"][0, :8], TF_LOGITS, atol=1e-3)
    np.testing.assert_allclose(found["penultimate"][0, :8], TF_PENULTIMATE, atol=1e-3)


TF_LOGITS = [-2.2766, -5.9358, -2.3306, -2.3596, -6.1506, -3.3329, -2.1173, -0.9721]
TF_PENULTIMATE = [1.5906, 0.7316, 0.0767, -0.1861, -0.0787, 1.9119, -0.0013, -0.1097]


# --- From sound to vector --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds, n_patches", [(0.01, 1), (1, 1), (2.976, 1), (3.5, 2), (9.1, 4)])
def test_patches_cover_the_whole_sound(seconds, n_patches):
    cut = musicnn.patches(noise(seconds))
    assert cut.shape == (n_patches, 187, 96) and cut.dtype == np.float32


def test_the_end_of_a_long_sound_is_heard():
    quiet = np.zeros(16_000 * 7, np.float32)
    ending = quiet.copy()
    ending[-8000:] = noise(0.5)
    assert np.abs(musicnn.encode([musicnn.patches(quiet)]) - musicnn.encode([musicnn.patches(ending)])).max() > 0.01


def test_a_repeated_short_sound_is_heard_like_the_long_one():
    beat = np.zeros(186 * HOP // 4, np.float32)
    beat[:2000] = noise(2000 / 16_000)
    once, four = (musicnn.encode([musicnn.patches(wave)])[0] for wave in (beat, np.tile(beat, 4)))
    np.testing.assert_allclose(once, four, atol=1e-5)


def test_batch_size_and_company_change_nothing():
    cut = [musicnn.patches(noise(seconds, seed)) for seed, seconds in enumerate((1, 7, 4))]
    together = musicnn.encode(cut, "logits", batch_size=4)
    alone = np.concatenate([musicnn.encode([each], "logits", batch_size=1) for each in cut])
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_array_equal(together, musicnn.encode(cut, "logits", batch_size=4))


@pytest.mark.parametrize("layer, dim", musicnn.LAYERS.items())
def test_layers(layer, dim):
    found = musicnn.encode([musicnn.patches(noise(1))], layer)
    assert found.shape == (1, dim) and found.dtype == np.float32 and np.isfinite(found).all()
    assert musicnn.encode([], layer).shape == (0, dim)


def test_an_unknown_layer_is_answered_with_the_nearest():
    with pytest.raises(CourseError, match="penultimate"):
        musicnn.encode([], "penultimat")


def test_it_hears_a_plucked_string_and_a_beat():
    """Two sounds made on the spot: a plucked string (Karplus-Strong), and noise bursts at 130 beats a minute."""
    rng = np.random.default_rng(0)
    string, ring = np.zeros(16_000 * 6, np.float32), np.zeros(0)
    for at in range(len(string)):
        if at % 12_000 == 0:
            ring, where = rng.uniform(-1, 1, rng.integers(40, 120)), 0
        string[at] = ring[where]
        ring[where], where = 0.4985 * (ring[where] + ring[(where + 1) % len(ring)]), (where + 1) % len(ring)
    beat = np.zeros(16_000 * 6, np.float32)
    for start in range(0, len(beat) - 4000, 7385):
        beat[start : start + 4000] += noise(0.25, start) * 5 * np.exp(-np.arange(4000) / 600)
        beat[start : start + 4000] += np.sin(np.arange(4000) * 0.025) * np.exp(-np.arange(4000) / 1500)
    plucked, beaten = (dict(musicnn.top_tags(wave * 0.3, 50)) for wave in (string, beat))
    assert (
        plucked["guitar"] + plucked["harpsichord"] + plucked["harp"]
        > beaten["guitar"] + beaten["harpsichord"] + beaten["harp"]
    )
    assert beaten["drums"] + beaten["beat"] + beaten["techno"] > plucked["drums"] + plucked["beat"] + plucked["techno"]


# --- The converter ---------------------------------------------------------------------------------------------------


def as_varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def tensor_bundle(tensors):
    """Write a checkpoint as TensorFlow does: (index, data), keys with shared prefixes, one block."""
    entries, data, last = b"", b"", b""
    for name in sorted(tensors):
        array = np.asarray(tensors[name], np.float32)
        shape = b"".join(b"\x12" + as_varint(len(dim) + 1) + b"\x08" + dim for dim in map(as_varint, array.shape))
        value = b"\x08\x01\x12" + as_varint(len(shape)) + shape + b"\x20" + as_varint(len(data))
        value += b"\x28" + as_varint(array.nbytes) + b"\x35" + bytes(4)
        key, shared = name.encode(), 0
        while shared < min(len(last), len(key)) and last[shared] == key[shared]:
            shared += 1
        entries += as_varint(shared) + as_varint(len(key) - shared) + as_varint(len(value)) + key[shared:] + value
        data, last = data + array.tobytes(), key
    restarts = struct.pack("<II", 0, 1)
    table = entries + restarts
    first_size, handle = len(table), as_varint(0) + as_varint(len(table))
    table += bytes(5)
    index_at = len(table)
    index = as_varint(0) + as_varint(1) + as_varint(len(handle)) + b"~" + handle + restarts
    table += index + bytes(5)
    footer = as_varint(0) + as_varint(first_size) + as_varint(index_at) + as_varint(len(index))
    return table + footer.ljust(40, b"\0") + struct.pack("<Q", convert_musicnn.TABLE_MAGIC), data


def original_layout():
    """The shipped weights under TensorFlow's names and in its order of axes: the way back of the conversion."""
    state, tensors = load_file(musicnn.WEIGHTS), {}

    def numbered(base, number):
        return f"{base}_{number}" if number else base

    for number, name in enumerate(convert_musicnn.CONVOLUTIONS):
        kernel = state[f"{name}.conv.weight"]
        is_middle = kernel.ndim == 3
        kernel = kernel.transpose(2, 1, 0)[:, :, None] if is_middle else kernel.transpose(2, 3, 1, 0)
        tensors[f"{numbered('conv2d', number)}/kernel"] = kernel
        tensors[f"{numbered('conv2d', number)}/bias"] = state[f"{name}.conv.bias"]
    for number, name in enumerate(convert_musicnn.NORMS):
        for theirs, ours in convert_musicnn.NORM_PARTS.items():
            tensors[f"{numbered('batch_normalization', number)}/{theirs}"] = state[f"{name}.{ours}"]
    for number, name in enumerate(convert_musicnn.DENSE):
        tensors[f"{numbered('dense', number)}/kernel"] = state[f"{name}.weight"].T
        tensors[f"{numbered('dense', number)}/bias"] = state[f"{name}.bias"]
    return tensors


def test_converter_rebuilds_the_shipped_weights(tmp_path):
    index, data = tensor_bundle(original_layout())
    labels = musicnn.load_musicnn().tag_names
    with zipfile.ZipFile(tmp_path / "musicnn.whl", "w") as wheel:
        wheel.writestr("musicnn/MTT_musicnn/.index", index)
        wheel.writestr("musicnn/MTT_musicnn/.data-00000-of-00001", data)
        wheel.writestr("musicnn/configuration.py", f"import nothing_of_the_kind\nMTT_LABELS = {labels!r}\n")
    out = tmp_path / "out.safetensors"
    first = convert_musicnn.convert(tmp_path / "musicnn.whl", out)
    assert convert_musicnn.convert(tmp_path / "musicnn.whl", out) == first  # the same bytes each time
    shipped, made = load_file(musicnn.WEIGHTS), load_file(out)
    assert set(shipped) == set(made)
    for name in shipped:
        np.testing.assert_array_equal(shipped[name], made[name])
    assert musicnn.load_musicnn(out, sha256(out)).tag_names == labels


def test_shipped_file_says_where_it_comes_from():
    from safetensors import safe_open

    with safe_open(musicnn.WEIGHTS, "np") as stored:
        about = json.loads(stored.metadata()["about"])
    assert (
        about["source"].startswith("musicnn 0.1.0") and len(about["source_sha256"]) == 64 and "ISC" in about["licence"]
    )


def test_converter_refuses_what_is_no_checkpoint(tmp_path):
    with pytest.raises(CourseError, match="musicnn 0.1.0 wheel"):
        convert_musicnn.convert(tmp_path, tmp_path / "out.safetensors")
    index, data = tensor_bundle({"a": np.ones(3)})
    with pytest.raises(CourseError, match="cut short"):
        convert_musicnn.read_checkpoint(index, data[:-1])
    with pytest.raises(CourseError, match="no TensorFlow checkpoint"):
        convert_musicnn.read_checkpoint(b"hello", data)
