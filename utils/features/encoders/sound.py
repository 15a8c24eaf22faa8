"""Read sounds: samples, log-mel spectrogram, and statistics that any network must beat."""

from __future__ import annotations

import warnings
from functools import lru_cache
from math import gcd
from pathlib import Path

import numpy as np
import scipy.fft
import soundfile

from utils.data.pictures import MAX_RATE
from utils.errors import CourseError

SAMPLE_RATE = 16_000  # samples per second: what MusicNN and wav2vec2 were trained on
N_FFT, HOP, N_MELS = 512, 256, 96
MAX_SECONDS = 120.0  # a longer sound is read up to here: two hours of music need not fit in memory
SILENCE = 1e-4  # peak amplitude (full scale = 1, so -80 dB) below which a sound counts as silent


def read_audio(path: str | Path, sample_rate: int = SAMPLE_RATE, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Read a sound as mono float32 at ``sample_rate``.

    WAV, OGG, FLAC and MP3 of any rate and any number of channels: the channels are averaged and the rate is changed by
    a polyphase filter, which first removes what lies above half the new rate. A file that breaks off gives what can be
    decoded, with a warning where the format lets us notice.

    Args:
        path: the sound file.
        sample_rate: samples per second of the result.
        max_seconds: read at most this much, from the start.

    Returns:
        (n_samples,) float32, finite, nominally within [-1, 1].

    Raises:
        CourseError: the file is missing, empty, of zero length, or no sound that can be decoded.
    """
    try:
        return samples_of(Path(path), sample_rate, max_seconds)
    except (CourseError, OSError) as error:
        why = str(getattr(error, "strerror", None) or error)
        raise CourseError(
            f"Cannot read the sound {path}: {why}; replace the file, or empty its audio in items.tsv."
        ) from error


def samples_of(path: Path, sample_rate: int = SAMPLE_RATE, max_seconds: float = MAX_SECONDS) -> np.ndarray:
    """Do the work of :func:`read_audio`; its errors give only the reason, for a caller that names file and row.

    Raises:
        CourseError: nothing in the file can be heard; OSError: the file cannot be opened.
    """
    if path.stat().st_size == 0:
        raise CourseError("the file is empty (zero bytes)")
    samples, rate = decode(path, max_seconds)
    if len(samples) == 0:
        raise CourseError("the sound has zero length")
    if not np.isfinite(samples).all():
        raise CourseError("the sound has samples that are NaN or infinite")
    return resample(samples.mean(axis=1), rate, sample_rate)


def decode(path: Path, max_seconds: float) -> tuple[np.ndarray, int]:
    """Return the samples (n, channels) float32 and their rate; keep what came before a break in the file.

    Raises:
        CourseError: libsndfile cannot read it at all.
    """
    blocks: list[np.ndarray] = []
    broken: Exception | None = None
    try:
        with soundfile.SoundFile(path) as sound:
            rate, channels = sound.samplerate, sound.channels
            if not 0 < rate <= MAX_RATE:  # the filter that changes it grows with it
                raise CourseError(f"it has {rate:,} samples a second, at most {MAX_RATE:,} are read")
            wanted = left = min(sound.frames, int(max_seconds * rate))
            while left > 0 and len(part := sound.read(min(left, rate), dtype="float32", always_2d=True)):
                blocks.append(part)
                left -= len(part)
    except (soundfile.SoundFileError, RuntimeError) as error:
        broken = error
        if not blocks:
            raise CourseError(
                f"it is no sound that can be read ({reason(error)}); use WAV, OGG, FLAC or MP3"
            ) from error
    read = sum(map(len, blocks))
    if broken or read < 0.98 * wanted:  # an MP3 header may promise a few frames too many
        warnings.warn(
            f"{path.parent.name}/{path.name} breaks off: {read / rate:.1f} of {wanted / rate:.1f} s can be read.",
            stacklevel=4,
        )
    return np.concatenate(blocks) if blocks else np.zeros((0, channels), np.float32), rate


def reason(error: Exception) -> str:
    """Return why libsndfile refused, in one clause without the path."""
    return str(getattr(error, "error_string", error)).rstrip(". ") or type(error).__name__


def resample(wave: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """Change the sampling rate of (n,) samples; returns about n * new_rate / rate samples, at least one, float32."""
    if rate != new_rate:
        from scipy.signal import resample_poly  # slow to import, and most sounds have the rate already

        common = gcd(rate, new_rate)
        wave = resample_poly(wave, new_rate // common, rate // common)
    return np.ascontiguousarray(wave, dtype=np.float32)


def is_silent(wave: np.ndarray) -> bool:
    """Tell whether no sample exceeds ``SILENCE``."""
    return bool(np.abs(wave).max(initial=0.0) < SILENCE)


def at_least(wave: np.ndarray, n_samples: int) -> np.ndarray:
    """Repeat a short sound until it has ``n_samples``; a longer one is returned as it is."""
    if len(wave) == 0:
        raise CourseError("the sound has zero length")
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

    Filter m rises from edge m to edge m + 1 and falls to edge m + 2; the n_mels + 2 edges are evenly spaced in mel,
    from 0 Hz to half the rate.
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

    Frame t is centred on sample t * hop (the ends are mirrored), so n_frames = 1 + n_samples // hop. One frame is a
    Hann window of n_fft samples (32 ms), its squared Fourier magnitudes, and their weighted sums under the filters.
    """
    from scipy.signal import get_window

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

    An MFCC is the cosine transform of the log-mel spectrum (in dB, floored at -100 dB): its first numbers hold the
    broad shape of the spectrum (timbre), without the pitch.
    """
    decibel = 10 * np.log10(np.maximum(mel_power(wave), 1e-10))
    return summary(scipy.fft.dct(decibel, type=2, norm="ortho", axis=1)[:, :n_mfcc])
