"""Reading sounds: any rate, any container, every way in which a file can be bad; the mel front end and the floors."""

import warnings

import numpy as np
import pytest
import scipy.signal
import soundfile
from features_helpers import make_tiny_audio

from utils.errors import CourseError
from utils.features import encoder_table
from utils.features.encoders.sound import (
    at_least,
    hertz_to_mel,
    log_mel,
    logmel_stats,
    mel_filterbank,
    mel_power,
    mel_to_hertz,
    mfcc_stats,
    read_audio,
)
from utils.features.registry import find

OFFLINE = ["musicnn", "logmel_stats", "mfcc_stats", "has_sound"]


def tone(hertz=440.0, seconds=1.0, rate=16_000, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def vector(name, path, layer=None):
    encoder = find(name, "audio")
    network = encoder.load(encoder.settle_layer(layer), **encoder.settle({}))
    return network.encode([network.prepare(path)])[0]


@pytest.mark.parametrize("suffix", ["wav", "ogg", "flac", "mp3"])
def test_48_khz_stereo_becomes_16_khz_mono_and_keeps_its_pitch(tmp_path, suffix):
    path = tmp_path / f"stereo.{suffix}"
    left, right = tone(440, 2, 48_000), tone(440, 2, 48_000, amplitude=0.1)
    soundfile.write(path, np.stack([left, right], axis=1), 48_000)
    wave = read_audio(path)
    assert wave.ndim == 1 and wave.dtype == np.float32 and abs(len(wave) - 32_000) < 2000  # codecs pad a little
    middle = wave[8000:24000]
    peak = np.abs(np.fft.rfft(middle)).argmax() * 16_000 / len(middle)
    assert peak == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(0.3, abs=0.02)  # the mean of the channels


def test_what_lies_above_half_the_new_rate_is_removed_not_folded_back(tmp_path):
    path = tmp_path / "high.wav"
    soundfile.write(path, tone(11_000, 1, 48_000), 48_000)
    assert np.abs(read_audio(path)[1000:-1000]).max() < 0.01


def test_a_sound_at_the_right_rate_is_not_touched(tmp_path):
    path = tmp_path / "right.wav"
    soundfile.write(path, tone(), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(read_audio(path), tone())


def test_only_the_first_seconds_of_a_long_sound_are_read(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, tone(seconds=5, rate=8000), 8000)
    assert len(read_audio(path, max_seconds=2)) == 32_000


def bad_files(folder):
    (folder / "zero_bytes.wav").write_bytes(b"")
    soundfile.write(folder / "zero_length.wav", np.zeros(0, np.float32), 16_000)
    (folder / "text.ogg").write_text("this is a shopping list, not a sound")
    (folder / "picture.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(200))
    whole = folder / "whole.ogg"
    soundfile.write(whole, tone(seconds=2), 16_000)
    (folder / "cut_in_header.ogg").write_bytes(whole.read_bytes()[:60])
    soundfile.write(folder / "not_a_number.wav", np.full(500, np.nan, np.float32), 16_000, subtype="FLOAT")
    return {
        "zero_bytes.wav": "empty",
        "zero_length.wav": "zero length",
        "text.ogg": "no sound that can be read",
        "picture.wav": "no sound that can be read",
        "cut_in_header.ogg": "no sound that can be read",
        "not_a_number.wav": "NaN",
        "absent.wav": "No such file",
    }


def test_a_bad_file_gets_one_sentence_with_file_reason_and_remedy(tmp_path):
    for name, expected in bad_files(tmp_path).items():
        with pytest.raises(CourseError) as caught:
            read_audio(tmp_path / name)
        message = str(caught.value)
        assert name in message and expected in message and "replace the file" in message and "\n" not in message


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_a_sound_that_breaks_off_gives_what_there_is(tmp_path, suffix):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    soundfile.write(whole, noise, 16_000)
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # OGG does not say how long it was, so only the others warn
        wave = read_audio(cut)
        assert np.isfinite(vector("musicnn", cut)).all()
    assert 0.2 * 48_000 < len(wave) < 0.8 * 48_000


def test_a_flac_that_breaks_off_is_said(tmp_path):
    path = tmp_path / "cut.flac"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 48_000), 16_000)
    path.write_bytes(path.read_bytes()[:40_000])
    with pytest.warns(UserWarning, match="cut.flac breaks off"):
        read_audio(path)


@pytest.mark.parametrize("name", OFFLINE)
def test_silence_gives_finite_features(tmp_path, name):
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(20_000, np.float32), 16_000)
    with pytest.warns(UserWarning, match="silent.wav is silent"):
        assert np.isfinite(vector(name, path)).all()


def test_silence_is_said_once_per_extraction(tmp_path):
    network = find("has_sound", "audio").load("indicator")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("a.wav", "b.wav", "c.wav"):
            soundfile.write(tmp_path / name, np.zeros(2000, np.float32), 16_000)
            network.prepare(tmp_path / name)
    assert len(caught) == 1


@pytest.mark.parametrize("name", OFFLINE)
@pytest.mark.parametrize("n_samples", [1, 100, 7000, 150_000])
def test_any_length_gives_one_finite_vector_of_the_registered_size(tmp_path, name, n_samples):
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, n_samples), 16_000)
    found = vector(name, path)
    assert found.shape == (find(name, "audio").dim,) and found.dtype == np.float32 and np.isfinite(found).all()


def test_the_control_says_one_for_every_sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(), 16_000)
    assert vector("has_sound", tmp_path / "a.wav").tolist() == [1.0]


def test_audio_encoders_are_in_the_registry_with_their_licence():
    table = encoder_table("audio").set_index("name")
    assert set(OFFLINE) <= set(table.index) and "hf-audio:NAME" in table.index
    assert table.loc["musicnn", "licence"] == "ISC" and table.loc["musicnn", "default"]


# --- The mel front end -----------------------------------------------------------------------------------------------


def test_mel_scale_has_its_fixed_points_and_an_inverse():
    np.testing.assert_allclose(hertz_to_mel([0, 200, 1000, 6400]), [0, 3, 15, 42])
    hertz = np.array([0, 37, 500, 999.9, 1000, 3000, 8000])
    np.testing.assert_allclose(mel_to_hertz(hertz_to_mel(hertz)), hertz, atol=1e-9)


def test_each_filter_is_a_triangle_with_area_one():
    filters = mel_filterbank(n_fft=16_384)  # fine bins, so that the sum is close to the integral
    np.testing.assert_allclose(filters.sum(axis=1) * 16_000 / 16_384, 1, rtol=2e-3)
    assert mel_filterbank().shape == (96, 257) and (mel_filterbank() >= 0).all()
    assert (np.diff(filters.argmax(axis=1)) > 0).all()


def test_a_frame_is_what_its_definition_says():
    wave = np.random.default_rng(0).normal(size=2000).astype(np.float32)
    frame = wave[3 * 256 - 256 : 3 * 256 + 256]  # frame 3 is centred on sample 3 * 256
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    by_hand = np.abs(np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(512)) / 512) @ (frame * hann)) ** 2
    np.testing.assert_allclose(mel_power(wave)[3], mel_filterbank() @ by_hand, rtol=1e-4)


def test_the_spectrogram_agrees_with_scipy():
    wave = np.random.default_rng(1).normal(size=5000).astype(np.float32)
    transform = scipy.signal.ShortTimeFFT(scipy.signal.get_window("hann", 512), hop=256, fs=16_000)
    padded = np.pad(wave, 256, mode="reflect")
    power = np.abs(transform.stft(padded, p0=1, p1=1 + len(mel_power(wave)))) ** 2
    np.testing.assert_allclose(mel_power(wave), (mel_filterbank() @ power).T, rtol=1e-3)
    np.testing.assert_allclose(log_mel(wave), np.log10(1e4 * mel_power(wave) + 1))
    assert len(mel_power(wave)) == 1 + 5000 // 256


def test_a_tone_lights_the_band_at_its_frequency():
    band = mel_power(tone(1000)).mean(axis=0).argmax()
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(8000), 98))
    assert edges[band] < 1000 < edges[band + 2]


def test_silence_is_exactly_zero_after_the_logarithm():
    assert not log_mel(np.zeros(4000, np.float32)).any()


def test_statistics_tell_a_tone_from_noise_and_ignore_repetition():
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    for statistics in (logmel_stats, mfcc_stats):
        a, b, c = statistics(tone()), statistics(noise), statistics(np.tile(noise, 3))
        assert np.linalg.norm(b - c) < 0.2 * np.linalg.norm(a - b)


def test_short_sounds_are_repeated_not_padded_with_silence():
    np.testing.assert_array_equal(at_least(np.array([1.0, 2.0]), 5), [1, 2, 1, 2, 1])
    assert len(at_least(np.ones(9), 5)) == 9
    with pytest.raises(CourseError, match="zero length"):
        at_least(np.zeros(0), 5)


# --- Hugging Face models by name or folder ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wav2vec2_folder(tmp_path_factory):
    """A wav2vec2 with random weights, a thousandth of the usual size, made on the spot."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    make_tiny_audio(folder)
    return folder


@pytest.mark.parametrize("layer", ["mean", "hidden.1"])
def test_hugging_face_audio_model_from_a_folder(wav2vec2_folder, tmp_path, layer):
    encoder = find(f"hf-audio:{wav2vec2_folder}", "audio")
    assert encoder.offline and len(encoder.weights_id({"revision": "main"})) == 64
    network = encoder.load(layer, **encoder.settle({}))
    paths = [tmp_path / "short.wav", tmp_path / "long.wav"]
    soundfile.write(paths[0], tone(300, 0.1), 16_000)
    soundfile.write(paths[1], tone(900, 2.5, 44_100), 44_100)
    both = network.encode([network.prepare(path) for path in paths])
    assert both.shape == (2, 16) and np.isfinite(both).all() and np.abs(both[0] - both[1]).max() > 1e-3
    np.testing.assert_array_equal(network.encode([network.prepare(paths[0])])[0], both[0])  # no trace of the batch


def test_hugging_face_audio_model_states_what_is_wrong(wav2vec2_folder, tmp_path, monkeypatch):
    with pytest.raises(CourseError, match="hidden.1"):
        find(f"hf-audio:{wav2vec2_folder}", "audio").load("hiden.1", max_seconds=30, revision="main")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CourseError, match="save_pretrained"):
        find(f"hf-audio:{tmp_path / 'empty'}", "audio").load("mean", max_seconds=30, revision="main")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CourseError, match="musicnn"):
        find("hf-audio:nobody/has-this", "audio").load("mean", max_seconds=30, revision="main")
