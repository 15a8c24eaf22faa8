"""OGG Vorbis files whose bytes depend on the sound alone.

The encoder gives every stream a random serial number, so that the same sound makes another file each time. Here the
number is set to zero and the checksum of each page is made anew (RFC 3533, section 6).
"""

from __future__ import annotations

import io
import struct

import numpy as np


def _crc_table() -> list[int]:
    """Table of the Ogg checksum: polynomial 0x04c11db7, not reflected."""
    table = []
    for byte in range(256):
        value = byte << 24
        for _ in range(8):
            value = (value << 1) ^ 0x04C11DB7 if value & 0x80000000 else value << 1
        table.append(value & 0xFFFFFFFF)
    return table


_TABLE = _crc_table()


def _checksum(page: bytes) -> int:
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ _TABLE[(value >> 24) ^ byte]
    return value


def without_serial(data: bytes) -> bytes:
    """Return the Ogg file with serial number 0 in every page. ``data`` is a whole file."""
    pages, offset = [], 0
    while offset < len(data):
        n_segments = data[offset + 26]
        body = sum(data[offset + 27 : offset + 27 + n_segments])
        page = bytearray(data[offset : offset + 27 + n_segments + body])
        offset += len(page)
        page[14:18] = bytes(4)  # serial number
        page[22:26] = bytes(4)  # checksum, counted as zero
        page[22:26] = struct.pack("<I", _checksum(page))
        pages.append(bytes(page))
    return b"".join(pages)


def encode_vorbis(samples: np.ndarray, rate: int) -> bytes:
    """Encode mono samples (n,) float32 in [-1, 1] as OGG Vorbis; the same samples give the same bytes."""
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 1, format="OGG", subtype="VORBIS") as stream:
        for start in range(0, len(samples), rate):  # one large block overflows the encoder's stack in some versions
            stream.write(samples[start : start + rate])
    return without_serial(buffer.getvalue())
