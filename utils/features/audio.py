"""Features (How?): sounds to arrays. Reading, resampling, the log-mel spectrogram, and the floors that any network must beat."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from pathlib import Path

import numpy as np
import scipy.fft
import soundfile
from scipy.signal import get_window, resample_poly

from utils.errors import CourseError

SAMPLE_RATE = 16_000  # samples per second: what MusicNN and wav2vec2 were trained on
N_FFT, HOP, N_MELS = 512, 256, 96
MAX_SECONDS = 120.0  # a longer sound is read up to here: two hours of music need not fit in memory
SILENCE = 1e-4  # peak amplitude (full scale = 1, so -80 dB) below which a sound counts as silent


def read_audio(path: str | Path, sample_rate: int = SAMPLE_RATE, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Read a sound as mono float32 at ``sample_rate``.

    WAV, OGG, FLAC and MP3 of any rate and any number of channels: the channels are averaged and the rate is changed by a
    polyphase filter, which removes what lies above half the new rate first. A file that breaks off gives what can be decoded.

    Args:
        path: the sound file.
        sample_rate: samples per second of the result.
        max_seconds: read at most this much, from the start.

    Returns:
        (n_samples,) float32, finite, nominally within [-1, 1].

    Raises:
        CourseError: the file is missing, empty, of zero length, or no sound that can be decoded.
    """
    path = Path(path)
    if not path.is_file():
        raise CourseError(f"There is no sound file {path}; correct the path in the column audio of items.tsv.")
    if path.stat().st_size == 0:
        raise CourseError(f"The sound {path} is an empty file (0 bytes); replace it, or leave its audio cell empty.")
    samples, rate = decode(path, max_seconds)
    if len(samples) == 0:
        raise CourseError(f"The sound {path} has zero length; replace it, or leave its audio cell empty.")
    if not np.isfinite(samples).all():
        raise CourseError(
            f"The sound {path} holds samples that are NaN or infinite; write it again as 16-bit WAV or OGG."
        )
    return resample(samples.mean(axis=1), rate, sample_rate)


def decode(path: Path, max_seconds: float) -> tuple[np.ndarray, int]:
    """Return the samples (n, channels) float32 and their rate; keep what came before a break in the file."""
    blocks: list[np.ndarray] = []
    try:
        with soundfile.SoundFile(path) as sound:
            rate, channels, left = sound.samplerate, sound.channels, int(max_seconds * sound.samplerate)
            while left > 0 and len(part := sound.read(min(left, rate), dtype="float32", always_2d=True)):
                blocks.append(part)
                left -= len(part)
    except (soundfile.SoundFileError, RuntimeError) as error:
        if not blocks:
            raise CourseError(
                f"Cannot read {path} as a sound ({reason(error)}); use WAV, OGG, FLAC or MP3, or leave its audio cell empty."
            ) from error
        warnings.warn(f"{path} breaks off; its first {sum(map(len, blocks)) / rate:.1f} s are used.", stacklevel=3)
    return np.concatenate(blocks) if blocks else np.zeros((0, channels), np.float32), rate


def reason(error: Exception) -> str:
    """Return why libsndfile refused, in one clause without the path."""
    return str(getattr(error, "error_string", error)).rstrip(". ") or type(error).__name__


def resample(wave: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Change the sampling rate of (n,) samples; returns about n * new_rate / rate samples, at least one, float32."""
    if rate != new_rate:
        common = gcd(rate, new_rate)
        wave = resample_poly(wave, new_rate // common, rate // common)
    return np.ascontiguousarray(wave, dtype=np.float32)


def is_silent(wave: np.ndarray) -> bool:
    """Tell whether no sample exceeds ``SILENCE``."""
    return bool(np.abs(wave).max(initial=0.0) < SILENCE)


def say_silent(names: Sequence[str]) -> None:
    """Warn once about silent sounds: their features are finite, but carry nothing."""
    if names:
        shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        warnings.warn(
            f"{len(names)} sound(s) are silent ({shown}): their features are those of silence; leave the audio cell empty "
            "if there is nothing to hear.",
            stacklevel=3,
        )


def at_least(wave: np.ndarray, n_samples: int) -> np.ndarray:
    """Repeat a short sound until it has ``n_samples``; a longer one is returned as it is."""
    if len(wave) == 0:
        raise CourseError("A sound of zero length has no features; mark the item as missing its sound.")
    return wave if len(wave) >= n_samples else np.resize(wave, n_samples)


# --- From samples to a log-mel spectrogram ---------------------------------------------------------------------------


def hertz_to_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's mel scale: linear below 1000 Hz (200/3 Hz per mel), logarithmic above (27 mels per factor 6.4)."""
    hertz = np.asarray(hertz, dtype=np.float64)
    return np.where(hertz < 1000, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4))


def mel_to_hertz(mel: np.ndarray) -> np.ndarray:
    """Inverse of ``hertz_to_mel``."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((np.maximum(mel, 15) - 15) * np.log(6.4) / 27))


@lru_cache(maxsize=8)
def mel_filterbank(sample_rate: int = SAMPLE_RATE, n_fft: int = N_FFT, n_mels: int = N_MELS) -> np.ndarray:
    """Return the triangular filters (n_mels, n_fft // 2 + 1) float32, each of area one in Hz (Slaney's normalisation).

    Filter m rises from edge m to edge m + 1 and falls to edge m + 2; the n_mels + 2 edges are evenly spaced in mel up to half the rate.
    """
    bins = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    edges = mel_to_hertz(np.linspace(0, hertz_to_mel(sample_rate / 2), n_mels + 2))
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clip(min=0)
    filters = (triangles * 2 / (high - low)).astype(np.float32)
    filters.setflags(write=False)  # the cached array is shared
    return filters


def mel_power(wave: np.ndarray, n_fft: int = N_FFT, hop: int = HOP, n_mels: int = N_MELS) -> np.ndarray:
    """Return the mel power spectrogram (n_frames, n_mels) float32 of (n_samples,) at 16 kHz.

    Frame t is centred on sample t * hop (the ends are mirrored), so n_frames = 1 + n_samples // hop. One frame is a Hann window of
    n_fft samples (32 ms), its squared Fourier magnitudes, and their weighted sums under the filters.
    """
    wave = at_least(np.asarray(wave, dtype=np.float32), n_fft // 2 + 1)
    padded = np.pad(wave, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    window = get_window("hann", n_fft).astype(np.float32)
    power = np.abs(scipy.fft.rfft(frames * window, axis=1)) ** 2
    return power @ mel_filterbank(SAMPLE_RATE, n_fft, n_mels).T


def log_mel(wave: np.ndarray) -> np.ndarray:
    """Return log10(10000 * mel power + 1), shape (n_frames, 96), float32: MusicNN's input. Silence is exactly 0."""
    return np.log10(10_000 * mel_power(wave) + 1)


# --- Floors: what a network must beat --------------------------------------------------------------------------------


def summary(frames: np.ndarray) -> np.ndarray:
    """Summarise (n_frames, d) over time: mean, standard deviation, 10th, 50th and 90th percentile -> (5 d,)."""
    percentiles = np.percentile(frames, [10, 50, 90], axis=0).reshape(-1)
    return np.concatenate([frames.mean(axis=0), frames.std(axis=0), percentiles]).astype(np.float32)


def logmel_stats(wave: np.ndarray) -> np.ndarray:
    """Return the time statistics of the log-mel spectrogram: (480,) float32."""
    return summary(log_mel(wave))


def mfcc_stats(wave: np.ndarray, n_mfcc: int = 20) -> np.ndarray:
    """Return the time statistics of mel-frequency cepstral coefficients: (5 * n_mfcc,) float32.

    An MFCC is the cosine transform of the log-mel spectrum (in dB, floored at -100 dB): its first numbers hold the broad shape
    of the spectrum (timbre), without the pitch.
    """
    decibel = 10 * np.log10(np.maximum(mel_power(wave), 1e-10))
    return summary(scipy.fft.dct(decibel, type=2, norm="ortho", axis=1)[:, :n_mfcc])


def has_sound(wave: np.ndarray) -> np.ndarray:
    """Return (1,) float32 = 1 for any sound at all: the control that knows only *that* an item sounds, not how."""
    return np.ones(1, dtype=np.float32)
